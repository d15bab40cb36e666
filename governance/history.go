package governance

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Compare orders series by command, side and peer.
func (s Series) Compare(o Series) int {
	return cmp.Or(strings.Compare(s.Command, o.Command), strings.Compare(string(s.At), string(o.At)), s.Peer.Compare(o.Peer))
}

// SeqWindow remembers which of a process's reports were taken: all up to 64
// before the highest, one by one; older ones count as taken. The zero value has
// taken none.
type SeqWindow struct {
	High int64  // the highest number taken; numbers begin at 1
	Mask uint64 // bit n: High-n was taken
}

// Take reports whether seq was not taken yet, and takes it.
func (w *SeqWindow) Take(seq int64) bool {
	switch back := w.High - seq; {
	case seq <= 0:
		return false
	case back < 0:
		if back <= -64 {
			w.Mask = 0
		} else {
			w.Mask <<= uint(-back)
		}
		w.Mask |= 1
		w.High = seq
		return true
	case back >= 64 || w.Mask&(1<<uint(back)) != 0:
		return false
	default:
		w.Mask |= 1 << uint(back)
		return true
	}
}

// TransitionEvents are the events of the transitions in a report.
func TransitionEvents(r Report) []Event {
	out := make([]Event, len(r.Transitions))
	for i := range r.Transitions {
		t := r.Transitions[i]
		t.Time = t.Time.UTC().Truncate(time.Microsecond)
		out[i] = Event{
			Time: t.Time, Kind: EventTransition, App: r.App, Instance: r.Instance, Command: t.Command,
			Transition: &t, Policy: t.Policy, Version: t.Version, Reason: t.Cause,
		}
	}
	return out
}

// Limits of a series query.
const (
	// MaxPoints is how many points one answer may have, WantedPoints how many
	// there are at most when the step was left to the store.
	MaxPoints    = 11_000
	WantedPoints = 600
)

// steps are the distances of points that charts have.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// Step returns the smallest usual step that is at least d.
func Step(d time.Duration) time.Duration {
	for _, s := range steps {
		if s >= d {
			return s
		}
	}
	return steps[len(steps)-1]
}

// WithDefaults fills in what is zero, as of now, rounds the step up to a usual
// one and the range outwards to whole steps. The error's code is Invalid.
func (q SeriesQuery) WithDefaults(now time.Time) (SeriesQuery, error) {
	if q.To.IsZero() {
		q.To = now
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-time.Hour)
	}
	if q.Series.At == "" {
		q.Series.At = Provider
	}
	if !q.From.Before(q.To) {
		return q, &Error{Code: Invalid, Field: "from", Message: fmt.Sprintf("%s is not before %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))}
	}
	if q.Step < 0 {
		return q, &Error{Code: Invalid, Field: "step", Message: fmt.Sprintf("%s is negative", q.Step)}
	}
	if q.Step == 0 {
		q.Step = q.To.Sub(q.From) / WantedPoints
	}
	return q.Coarsen(q.Step)
}

// Coarsen gives the query at least the given step and rounds its range to it.
func (q SeriesQuery) Coarsen(step time.Duration) (SeriesQuery, error) {
	q.Step = Step(step)
	s := int64(q.Step / time.Second)
	floor := func(t time.Time) time.Time { return time.Unix(t.Unix()-((t.Unix()%s)+s)%s, 0).UTC() }
	from, to := floor(q.From), floor(q.To)
	if to.Before(q.To) {
		to = to.Add(q.Step)
	}
	q.From, q.To = from, to
	if n := q.To.Sub(q.From) / q.Step; n > MaxPoints {
		return q, &Error{
			Code: Invalid, Field: "step", Message: fmt.Sprintf("%s makes %d points, and %d are allowed", q.Step, n, MaxPoints),
			Fix: "ask for a shorter range or a larger step, or leave the step out",
		}
	}
	return q, nil
}

// Limits of a report. What exceeds them is refused whole.
const (
	MaxSamples     = 10_000
	MaxTransitions = 1_000
	MaxSeriesName  = 512 // bytes of a command
	// MaxSampleAge is how old the oldest sample may be, MaxSampleAhead how far
	// ahead of the control plane's clock the newest.
	MaxSampleAge   = 24 * time.Hour
	MaxSampleAhead = 5 * time.Minute
)
