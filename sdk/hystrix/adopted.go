package hystrix

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	afex "github.com/afex/hystrix-go/hystrix"
	metric "github.com/afex/hystrix-go/hystrix/metric_collector"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/sdk/breaker"
)

// keptSeconds bounds what nobody collects.
const keptSeconds = 60

// adopted is one command of hystrix-go's.
//
// Locks: hystrix-go calls prepare with its map of circuits locked, and update with
// a circuit's counts locked. So neither calls back into circuits, and nobody who
// asks hystrix-go for circuits holds governing or mu.
type adopted struct {
	a      *adoption
	name   string
	series governance.Series
	// shadow is the command's circuit in the kit's set. No call goes through it: it
	// says what policies say, and tells of switches that are pulled and released.
	shadow atomic.Pointer[breaker.Circuit]

	// Guarded by the adoption's governing.
	base  afex.Settings // what the service configured
	wrote afex.Settings // what this package did last
	known bool          // base is
	mode  governance.Mode

	mu       sync.Mutex
	exists   bool // hystrix-go has made the circuit
	pool     int  // calls that it lets run at once
	open     bool
	forced   governance.State // empty while the breaker decides by itself
	phantoms int              // successes that this package reported
	seconds  []adoptedSecond
}

type adoptedSecond struct {
	unix     int64
	counts   governance.Counts
	latency  sketch.Sketch
	inFlight int
	state    governance.State
	told     bool
}

// settle finds out what the service has configured and tells hystrix-go what holds.
// have is what hystrix-go has now; nil for nothing. It returns the mode that held
// before and the one that holds. The adoption is locked by governing.
func (c *adopted) settle(have *afex.Settings) (before, after governance.Mode) {
	switch {
	case have == nil && !c.known:
		c.base = defaults()
	case have != nil && (!c.known || *have != c.wrote):
		c.base = *have // the service's own doing, in between
	}
	first := !c.known
	c.known = true
	shadow := c.shadow.Load()
	if shadow.Series() != c.series { // one for many, until a policy names the command
		shadow = c.a.kit.Breakers().Circuit(c.series)
		c.shadow.Store(shadow)
	}
	e := shadow.Effective()
	want, mode := wanted(c.base, e)
	before, c.mode = c.mode, mode
	if first || have == nil || *have != want {
		c.wrote = want
		if have == nil || *have != want {
			configure(c.name, want)
		}
	}
	for field, source := range e.Sources {
		switch field {
		case "breaker.window", "breaker.slow", "breaker.probes":
			c.a.cannot(c.name, field, source, "hystrix-go has no such setting")
		case "fallback":
			c.a.cannot(c.name, field, source, "calls have only the fallback in their code")
		case "bulkhead":
			c.mu.Lock()
			fixed := c.exists && c.pool != want.MaxConcurrentRequests
			pool := c.pool
			c.mu.Unlock()
			if fixed {
				c.a.cannot(c.name, field, source, fmt.Sprintf("its pool was made for %d calls at the first one", pool))
			}
		}
	}
	return before, mode
}

// prepare is called while hystrix-go makes the circuit, before it makes the pool.
func (c *adopted) prepare() {
	c.a.governing.Lock()
	defer c.a.governing.Unlock()
	c.mu.Lock()
	c.exists = false
	c.mu.Unlock()
	c.settle(afex.GetCircuitSettings()[c.name])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exists, c.open = true, false
	c.pool = c.wrote.MaxConcurrentRequests
}

// govern makes the circuit do what policies say, and returns false when it does
// not do so yet.
func (c *adopted) govern(before, mode governance.Mode) bool {
	c.mu.Lock()
	exists := c.exists
	switch mode {
	case governance.ModeForcedOpen:
		c.forced = governance.StateForcedOpen
	case governance.ModeForcedClosed:
		c.forced = governance.StateForcedClosed
	case governance.ModeDisabled:
		c.forced = governance.StateDisabled
	default:
		c.forced = ""
	}
	c.mu.Unlock()
	if !exists && mode != governance.ModeForcedOpen {
		return true
	}
	circuit, _, err := afex.GetCircuit(c.name) // a switch's is made before its first call
	if err != nil {
		return true // hystrix-go never says so
	}
	open := circuit.IsOpen()
	switch {
	case mode == governance.ModeForcedOpen && !open:
		// It trips as soon as it has counted something.
		_ = circuit.ReportEvent([]string{eventNudge}, time.Now(), 0) // tried again
		return false
	case mode == governance.ModeForcedOpen:
		return true
	case open && (mode != governance.ModeAuto && mode != "" || before == governance.ModeForcedOpen):
		c.close(circuit)
		open = circuit.IsOpen()
	}
	c.observe(open, before != mode)
	return true
}

// close closes a circuit, by telling it of a success that there was not.
func (c *adopted) close(circuit *afex.CircuitBreaker) {
	c.mu.Lock()
	c.phantoms++
	c.mu.Unlock()
	if err := circuit.ReportEvent([]string{"success"}, time.Now(), 0); err != nil {
		c.mu.Lock()
		c.phantoms-- // closed, but not counted
		c.mu.Unlock()
	}
}

// observe tells of a circuit that has opened or closed by itself.
func (c *adopted) observe(open, forced bool) {
	c.mu.Lock()
	was, window := c.open, c.window(time.Now().Unix())
	c.open = open
	c.mu.Unlock()
	if open == was || forced {
		return // nothing, or the shadow's to tell
	}
	t := governance.Transition{Series: c.series, Time: time.Now().UTC(), From: governance.StateOpen, To: governance.StateClosed, Window: window, Cause: "a call that tried it succeeded"}
	if open {
		t.From, t.To = t.To, t.From
		attempts := window.Ran() + window.Refused()
		errs := window.Errors() + window.Refused()
		percent := 0.0
		if attempts > 0 {
			percent = 100 * float64(errs) / float64(attempts)
		}
		t.Cause = fmt.Sprintf("hystrix-go counted %.0f %% errors, refusals among them, of some %d calls in 10s", percent, attempts)
	}
	c.a.kit.Transition(t)
}

