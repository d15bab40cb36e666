package java

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

// route writes one of the test's own, and deletes it at the test's end.
func route(t *testing.T, name, rest string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "route.yaml")
	if err := os.WriteFile(file, []byte("namespace: shop\nname: "+name+"\n"+rest), 0o600); err != nil {
		t.Fatal(err)
	}
	said := theMesh.Ask(t, "route", "apply", "-f", file, "--reason", "Java test", "--wait", "30s")
	t.Cleanup(func() {
		if _, err := theMesh.TryAsk(context.Background(), "route", "delete", "shop/"+name, "--reason", "Java test"); err != nil {
			t.Error(err)
		}
	})
	return said
}

// toDelivery is a route to a Spring Cloud service as one would first write it.
const toDelivery = `match: {path: "/java/delivery/{sku}", method: GET}
filters: [{setPath: "/delivery/{sku}"}]
upstream: {app: shop/delivery}
`

// The gateway finds a Spring Cloud service through Kubernetes, and follows it while
// its pods come, go and are replaced: no request fails.
func TestGatewayFollowsSpringService(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	all := pods(t, "delivery")
	carriers(t, all)
	route(t, "java-delivery", toDelivery)
	status, body := through(t, "/java/delivery/book")
	if status != http.StatusOK || !strings.Contains(body, `"sku":"book"`) {
		t.Fatalf("%d %s", status, body)
	}
	var asked, failed, byPosts atomic.Int64
	var first atomic.Value
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				asked.Add(1)
				var o offer
				// A request under way at the end counts too.
				err := mesh.GetJSON(context.WithoutCancel(ctx), "http://"+theMesh.Gateway+"/java/delivery/book", &o)
				switch {
				case err != nil:
					failed.Add(1)
					first.CompareAndSwap(nil, fmt.Sprintf("%s: %v", time.Now().Format(time.TimeOnly), err))
				case o.Carrier != byRoad:
					byPosts.Add(1)
				}
			}
		})
	}
	step := func(what string, do func()) {
		t.Helper()
		before, lost, posts := asked.Load(), failed.Load(), byPosts.Load()
		do()
		mesh.Eventually(t, "some more requests are answered", func() error {
			if n := asked.Load() - before; n < 40 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
		t.Logf("%s: %d requests, %d failed, %d answered by the fallback", what, asked.Load()-before, failed.Load()-lost, byPosts.Load()-posts)
	}
	step("three pods", func() { scale(t, "delivery", 3) })
	step("a rolling restart", func() { restart(t, "delivery") })
	step("one pod", func() { scale(t, "delivery", 1) })
	step("two pods", func() { scale(t, "delivery", 2) })
	stop()
	wg.Wait()
	if failed.Load() != 0 {
		t.Errorf("%d of %d requests failed, first %v", failed.Load(), asked.Load(), first.Load())
	}
}

// Where a Service has several ports, as those of Spring Cloud do that show their
// management, the primary one is taken, or the one named http; where there is
// neither, the route names one.
func TestGatewayChoosesPortOfSpringService(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	for _, c := range []struct {
		name, ports, port, warns string
	}{
		{"delivery-http", `[{name: management, port: 8081, targetPort: management}, {name: http, port: 80, targetPort: http}]`, "", ""},
		{"delivery-primary", `[{name: management, port: 8081, targetPort: management}, {name: web, port: 80, targetPort: http}]`, "", ""},
		{"delivery-web", `[{name: management, port: 8081, targetPort: management}, {name: site, port: 80, targetPort: http}]`, "", "has several ports and none named http"},
		{"delivery-named", `[{name: management, port: 8081, targetPort: management}, {name: web, port: 80, targetPort: http}]`, ", port: web", ""},
		{"delivery-number", `[{name: management, port: 8081, targetPort: 8081}, {name: web, port: 80, targetPort: 8080}]`, `, port: "80"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "service.yaml")
			service := `apiVersion: v1
kind: Service
metadata:
  name: ` + c.name + `
  labels: {spring-boot: "true", primary-port-name: web}
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8081", prometheus.io/path: /actuator/prometheus, secured: "false"}
spec:
  selector: {app.kubernetes.io/name: delivery, app.kubernetes.io/part-of: shop}
  ports: ` + c.ports + "\n"
			if err := os.WriteFile(file, []byte(service), 0o600); err != nil {
				t.Fatal(err)
			}
			kubectl(t, "apply", "-f", file)
			t.Cleanup(func() { kubectlIn(context.WithoutCancel(t.Context()), t, "delete", "service", c.name) })
			mesh.Eventually(t, "the registry knows it", func() error {
				out := theMesh.Registry(t, "get", "shop/"+c.name)
				if !strings.Contains(out, pods(t, "delivery")[0].Status.PodIP) {
					return fmt.Errorf("%s", out)
				}
				return nil
			})
			path := "/java/" + c.name
			said := route(t, c.name, "match: {path: \""+path+"\"}\nfilters: [{setPath: /delivery/book}]\nupstream: {app: shop/"+c.name+c.port+"}\n")
			status, body := through(t, path)
			if c.warns != "" {
				if !strings.Contains(said, c.warns) || status != http.StatusServiceUnavailable {
					t.Errorf("want a warning with %q and 503, got %d %s and\n%s", c.warns, status, body, said)
				}
				return
			}
			if status != http.StatusOK || !strings.Contains(body, `"sku":"book"`) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// springTrace sends a request through the gateway and waits until its trace has
// spans that came each of the ways, and none that came from nobody.
func springTrace(t *testing.T, path string, want ...string) {
	t.Helper()
	id, sender := newID(t, 16), newID(t, 8)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+theMesh.Gateway+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", "00-"+id+"-"+sender+"-01")
	if status, body := answer(t, req); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	mesh.Eventually(t, "trace "+id+" is whole", func() error {
		out, err := theMesh.TryAsk(t.Context(), "trace", "get", id, "-o", "json")
		if err != nil {
			return err
		}
		var all spans
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		seen := map[string]bool{}
		for i := range all {
			if way := all.way(&all[i], sender); all[i].Kind == "SERVER" || strings.HasSuffix(way, "nobody") {
				seen[way] = true
			}
		}
		for way := range seen {
			if strings.HasSuffix(way, "nobody") {
				return fmt.Errorf("a span came the way %s", way)
			}
		}
		for _, way := range want {
			if !seen[way] {
				return fmt.Errorf("no server's span came the way %s, only %v", way, seen)
			}
		}
		return nil
	})
}

// Sleuth's spans stand in one tree with the gateway's.
func TestOneTraceThroughGatewayAndSpring(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	carriers(t, pods(t, "delivery"))
	route(t, "java-delivery", toDelivery)
	springTrace(t, "/java/delivery/book", "delivery < gateway", "carriers < delivery < gateway")
}

// A service in Go stands between the gateway and Spring's.
func TestOneTraceThroughGoAndSpring(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	needs(t, "dubbo-3.3") // its catalogue tells of the articles
	carriers(t, pods(t, "delivery"))
	route(t, "java-page", "match: {path: \"/java/page/{sku}\", method: GET}\nfilters: [{setPath: \"/article/{sku}\"}]\nupstream: {app: shop/storefront}\n")
	mesh.Eventually(t, "an article has its day of delivery", func() error {
		var a struct{ Delivery *offer }
		err := mesh.GetJSON(t.Context(), "http://"+theMesh.Gateway+"/java/page/book", &a)
		if err == nil && (a.Delivery == nil || a.Delivery.Carrier != byRoad) {
			err = fmt.Errorf("%+v", a.Delivery)
		}
		return err
	})
	springTrace(t, "/java/page/book", "delivery < storefront < gateway", "carriers < delivery < storefront < gateway")
}

// byGopher is how polyglot, which is in Go, delivers.
const byGopher = "gopher"

// Spring Cloud Kubernetes finds a Service's pods whatever they are written in, and Ribbon
// calls them: once the Service that delivery names leads to pods in Go, those answer, and
// the other way round.
func TestSpringFindsGoService(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	all := pods(t, "delivery")
	carriers(t, all)
	pods(t, "polyglot")
	const leads = `{"spec": {"selector": {"app.kubernetes.io/name": %q, "app.kubernetes.io/part-of": %s}}}`
	back := fmt.Sprintf(leads, "carriers", `"shop"`)
	t.Cleanup(func() {
		kubectlIn(context.WithoutCancel(t.Context()), t, "patch", "service", "carriers", "--type", "merge", "-p", back)
	})
	kubectl(t, "patch", "service", "carriers", "--type", "merge", "-p", fmt.Sprintf(leads, "polyglot", "null"))
	for _, p := range all {
		mesh.Eventually(t, p.Metadata.Name+" is answered by Go", func() error {
			o, err := p.deliver(t.Context())
			if err == nil && o.Carrier != byGopher {
				err = fmt.Errorf("%+v", o)
			}
			return err
		})
	}
	answers(t, all, byGopher)
	kubectl(t, "patch", "service", "carriers", "--type", "merge", "-p", back)
	carriers(t, all)
	answers(t, all, byRoad)
}
