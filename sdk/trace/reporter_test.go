package trace_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openzipkin/zipkin-go/model"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/sdk/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps spans.
type recorder struct {
	mu    sync.Mutex
	spans []model.SpanModel
}

func (r *recorder) Send(s model.SpanModel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, s)
}
func (r *recorder) Close() error { return nil }

// collector answers POSTs of spans as the next of its answers says, 202 when
// there is none, and keeps the ids that came, per POST.
type collector struct {
	t       *testing.T
	mu      sync.Mutex
	answers []func(w http.ResponseWriter)
	posts   [][]model.ID
	times   []time.Time
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != trace.SpansPath || r.Method != http.MethodPost || r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("b3") != "0" {
		c.t.Errorf("%s %s with headers %v", r.Method, r.URL, r.Header)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		c.t.Error(err)
		return
	}
	var spans []model.SpanModel
	if err := json.NewDecoder(z).Decode(&spans); err != nil {
		c.t.Error(err)
	}
	ids := make([]model.ID, len(spans))
	for i := range spans {
		ids[i] = spans[i].ID
	}
	c.mu.Lock()
	c.posts = append(c.posts, ids)
	c.times = append(c.times, time.Now())
	answer := func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }
	if len(c.answers) > 0 {
		answer, c.answers = c.answers[0], c.answers[1:]
	}
	c.mu.Unlock()
	answer(w)
}

func status(code int, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "because")
	}
}

func (c *collector) got() [][]model.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.posts)
}

func span(id int) model.SpanModel {
	return model.SpanModel{
		SpanContext: model.SpanContext{TraceID: model.TraceID{Low: 1}, ID: model.ID(id)},
		Name:        "test", Timestamp: time.Now(), Duration: time.Millisecond,
		Tags: map[string]string{"k": "v"},
	}
}

// pass lets time pass in a bubble, and all that it brings about happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func start(t *testing.T, c *collector, cfg trace.ReporterConfig) *trace.Reporter {
	t.Helper()
	s := memhttp.Start(t, c)
	cfg.URL, cfg.Logger = s.URL, slog.New(slog.DiscardHandler)
	tr := s.Transport()
	t.Cleanup(tr.CloseIdleConnections)
	cfg.Client = &http.Client{Transport: tr, Timeout: 10 * time.Second}
	r, err := trace.NewReporter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestReporterBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{t: t}
		r := start(t, c, trace.ReporterConfig{Batch: 3})
		begin := time.Now()
		r.Send(span(1))
		synctest.Wait()
		if n := len(c.got()); n != 0 {
			t.Fatalf("%d posts before the batch was full or old", n)
		}
		r.Send(span(2))
		r.Send(span(3)) // full
		synctest.Wait()
		if got := c.got(); len(got) != 1 || len(got[0]) != 3 || time.Since(begin) != 0 {
			t.Fatalf("a full batch gave %v after %s", got, time.Since(begin))
		}
		r.Send(span(4))
		pass(time.Second)
		if got := c.got(); len(got) != 2 || len(got[1]) != 1 {
			t.Fatalf("after a second the posts are %v", got)
		}
		for i := range 7 {
			r.Send(span(10 + i))
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.Stats(); s.Sent != 11 || s.Dropped != 0 || s.Queued != 0 {
			t.Errorf("after Shutdown: %+v", s)
		}
		r.Send(span(99))
		if s := r.Stats(); s.Late != 1 || s.Dropped != 1 {
			t.Errorf("a span after Shutdown: %+v", s)
		}
	})
}

func TestReporterSendsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{t: t, answers: []func(http.ResponseWriter){
			status(503, "Retry-After", "7"), status(500), status(404),
			func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		}}
		r := start(t, c, trace.ReporterConfig{Batch: 2})
		r.Send(span(1))
		r.Send(span(2))
		synctest.Wait()
		pass(2 * time.Minute)
		got := c.got()
		if len(got) != 5 {
			t.Fatalf("%d posts, want 4 that failed and one that was taken: %v", len(got), got)
		}
		for _, ids := range got {
			if !slices.Equal(ids, []model.ID{1, 2}) {
				t.Errorf("sent again with other spans: %v", ids)
			}
		}
		if d := c.times[1].Sub(c.times[0]); d != 7*time.Second {
			t.Errorf("Retry-After: 7 was answered after %s", d)
		}
		if s := r.Stats(); s.Sent != 2 || s.Failures != 4 || s.Dropped != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestReporterDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{t: t, answers: []func(http.ResponseWriter){status(400)}}
		r := start(t, c, trace.ReporterConfig{Batch: 2, QueueSpans: 3, QueueBytes: 2000})
		r.Send(span(1))
		r.Send(span(2))
		synctest.Wait()
		if s := r.Stats(); s.Refused != 2 || len(c.got()) != 1 {
			t.Errorf("malformed spans are not sent again: %+v, %d posts", s, len(c.got()))
		}
		large := span(3)
		large.Tags["body"] = strings.Repeat("x", 2000)
		r.Send(large)
		bad := span(4)
		bad.Duration = -1
		r.Send(bad)
		r.Send(span(5))
		pass(time.Second)
		if s := r.Stats(); s.Full != 1 || s.Refused != 3 || s.Sent != 1 {
			t.Errorf("one too large, one impossible, one good: %+v", s)
		}
	})
}

// TestReporterIsBounded holds that a collector that never takes anything costs
// no more than the queue and that batches are given up in the end.
func TestReporterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{t: t}
		for range 12 {
			c.answers = append(c.answers, status(500))
		}
		r := start(t, c, trace.ReporterConfig{Batch: 2, QueueSpans: 4})
		r.Send(span(1))
		r.Send(span(2))
		synctest.Wait()
		for i := range 10 {
			r.Send(span(3 + i))
		}
		if s := r.Stats(); s.Full != 6 || s.Queued != 4 {
			t.Errorf("%+v", s)
		}
		pass(10 * time.Minute)
		if s := r.Stats(); s.Lost != 2 || s.Sent != 4 || s.Attempts != 14 {
			t.Errorf("the stuck batch and those behind it: %+v", s)
		}
	})
}

func TestReporterShutdownEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		c := &collector{t: t, answers: []func(http.ResponseWriter){func(http.ResponseWriter) { <-hang }}}
		defer close(hang)
		r := start(t, c, trace.ReporterConfig{Batch: 1})
		r.Send(span(1))
		r.Send(span(2))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.Shutdown(ctx)
		if err == nil || !strings.Contains(err.Error(), "2 spans") {
			t.Errorf("Shutdown of a stuck reporter says %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("the second time it says %v", err)
		}
		if s := r.Stats(); s.Lost != 2 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestReporterOverTCP sends through a real socket, while the service goes on
// writing to a span that has finished.
func TestReporterOverTCP(t *testing.T) {
	c := &collector{t: t}
	server := httptest.NewServer(c)
	defer server.Close()
	r, err := trace.NewReporter(trace.ReporterConfig{URL: server.URL + "/"})
	if err != nil {
		t.Fatal(err)
	}
	s := span(1)
	r.Send(s)
	s.Tags["late"] = "tag"
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := c.got(); len(got) != 1 || len(got[0]) != 1 {
		t.Errorf("posts are %v", got)
	}
	if _, err := trace.NewReporter(trace.ReporterConfig{URL: "tracing:9411"}); err == nil {
		t.Error("an address without a scheme was taken")
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}
