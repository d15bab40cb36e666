//go:build linux

package samples

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance/sketch"
)

// TestReportsAreTrue checks that the samples are such as instances send, so that
// what is stored of them is what it would be.
func TestReportsAreTrue(t *testing.T) {
	g := newGenerator(1, 3, 20)
	at := time.Unix(1_800_000_000, 0)
	reports, n, err := g.second(at)
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 3 || n == 0 || n >= 60 {
		t.Fatalf("%d reports with %d samples, want 3 with fewer than one for each command", len(reports), n)
	}
	counted := 0
	for _, r := range reports {
		counted += len(r.Samples)
		for _, s := range r.Samples {
			var latency sketch.Sketch
			if err := latency.UnmarshalBinary(s.Latency); err != nil {
				t.Fatal(err)
			}
			if s.Counts.Ran() == 0 || latency.Count() != s.Counts.Ran() || s.Second != at.Unix() || s.InFlight < 1 {
				t.Errorf("sample %+v with %d latencies", s, latency.Count())
			}
		}
	}
	if counted != n {
		t.Errorf("%d samples are said to be %d", counted, n)
	}
	again, m, err := newGenerator(1, 3, 20).second(at)
	if err != nil || m != n || !bytes.Equal(again[0].Samples[0].Latency, reports[0].Samples[0].Latency) {
		t.Errorf("the same seed makes %d samples, then %d (%v)", n, m, err)
	}
}

func TestPoissonHasItsMean(t *testing.T) {
	g := newGenerator(1, 1, 1)
	for _, mean := range []float64{0.3, 5, 200} {
		sum := 0
		for range 2000 {
			sum += g.poisson(mean)
		}
		if got := float64(sum) / 2000; math.Abs(got-mean) > mean/10 {
			t.Errorf("mean %g, want %g", got, mean)
		}
	}
}

func TestReportDividesBySamples(t *testing.T) {
	var out strings.Builder
	results := [2]measured{
		{wrote: time.Second, finished: time.Second, own: time.Millisecond, bytes: map[string]float64{byInstance: 20_000, byApp: 10_000}, wal: 40_000},
		{wrote: 2 * time.Second, own: 2 * time.Millisecond, bytes: map[string]float64{byInstance: 90_000}, wal: 80_000},
	}
	if err := table(Options{Instances: 50, Commands: 20, Minutes: 3}, 1000, results, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"bytes per sample, indexes included 30 B 90 B 3×",
		"by the second and instance 20 B 90 B 4.50×",
		"written ahead per sample 40 B 80 B 2×",
		"durable per second 1,000 500",
		"and in its final form 500 500",
		"processor time per sample 1 µs 2 µs 2×",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestOptions(t *testing.T) {
	if o, err := ParseOptions(nil, io.Discard); err != nil || o != (Options{50, 20, 3}) {
		t.Errorf("defaults: %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-instances", "0"}, {"-commands", "0"}, {"-minutes", "0"}, {"-minutes", "1000"}} {
		if _, err := ParseOptions(args, io.Discard); err == nil {
			t.Errorf("%q were taken", args)
		}
	}
}
