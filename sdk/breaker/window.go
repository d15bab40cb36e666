package breaker

import (
	"math/rand/v2"
	"sync"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// buckets is how many steps a window rolls in.
const buckets = 10

// kind numbers what is counted; the first ones are what a window holds.
type kind uint8

const (
	kindSuccess kind = iota
	kindFailure
	kindIgnored
	kindTimeout
	kindSlow
	inWindow // how many a window holds
	kindCanceled
	kindRejected
	kindShortCircuited
	kindSwitched
	kindFallbackSuccess
	kindFallbackFailure
	kinds
)

// tally counts by kind.
type tally [kinds]int64

func (t *tally) counts() governance.Counts {
	return governance.Counts{
		Success: t[kindSuccess], Failure: t[kindFailure], Ignored: t[kindIgnored], Timeout: t[kindTimeout],
		Slow: t[kindSlow], Canceled: t[kindCanceled], Rejected: t[kindRejected],
		ShortCircuited: t[kindShortCircuited], Switched: t[kindSwitched],
		FallbackSuccess: t[kindFallbackSuccess], FallbackFailure: t[kindFallbackFailure],
	}
}

// windowed is what a breaker decides by. Canceled calls are not in it: they say
// nothing about the callee.
type windowed [inWindow]int64

func (w *windowed) ran() int64 {
	return w[kindSuccess] + w[kindFailure] + w[kindIgnored] + w[kindTimeout]
}

func (w *windowed) counts() governance.Counts {
	return governance.Counts{
		Success: w[kindSuccess], Failure: w[kindFailure], Ignored: w[kindIgnored],
		Timeout: w[kindTimeout], Slow: w[kindSlow],
	}
}

func (w *windowed) add(o *windowed) {
	for k, n := range o {
		w[k] += n
	}
}

// shard is one of several places where a circuit counts, so that calls on
// different processors do not wait for each other.
type shard struct {
	mu sync.Mutex

	// The rolling window: the bucket of tick t is ring[t % buckets].
	width int64
	tick  int64
	sum   windowed
	ring  [buckets]windowed

	// The second that is being counted.
	second int64
	any    bool
	tally  tally
	sketch sketch.Sketch

	_ [64]byte // the next shard's lock is on another cache line
}

// lockShard locks one that is free, if there is one.
func (c *Circuit) lockShard() *shard {
	mask := uint32(len(c.shards) - 1)
	if mask == 0 {
		s := &c.shards[0]
		s.mu.Lock()
		return s
	}
	at := rand.Uint32()
	for i := range mask {
		if s := &c.shards[(at+i)&mask]; s.mu.TryLock() {
			return s
		}
	}
	s := &c.shards[(at+mask)&mask]
	s.mu.Lock()
	return s
}

// roll moves the window on to now.
func (s *shard) roll(now int64) {
	to := now / s.width
	if to <= s.tick {
		return
	}
	if to-s.tick >= buckets {
		s.clear()
		s.tick = to
		return
	}
	for s.tick < to {
		s.tick++
		old := &s.ring[s.tick%buckets]
		for k, n := range old {
			s.sum[k] -= n
		}
		*old = windowed{}
	}
}

// note counts a call in the window.
func (s *shard) note(now int64, k kind, slow bool) {
	s.roll(now)
	b := &s.ring[s.tick%buckets]
	b[k]++
	s.sum[k]++
	if slow {
		b[kindSlow]++
		s.sum[kindSlow]++
	}
}

// clear forgets the window.
func (s *shard) clear() {
	s.sum = windowed{}
	s.ring = [buckets]windowed{}
}

// resize gives the window another width and keeps what it holds of it.
func (s *shard) resize(now, width int64) {
	if s.width == width {
		return
	}
	s.roll(now)
	old, ring, tick := s.width, s.ring, s.tick
	s.width, s.tick = width, now/width
	s.clear()
	for t := max(0, tick-buckets+1); t <= tick; t++ {
		// By the bucket's end, so that nothing recent is lost by rounding.
		to := min((t+1)*old-1, now) / width
		if to <= s.tick-buckets {
			continue
		}
		s.ring[to%buckets].add(&ring[t%buckets])
		s.sum.add(&ring[t%buckets])
	}
}

// window adds up what a circuit's window holds.
func (c *Circuit) window(now int64) windowed {
	var sum windowed
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.roll(now)
		sum.add(&s.sum)
		s.mu.Unlock()
	}
	return sum
}

func (c *Circuit) clearWindow() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}

func (c *Circuit) resizeWindow(now, width int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.resize(now, width)
		s.mu.Unlock()
	}
}
