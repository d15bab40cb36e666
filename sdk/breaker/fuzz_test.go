package breaker

import (
	"slices"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
)

// model is a breaker as one would write it without a thought for speed: it keeps
// every call.
type model struct {
	mode                   governance.Mode
	minCalls, probes       int
	bulkhead               int
	expires                int64
	gen                    int
	state                  governance.State
	window                 []modelled
	openUntil, probed      int64
	probing, passed        int
	inFlight               int
	ran, refused, switched int64
}

type modelled struct {
	at      int64
	outcome Outcome
}

type modelCall struct {
	gen   int
	probe bool
	mode  governance.Mode
	call  *Call
}

const (
	modelWidth   = int64(time.Second)
	modelOpenFor = 5 * int64(time.Second)
)

func (m *model) reset() {
	m.mode, m.minCalls, m.probes, m.bulkhead, m.expires = governance.ModeAuto, 4, 2, 3, never
}

// expire ends the policy.
func (m *model) expire(now int64) {
	if now >= m.expires {
		old := m.mode
		m.reset()
		m.change(old)
	}
}

func (m *model) change(old governance.Mode) {
	if old == m.mode {
		return
	}
	m.gen++
	m.state = governance.StateClosed
	if old == governance.ModeForcedOpen || old == governance.ModeDisabled {
		m.window = nil
	}
}

func (m *model) move(now int64, to governance.State) {
	m.gen++
	m.state = to
	m.probing, m.passed, m.probed = 0, 0, now
	switch to {
	case governance.StateOpen:
		m.openUntil = now + modelOpenFor
	case governance.StateClosed:
		m.window = nil
	}
}

func (m *model) begin(now int64) (modelCall, Reason) {
	c := modelCall{mode: m.mode}
	switch m.mode {
	case governance.ModeForcedOpen:
		m.switched++
		return c, ReasonSwitched
	case governance.ModeAuto:
		if m.state == governance.StateOpen {
			if now < m.openUntil {
				m.refused++
				return c, ReasonOpen
			}
			m.move(now, governance.StateHalfOpen)
		}
		if m.state == governance.StateHalfOpen {
			switch {
			case m.passed >= m.probes:
				m.move(now, governance.StateClosed)
			case m.passed+m.probing < m.probes:
				c.probe = true
			case now-m.probed > modelOpenFor:
				m.gen++
				m.probing, m.passed = 0, 0
				c.probe = true
			default:
				m.refused++
				return c, ReasonOpen
			}
			if c.probe {
				m.probing++
				m.probed = now
			}
		}
	}
	c.gen = m.gen
	if m.inFlight >= m.bulkhead {
		if c.probe {
			m.probing--
		}
		m.refused++
		return c, ReasonFull
	}
	m.inFlight++
	return c, ""
}

// end counts a result. The engine judges when a call fails, and at successes while
// there are few of them; opened says what it did at others, when failures weigh
// more only because older calls went out of the window.
func (m *model) end(now int64, c modelCall, o Outcome, opened bool) {
	m.inFlight--
	m.ran++
	switch {
	case c.gen != m.gen, o == Canceled && !c.probe, c.mode == governance.ModeDisabled:
	case c.probe && o == Canceled:
		m.probing--
	case c.probe:
		m.probing--
		if o == Failure || o == Timeout {
			m.move(now, governance.StateOpen)
		} else if m.passed++; m.passed >= m.probes {
			m.move(now, governance.StateClosed)
		}
	default:
		m.window = append(m.window, modelled{now, o})
		ran, failed := m.count(now)
		few := ran <= m.minCalls
		if c.mode == governance.ModeAuto && ran >= m.minCalls && 2*failed >= ran && (few || o == Failure || o == Timeout || opened) {
			m.move(now, governance.StateOpen)
		}
	}
}

func (m *model) count(now int64) (ran, failed int) {
	for _, e := range m.window {
		if e.at/modelWidth > now/modelWidth-buckets {
			ran++
			if e.outcome == Failure || e.outcome == Timeout {
				failed++
			}
		}
	}
	return ran, failed
}

func (m *model) seen() governance.State {
	switch m.mode {
	case governance.ModeForcedOpen:
		return governance.StateForcedOpen
	case governance.ModeForcedClosed:
		return governance.StateForcedClosed
	case governance.ModeDisabled:
		return governance.StateDisabled
	}
	return m.state
}

