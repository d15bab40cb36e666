package collector_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/spool"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/collector"
	"github.com/weirmesh/weir/tracing/memory"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is the one in memory with a switch that takes it away.
type store struct {
	*memory.Store
	away   atomic.Bool
	writes atomic.Int32
	block  chan struct{} // if not nil, writes wait for it
}

var errAway = &tracing.Error{Code: tracing.Unavailable, Message: "the database is away"}

func (s *store) Write(ctx context.Context, spans []tracing.Span) error {
	s.writes.Add(1)
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return errAway
		}
	}
	if s.away.Load() {
		return errAway
	}
	return s.Store.Write(ctx, spans)
}

func (s *store) Replay(ctx context.Context, name string, number uint64, spans []tracing.Span) error {
	if s.away.Load() {
		return errAway
	}
	return s.Store.Replay(ctx, name, number, spans)
}

func (s *store) Check(context.Context) error {
	if s.away.Load() {
		return errAway
	}
	return nil
}

// count is how many spans are stored.
func (s *store) count(t *testing.T) int {
	t.Helper()
	found, err := s.Search(t.Context(), tracing.Query{End: 1 << 50, Lookback: 1 << 50, Limit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, trace := range found.Traces {
		n += len(trace)
	}
	return n
}

func newCollector(t *testing.T, c collector.Config) (*collector.Collector, *store) {
	t.Helper()
	s := &store{Store: memory.New(memory.Config{})}
	if c.Store == nil {
		c.Store = s
	} else {
		s, _ = c.Store.(*store)
	}
	col, err := collector.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return col, s
}

func post(h http.Handler, body []byte, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, collector.Path, bytes.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func zip(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	typeHeader     = "Content-Type"
	encodingHeader = "Content-Encoding"
	proto          = "application/x-protobuf"
)

func TestWhatZipkinTakes(t *testing.T) {
	span := []byte(`[{"traceId":"1","id":"1","name":"test","timestamp":1}]`)
	spans, err := tracing.DecodeJSON(span)
	if err != nil {
		t.Fatal(err)
	}
	asProto := tracing.AppendProto(nil, spans...)
	for name, c := range map[string]struct {
		body    []byte
		headers []string
		stored  int
	}{
		"JSON without a type":         {span, nil, 1},
		"JSON":                        {span, []string{typeHeader, "application/json"}, 1},
		"JSON with a charset":         {span, []string{typeHeader, "application/json; charset=utf-8"}, 1},
		"JSON in gzip":                {zip(t, span), []string{encodingHeader, "gzip"}, 1},
		"white space first":           {append([]byte("\n "), span...), nil, 1},
		"protobuf":                    {asProto, []string{typeHeader, proto}, 1},
		"protobuf in gzip":            {zip(t, asProto), []string{typeHeader, proto, encodingHeader, "gzip"}, 1},
		"nothing":                     {nil, nil, 0},
		"nothing as protobuf":         {nil, []string{typeHeader, proto}, 0},
		"nothing said to be gzip":     {nil, []string{encodingHeader, "gzip"}, 0},
		"an empty list":               {[]byte("[]"), nil, 0},
		"an empty list in gzip":       {zip(t, []byte("[]")), []string{encodingHeader, "gzip"}, 0},
		"gzip said to be one of many": {zip(t, span), []string{encodingHeader, "x-gzip, gzip"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := newCollector(t, collector.Config{})
			if w := post(h, c.body, c.headers...); w.Code != http.StatusAccepted || w.Body.Len() != 0 {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if n := s.count(t); n != c.stored {
				t.Errorf("%d spans stored, want %d", n, c.stored)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	good := `{"traceId":"1","id":"1","timestamp":1}`
	for name, c := range map[string]struct {
		body    []byte
		headers []string
		status  int
		text    string
	}{
		"garbage":                 {[]byte{1, 2, 3, 4}, nil, 400, "Expected a JSON_V2 encoded list\n"},
		"garbage as protobuf":     {[]byte{1, 2, 3, 4}, []string{typeHeader, proto}, 400, "Expected a PROTO3 encoded list\n"},
		"garbage as gzip":         {[]byte{1, 2, 3, 4}, []string{encodingHeader, "gzip"}, 400, "Cannot gunzip spans"},
		"a word":                  {[]byte("hello"), nil, 400, "Expected a JSON_V2 encoded list\n"},
		"an object":               {[]byte(good), nil, 400, "Expected a JSON_V2 encoded list\n"},
		"v1":                      {[]byte(`[{"traceId":"1","id":"1","name":"x","binaryAnnotations":[]}]`), nil, 400, "Expected a JSON_V2 encoded list, but received: JSON_V1\n"},
		"half a list":             {[]byte("[" + good), nil, 400, "End of input"},
		"one bad span among good": {[]byte("[" + good + `,{"traceId":"x","id":"1"}]`), nil, 400, "should be lower-hex encoded with no prefix"},
		"truncated gzip":          {zip(t, []byte("["+good+"]"))[:20], []string{encodingHeader, "gzip"}, 400, "Cannot gunzip spans"},
		"truncated protobuf":      {tracing.AppendProto(nil, tracing.Span{TraceID: tracing.TraceID{Low: 1}, ID: 1})[:20], []string{typeHeader, proto}, 400, "Truncated"},
		"a large body":            {bytes.Repeat([]byte(" "), 2000), nil, 413, "larger than 1000 bytes"},
		"a bomb":                  {zip(t, bytes.Repeat([]byte(" "), 100_000)), []string{encodingHeader, "gzip"}, 413, "larger than 5000 bytes once inflated"},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := newCollector(t, collector.Config{MaxBody: 1000, MaxInflated: 5000})
			w := post(h, c.body, c.headers...)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, c.status, c.text)
			}
			if n := s.writes.Load(); n != 0 {
				t.Errorf("%d writes", n)
			}
		})
	}
}

func TestOtherMethods(t *testing.T) {
	h, _ := newCollector(t, collector.Config{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, collector.Path, nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// endless is a body that never ends; it counts what is read of it.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += int64(len(p))
	return len(p), nil
}

func TestAHundredMegabytesAreNotRead(t *testing.T) {
	h, s := newCollector(t, collector.Config{})
	for name, length := range map[string]int64{"announced": 100 << 20, "not announced": -1} {
		body := &endless{}
		r := httptest.NewRequest(http.MethodPost, collector.Path, io.LimitReader(body, 100<<20))
		r.ContentLength = length
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge || body.read > 11<<20 || s.writes.Load() != 0 {
			t.Errorf("%s: %d after %d bytes", name, w.Code, body.read)
		}
	}
}

func TestAuthorization(t *testing.T) {
	h, s := newCollector(t, collector.Config{Authorize: func(r *http.Request) error {
		if r.Header.Get("Authorization") != "Bearer x" {
			return errors.New("send the token of this collector")
		}
		return nil
	}})
	body := []byte(`[{"traceId":"1","id":"1","timestamp":1}]`)
	if w := post(h, body); w.Code != http.StatusUnauthorized || s.count(t) != 0 {
		t.Errorf("%d", w.Code)
	}
	if w := post(h, body, "Authorization", "Bearer x"); w.Code != http.StatusAccepted || s.count(t) != 1 {
		t.Errorf("%d", w.Code)
	}
}

func body(n uint64) []byte {
	return fmt.Appendf(nil, `[{"traceId":"%016x","id":"1","timestamp":1}]`, n)
}

func TestABusyCollectorHoldsAndThenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s := &store{Store: memory.New(memory.Config{}), block: make(chan struct{})}
		h, _ := newCollector(t, collector.Config{Store: s, Budget: 100, WriteTimeout: time.Minute, Metrics: reg})
		first := make(chan int)
		go func() { first <- post(h, append(body(1), bytes.Repeat([]byte(" "), 60)...)).Code }()
		synctest.Wait() // it holds the whole budget
		began := time.Now()
		w := post(h, body(2))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		if held := time.Since(began); held != 3*time.Second {
			t.Errorf("held for %s", held)
		}
		// One that waits gets its turn.
		second := make(chan int)
		go func() { second <- post(h, body(3)).Code }()
		synctest.Wait()
		close(s.block)
		if a, b := <-first, <-second; a != http.StatusAccepted || b != http.StatusAccepted {
			t.Errorf("%d and %d", a, b)
		}
		if n := testutil.ToFloat64(counter(t, reg, "weir_tracing_refused_requests_total")); n != 1 {
			t.Errorf("%v refusals counted", n)
		}
	})
}

// counter makes one metric of a registry readable.
func counter(t *testing.T, reg *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sum", Help: "The sum of a metric."})
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				g.Add(m.GetCounter().GetValue())
			}
		}
	}
	return g
}

func TestAStoreThatIsAwayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newCollector(t, collector.Config{})
		s.away.Store(true)
		began := time.Now()
		if w := post(h, body(1)); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || time.Since(began) > 3*time.Second {
			t.Errorf("%d after %s", w.Code, time.Since(began))
		}
		time.AfterFunc(time.Second, func() { s.away.Store(false) })
		if w := post(h, body(2)); w.Code != http.StatusAccepted {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if s.count(t) != 1 {
			t.Errorf("%d spans", s.count(t))
		}
	})
}

func openSpool(t *testing.T, dir string, limit int64) *spool.Spool {
	t.Helper()
	sp, err := spool.Open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() })
	return sp
}

// run starts the replay, and returns what ends it.
func run(t *testing.T, c *collector.Collector) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); all.Wait() }
}

func TestTheSpoolTakesSpansWhileTheStoreIsAway(t *testing.T) {
	sp := openSpool(t, t.TempDir(), 1<<20)
	h, s := newCollector(t, collector.Config{Spool: sp})
	s.away.Store(true)
	for i := range uint64(20) {
		if w := post(h, body(i+1)); w.Code != http.StatusAccepted {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if n := s.writes.Load(); n != 1 {
		t.Errorf("%d writes were tried, though the store was known to be away", n)
	}
	if n, _ := h.Waiting(); n != 20 || s.count(t) != 0 {
		t.Errorf("%d records wait", n)
	}
	if err := h.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	f := h.Facts()
	if q := f.Queues[0]; q.Depth == 0 || q.Limit != 1<<20 || q.Oldest.IsZero() || q.Detail != "20 batches of spans wait for the database" || len(f.Notes) != 1 {
		t.Errorf("it says of itself %+v", f)
	}
	stop := run(t, h)
	s.away.Store(false)
	await(t, func() bool { n, _ := h.Waiting(); return n == 0 })
	await(t, func() bool { f := h.Facts(); return f.Queues[0].Depth == 0 && len(f.Notes) == 0 })
	stop()
	if n := s.count(t); n != 20 {
		t.Errorf("%d spans stored", n)
	}
	if w := post(h, body(99)); w.Code != http.StatusAccepted || s.count(t) != 21 {
		t.Errorf("%d, %d spans once the store is back", w.Code, s.count(t))
	}
}

// await waits for a condition that another goroutine makes true.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come to be")
		}
	}
}

