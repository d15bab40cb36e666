package clusters_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/httpmw"
)

// site is one cluster with a namespace "shop" and servers behind its pods.
type site struct {
	*testkube.Namespace
	hub  *kube.Hub
	hits atomic.Int64
}

// pods are the servers behind the pods of all clusters, by address.
type pods struct{ servers sync.Map }

func (p *pods) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, ok := p.servers.Load(address)
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("nobody is at %s", address)}
	}
	return new(net.Dialer).DialContext(ctx, network, to.(string))
}

func (p *pods) open(t *testing.T) *site {
	t.Helper()
	s := &site{Namespace: testkube.StartOwn(t).Named(t, "shop")}
	s.Service(t, "cart", 8080)
	var err error
	s.hub, err = kube.Open(t.Context(), kube.Config{
		REST: s.Cluster.REST(), Namespaces: []string{"shop"}, Identity: kube.Identity{Namespace: "shop"}, App: "storefront",
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.hub.Close)
	return s
}

// add makes a ready pod, behind whose address is a server.
func (p *pods) add(t *testing.T, s *site, name string) (stop func()) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		_, _ = io.WriteString(w, r.Host)
	}))
	t.Cleanup(server.Close)
	ip := testkube.NextIP()
	address := net.JoinHostPort(ip.String(), "8080")
	p.servers.Store(address, server.Listener.Addr().String())
	s.Pod(t, "cart", name, testkube.Pod{IP: ip})
	s.AwaitEndpoint(t, "cart", name, true)
	return func() { p.servers.Delete(address); server.Close() }
}

// Two real clusters: calls go to the first, to the second when the first has no ready
// pod, and back again; a policy turns the order around, live; and when an API server
// is killed, everything stays as it was. No call fails throughout.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	var p pods
	sites := make([]*site, 2)
	var starts sync.WaitGroup
	for n := range sites {
		starts.Go(func() { sites[n] = p.open(t) })
	}
	starts.Wait()
	if t.Failed() {
		return
	}
	east, west := sites[0], sites[1]
	for n := range 2 {
		p.add(t, east, fmt.Sprint("cart-", n))
		p.add(t, west, fmt.Sprint("cart-", n))
	}
	r, err := clusters.New(clusters.Config{
		Members: []clusters.Member{
			{Name: "east", Discoverer: east.hub, Mapping: east.hub, Metadata: east.hub, Registrar: east.hub},
			{Name: "west", Discoverer: west.hub, Mapping: west.hub, Metadata: west.hub, Priority: 1},
		},
		ReturnAfter: time.Second, ProbeEvery: -1, // the addresses of these pods lead nowhere but by dial
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	kit, err := sdk.Start(t.Context(), sdk.Config{App: "shop/storefront", StateDir: sdk.Off, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kit.Close(context.Background()) })
	c := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(&http.Transport{DialContext: p.dial}), httpmw.Discover(r, httpmw.Strict()))}
	t.Cleanup(c.CloseIdleConnections)

	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	progress := make(chan struct{}, 1)
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, "http://cart:8080/x", http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Errorf("call %d failed: %v", calls.Load(), err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("call %d: %s, %v", calls.Load(), resp.Status, err)
				}
				_ = resp.Body.Close()
				calls.Add(1)
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	defer load.Wait()
	defer cancel()
	// only waits until calls go to some sites and to no others.
	only := func(what string, want ...*site) {
		t.Helper()
		testkube.Eventually(t, what, func() error {
			if t.Failed() {
				t.FailNow()
			}
			before, from := []int64{east.hits.Load(), west.hits.Load()}, calls.Load()
			for calls.Load() < from+40 && !t.Failed() {
				select {
				case <-progress:
				case <-time.After(testkube.Deadline):
					t.Fatal("no calls are made any more")
				}
			}
			for n, s := range sites {
				wanted := false
				for _, w := range want {
					wanted = wanted || w == s
				}
				if got := s.hits.Load() - before[n]; (got > 0) != wanted {
					return fmt.Errorf("%s got %d of 40 calls", []string{"east", "west"}[n], got)
				}
			}
			return nil
		})
	}
	only("the first cluster is called", east)
	east.SetReady(t, "cart-0", false)
	east.SetReady(t, "cart-1", false)
	only("the other is called", west)
	east.SetReady(t, "cart-1", true)
	only("the first is called again", east)

	// A DiscoveryPolicy at home turns the order around.
	policies := dynamicPolicies(t, east)
	if _, err := policies.Create(testkube.Context(t), policyOf(map[string]any{"clusters": []any{"west"}, "returnSeconds": int64(1)}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	only("a policy's first is called", west)
	if err := policies.Delete(testkube.Context(t), "order", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	only("without the policy", east)

	// An API server that is gone empties nothing.
	east.Cluster.Kill(t)
	testkube.Eventually(t, "it is stale", func() error {
		s, err := r.Snapshot(testkube.Context(t), registry.App{Namespace: "shop", Name: "cart"})
		if err != nil {
			return err
		}
		if s.StaleSince.IsZero() {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	only("the first cluster is called without its API server", east)
	west.SetReady(t, "cart-0", false)
	west.SetReady(t, "cart-1", false)
	only("whatever happens in the other", east)
	west.SetReady(t, "cart-0", true)
	east.Cluster.Restart(t)
	east.SetReady(t, "cart-1", false)
	only("the other is called after the restart", west)
	cancel()
	load.Wait()
	t.Logf("%d calls, none failed", calls.Load())
}

func dynamicPolicies(t *testing.T, s *site) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(s.Cluster.REST())
	if err != nil {
		t.Fatal(err)
	}
	return client.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "discoverypolicies"}).Namespace("shop")
}

func policyOf(prefer map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy",
		"metadata": map[string]any{"name": "order"},
		"spec":     map[string]any{"consumer": "storefront", "prefer": prefer},
	}}
}
