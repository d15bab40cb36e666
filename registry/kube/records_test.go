package kube_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// What a provider stored is deleted, all of it or a part. It is stored again: soon where
// the process watches mappings, and by and by where it does not and may not. An entry
// that it took back itself stays away.
func TestWhatAProviderStoredIsLost(t *testing.T) {
	t.Parallel()
	cluster := testkube.Start(t)
	dyn, err := dynamic.NewForConfig(cluster.REST())
	if err != nil {
		t.Fatal(err)
	}
	for name, roles := range map[string][]string{
		"who watches mappings": {"weir-provider", "weir-consumer"},
		"who may not":          {"weir-provider"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := cluster.Namespace(t)
			n.Service(t, "inventory", 20000)
			n.ServiceAccount(t, "inventory", roles...)
			n.Pod(t, "inventory", "inventory-0", testkube.Pod{ServiceAccount: "inventory"})
			app := registry.App{Namespace: n.Name, Name: "inventory"}
			metrics := prometheus.NewRegistry()
			cfg := inPod(t, n, "inventory", "inventory-0")
			cfg.Lazy, cfg.Metrics = true, metrics
			if len(roles) == 1 {
				cfg.Reassert = 200 * time.Millisecond
			}
			hub := openHub(t, cfg)
			ctx := testkube.Context(t)
			ifaces := []registry.Interface{{Name: "org.example.A"}, {Name: "org.example.B"}, {Name: "org.example.C"}}
			testkube.Eventually(t, "the role to count", func() error { return hub.PutMetadata(ctx, app, "r1", []byte("what it offers")) })
			if err := hub.Register(ctx, registry.Registration{App: app, Metadata: map[string]string{registry.KeyRevision: "r1"}}); err != nil {
				t.Fatal(err)
			}
			for _, iface := range ifaces {
				if err := hub.MapInterface(ctx, iface, app); err != nil {
					t.Fatal(err)
				}
			}
			if err := hub.UnmapInterface(ctx, ifaces[2], app); err != nil {
				t.Fatal(err)
			}
			if len(roles) == 2 {
				stop, err := hub.SubscribeInterface(ifaces[0], func([]registry.App) {})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
			}
			onlooker := openHub(t, stranger(n, cluster.REST()))
			whole := func() error {
				for i, iface := range ifaces {
					apps, err := onlooker.InterfaceApps(ctx, iface)
					if err != nil || len(apps) != 1 != (i == 2) {
						return fmt.Errorf("%s is provided by %v (%w)", iface, apps, err)
					}
				}
				_, err := onlooker.Metadata(ctx, app, "r1")
				return err
			}
			testkube.Eventually(t, "all that is stored", whole)
			for _, kinds := range [][]string{{"interfacemappings", "appmetadatas"}, {"interfacemappings"}} {
				for _, kind := range kinds {
					at := dyn.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: kind}).Namespace(n.Name)
					if err := at.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				testkube.Eventually(t, "the loss of "+strings.Join(kinds, " and "), func() error {
					if testutil.CollectAndCount(metrics, "weir_registry_restored_records_total") == 0 {
						return fmt.Errorf("it is not seen")
					}
					return nil
				})
				testkube.Eventually(t, "all to be stored again", whole)
			}
		})
	}
}

// requests counts those that change something or ask, by verb and kind.
type requests struct {
	mu    sync.Mutex
	count map[string]int
}

func (c *requests) see(_ http.ResponseWriter, r *http.Request) bool {
	for _, kind := range []string{"interfacemappings", "appmetadatas", "pods"} {
		if strings.Contains(r.URL.Path, "/"+kind) && r.URL.Query().Get("watch") == "" {
			c.mu.Lock()
			c.count[r.Method+" "+kind]++
			c.mu.Unlock()
		}
	}
	return false
}

func (c *requests) taken() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := maps.Clone(c.count)
	clear(c.count)
	return all
}

// The second pod of a revision writes nothing but its own pod, once, however many of its
// services are registered in a burst; and what is registered again unchanged, nothing.
func TestWhatARegistrationCosts(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	ctx := testkube.Context(t)
	const interfaces = 5
	start := func(pod string) (*requests, func()) {
		n.Pod(t, "inventory", pod, testkube.Pod{})
		seen := &requests{count: map[string]int{}}
		hub := openHub(t, kube.Config{REST: through(t, n.Cluster.REST(), seen.see), Lazy: true, Identity: kube.Identity{Pod: pod, Namespace: n.Name}})
		reg := registry.Registration{App: app, Metadata: map[string]string{registry.KeyRevision: "r1"}}
		return seen, func() {
			t.Helper()
			if err := hub.PutMetadata(ctx, app, "r1", []byte("what it offers")); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range interfaces {
				wg.Go(func() {
					if err := hub.Register(ctx, reg); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for i := range interfaces {
				if err := hub.MapInterface(ctx, registry.Interface{Name: fmt.Sprint("org.example.I", i)}, app); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	wrote := func(what string, seen *requests, pods, mappings, metadatas int) {
		t.Helper()
		all := seen.taken()
		want := map[string]int{"PATCH pods": pods, "PATCH interfacemappings": mappings, "PATCH appmetadatas": metadatas}
		for request, count := range want {
			if all[request] != count {
				t.Errorf("%s: %d × %s, want %d: %v", what, all[request], request, count, all)
			}
		}
		if all["GET interfacemappings"] != interfaces || all["GET appmetadatas"] != 1 {
			t.Errorf("%s: %v", what, all)
		}
	}
	seen, register := start("inventory-0")
	register()
	wrote("the first pod", seen, 1, interfaces, 1)
	register()
	wrote("again, unchanged", seen, 0, 0, 0)
	seen, register = start("inventory-1")
	register()
	wrote("the second pod", seen, 1, 0, 0)
}
