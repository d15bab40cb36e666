package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// standing counts the watches that stand, by what of.
type standing struct {
	next http.RoundTripper
	mu   sync.Mutex
	of   map[string]int
}

// RoundTrip implements http.RoundTripper.
func (s *standing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err != nil || r.URL.Query().Get("watch") != "true" {
		return resp, err
	}
	s.count(r.URL.Path, 1)
	resp.Body = &counted{ReadCloser: resp.Body, end: sync.OnceFunc(func() { s.count(r.URL.Path, -1) })}
	return resp, nil
}

// WrappedRoundTripper lets client-go find the transport beneath.
func (s *standing) WrappedRoundTripper() http.RoundTripper { return s.next }

func (s *standing) count(path string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[path] += n; s.of[path] == 0 {
		delete(s.of, path)
	}
}

func (s *standing) now() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.of)
}

type counted struct {
	io.ReadCloser
	end func()
}

func (c *counted) Close() error {
	c.end()
	return c.ReadCloser.Close()
}

// A thousand namespaces that do not exist, followed one after the other, leave no watch,
// no memory of them and no goroutine, and one that does exist is heard.
func TestMadeUpNamespacesEnd(t *testing.T) {
	cluster := testkube.Start(t)
	home, other := cluster.Namespace(t), cluster.Namespace(t)
	other.Service(t, "inventory", 20000)
	other.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	other.AwaitEndpoint(t, "inventory", "inventory-0", true)
	watches := &standing{of: map[string]int{}}
	cfg := cluster.REST()
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { watches.next = next; return watches })
	metrics := prometheus.NewRegistry()
	hub := openHub(t, kube.Config{REST: cfg, Namespaces: []string{home.Name}, Identity: kube.Identity{Namespace: home.Name}, Metrics: metrics, QPS: 2000, Burst: 2000})
	hub.SetLinger(50 * time.Millisecond)
	if err := hub.WaitSynced(testkube.Context(t)); err != nil {
		t.Fatal(err)
	}
	series := func() int {
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "weir_registry_watch_connected" {
				return len(f.GetMetric())
			}
		}
		return 0
	}
	testkube.Eventually(t, "the watches of home to stand", func() error {
		if n := watches.now(); n != 4 {
			return fmt.Errorf("%d watches", n)
		}
		return nil
	})
	before, most := runtime.NumGoroutine(), 0
	for i := range 1000 {
		app := registry.App{Namespace: fmt.Sprintf("made-up-%d", i), Name: "any"}
		stop, err := hub.Subscribe(app, func(registry.Snapshot) {})
		if err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			if s, err := hub.Snapshot(testkube.Context(t), app); err != nil || s.Known() {
				t.Fatalf("%+v, %v", s, err)
			}
			most = max(most, watches.now())
		}
		stop()
	}
	w := watch(t, hub, registry.App{Namespace: other.Name, Name: "inventory"})
	w.await("the instance", func(s registry.Snapshot) bool { return len(s.Callable()) == 1 })
	testkube.Eventually(t, "the watches of what was made up to end", func() error {
		if n, m, g := watches.now(), series(), runtime.NumGoroutine(); n != 8 || m != 8 || g > before+40 {
			return fmt.Errorf("%d watches, %d in the metrics, want 8; %d goroutines, %d before", n, m, g, before)
		}
		return nil
	})
	t.Logf("at most %d watches stood at a time when it was looked", most)
}

// Whoever follows, asks and leaves while the watches end and begin again is told of the
// instance that was there all along, and never of nobody.
func TestFollowingWhileANamespaceEnds(t *testing.T) {
	cluster := testkube.Start(t)
	home, other := cluster.Namespace(t), cluster.Namespace(t)
	other.Service(t, "inventory", 20000)
	other.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	other.AwaitEndpoint(t, "inventory", "inventory-0", true)
	hub := openHub(t, kube.Config{
		REST: cluster.REST(), Namespaces: []string{home.Name}, Identity: kube.Identity{Namespace: home.Name}, SnapshotDir: t.TempDir(), QPS: 2000, Burst: 2000,
	})
	hub.SetLinger(time.Millisecond)
	app := registry.App{Namespace: other.Name, Name: "inventory"}
	whole := func(how string, s registry.Snapshot) {
		if len(s.Callable()) != 1 {
			t.Errorf("%s: %+v", how, s)
		}
	}
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 8 {
				told := make(chan struct{}, 1)
				stop, err := hub.Subscribe(app, func(s registry.Snapshot) {
					whole("told", s)
					select {
					case told <- struct{}{}:
					default:
					}
				})
				if err != nil {
					t.Error(err)
					return
				}
				<-told
				stop()
				ctx, cancel := context.WithTimeout(context.Background(), testkube.Deadline)
				s, err := hub.Snapshot(ctx, app)
				cancel()
				if err != nil {
					t.Error(errors.Unwrap(err), err)
					return
				}
				whole("asked", s)
			}
		})
	}
	work.Wait()
}
