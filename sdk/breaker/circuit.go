package breaker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/governance"
)

// What the breaker itself has decided, in the low bits of a circuit's word. The
// others are the generation, which every change makes one more.
const (
	closed = iota
	open
	halfOpen
	stateBits = 2
	stateMask = 1<<stateBits - 1
)

func word(gen, state uint64) uint64 { return gen<<stateBits | state }

// Circuit guards the calls of one series. It is safe for concurrent use.
type Circuit struct {
	set      *Set
	series   governance.Series
	settings governance.Rules
	// countOnly keeps the circuit closed where nobody speaks of its breaker;
	// breakerSet says that its own settings do.
	countOnly, breakerSet bool
	classify              func(error) Outcome
	others                bool
	cache                 cache

	rules atomic.Pointer[rules]
	word  atomic.Uint64 // generation and state
	// While open: when it tries again, on the set's clock, and what calls are
	// answered until then.
	openUntil atomic.Int64
	refused   atomic.Pointer[Refused]

	_        [64]byte
	inFlight atomic.Int64
	peak     atomic.Int64 // of inFlight, since a second was handed over
	_        [64]byte

	shards []shard

	mu      sync.Mutex // guards changes of rules and word, and the following
	since   int64
	cause   string
	probing int   // probes under way, half-open
	passed  int   // probes in a row that succeeded
	probed  int64 // when the last probe began

	secondsMu sync.Mutex // taken last
	seconds   []second
}

// start readies a new circuit. The set is locked.
func (c *Circuit) start(p *policySet, now int64) {
	r := c.compile(p, now)
	c.rules.Store(r)
	c.since = now
	for i := range c.shards {
		c.shards[i].width = r.width
		c.shards[i].tick = now / r.width
	}
	if state := c.state(r); state != governance.StateClosed {
		c.put(now, governance.StateClosed, state, c.whyMode(p, nil, r, now), windowed{}, r.effective.Sources["breaker.mode"])
	}
}

// Series returns what the circuit counts.
func (c *Circuit) Series() governance.Series { return c.series }

// Fallback returns what policy, or the service's settings, say now to answer in
// place of an answer; nil for nothing.
func (c *Circuit) Fallback() *governance.Fallback { return c.current(c.set.mono()).fallback }

// Effective returns what holds now, complete; Sources names what came from
// policies. It must not be changed.
func (c *Circuit) Effective() governance.Effective { return c.current(c.set.mono()).effective }

// State returns what the circuit does with calls now. A circuit whose time to be
// open is over stays open until a call comes to try it.
func (c *Circuit) State() governance.State { return c.state(c.current(c.set.mono())) }

