package kube_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
)

// An API server that has too much to do, and says so, takes nothing away: what is
// known stands, and what changed meanwhile comes when it answers again.
func TestAnAPIServerThatThrottles(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-0", true)
	var throttled atomic.Bool
	var refused atomic.Int64
	link := proxiedThrough(t, n.Cluster.REST(), func(w http.ResponseWriter, _ *http.Request) bool {
		if !throttled.Load() {
			return false
		}
		refused.Add(1)
		w.Header().Set("Retry-After", "1")
		return refuse(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests, please try again later")
	})
	cfg := stranger(n, link.cfg)
	cfg.MaxBackoff = 100 * time.Millisecond
	hub := openHub(t, cfg)
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	w := watch(t, hub, app)
	w.await("the first instance", ready(1))
	throttled.Store(true)
	link.cut()
	link.restore()
	testkube.Eventually(t, "refusals, and staleness", func() error {
		s, err := hub.Snapshot(testkube.Context(t), app)
		if err != nil || len(s.Callable()) != 1 {
			t.Fatalf("throttled, the snapshot is %+v (%v)", s, err)
		}
		if s.StaleSince.IsZero() || refused.Load() < 4 {
			return errors.New("not yet")
		}
		return nil
	})
	n.Pod(t, "inventory", "inventory-1", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-1", true)
	n.Remove(t, "inventory-0")
	throttled.Store(false)
	w.await("what changed meanwhile", func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Name == "inventory-1" })
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		if len(s.Callable()) == 0 {
			t.Fatalf("the application was empty: %+v", s)
		}
	}
}
