// Package tally keeps the counts by which a person or a test can tell which
// calls failed, when, why and against which instance.
package tally

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// Outcome is one finished call.
type Outcome struct {
	Method string
	// Address is where the call went; empty when it went nowhere.
	Address string
	// Instance is who answered; empty when nobody did.
	Instance string
	// Via names the instance behind the one that answered, where it says so.
	Via      string
	Started  time.Time
	Elapsed  time.Duration
	Class    string // empty for success
	Error    string
	Attempts int // how often it was tried; 0 counts as 1
}

const (
	keptFailures = 512
	keptSeconds  = 120
)

// Calls counts calls of one kind. It is safe for concurrent use and bounded: it
// keeps the newest failures and the newest seconds, and counts all.
type Calls struct {
	now func() time.Time

	mu       sync.Mutex
	stats    Stats
	peers    map[string]*Peer // by address, or by instance where no address is known
	seconds  map[int64]*Second
	observer func(Outcome)
}

// Stats are the counts at one moment.
type Stats struct {
	OK       int64            `json:"ok"`
	Failed   int64            `json:"failed"`
	InFlight int64            `json:"inFlight"`
	Attempts int64            `json:"attempts"` // at least OK + Failed; more when calls were repeated
	ByClass  map[string]int64 `json:"byClass"`  // failures by class
	ByMethod map[string]Count `json:"byMethod"`
	Peers    []Peer           `json:"peers"` // by whom was called, sorted by address and instance
	// Failures are the newest failed calls, oldest first; Dropped counts those
	// that were pushed out.
	Failures []Failure `json:"failures"`
	Dropped  int64     `json:"failuresDropped"`
	// Seconds are the newest seconds in which calls ended, oldest first.
	Seconds []Second `json:"seconds"`
}

// Count is a pair of totals.
type Count struct {
	OK     int64 `json:"ok"`
	Failed int64 `json:"failed"`
}

// Peer is what became of the calls to one address, or to one instance where
// the address was not seen.
type Peer struct {
	Address    string           `json:"address,omitempty"`
	Instance   string           `json:"instance,omitempty"` // who last answered there
	OK         int64            `json:"ok"`
	Failed     int64            `json:"failed"`
	ByClass    map[string]int64 `json:"byClass,omitempty"`
	FirstOK    time.Time        `json:"firstOK,omitzero"`
	LastOK     time.Time        `json:"lastOK,omitzero"`
	LastFailed time.Time        `json:"lastFailed,omitzero"`
}

// Failure is one failed call.
type Failure struct {
	Started   time.Time `json:"started"`
	Ended     time.Time `json:"ended"`
	Method    string    `json:"method"`
	Class     string    `json:"class"`
	Address   string    `json:"address,omitempty"`
	Instance  string    `json:"instance,omitempty"`
	Via       string    `json:"via,omitempty"`
	Attempts  int       `json:"attempts"`
	Error     string    `json:"error"`
	ElapsedMS float64   `json:"elapsedMs"`
}

// Second is what ended within one second.
type Second struct {
	Second time.Time `json:"second"`
	Count
	MaxMS float64 `json:"maxMs"` // the longest call that ended in it
}

// NewCalls returns empty counts. observe, where it is not nil, is called with
// each outcome, outside any lock.
func NewCalls(now func() time.Time, observe func(Outcome)) *Calls {
	return &Calls{
		now:      now,
		peers:    map[string]*Peer{},
		seconds:  map[int64]*Second{},
		observer: observe,
		stats:    Stats{ByClass: map[string]int64{}, ByMethod: map[string]Count{}, Failures: []Failure{}},
	}
}

// Begin counts a call as under way until the returned function is called with
// its outcome, whose Started and Elapsed it fills in.
func (c *Calls) Begin() func(Outcome) {
	started := c.now()
	c.mu.Lock()
	c.stats.InFlight++
	c.mu.Unlock()
	return func(o Outcome) {
		o.Started, o.Elapsed = started, c.now().Sub(started)
		c.mu.Lock()
		c.stats.InFlight--
		c.count(o)
		c.mu.Unlock()
		if c.observer != nil {
			c.observer(o)
		}
	}
}

// count adds a finished call. The caller holds mu.
func (c *Calls) count(o Outcome) {
	ended := o.Started.Add(o.Elapsed)
	o.Attempts = max(o.Attempts, 1)
	c.stats.Attempts += int64(o.Attempts)

	method := c.stats.ByMethod[o.Method]
	second := c.second(ended)
	second.MaxMS = max(second.MaxMS, milliseconds(o.Elapsed))
	if o.Class == "" {
		c.stats.OK++
		method.OK++
		second.OK++
	} else {
		c.stats.Failed++
		c.stats.ByClass[o.Class]++
		method.Failed++
		second.Failed++
	}
	c.stats.ByMethod[o.Method] = method

	if key := cmp.Or(o.Address, o.Instance); key != "" {
		p := c.peers[key]
		if p == nil {
			p = &Peer{Address: o.Address, ByClass: map[string]int64{}}
			c.peers[key] = p
		}
		if o.Instance != "" {
			p.Instance = o.Instance
		} else {
			o.Instance = p.Instance
		}
		if o.Class == "" {
			p.OK++
			p.LastOK = ended
			if p.FirstOK.IsZero() {
				p.FirstOK = ended
			}
		} else {
			p.Failed++
			p.ByClass[o.Class]++
			p.LastFailed = ended
		}
	}
	if o.Class == "" {
		return
	}
	if len(c.stats.Failures) == keptFailures {
		c.stats.Failures = slices.Delete(c.stats.Failures, 0, 1)
		c.stats.Dropped++
	}
	c.stats.Failures = append(c.stats.Failures, Failure{
		Started: o.Started, Ended: ended, Method: o.Method, Class: o.Class, Address: o.Address,
		Instance: o.Instance, Via: o.Via, Attempts: o.Attempts, Error: o.Error, ElapsedMS: milliseconds(o.Elapsed),
	})
}

// second returns the bucket of a moment, and forgets those that are too old.
func (c *Calls) second(t time.Time) *Second {
	at := t.Unix()
	s := c.seconds[at]
	if s == nil {
		s = &Second{Second: time.Unix(at, 0).UTC()}
		c.seconds[at] = s
		maps.DeleteFunc(c.seconds, func(k int64, _ *Second) bool { return k <= at-keptSeconds })
	}
	return s
}

// Stats returns a copy of the counts, the caller's to keep.
func (c *Calls) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.ByClass = maps.Clone(s.ByClass)
	s.ByMethod = maps.Clone(s.ByMethod)
	s.Failures = slices.Clone(s.Failures)
	s.Peers = make([]Peer, 0, len(c.peers))
	for _, p := range c.peers {
		q := *p
		q.ByClass = maps.Clone(p.ByClass)
		s.Peers = append(s.Peers, q)
	}
	slices.SortFunc(s.Peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Instance, b.Instance))
	})
	s.Seconds = make([]Second, 0, len(c.seconds))
	for _, k := range slices.Sorted(maps.Keys(c.seconds)) {
		s.Seconds = append(s.Seconds, *c.seconds[k])
	}
	return s
}

// Rate returns the calls per second that ended in the full seconds of the last
// n, the second under way not among them.
func (s Stats) Rate(now time.Time, n int) float64 {
	from, to := now.Unix()-int64(n), now.Unix()
	var sum int64
	for _, b := range s.Seconds {
		if at := b.Second.Unix(); at >= from && at < to {
			sum += b.OK + b.Failed
		}
	}
	return float64(sum) / float64(n)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
