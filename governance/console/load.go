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

// calls is how many there were, those that were refused included.
func (l *load) calls() int64 { return l.counts.Ran() + l.counts.Refused() }

func (l *load) rate(seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return round(float64(l.calls()) / seconds)
}

// errorPercent is of the calls that ran, refusedPercent of all, and slowPercent of
// those that ran.
func (l *load) errorPercent() float64   { return percent(l.counts.Errors(), l.counts.Ran()) }
func (l *load) refusedPercent() float64 { return percent(l.counts.Refused(), l.calls()) }
func (l *load) slowPercent() float64    { return percent(l.counts.Slow, l.counts.Ran()) }

// quantile is in milliseconds; nil when nothing ran.
func (l *load) quantile(q float64) *float64 {
	if l.latency.Count() == 0 {
		return nil
	}
	ms := round(float64(l.latency.Quantile(q)) / float64(time.Millisecond))
	return &ms
}

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return round(100 * float64(part) / float64(whole))
}

// round keeps answers short: a thousandth is less than anybody looks at.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
