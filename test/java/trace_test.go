package java

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

// span is what the tests read of a span in Zipkin's shape.
type span struct {
	ID            string `json:"id"`
	ParentID      string `json:"parentId"`
	Kind          string `json:"kind"`
	Name          string `json:"name"`
	LocalEndpoint struct {
		ServiceName string `json:"serviceName"`
	} `json:"localEndpoint"`
	Tags map[string]string `json:"tags"`
}

// spans are those of one trace.
type spans []span

// above returns the span that caused one; nil for none among them. Brave's server
// spans share the id of the client's.
func (all spans) above(s *span) *span {
	var found *span
	for i := range all {
		p := &all[i]
		switch {
		case p.ID == s.ID && p.Kind == "CLIENT" && s.Kind == "SERVER" && p.LocalEndpoint != s.LocalEndpoint:
			return p
		case p.ID == s.ParentID && p != s && (found == nil || p.LocalEndpoint == s.LocalEndpoint):
			found = p
		}
	}
	return found
}

// way is the services from a span up to the sender of the request, whose span is
// called parent.
func (all spans) way(s *span, parent string) string {
	var services []string
	for hops := 0; ; hops++ {
		if n := len(services); n == 0 || services[n-1] != s.LocalEndpoint.ServiceName {
			services = append(services, s.LocalEndpoint.ServiceName)
		}
		next := all.above(s)
		switch {
		case next == nil && s.ParentID == parent:
			return strings.Join(services, " < ")
		case next == nil || hops == len(all):
			return strings.Join(append(services, "nobody"), " < ")
		}
		s = next
	}
}

// One request through the gateway leaves one trace: over HTTP to Go, over Dubbo or
// Triple to Java and from there to Go again, each span below the one that caused
// it; with Brave's filter in Java, and with Dubbo's own tracing.
func TestOneTraceThroughGoAndJava(t *testing.T) {
	dubboTurns.take(t)
	apply(t, `namespace: shop
name: polyglot
match: {path: "/polyglot/{rest...}", method: GET}
filters:
  - stripPrefix: 1
upstream: {app: shop/polyglot}
`)
	eachLine(t, func(t *testing.T, l line) {
		own := "dubbo"
		if l.project == "dubbo-3.2" {
			own = "observation" // 3.2 has no configuration for it outside of Spring
		}
		oneTrace(t, l, dubbo2, "brave")
		oneTrace(t, l, triple, own)
		kubectl(t, "set", "env", "deployment/"+l.catalogue(dubbo2), "TRACING="+own)
		kubectl(t, "set", "env", "deployment/"+l.catalogue(triple), "TRACING=brave")
		oneTrace(t, l, dubbo2, own)
		oneTrace(t, l, triple, "brave")
	})
}

func oneTrace(t *testing.T, l line, protocol, by string) {
	t.Helper()
	app := l.catalogue(protocol)
	rolledOut(t, app)
	registered(t, app)
	t.Run(protocol+" by "+by, func(t *testing.T) {
		want := "inventory < " + app + " < polyglot < gateway"
		var seen map[string]bool
		var last spans
		// The first requests may reach a pod that was there before, or find none yet.
		err := mesh.Wait("a trace goes that way", func() error {
			id, parent := newID(t, 16), newID(t, 8)
			if err := traced(t.Context(), "/polyglot/article/book?of="+app+"&over="+protocol, id, parent); err != nil {
				return err
			}
			return mesh.WaitFor(15*time.Second, "trace "+id+" is whole", func() error {
				out, err := theMesh.TryAsk(t.Context(), "trace", "get", id, "-o", "json")
				if err != nil {
					return err
				}
				last = nil
				if err := json.Unmarshal([]byte(out), &last); err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				seen = map[string]bool{}
				for i := range last {
					seen[last.way(&last[i], parent)] = true
				}
				for way := range seen {
					if strings.HasSuffix(way, "nobody") {
						return fmt.Errorf("a span came the way %s", way)
					}
				}
				if !seen[want] {
					return fmt.Errorf("no span came the way %s, only %v", want, seen)
				}
				return nil
			})
		})
		if err != nil {
			t.Error(err)
		}
		for _, s := range last {
			t.Logf("%s %s of %s: %s", s.Kind, s.Name, s.LocalEndpoint.ServiceName, s.ID)
		}
	})
}

// traced sends a request through the gateway as part of a trace.
func traced(ctx context.Context, path, id, parent string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+theMesh.Gateway+path, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("traceparent", "00-"+id+"-"+parent+"-01")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var article struct{ Stock *struct{ ServedBy string } }
	if err := json.NewDecoder(resp.Body).Decode(&article); err != nil || resp.StatusCode != http.StatusOK || article.Stock == nil {
		return fmt.Errorf("%s with stock %v (%w)", resp.Status, article.Stock, err)
	}
	return nil
}

func newID(t *testing.T, bytes int) string {
	t.Helper()
	b := make([]byte, bytes)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}
