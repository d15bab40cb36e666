package agentless

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/weirmesh/weir/governance"
)

// recorded is the stream of examples/java/spring-hystrix, as its management port
// spoke it: calls, a minute of failures, and a command held open and let go.
func recorded(tb testing.TB) []byte {
	tb.Helper()
	f, err := os.Open("testdata/delivery.sse.gz")
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
	return data
}

// commands decodes all there is.
func commands(tb testing.TB, stream []byte) (out []*commandEvent, garbage int) {
	tb.Helper()
	d := newDecoder(bytes.NewReader(stream))
	for {
		e, err := d.next()
		if errors.Is(err, io.EOF) {
			return out, d.garbage
		}
		if err != nil {
			tb.Fatal(err)
		}
		if e.command != nil {
			out = append(out, e.command)
		}
	}
}

const quote = "CarrierClient#quote(String)"

func TestTheRecordedStreamIsRead(t *testing.T) {
	t.Parallel()
	all, garbage := commands(t, recorded(t))
	if garbage != 0 || len(all) < 100 {
		t.Fatalf("%d commands, %d lines of garbage", len(all), garbage)
	}
	seen := map[governance.State]bool{}
	most := map[string]float64{}
	for _, c := range all {
		if c.Name != quote {
			if c.Name != "workday" || c.Isolation != "SEMAPHORE" || c.Pool != "calendar" {
				t.Fatalf("%+v is not known", c)
			}
			continue
		}
		seen[c.state()] = true
		if c.Isolation != "THREAD" || c.Pool != "carriers" || c.WindowMilli != 10_000 || c.MinCalls != 20 || c.Semaphore != 10 || c.SleepWindow != 5000 {
			t.Fatalf("%+v", c)
		}
		for name, v := range map[string]float64{
			"success": c.Success, "failure": c.Failure, "short": c.ShortCircuited, "fallback": c.FallbackSuccess, "p99": c.Latency.P99, "p50": c.Latency.P50,
		} {
			most[name] = max(most[name], v)
		}
	}
	for _, s := range []governance.State{governance.StateClosed, governance.StateOpen, governance.StateForcedOpen} {
		if !seen[s] {
			t.Errorf("never %s", s)
		}
	}
	for name, v := range most {
		if v <= 0 {
			t.Errorf("%s was never more than %g", name, v)
		}
	}
}

func TestGarbageCostsOneEvent(t *testing.T) {
	t.Parallel()
	good := `data: {"type":"HystrixCommand","name":"a","propertyValue_circuitBreakerEnabled":true}` + "\n\n"
	for name, c := range map[string]struct {
		stream  string
		events  int
		garbage int
	}{
		"well":            {good + good, 2, 0},
		"pings":           {"ping: \n\n" + good + "ping: \n\n:comment\n\n" + `data:{"type":"ping"}` + "\n\n", 1, 0},
		"carriage return": {strings.ReplaceAll(good, "\n", "\r\n"), 1, 0},
		"no space":        {strings.Replace(good, "data: ", "data:", 1), 1, 0},
		"half a line":     {good + "data: {\"type\":\"Hystr\n\n" + good, 2, 1},
		"cut off":         {good + strings.TrimRight(good, "\n"), 1, 0},
		"an error page":   {"<html><body>\n" + good, 1, 0},
		"not an object":   {"data: 17\n\ndata: [1]\n\ndata: null\n\n" + good, 1, 3},
		"wrong types":     {`data: {"type":"HystrixCommand","name":17}` + "\n\n" + good, 1, 1},
		"no name":         {`data: {"type":"HystrixCommand"}` + "\n\n" + good, 1, 1},
		"control name":    {`data: {"type":"HystrixCommand","name":"a\u0000b"}` + "\n\n" + good, 1, 1},
		"long name":       {`data: {"type":"HystrixCommand","name":"` + strings.Repeat("x", 600) + `"}` + "\n\n" + good, 1, 1},
		"endless line":    {"data: " + strings.Repeat("x", 3*maxLine) + "\n\n" + good, 1, 1},
		"others":          {`data: {"type":"HystrixThreadPool","name":"p"}` + "\n\n" + `data: {"type":"HystrixCollapser"}` + "\n\n" + good, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, garbage := commands(t, []byte(c.stream))
			if len(all) != c.events || garbage != c.garbage {
				t.Errorf("%d events and %d lines of garbage, want %d and %d", len(all), garbage, c.events, c.garbage)
			}
		})
	}
}

// FuzzDecode holds that whatever a pod sends, reading it ends, and what comes of it
// may be stored.
func FuzzDecode(f *testing.F) {
	for line := range bytes.SplitSeq(recorded(f), []byte("\n\n")) {
		f.Add(append(line, "\n\n"...))
	}
	f.Add([]byte(`data: {"type":"HystrixCommand","name":"a","rollingCountSuccess":1e300,"latencyExecute":{"100":-1}}` + "\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		all, _ := commands(t, stream)
		w := &window{}
		for _, c := range all {
			if !usable(c.Name) {
				t.Fatalf("%q came through", c.Name)
			}
			for _, step := range []float64{0, 10_000} {
				c.Time += step
				samples, gap := w.take(c, someTime)
				if gap < 0 {
					t.Fatalf("a gap of %s", gap)
				}
				checkSamples(t, samples)
			}
		}
	})
}
