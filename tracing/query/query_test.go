package query_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/memory"
	"github.com/weirmesh/weir/tracing/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const (
	first  = "463ac35c9f6413ad"
	second = "48485a3953bb6124a2fb464957411561"
)

// serve answers from a store that holds two traces.
func serve(t *testing.T, change func(*query.Config)) http.Handler {
	t.Helper()
	s := memory.New(memory.Config{TagKeys: []string{"env"}})
	body := `[
	{"traceId":"` + first + `","id":"1","name":"get","kind":"SERVER","timestamp":1795175990000000,"duration":50000,"localEndpoint":{"serviceName":"frontend"},"tags":{"env":"prod"}},
	{"traceId":"` + first + `","id":"2","parentId":"1","name":"query","kind":"CLIENT","timestamp":1795175990001000,"duration":9000,"localEndpoint":{"serviceName":"frontend"},"remoteEndpoint":{"serviceName":"db"}},
	{"traceId":"` + second + `","id":"3","name":"get","timestamp":1795175995000000,"duration":100,"localEndpoint":{"serviceName":"日本"},"tags":{"error":""}}]`
	spans, err := tracing.DecodeJSON([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), spans); err != nil {
		t.Fatal(err)
	}
	c := query.Config{Store: s, TagKeys: []string{"env"}, Now: func() time.Time { return now }, Version: "v1", Commit: "abc"}
	if change != nil {
		change(&c)
	}
	a, err := query.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(h http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

// ids are the trace ids of an answer that is a list of traces.
func ids(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var traces [][]struct {
		TraceID string `json:"traceId"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &traces); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	var out []string
	for _, trace := range traces {
		out = append(out, trace[0].TraceID)
	}
	return strings.Join(out, " ")
}

func TestSearch(t *testing.T) {
	h := serve(t, nil)
	for params, want := range map[string]string{
		"":                                     second + " " + first,
		"limit=1":                              second,
		"serviceName=FRONTEND":                 first,
		"serviceName=":                         second + " " + first,
		"serviceName=frontend&spanName=all":    first,
		"spanName=query":                       first,
		"remoteServiceName=DB":                 first,
		"remoteServiceName=other":              "",
		"annotationQuery=error":                second,
		"annotationQuery=env%3Dprod":           first,
		"minDuration=50000":                    first,
		"minDuration=50&maxDuration=100":       second,
		"lookback=6000":                        second,
		"endTs=1795175990000&lookback=1":       first,
		"endTs=1795175989999":                  "",
		"serviceName=" + url.QueryEscape("日本"): second,
	} {
		for _, prefix := range []string{"", "/zipkin"} {
			w := get(h, prefix+"/api/v2/traces?"+params)
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d %v", params, w.Code, w.Header())
				continue
			}
			if got := ids(t, w); got != want {
				t.Errorf("%s: got %q, want %q", params, got, want)
			}
		}
	}
}

func TestAnswersAndRefusals(t *testing.T) {
	h := serve(t, nil)
	for target, want := range map[string]string{
		"/api/v2/services":                                    `200 ["frontend","日本"]`,
		"/zipkin/api/v2/services":                             `200 ["frontend","日本"]`,
		"/api/v2/spans?serviceName=FrontEnd":                  `200 ["get","query"]`,
		"/api/v2/spans?serviceName=db":                        `200 []`,
		"/api/v2/spans?serviceName=" + url.QueryEscape("日本"):  `200 ["get"]`,
		"/api/v2/spans":                                       `400 Required serviceName parameter is missing`,
		"/api/v2/remoteServices?serviceName=frontend":         `200 ["db"]`,
		"/api/v2/autocompleteKeys":                            `200 ["env"]`,
		"/api/v2/autocompleteValues?key=env":                  `200 ["prod"]`,
		"/api/v2/autocompleteValues?key=other":                `200 []`,
		"/api/v2/autocompleteValues?key=":                     `400 key was empty`,
		"/api/v2/autocompleteValues":                          `400 Required key parameter is missing`,
		"/api/v2/trace/000000000000000000000000000000aa":      `404 00000000000000aa not found`,
		"/api/v2/trace/a":                                     `404 000000000000000a not found`,
		"/api/v2/trace/0e8b46e1-81b":                          `400 0e8b46e1-81b should be lower-hex encoded with no prefix`,
		"/api/v2/trace/a2fb464957411561":                      `404 a2fb464957411561 not found`,
		"/api/v2/traceMany":                                   `400 Required traceIds parameter is missing`,
		"/api/v2/traceMany?traceIds=":                         `400 traceIds parameter is empty`,
		"/api/v2/traceMany?traceIds=" + first:                 `400 Use /api/v2/trace/{traceId} endpoint to retrieve a single trace`,
		"/api/v2/traceMany?traceIds=" + first + ",a," + first: `400 redundant traceId: ` + first,
		"/api/v2/dependencies":                                `400 Required endTs parameter is missing`,
		"/api/v2/dependencies?endTs=0":                        `400 endTs <= 0`,
		"/api/v2/dependencies?endTs=1&lookback=0":             `400 lookback <= 0`,
		"/api/v2/dependencies?endTs=x":                        `400 endTs is no whole number: x`,
		"/api/v2/dependencies?endTs=1795176000000":            `200 [{"parent":"frontend","child":"db","callCount":1}]`,
		"/api/v2/dependencies?endTs=1000":                     `200 []`,
		"/api/v2/traces?limit=0":                              `400 limit <= 0`,
		"/api/v2/traces?limit=1000000":                        `400 limit > 10000`,
		"/api/v2/traces?endTs=0":                              `400 endTs <= 0`,
		"/api/v2/traces?lookback=0":                           `400 lookback <= 0`,
		"/api/v2/traces?minDuration=0":                        `400 minDuration <= 0`,
		"/api/v2/traces?maxDuration=1":                        `400 maxDuration is only valid with minDuration`,
		"/api/v2/traces?minDuration=2&maxDuration=1":          `400 maxDuration < minDuration`,
		"/health": `200 {"status":"UP","zipkin":{"details":{"storage":{"status":"UP"}},"status":"UP"}}`,
		"/info":   `200 {"zipkin":{"commit":"abc","version":"v1"}}`,
	} {
		w := get(h, target)
		if fmt.Sprintf("%d %s", w.Code, w.Body) != want {
			t.Errorf("%s: got %d %s, want %s", target, w.Code, w.Body, want)
		}
	}
}

func TestByID(t *testing.T) {
	h := serve(t, nil)
	for _, target := range []string{"/api/v2/trace/" + second, "/api/v2/trace/" + second + "%20"} {
		w := get(h, target)
		want := `[{"traceId":"` + second + `","id":"0000000000000003","name":"get","timestamp":1795175995000000,"duration":100,"localEndpoint":{"serviceName":"日本"},"tags":{"error":""}}]`
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if got := ids(t, get(h, "/api/v2/traceMany?traceIds=abcd,"+first)); got != first {
		t.Errorf("one of two is known: %q", got)
	}
}

func TestListsAreKeptByBrowsersBeyondThreeServices(t *testing.T) {
	h := serve(t, nil)
	if got := get(h, "/api/v2/services").Header().Get("Cache-Control"); got != "" {
		t.Errorf("of two: %q", got)
	}
	h = serve(t, func(c *query.Config) {
		s, _ := c.Store.(*memory.Store)
		for _, name := range []string{"c", "b"} {
			if err := s.Write(context.Background(), []tracing.Span{{TraceID: tracing.TraceID{Low: 5}, ID: 1, Local: tracing.Endpoint{Service: name}}}); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, target := range []string{"/api/v2/services", "/api/v2/spans?serviceName=b", "/api/v2/remoteServices?serviceName=b", "/api/v2/autocompleteKeys"} {
		if got := get(h, target).Header().Get("Cache-Control"); got != "max-age=300, must-revalidate" {
			t.Errorf("%s: %q", target, got)
		}
	}
	if got := get(h, "/api/v2/services").Body.String(); got != `["b","c","frontend","日本"]` {
		t.Error(got)
	}
}

func TestSearchDisabled(t *testing.T) {
	h := serve(t, func(c *query.Config) { c.SearchDisabled = true })
	for _, target := range []string{"/api/v2/services", "/api/v2/traces", "/api/v2/spans?serviceName=frontend", "/api/v2/autocompleteValues?key=env"} {
		if w := get(h, target); w.Code != http.StatusOK || w.Body.String() != "[]" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := get(h, "/api/v2/trace/"+first); w.Code != http.StatusOK {
		t.Errorf("by id: %d", w.Code)
	}
	if w := get(h, "/zipkin/config.json"); !strings.Contains(w.Body.String(), `"searchEnabled":false`) {
		t.Error(w.Body)
	}
}

// failing is a store that fails in one way.
type failing struct {
	tracing.Reader
	err   error
	found tracing.Found
}

func (f failing) Search(context.Context, tracing.Query) (tracing.Found, error) { return f.found, f.err }
func (f failing) Check(context.Context) error                                  { return f.err }

func TestFailuresOfTheStore(t *testing.T) {
	for status, err := range map[int]error{
		http.StatusServiceUnavailable:  &tracing.Error{Code: tracing.Unavailable, Message: "the database is away", Err: errors.New("secret address")},
		http.StatusInternalServerError: errors.New("secret detail"),
	} {
		h := serve(t, func(c *query.Config) { c.Store = failing{c.Store, err, tracing.Found{}} })
		w := get(h, "/api/v2/traces")
		if w.Code != status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w := get(h, "/health"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"status":"DOWN"`) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("health: %d %s", w.Code, w.Body)
		}
	}
}