// FuzzCircuit holds the engine against the model, through calls that overlap,
// time that passes, and policies that come, expire and go.
func FuzzCircuit(f *testing.F) {
	f.Add([]byte{0x01, 0x22, 0x01, 0x22, 0x01, 0x22, 0x01, 0x22, 0x01, 0xf0, 0x01, 0x01, 0x01, 0x02, 0x02})
	f.Add([]byte{0x01, 0x01, 0x01, 0x01, 0x03, 0x01, 0x12, 0x33, 0x01, 0x22, 0xf0, 0x43, 0x01, 0x02})
	f.Add([]byte{0x13, 0x01, 0x80, 0x01, 0x63, 0x01, 0x22, 0x01, 0x22, 0x01, 0x22, 0x01, 0x22, 0x01, 0xf0, 0x01, 0x42, 0x01, 0x02, 0x01})
	f.Fuzz(func(t *testing.T, ops []byte) {
		ops = ops[:min(len(ops), 500)] // the model counts all calls anew at each step
		base := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
		now := int64(0)
		s := NewSet(Config{
			App: inventory, Now: func() time.Time { return base.Add(time.Duration(now)) },
			Settings: governance.Rules{
				Breaker: &governance.Breaker{MinCalls: 4, Probes: 2}, Bulkhead: &governance.Bulkhead{Concurrent: 3},
			},
		})
		s.Close() // the model has no timer
		c := s.Circuit(reserve)
		m := &model{state: governance.StateClosed}
		m.reset()
		var calls []modelCall
		var sum governance.Counts
		for i, op := range ops {
			arg := int64(op >> 4)
			switch op & 3 {
			case 0: // time passes
				now += arg * arg * int64(40*time.Millisecond)
				m.expire(now)
			case 1:
				call, err := c.Begin(t.Context())
				want, reason := m.begin(now)
				if reason != "" {
					if r := refusedBy(t, err, reason); r.Series != reserve {
						t.Fatalf("op %d: %+v", i, r)
					}
					break
				}
				if err != nil || call.Probe() != want.probe {
					t.Fatalf("op %d: %v", i, err)
				}
				want.call = call
				calls = append(calls, want)
			case 2:
				if len(calls) == 0 {
					break
				}
				at := int(arg) % len(calls)
				one := calls[at]
				calls = slices.Delete(calls, at, at+1)
				o := Outcome(arg % 5)
				one.call.End(o)
				one.call.End(Failure)
				m.end(now, one, o, c.State() == governance.StateOpen)
			case 3:
				old := m.mode
				m.reset()
				var policies []governance.Version
				if arg > 0 {
					m.mode = []governance.Mode{governance.ModeAuto, governance.ModeForcedOpen, governance.ModeForcedClosed, governance.ModeDisabled}[arg%4]
					m.probes = int(1 + arg%3)
					m.bulkhead = int(1 + arg%5)
					p := governance.Policy{Rules: governance.Rules{
						Breaker:  &governance.Breaker{Mode: m.mode, Probes: m.probes},
						Bulkhead: &governance.Bulkhead{Concurrent: m.bulkhead},
					}}
					if arg >= 8 {
						m.expires = now + arg*int64(time.Second)
						p.Expires = base.Add(time.Duration(m.expires))
					}
					policies = append(policies, version(int64(i), p))
				}
				apply(t, s, policies...)
				m.change(old)
			}
			if got := c.State(); got != m.seen() {
				t.Fatalf("op %d at %s: %s, the model is %s", i, time.Duration(now), got, m.seen())
			}
			w := c.Status().Window
			if ran, failed := m.count(now); w.Ran() != int64(ran) || w.Errors() != int64(failed) {
				t.Fatalf("op %d: %+v, the model has %d with %d failed", i, w, ran, failed)
			}
			if got := c.Status().InFlight; got != m.inFlight {
				t.Fatalf("op %d: %d in flight, the model has %d", i, got, m.inFlight)
			}
			sum = sum.Add(total(s, base.Add(time.Duration(now))))
		}
		now += 2 * int64(time.Second)
		sum = sum.Add(total(s, base.Add(time.Duration(now))))
		if sum.Ran() != m.ran || sum.Rejected+sum.ShortCircuited != m.refused || sum.Switched != m.switched {
			t.Fatalf("%+v, the model has %d ran, %d refused, %d switched", sum, m.ran, m.refused, m.switched)
		}
	})
}
