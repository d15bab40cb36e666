package postgres

// Keep is what Run does every few minutes.
var Keep = (*Store).keep

// FoldAtMost bounds the samples of one transaction.
func (s *Store) FoldAtMost(samples int) { s.foldSamples = samples }

// ReadAtMost bounds what one query reads of series, reports and circuits.
func (s *Store) ReadAtMost(series, staged, circuits int) { s.most = most{series, staged, circuits} }

// OnWallClock makes the store take its clock for the machine's.
func (s *Store) OnWallClock() { s.wallClock = true }
