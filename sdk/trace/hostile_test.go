package trace_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
