package sketch

import (
	"bytes"
	"encoding"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	_ encoding.BinaryAppender    = (*Sketch)(nil)
	_ encoding.BinaryMarshaler   = (*Sketch)(nil)
	_ encoding.BinaryUnmarshaler = (*Sketch)(nil)
)

// distributions are shapes that latencies have.
var distributions = map[string]func(*rand.Rand) time.Duration{
	"constant": func(*rand.Rand) time.Duration { return 3 * time.Millisecond },
	"uniform":  func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(time.Second))) },
	"lognormal": func(r *rand.Rand) time.Duration {
		return time.Duration(float64(5*time.Millisecond) * math.Exp(r.NormFloat64()))
	},
	"two humps": func(r *rand.Rand) time.Duration {
		if r.IntN(10) == 0 {
			return 900*time.Millisecond + time.Duration(r.Int64N(int64(200*time.Millisecond)))
		}
		return time.Millisecond + time.Duration(r.Int64N(int64(time.Millisecond)))
	},
	"pareto": func(r *rand.Rand) time.Duration {
		return time.Duration(float64(time.Millisecond) / math.Pow(1-r.Float64(), 1/1.1))
	},
}

func TestQuantilesAreWithinTheAccuracy(t *testing.T) {
	for name, draw := range distributions {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var whole Sketch
			parts := make([]Sketch, 7)
			values := make([]time.Duration, 20_000)
			for i := range values {
				values[i] = draw(r)
				whole.Add(values[i])
				parts[i%len(parts)].Add(values[i])
			}
			slices.Sort(values)
			var merged, decoded Sketch
			for i := range parts {
				merged.Merge(&parts[i])
				data, _ := parts[i].MarshalBinary()
				if err := decoded.MergeBinary(data); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range []*Sketch{&whole, &merged, &decoded} {
				if s.Count() != int64(len(values)) || s.Max() != values[len(values)-1] {
					t.Fatalf("count %d, max %s; want %d, %s", s.Count(), s.Max(), len(values), values[len(values)-1])
				}
				for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
					want := values[int(q*float64(len(values)-1))]
					got := s.Quantile(q)
					if diff := math.Abs(float64(got - want)); diff > RelativeAccuracy*float64(want)+1 {
						t.Errorf("quantile %g is %s, want %s within %g %%", q, got, want, 100*RelativeAccuracy)
					}
				}
			}
			a, _ := whole.MarshalBinary()
			b, _ := merged.MarshalBinary()
			c, _ := decoded.MarshalBinary()
			if !bytes.Equal(a, b) || !bytes.Equal(a, c) {
				t.Error("merged parts differ from the whole")
			}
			t.Logf("%d bytes", len(a))
		})
	}
}

func TestEdges(t *testing.T) {
	var s Sketch
	if s.Count() != 0 || s.Max() != 0 || s.Quantile(0.5) != 0 {
		t.Error("an empty sketch holds something")
	}
	data, _ := s.MarshalBinary()
	var back Sketch
	if err := back.UnmarshalBinary(data); err != nil || back.Count() != 0 {
		t.Errorf("empty sketch: %v", err)
	}
	for _, d := range []time.Duration{-5, 0, 1, 2, math.MaxInt64} {
		s.Reset()
		s.Add(d)
		if got, want := s.Quantile(0.5), max(d, 0); math.Abs(float64(got-want)) > RelativeAccuracy*float64(want)+1 {
			t.Errorf("%d is answered as %d", d, got)
		}
		data, _ := s.MarshalBinary()
		if err := back.UnmarshalBinary(data); err != nil || back.Count() != 1 || back.Max() != max(d, 0) {
			t.Errorf("%d: %v, %d values up to %d", d, err, back.Count(), back.Max())
		}
	}
	if got := s.Quantile(math.NaN()); got != s.Quantile(0) {
		t.Errorf("quantile NaN is %s", got)
	}
}

// Values too far apart for the bins lose the low end's accuracy, not their count,
// and the high quantiles stay right, in whichever order they come.
func TestCollapseKeepsTheHighEnd(t *testing.T) {
	values := make([]time.Duration, 0, 19*10)
	for e := range 19 { // 1 ns to 31 years
		for range 10 {
			values = append(values, time.Duration(math.Pow10(e)))
		}
	}
	var encoded []byte
	for seed := range uint64(20) {
		order := slices.Clone(values)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		var s Sketch
		for _, d := range order {
			s.Add(d)
		}
		if s.Count() != int64(len(values)) {
			t.Fatalf("%d values, want %d", s.Count(), len(values))
		}
		if len(s.bins) > maxBins {
			t.Fatalf("%d bins", len(s.bins))
		}
		for _, q := range []float64{0.6, 0.8, 0.9, 0.99} {
			want := values[int(q*float64(len(values)-1))]
			if got := s.Quantile(q); math.Abs(float64(got-want)) > RelativeAccuracy*float64(want)+1 {
				t.Errorf("quantile %g is %s, want %s", q, got, want)
			}
		}
		data, _ := s.MarshalBinary()
		if encoded == nil {
			encoded = data
		}
		if !bytes.Equal(data, encoded) {
			t.Error("the order of values shows")
		}
	}
}