func TestACutSearchSaysSo(t *testing.T) {
	h := serve(t, func(c *query.Config) { c.Store = failing{c.Store, nil, tracing.Found{Cut: "it took too long"}} })
	if w := get(h, "/api/v2/traces"); w.Code != http.StatusOK || w.Body.String() != "[]" || w.Header().Get(query.CutHeader) != "it took too long" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
}

func TestBrowsersOfOtherOrigins(t *testing.T) {
	ask := func(h http.Handler, method, origin string) http.Header {
		r := httptest.NewRequest(method, "/api/v2/traces", nil)
		r.Header.Set("Origin", origin)
		if method == http.MethodOptions {
			r.Header.Set("Access-Control-Request-Method", "POST")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code/100 != 2 {
			t.Errorf("%s: %d", method, w.Code)
		}
		return w.Header()
	}
	listed := serve(t, func(c *query.Config) { c.AllowedOrigins = []string{"http://foo.example"} })
	for _, method := range []string{http.MethodGet, http.MethodOptions} {
		if got := ask(serve(t, nil), method, "http://any.example").Get("Access-Control-Allow-Origin"); got != "*" {
			t.Errorf("any: %q", got)
		}
		got := ask(listed, method, "http://foo.example")
		if got.Get("Access-Control-Allow-Origin") != "http://foo.example" || got.Get("Vary") != "origin" || got.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("listed: %v", got)
		}
		if got := ask(listed, method, "http://bar.example"); got.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("unlisted: %v", got)
		}
	}
	if got := ask(listed, http.MethodOptions, "http://foo.example").Get("Access-Control-Allow-Methods"); !strings.Contains(got, "POST") {
		t.Error(got)
	}
}

// FuzzSearch holds that no parameters make the API fail.
func FuzzSearch(f *testing.F) {
	f.Add("serviceName=a&limit=2&annotationQuery=x+and+y%3Dz&minDuration=1&maxDuration=2&endTs=9&lookback=9223372036854775807")
	f.Add("endTs=9223372036854775807&lookback=1")
	f.Fuzz(func(t *testing.T, raw string) {
		h := serve(t, nil)
		r := httptest.NewRequest(http.MethodGet, "/api/v2/traces", nil)
		r.URL.RawQuery = raw
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Fatalf("%s: %d %s", raw, w.Code, w.Body)
		}
	})
}
