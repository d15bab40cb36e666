package breaker

import (
	"fmt"
	"maps"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/governance"
)

// Config says how a Set works. The zero Config works.
type Config struct {
	// App is the application whose process this is.
	App governance.App
	// Settings hold for every circuit where neither a policy nor the circuit's own
	// WithSettings says otherwise. Fields left out are Hystrix's defaults.
	Settings governance.Rules
	// MaxCircuits bounds how many series are counted apart; 0 for 1,000. Beyond
	// them, calls share a circuit named Others that never opens by itself. Series
	// that a policy names are not bounded by it.
	MaxCircuits int
	// Now is the clock, for tests; nil for time.Now.
	Now func() time.Time
}

// Others is the command of the circuits that stand for series beyond
// Config.MaxCircuits.
const Others = "(others)"

// Set holds the circuits of a process. It is safe for concurrent use.
type Set struct {
	app      governance.App
	settings governance.Rules
	// breakerSet says that the service's own settings speak of breakers.
	breakerSet bool
	max        int
	shards     int

	now  func() time.Time // nil for time.Now
	base time.Time        // zero of the set's clock
	wall atomic.Int64     // Unix nanoseconds at zero

	circuits atomic.Pointer[map[governance.Series]*Circuit] // replaced, never changed
	dropped  atomic.Int64

	mu       sync.Mutex // guards the following, and writers of circuits
	policies *policySet
	ordered  []*Circuit // as they were made
	timer    *time.Timer
	closed   bool

	events events
}

// NewSet returns an empty set.
func NewSet(cfg Config) *Set {
	s := &Set{app: cfg.App, settings: merge(cfg.Settings, defaults), breakerSet: cfg.Settings.Breaker != nil, max: cfg.MaxCircuits, now: cfg.Now}
	if s.max <= 0 {
		s.max = 1000
	}
	// A power of two, for masks; more shards than a few are only memory.
	s.shards = 1 << bits.Len(uint(min(runtime.GOMAXPROCS(0), 8)-1))
	s.base = s.time()
	s.wall.Store(s.base.UnixNano())
	s.policies = &policySet{control: s.base}
	s.circuits.Store(new(map[governance.Series]*Circuit))
	return s
}

func (s *Set) time() time.Time {
	if s.now != nil {
		return s.now()
	}
	return time.Now()
}

// mono is the set's clock: nanoseconds since it was made.
func (s *Set) mono() int64 {
	if s.now == nil {
		return int64(time.Since(s.base)) // reads one clock, not two
	}
	return max(0, int64(s.now().Sub(s.base)))
}

// unix turns a time on the set's clock into a Unix second.
func (s *Set) unix(now int64) int64 { return (s.wall.Load() + now) / int64(time.Second) }

// wallTime turns a time on the set's clock into one for people.
func (s *Set) wallTime(now int64) time.Time { return time.Unix(0, s.wall.Load()+now).UTC() }

// setWall follows a wall clock that was set.
func (s *Set) setWall(now time.Time) {
	s.wall.Store(now.UnixNano() - max(0, int64(now.Sub(s.base))))
}

// all returns the circuits in the order in which they were made.
func (s *Set) all() []*Circuit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ordered[:len(s.ordered):len(s.ordered)]
}

// CircuitOption says what one circuit does unlike others.
type CircuitOption func(*Circuit)

// WithSettings gives a circuit settings of its own, over the set's and under every
// policy.
func WithSettings(r governance.Rules) CircuitOption {
	return func(c *Circuit) {
		c.settings, c.breakerSet = merge(r, c.settings), c.breakerSet || r.Breaker != nil
	}
}

// CountOnly makes a circuit that counts, obeys switches, timeouts and bulkheads,
// and opens by its counts only once a policy, or the service's own settings, say
// something of its breaker. It is for the side that serves: a service that fails
// half of its callers should not fail the rest because nobody said otherwise.
func CountOnly() CircuitOption {
	return func(c *Circuit) { c.countOnly = true }
}

// WithClassify says what an error means to a circuit, for Call.Done and Do. It is
// not asked about nil, and not about errors marked by Ignore. Of what it calls a
// Failure, Done still makes a Timeout or Canceled where the context says so.
func WithClassify(classify func(error) Outcome) CircuitOption {
	return func(c *Circuit) { c.classify = classify }
}

// Circuit returns the circuit of a series and makes it if need be; options count
// only then. It is never nil. Finding one takes some 50 ns; who calls often keeps
// it.
func (s *Set) Circuit(series governance.Series, opts ...CircuitOption) *Circuit {
	if c := (*s.circuits.Load())[series]; c != nil {
		return c
	}
	c := s.make(series, opts)
	s.events.deliver()
	return c
}

func (s *Set) make(series governance.Series, opts []CircuitOption) *Circuit {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := *s.circuits.Load()
	if c := have[series]; c != nil {
		return c
	}
	others := false
	if len(have) >= s.max && !s.named(series) {
		others = true
		series = governance.Series{Command: Others, At: series.At}
		if c := have[series]; c != nil {
			return c
		}
		opts = nil
	}
	c := &Circuit{set: s, series: series, settings: s.settings, breakerSet: s.breakerSet, others: others, shards: make([]shard, s.shards)}
	for _, o := range opts {
		o(c)
	}
	now := s.mono()
	c.start(s.policies, now)
	more := make(map[governance.Series]*Circuit, len(have)+1)
	maps.Copy(more, have)
	more[series] = c
	s.ordered = append(s.ordered, c)
	s.circuits.Store(&more)
	s.arm(now)
	return c
}

