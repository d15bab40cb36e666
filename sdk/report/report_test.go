package report_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/sdk/report"
	"github.com/weirmesh/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var orders = governance.App{Namespace: "shop", Name: "orders"}

// bench is a reporter in a bubble, with its control plane.
type bench struct {
	mesh     *sdktest.Mesh
	server   *memhttp.Server
	reporter *report.Reporter
	cfg      report.Config
	stop     func()
	log      bytes.Buffer

	mu      sync.Mutex
	samples []governance.Sample
	applied governance.Applied
	calls   []governance.App
	answers []governance.ReportAnswer
}

// newBench starts a reporter; user goes before the host of its address.
func newBench(t *testing.T, user ...string) *bench {
	t.Helper()
	b := &bench{mesh: sdktest.New()}
	b.server = memhttp.Start(t, b.mesh)
	tr := b.server.Transport()
	b.cfg = report.Config{
		URL: strings.Replace(b.server.URL, "://", "://"+strings.Join(user, ""), 1), App: orders, Instance: "i1", Name: "orders-0",
		Applied:   func() governance.Applied { b.mu.Lock(); defer b.mu.Unlock(); return b.applied },
		NewCalls:  func() []governance.App { b.mu.Lock(); defer b.mu.Unlock(); return b.calls },
		Answered:  func(a governance.ReportAnswer) { b.mu.Lock(); defer b.mu.Unlock(); b.answers = append(b.answers, a) },
		Transport: tr, Logger: slog.New(slog.NewTextHandler(&b.log, nil)),
	}
	r, err := report.New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.AddSource(func(time.Time) []governance.Sample {
		b.mu.Lock()
		defer b.mu.Unlock()
		s := b.samples
		b.samples = nil
		return s
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	b.reporter = r
	b.stop = func() { cancel(); <-done }
	t.Cleanup(tr.CloseIdleConnections)
	t.Cleanup(func() { b.stop() })
	synctest.Wait()
	return b
}

// count counts n calls of a command now.
func (b *bench) count(command string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.samples = append(b.samples, governance.Sample{
		Series: governance.Series{Command: command, At: governance.Provider}, Second: time.Now().Unix(),
		Counts: governance.Counts{Success: n}, State: governance.StateClosed,
	})
}

func (b *bench) apply(version int64) {
	b.mu.Lock()
	b.applied = governance.Applied{Version: version, Hash: fmt.Sprint("h", version)}
	b.mu.Unlock()
	b.reporter.Poke()
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestSamplesAndTransitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		pass(5 * time.Second)
		if got := b.mesh.Reports(); len(got) != 0 {
			t.Fatalf("nothing to tell gave %+v", got)
		}
		for range 3 {
			b.count("place", 7)
			pass(time.Second)
		}
		b.reporter.Transition(governance.Transition{Series: governance.Series{Command: "place"}, To: governance.StateOpen, Cause: "because"})
		pass(time.Second)
		got := b.mesh.Reports()
		if c := b.mesh.Counts("shop/orders", "place"); c.Success != 21 {
			t.Errorf("told of %+v", c)
		}
		if tr := b.mesh.Transitions("shop/orders", "place"); len(tr) != 1 || tr[0].Cause != "because" {
			t.Errorf("told of %+v", tr)
		}
		for i, r := range got {
			if r.Seq != int64(i+1) || r.Boot == "" || r.Boot != got[0].Boot || r.Wire != 1 || r.App != orders || r.Instance != "i1" || r.Name != "orders-0" || r.Sent.IsZero() {
				t.Errorf("report %d is %+v", i, r)
			}
		}
		if s := b.reporter.Stats(); s.Sent != int64(len(got)) || s.Failures != 0 || s.Waiting != 0 {
			t.Errorf("%+v of %d", s, len(got))
		}
	})
}

func TestAcknowledgementIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		pass(10 * time.Second)
		b.apply(4)
		pass(20 * time.Millisecond)
		if a, ok := b.mesh.Applied("i1"); !ok || a.Version != 4 {
			t.Fatalf("20 ms after it was applied, the control plane knows %+v", a)
		}
		if s := b.reporter.Stats(); s.Acknowledged != 4 {
			t.Errorf("%+v", s)
		}
		b.reporter.Poke() // nothing new
		pass(20 * time.Millisecond)
		if n := len(b.mesh.Reports()); n != 1 {
			t.Errorf("%d reports of one thing", n)
		}
		b.mu.Lock()
		b.applied.Refused = &governance.Refusal{Version: 5, Reason: "no"}
		b.mu.Unlock()
		b.reporter.Poke()
		pass(20 * time.Millisecond)
		if a, _ := b.mesh.Applied("i1"); a.Version != 4 || a.Refused == nil || a.Refused.Reason != "no" {
			t.Errorf("of the refusal it knows %+v", a)
		}
		b.mu.Lock()
		b.calls = []governance.App{{Namespace: "shop", Name: "pricing"}}
		b.mu.Unlock()
		b.reporter.Poke()
		pass(20 * time.Millisecond)
		got := b.mesh.Reports()
		if len(got) != 3 || len(got[2].Calls) != 1 {
			t.Errorf("of the call it knows %+v", got)
		}
		b.mu.Lock()
		if len(b.answers) != 3 || b.answers[0].Hash == "" {
			t.Errorf("answers are %+v", b.answers)
		}
		b.mu.Unlock()
		// Now and then it is heard although there is nothing to tell.
		pass(3 * time.Minute)
		if n := len(b.mesh.Reports()); n < 5 || n > 6 {
			t.Errorf("%d reports after three idle minutes", n)
		}
	})
}

func TestSameReportUntilAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.Fail(governance.ReportsPath, http.StatusServiceUnavailable, -1)
		b.count("place", 1)
		pass(3 * time.Second)
		b.count("place", 10)
		pass(90 * time.Second)
		if s := b.reporter.Stats(); s.Sent != 0 || s.Failures < 3 || s.Problem == "" || len(s.Dropped) != 0 {
			t.Fatalf("%+v", s)
		}
		b.mesh.Heal()
		b.apply(1) // who brought that can take a report
		pass(50 * time.Millisecond)
		got := b.mesh.Reports()
		if len(got) != 2 || got[0].Seq != 1 || got[1].Seq != 2 || got[1].Applied == nil {
			t.Fatalf("reports are %+v", got)
		}
		if c := b.mesh.Counts("shop/orders", "place"); c.Success != 11 {
			t.Errorf("told of %+v", c)
		}
		if s := b.reporter.Stats(); s.Problem != "" || s.Sent != 2 {
			t.Errorf("%+v", s)
		}
		b.stop()
		if n := strings.Count(b.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, b.log.String())
		}
	})
}

// TestLostAnswer holds that a report whose answer was lost comes again as the same
// report.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mesh := sdktest.New()
		lose := true
		server := memhttp.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lose {
				lose = false
				mesh.ServeHTTP(discard{http.Header{}}, r)
				panic(http.ErrAbortHandler)
			}
			mesh.ServeHTTP(w, r)
		}))
		tr := server.Transport()
		defer tr.CloseIdleConnections()
		r, err := report.New(report.Config{URL: server.URL, App: orders, Instance: "i", Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		r.Transition(governance.Transition{Series: governance.Series{Command: "place"}})
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if mesh.Repeated() != 1 || len(mesh.Reports()) != 1 {
			t.Errorf("%d reports, %d repeated", len(mesh.Reports()), mesh.Repeated())
		}
	})
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header       { return d.h }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.Fail(governance.ReportsPath, http.StatusServiceUnavailable, -1)
		b.count("first", 1)
		pass(2 * time.Second) // on its way
		for range 25_000 {
			b.count("many", 1)
		}
		for i := range 1_005 {
			b.reporter.Transition(governance.Transition{Series: governance.Series{Command: "many"}, Cause: fmt.Sprint(i)})
		}
		pass(time.Second)
		s := b.reporter.Stats()
		if s.Waiting != 21_000 || s.Dropped["samples"] != 5_000 || s.Dropped["transitions"] != 5 {
			t.Fatalf("waiting %d, dropped %v", s.Waiting, s.Dropped)
		}
		b.mesh.Heal()
		b.reporter.Poke()
		pass(time.Minute)
		if c := b.mesh.Counts("shop/orders", "many"); c.Success != 20_000 {
			t.Errorf("told of %+v", c)
		}
		tr := b.mesh.Transitions("shop/orders", "many")
		if len(tr) != 1_000 || tr[0].Cause != "5" {
			t.Errorf("told of %d transitions, the first %+v: the oldest are dropped", len(tr), tr[0])
		}
		all := b.mesh.Reports()
		if d := all[len(all)-1].Dropped; d["samples"] != 5_000 || d["transitions"] != 5 {
			t.Errorf("of what was dropped it was told %v", d)
		}
	})
}

func TestTooOldAndRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.Fail(governance.ReportsPath, http.StatusServiceUnavailable, -1)
		b.count("old", 1)
		pass(10 * time.Minute)
		if s := b.reporter.Stats(); s.Dropped["samples"] != 1 || s.Waiting != 0 {
			t.Errorf("after ten minutes: %+v", s)
		}
		b.mesh.Heal()
		pass(time.Minute)
		b.mesh.Fail(governance.ReportsPath, http.StatusBadRequest, 1)
		b.count("bad", 1)
		pass(time.Minute)
		b.count("good", 1)
		pass(2 * time.Minute)
		if s := b.reporter.Stats(); s.Dropped["samples"] != 2 || b.mesh.Counts("shop/orders", "good").Success != 1 {
			t.Errorf("a refused report is not sent again: %+v", s)
		}
	})
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mesh.Fail(governance.ReportsPath, http.StatusServiceUnavailable, 1)
		b.count("place", 1)
		pass(time.Second)
		b.count("place", 1)
		b.stop()
		if err := b.reporter.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := b.mesh.Counts("shop/orders", "place"); c.Success != 2 {
			t.Errorf("told of %+v", c)
		}
		b.mesh.Fail(governance.ReportsPath, http.StatusServiceUnavailable, -1)
		b.count("place", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := b.reporter.Flush(ctx); err == nil || b.reporter.Stats().Dropped["samples"] != 1 {
			t.Errorf("Flush in vain says %v, dropped %v", err, b.reporter.Stats().Dropped)
		}
	})
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, cfg := range []report.Config{
		{URL: "control:9000", App: orders, Instance: "i"}, {URL: "http://c", Instance: "i"}, {URL: "http://c", App: orders},
	} {
		if _, err := report.New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// TestWhatCannotBeTold holds that one bad name costs its own samples only, and
// that times are told by the control plane's clock.
func TestWhatCannotBeTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mesh := sdktest.New()
		server := memhttp.Start(t, mesh)
		tr := server.Transport()
		defer tr.CloseIdleConnections()
		r, err := report.New(report.Config{
			URL: server.URL, App: orders, Instance: "i", Transport: tr, Offset: func() time.Duration { return -time.Hour },
		})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		r.AddSource(func(time.Time) []governance.Sample {
			var out []governance.Sample
			for _, name := range []string{"good", "", "line\nbreak", "\xff", strings.Repeat("x", governance.MaxSeriesName+1)} {
				out = append(out, governance.Sample{Series: governance.Series{Command: name}, Second: now.Unix(), Counts: governance.Counts{Success: 1}})
			}
			return out
		})
		r.Transition(governance.Transition{Series: governance.Series{Command: "good"}, Time: now})
		r.Transition(governance.Transition{})
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := mesh.Reports()
		if len(got) != 1 || len(got[0].Samples) != 1 || got[0].Samples[0].Second != now.Unix()-3600 {
			t.Fatalf("told of %+v", got)
		}
		if len(got[0].Transitions) != 1 || !got[0].Transitions[0].Time.Equal(now.Add(-time.Hour)) {
			t.Errorf("told of %+v", got[0].Transitions)
		}
		if d := got[0].Dropped; d["samples"] != 4 || d["transitions"] != 1 {
			t.Errorf("dropped %v", d)
		}
	})
}
