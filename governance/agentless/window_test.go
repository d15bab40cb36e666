package agentless

import (
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

var someTime = time.Unix(1_800_000_000, 0)

// checkSamples holds that samples are what a store takes.
func checkSamples(tb testing.TB, samples []governance.Sample) {
	tb.Helper()
	for _, s := range samples {
		if s.Counts.Ran() < 0 || s.Counts.Refused() < 0 || s.InFlight < 0 || s.State == "" || s.At != governance.Provider && s.At != governance.Caller {
			tb.Fatalf("%+v", s)
		}
		if len(s.Latency) > 0 {
			var l sketch.Sketch
			if err := l.UnmarshalBinary(s.Latency); err != nil || l.Count() == 0 {
				tb.Fatalf("%d calls: %v", l.Count(), err)
			}
		}
	}
}

func sum(samples []governance.Sample) (c governance.Counts) {
	for _, s := range samples {
		c = c.Add(s.Counts)
	}
	return c
}

func word(at time.Duration, success, short float64, forced bool) *commandEvent {
	return &commandEvent{
		Name: "a", Time: float64(at.Milliseconds()), Success: success, ShortCircuited: short, ForceOpen: forced, Enabled: true, WindowMilli: 10_000,
		Latency: latencies{P25: 10, P50: 20, P75: 30, P90: 40, P95: 50, P99: 60, P995: 70, P100: 80},
	}
}

// What a stream says overlaps from one word to the next: it counts once.
func TestRollingCountsCountOnce(t *testing.T) {
	t.Parallel()
	w := &window{}
	var all []governance.Sample
	// Seven calls a second: every word says 70, but for the first ten seconds' ramp.
	for at := time.Duration(0); at <= time.Minute; at += 500 * time.Millisecond {
		samples, gap := w.take(word(time.Hour+at, 70, 0, false), someTime.Add(at))
		if gap != 0 {
			t.Fatalf("a gap of %s", gap)
		}
		checkSamples(t, samples)
		all = append(all, samples...)
	}
	if got := sum(all); got != (governance.Counts{Success: 6 * 70}) {
		t.Errorf("a minute comes to %+v", got)
	}
	seconds := map[int64]bool{}
	for _, s := range all {
		if seconds[s.Second] || s.Counts.Success != 7 || s.Lossy {
			t.Errorf("second %d has %+v", s.Second, s)
		}
		seconds[s.Second] = true
	}
	if len(seconds) != 60 {
		t.Errorf("%d seconds", len(seconds))
	}
}

func TestWhatASwitchRefusesIsToldApart(t *testing.T) {
	t.Parallel()
	w := &window{}
	w.take(word(0, 0, 0, false), someTime)
	w.take(word(4*time.Second, 10, 3, false), someTime) // three by an open circuit
	w.take(word(5*time.Second, 10, 3, true), someTime)
	samples, _ := w.take(word(10*time.Second, 10, 8, true), someTime)
	if got := sum(samples); got != (governance.Counts{Success: 10, ShortCircuited: 3, Switched: 5}) {
		t.Errorf("pulled: %+v", got)
	}
	w.take(word(14*time.Second, 0, 6, true), someTime)
	w.take(word(15*time.Second, 0, 6, false), someTime)
	samples, _ = w.take(word(20*time.Second, 4, 7, false), someTime)
	if got := sum(samples); got != (governance.Counts{Success: 4, ShortCircuited: 1, Switched: 6}) {
		t.Errorf("released: %+v", got)
	}
}

func TestASilentStreamLeavesAMarkedGap(t *testing.T) {
	t.Parallel()
	w := &window{}
	w.take(word(0, 0, 0, false), someTime)
	w.take(word(10*time.Second, 50, 0, false), someTime.Add(10*time.Second))
	samples, gap := w.take(word(45*time.Second, 50, 0, false), someTime.Add(45*time.Second))
	if gap != 25*time.Second {
		t.Errorf("a gap of %s", gap)
	}
	if got := sum(samples); got.Success != 50 || !samples[0].Lossy || samples[0].Second != someTime.Unix()+35 {
		t.Errorf("%+v: %+v", got, samples)
	}
	samples, gap = w.take(word(55*time.Second, 50, 0, false), someTime.Add(55*time.Second))
	if gap != 0 || len(samples) == 0 || samples[0].Lossy {
		t.Errorf("afterwards a gap of %s, and %+v", gap, samples)
	}
	// A clock that was set back begins anew, and counts nothing twice.
	if samples, _ := w.take(word(time.Second, 50, 0, false), someTime.Add(56*time.Second)); samples != nil {
		t.Errorf("%+v", samples)
	}
}

// Quantiles of what is stored are never less than those of the stream, and no more
// than the next percentile that it tells; over several pods too.
func TestPercentilesAreBoundsFromAbove(t *testing.T) {
	t.Parallel()
	l := latencies{P25: 10, P50: 20, P75: 30, P90: 40, P95: 50, P99: 60, P995: 70, P100: 80}
	for _, ran := range []int64{1, 3, 10, 999, 5000, 1_000_000} {
		samples := spread(&commandEvent{Name: "a", Enabled: true, Latency: l}, governance.Counts{Success: ran}, someTime, 10, false)
		var all sketch.Sketch
		for _, s := range samples {
			if err := all.MergeBinary(s.Latency); err != nil {
				t.Fatal(err)
			}
		}
		if n := all.Count(); n < ran*9/10 || n > ran {
			t.Errorf("%d of %d calls", n, ran)
		}
		if ran < 999 {
			continue
		}
		for _, q := range []struct {
			q        float64
			from, to float64 // ms
		}{{0.3, 20, 20}, {0.5, 20, 30}, {0.9, 40, 50}, {0.97, 60, 60}, {0.999, 80, 80}} {
			got := all.Quantile(q.q).Seconds() * 1000
			if got < q.from*0.97 || got > q.to*1.03 {
				t.Errorf("of %d calls, %g is %g ms, not between %g and %g", ran, q.q, got, q.from, q.to)
			}
		}
	}
	none := spread(&commandEvent{Name: "a", Enabled: true}, governance.Counts{Success: 4}, someTime, 10, false)
	if len(none) == 0 || none[0].Latency != nil {
		t.Errorf("of what no latency is known, there is %+v", none)
	}
}

// The whole of what was recorded comes to what the application did.
func TestTheRecordedStreamIsCounted(t *testing.T) {
	t.Parallel()
	all, _ := commands(t, recorded(t))
	w := &window{}
	var samples []governance.Sample
	for _, c := range all {
		if c.Name != quote {
			continue
		}
		now := time.UnixMilli(int64(c.Time))
		more, _ := w.take(c, now)
		checkSamples(t, more)
		samples = append(samples, more...)
	}
	got := sum(samples)
	if got.Success == 0 || got.Failure == 0 || got.Switched == 0 || got.FallbackSuccess < got.Failure+got.Switched {
		t.Errorf("it comes to %+v", got)
	}
}
