package sample

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQuantileIsTheNearestRank(t *testing.T) {
	five := []float64{35, 20, 15, 50, 40}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	twoHundred := make([]float64, 200)
	for i := range twoHundred {
		twoHundred[i] = float64(200 - i)
	}
	for _, c := range []struct {
		name   string
		values []float64
		q      float64
		want   float64
	}{
		{"5th of five", five, 0.05, 15},
		{"30th of five", five, 0.30, 20},
		{"40th of five", five, 0.40, 20},
		{"median of five", five, 0.50, 35},
		{"all of five", five, 1, 50},
		{"below the range", five, 0, 15},
		{"above the range", five, 1.5, 50},
		{"median of an even number is its lower middle", []float64{1, 2, 3, 4}, 0.5, 2},
		{"p99 of a hundred", hundred, 0.99, 99},
		{"p50 of a hundred", hundred, 0.50, 50},
		{"p99 of two hundred", twoHundred, 0.99, 198},
		{"p99 of few is the largest", five, 0.99, 50},
		{"one value", []float64{7}, 0.5, 7},
	} {
		if got := Of(c.values...).Quantile(c.q); got != c.want {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

func TestQuantileHoldsItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		values := make([]float64, 1+rng.IntN(300))
		for i := range values {
			values[i] = math.Round(rng.NormFloat64() * 20) // rounded, for ties
		}
		q := rng.Float64()
		got := Of(slices.Clone(values)...).Quantile(q)
		atMost, below := 0, 0
		for _, v := range values {
			if v <= got {
				atMost++
			}
			if v < got {
				below++
			}
		}
		if n := float64(len(values)); float64(atMost) < q*n || (below > 0 && float64(below) >= q*n) {
			t.Fatalf("quantile %g of %d values is %g: %d do not exceed it, %d are below", q, len(values), got, atMost, below)
		}
	}
}

func TestAddAfterReading(t *testing.T) {
	s := Of(3, 1)
	if got := s.Max(); got != 3 {
		t.Fatalf("max %g, want 3", got)
	}
	s.Add(9, 2)
	if got := s.Max(); got != 9 {
		t.Errorf("max %g after adding 9", got)
	}
	if got := s.Median(); got != 2 {
		t.Errorf("median %g, want 2", got)
	}
	if got := s.Mean(); got != 3.75 {
		t.Errorf("mean %g, want 3.75", got)
	}
	if got := s.Len(); got != 4 {
		t.Errorf("%d values, want 4", got)
	}
}

func TestEmptySetHasNoNumbers(t *testing.T) {
	var s Set
	for name, got := range map[string]float64{"median": s.Median(), "max": s.Max(), "mean": s.Mean()} {
		if !math.IsNaN(got) {
			t.Errorf("%s of nothing is %g", name, got)
		}
	}
}

func TestAddRefusesWhatIsNoNumber(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("NaN was taken")
		}
	}()
	Of(1, math.NaN())
}

func TestRatio(t *testing.T) {
	if got := Ratio(10, 4); got != 2.5 {
		t.Errorf("10 over 4 is %g", got)
	}
	if got := Ratio(1, 0); !math.IsInf(got, 1) {
		t.Errorf("1 over 0 is %g", got)
	}
	if got := Ratio(math.NaN(), 2); !math.IsNaN(got) {
		t.Errorf("nothing over 2 is %g", got)
	}
}
