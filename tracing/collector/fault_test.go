package collector_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/collector"
	"github.com/weirmesh/weir/tracing/memory"
)

// picky is a store that refuses one span whatever happens.
type picky struct {
	*store
	refused uint64
}

func (p *picky) Replay(ctx context.Context, name string, number uint64, spans []tracing.Span) error {
	for i := range spans {
		if spans[i].TraceID.Low == p.refused {
			return &tracing.Error{Code: tracing.Internal, Message: "cannot store spans", Err: errors.New("it is too strange")}
		}
	}
	return p.store.Replay(ctx, name, number, spans)
}

func TestARecordThatTheStoreRefusesDoesNotBlockThoseBehindIt(t *testing.T) {
	dir := t.TempDir()
	sp := openSpool(t, dir, 1<<20)
	s := &picky{store: &store{Store: memory.New(memory.Config{})}, refused: 2}
	registry := prometheus.NewRegistry()
	h, err := collector.New(collector.Config{Store: s, Spool: sp, Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	s.away.Store(true)
	for i := range uint64(4) {
		if w := post(h, body(i+1)); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	s.away.Store(false)
	stop := run(t, h)
	await(t, func() bool { n, _ := h.Waiting(); return n == 0 })
	stop()
	if n := s.count(t); n != 3 {
		t.Errorf("%d spans are stored", n)
	}
	want := "# HELP weir_tracing_set_aside_records_total Records of the spool that the database refused again and again, and that were set aside in files.\n" +
		"# TYPE weir_tracing_set_aside_records_total counter\nweir_tracing_set_aside_records_total 1\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "weir_tracing_set_aside_records_total"); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "aside", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	s.refused = 0
	if w := post(h, raw, typeHeader, proto); w.Code != http.StatusAccepted || s.count(t) != 4 {
		t.Errorf("posted again: %d %s, %d spans", w.Code, w.Body, s.count(t))
	}
}

// leaky is away, and tells all it knows.
type leaky struct{ *store }

func (l leaky) Write(context.Context, []tracing.Span) error {
	return &tracing.Error{Code: tracing.Unavailable, Message: "cannot store spans now", Err: errors.New("failed to connect to user=secret host=db")}
}

func TestAnswersDoNotTellOfTheDatabase(t *testing.T) {
	h, err := collector.New(collector.Config{Store: leaky{&store{Store: memory.New(memory.Config{})}}, Hold: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if w := post(h, body(1)); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), "cannot store spans now") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A spool that cannot be written is no reason to tell senders that their spans are
// wrong, and a collector that can take none is not ready.
func TestABrokenSpoolHoldsAndThenRefuses(t *testing.T) {
	dir := t.TempDir()
	sp := openSpool(t, dir, 1<<20)
	h, s := newCollector(t, collector.Config{Spool: sp, Hold: 200 * time.Millisecond})
	s.away.Store(true)
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir + ".gone") })
	if w := post(h, body(1)); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), dir) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if err := h.Ready(t.Context()); err == nil {
		t.Error("it is ready, and takes nothing")
	}
	if err := os.Rename(dir+".gone", dir); err != nil {
		t.Fatal(err)
	}
	if w := post(h, body(1)); w.Code != http.StatusAccepted || h.Ready(t.Context()) != nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTooManySpansAreRefused(t *testing.T) {
	h, s := newCollector(t, collector.Config{MaxSpans: 3})
	small := func(n int) []byte {
		return []byte("[" + strings.TrimSuffix(strings.Repeat(`{"traceId":"1","id":"1","timestamp":1},`, n), ",") + "]")
	}
	spans, err := tracing.DecodeJSON(small(4))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []*httptest.ResponseRecorder{post(h, small(4)), post(h, tracing.AppendProto(nil, spans...), typeHeader, proto)} {
		if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "more than 3 spans") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if w := post(h, small(3)); w.Code != http.StatusAccepted || s.writes.Load() != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Senders that say that they have much and send nothing must not keep others out.
func TestSendersThatStallHoldLittle(t *testing.T) {
	h, _ := newCollector(t, collector.Config{Budget: 1 << 20, MaxBody: 1 << 20, Hold: 100 * time.Millisecond})
	done := make(chan struct{})
	for range 3 {
		from, to := io.Pipe()
		r := httptest.NewRequest(http.MethodPost, collector.Path, from)
		r.ContentLength = 1 << 20
		go func() {
			h.ServeHTTP(httptest.NewRecorder(), r)
			done <- struct{}{}
		}()
		if _, err := to.Write([]byte("[")); err != nil { // returns once it was read
			t.Fatal(err)
		}
		defer func() { to.Close(); <-done }()
	}
	if w := post(h, body(1)); w.Code != http.StatusAccepted {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWhatClientsMayGetWrong(t *testing.T) {
	spans, err := tracing.DecodeJSON([]byte(`[{"traceId":"1","id":"1","timestamp":1}]`))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body    []byte
		headers []string
	}{
		"a broken parameter":      {tracing.AppendProto(nil, spans...), []string{typeHeader, proto + "; charset"}},
		"a charset":               {tracing.AppendProto(nil, spans...), []string{typeHeader, proto + ";charset=UTF-8"}},
		"gzip of nothing":         {zip(t, nil), []string{encodingHeader, "gzip"}},
		"gzip of nothing, binary": {zip(t, nil), []string{typeHeader, proto, encodingHeader, "gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newCollector(t, collector.Config{})
			if w := post(h, c.body, c.headers...); w.Code != http.StatusAccepted || w.Body.Len() != 0 {
				t.Errorf("%d %q", w.Code, w.Body)
			}
		})
	}
}
