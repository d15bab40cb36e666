package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRoutesWrittenUnderLoad changes, adds and deletes routes and endpoints while
// requests come in: none of them fails.
func TestRoutesWrittenUnderLoad(t *testing.T) {
	f := start(t, nil)
	var asked [3]atomic.Int64
	var handlers []http.HandlerFunc
	for i := range asked {
		handlers = append(handlers, answering(&asked[i], 200, "ok"))
	}
	f.instances("cart", handlers...)
	f.routes(toApp("cart", `{"path":"/cart/{id}"}`, "shop/cart"))
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var served atomic.Int64
	for i := range 8 {
		load.Go(func() {
			for ctx.Err() == nil {
				r, _ := http.NewRequestWithContext(context.Background(), []string{"GET", "POST"}[i%2], fmt.Sprintf("%s/cart/%d", f.server.URL, i), strings.NewReader("body"))
				answer, err := f.client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK || string(body) != "ok" || err != nil {
					t.Errorf("%d %s %v", answer.StatusCode, body, err)
					return
				}
				served.Add(1)
			}
		})
	}
	name := handlersApp("cart")
	for i := range 30 {
		switch i % 5 {
		case 0:
			f.routes(toApp("cart", `{"path":"/cart/{id}"}`, "shop/cart", fmt.Sprintf(`{"requestHeaders":{"set":{"X-I":"%d"}}}`, i)))
		case 1:
			f.routes(toApp(fmt.Sprint("new", i), fmt.Sprintf(`{"path":"/new/%d"}`, i), "shop/cart"))
			if r := f.get(fmt.Sprintf("/new/%d", i)); r.status != 200 {
				t.Errorf("a new route is not live: %+v", r)
			}
		case 2:
			f.registry.SetHealth(name, fmt.Sprint("pod-", i%3), "terminating")
		case 3:
			f.registry.SetHealth(name, fmt.Sprint("pod-", (i-1)%3), "ready")
		case 4: // the same route, to another upstream by another route's name
			f.routes(toApp("cart2", `{"path":"/cart/{id}","method":["GET"]}`, "shop/cart", `{"timeout":{"total":"10s"}}`))
		}
		now := served.Load()
		f.until("requests go on", func() bool { return served.Load() > now+10 || t.Failed() })
	}
	cancel()
	load.Wait()
	for i := range asked {
		if asked[i].Load() == 0 {
			t.Errorf("endpoint %d was never asked", i)
		}
	}
}

// TestEndpointsStopUnderLoad takes servers away as Kubernetes does: first they get
// nothing new, then they end what they have, then they are gone.
func TestEndpointsStopUnderLoad(t *testing.T) {
	f := start(t, nil)
	var n atomic.Int64
	h := answering(&n, 200, "ok")
	servers := f.instances("cart", slices.Repeat([]http.HandlerFunc{h}, 4)...)
	f.routes(toApp("cart", every, "shop/cart"))
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 6 {
		load.Go(func() {
			for ctx.Err() == nil {
				if r := f.do("POST", "/x", strings.NewReader("body")); r.status != 200 {
					t.Errorf("got %+v", r)
					return
				}
			}
		})
	}
	name := handlersApp("cart")
	key := poolKey{app: name}
	for i, s := range servers[:3] {
		before := n.Load()
		f.until("load", func() bool { return n.Load() > before+50 })
		leaving := slices.DeleteFunc(slices.Clone(f.endpoints(key)), func(e *member) bool { return e.Address != s.Listener.Addr().String() })[0]
		f.registry.SetHealth(name, fmt.Sprint("pod-", i), "terminating")
		f.until("the endpoint gets nothing new", func() bool { return len(f.endpoints(key)) == len(servers)-1-i })
		f.until("its last request ended", func() bool { return leaving.Active() == 0 })
		s.Config.Shutdown(context.Background())
		f.registry.RemoveInstance(name, fmt.Sprint("pod-", i))
	}
	cancel()
	load.Wait()
}

// TestCrashUnderLoad kills servers without a word. Requests of which something was
// sent may fail once each; then they go elsewhere.
func TestCrashUnderLoad(t *testing.T) {
	f := start(t, nil)
	var n atomic.Int64
	h := answering(&n, 200, "ok")
	servers := f.instances("cart", slices.Repeat([]http.HandlerFunc{h}, 2)...)
	f.routes(toApp("cart", every, "shop/cart", `{"retry":{"attempts":2,"on":["connect","reset"],"budgetPercent":100}}`))
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if r := f.get("/x"); r.status != 200 {
					t.Errorf("got %+v", r)
					return
				}
			}
		})
	}
	f.until("load", func() bool { return n.Load() > 100 })
	servers[0].Listener.Close()
	servers[0].CloseClientConnections()
	before := n.Load()
	f.until("load goes on", func() bool { return n.Load() > before+200 || t.Failed() })
	cancel()
	load.Wait()
}
