package series_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/internal/series"
)

// aMinute is what one series of one instance counts in a minute of steady load:
// about 20 calls a second, latencies spread around 8 ms, an error now and then.
func aMinute(b *testing.B) []governance.Sample {
	b.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	out := make([]governance.Sample, 60)
	for s := range out {
		n := 15 + r.IntN(10)
		var lat sketch.Sketch
		for range n {
			lat.Add(time.Duration(8e6 * math.Exp(r.NormFloat64()/2)))
		}
		raw, err := lat.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		out[s] = governance.Sample{
			Series: reserve, Second: minute + int64(s), Latency: raw, InFlight: 1 + r.IntN(4), State: governance.StateClosed,
			Counts: governance.Counts{Success: int64(n), Failure: int64(r.IntN(20) / 19)},
		}
	}
	return out
}

// BenchmarkChunk prints what a sample takes in history, beside its JSON.
func BenchmarkChunk(b *testing.B) {
	samples := aMinute(b)
	plain, err := json.Marshal(samples)
	if err != nil {
		b.Fatal(err)
	}
	var data []byte
	b.Run("op=encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if data, err = series.EncodeChunk(minute, samples); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(data))/60, "B/sample")
		b.ReportMetric(float64(len(plain))/60, "B/sample-json")
	})
	b.Run("op=decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := series.DecodeChunk(minute, reserve, data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
