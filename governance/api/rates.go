package api

import (
	"math"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// Rates are what counts of a span of time come to. It is embedded in answers.
type Rates struct {
	Rate           float64 `json:"rate" doc:"Calls in a second, those that were refused included."`
	ErrorPercent   float64 `json:"errorPercent" doc:"Of the calls that ran: those that failed or ran into a deadline."`
	RefusedPercent float64 `json:"refusedPercent" doc:"Of all calls: those that were not let through."`
	SlowPercent    float64 `json:"slowPercent" doc:"Of the calls that ran."`
}

func ratesOf(c governance.Counts, over time.Duration) Rates {
	return Rates{Rate: c.Rate(over), ErrorPercent: c.ErrorPercent(), RefusedPercent: c.RefusedPercent(), SlowPercent: c.SlowPercent()}
}

// Latencies are percentiles of calls that ran, merged and never averaged; none
// where nothing ran. It is embedded in answers.
type Latencies struct {
	P50Ms *float64 `json:"p50Ms,omitempty"`
	P90Ms *float64 `json:"p90Ms,omitempty"`
	P99Ms *float64 `json:"p99Ms,omitempty"`
	MaxMs *float64 `json:"maxMs,omitempty"`
}

func latenciesOf(s *sketch.Sketch) Latencies {
	if s.Count() == 0 {
		return Latencies{}
	}
	ms := func(d time.Duration) *float64 {
		v := math.Round(float64(d)/float64(time.Microsecond)) / 1000
		return &v
	}
	return Latencies{P50Ms: ms(s.Quantile(0.5)), P90Ms: ms(s.Quantile(0.9)), P99Ms: ms(s.Quantile(0.99)), MaxMs: ms(s.Max())}
}

// sum adds up totals.
type sum struct {
	counts    governance.Counts
	latency   sketch.Sketch
	inFlight  int // in the newest second; not of add
	instances int
	series    int
	states    map[governance.State]int
	last      time.Time
	lossy     bool
}

func (s *sum) add(t governance.Total) {
	s.counts = s.counts.Add(t.Counts)
	if len(t.Latency) > 0 && s.latency.MergeBinary(t.Latency) != nil {
		s.lossy = true
	}
	s.instances = max(s.instances, t.Instances)
	s.series++
	for state, n := range t.States {
		if s.states == nil {
			s.states = map[governance.State]int{}
		}
		s.states[state] += n
	}
	if t.Last.After(s.last) {
		s.last = t.Last
	}
	s.lossy = s.lossy || t.Lossy
}

// broken counts circuits that refuse calls by what they counted, and those that are
// held open.
func broken(states map[governance.State]int) (open, forced int) {
	return states[governance.StateOpen] + states[governance.StateHalfOpen], states[governance.StateForcedOpen]
}
