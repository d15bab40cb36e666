package kube

import "time"

// clock is a hub's time. What lasts (a grace, a hold, a pause) is measured in
// steady time, which goes forward at one pace whatever becomes of the wall clock:
// one that is set must neither release what is kept, nor keep it for ever. Only
// what people read is turned into the wall clock's time.
type clock struct {
	origin time.Time            // where steady time begins
	steady func() time.Duration // since then
	wall   func() time.Time
}

func newClock() clock {
	origin := time.Now()
	// Of the two readings that origin has, Since uses the monotonic one.
	return clock{origin: origin, steady: func() time.Duration { return time.Since(origin) }, wall: time.Now}
}

// now returns the steady time. It compares with itself and with nothing else.
func (c *clock) now() time.Time { return c.origin.Add(c.steady()) }

// told returns what the wall clock shows at a steady time, as it goes now. The
// zero time stays zero.
func (c *clock) told(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.wall().Add(t.Sub(c.now()))
}