// named reports whether a policy names a series, which then has to have a circuit.
// The set is locked.
func (s *Set) named(series governance.Series) bool {
	call := governance.Call{App: s.app, Command: series.Command, At: series.At}
	if series.At == governance.Caller {
		call.App, call.From = series.Peer, s.app
	}
	return slices.ContainsFunc(s.policies.policies, func(v governance.Version) bool {
		return v.Policy.Target.Command != "" && v.Policy.Target.Matches(call)
	})
}

// Apply makes the policies hold, in place of all that held before, for every
// circuit there is or will be: all of them, or none when one is not valid; the
// error names it and has the code governance.Invalid. Calls that begin after Apply
// has returned obey. offset is what the control plane's clock shows more than this
// machine's; expiry is meant by the former. The policies must not be changed
// afterwards.
func (s *Set) Apply(policies []governance.Version, offset time.Duration) error {
	valid := make([]governance.Version, 0, len(policies))
	for _, v := range policies {
		v.Policy = v.Policy.WithDefaults()
		if err := v.Policy.Validate(); err != nil && !v.Deleted {
			return &governance.Error{
				Code: governance.Invalid, Err: err, Fix: "the policies that held before go on to hold",
				Message: fmt.Sprintf("policy %s, version %d, cannot be enforced", v.Policy.Key(), v.Version),
			}
		}
		valid = append(valid, v)
	}
	wall := s.time()
	s.setWall(wall)
	now := s.mono()
	p := &policySet{policies: valid, control: wall.Add(offset).Add(-time.Duration(now))}
	s.mu.Lock()
	s.policies = p
	for _, c := range s.ordered {
		c.apply(p, now)
	}
	s.arm(now)
	s.mu.Unlock()
	s.events.deliver()
	return nil
}

// arm sets the timer for the next expiry. Calls see expiry by themselves; the
// timer is there for listeners and for circuits that nobody calls. The set is
// locked.
func (s *Set) arm(now int64) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	next := int64(never)
	for _, c := range s.ordered {
		next = min(next, c.rules.Load().until)
	}
	if next == never || s.closed {
		return
	}
	s.timer = time.AfterFunc(time.Duration(max(next-now, int64(time.Millisecond))), func() {
		s.mu.Lock()
		now := s.mono()
		for _, c := range s.ordered {
			if now >= c.rules.Load().until {
				c.apply(s.policies, now)
			}
		}
		s.arm(now)
		s.mu.Unlock()
		s.events.deliver()
	})
}

// Close stops the timer that tells listeners of expiry. Circuits go on to work.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// Listen calls f with every transition from now on, one at a time and each
// circuit's in order, without any lock held. f runs on goroutines of calls: it must
// not block, and not panic. After stop has returned, f may still be at its last
// transition.
func (s *Set) Listen(f func(governance.Transition)) (stop func()) {
	return s.events.listen(f)
}

// Status is what a circuit does at a moment.
type Status struct {
	governance.Series
	State governance.State
	Since time.Time // when the state began
	// Cause is why the circuit is in this state; empty for one that never changed.
	Cause string
	// Window is what the breaker counts by.
	Window    governance.Counts
	InFlight  int
	Effective governance.Effective
}

// Status returns that of all circuits, in the order in which they were made.
func (s *Set) Status() []Status {
	all := s.all()
	out := make([]Status, 0, len(all))
	for _, c := range all {
		out = append(out, c.Status())
	}
	s.events.deliver()
	return out
}

// events hands transitions to listeners, in the order in which they were put.
type events struct {
	mu         sync.Mutex
	listeners  []*func(governance.Transition) // replaced, never changed
	queue      []governance.Transition
	delivering bool
	waiting    atomic.Int64 // what is queued, to see at a glance that there is nothing
}

func (e *events) listen(f func(governance.Transition)) (stop func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listeners = append(slices.Clip(e.listeners), &f)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.listeners = slices.DeleteFunc(slices.Clone(e.listeners), func(g *func(governance.Transition)) bool { return g == &f })
	}
}

// put queues a transition; deliver has to follow once the locks are gone.
func (e *events) put(t governance.Transition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.listeners) > 0 {
		e.queue = append(e.queue, t)
		e.waiting.Store(int64(len(e.queue)))
	}
}

// deliver hands out what is queued, unless another goroutine is at it, which then
// goes on with it.
func (e *events) deliver() {
	if e.waiting.Load() == 0 {
		return
	}
	e.mu.Lock()
	if e.delivering {
		e.mu.Unlock()
		return
	}
	e.delivering = true
	defer func() { // also when a listener panics
		e.delivering = false
		e.mu.Unlock()
	}()
	for len(e.queue) > 0 {
		queue, listeners := e.queue, e.listeners
		e.queue = nil
		e.waiting.Store(0)
		func() {
			e.mu.Unlock()
			defer e.mu.Lock()
			for _, t := range queue {
				for _, f := range listeners {
					(*f)(t)
				}
			}
		}()
	}
}
