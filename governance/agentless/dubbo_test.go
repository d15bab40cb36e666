package agentless

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// qosAnswers are what Dubbo's QoS said at /metrics: of a provider and of a consumer, with
// Dubbo 3.2.19 and 3.3.6, by version, side and moment ("3.3-provider-after").
func qosAnswers(tb testing.TB) map[string]string {
	tb.Helper()
	f, err := os.Open("testdata/dubbo.txt.gz")
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
	out := map[string]string{}
	for n, part := range strings.Split(string(data), "@@ ") {
		if name, text, ok := strings.Cut(part, "\n"); ok && n > 0 {
			out[name] = text
		}
	}
	return out
}

func parsed(tb testing.TB, text string) *dubboTallies {
	tb.Helper()
	all, err := parseDubbo(strings.NewReader(text))
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// counter is an engine that takes answers.
func counter() *dubbo {
	return newDubbo(newSession(New(Config{}), deliveryApp, registryService, registryInstance, func() {}))
}

// counted is what comes of two answers, five seconds apart, by series.
func counted(tb testing.TB, d *dubbo, before, after *dubboTallies) (map[governance.Series]governance.Counts, map[governance.Series]*sketch.Sketch) {
	tb.Helper()
	d.count(before, someTime, 5*time.Second)
	samples, gap := d.count(after, someTime.Add(5*time.Second), 5*time.Second)
	if gap != 0 {
		tb.Errorf("a gap of %s", gap)
	}
	counts, latency := map[governance.Series]governance.Counts{}, map[governance.Series]*sketch.Sketch{}
	for i := range samples {
		s := &samples[i]
		counts[s.Series] = counts[s.Series].Add(s.Counts)
		if s.Second < someTime.Unix() || s.Second >= someTime.Unix()+5 || s.Lossy || s.State != governance.StateClosed {
			tb.Errorf("there is %+v", s)
		}
		if latency[s.Series] == nil {
			latency[s.Series] = &sketch.Sketch{}
		}
		if len(s.Latency) > 0 {
			if err := latency[s.Series].MergeBinary(s.Latency); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return counts, latency
}

// What both lines of Dubbo tell is counted by method, on the side where it is counted,
// with the kinds of failures, and with a latency that is never too short.
func TestWhatDubboCountsIsCountedByMethod(t *testing.T) {
	t.Parallel()
	all := qosAnswers(t)
	provider := map[string]governance.Counts{
		"article":  {Success: 23, Failure: 4}, // of two groups; unknown articles
		"withdraw": {Failure: 2},
		"articles": {Success: 1, Rejected: 3}, // executes=1
		"search":   {Success: 8},
	}
	consumer := maps.Clone(provider)
	consumer["articles"] = governance.Counts{Success: 1, Failure: 3}
	consumer["search"] = governance.Counts{Success: 5, Timeout: 3}
	consumer["note"] = governance.Counts{Failure: 2} // nobody listens there
	triple := maps.Clone(consumer)
	triple["search"] = governance.Counts{Success: 5, Failure: 1, Timeout: 2} // one came as an exception
	for name, c := range map[string]struct {
		before, after string
		at            governance.At
		want          map[string]governance.Counts
		measured      bool
	}{
		"3.3, provider":             {"3.3-provider-before", "3.3-provider-after", governance.Provider, provider, true},
		"3.2, provider":             {"3.2-provider-before", "3.2-provider-after", governance.Provider, provider, true},
		"3.2, provider over Triple": {"3.2-provider-before", "3.2-triple-after", governance.Provider, provider, true},
		"3.3, consumer":             {"", "3.3-consumer-after", governance.Caller, consumer, true},
		"3.2, consumer":             {"", "3.2-consumer-after", governance.Caller, consumer, true},
		"3.2, consumer over Triple": {"", "3.2-triple-consumer", governance.Caller, triple, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := counter()
			got, latency := counted(t, d, parsed(t, all[c.before]), parsed(t, all[c.after]))
			want := map[governance.Series]governance.Counts{}
			for method, counts := range c.want {
				want[governance.Series{Command: "CatalogueService." + method, At: c.at}] = counts
			}
			if !maps.Equal(got, want) {
				t.Errorf("it counted\n%+v, not\n%+v", got, want)
			}
			for series, calls := range latency {
				if n := got[series].Ran(); calls.Count() != n && calls.Count() != n+got[series].Rejected {
					t.Errorf("%+v: of %d calls, %d lasted some time", series, n, calls.Count())
				}
			}
			if lacks := d.lacking(&management{metrics: "http://x:22222/metrics"}); len(lacks) != 0 {
				t.Errorf("it lacks %q", lacks)
			}
			// Three of eight searches took 700 ms at the provider, and its buckets end at 1 s.
			search := latency[governance.Series{Command: "CatalogueService.search", At: c.at}]
			if p := search.Quantile(0.99); c.at == governance.Provider && (p < 700*time.Millisecond || p > 750*time.Millisecond) {
				t.Errorf("the longest took %s", p)
			}
		})
	}
}

func TestDubboWithoutItsCountersSaysSo(t *testing.T) {
	t.Parallel()
	all := qosAnswers(t)
	info := func(version string) string {
		return fmt.Sprintf("# TYPE dubbo_application_info_total counter\ndubbo_application_info_total{application_name=\"x\",application_version=%q,} 1.0\n", version)
	}
	const calls = "# TYPE dubbo_provider_requests_succeed_total counter\ndubbo_provider_requests_succeed_total{interface=\"org.example.Shop\",method=%q,} 3.0\n"
	for name, c := range map[string]struct{ text, lacks string }{
		"3.3 without enable-rpc": {all["3.3-silent-after"], ":22222/metrics has counted no call since the process began: if there were any, set dubbo.metrics.enable-rpc=true"},
		"3.2, idle":              {all["3.2-provider-before"], ""},
		"3.3, called":            {all["3.3-provider-after"], ""},
		"nothing of Dubbo's":     {"# TYPE jvm_threads gauge\njvm_threads 3\n", "says nothing of Dubbo: add io.micrometer:micrometer-registry-prometheus-simpleclient"},
		"by interface":           {info("3.3.6") + fmt.Sprintf(calls, ""), "take dubbo.metrics.rpc-level=SERVICE out"},
		"no histogram":           {info("3.2.19") + fmt.Sprintf(calls, "buy"), "has no histogram of calls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := counter()
			m := &management{metrics: "http://x:22222/metrics"}
			for i := range silentAnswers + 1 {
				d.count(parsed(t, c.text), someTime.Add(time.Duration(i)*5*time.Second), 5*time.Second)
			}
			lacks := strings.Join(d.lacking(m), "\n")
			if (c.lacks == "") != (lacks == "") || !strings.Contains(lacks, c.lacks) {
				t.Errorf("it lacks %q, not %q", lacks, c.lacks)
			}
		})
	}
}

// A process that begins anew begins at nothing, and what Dubbo forgets for a while has
// not happened again when it is back.
func TestDubboCountersThatBeginAnewOrAreForgotten(t *testing.T) {
	t.Parallel()
	text := func(n string) string {
		return fmt.Sprintf("# TYPE dubbo_provider_requests_succeed_total counter\ndubbo_provider_requests_succeed_total{interface=\"a.Shop\",method=\"buy\",} %s\n", n)
	}
	for name, c := range map[string]struct {
		answers []string
		want    int64
		lossy   bool
	}{
		"anew":                      {[]string{text("100.0"), text("7.0")}, 7, true},
		"not a number for a while":  {[]string{text("100.0"), text("NaN"), text("103.0")}, 3, false},
		"not there for a while":     {[]string{text("100.0"), "", text("103.0")}, 3, false},
		"not a number at first":     {[]string{text("NaN"), text("100.0"), text("103.0")}, 3, false},
		"a method that is new":      {[]string{"", text("2.0")}, 2, false},
		"a gauge, of newer clients": {[]string{"", strings.ReplaceAll(strings.ReplaceAll(text("2.0"), "_total", ""), "counter", "gauge")}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := counter()
			got, lossy := governance.Counts{}, false
			for i, answer := range c.answers {
				samples, _ := d.count(parsed(t, answer), someTime.Add(time.Duration(i)*5*time.Second), 5*time.Second)
				for _, s := range samples {
					got, lossy = got.Add(s.Counts), lossy || s.Lossy
				}
			}
			if got != (governance.Counts{Success: c.want}) || lossy != c.lossy {
				t.Errorf("it counted %+v, lossy %v", got, lossy)
			}
		})
	}
}