// release puts back what the service has configured.
func (c *adopted) release() {
	c.a.kit.Observe(c.series, nil)
	c.a.governing.Lock()
	base, write := c.base, c.known && c.base != c.wrote
	held := c.mode == governance.ModeForcedOpen
	c.a.governing.Unlock()
	if write {
		configure(c.name, base)
	}
	if held {
		if circuit, _, err := afex.GetCircuit(c.name); err == nil {
			c.close(circuit)
		}
	}
}

// update counts one call.
func (c *adopted) update(r metric.MetricResult) {
	ran := r.Successes+r.Failures+r.Timeouts+r.ContextCanceled+r.ContextDeadlineExceeded > 0
	if !ran && r.Rejects+r.ShortCircuits == 0 {
		c.a.poke() // a nudge, now counted: the circuit trips when it is looked at
		return
	}
	c.mu.Lock()
	if r.Successes == 1 && r.RunDuration == 0 && c.phantoms > 0 {
		c.phantoms--
		c.mu.Unlock()
		return
	}
	s := c.second(time.Now().Unix())
	counts := governance.Counts{
		Success: int64(r.Successes), Failure: int64(r.Failures), Canceled: int64(r.ContextCanceled),
		Timeout: int64(r.Timeouts + r.ContextDeadlineExceeded), Rejected: int64(r.Rejects),
		FallbackSuccess: int64(r.FallbackSuccesses), FallbackFailure: int64(r.FallbackFailures),
	}
	if c.forced == governance.StateForcedOpen {
		counts.Switched = int64(r.ShortCircuits)
	} else {
		counts.ShortCircuited = int64(r.ShortCircuits)
	}
	s.counts = s.counts.Add(counts)
	if ran {
		took := r.RunDuration
		if r.Successes+r.Failures == 0 {
			took = r.TotalDuration // hystrix-go does not say how long such calls ran
		}
		s.latency.Add(took)
	}
	s.inFlight = max(s.inFlight, int(r.ConcurrencyInUse*float64(c.pool)+0.5))
	s.state = c.state()
	look := !c.open && c.forced == "" && r.Errors > 0
	c.mu.Unlock()
	if look {
		c.a.poke() // it may have opened
	}
}

// state is what the circuit does. The command is locked.
func (c *adopted) state() governance.State {
	switch {
	case c.forced != "":
		return c.forced
	case c.open:
		return governance.StateOpen
	}
	return governance.StateClosed
}

// present is what the circuit does now; hystrix-go may not have made it yet, or
// never make it because the command is one of this package's.
func (c *adopted) present() governance.State {
	c.mu.Lock()
	exists, state := c.exists, c.state()
	c.mu.Unlock()
	if !exists {
		return c.shadow.Load().State()
	}
	return state
}

// second returns the present one. The command is locked.
func (c *adopted) second(unix int64) *adoptedSecond {
	if n := len(c.seconds); n > 0 && c.seconds[n-1].unix >= unix && !c.seconds[n-1].told {
		return &c.seconds[n-1]
	}
	if len(c.seconds) >= keptSeconds {
		c.seconds = append(c.seconds[:0], c.seconds[1:]...)
	}
	c.seconds = append(c.seconds, adoptedSecond{unix: unix})
	return &c.seconds[len(c.seconds)-1]
}

// window sums what is kept of the last ten seconds; what was collected already is
// kept that long. The command is locked.
func (c *adopted) window(unix int64) (sum governance.Counts) {
	for i := range c.seconds {
		if c.seconds[i].unix > unix-10 {
			sum = sum.Add(c.seconds[i].counts)
		}
	}
	return sum
}

// collect adds the seconds that have ended to out.
func (c *adopted) collect(out []governance.Sample, unix int64) []governance.Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.seconds[:0]
	for i := range c.seconds {
		s := &c.seconds[i]
		ahead := s.unix > unix+1 // the clock was set back: that second will not come for long
		if (s.unix < unix || ahead) && !s.told {
			latency := []byte(nil)
			if s.latency.Count() > 0 {
				latency, _ = s.latency.AppendBinary(nil) // never fails
			}
			out = append(out, governance.Sample{
				Series: c.series, Second: s.unix, Counts: s.counts, Latency: latency, InFlight: s.inFlight, State: s.state, Lossy: true,
			})
			s.told = true
			s.latency.Reset()
		}
		if s.unix > unix-10 && !ahead {
			kept = append(kept, *s)
		}
	}
	c.seconds = kept
	return out
}

// collector is what hystrix-go tells a circuit's calls to. It outlives adoptions.
type collector struct{ name string }

func newCollector(name string) metric.MetricCollector {
	if a := current.Load(); a != nil {
		if c := a.command(name); c != nil {
			c.prepare()
			a.poke()
		}
	}
	return collector{name}
}

// Update implements hystrix-go's MetricCollector.
func (c collector) Update(r metric.MetricResult) {
	if a := current.Load(); a != nil {
		if cmd := a.command(c.name); cmd != nil {
			cmd.update(r)
		}
	}
}

// Reset implements hystrix-go's MetricCollector; it is called when a circuit is
// made, and when it closes.
func (c collector) Reset() {
	if a := current.Load(); a != nil {
		a.poke()
	}
}
