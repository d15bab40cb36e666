package breaker

import (
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// maxSeconds is how many finished seconds a circuit keeps for Collect; older ones
// are dropped, and counted by Dropped.
const maxSeconds = 60

// second is a finished second of a circuit, or one that shards still add to.
type second struct {
	unix     int64
	tally    tally
	latency  *sketch.Sketch // nil once it is encoded, or while there is none
	encoded  []byte
	inFlight int
	state    governance.State
}

var sketches = sync.Pool{New: func() any { return new(sketch.Sketch) }}

// turn hands a shard's second over when another has begun. The shard is locked.
func (c *Circuit) turn(s *shard, unix int64) {
	if unix <= s.second { // a clock set back; Collect mends what goes on for longer
		return
	}
	if s.any {
		c.hand(s)
	}
	s.second = unix
}

// count counts what is not a call that ran.
func (c *Circuit) count(k kind, now int64) {
	s := c.lockShard()
	c.turn(s, c.set.unix(now))
	s.any = true
	s.tally[k]++
	s.mu.Unlock()
}

// hand adds a shard's second to the circuit's. The shard is locked.
func (c *Circuit) hand(s *shard) {
	c.secondsMu.Lock()
	defer c.secondsMu.Unlock()
	e := c.secondOf(s.second)
	for k, n := range s.tally {
		e.tally[k] += n
	}
	if s.sketch.Count() > 0 {
		if e.latency == nil {
			e.latency, _ = sketches.Get().(*sketch.Sketch)
			if e.encoded != nil {
				_ = e.latency.MergeBinary(e.encoded) // cannot fail: encoded below
				e.encoded = nil
			}
		}
		e.latency.Merge(&s.sketch)
	}
	e.inFlight = max(e.inFlight, int(c.peak.Swap(c.inFlight.Load())))
	e.state = c.state(c.rules.Load())
	s.any = false
	s.tally = tally{}
	s.sketch.Reset()
}

// secondOf returns the entry of a second, made if need be, in order.
func (c *Circuit) secondOf(unix int64) *second {
	at := len(c.seconds)
	for at > 0 && c.seconds[at-1].unix > unix {
		at--
	}
	if at > 0 && c.seconds[at-1].unix == unix {
		return &c.seconds[at-1]
	}
	for i := range c.seconds { // what is over needs no bins any more
		c.seconds[i].encode()
	}
	c.seconds = append(c.seconds, second{})
	copy(c.seconds[at+1:], c.seconds[at:])
	c.seconds[at] = second{unix: unix}
	if len(c.seconds) > maxSeconds {
		c.set.dropped.Add(1)
		drop := 0
		if at == 0 {
			drop = 1 // not the one asked for
		}
		c.seconds[drop].encode()
		c.seconds = append(c.seconds[:drop], c.seconds[drop+1:]...)
		at = max(at-1, 0)
	}
	return &c.seconds[at]
}

// encode puts a second's sketch into bytes.
func (e *second) encode() {
	if e.latency == nil {
		return
	}
	e.encoded, _ = e.latency.AppendBinary(make([]byte, 0, 128)) // never fails
	e.latency.Reset()
	sketches.Put(e.latency)
	e.latency = nil
}

// Collect returns what was counted in the seconds that ended before now and were
// not returned before. One second of one series is returned once. A process that
// does not collect keeps the last minute.
func (s *Set) Collect(now time.Time) []governance.Sample {
	s.setWall(now)
	unix := now.Unix()
	var out []governance.Sample
	for _, c := range s.all() {
		out = c.collect(out, unix)
	}
	return out
}

func (c *Circuit) collect(out []governance.Sample, unix int64) []governance.Sample {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		if s.second > unix { // the clock was set back: count by the new one
			s.second = unix
		}
		c.turn(s, unix)
		s.mu.Unlock()
	}
	c.secondsMu.Lock()
	defer c.secondsMu.Unlock()
	kept := c.seconds[:0]
	for _, e := range c.seconds {
		if e.unix == unix || e.unix == unix+1 {
			kept = append(kept, e)
			continue
		}
		e.encode()
		out = append(out, governance.Sample{
			Series: c.series, Second: e.unix, Counts: e.tally.counts(), Latency: e.encoded,
			InFlight: e.inFlight, State: e.state,
		})
	}
	clear(c.seconds[len(kept):])
	c.seconds = kept
	return out
}

// Dropped is how many seconds of a series were dropped since the process began
// because nobody collected them.
func (s *Set) Dropped() int64 { return s.dropped.Load() }
