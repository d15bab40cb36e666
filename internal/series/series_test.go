package series_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/internal/series"
)

var (
	reserve = governance.Series{Command: "InventoryService.reserve", At: governance.Provider}
	states  = []governance.State{
		governance.StateClosed, governance.StateOpen, governance.StateHalfOpen,
		governance.StateForcedOpen, governance.StateForcedClosed, governance.StateDisabled,
	}
)

const minute = int64(1_800_000_000) // divisible by 60

func latency(tb testing.TB, all ...time.Duration) []byte {
	tb.Helper()
	var s sketch.Sketch
	for _, d := range all {
		s.Add(d)
	}
	out, err := s.MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// someSamples are those of a minute with gaps, by a fixed seed.
func someSamples(tb testing.TB, seed uint64) []governance.Sample {
	tb.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	var out []governance.Sample
	for s := range int64(60) {
		if r.IntN(4) == 0 && len(out) > 0 {
			continue
		}
		sample := governance.Sample{
			Series: reserve, Second: minute + s, InFlight: r.IntN(100), State: states[r.IntN(len(states))], Lossy: r.IntN(9) == 0,
			Counts: governance.Counts{
				Success: r.Int64N(1000), Failure: r.Int64N(10), Ignored: r.Int64N(3), Timeout: r.Int64N(5), Canceled: r.Int64N(2), Rejected: r.Int64N(9),
				ShortCircuited: r.Int64N(1 << 40), Switched: r.Int64N(7), FallbackSuccess: r.Int64N(8), FallbackFailure: r.Int64N(2), Slow: r.Int64N(4),
			},
		}
		if r.IntN(3) > 0 {
			sample.Latency = latency(tb, time.Duration(r.IntN(1e9)), time.Duration(r.IntN(1e6)))
		}
		out = append(out, sample)
	}
	return out
}

func TestAChunkKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		want := someSamples(t, seed)
		data, err := series.EncodeChunk(minute, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := series.DecodeChunk(minute, reserve, data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d:\nput %+v\ngot %+v", seed, want, got)
		}
	}
}

func TestAChunkTakesOnlyWhatBelongsIntoItsMinute(t *testing.T) {
	t.Parallel()
	for name, seconds := range map[string][]int64{"before": {-1}, "after": {60}, "twice": {3, 3}, "backwards": {4, 3}} {
		var samples []governance.Sample
		for _, s := range seconds {
			samples = append(samples, governance.Sample{Series: reserve, Second: minute + s})
		}
		if _, err := series.EncodeChunk(minute, samples); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

func TestABucketKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	for _, want := range []series.Bucket{
		{Start: minute},
		{
			Start: minute, Counts: governance.Counts{Success: 1 << 50, Slow: 3}, InFlight: 12, Instances: 1000, Lossy: true,
			States:  map[governance.State]int{governance.StateClosed: 990, governance.StateForcedOpen: 10},
			Latency: latency(t, time.Millisecond, time.Hour),
		},
	} {
		got, err := series.DecodeBucket(minute, series.EncodeBucket(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("put %+v, got %+v, %v", want, got, err)
		}
	}
}

func TestJoinedBucketsAreTheSamplesOfAll(t *testing.T) {
	t.Parallel()
	from := time.Unix(minute, 0)
	direct := series.NewMerger(from, from.Add(time.Minute), time.Minute)
	fine := series.NewMerger(from, from.Add(time.Minute), 10*time.Second)
	for seed, instance := range []string{"a", "b", "c"} {
		for _, s := range someSamples(t, uint64(seed)) {
			direct.Add(instance, s)
			fine.Add(instance, s)
		}
	}
	coarse := series.NewMerger(from, from.Add(time.Minute), time.Minute)
	for _, b := range fine.Buckets() {
		again, err := series.DecodeBucket(b.Start, series.EncodeBucket(b))
		if err != nil {
			t.Fatal(err)
		}
		coarse.AddBucket(again)
	}
	want, got := direct.Points(), coarse.Points()
	if len(want) != 1 || len(got) != 1 || got[0].Counts != want[0].Counts || *got[0].Latency != *want[0].Latency ||
		got[0].InFlight != want[0].InFlight || got[0].Instances != want[0].Instances || got[0].Lossy != want[0].Lossy {
		t.Fatalf("by tens %+v\nat once %+v", got, want)
	}
}

func TestJoinAddsUpSecondsThatCameTwice(t *testing.T) {
	t.Parallel()
	got := series.Join([]governance.Sample{
		{Second: minute + 2, Counts: governance.Counts{Success: 1}, InFlight: 3, State: governance.StateOpen},
		{Second: minute, Counts: governance.Counts{Success: 1}, Latency: latency(t, time.Second)},
		{Second: minute + 2, Counts: governance.Counts{Failure: 2}, Latency: latency(t, time.Minute), InFlight: 1, State: governance.StateClosed, Lossy: true},
		{Second: minute, Counts: governance.Counts{Success: 1}, Latency: latency(t, time.Millisecond)},
	})
	want := []governance.Sample{
		{Second: minute, Counts: governance.Counts{Success: 2}, Latency: latency(t, time.Second, time.Millisecond)},
		{Second: minute + 2, Counts: governance.Counts{Success: 1, Failure: 2}, Latency: latency(t, time.Minute), InFlight: 3, State: governance.StateClosed, Lossy: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v", got)
	}
	// What cannot be joined stops nobody.
	good := latency(t, time.Second)
	for _, pair := range [][2][]byte{{[]byte("x"), good}, {good, []byte("x")}} {
		got := series.Join([]governance.Sample{{Latency: pair[0]}, {Latency: pair[1]}})
		if len(got) != 1 || !got[0].Lossy || !bytes.Equal(got[0].Latency, good) {
			t.Errorf("joined %q to %+v", pair, got)
		}
	}
}

func FuzzDecodeChunk(f *testing.F) {
	for seed := range uint64(3) {
		data, err := series.EncodeChunk(minute, someSamples(f, seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{1})
	f.Add([]byte{1, 3, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := series.DecodeChunk(minute, reserve, data)
		if err != nil {
			return
		}
		again, err := series.EncodeChunk(minute, got)
		if err != nil {
			t.Fatalf("decoded what cannot be encoded: %v", err)
		}
		twice, err := series.DecodeChunk(minute, reserve, again)
		if err != nil || !reflect.DeepEqual(got, twice) {
			t.Fatalf("first %+v, then %+v, %v", got, twice, err)
		}
	})
}

func FuzzDecodeBucket(f *testing.F) {
	f.Add(series.EncodeBucket(series.Bucket{}))
	f.Add(series.EncodeBucket(series.Bucket{Counts: governance.Counts{Success: 3}, States: map[governance.State]int{governance.StateOpen: 2}, Latency: latency(f, time.Second)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := series.DecodeBucket(minute, data)
		if err != nil {
			return
		}
		twice, err := series.DecodeBucket(minute, series.EncodeBucket(got))
		if err != nil || !reflect.DeepEqual(got, twice) {
			t.Fatalf("first %+v, then %+v, %v", got, twice, err)
		}
		m := series.NewMerger(time.Unix(minute, 0), time.Unix(minute+60, 0), time.Minute)
		m.AddBucket(got)
		m.Points() // does not panic, whatever the sketch is
	})
}
