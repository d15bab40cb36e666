package trace_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weirmesh/weir/sdk/trace"
)

func TestSamplerDecidesAsZipkinDoes(t *testing.T) {
	for _, tt := range []struct {
		rate float64
		id   uint64
		want bool
	}{
		{1, 0, true},
		{1, math.MaxInt64, true},
		{1, 1 << 63, true}, // Java: the absolute value of MIN_VALUE is taken as MAX_VALUE
		{1, math.MaxUint64, true},
		{-1, 0, true}, // Java: 0 <= 0
		{-1, 1, false},
		{-1, math.MaxUint64, false}, // -1
		{0.5, 1<<62 - 1, true},
		{0.5, 1 << 62, true},
		{0.5, 1<<62 + 1, false},
		{0.5, -(1 << 62) & math.MaxUint64, true}, // negative ids by their absolute value
		{0.5, -(1<<62 + 1) & math.MaxUint64, false},
		// (long) (Long.MAX_VALUE * 0.1f) is 922337217429372928 in Java.
		{0.1, 922337217429372928, true},
		{0.1, 922337217429372929, false},
	} {
		if got := trace.NewSampler(tt.rate).Sample(tt.id); got != tt.want {
			t.Errorf("rate %g, id %#x: got %t", tt.rate, tt.id, got)
		}
	}
}

func TestSamplerRateIsLiveAndNested(t *testing.T) {
	s := trace.NewSampler(0)
	if s.Rate() != 1 {
		t.Errorf("the zero rate keeps %g, want all", s.Rate())
	}
	r := rand.New(rand.NewPCG(1, 2))
	ids := make([]uint64, 20_000)
	for i := range ids {
		ids[i] = r.Uint64()
	}
	before := map[uint64]bool{}
	for _, rate := range []float64{0.01, 0.1, 0.5, 0.9} {
		s.SetRate(rate)
		kept := 0
		for _, id := range ids {
			keep := s.Sample(id)
			if before[id] && !keep {
				t.Fatalf("rate %g drops %#x, which a lower rate kept", rate, id)
			}
			before[id] = keep
			if keep {
				kept++
			}
		}
		if got := float64(kept) / float64(len(ids)); math.Abs(got-rate) > 0.02 {
			t.Errorf("rate %g keeps %g", rate, got)
		}
	}
	s.SetRate(7)
	if s.Rate() != 1 {
		t.Errorf("rate 7 became %g", s.Rate())
	}
}