func TestASpoolOfAnEarlierProcessIsReplayed(t *testing.T) {
	dir := t.TempDir()
	sp := openSpool(t, dir, 1<<20)
	h, s := newCollector(t, collector.Config{Spool: sp})
	s.away.Store(true)
	for i := range uint64(3) {
		post(h, body(i+1))
	}
	sp.Close()
	s.away.Store(false)
	h, _ = newCollector(t, collector.Config{Store: s, Spool: openSpool(t, dir, 1<<20)})
	stop := run(t, h)
	await(t, func() bool { n, _ := h.Waiting(); return n == 0 })
	stop()
	if n := s.count(t); n != 3 {
		t.Errorf("%d spans", n)
	}
}

func TestAFullSpoolHoldsAndThenRefuses(t *testing.T) {
	dir := t.TempDir()
	sp := openSpool(t, dir, 120)
	h, s := newCollector(t, collector.Config{Spool: sp, Hold: 300 * time.Millisecond})
	s.away.Store(true)
	taken := 0
	for i := range uint64(5) {
		w := post(h, body(i+1))
		if w.Code == http.StatusAccepted {
			taken++
			continue
		}
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "full") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if taken == 0 || taken == 5 {
		t.Fatalf("%d of 5 were taken", taken)
	}
	stop := run(t, h)
	s.away.Store(false)
	await(t, func() bool { n, _ := h.Waiting(); return n == 0 })
	stop()
	if n := s.count(t); n != taken {
		t.Errorf("%d spans stored, %d acknowledged", n, taken)
	}
}

// FuzzPost holds that no body does more than be taken or refused.
func FuzzPost(f *testing.F) {
	for _, spans := range tracingtest.NewGenerator(1, time.Now()).Traces(2) {
		f.Add(tracing.AppendJSONList(nil, spans), "application/json", "")
		f.Add(zip(f, tracing.AppendProto(nil, spans...)), proto, "gzip")
	}
	f.Add([]byte{1, 2, 3}, "", "gzip")
	f.Fuzz(func(t *testing.T, data []byte, contentType, encoding string) {
		h, s := newCollector(t, collector.Config{MaxInflated: 1 << 20})
		w := post(h, data, typeHeader, contentType, encodingHeader, encoding)
		switch w.Code {
		case http.StatusAccepted:
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if s.writes.Load() != 0 || w.Body.Len() == 0 {
				t.Fatalf("%d with %d writes and %q", w.Code, s.writes.Load(), w.Body)
			}
		default:
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
