package httpmw_test

import (
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openzipkin/zipkin-go/model"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/httpmw"
	"github.com/weirmesh/weir/sdk/sdktest"
)

// A server that fails some of its callers goes on to serve the others, until a
// policy says what is too much.
func TestServerOpensOnlyByAPolicy(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/cart")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cart/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	s, client := serve(t, httpmw.Server(kit)(mux))
	for range 60 {
		if a := mustGet(t, client, s.URL+"/cart/7"); a.status != 500 {
			t.Fatalf("a call was answered %+v, though nobody asked for a breaker", a)
		}
	}
	publish(t, mesh, kit, "", "shop/cart", "GET /cart/{id}", governance.Rules{Breaker: &governance.Breaker{MinCalls: 5}})
	for range 10 {
		if a := mustGet(t, client, s.URL+"/cart/7"); a.status == 503 && a.header.Get(httpmw.HeaderRefused) == "open" {
			return
		}
	}
	t.Error("it never opened under a policy")
}

// What is kept for one caller answers no other.
func TestServerKeepsAnswersApart(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/cart")
	var failing atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{what}", func(w http.ResponseWriter, r *http.Request) {
		if failing.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		switch r.PathValue("what") {
		case "by-user":
			w.Header().Set("Vary", "Origin, X-User")
		case "secret":
			w.Header().Set("Cache-Control", "private, no-store")
		default:
			w.Header().Add("Vary", "accept-encoding")
			w.Header().Add("Vary", "Origin")
		}
		_, _ = io.WriteString(w, r.Host+" "+r.Header.Get("X-User"))
	})
	s, client := serve(t, httpmw.Server(kit)(mux))
	publish(t, mesh, kit, "", "shop/cart", "", governance.Rules{
		Fallback: &governance.Fallback{Cached: &governance.Cached{MaxAge: governance.Duration(time.Hour)}, Else: value(`"else"`)},
	})
	ask := func(path, host string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("X-User", "ann")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	paths := []string{"/plain", "/by-user", "/secret"}
	for _, p := range paths {
		ask(p, "a.example")
	}
	failing.Store(true)
	if got := ask("/plain", "a.example"); got != "a.example ann" {
		t.Errorf("the same call again was answered %q", got)
	}
	if got := ask("/plain", "b.example"); got != `"else"` {
		t.Errorf("another host was answered %q", got)
	}
	for _, p := range paths[1:] {
		if got := ask(p, "a.example"); got != `"else"` {
			t.Errorf("%s was kept, and answered %q", p, got)
		}
	}
}

// A span of a handler that panics does not tell of a success.
func TestSpansOfPanics(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/cart")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s, client := serve(t, httpmw.Server(kit)(mux))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/panic", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatal("a panic was swallowed")
	}
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := mesh.Spans()
	at := slices.IndexFunc(spans, func(s model.SpanModel) bool { return s.Name == "post /panic" })
	if at < 0 || spans[at].Tags["error"] == "" || spans[at].Tags["http.status_code"] != "" {
		t.Errorf("spans of a panic: %+v", spans)
	}
}
