package proxy

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirmesh/weir/registry"
)

func TestEndpointsComeAndGo(t *testing.T) {
	f := start(t, nil)
	f.routes(toApp("cart", every, "shop/cart"), toApp("mute", `{"path":"/mute"}`, "shop/mute"))
	r := f.get("/x")
	if r.status != 503 || r.problem().Code != codeNoEndpoint || r.header.Get("Retry-After") == "" {
		t.Errorf("nobody there: %+v", r)
	}
	var a, b atomic.Int64
	f.instances("cart", answering(&a, 200, ""), answering(&b, 200, ""))
	f.until("both asked", func() bool { f.get("/x"); return a.Load() > 0 && b.Load() > 0 })
	name := registry.App{Namespace: "shop", Name: "cart"}
	f.registry.SetHealth(name, "pod-0", registry.Terminating)
	key := poolKey{app: name}
	f.until("one endpoint", func() bool { return len(f.endpoints(key)) == 1 })
	before := a.Load()
	for range 20 {
		f.get("/x")
	}
	if a.Load() != before {
		t.Error("a terminating endpoint was asked")
	}
	f.registry.SetHealth(name, "pod-1", registry.NotReady)
	f.until("no endpoint", func() bool { return f.get("/x").status == 503 })
	// A Service whose ports do not say where to go.
	f.registry.PutService(registry.App{Namespace: "shop", Name: "mute"}, registry.Service{Ports: []registry.ServicePort{{Name: "a", Port: 1, Target: 1}, {Name: "b", Port: 2, Target: 2}}})
	f.registry.PutInstance(registry.App{Namespace: "shop", Name: "mute"}, registry.Instance{ID: "m"})
	f.until("the reason is told", func() bool { return strings.Contains(f.get("/mute").problem().Detail, "upstream.port") })
}

func (f *fixture) endpoints(key poolKey) []*member {
	f.proxy.follower.pools.mu.Lock()
	defer f.proxy.follower.pools.mu.Unlock()
	if p := f.proxy.follower.pools.all[key]; p != nil {
		return p.Members()
	}
	return nil
}

func TestRequestWaitsForTheRegistrysFirstWord(t *testing.T) {
	late := &lateRegistry{said: make(chan func(registry.Snapshot), 1)}
	f := start(t, func(c *Config) { late.Discoverer, c.Registry = c.Registry, late })
	up := f.upstream(echo)
	f.routes(toApp("cart", every, "shop/cart"))
	var asked sync.WaitGroup
	asked.Go(func() {
		if r := f.get("/x"); r.status != 200 {
			t.Errorf("got %+v", r)
		}
	})
	f.until("waiting", func() bool { return f.proxy.active.Load() == 1 })
	f.instance("cart", "pod", up.Listener.Addr().String())
	s, err := late.Discoverer.Snapshot(t.Context(), registry.App{Namespace: "shop", Name: "cart"})
	if err != nil {
		t.Fatal(err)
	}
	(<-late.said)(s)
	asked.Wait()
}

// lateRegistry says nothing until it is told to.
type lateRegistry struct {
	registry.Discoverer
	said chan func(registry.Snapshot)
}

func (r *lateRegistry) Subscribe(_ registry.App, notify func(registry.Snapshot)) (func(), error) {
	r.said <- notify
	return func() {}, nil
}
