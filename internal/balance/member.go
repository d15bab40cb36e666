package balance

import "sync/atomic"

// Conn is what a user of the package has to one address.
type Conn interface {
	// CloseIdle closes the connections that carry no call.
	CloseIdle()
}

// Member is one address of an application. It outlives the snapshots that name it.
type Member[C Conn] struct {
	Address string // host:port
	Conn    C

	active       atomic.Int64 // calls under way
	gone         atomic.Bool  // gets no new ones
	refusals     atomic.Int32 // in a row
	ejectedUntil atomic.Int64 // Unix nanoseconds; 0 while it takes connections
	triedUntil   atomic.Int64 // whom it is tried by again has until then
}

// Active is how many calls are under way.
func (m *Member[C]) Active() int64 { return m.active.Load() }

// Begin counts a call that is about to be made. Release ends it.
func (m *Member[C]) Begin() { m.active.Add(1) }

// Release ends what Begin or Pool.Pick began. The last call of an address that has
// left its pool takes the connections along.
func (m *Member[C]) Release() {
	if m.active.Add(-1) == 0 && m.gone.Load() {
		m.Conn.CloseIdle()
	}
}

// Retire keeps new calls away. Those under way go on.
func (m *Member[C]) Retire() {
	m.gone.Store(true)
	m.Conn.CloseIdle()
}

// Accepted notes that the address took a connection.
func (m *Member[C]) Accepted() {
	if m.refusals.Load() != 0 {
		m.refusals.Store(0)
		m.ejectedUntil.Store(0)
		m.triedUntil.Store(0)
	}
}

// Ejected reports whether the address is left alone at the moment, in Unix
// nanoseconds.
func (m *Member[C]) Ejected(now int64) bool {
	return m.ejectedUntil.Load() > now || m.triedUntil.Load() > now
}

// claim reports whether a call may go to the address. An ejection that is over is
// over for one call at first: what becomes of it decides for the others.
func (m *Member[C]) claim(now int64) bool {
	switch until := m.ejectedUntil.Load(); {
	case until == 0:
		return true
	case until > now:
		return false
	}
	tried := m.triedUntil.Load()
	return tried <= now && m.triedUntil.CompareAndSwap(tried, now+int64(tryFor))
}
