package console

import (
	"math"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// load adds up what several series counted.
type load struct {
	counts  governance.Counts
	latency sketch.Sketch
	states  map[governance.State]int
}

// add takes in a total. A latency that is no sketch counts nothing.
func (l *load) add(t *governance.Total) {
	l.counts = l.counts.Add(t.Counts)
	if len(t.Latency) > 0 {
		_ = l.latency.MergeBinary(t.Latency) // which leaves l as it is when it fails
	}
	for state, n := range t.States {
		if l.states == nil {
			l.states = map[governance.State]int{}
		}
		l.states[state] += n
	}
}

// quantile is in milliseconds; nil when nothing ran.
func (l *load) quantile(q float64) *float64 {
	if l.latency.Count() == 0 {
		return nil
	}
	ms := math.Round(float64(l.latency.Quantile(q))/float64(time.Microsecond)) / 1000
	return &ms
}
