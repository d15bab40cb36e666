package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirmesh/weir/test/mesh"
)

// span is what the tests read of a span in Zipkin's shape.
type span struct {
	TraceID       string `json:"traceId"`
	ID            string `json:"id"`
	ParentID      string `json:"parentId"`
	Kind          string `json:"kind"`
	Name          string `json:"name"`
	LocalEndpoint struct {
		ServiceName string `json:"serviceName"`
	} `json:"localEndpoint"`
	Tags map[string]string `json:"tags"`
}

func newID(t *testing.T, bytes int) string {
	t.Helper()
	b := make([]byte, bytes)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// trace waits until a trace is stored with spans of all of the services.
func (m *system) trace(t *testing.T, id string, services ...string) []span {
	t.Helper()
	var spans []span
	mesh.Eventually(t, "trace "+id+" is whole", func() error {
		out, err := m.TryAsk(t.Context(), "trace", "get", id, "-o", "json")
		if err != nil {
			return err
		}
		spans = nil
		if err := json.Unmarshal([]byte(out), &spans); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		have := map[string]bool{}
		for _, s := range spans {
			have[s.LocalEndpoint.ServiceName] = true
		}
		for _, s := range services {
			if !have[s] {
				return fmt.Errorf("no span of %s yet, only of %v", s, have)
			}
		}
		return nil
	})
	return spans
}

// The fifth flow: one request through the gateway leaves one trace over HTTP,
// Triple and Dubbo, each span below the one that caused it.
func TestOneTraceThroughGatewayHTTPTripleAndDubbo(t *testing.T) {
	openShop(t)
	id, parent := newID(t, 16), newID(t, 8)
	if a := theMesh.through(t, http.MethodGet, "/shop/cart/42", "", "traceparent", "00-"+id+"-"+parent+"-01"); a.status != http.StatusOK {
		t.Fatal(a)
	}
	spans := theMesh.trace(t, id, "gateway", "storefront", "pricing", "orders", "inventory")
	byID := map[string]span{}
	for _, s := range spans {
		byID[s.ID] = s
	}
	// way is the services from a span up to the request's sender.
	way := func(s span) (services []string) {
		for {
			if n := len(services); n == 0 || services[n-1] != s.LocalEndpoint.ServiceName {
				services = append(services, s.LocalEndpoint.ServiceName)
			}
			if s.ParentID == parent {
				return services
			}
			next, ok := byID[s.ParentID]
			if !ok {
				return append(services, "nobody")
			}
			s = next
		}
	}
	seen := map[string]bool{}
	for _, s := range spans {
		if s.Kind == "SERVER" {
			seen[strings.Join(way(s), " < ")] = true
		}
	}
	for _, want := range []string{
		"inventory < orders < storefront < gateway",
		"pricing < storefront < gateway",
	} {
		if !seen[want] {
			t.Errorf("no server span came the way %s, only %v", want, seen)
		}
	}

	// The command line shows it to people, and it is found by what is known of it.
	out := theMesh.Ask(t, "trace", "get", id)
	for _, want := range []string{"storefront", "inventoryservice.stock", id} {
		if !strings.Contains(out, want) {
			t.Errorf("weir trace get lacks %q:\n%s", want, out)
		}
	}
	mesh.Eventually(t, "the trace is found", func() error {
		out, err := theMesh.TryAsk(t.Context(), "trace", "search", "--service", "inventory", "--limit", "100", "-o", "json")
		if err == nil && !strings.Contains(out, id) {
			err = fmt.Errorf("not among those found")
		}
		return err
	})
	mesh.Eventually(t, "orders is known to call inventory", func() error {
		a, err := request(t.Context(), http.MethodGet, "http://"+theMesh.Tracing+"/api/v2/services", "")
		if err == nil && !strings.Contains(string(a.body), `"orders"`) {
			err = fmt.Errorf("%s", a)
		}
		return err
	})
}

// What is no span is refused whole, with Zipkin's own words, and nothing of it is
// stored.
func TestGarbageSpansAreRefused(t *testing.T) {
	id := newID(t, 16)
	good := `{"traceId": "` + id + `", "id": "0000000000000001", "name": "e2e"}`
	for body, want := range map[string]string{
		`[` + good + `, {"traceId": "XYZ", "id": "1"}]`: "lower-hex",
		`[` + good: "",
		`hello`:    "JSON_V2",
	} {
		a, err := request(t.Context(), http.MethodPost, "http://"+theMesh.Tracing+"/api/v2/spans", body)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != http.StatusBadRequest || !strings.Contains(string(a.body), want) {
			t.Errorf("%.40s: want 400 that says %q, got %s", body, want, a)
		}
	}
	a, err := request(t.Context(), http.MethodGet, "http://"+theMesh.Tracing+"/api/v2/trace/"+id, "")
	if err != nil {
		t.Fatal(err)
	}
	if a.status != http.StatusNotFound {
		t.Errorf("something of it was stored: %s", a)
	}
}
