package series

import (
	"maps"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// Sum adds up what one series counted over a range, from samples and buckets that
// do not overlap. The zero Sum is empty. It is not safe for concurrent use.
type Sum struct {
	counts   governance.Counts
	latency  sketch.Sketch
	lossy    bool
	newest   int64         // second of the newest sample
	inFlight map[int64]int // of samples, by second
	known    map[string]seen
	left     map[string]bool // of known

	// Of buckets.
	most, instances int
	last            int // the most of the newest
	states          map[governance.State]int
	statesAt        int64
}

// Add takes in a sample of an instance. A latency that is no sketch counts nothing
// and marks the sum as lossy.
func (t *Sum) Add(instance string, s governance.Sample) {
	if t.known == nil {
		t.known, t.inFlight = map[string]seen{}, map[int64]int{}
	}
	t.counts = t.counts.Add(s.Counts)
	t.merge(s.Latency, s.Lossy)
	t.newest = max(t.newest, s.Second)
	t.inFlight[s.Second] += s.InFlight
	if l, ok := t.known[instance]; !ok || s.Second >= l.second {
		t.known[instance] = seen{s.Second, s.State}
	}
}

// AddBucket takes in a bucket.
func (t *Sum) AddBucket(b Bucket) {
	t.counts = t.counts.Add(b.Counts)
	t.merge(b.Latency, b.Lossy)
	if b.Start >= t.newest {
		t.newest, t.last = b.Start, b.InFlight
	}
	t.most, t.instances = max(t.most, b.InFlight), max(t.instances, b.Instances)
	if t.states == nil || b.Start >= t.statesAt {
		t.states, t.statesAt = b.States, b.Start
	}
}

func (t *Sum) merge(latency []byte, lossy bool) {
	whole := len(latency) == 0 || t.latency.MergeBinary(latency) == nil
	t.lossy = t.lossy || lossy || !whole
}

// Moved says in which state the last transition of an instance's circuit left it.
// A sample of a later second knows better.
func (t *Sum) Moved(instance string, at time.Time, state governance.State) {
	if t.known == nil {
		t.known, t.inFlight = map[string]seen{}, map[int64]int{}
	}
	if l, ok := t.known[instance]; !ok || at.Unix() >= l.second {
		t.known[instance] = seen{at.Unix(), state}
	}
}

// Left says that an instance is gone, and with it the state it was in.
func (t *Sum) Left(instance string) {
	if t.left == nil {
		t.left = map[string]bool{}
	}
	t.left[instance] = true
}

// Total returns the sum.
func (t *Sum) Total(app governance.App, instance string, sr governance.Series) governance.Total {
	out := governance.Total{
		App: app, Instance: instance, Series: sr, Counts: t.counts, Lossy: t.lossy, InFlight: t.most,
		Instances: max(t.instances, len(t.known)), States: t.lastStates(),
	}
	for _, n := range t.inFlight {
		out.InFlight = max(out.InFlight, n)
	}
	var sampled bool
	if out.LastInFlight, sampled = t.inFlight[t.newest]; !sampled {
		out.LastInFlight = t.last
	}
	if t.newest > 0 {
		out.Last = time.Unix(t.newest, 0).UTC()
	}
	if t.latency.Count() > 0 {
		out.Latency, _ = t.latency.MarshalBinary() // never fails
	}
	return out
}

// lastStates joins the states of instances that are known one by one with those of
// the newest bucket, which only counts them. A circuit that ever left the state
// closed is known by its transition, so that those which only the bucket knows are
// closed ones, as far as it had any.
func (t *Sum) lastStates() map[governance.State]int {
	out := map[governance.State]int{}
	for instance, l := range t.known {
		if !t.left[instance] {
			out[l.state]++
		}
	}
	more := -len(t.known)
	for _, n := range t.states {
		more += n
	}
	rest := slices.Sorted(maps.Keys(t.states))
	for _, state := range append([]governance.State{governance.StateClosed}, rest...) {
		if n := min(more, t.states[state]); n > 0 {
			out[state] += n
			more -= n
		}
	}
	return out
}
