package breaker

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
)

// Hystrix's defaults, which hold where neither a policy nor the service itself
// says anything. There is no timeout, no bulkhead and no slow call unless one is
// asked for.
const (
	DefaultWindow       = 10 * time.Second
	DefaultMinCalls     = 20
	DefaultErrorPercent = 50
	DefaultOpenFor      = 5 * time.Second
	DefaultProbes       = 1
)

// rules are what holds for a circuit, in the form that the hot path reads. They
// are never changed, only replaced.
type rules struct {
	mode         governance.Mode
	width        int64 // of a bucket of the window, in nanoseconds
	minCalls     int64
	errorPercent float64
	slowCall     int64 // nanoseconds; never for none
	slowPercent  float64
	openFor      int64
	probes       int
	timeout      time.Duration // 0 for none
	bulkhead     int64
	fallback     *governance.Fallback
	caches       bool // the fallback, or one behind it, is cached
	counts       bool // it never opens by what it counts

	until     int64 // when a policy expires, on the set's clock; never for none
	effective governance.Effective

	switched, full *Refused // made once, as they are answered often
	timedOut       error    // the cause of contexts that end by the timeout
}

const never = math.MaxInt64

// policySet is what Apply was given last.
type policySet struct {
	policies []governance.Version
	// control is what the control plane's clock shows when the set's shows zero.
	control time.Time
}

// at turns a time on the set's clock into one on the control plane's.
func (p *policySet) at(now int64) time.Time { return p.control.Add(time.Duration(now)) }

// find returns the policy that a source names.
func (p *policySet) find(s governance.Source) *governance.Version {
	for i := range p.policies {
		if v := &p.policies[i]; v.Version == s.Version && v.Policy.Key().String() == s.Policy {
			return v
		}
	}
	return nil
}

// compile resolves what holds for a circuit now.
func (c *Circuit) compile(p *policySet, now int64) *rules {
	call := governance.Call{App: c.set.app, Command: c.series.Command, At: c.series.At}
	if c.series.At == governance.Caller {
		call.App, call.From = c.series.Peer, c.set.app
	}
	e := governance.Resolve(p.policies, call, p.at(now))
	e.Rules = merge(e.Rules, c.settings)
	b := e.Breaker
	r := &rules{
		mode:     b.Mode,
		width:    max(int64(b.Window)/buckets, int64(time.Millisecond)), // settings of code are not validated
		minCalls: int64(b.MinCalls), errorPercent: b.ErrorPercent,
		slowCall: int64(b.SlowCall), slowPercent: b.SlowPercent,
		openFor: int64(b.OpenFor), probes: b.Probes,
		timeout:  time.Duration(e.Timeout),
		bulkhead: never, fallback: e.Fallback, until: never, effective: e,
	}
	if r.slowCall == 0 {
		r.slowCall = never
	}
	if c.countOnly && !c.breakerSet && !spoken(e.Sources) {
		r.counts, r.errorPercent, r.slowPercent = true, math.Inf(1), math.Inf(1)
	}
	if e.Bulkhead != nil {
		r.bulkhead = int64(e.Bulkhead.Concurrent)
	}
	if !e.Until.IsZero() {
		r.until = int64(e.Until.Sub(p.control))
	}
	for f := e.Fallback; f != nil; f = f.Else {
		r.caches = r.caches || f.Cached != nil
	}
	r.switched = c.refusal(p, ReasonSwitched, "breaker.mode", e)
	r.full = c.refusal(p, ReasonFull, "bulkhead", e)
	r.full.Limit = int(min(r.bulkhead, math.MaxInt32))
	if r.timeout > 0 {
		r.timedOut = &timeoutError{c.series.Command, r.timeout, e.Sources["timeout"]}
	}
	return r
}

// spoken reports whether a policy says something of the breaker.
func spoken(sources map[string]governance.Source) bool {
	for field := range sources {
		if strings.HasPrefix(field, "breaker.") {
			return true
		}
	}
	return false
}

// refusal prepares the answer to calls that a rule refuses.
func (c *Circuit) refusal(p *policySet, reason Reason, field string, e governance.Effective) *Refused {
	source := e.Sources[field]
	r := &Refused{Reason: reason, Series: c.series, Policy: source.Policy, Version: source.Version, Fallback: e.Fallback}
	if v := p.find(source); v != nil {
		r.Kind, r.Why = v.Policy.Kind, v.Reason
	}
	return r
}

// merge fills what policies leave open with the service's settings, which are
// complete.
func merge(from, settings governance.Rules) governance.Rules {
	b := governance.Breaker{}
	if from.Breaker != nil {
		b = *from.Breaker
	}
	s := settings.Breaker
	if s == nil {
		s = &governance.Breaker{}
	}
	b.Mode = or(b.Mode, s.Mode)
	b.Window = or(b.Window, s.Window)
	b.MinCalls = or(b.MinCalls, s.MinCalls)
	b.ErrorPercent = or(b.ErrorPercent, s.ErrorPercent)
	if b.SlowCall == 0 {
		b.SlowCall, b.SlowPercent = s.SlowCall, s.SlowPercent
	}
	b.OpenFor = or(b.OpenFor, s.OpenFor)
	b.Probes = or(b.Probes, s.Probes)
	from.Breaker = &b
	from.Timeout = or(from.Timeout, settings.Timeout)
	from.Bulkhead = or(from.Bulkhead, settings.Bulkhead)
	from.Fallback = or(from.Fallback, settings.Fallback)
	return from
}

var defaults = governance.Rules{Breaker: &governance.Breaker{
	Mode: governance.ModeAuto, Window: governance.Duration(DefaultWindow), MinCalls: DefaultMinCalls,
	ErrorPercent: DefaultErrorPercent, OpenFor: governance.Duration(DefaultOpenFor), Probes: DefaultProbes,
}}

func or[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

// timeoutError is the cause of a context that ended by a timeout of this package.
type timeoutError struct {
	command string
	after   time.Duration
	source  governance.Source
}

// Error says whose timeout it was.
func (e *timeoutError) Error() string {
	if e.source.Policy == "" {
		return fmt.Sprintf("breaker: %s took longer than its %s", e.command, e.after)
	}
	return fmt.Sprintf("breaker: %s took longer than the %s of policy %s, version %d", e.command, e.after, e.source.Policy, e.source.Version)
}

// Timeout makes it a timeout to those who ask errors for it.
func (e *timeoutError) Timeout() bool { return true }
