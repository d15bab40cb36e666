package proxy

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/reporter/recorder"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

func TestSpans(t *testing.T) {
	rec := recorder.NewReporter()
	tracer, err := trace.New(trace.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}, Instance: "g-1", Reporter: rec})
	if err != nil {
		t.Fatal(err)
	}
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}})
	defer set.Close()
	f := start(t, func(c *Config) { c.Tracer, c.Breakers = tracer, set })
	var seen http.Header
	var mu sync.Mutex
	f.instances("cart", nil, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = r.Header.Clone()
	})
	f.routes(toApp("cart", `{"path":"/cart/{id}"}`, "shop/cart"))
	const traceID, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	var server, client, failed *model.SpanModel
	f.until("a retry", func() bool { // which endpoint comes first is chance
		rec.Flush()
		server, client, failed = nil, nil, nil
		for _, e := range f.endpoints(poolKey{app: handlersApp("cart")}) {
			e.Accepted() // nobody is ejected
		}
		if r := f.get("/cart/7", "traceparent", "00-"+traceID+"-"+parent+"-01"); r.status != 200 {
			t.Fatalf("got %+v", r)
		}
		var spans []model.SpanModel
		f.until("spans", func() bool {
			spans = append(spans, rec.Flush()...)
			for _, s := range spans {
				if s.Kind == model.Server {
					return true
				}
			}
			return false
		})
		for i, s := range spans {
			switch {
			case s.Kind == model.Server:
				server = &spans[i]
			case s.Tags["error"] != "":
				failed = &spans[i]
			default:
				client = &spans[i]
			}
		}
		return failed != nil
	})
	if server == nil || client == nil {
		t.Fatalf("server %v, client %v", server, client)
	}
	if server.TraceID.String() != traceID || server.ParentID == nil || server.ParentID.String() != parent || server.Name != "get /cart/{id}" ||
		server.Tags["http.status_code"] != "200" || server.Tags["weir.route"] != "shop/cart" || server.Tags["weir.instance"] != "g-1" ||
		server.Tags["weir.command"] != "shop/cart" || server.Tags["weir.at"] != "caller" || server.Tags["weir.peer"] != "shop/cart" || server.Tags["weir.retries"] != "1" {
		t.Errorf("server span %+v", server)
	}
	if client.ParentID == nil || *client.ParentID != server.ID || client.RemoteEndpoint == nil || client.RemoteEndpoint.ServiceName != "cart" || client.Tags["http.status_code"] != "200" {
		t.Errorf("client span %+v", client)
	}
	if failed.ParentID == nil || *failed.ParentID != server.ID || failed.Tags["error"] != codeConnect {
		t.Errorf("failed attempt %+v", failed)
	}
	mu.Lock()
	defer mu.Unlock()
	for name, want := range map[string]string{
		"Traceparent": "00-" + traceID + "-" + client.ID.String() + "-01",
		"B3":          traceID + "-" + client.ID.String() + "-1-" + server.ID.String(),
		"X-B3-Spanid": client.ID.String(),
	} {
		if got := seen.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A refusal, and who answered in the upstream's place, stand on the span.
func TestSpansTellOfRefusals(t *testing.T) {
	rec := recorder.NewReporter()
	tracer, err := trace.New(trace.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}, Reporter: rec})
	if err != nil {
		t.Fatal(err)
	}
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}})
	defer set.Close()
	f := start(t, func(c *Config) { c.Tracer, c.Breakers = tracer, set })
	f.instances("cart", nil, echo)
	f.routes(toApp("cart", `{"path":"/cart"}`, "shop/cart", `{"fallback":{"status":204}}`), toApp("none", `{"path":"/none"}`, "shop/nobody", `{"fallback":{"status":204}}`))
	apply := func(fallback *governance.Fallback) {
		t.Helper()
		err := set.Apply([]governance.Version{{Version: 5, Policy: governance.Policy{
			Kind: governance.KindSwitch, Target: governance.Target{App: governance.App{Namespace: "shop", Name: "cart"}, Command: "shop/cart", At: governance.Caller},
			Rules: governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}, Fallback: fallback},
		}}}, 0)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path                        string
		fallback                    *governance.Fallback
		status                      int
		refused, version, fallbacks string
	}{
		{"/cart", nil, 204, "switched", "5", "route"},
		{"/cart", &governance.Fallback{Value: []byte(`{}`)}, 200, "switched", "5", "value"},
		{"/cart", &governance.Fallback{Error: "closed"}, 503, "switched", "5", "error"},
		{"/none", nil, 204, "", "", "route"},
	} {
		apply(c.fallback)
		rec.Flush()
		if r := f.get(c.path); r.status != c.status {
			t.Errorf("%s: got %+v", c.path, r)
		}
		var spans []model.SpanModel
		f.until("a span", func() bool { spans = append(spans, rec.Flush()...); return len(spans) > 0 })
		tags := spans[0].Tags
		if tags["weir.refused"] != c.refused || tags["weir.policy.version"] != c.version || tags["weir.fallback"] != c.fallbacks || tags["weir.command"] != "shop"+c.path {
			t.Errorf("%s: %v", c.path, tags)
		}
	}
}

func TestAccessLog(t *testing.T) {
	log := &syncBuffer{}
	f := start(t, func(c *Config) { c.AccessLog = slog.New(slog.NewTextHandler(log, nil)) })
	up := f.upstream(echo)
	f.routes(toURL("cart", `{"path":"/cart"}`, up.URL))
	f.get("/cart?token=secret")
	f.get("/nothing")
	f.until("two lines", func() bool { return strings.Count(log.String(), "\n") == 2 })
	lines := log.String()
	for _, want := range []string{"path=/cart", "route=shop/cart", "status=200", "attempts=1", "problem=no-route", "status=404", "upstream=" + strings.TrimPrefix(up.URL, "http://")} {
		if !strings.Contains(lines, want) {
			t.Errorf("%q is not in %s", want, lines)
		}
	}
	if strings.Contains(lines, "secret") {
		t.Errorf("a query is in the log: %s", lines)
	}
}