// A counter that is missing for an answer stays where it was, whatever else is there.
func TestASingleDubboCounterThatIsMissingStays(t *testing.T) {
	t.Parallel()
	text := func(succeed, failed string) (out string) {
		for name, n := range map[string]string{"requests_succeed_total": succeed, "requests_business_failed_total": failed} {
			if n != "" {
				out += fmt.Sprintf("# TYPE dubbo_provider_%[1]s counter\ndubbo_provider_%[1]s{interface=\"a.Shop\",method=\"buy\",} %[2]s\n", name, n)
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		answers []string
		want    governance.Counts
		frozen  bool
	}{
		"missing":                {[]string{text("100", "5"), text("", "6"), text("103", "6")}, governance.Counts{Success: 3, Failure: 1}, false},
		"missing for longer":     {[]string{text("100", "5"), text("", "6"), text("", "7")}, governance.Counts{Failure: 2}, true},
		"no number":              {[]string{text("100", "5"), text("NaN", "6"), text("103", "6")}, governance.Counts{Success: 3, Failure: 1}, false},
		"anew, with one missing": {[]string{text("100", "5"), text("7", "")}, governance.Counts{Success: 7}, false},
		"one anew":               {[]string{text("100", "5"), text("7", "6"), text("9", "6")}, governance.Counts{Success: 2, Failure: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := counter()
			var got governance.Counts
			for i, answer := range c.answers {
				samples, _ := d.count(parsed(t, answer), someTime.Add(time.Duration(i)*5*time.Second), 5*time.Second)
				for _, s := range samples {
					got = got.Add(s.Counts)
				}
			}
			lacks := strings.Join(d.lacking(&management{metrics: "http://x:22222/metrics"}), "\n")
			if got != c.want || strings.Contains(lacks, "does not tell any more") != c.frozen {
				t.Errorf("it counted %+v, and lacks %q", got, lacks)
			}
		})
	}
}

// An answer with ever new methods is not kept for ever.
func TestEverNewMethodsOfDubboAreForgotten(t *testing.T) {
	t.Parallel()
	d := counter()
	for n := range maxOld + 20 {
		var text strings.Builder
		text.WriteString("# TYPE dubbo_provider_requests_succeed_total counter\n")
		for i := range 100 {
			fmt.Fprintf(&text, "dubbo_provider_requests_succeed_total{interface=\"a.Shop\",method=\"m%dx%d\",} 1\n", n, i)
		}
		d.count(parsed(t, text.String()), someTime.Add(time.Duration(n)*5*time.Second), 5*time.Second)
		if len(d.tallies.all) > maxCommands {
			t.Fatalf("after %d answers there are %d", n, len(d.tallies.all))
		}
	}
	for n := range maxOld + 2 {
		d.count(parsed(t, ""), someTime.Add(time.Duration(maxOld+20+n)*5*time.Second), 5*time.Second)
	}
	if len(d.tallies.all) != 0 {
		t.Errorf("%d are kept for ever", len(d.tallies.all))
	}
}

// FuzzDubbo holds that whatever a pod answers, what comes of it may be stored.
func FuzzDubbo(f *testing.F) {
	all := qosAnswers(f)
	f.Add([]byte(all["3.3-provider-before"]), []byte(all["3.3-provider-after"]))
	f.Add([]byte(all["3.2-consumer-after"]), []byte(all["3.2-triple-after"]))
	f.Add([]byte("# TYPE dubbo_provider_rt_milliseconds_histogram_seconds histogram\n"+
		`dubbo_provider_rt_milliseconds_histogram_seconds_bucket{interface="a",method="b",le="NaN"} 1e300`+"\n"+
		`dubbo_provider_rt_milliseconds_histogram_seconds_max{interface="a",method="b"} -Inf`+"\n"+
		`dubbo_provider_requests_succeed_total{interface="a",method="b"} -1`+"\n"), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d := counter()
		now := someTime
		for _, text := range [][]byte{first, second, first} {
			now = now.Add(5 * time.Second)
			all, err := parseDubbo(bytes.NewReader(text))
			if err != nil {
				continue
			}
			samples, gap := d.count(all, now, 5*time.Second)
			if gap < 0 {
				t.Fatalf("a gap of %s", gap)
			}
			checkSamples(t, samples)
			for i := range samples {
				if !usable(samples[i].Command) {
					t.Fatalf("%+v came through", samples[i])
				}
			}
		}
	})
}
