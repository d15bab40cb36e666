package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirmesh/weir/internal/testzk"
	"github.com/weirmesh/weir/registry"
)

// opened counts the subscriptions that stand.
type opened struct {
	registry.Discoverer
	count atomic.Int64
}

func (o *opened) Subscribe(app registry.App, notify func(registry.Snapshot)) (func(), error) {
	stop, err := o.Discoverer.Subscribe(app, notify)
	if err != nil {
		return nil, err
	}
	o.count.Add(1)
	var once sync.Once
	return func() { once.Do(func() { stop(); o.count.Add(-1) }) }, nil
}

// A thousand applications that came, were written, and went leave nothing: no
// subscription, nothing that is remembered of them, no goroutine, no provider.
func TestApplicationsThatWentLeaveNothing(t *testing.T) {
	b := newBridged(t, testzk.Start(t))
	subscriptions := &opened{Discoverer: b.client}
	b.from = subscriptions
	b.instance(1)
	gone := registry.App{Namespace: "shop", Name: "named"} // by the configuration, and not there
	r := b.run(func(c *BridgeConfig) {
		c.Apps = append(c.Apps, gone.String())
		c.Ask = func(_ context.Context, app registry.App, _ *registry.Instance) ([]byte, error) {
			return []byte(strings.ReplaceAll(strings.ReplaceAll(stockDocument, "org.example.Stock", "org.example."+app.Name), "inventory", app.Name)), nil
		}
	})
	b.finds("10.0.0.1")
	has := func(what string, nodes, apps int) {
		t.Helper()
		b.eventually(what, func() error {
			s := r.Status()
			r.mu.Lock()
			defer r.mu.Unlock()
			if s.Nodes != nodes || s.Apps != apps || len(r.written) != nodes || len(r.documents) != nodes || subscriptions.count.Load() != int64(apps) {
				return fmt.Errorf("%d nodes, %d applications, of which %d are written, %d documents, %d subscriptions", s.Nodes, s.Apps, len(r.written), len(r.documents), subscriptions.count.Load())
			}
			return nil
		})
	}
	has("the start", 1, 2)
	before := runtime.NumGoroutine()
	const rounds, each = 4, 250
	for round := range rounds {
		var all []registry.App
		for n := range each {
			app := registry.App{Namespace: "shop", Name: fmt.Sprintf("app-%d-%d", round, n)}
			all = append(all, app)
			b.reg.PutService(app, registry.Service{})
			b.reg.PutInstance(app, registry.Instance{
				ID: "uid-" + app.Name, Name: app.Name, Host: netip.AddrFrom4([4]byte{10, 1, byte(round), byte(n)}), Health: registry.Ready, Revision: "r1",
				Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}}, Metadata: map[string]string{registry.KeyRevision: "r1"},
			})
		}
		has("all are written", 1+each, 2+each)
		for _, app := range all {
			b.reg.RemoveApp(app)
		}
		has("all are gone", 1, 2)
	}
	b.finds("10.0.0.1")
	b.eventually("no goroutine is left", func() error {
		if n := runtime.NumGoroutine(); n > before+10 {
			return fmt.Errorf("%d goroutines, %d before", n, before)
		}
		return nil
	})
	// One that comes back is written again.
	again := registry.App{Namespace: "shop", Name: "app-0-0"}
	b.reg.PutInstance(again, registry.Instance{
		ID: "uid-again", Name: "again", Host: netip.MustParseAddr("10.2.0.1"), Health: registry.Ready, Revision: "r1",
		Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}}, Metadata: map[string]string{registry.KeyRevision: "r1"},
	})
	has("one is back", 2, 3)
}

// An application that is in no list keeps its nodes, and is followed, until it is known
// that it has nobody.
func TestNobodyIsRemovedForBeingInNoList(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	hidden := &hiding{Discoverer: b.client}
	b.from = hidden
	r := b.run()
	b.finds("10.0.0.1")
	hidden.all.Store(true)
	looks := hidden.looks.Load()
	b.eventually("it looks for applications", func() error {
		if hidden.looks.Load() < looks+3 {
			return errors.New("not yet")
		}
		return nil
	})
	b.finds("10.0.0.1")
	b.instance(2)
	b.finds("10.0.0.1", "10.0.0.2")
	r.end()
	// A successor, which finds only its nodes, knows them too.
	b.run()
	b.instance(3)
	b.finds("10.0.0.1", "10.0.0.2", "10.0.0.3")
}

// hiding lists no applications once it is told to.
type hiding struct {
	registry.Discoverer
	all   atomic.Bool
	looks atomic.Int64
}

func (h *hiding) Apps(ctx context.Context, namespace string) ([]registry.App, error) {
	h.looks.Add(1)
	if h.all.Load() {
		return nil, nil
	}
	return h.Discoverer.Apps(ctx, namespace)
}

// What speaks none of the protocols that are written has nothing to be written, so
// that nobody asks what it offers, and it is missing nowhere.
func TestOnlyTripleIsNotUnknown(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	local := func(endpoints ...registry.Endpoint) func(*registry.Instance) {
		return func(i *registry.Instance) {
			i.Revision, i.Endpoints = "local-"+endpoints[0].Protocol, endpoints
			i.Metadata[registry.KeyRevision] = i.Revision
		}
	}
	b.instance(1)
	b.instance(2, local(registry.Endpoint{Protocol: "tri", Port: 50051}))
	b.instance(3, local(registry.Endpoint{Protocol: "dubbo", Port: 20000}))
	var asked sync.Map
	ask := func(c *BridgeConfig) {
		c.Ask = func(_ context.Context, _ registry.App, i *registry.Instance) ([]byte, error) {
			asked.Store(i.Revision, true)
			return nil, errors.New("its metadata service speaks tri")
		}
	}
	r := b.run(ask)
	b.finds("10.0.0.1")
	unknown := func(r *running, want int) {
		t.Helper()
		b.eventually("who is not written", func() error {
			if s := r.Status(); len(s.Unknown) != 1 || s.Unknown[0].Instances != want || !strings.Contains(s.Unknown[0].Why, "speaks tri") {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
	}
	unknown(r, 1)
	if _, is := asked.Load("local-tri"); is {
		t.Error("an instance is asked of which nothing could be written")
	}
	r.end()
	// Where Triple is to be written as well, it is.
	unknown(b.run(ask, func(c *BridgeConfig) { c.Protocols = []string{"dubbo", "tri"} }), 2)
}
