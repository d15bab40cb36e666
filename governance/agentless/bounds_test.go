package agentless

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
)

// countAt is count where clocks go as time does.
func countAt(r *resilience, now *tallies, at time.Time) ([]governance.Sample, time.Duration) {
	return r.count(now, at, at.Sub(r.tallied))
}

// A process may make ever new circuit breakers, such as one for each request.
func TestWhatAProcessMakesUpIsBounded(t *testing.T) {
	t.Parallel()
	r := newResilience(newSession(New(Config{}), deliveryApp, registryService, registryInstance, func() {}))
	r.held["gone"] = governance.StateForcedOpen
	series := map[string]bool{}
	at := someTime
	for round := range 4 {
		circuits, now := map[string]circuit{}, &tallies{all: map[governance.Series]*tally{}}
		for i := range maxCommands / 2 {
			name := fmt.Sprintf("%d-%d", round, i)
			circuits[name] = circuit{State: circuitForcedOpen, NotPermitted: 1}
			now.all[atProvider(name)] = &tally{success: 3}
		}
		r.observe(circuits, at)
		if len(r.refused) > maxCommands {
			t.Fatalf("%d refusals are kept", len(r.refused))
		}
		at = at.Add(5 * time.Second)
		samples, _ := countAt(r, now, at)
		for _, s := range samples {
			series[s.Command] = true
		}
	}
	if len(series) > maxCommands || len(r.states) > maxCommands || len(r.names) > maxCommands || r.beyond != maxCommands/2 {
		t.Errorf("%d series, %d states, %d names; %d beyond", len(series), len(r.states), len(r.names), r.beyond)
	}
	if len(r.held) != 0 {
		t.Errorf("what is no more is held: %v", r.held)
	}
}

func TestRefusalsAreNotKeptWhereNothingIsCounted(t *testing.T) {
	bubble(t, func(w *world) {
		g := newGifts(w, "1")
		g.hidden = "prometheus"
		g.call(price, 1)
		w.policies.publish(version(w.T, 1, price, switched, governance.KindSwitch))
		s, end := w.control()
		defer end()
		w.after(5 * time.Second)
		s.mu.Lock()
		n := s.sessions["1"]
		s.mu.Unlock()
		for range 30 {
			g.call(price, 30)
			w.after(time.Second)
			n.mu.Lock()
			r, ok := n.engine.(*resilience)
			if !ok || len(r.refused) != 0 || g.state(price) != circuitForcedOpen {
				w.Errorf("%T, kept are %v", n.engine, r.refused)
			}
			n.mu.Unlock()
		}
	})
}

// When calls were is told by the wall clock, how long ago the last answer was is not.
func TestAWallClockThatIsSetSpreadsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wall  time.Duration
		given bool
	}{
		"as time goes": {5 * time.Second, false},
		"kept right":   {6 * time.Second, false},
		"a day ahead":  {24*time.Hour + 5*time.Second, true},
		"ahead":        {10 * time.Second, true},
		"back":         {-time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newResilience(newSession(New(Config{}), deliveryApp, registryService, registryInstance, func() {}))
			calls := func(n float64) *tallies {
				return &tallies{all: map[governance.Series]*tally{atProvider(price): {success: n}}}
			}
			countAt(r, calls(0), someTime)
			at := someTime.Add(c.wall)
			samples, gap := r.count(calls(100), at, 5*time.Second)
			if (gap == 5*time.Second) != c.given || (len(samples) == 0) != c.given || len(samples) > 7 {
				t.Fatalf("a gap of %s, and %d samples", gap, len(samples))
			}
			samples, _ = countAt(r, calls(200), at.Add(5*time.Second))
			if len(samples) == 0 || samples[0].Lossy != c.given {
				t.Errorf("afterwards there are %+v", samples)
			}
		})
	}
}
