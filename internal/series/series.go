// Package series joins samples of instances to points of time series, and holds
// the two encodings in which history keeps them: chunks, which are the seconds of
// one instance in one minute, and buckets, which are all instances of an
// application in one span. Counts add up, latency sketches are merged, and no
// percentile is ever averaged.
package series

import (
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// Bucket is what all instances of an application counted for one series in one
// span of time.
type Bucket struct {
	Start     int64 // Unix seconds
	Counts    governance.Counts
	InFlight  int                      // the most in any second, over all instances
	Instances int                      // that had a sample; where spans were joined, the most in one of them
	States    map[governance.State]int // instances by the last state they were in
	Latency   []byte                   // an encoded sketch; empty when nothing ran
	Lossy     bool
}

// Merger gathers samples and buckets of one series into spans of one length. It
// is not safe for concurrent use.
type Merger struct {
	from, to, step int64
	spans          map[int64]*span
}

type span struct {
	counts   governance.Counts
	latency  sketch.Sketch
	lossy    bool
	last     map[string]seen // of samples, by instance
	inFlight map[int64]int   // of samples, by second

	// Of buckets.
	most, instances int
	states          map[governance.State]int
	statesAt        int64
}

type seen struct {
	second int64
	state  governance.State
}

// NewMerger returns one for the range that begins at from and ends before to, which
// step, whole seconds, divides into spans.
func NewMerger(from, to time.Time, step time.Duration) *Merger {
	return &Merger{from: from.Unix(), to: to.Unix(), step: max(1, int64(step/time.Second)), spans: map[int64]*span{}}
}

func (m *Merger) span(second int64) *span {
	if second < m.from || second >= m.to {
		return nil
	}
	start := second - (second-m.from)%m.step
	s := m.spans[start]
	if s == nil {
		s = &span{}
		m.spans[start] = s
	}
	return s
}

// Add takes in a sample of an instance; one outside the range is passed over. A
// latency that is no sketch counts nothing and marks the span as lossy.
func (m *Merger) Add(instance string, s governance.Sample) {
	p := m.span(s.Second)
	if p == nil {
		return
	}
	if p.last == nil {
		p.last, p.inFlight = map[string]seen{}, map[int64]int{}
	}
	p.counts = p.counts.Add(s.Counts)
	merged := p.merge(s.Latency)
	p.lossy = p.lossy || s.Lossy || !merged
	p.inFlight[s.Second] += s.InFlight
	if l, ok := p.last[instance]; !ok || s.Second >= l.second {
		p.last[instance] = seen{s.Second, s.State}
	}
}

// AddBucket takes in a bucket whose span lies within one of the merger's.
func (m *Merger) AddBucket(b Bucket) {
	p := m.span(b.Start)
	if p == nil {
		return
	}
	p.counts = p.counts.Add(b.Counts)
	merged := p.merge(b.Latency)
	p.lossy = p.lossy || b.Lossy || !merged
	p.most = max(p.most, b.InFlight)
	p.instances = max(p.instances, b.Instances)
	if p.states == nil || b.Start >= p.statesAt {
		p.states, p.statesAt = b.States, b.Start
	}
}

func (p *span) merge(latency []byte) bool {
	return len(latency) == 0 || p.latency.MergeBinary(latency) == nil
}

// Buckets returns what was gathered, in order of time.
func (m *Merger) Buckets() []Bucket {
	out := make([]Bucket, 0, len(m.spans))
	for start, p := range m.spans {
		b := Bucket{
			Start: start, Counts: p.counts, InFlight: p.most, Lossy: p.lossy,
			Instances: max(p.instances, len(p.last)), States: p.states,
		}
		for _, n := range p.inFlight {
			b.InFlight = max(b.InFlight, n)
		}
		if len(p.last) > 0 {
			newest := int64(0)
			states := map[governance.State]int{}
			for _, l := range p.last {
				newest = max(newest, l.second)
				states[l.state]++
			}
			if b.States == nil || newest >= p.statesAt {
				b.States = states
			}
		}
		if p.latency.Count() > 0 {
			b.Latency, _ = p.latency.MarshalBinary() // never fails
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b Bucket) int { return int(a.Start - b.Start) })
	return out
}

// Points returns what was gathered as points, in order of time; spans in which
// there was nothing are left out.
func (m *Merger) Points() []governance.Point {
	buckets := m.Buckets()
	out := make([]governance.Point, len(buckets))
	for i, b := range buckets {
		out[i] = governance.Point{
			Time: time.Unix(b.Start, 0).UTC(), Counts: b.Counts, InFlight: b.InFlight, Instances: b.Instances,
			States: b.States, Lossy: b.Lossy,
		}
		if l := &m.spans[b.Start].latency; l.Count() > 0 {
			out[i].Latency = &governance.Percentiles{
				P50: governance.Duration(l.Quantile(0.5)), P90: governance.Duration(l.Quantile(0.9)),
				P99: governance.Duration(l.Quantile(0.99)), Max: governance.Duration(l.Max()),
			}
		}
	}
	return out
}

// Join merges samples of one instance and series so that each second has one,
// in order. Of latencies that cannot be joined, one is kept and the second marked
// as lossy. It changes the slice it is given.
func Join(samples []governance.Sample) []governance.Sample {
	slices.SortStableFunc(samples, func(a, b governance.Sample) int { return int(a.Second - b.Second) })
	out := samples[:0]
	for _, s := range samples {
		n := len(out)
		if n == 0 || out[n-1].Second != s.Second {
			out = append(out, s)
			continue
		}
		latency, whole := joinLatency(out[n-1].Latency, s.Latency)
		o := &out[n-1]
		o.Counts, o.Latency, o.State = o.Counts.Add(s.Counts), latency, s.State
		o.InFlight, o.Lossy = max(o.InFlight, s.InFlight), o.Lossy || s.Lossy || !whole
	}
	return out
}

// joinLatency merges two encoded sketches; whole is false when one was left out.
func joinLatency(a, b []byte) (joined []byte, whole bool) {
	if len(a) == 0 || len(b) == 0 {
		return append(slices.Clone(a), b...), true
	}
	var s sketch.Sketch
	if s.MergeBinary(a) != nil {
		return slices.Clone(b), false
	}
	if s.MergeBinary(b) != nil {
		return slices.Clone(a), false
	}
	joined, err := s.MarshalBinary()
	return joined, err == nil
}