func TestResetKeepsNothing(t *testing.T) {
	var s, fresh Sketch
	for i := range 100 {
		s.Add(time.Duration(i) * time.Second)
	}
	s.Reset()
	for _, d := range []time.Duration{time.Microsecond, time.Hour} {
		s.Add(d)
		fresh.Add(d)
	}
	a, _ := s.MarshalBinary()
	b, _ := fresh.MarshalBinary()
	if !bytes.Equal(a, b) {
		t.Errorf("%x after Reset, %x fresh", a, b)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	var s Sketch
	s.Add(time.Microsecond)
	s.Add(time.Hour)
	if n := testing.AllocsPerRun(1000, func() { s.Add(time.Duration(rand.Int64N(int64(time.Hour)))) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	var good Sketch
	for _, d := range []time.Duration{1, time.Millisecond, time.Second} {
		good.Add(d)
	}
	whole, _ := good.MarshalBinary()
	bad := map[string][]byte{
		"nothing":             {},
		"another version":     {2, 0, 0},
		"the version alone":   {1},
		"more bins than any":  {1, 0, 0x81, 0x05},
		"a bin without value": {1, 1, 1, 0, 0},
		"max without bins":    {1, 5, 0},
		"max beyond the bins": {1, 0xff, 0x7f, 1, 0, 1},
		"a number too long":   {1, 0x80, 0x00, 0},
		"bin out of range":    {1, 1, 1, 0xff, 0x7f, 1},
		"too much":            append(slices.Clone(whole), 0),
		"huge":                append([]byte{1}, make([]byte, maxEncoded)...),
	}
	for i := range whole {
		bad["cut at "+string(rune('0'+i))] = whole[:i]
	}
	for name, data := range bad {
		s := Sketch{}
		s.Add(time.Minute)
		for how, decode := range map[string]func([]byte) error{"unmarshal": s.UnmarshalBinary, "merge": s.MergeBinary} {
			if err := decode(data); err == nil {
				t.Errorf("%s: %s takes it", name, how)
			}
			if s.Count() != 1 || s.Max() != time.Minute {
				t.Errorf("%s: a refused %s changed the sketch", name, how)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	var s Sketch
	for name := range distributions {
		r := rand.New(rand.NewPCG(3, uint64(len(name))))
		for range 50 {
			s.Add(distributions[name](r))
		}
		data, _ := s.MarshalBinary()
		f.Add(data)
	}
	f.Add([]byte{1, 0, 0})
	f.Add([]byte{1, 5, 1, 40, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Sketch
		if s.UnmarshalBinary(data) != nil {
			return
		}
		if len(s.bins) > maxBins || cap(s.bins) > maxBins {
			t.Fatalf("%d bins", cap(s.bins))
		}
		again, _ := s.MarshalBinary()
		if !bytes.Equal(again, data) {
			t.Fatalf("%x decodes and encodes to %x", data, again)
		}
		last := time.Duration(0)
		for q := 0.0; q <= 1; q += 0.125 {
			v := s.Quantile(q)
			if v < last {
				t.Fatalf("quantile %g is %d, less than a lower one, %d", q, v, last)
			}
			last = v
		}
		if last != s.Max() {
			t.Fatalf("quantile 1 is %d, max %d", last, s.Max())
		}
		twice := Sketch{}
		twice.Merge(&s)
		twice.Merge(&s)
		if s.Count() < math.MaxInt64/2 && twice.Count() != 2*s.Count() {
			t.Fatalf("%d values and themselves make %d", s.Count(), twice.Count())
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	var s Sketch
	values := make([]time.Duration, 1024)
	for i := range values {
		values[i] = distributions["lognormal"](rand.New(rand.NewPCG(1, uint64(i))))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(values[i%len(values)])
	}
}

func BenchmarkMergeBinary(b *testing.B) {
	var s, sum Sketch
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		s.Add(distributions["lognormal"](r))
	}
	data, _ := s.MarshalBinary()
	b.ReportAllocs()
	b.ReportMetric(float64(len(data)), "bytes")
	for b.Loop() {
		if err := sum.MergeBinary(data); err != nil {
			b.Fatal(err)
		}
	}
}
