package kube_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
)

// rewrite changes a request's parameters.
func rewrite(r *http.Request, change func(url.Values)) {
	q := r.URL.Query()
	change(q)
	r.URL.RawQuery = q.Encode()
}

// A cluster whose database was restored goes back in its versions. It does not say so
// to a watch that is of a later one, so it is asked.
func TestAClusterThatGoesBack(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-0", true)
	var restored atomic.Bool
	link := proxiedThrough(t, n.Cluster.REST(), func(_ http.ResponseWriter, r *http.Request) bool {
		if restored.Load() {
			// What the client knows is of a version that the cluster has not come to.
			rewrite(r, func(q url.Values) {
				if version, err := strconv.Atoi(q.Get("resourceVersion")); err == nil && version > 0 && version < 1e9 {
					q.Set("resourceVersion", strconv.Itoa(version+1e9))
				}
			})
		}
		return false
	})
	metrics := prometheus.NewRegistry()
	cfg := stranger(n, link.cfg)
	cfg.Metrics = metrics
	hub := openHub(t, cfg)
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"})
	w.await("the first instance", ready(1))
	link.cut()
	n.Pod(t, "inventory", "inventory-1", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-1", true)
	n.Remove(t, "inventory-0")
	restored.Store(true)
	link.restore()
	w.await("what the restored cluster says", func(s registry.Snapshot) bool {
		return len(s.Instances) == 1 && s.Instances[0].Name == "inventory-1"
	})
	// Who follows is not told of that alone.
	testkube.Eventually(t, "it is in touch", func() error {
		since, err := hub.StaleSince(t.Context())
		if err == nil && !since.IsZero() {
			err = fmt.Errorf("stale since %s", since)
		}
		return err
	})
	if testutil.CollectAndCount(metrics, "weir_registry_relists_total") == 0 {
		t.Error("no relist was counted")
	}
}

// The pages of a list are kept for some minutes. When they are gone on the way, the
// list is asked for whole, and nothing is lost by it.
func TestAListWhosePagesExpire(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	for _, name := range []string{"inventory-0", "inventory-1", "inventory-2"} {
		n.Pod(t, "inventory", name, testkube.Pod{})
		n.AwaitEndpoint(t, "inventory", name, true)
	}
	var expired, paged atomic.Int64
	cfg := stranger(n, through(t, n.Cluster.REST(), func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		switch {
		case q.Get("sendInitialEvents") != "":
			return refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
		case q.Get("continue") != "":
			expired.Add(1)
			return refuse(w, http.StatusGone, metav1.StatusReasonExpired, "The provided continue parameter is too old")
		case q.Get("limit") != "":
			paged.Add(1)
			rewrite(r, func(q url.Values) { q.Set("limit", "1") })
		}
		return false
	}))
	metrics := prometheus.NewRegistry()
	cfg.Metrics = metrics
	hub := openHub(t, cfg)
	watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"}).await("three instances", ready(3))
	if expired.Load() == 0 || paged.Load() == 0 {
		t.Fatalf("%d pages expired of %d lists in pages", expired.Load(), paged.Load())
	}
	if n := testutil.CollectAndCount(metrics, "weir_registry_errors_total"); n != 0 {
		t.Errorf("%d kinds of errors are counted", n)
	}
}

// A slice that nobody keeps up, as while the EndpointSlice controller is away, lists pods
// that are gone. The pods are believed.
func TestASliceThatIsNotKeptUp(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000, func(s *corev1.Service) { s.Spec.Selector = nil }) // the controller leaves it alone
	yes, port, tcp := true, int32(20000), corev1.ProtocolTCP
	stale := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "by-hand", Labels: map[string]string{discoveryv1.LabelServiceName: "inventory", discoveryv1.LabelManagedBy: "test"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: &port, Protocol: &tcp}},
	}
	for _, name := range []string{"inventory-0", "inventory-1"} {
		pod := n.Pod(t, "inventory", name, testkube.Pod{})
		stale.Endpoints = append(stale.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{pod.Status.PodIP}, Conditions: discoveryv1.EndpointConditions{Ready: &yes},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: n.Name, Name: name, UID: pod.UID},
		})
	}
	if _, err := n.Cluster.Client.DiscoveryV1().EndpointSlices(n.Name).Create(testkube.Context(t), stale, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"})
	w.await("two instances", ready(2))
	n.Remove(t, "inventory-0")
	s := w.await("the one that is gone out", ready(1))
	if s.Callable()[0].Name != "inventory-1" {
		t.Errorf("called is %s", s.Callable()[0].Name)
	}
	n.Remove(t, "inventory-1")
	w.await("nobody", ready(0))
}

// An API server that has too much to do takes a registration later, and is not asked
// for it more often than it says.
func TestWritesThatAreThrottled(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.ServiceAccount(t, "inventory", "weir-provider")
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{ServiceAccount: "inventory"})
	cfg := inPod(t, n, "inventory", "inventory-0")
	var throttled atomic.Bool
	throttled.Store(true)
	var refused atomic.Int64
	cfg.REST = through(t, cfg.REST, func(w http.ResponseWriter, r *http.Request) bool {
		if !throttled.Load() || r.Method == http.MethodGet {
			return false
		}
		refused.Add(1)
		w.Header().Set("Retry-After", "1")
		return refuse(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests, please try again later")
	})
	cfg.Lazy = true
	hub := openHub(t, cfg)
	reg := registry.Registration{App: registry.App{Namespace: n.Name, Name: "inventory"}, Metadata: map[string]string{"dubbo.metadata.revision": "one"}}
	registered := make(chan error, 1)
	go func() { registered <- hub.Register(testkube.Context(t), reg) }()
	testkube.Eventually(t, "two refusals", func() error {
		select {
		case err := <-registered:
			t.Fatalf("registered while writes are refused: %v", err)
		default:
		}
		if refused.Load() < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	throttled.Store(false)
	if err := <-registered; err != nil {
		t.Error(err)
	}
}
