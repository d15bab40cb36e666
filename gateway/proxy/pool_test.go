package proxy

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
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
	key := poolKey{app: name, protocol: "http1"}
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

func (f *fixture) endpoints(key poolKey) []*endpoint {
	f.proxy.follower.pools.mu.Lock()
	defer f.proxy.follower.pools.mu.Unlock()
	if p := f.proxy.follower.pools.all[key]; p != nil {
		if set := p.set.Load(); set != nil {
			return set.endpoints
		}
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

func TestPorts(t *testing.T) {
	ports := func(p ...registry.ServicePort) registry.Service { return registry.Service{Ports: p} }
	http, admin, odd := registry.ServicePort{Name: "http", Port: 80, Target: 8080}, registry.ServicePort{Name: "admin", Port: 81, Target: 9090}, registry.ServicePort{Name: "odd", Port: 82}
	for _, c := range []struct {
		service registry.Service
		port    string
		want    uint16
	}{
		{ports(http), "", 8080}, {ports(admin), "", 9090}, {ports(admin, http), "", 8080}, {ports(admin, odd), "", 0},
		{ports(admin, http), "admin", 9090}, {ports(admin, http), "81", 9090}, {ports(admin, http), "9090", 0}, {ports(http), "x", 0},
		{ports(odd), "odd", 0}, {ports(), "8080", 8080}, {ports(), "", 0}, {ports(), "http", 0},
	} {
		got, err := targetPort(c.service, c.port)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%v, port %q: %d, %v, want %d", c.service.Ports, c.port, got, err, c.want)
		}
	}
}

func TestBalances(t *testing.T) {
	for _, balance := range []string{gateway.RoundRobin, gateway.Random, gateway.LeastRequests} {
		for _, weights := range [][]int{{100, 100, 100, 100}, {100, 300}, {1, 0, 1}, {0, 0}, {100}} {
			p := &pool{now: time.Now}
			set := &endpointSet{}
			counts := map[*endpoint]int{}
			sum := 0
			for _, w := range weights {
				set.endpoints = append(set.endpoints, &endpoint{})
				sum += w
			}
			set.weigh(weights)
			p.set.Store(set)
			const picks = 20000
			for range picks {
				e := p.pick(balance, nil)
				counts[e]++
				e.active.Add(-1)
			}
			for i, e := range set.endpoints {
				share := float64(weights[i]) / float64(max(sum, 1))
				if sum == 0 {
					share = 1 / float64(len(weights))
				}
				// Least requests without any under way chooses among two by weight.
				if got := float64(counts[e]) / picks; got < share-0.03 || got > share+0.03 {
					t.Errorf("%s of %v: endpoint %d got %.3f, want %.3f", balance, weights, i, got, share)
				}
			}
		}
	}
}

func TestLeastRequestsShunsTheBusy(t *testing.T) {
	busy, idle := &endpoint{}, &endpoint{}
	busy.active.Store(5)
	p := &pool{now: time.Now}
	p.set.Store(&endpointSet{endpoints: []*endpoint{busy, idle}})
	for i := range 5 {
		if e := p.pick(gateway.LeastRequests, nil); e != idle {
			t.Fatalf("pick %d is the busy one", i)
		}
	}
	if e := p.pick(gateway.LeastRequests, []*endpoint{idle}); e != busy {
		t.Error("a tried endpoint was picked")
	}
	if e := p.pick(gateway.LeastRequests, []*endpoint{idle, busy}); e != nil {
		t.Error("all were tried, and one was picked")
	}
}

func TestEjectionIsCapped(t *testing.T) {
	now := time.Unix(1000, 0)
	ejections := 0
	p := &pool{now: func() time.Time { return now }, ejected: func() { ejections++ }, all: map[string]*endpoint{}}
	set := &endpointSet{}
	for i := range 4 {
		e := &endpoint{address: fmt.Sprint(i)}
		p.all[e.address] = e
		set.endpoints = append(set.endpoints, e)
	}
	p.set.Store(set)
	for _, e := range set.endpoints {
		p.refused(e)
		p.refused(e)
	}
	if ejections != 2 {
		t.Fatalf("%d of 4 were ejected", ejections)
	}
	for range 100 {
		if e := p.pick(gateway.Random, nil); e == set.endpoints[0] || e == set.endpoints[1] {
			t.Fatal("an ejected endpoint was picked")
		}
	}
	// When nothing else is left they are better than nothing.
	if e := p.pick(gateway.Random, set.endpoints[2:]); e == nil {
		t.Error("nobody was picked")
	}
	now = now.Add(ejectFor)
	seen := map[*endpoint]bool{}
	for range 1000 {
		seen[p.pick(gateway.Random, nil)] = true
	}
	if len(seen) != 4 {
		t.Error("an ejection never ends")
	}
	p.refused(set.endpoints[0]) // again, so for longer
	now = now.Add(ejectFor)
	if set.endpoints[0].ejectedUntil.Load() <= now.UnixNano() {
		t.Error("the second ejection is as short as the first")
	}
	set.endpoints[0].accepted()
	if set.endpoints[0].ejectedUntil.Load() != 0 {
		t.Error("one that accepts is still ejected")
	}
}
