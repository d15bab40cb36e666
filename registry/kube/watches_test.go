package kube_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// watchCount counts the watches that were asked for, by what of.
type watchCount struct {
	mu sync.Mutex
	of map[string]int
}

type countingTransport struct {
	next  http.RoundTripper
	count *watchCount
}

func (c *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("watch") == "true" {
		c.count.mu.Lock()
		c.count.of[r.URL.Path]++
		c.count.mu.Unlock()
	}
	return c.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find the transport beneath.
func (c *countingTransport) WrappedRoundTripper() http.RoundTripper { return c.next }

// A thousand subscriptions to applications, and as many to interfaces, that come and
// go need one watch of each kind, and each of those that stay is told.
func TestAThousandSubscriptionsShareTheWatches(t *testing.T) {
	t.Parallel()
	cluster := testkube.Start(t)
	n := cluster.Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-0", true)
	count := &watchCount{of: map[string]int{}}
	cfg := cluster.REST()
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &countingTransport{next: next, count: count} })
	hub := openHub(t, kube.Config{REST: cfg, Namespaces: []string{n.Name}, Identity: kube.Identity{Namespace: n.Name}})

	const subscriptions = 1000
	for i := range subscriptions {
		app := registry.App{Namespace: n.Name, Name: fmt.Sprintf("app-%d", i%50)}
		if i%10 == 0 {
			app.Name = "inventory"
		}
		stop, err := hub.Subscribe(app, func(registry.Snapshot) {})
		if err != nil {
			t.Fatal(err)
		}
		stopInterface, err := hub.SubscribeInterface(registry.Interface{Name: fmt.Sprintf("org.example.S%d", i%50)}, func([]registry.App) {})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 { // the first stays
			stop()
			stopInterface()
		}
	}
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"})
	w.await("the instance", func(s registry.Snapshot) bool { return len(s.Instances) == 1 })
	count.mu.Lock()
	defer count.mu.Unlock()
	if len(count.of) == 0 {
		t.Error("no watch was counted")
	}
	for path, times := range count.of {
		if times != 1 {
			t.Errorf("%s was watched %d times", path, times)
		}
	}
}
