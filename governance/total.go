package governance

import (
	"fmt"
	"time"
)

// Total is what one series counted over a range: merged over the instances of its
// application, or of one of them.
type Total struct {
	App      App
	Instance string // empty where instances are merged
	Series
	Counts Counts
	// Latency is the encoded sketch (governance/sketch) of the calls that ran;
	// empty when none did.
	Latency []byte
	// InFlight is the most calls under way in any second, over all instances.
	InFlight int
	// LastInFlight is those in the second of Last; where only roll-ups are left, the
	// most in any second of the newest.
	LastInFlight int
	// Instances is how many had a sample, or have a circuit that changed its state;
	// where only roll-ups are left, the most in one of them.
	Instances int
	// States counts instances by the last state they were in. Those known to have
	// left are not among them where the range reaches up to now.
	States map[State]int
	// Last is the time of the newest sample, to within a minute; zero for a circuit
	// that is known by its state alone.
	Last  time.Time
	Lossy bool
}

// Totals are totals of many series.
type Totals struct {
	Items []Total
	// Cut says that there is more than one query reads: not everything is counted.
	Cut bool
}

// TotalsQuery asks for totals. Only series with a sample in the range have one, and,
// if the range reaches up to now, circuits that are not closed, of instances that
// live: an idle circuit that is held open is still held open.
type TotalsQuery struct {
	App        App      // zero for all
	Namespaces []string // of the applications; empty for any
	From, To   time.Time
	// Until leaves out seconds from then on which are not rolled up yet, though the
	// range is rounded outwards: what is newer has not all come. Zero for none.
	Until      time.Time
	ByInstance bool
}

// Circuit is the state that the last transition of an instance's circuit left it in.
type Circuit struct {
	App      App
	Instance string
	Series
	State State
	Time  time.Time
	// Live is whether the instance lives.
	Live bool
}

// totalsFine is the longest range whose totals begin and end at ten seconds; those
// of longer ones go by whole minutes.
const totalsFine = 6 * time.Hour

// WithDefaults fills in what is zero, as of now, and rounds the range outwards to
// what is kept, which is the range that is answered. The error's code is Invalid.
func (q TotalsQuery) WithDefaults(now time.Time) (TotalsQuery, error) {
	if q.To.IsZero() {
		q.To = now
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-time.Hour)
	}
	if !q.From.Before(q.To) {
		return q, &Error{Code: Invalid, Field: "from", Message: fmt.Sprintf("%s is not before %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))}
	}
	if len(q.Namespaces) == 0 {
		q.Namespaces = nil
	}
	step := 10 * time.Second
	switch {
	case q.ByInstance:
		step = time.Second
	case q.To.Sub(q.From) > totalsFine:
		step = time.Minute
	}
	return q.Rounded(step), nil
}

// Rounded returns the query with its range rounded outwards to whole steps.
func (q TotalsQuery) Rounded(step time.Duration) TotalsQuery {
	q.From = q.From.UTC().Truncate(step)
	to := q.To.UTC().Truncate(step)
	if to.Before(q.To) {
		to = to.Add(step)
	}
	q.To = to
	return q
}

// Holds reports whether a second, in Unix time, is one that is asked for.
func (q TotalsQuery) Holds(second int64) bool {
	return second >= q.From.Unix() && second < q.To.Unix() && (q.Until.IsZero() || second < q.Until.Unix())
}

// Current reports whether the range reaches up to now, so that the states that
// circuits are in now belong to it.
func (q TotalsQuery) Current(now time.Time) bool { return q.To.After(now.Add(-InstanceGone)) }
