package clusters_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/kube"
)

var cart = registry.App{Namespace: "shop", Name: "cart"}

// Each cluster's own policies say whether its instances are kept, and for how long:
// those of the consumer's namespace in that cluster, which may name the consumer. What
// home's say of protection holds at home alone.
func TestEachClusterProtectsItsInstancesByItsOwnPolicies(t *testing.T) {
	t.Parallel()
	at := testkube.HostAddress(t)
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	port := int32(netip.MustParseAddrPort(l.Addr().String()).Port())
	sites := make([]*site, 2)
	var starts sync.WaitGroup
	for n := range sites {
		starts.Go(func() { sites[n] = openAt(t, at, port) })
	}
	starts.Wait()
	if t.Failed() {
		return
	}
	east, west := sites[0], sites[1]
	r, err := clusters.New(clusters.Config{
		Members: []clusters.Member{{Name: "east", Discoverer: east.hub}, {Name: "west", Discoverer: west.hub, Priority: 1}}, ProbeEvery: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	stop, err := r.Subscribe(cart, func(registry.Snapshot) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	// is waits until each cluster's instance is ready, kept for a time, or neither (zero).
	is := func(what string, ready bool, east, west time.Duration) {
		t.Helper()
		testkube.Eventually(t, what, func() error {
			s, err := r.Snapshot(testkube.Context(t), cart)
			if err != nil {
				return err
			}
			if len(s.Instances) != 2 {
				return fmt.Errorf("%d instances", len(s.Instances))
			}
			for n := range s.Instances {
				i, want := &s.Instances[n], map[string]time.Duration{"east": east, "west": west}
				var held time.Duration
				if i.Kept != nil {
					held = i.Kept.Until.Sub(i.Kept.Since)
				}
				if (i.Health == registry.Ready) != ready || (held-want[i.Cluster]).Abs() > time.Second {
					return fmt.Errorf("in %s it is %s and kept for %s", i.Cluster, i.Health, held)
				}
			}
			return nil
		})
	}
	turn := func(ready bool) {
		for _, s := range sites {
			s.SetReady(t, "cart-0", ready)
		}
	}
	const usual = 10 * time.Minute
	is("at first", true, 0, 0)
	// Nobody protects in east, and west says nothing.
	protect(t, east, "none", map[string]any{"disabled": true})
	turn(false)
	is("disabled at home", false, 0, usual)
	turn(true)
	is("ready again", true, 0, 0)
	// The other way around.
	protect(t, east, "usual", map[string]any{"percent": int64(50)})
	protect(t, west, "none", map[string]any{"disabled": true})
	turn(false)
	is("disabled abroad", false, usual, 0)
	turn(true)
	is("ready once more", true, 0, 0)
	// Each as long as its own says.
	protect(t, east, "two", map[string]any{"holdSeconds": int64(120)})
	protect(t, west, "five", map[string]any{"holdSeconds": int64(300)})
	turn(false)
	is("for as long as each says", false, 2*time.Minute, 5*time.Minute)
}

// openAt is a site whose one pod is at an address of this machine, so that it takes
// connections though it is not ready.
func openAt(t *testing.T, at netip.Addr, port int32) *site {
	t.Helper()
	s := &site{Namespace: testkube.StartOwn(t).Named(t, "shop")}
	s.Service(t, "cart", port)
	s.Pod(t, "cart", "cart-0", testkube.Pod{IP: at})
	s.AwaitEndpoint(t, "cart", "cart-0", true)
	hub, err := kube.Open(t.Context(), kube.Config{
		REST: s.Cluster.REST(), Namespaces: []string{"shop"}, Identity: kube.Identity{Namespace: "shop"}, App: "storefront",
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.hub = hub
	t.Cleanup(s.hub.Close)
	return s
}

// protect has a policy for the consumer speak of protection, the cluster's only one, and
// returns once the hub goes by it.
func protect(t *testing.T, s *site, name string, protection map[string]any) {
	t.Helper()
	policies := dynamicPolicies(t, s)
	if err := policies.DeleteCollection(testkube.Context(t), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := policies.Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"consumer": "storefront", "mode": "pod", "protection": protection},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	testkube.Eventually(t, "the policy "+name, func() error {
		if s, err := s.hub.Snapshot(testkube.Context(t), cart); err != nil || s.ModeFrom != "DiscoveryPolicy shop/"+name {
			return fmt.Errorf("the mode is from %q (%w)", s.ModeFrom, err)
		}
		return nil
	})
}
