package agentless

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/registry"
)

// answers are what the management port of examples/java/spring-resilience4j said: by
// moment, such as "04-opened", the circuit breakers (.json) and the metrics (.prom).
func answers(tb testing.TB) map[string]string {
	tb.Helper()
	f, err := os.Open("testdata/gifts.txt.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "@@ ")
	out := map[string]string{}
	for part := range strings.SplitSeq(rest, "@@ ") {
		name, text, _ := strings.Cut(part, "\n")
		out[name] = text
	}
	return out
}

func tallied(tb testing.TB, text string) *tallies {
	tb.Helper()
	t, err := parseTallies(strings.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func circuitsOf(tb testing.TB, text string) map[string]circuit {
	tb.Helper()
	var answer struct {
		All map[string]circuit `json:"circuitBreakers"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		tb.Fatal(err)
	}
	return answer.All
}

var (
	inf              = math.Inf(1)
	registryService  = registry.Service{Govern: &registry.Govern{}}
	registryInstance = registry.Instance{ID: "1", Name: "gifts-1"}
)

const price = "PriceClient#price(String)"

// moments are what was recorded, and what the application did before each.
var moments = []struct {
	name  string
	price governance.Counts
	state governance.State
}{
	{"01-fresh", governance.Counts{}, governance.StateClosed},
	{"02-calls", governance.Counts{Success: 30}, governance.StateClosed},
	{"03-some-failures", governance.Counts{Success: 0, Failure: 15}, governance.StateClosed},
	{"04-opened", governance.Counts{Failure: 15, ShortCircuited: 45}, governance.StateOpen},
	{"05-tried", governance.Counts{Success: 1}, governance.StateHalfOpen},
	{"06-closed", governance.Counts{Success: 10}, governance.StateClosed},
	{"07-forced-open", governance.Counts{Switched: 20}, governance.StateForcedOpen},
	{"08-disabled", governance.Counts{}, governance.StateDisabled}, // seven calls, of which nothing tells
	{"09-released", governance.Counts{Success: 5}, governance.StateClosed},
}

func TestWhatWasRecordedIsCounted(t *testing.T) {
	t.Parallel()
	all := answers(t)
	n := newSession(New(Config{}), deliveryApp, registryService, registryInstance, func() {})
	r := newResilience(n)
	n.engine = r
	now := someTime
	for _, m := range moments {
		now = now.Add(5 * time.Second)
		r.observe(circuitsOf(t, all[m.name+".json"]), now)
		samples, gap := countAt(r, tallied(t, all[m.name+".prom"]), now)
		if gap != 0 {
			t.Errorf("%s: a gap of %s", m.name, gap)
		}
		checkSamples(t, samples)
		var got governance.Counts
		var calls sketch.Sketch
		for _, s := range samples {
			if s.Second < now.Unix()-5 || s.Second >= now.Unix() || s.Lossy {
				t.Errorf("%s: at %d there is %+v", m.name, s.Second-now.Unix(), s)
			}
			if s.Command != price {
				continue
			}
			if s.State != m.state {
				t.Errorf("%s: it is %s", m.name, s.State)
			}
			got = got.Add(s.Counts)
			if err := calls.MergeBinary(s.Latency); len(s.Latency) > 0 && err != nil {
				t.Fatal(err)
			}
		}
		if got != m.price {
			t.Errorf("%s: it counted %+v, not %+v", m.name, got, m.price)
		}
		if calls.Count() != got.Ran() {
			t.Errorf("%s: of %d calls, %d lasted some time", m.name, got.Ran(), calls.Count())
		}
		if p := calls.Quantile(0.5); got.Success > 1 && (p < time.Millisecond || p > time.Second) {
			t.Errorf("%s: half of the calls took %s", m.name, p)
		}
	}
	var told []string
	for _, moved := range n.out.transitions {
		if moved.Command == price {
			told = append(told, string(moved.To)+": "+moved.Cause)
		}
	}
	want := "open: 50 % of 60 calls failed, 50 % allowed\nhalfOpen: it has been open for as long as it may, and lets probes through\n" +
		"closed: its probes succeeded\nforcedOpen: its application or its actuator was told to\ndisabled: its application or its actuator was told to\nclosed: nothing holds it any more"
	if got := strings.Join(told, "\n"); got != want {
		t.Errorf("it tells\n%s\nnot\n%s", got, want)
	}
}

func TestCountersThatBeginAnewAreCountedFromThere(t *testing.T) {
	t.Parallel()
	all := answers(t)
	n := newSession(New(Config{}), deliveryApp, registryService, registryInstance, func() {})
	r := newResilience(n)
	r.observe(circuitsOf(t, all["09-released.json"]), someTime)
	countAt(r, tallied(t, all["09-released.prom"]), someTime)
	samples, _ := countAt(r, tallied(t, all["02-calls.prom"]), someTime.Add(5*time.Second))
	var got governance.Counts
	for _, s := range samples {
		if s.Command == price {
			got = got.Add(s.Counts)
			if !s.Lossy {
				t.Errorf("%+v is said to be whole", s)
			}
		}
	}
	if got.Success != 30 || got.Calls() != 30 {
		t.Errorf("it counted %+v", got)
	}
	// What was counted over a time that is too long is given up, and what follows is
	// marked.
	if samples, gap := countAt(r, tallied(t, all["02-calls.prom"]), someTime.Add(time.Hour)); len(samples) != 0 || gap < 50*time.Minute {
		t.Errorf("a gap of %s, and %+v", gap, samples)
	}
	samples, _ = countAt(r, tallied(t, all["03-some-failures.prom"]), someTime.Add(time.Hour+5*time.Second))
	if len(samples) == 0 || !samples[0].Lossy {
		t.Errorf("after it: %+v", samples)
	}
}

func TestTextsOfOthersAreReadAsFarAsTheyGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text    string
		success float64
		buckets int
		fails   bool
	}{
		"without a histogram": {`# TYPE resilience4j_circuitbreaker_calls_seconds summary
resilience4j_circuitbreaker_calls_seconds_count{kind="successful",name="a"} 7
resilience4j_circuitbreaker_calls_seconds_sum{kind="successful",name="a"} 0.5
`, 7, 0, false},
		"of Spring Boot 2": {`# TYPE resilience4j_circuitbreaker_calls_seconds histogram
resilience4j_circuitbreaker_calls_seconds_bucket{kind="successful",name="a",le="0.1",} 5.0
resilience4j_circuitbreaker_calls_seconds_bucket{kind="successful",name="a",le="+Inf",} 7.0
resilience4j_circuitbreaker_calls_seconds_count{kind="successful",name="a",} 7.0
`, 7, 2, false},
		"tagged beyond": {`# TYPE resilience4j_circuitbreaker_calls_seconds summary
resilience4j_circuitbreaker_calls_seconds_count{application="x",kind="successful",name="a",zone="1"} 7
resilience4j_circuitbreaker_calls_seconds_count{application="x",kind="successful",name="a",zone="2"} 3
`, 10, 0, false},
		"nothing of it": {"# TYPE jvm_threads gauge\njvm_threads 3\n", 0, 0, false},
		"empty":         {"", 0, 0, false},
		"a page":        {"<html><body>Login</body></html>\n", 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, err := parseTallies(strings.NewReader(c.text))
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			if c.fails {
				return
			}
			a := all.all[atProvider("a")]
			if a == nil {
				a = &tally{}
			}
			if a.success != c.success || len(a.buckets) != c.buckets || all.told != (c.success > 0) {
				t.Errorf("%+v, told %v", a, all.told)
			}
		})
	}
}

// Whatever buckets say, a quantile is the bound of the bucket that it is in.
func TestBucketsBoundFromAbove(t *testing.T) {
	t.Parallel()
	before := &tally{success: 10, buckets: map[float64]float64{0.01: 10, 0.1: 10, 1: 10, inf: 10}}
	now := &tally{success: 110, longest: 4, buckets: map[float64]float64{0.01: 60, 0.1: 100, 1: 109, inf: 110}}
	counts, above, ok := now.since(before)
	if !ok || counts.Success != 100 {
		t.Fatalf("%+v %v", counts, ok)
	}
	for rank, want := range map[float64]time.Duration{
		0.5: 10 * time.Millisecond, 50: 10 * time.Millisecond, 50.5: 100 * time.Millisecond, 90: 100 * time.Millisecond, 95: time.Second, 99.5: 4 * time.Second, 100: 4 * time.Second,
	} {
		if got := above(rank); got != want {
			t.Errorf("%g %% take at most %s, not %s", rank, want, got)
		}
	}
}

// FuzzTallies holds that whatever a pod answers, what comes of it may be stored.
func FuzzTallies(f *testing.F) {
	all := answers(f)
	for _, m := range moments {
		f.Add([]byte(all[m.name+".prom"]), []byte(all[m.name+".prom"]))
	}
	f.Add([]byte("# TYPE resilience4j_circuitbreaker_calls_seconds histogram\n"+
		`resilience4j_circuitbreaker_calls_seconds_bucket{kind="failed",name="a",le="NaN"} 1e300`+"\n"+
		`resilience4j_circuitbreaker_calls_seconds_count{kind="failed",name="a"} -1`+"\n"), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		n := newSession(New(Config{}), deliveryApp, registryService, registryInstance, func() {})
		r := newResilience(n)
		r.observe(map[string]circuit{"a": {State: circuitForcedOpen, NotPermitted: 3}}, someTime)
		now := someTime
		for _, text := range [][]byte{first, second, first} {
			now = now.Add(5 * time.Second)
			all, err := parseTallies(bytes.NewReader(text))
			if err != nil {
				continue
			}
			samples, gap := countAt(r, all, now)
			if gap < 0 {
				t.Fatalf("a gap of %s", gap)
			}
			checkSamples(t, samples)
			for _, s := range samples {
				if !usable(s.Command) {
					t.Fatalf("%q came through", s.Command)
				}
			}
		}
	})
}

func BenchmarkTallies(b *testing.B) {
	text := []byte(answers(b)["06-closed.prom"])
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := parseTallies(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
