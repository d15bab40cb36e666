package api_test

import (
	"context"
	"sync"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/api"
)

func TestWait(t *testing.T) {
	t.Parallel()
	f := start(t)
	set := func(n gateway.Node) {
		t.Helper()
		if err := f.store.SetNode(context.WithoutCancel(t.Context()), n); err != nil {
			t.Error(err)
		}
	}
	// Nobody serves: that is told, and is no success.
	if r := f.result(f.do("PUT", "/api/v1/routes/shop/a?wait=10ms", route("a", "")), 201); r.Served == nil || *r.Served || len(r.Gateways) != 0 {
		t.Errorf("got %+v", r)
	}
	// The first gateway comes while somebody waits.
	var first sync.WaitGroup
	first.Go(func() {
		if r := f.result(f.do("PUT", "/api/v1/routes/shop/a?wait=30s", route("a", "")), 200); r.Served == nil || !*r.Served || len(r.Gateways) == 0 {
			t.Errorf("got %+v", r)
		}
	})
	set(gateway.Node{Name: "g1", Revision: 1})
	first.Wait()
	set(gateway.Node{Name: "g2", Revision: 1})
	r := f.result(f.do("PUT", "/api/v1/routes/shop/b?wait=10ms", route("b", "")), 201)
	if r.Served == nil || *r.Served || len(r.Gateways) != 2 || r.Gateways[0].Current {
		t.Errorf("got %+v", r)
	}

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // two gateways that follow
		_ = f.store.Watch(ctxOf(stop), func() {
			d, err := f.store.Since(context.Background(), 1)
			if err != nil {
				t.Error(err)
				return
			}
			set(gateway.Node{Name: "g1", Revision: d.Revision})
			set(gateway.Node{Name: "g2", Revision: d.Revision, Quarantined: []gateway.Quarantine{{Key: gateway.Key{Namespace: "shop", Name: "bad"}, Revision: d.Revision, Reason: "why"}}})
		})
	})
	r = f.result(f.do("PUT", "/api/v1/routes/shop/c?wait=30s", route("c", "")), 201)
	if r.Served == nil || !*r.Served || len(r.Gateways) != 2 || !r.Gateways[0].Current || !r.Gateways[1].Current {
		t.Errorf("got %+v", r)
	}
	// A gateway that has the revision but cannot serve this very route.
	r = f.result(f.do("PUT", "/api/v1/routes/shop/bad?wait=30s", route("bad", "")), 201)
	if r.Served == nil || *r.Served || len(r.Gateways[1].Quarantined) != 1 {
		t.Errorf("got %+v", r)
	}
	close(stop)
	wg.Wait()

	var g api.Gateways
	f.do("GET", "/api/v1/gateways", "").into(t, &g)
	if len(g.Items) != 2 || g.Revision != 4 || !g.Items[0].Current || len(g.Items[1].Quarantined) != 1 {
		t.Errorf("got %+v", g)
	}
	g = api.Gateways{}
	f.do("GET", "/api/v1/gateways", "", "Authorization", "Bearer bank").into(t, &g)
	if len(g.Items) != 2 || len(g.Items[1].Quarantined) != 0 {
		t.Errorf("somebody else's routes are told: %+v", g)
	}
}

// ctxOf ends when a channel is closed.
func ctxOf(stop <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-stop; cancel() }()
	return ctx
}
