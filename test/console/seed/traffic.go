package main

import (
	"fmt"
	"math"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// circuit is what one instance remembers of one series.
type circuit struct {
	state governance.State
}

// count makes what an instance counted in a second, or in several that are told
// as one, as in its history.
func (i *instance) count(second int64, seconds int) (samples []governance.Sample, moved []governance.Transition) {
	policies := i.policies()
	share := float64(seconds) / float64(len(i.app.instances)) * wave(second)
	for _, cmd := range i.app.commands {
		series := governance.Series{Command: cmd.name, At: governance.Provider}
		rules := governance.Resolve(policies, governance.Call{App: i.app.name, Command: cmd.name, At: governance.Provider}, time.Unix(second, 0))
		state, by := i.state(rules, "")
		cmd.shut.Store(state == governance.StateForcedOpen)
		s := governance.Sample{Series: series, Second: second, State: state}
		i.fill(&s, i.about(i.app.rate*cmd.share*share), cmd, rules, 1)
		moved = i.moved(moved, &s, by)
		samples = i.keep(samples, s)
	}
	for n, k := range i.app.calls {
		if i.calledBefore(n) {
			continue
		}
		series := governance.Series{Command: k.to.name, At: governance.Caller, Peer: k.to.app.name}
		rules := governance.Resolve(policies, governance.Call{App: k.to.app.name, Command: k.to.name, At: governance.Caller, From: i.app.name}, time.Unix(second, 0))
		state, by := i.state(rules, i.own(k.to, second))
		s := governance.Sample{Series: series, Second: second, State: state}
		i.fill(&s, i.about(k.rate*share), k.to, rules, 1.1)
		moved = i.moved(moved, &s, by)
		samples = i.keep(samples, s)
	}
	return samples, moved
}

// calledBefore: two of an application's calls to one command are one series.
func (i *instance) calledBefore(n int) bool {
	for _, k := range i.app.calls[:n] {
		if k.to == i.app.calls[n].to {
			return true
		}
	}
	return false
}

// keep leaves out seconds in which nothing happened, as instances do.
func (i *instance) keep(samples []governance.Sample, s governance.Sample) []governance.Sample {
	if s.Counts == (governance.Counts{}) {
		return samples
	}
	s.Lossy = i.first && i.app.story == lossy && s.Second%30 < 3
	return append(samples, s)
}

// own is what a circuit does by itself: those to a command that fails go round.
func (i *instance) own(to *command, second int64) governance.State {
	if to.errors < 0.5 && !to.shut.Load() {
		return governance.StateClosed
	}
	switch at := (second + int64(len(i.id))) % 40; {
	case at < 8:
		return governance.StateClosed
	case at < 37:
		return governance.StateOpen
	default:
		return governance.StateHalfOpen
	}
}

// state is what rules make of a circuit, and the policy that does.
func (i *instance) state(rules governance.Effective, own governance.State) (governance.State, governance.Source) {
	if own == "" {
		own = governance.StateClosed
	}
	if rules.Breaker == nil {
		return own, governance.Source{}
	}
	by := rules.Sources["breaker.mode"]
	switch rules.Breaker.Mode {
	case governance.ModeForcedOpen:
		return governance.StateForcedOpen, by
	case governance.ModeForcedClosed:
		return governance.StateForcedClosed, by
	case governance.ModeDisabled:
		return governance.StateDisabled, by
	}
	return own, governance.Source{}
}

// fill counts n calls to a command as the circuit's state has them end.
func (i *instance) fill(s *governance.Sample, n int, to *command, rules governance.Effective, longer float64) {
	c := &s.Counts
	ran := n
	switch s.State {
	case governance.StateForcedOpen:
		ran, c.Switched = 0, int64(n)
		if rules.Fallback != nil {
			c.FallbackSuccess = int64(n)
		}
	case governance.StateOpen:
		ran, c.ShortCircuited = 0, int64(n)
	case governance.StateHalfOpen:
		ran = min(n, 2)
		c.ShortCircuited = int64(n - ran)
	}
	var latency sketch.Sketch
	for range ran {
		took := i.duration(to, longer)
		switch {
		case s.At == governance.Caller && to.shut.Load():
			c.Failure++
			took = time.Millisecond
		case i.rand.Float64() < to.errors:
			if i.rand.IntN(5) == 0 {
				c.Timeout++
				took = max(took, time.Second)
			} else {
				c.Failure++
			}
		default:
			c.Success++
		}
		if took >= 300*time.Millisecond {
			c.Slow++
		}
		latency.Add(took)
	}
	if ran > 0 {
		encoded, err := latency.MarshalBinary()
		if err != nil {
			panic(err) // a sketch in memory has no reason to fail
		}
		s.Latency = encoded
		s.InFlight = 1 + int(float64(ran)*to.median.Seconds())
	}
}

// duration is around the command's median, now and then much longer.
func (i *instance) duration(to *command, longer float64) time.Duration {
	spread := math.Exp(i.rand.NormFloat64() * 0.45)
	if i.rand.IntN(80) == 0 {
		spread *= 4
	}
	return time.Duration(float64(to.median) * spread * longer)
}

// moved adds the transition to a state that is new.
func (i *instance) moved(list []governance.Transition, s *governance.Sample, by governance.Source) []governance.Transition {
	c := i.circuits[s.Series]
	if c == nil {
		c = &circuit{state: governance.StateClosed}
		i.circuits[s.Series] = c
	}
	if c.state == s.State {
		return list
	}
	t := governance.Transition{
		Series: s.Series, Time: time.Unix(s.Second, 0), From: c.state, To: s.State, Window: s.Counts, Policy: by.Policy, Version: by.Version,
	}
	c.state = s.State
	switch s.State {
	case governance.StateForcedOpen, governance.StateForcedClosed, governance.StateDisabled:
		t.Cause = fmt.Sprintf("by policy %s, version %d", by.Policy, by.Version)
	case governance.StateOpen:
		calls := 20 + i.rand.IntN(30)
		failed := calls * (51 + i.rand.IntN(30)) / 100
		t.Window = governance.Counts{Success: int64(calls - failed), Failure: int64(failed)}
		t.Cause = fmt.Sprintf("%d %% of %d calls failed in 10s, less than 50 %% allowed", failed*100/calls, calls)
	case governance.StateHalfOpen:
		t.Cause = "it was open for 29s and is tried again"
	default:
		t.Cause = "2 calls in a row that tried it succeeded"
	}
	return append(list, t)
}

// history is what it counted in the time before, ten seconds at a time, each told
// as one second; it is split into reports of a bounded size.
func (i *instance) history(now time.Time, past time.Duration) [][]governance.Sample {
	const step, most = 10, 2000
	var out [][]governance.Sample
	var part []governance.Sample
	for second := now.Add(-past).Unix() / step * step; second < now.Unix()-step; second += step {
		samples, _ := i.count(second, step) // transitions are told once they happen
		if part = append(part, samples...); len(part) >= most {
			out, part = append(out, part), nil
		}
	}
	if len(part) > 0 {
		out = append(out, part)
	}
	return out
}

// about is a whole number near what is expected.
func (i *instance) about(expected float64) int {
	if expected <= 0 {
		return 0
	}
	return max(0, int(math.Round(expected+i.rand.NormFloat64()*math.Sqrt(expected))))
}

// wave lets traffic rise and fall over some minutes, with a short peak, so that
// charts have a shape.
func wave(second int64) float64 {
	at := float64(second % 600)
	w := 1 + 0.25*math.Sin(at/600*2*math.Pi)
	if at > 420 && at < 450 {
		w *= 1.8
	}
	return w
}
