package trace_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/sdk/trace"
)

// What a Dubbo caller puts into an attachment must not make the HTTP calls fail
// that its trace goes on with: http.Transport refuses headers with line breaks.
func TestHostileTracestateIsNotPassedOn(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	client := s.Client()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, state := range []string{
		"a=1\r\nX-Admin: yes", "a=1\nb=2", "a=\x00", "a=\x7f", "a=ü", strings.Repeat("a", 2000), "a=1,b=2", "a=1,\tb=2",
	} {
		sc := trace.Extract(trace.Attachments{"traceparent": parent, "tracestate": state})
		if sc.TraceID.Empty() {
			t.Errorf("%q: the trace was lost", state)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		trace.Inject(sc, trace.Header(req.Header))
		resp, err := client.Do(req)
		if err != nil {
			t.Errorf("%q: a call failed for its trace: %v", state, err)
			continue
		}
		_ = resp.Body.Close()
		if want := strings.HasPrefix(state, "a=1,"); (req.Header.Get("Tracestate") == state) != want {
			t.Errorf("%q: passed on %q", state, req.Header.Get("Tracestate"))
		}
	}
}

// Spans that somebody made large go in requests that a collector takes.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{t: t}
		r := start(t, c, trace.ReporterConfig{})
		for id := range 9 {
			s := span(id + 1)
			s.Tags["http.path"] = strings.Repeat("x", 700_000)
			r.Send(s)
		}
		pass(2 * time.Second)
		if s := r.Stats(); s.Sent != 9 || len(c.got()) < 2 {
			t.Errorf("%+v, in %d requests", s, len(c.got()))
		}
		for _, ids := range c.got() {
			if len(ids) > 5 {
				t.Errorf("%d spans, %d bytes, went together", len(ids), len(ids)*700_000)
			}
		}
	})
}

func TestRefusedSpansAreLoggedOnceAndWithoutPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := &collector{t: t, answers: []func(http.ResponseWriter){status(503), status(400), status(400), status(400)}}
		s := memhttp.Start(t, c)
		tr := s.Transport()
		defer tr.CloseIdleConnections()
		r, err := trace.NewReporter(trace.ReporterConfig{
			URL: strings.Replace(s.URL, "://", "://weir:hunter2@", 1), Client: &http.Client{Transport: tr},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		for id := range 4 {
			r.Send(span(id + 1))
			pass(5 * time.Second)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if s := r.Stats(); s.Refused != 3 || s.Sent != 1 {
			t.Errorf("%+v", s)
		}
		if l := log.String(); strings.Count(l, "refused spans") != 1 || !strings.Contains(l, "cannot be delivered now") || strings.Contains(l, "hunter2") {
			t.Error(l)
		}
	})
}
