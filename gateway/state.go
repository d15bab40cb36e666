package gateway

import "maps"

// State is a reader's copy of the table, kept by the deltas that it reads. The
// zero State is that of a reader who has nothing yet. It is not safe for
// concurrent use.
type State struct {
	// Revision is up to where the copy is whole.
	Revision Revision
	// Routes are those that live.
	Routes map[Key]Version

	sum Sum
}

// Apply takes in a delta and reports whether the copy has the checksum of the
// store's table then. If it has not, the copy and the delta are not of one
// table, or one of them is damaged: read Since(ctx, 0) once, whose delta
// replaces everything.
func (s *State) Apply(d Delta) bool {
	if d.Full || s.Routes == nil {
		s.Routes, s.sum = make(map[Key]Version, len(d.Routes)), Sum{}
	}
	for _, v := range d.Routes {
		key := v.Route.Key()
		if old, ok := s.Routes[key]; ok {
			s.sum.Toggle(old)
			delete(s.Routes, key)
		}
		if !v.Deleted {
			s.sum.Toggle(v)
			s.Routes[key] = v
		}
	}
	s.Revision = d.Revision
	return s.sum.String() == d.Checksum
}

// Checksum returns the checksum of the copy.
func (s *State) Checksum() string { return s.sum.String() }

// Clone returns a copy of the copy; the routes themselves are shared.
func (s *State) Clone() State {
	return State{Revision: s.Revision, Routes: maps.Clone(s.Routes), sum: s.sum}
}