// Status returns what the circuit does now.
func (c *Circuit) Status() Status {
	now := c.set.mono()
	r := c.current(now)
	w := c.window(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{
		Series: c.series, State: c.state(r), Since: c.set.wallTime(c.since), Cause: c.cause,
		Window: w.counts(), InFlight: int(c.inFlight.Load()), Effective: r.effective,
	}
}

func (c *Circuit) state(r *rules) governance.State {
	switch r.mode {
	case governance.ModeForcedOpen:
		return governance.StateForcedOpen
	case governance.ModeForcedClosed:
		return governance.StateForcedClosed
	case governance.ModeDisabled:
		return governance.StateDisabled
	}
	switch c.word.Load() & stateMask {
	case open:
		return governance.StateOpen
	case halfOpen:
		return governance.StateHalfOpen
	}
	return governance.StateClosed
}

// current returns the rules that hold now: an expired policy is gone with the call
// that sees it, whatever became of control plane and timers.
func (c *Circuit) current(now int64) *rules {
	r := c.rules.Load()
	if now < r.until {
		return r
	}
	c.set.mu.Lock()
	// Another call may have seen it as well, and something later by now.
	if r = c.rules.Load(); now >= r.until {
		c.apply(c.set.policies, now)
		r = c.rules.Load()
	}
	c.set.mu.Unlock()
	c.set.events.deliver()
	return r
}

// apply makes policies hold, and what follows from a change of mode happen. The
// set is locked; transitions are queued.
func (c *Circuit) apply(p *policySet, now int64) {
	r := c.compile(p, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.rules.Load()
	if old.width != r.width {
		c.resizeWindow(now, r.width)
	}
	if old.mode == r.mode {
		c.rules.Store(r)
		switch state := c.word.Load() & stateMask; {
		case r.counts && state != closed:
			c.move(now, r, closed, "nobody asks it to open by what it counts any more", windowed{})
		case state == open && r.openFor < old.openFor:
			c.shorten(c.since + r.openFor)
		}
		return
	}
	from := c.state(old)
	w := c.window(now)
	// What was decided under another mode does not bind this one.
	gen := c.word.Load()>>stateBits + 1
	c.rules.Store(r)
	c.word.Store(word(gen, closed))
	if old.mode == governance.ModeForcedOpen || old.mode == governance.ModeDisabled {
		c.clearWindow() // it tells of long ago
	}
	source, ours := r.effective.Sources["breaker.mode"]
	if !ours {
		source = old.effective.Sources["breaker.mode"] // which ended
	}
	c.put(now, from, c.state(r), c.whyMode(p, old, r, now), w, source)
}

// shorten lets an open circuit be tried earlier. The circuit is locked.
func (c *Circuit) shorten(until int64) {
	if until >= c.openUntil.Load() {
		return
	}
	next := *c.refused.Load()
	next.Until = c.set.wallTime(until)
	c.refused.Store(&next)
	c.openUntil.Store(until)
}

// whyMode says in a sentence why the mode changed. old is nil for a new circuit.
func (c *Circuit) whyMode(p *policySet, old, r *rules, now int64) string {
	describe := func(e governance.Effective) string {
		source, ok := e.Sources["breaker.mode"]
		if !ok {
			return "by the service's own settings"
		}
		// Whole sentences: the console knows each by its words, to say it in others.
		switch v := p.find(source); {
		case v == nil:
			return fmt.Sprintf("by %s %s, version %d", governance.KindPolicy, source.Policy, source.Version)
		case v.Actor != "" && v.Reason != "":
			return fmt.Sprintf("by %s %s, version %d of %s: %s", v.Policy.Kind, source.Policy, source.Version, v.Actor, v.Reason)
		case v.Actor != "":
			return fmt.Sprintf("by %s %s, version %d of %s", v.Policy.Kind, source.Policy, source.Version, v.Actor)
		case v.Reason != "":
			return fmt.Sprintf("by %s %s, version %d: %s", v.Policy.Kind, source.Policy, source.Version, v.Reason)
		default:
			return fmt.Sprintf("by %s %s, version %d", v.Policy.Kind, source.Policy, source.Version)
		}
	}
	if _, ours := r.effective.Sources["breaker.mode"]; ours || old == nil {
		return describe(r.effective)
	}
	source, ok := old.effective.Sources["breaker.mode"]
	if !ok {
		return describe(r.effective)
	}
	end := "was released"
	if v := p.find(source); v != nil && !v.Deleted && !v.Policy.Expires.IsZero() && !p.at(now).Before(v.Policy.Expires) {
		end = "expired at " + v.Policy.Expires.UTC().Format(time.RFC3339)
	} else if p.replaced(source) {
		end = "no longer says so"
	}
	return fmt.Sprintf("%s, version %d, %s", source.Policy, source.Version, end)
}

// replaced reports whether a newer version of a source's policy is in force.
func (p *policySet) replaced(s governance.Source) bool {
	for i := range p.policies {
		if v := &p.policies[i]; !v.Deleted && v.Version > s.Version && v.Policy.Key().String() == s.Policy {
			return true
		}
	}
	return false
}

// put records and queues a transition. The circuit is locked, or new.
func (c *Circuit) put(now int64, from, to governance.State, cause string, w windowed, by governance.Source) {
	c.since, c.cause = now, cause
	c.set.events.put(governance.Transition{
		Series: c.series, Time: c.set.wallTime(now), From: from, To: to, Cause: cause, Window: w.counts(),
		Policy: by.Policy, Version: by.Version,
	})
}

// move makes the breaker's own state another one. The circuit is locked.
func (c *Circuit) move(now int64, r *rules, to uint64, cause string, w windowed) {
	from := c.state(r)
	gen := c.word.Load()>>stateBits + 1
	c.probing, c.passed, c.probed = 0, 0, now
	if to == open {
		c.openUntil.Store(now + r.openFor)
		c.refused.Store(&Refused{
			Reason: ReasonOpen, Series: c.series, Cause: cause, Until: c.set.wallTime(now + r.openFor),
		})
	}
	c.word.Store(word(gen, to))
	if to == closed {
		c.clearWindow()
	}
	c.put(now, from, c.state(r), cause, w, governance.Source{})
}

// admission is what was decided about a call.
type admission struct {
	gen     uint64
	probe   bool
	refused *Refused
}

// admit decides about a call while the circuit is not closed.
func (c *Circuit) admit(now int64, r *rules) admission {
	if c.word.Load()&stateMask == open && now < c.openUntil.Load() {
		return admission{refused: c.answerOpen(r)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rules.Load().mode != r.mode {
		// Changed a moment ago: this call still goes by what it saw.
		return admission{gen: c.word.Load() >> stateBits}
	}
	seen := c.word.Load()
	switch seen & stateMask {
	case closed:
		return admission{gen: seen >> stateBits}
	case open:
		if now < c.openUntil.Load() {
			return admission{refused: c.answerOpen(r)}
		}
		c.move(now, r, halfOpen, fmt.Sprintf("it was open for %s and is tried again", time.Duration(now-c.since).Round(time.Millisecond)), windowed{})
	case halfOpen:
		if c.passed >= r.probes { // fewer are asked for than were
			c.move(now, r, closed, c.passedCause(), windowed{})
			return admission{gen: c.word.Load() >> stateBits}
		}
		if c.probing+c.passed >= r.probes {
			if now-c.probed <= max(r.openFor, int64(r.timeout)) {
				return admission{refused: c.answerOpen(r)}
			}
			// The probes do not come back. They are given up, so that one that
			// hangs does not keep the circuit from closing for ever.
			c.word.Store(word(seen>>stateBits+1, halfOpen))
			c.probing, c.passed = 0, 0
		}
	}
	c.probing++
	c.probed = now
	return admission{gen: c.word.Load() >> stateBits, probe: true}
}

// answerOpen is what a call is answered while the circuit is open or half-open, with
// the fallback of the present rules.
func (c *Circuit) answerOpen(r *rules) *Refused {
	old := c.refused.Load()
	half := c.word.Load()&stateMask == halfOpen
	if old.Fallback == r.fallback && half == old.Until.IsZero() {
		return old
	}
	next := *old
	next.Fallback = r.fallback
	if half {
		next.Until = time.Time{}
	}
	c.refused.CompareAndSwap(old, &next)
	return &next
}

// giveBack undoes the admission of a probe that was not made or says nothing.
func (c *Circuit) giveBack(gen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.word.Load() == word(gen, halfOpen) {
		c.probing--
	}
}

// probeEnded counts the result of a probe, if it still matters.
func (c *Circuit) probeEnded(now int64, gen uint64, o Outcome, took int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rules.Load()
	if c.word.Load() != word(gen, halfOpen) {
		return
	}
	c.probing--
	var w windowed
	failed := ""
	switch {
	case o == Canceled:
		return
	case o == Failure:
		failed = "failed"
		w[kindFailure]++
	case o == Timeout:
		failed = "ran into its deadline"
		w[kindTimeout]++
	case took >= r.slowCall:
		failed = fmt.Sprintf("took %s, less than %s allowed", round(took), time.Duration(r.slowCall))
		w[kindSlow]++
		w[kindSuccess]++
	}
	if failed != "" {
		c.move(now, r, open, "a call that tried it "+failed, w)
		return
	}
	if c.passed++; c.passed >= r.probes {
		w[kindSuccess] = int64(c.passed)
		c.move(now, r, closed, c.passedCause(), w)
	}
}

func (c *Circuit) passedCause() string {
	if c.passed == 1 {
		return "a call that tried it succeeded"
	}
	return fmt.Sprintf("%d calls in a row that tried it succeeded", c.passed)
}

// judge opens a closed circuit if its window says so, by what holds now: it is
// about the calls to come.
func (c *Circuit) judge(now int64, gen uint64) {
	r := c.current(now)
	w := c.window(now)
	ran := w.ran()
	if ran < r.minCalls || ran == 0 || c.others {
		return
	}
	failed := 100 * float64(w[kindFailure]+w[kindTimeout]) / float64(ran)
	slow := 100 * float64(w[kindSlow]) / float64(ran)
	byErrors := failed >= r.errorPercent
	if !byErrors && (r.slowCall == never || slow < r.slowPercent) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.word.Load() != word(gen, closed) || c.rules.Load() != r || r.mode != governance.ModeAuto {
		return // somebody else was first, or other rules: the next call is judged by those
	}
	window := time.Duration(r.width * buckets)
	cause := fmt.Sprintf("%s of %d calls failed in %s, less than %s allowed", percent(failed), ran, window, percent(r.errorPercent))
	if !byErrors {
		cause = fmt.Sprintf("%s of %d calls took %s or longer in %s, less than %s allowed",
			percent(slow), ran, time.Duration(r.slowCall), window, percent(r.slowPercent))
	}
	c.move(now, r, open, cause, w)
}

func percent(p float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.1f", p), "0"), ".") + " %"
}

// round keeps three digits or so of a time.
func round(ns int64) time.Duration {
	d := time.Duration(ns)
	for unit := time.Microsecond; unit <= time.Second; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
	return d.Round(time.Second)
}

// begin fills call, or says why it may not be made.
func (c *Circuit) begin(ctx context.Context, call *Call) *Refused {
	now := c.set.mono()
	r := c.current(now)
	if err := ctx.Err(); err != nil {
		return &Refused{Reason: ReasonGone, Series: c.series, err: err}
	}
	a := admission{}
	switch r.mode {
	case governance.ModeForcedOpen:
		c.count(kindSwitched, now)
		return r.switched
	case governance.ModeForcedClosed, governance.ModeDisabled:
		a.gen = c.word.Load() >> stateBits
	default:
		if seen := c.word.Load(); seen&stateMask == closed {
			a.gen = seen >> stateBits
		} else {
			a = c.admit(now, r)
			c.set.events.deliver()
			if a.refused != nil {
				c.count(kindShortCircuited, now)
				return a.refused
			}
		}
	}
	n := c.inFlight.Add(1)
	if n > r.bulkhead {
		c.inFlight.Add(-1)
		if a.probe {
			c.giveBack(a.gen)
		}
		c.count(kindRejected, now)
		return r.full
	}
	for {
		if peak := c.peak.Load(); n <= peak || c.peak.CompareAndSwap(peak, n) {
			break
		}
	}
	call.circuit, call.rules, call.began, call.gen, call.probe = c, r, now, a.gen, a.probe
	call.ctx = ctx
	if r.timeout > 0 {
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > r.timeout {
			call.ctx, call.cancel = context.WithTimeoutCause(ctx, r.timeout, r.timedOut)
		}
	}
	return nil
}

// end counts a call's result.
func (c *Circuit) end(call *Call, o Outcome, now int64) {
	r, took := call.rules, now-call.began
	c.inFlight.Add(-1)
	k := o.kind()
	slow := took >= r.slowCall && o != Canceled
	auto := r.mode == governance.ModeAuto
	counts := (auto || r.mode == governance.ModeForcedClosed) && o != Canceled && !call.probe
	few := false

	s := c.lockShard()
	c.turn(s, c.set.unix(now))
	s.any = true
	s.tally[k]++
	if slow {
		s.tally[kindSlow]++
	}
	s.sketch.Add(time.Duration(took))
	if counts && c.word.Load()>>stateBits == call.gen {
		s.note(now, k, slow)
		// A success can be the call that makes enough of them to judge by.
		few = s.sum.ran() <= r.minCalls
	} else {
		counts = false
	}
	s.mu.Unlock()

	switch {
	case call.probe:
		c.probeEnded(now, call.gen, o, took)
		c.set.events.deliver()
	case counts && auto && (few || slow || k == kindFailure || k == kindTimeout):
		c.judge(now, call.gen)
		c.set.events.deliver()
	}
}
