package agentless

import (
	"fmt"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// Bounds of a command's rolling window. Hystrix's own is ten seconds.
const (
	minWindow     = time.Second
	maxWindow     = time.Minute
	defaultWindow = 10 * time.Second
	// late is by how much a window may end later than it should and still be whole: a
	// stream speaks twice a second.
	late = 1500 * time.Millisecond
)

// window turns what a stream says of one command into samples. Its counts are
// sums over the last ten seconds, which overlap from one word to the next: one
// word in ten seconds is taken, and spread evenly over the seconds that it is of.
// So ten seconds have their true counts (but for a tenth, when a word lands on the
// edge of one of Hystrix's own buckets), and a single second the mean of them.
type window struct {
	begun bool
	lossy bool      // a part of what is counted next was missed
	ends  float64   // when the next word is taken, by the pod's clock in Unix milliseconds
	last  time.Time // when the last was, by ours
	// held is whether the circuit is held open, short how many short-circuited calls
	// the last word told of, and before how many there were when held changed; -1 when
	// it did not.
	held          bool
	short, before int64
}

// take looks at one word, which came at now, and returns the samples of a window
// that has ended with it. gap is what was missed before it.
func (w *window) take(c *commandEvent, now time.Time) (samples []governance.Sample, gap time.Duration) {
	length := windowOf(c)
	millis := float64(length.Milliseconds())
	held := c.ForceOpen && c.Enabled
	// A clock that was set back, or far ahead, begins anew.
	if !w.begun || c.Time < w.ends-2*millis || c.Time > w.ends+float64(time.Hour.Milliseconds()) {
		lossy := w.begun || w.lossy
		*w = window{begun: true, lossy: lossy, ends: c.Time + millis - 250, last: now, held: held, short: whole(c.ShortCircuited), before: -1}
		return nil, 0
	}
	if held != w.held {
		w.held, w.before = held, w.short
	}
	w.short = whole(c.ShortCircuited)
	if c.Time < w.ends {
		return nil, 0
	}
	over := time.Duration(c.Time-w.ends) * time.Millisecond
	if over > late {
		w.lossy, gap = true, now.Sub(w.last)-length
		w.ends = c.Time + millis - 250
	} else {
		w.ends += millis
	}
	counts := c.counts(held)
	if w.before >= 0 {
		// It changed within the window: those before it were of the other kind.
		total := counts.ShortCircuited + counts.Switched
		before := min(w.before, total)
		counts.ShortCircuited, counts.Switched = before, total-before
		if !held {
			counts.ShortCircuited, counts.Switched = total-before, before
		}
	}
	samples = spread(c, counts, now, int(length/time.Second), w.lossy)
	w.lossy, w.before, w.last = false, -1, now
	return samples, max(gap, 0)
}

func windowOf(c *commandEvent) time.Duration {
	d := time.Duration(whole(c.WindowMilli)) * time.Millisecond
	if d < minWindow || d > maxWindow {
		return defaultWindow
	}
	return d.Truncate(time.Second)
}

// spread lays counts over the seconds before now, so that their sum is the counts.
func spread(c *commandEvent, counts governance.Counts, now time.Time, seconds int, lossy bool) []governance.Sample {
	calls := counts.Calls()
	if calls == 0 && counts.FallbackSuccess+counts.FallbackFailure == 0 {
		return nil
	}
	series := governance.Series{Command: c.Name, At: governance.Provider}
	inFlight := int(max(whole(c.MaxConcurrent), whole(c.Concurrent)))
	var out []governance.Sample
	first := now.Unix() - int64(seconds)
	layout := newLayout(c.Latency.measure(), counts.Ran())
	for i := range seconds {
		part := share(counts, i, seconds)
		if part == (governance.Counts{}) {
			continue
		}
		out = append(out, governance.Sample{
			Series: series, Second: first + int64(i), Counts: part, InFlight: inFlight, State: c.state(), Lossy: lossy,
			Latency: layout.next(part.Ran()),
		})
	}
	return out
}

// share is the i-th of n parts, whose sum is the whole.
func share(c governance.Counts, i, n int) governance.Counts {
	part := func(v int64) int64 { return v*int64(i+1)/int64(n) - v*int64(i)/int64(n) }
	return governance.Counts{
		Success: part(c.Success), Failure: part(c.Failure), Ignored: part(c.Ignored), Timeout: part(c.Timeout),
		Rejected: part(c.Rejected), ShortCircuited: part(c.ShortCircuited), Switched: part(c.Switched),
		FallbackSuccess: part(c.FallbackSuccess), FallbackFailure: part(c.FallbackFailure),
	}
}

// maxSketched bounds how many calls of a window are laid out one by one; of more,
// each stands for several.
const maxSketched = 2000

// layout makes sketches of what percentiles or histograms tell. Each call is given
// the least duration that is told at or above its rank: a quantile of one pod's
// sketch, or of many merged, is never less than the true one, and more by at most
// the distance between the durations that are told.
type layout struct {
	above    func(rank float64) time.Duration // by rank in percent
	ran      int64
	n        int64 // calls that are laid out
	at, told int64 // of n, and of ran
	stride   int64 // coprime to n, so that every second gets ranks from all over
}

// newLayout is for calls that ran. With above nil, nothing is known of them.
func newLayout(above func(rank float64) time.Duration, ran int64) *layout {
	y := &layout{above: above, ran: ran}
	if above == nil || ran <= 0 {
		return y
	}
	y.n = min(ran, maxSketched)
	y.stride = max(1, y.n*618/1000)
	for gcd(y.stride, y.n) != 1 {
		y.stride++
	}
	return y
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// next encodes the sketch of the next calls that ran; nil for none.
func (y *layout) next(calls int64) []byte {
	if y.n == 0 || calls <= 0 {
		return nil
	}
	y.told += calls
	to := y.n * y.told / y.ran
	var s sketch.Sketch
	for ; y.at < to; y.at++ {
		rank := (float64(y.at*y.stride%y.n) + 0.5) / float64(y.n) * 100
		s.Add(y.above(rank))
	}
	if s.Count() == 0 {
		return nil
	}
	if times := calls / s.Count(); times > 1 {
		multiply(&s, times)
	}
	for k, more := int64(0), calls-s.Count(); k < more; k++ {
		s.Add(y.above((float64(k) + 0.5) / float64(more) * 100))
	}
	data, err := s.MarshalBinary()
	if err != nil {
		return nil // there is none that cannot be encoded
	}
	return data
}

// multiply makes a sketch as if each value in it had come about so many times.
func multiply(s *sketch.Sketch, times int64) {
	var sum sketch.Sketch
	for bit := times; bit > 0; bit >>= 1 {
		if bit&1 == 1 {
			sum.Merge(s)
		}
		var twice sketch.Sketch
		twice.Merge(s)
		twice.Merge(s)
		*s = twice
	}
	*s = sum
}

// measure is above, or nil without a latency.
func (l latencies) measure() func(rank float64) time.Duration {
	if !(l.P100 > 0) {
		return nil
	}
	return l.above
}

// above is the least percentile that the stream tells at or above a rank.
func (l latencies) above(rank float64) time.Duration {
	ms := l.P100
	for _, p := range []struct{ rank, ms float64 }{
		{25, l.P25}, {50, l.P50}, {75, l.P75}, {90, l.P90}, {95, l.P95}, {99, l.P99}, {99.5, l.P995},
	} {
		if rank <= p.rank {
			ms = p.ms
			break
		}
	}
	const most = float64(time.Hour / time.Millisecond)
	if !(ms > 0) {
		ms = 0.5 // under a millisecond, which is all that is known
	}
	return time.Duration(min(ms, most) * float64(time.Millisecond))
}

// transition is a change of a circuit's state, as a stream shows it.
func transition(c *commandEvent, from governance.State, now time.Time, by *governance.Source) governance.Transition {
	t := governance.Transition{
		Series: governance.Series{Command: c.Name, At: governance.Provider}, Time: now,
		From: from, To: c.state(), Window: c.counts(c.ForceOpen),
	}
	switch t.To {
	case governance.StateOpen:
		t.Cause = fmt.Sprintf("%d %% of %d calls failed in %s, %d %% allowed", whole(c.ErrorPercent), whole(c.Requests), windowOf(c), whole(c.ErrorAllowed))
	case governance.StateClosed:
		t.Cause = "a probe succeeded"
		if from != governance.StateOpen && from != governance.StateHalfOpen {
			t.Cause = "nothing holds it any more"
		}
	default:
		t.Cause = "its settings say so"
	}
	if by != nil && t.To != governance.StateOpen {
		t.Policy, t.Version = by.Policy, by.Version
		t.Cause = "policy " + by.Policy + " says so"
	}
	return t
}
