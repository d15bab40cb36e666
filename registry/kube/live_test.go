package kube_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// watcher remembers what one subscription was told.
type watcher struct {
	t    *testing.T
	news chan struct{}

	mu  sync.Mutex
	all []registry.Snapshot
}

func watch(t *testing.T, hub *kube.Hub, app registry.App) *watcher {
	t.Helper()
	w := &watcher{t: t, news: make(chan struct{}, 1)}
	stop, err := hub.Subscribe(app, func(s registry.Snapshot) {
		w.mu.Lock()
		w.all = append(w.all, s)
		w.mu.Unlock()
		select {
		case w.news <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return w
}

func (w *watcher) last() (registry.Snapshot, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) == 0 {
		return registry.Snapshot{}, 0
	}
	return w.all[len(w.all)-1], len(w.all)
}

func (w *watcher) await(what string, ok func(registry.Snapshot) bool) registry.Snapshot {
	w.t.Helper()
	late := time.After(testkube.Deadline)
	for {
		if s, n := w.last(); n > 0 && ok(s) {
			return s
		}
		select {
		case <-w.news:
		case <-late:
			s, n := w.last()
			w.t.Fatalf("waiting for %s: %d snapshots, the last: %+v", what, n, s)
		}
	}
}

func ready(n int) func(registry.Snapshot) bool {
	return func(s registry.Snapshot) bool { return len(s.Callable()) == n }
}

// The API server is killed, stays away, and comes back: nothing is forgotten,
// nothing is emptied, what changed is caught up, and registrations go on.
func TestTheAPIServerIsKilled(t *testing.T) {
	t.Parallel()
	cluster := testkube.StartOwn(t)
	n := cluster.Namespace(t)
	n.Service(t, "inventory", 20000)
	n.ServiceAccount(t, "inventory", "weir-provider", "weir-consumer")
	for _, name := range []string{"inventory-0", "inventory-1"} {
		n.Pod(t, "inventory", name, testkube.Pod{ServiceAccount: "inventory"})
		n.AwaitEndpoint(t, "inventory", name, true)
	}
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	iface := registry.Interface{Name: "org.example.InventoryService"}
	hub := openHub(t, inPod(t, n, "inventory", "inventory-0"))
	if err := hub.Register(testkube.Context(t), registry.Registration{App: app, Metadata: map[string]string{registry.KeyRevision: "one"}}); err != nil {
		t.Fatal(err)
	}
	if err := hub.MapInterface(testkube.Context(t), iface, app); err != nil {
		t.Fatal(err)
	}
	w := watch(t, hub, app)
	w.await("two instances, one registered", func(s registry.Snapshot) bool {
		return len(s.Callable()) == 2 && (s.Instances[0].Revision == "one" || s.Instances[1].Revision == "one")
	})
	_, before := w.last()

	cluster.Kill(t)
	testkube.Eventually(t, "staleness to show", func() error {
		s, err := hub.Snapshot(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Callable()) != 2 {
			t.Fatalf("with the API server gone the snapshot is %+v", s)
		}
		if s.StaleSince.IsZero() {
			return fmt.Errorf("not stale yet")
		}
		return nil
	})
	// A registration asked for meanwhile is made when the server is back.
	registered := make(chan error, 1)
	go func() {
		registered <- hub.Register(testkube.Context(t), registry.Registration{App: app, Metadata: map[string]string{registry.KeyRevision: "two"}})
	}()
	if _, n := w.last(); n != before {
		t.Fatal("a subscriber was told something though nothing is known")
	}

	cluster.Restart(t)
	restarted := time.Now()
	testkube.Eventually(t, "the watches to be back", func() error {
		s, err := hub.Snapshot(t.Context(), app)
		if err == nil && !s.StaleSince.IsZero() {
			err = errors.New("still stale")
		}
		return err
	})
	t.Logf("in touch %v after the API server was ready again", time.Since(restarted).Round(time.Millisecond))
	if err := <-registered; err != nil {
		t.Fatal(err)
	}
	n.Pod(t, "inventory", "inventory-2", testkube.Pod{ServiceAccount: "inventory"})
	w.await("a third instance, and the new registration", func(s registry.Snapshot) bool {
		two := false
		for _, i := range s.Instances {
			two = two || i.Revision == "two"
		}
		return two && len(s.Callable()) == 3
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all[before-1:] {
		if len(s.Callable()) < 2 {
			t.Fatalf("a subscriber was told of %d callable instances: %+v", len(s.Callable()), s)
		}
	}
	if apps, err := hub.InterfaceApps(testkube.Context(t), iface); err != nil || len(apps) != 1 {
		t.Fatalf("the interface is provided by %v (%v)", apps, err)
	}
}

// through puts an HTTP proxy before the API server, which may answer in its stead.
func through(t *testing.T, cfg *rest.Config, answer func(http.ResponseWriter, *http.Request) bool) *rest.Config {
	t.Helper()
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return &rest.Config{Host: server.URL}
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"reason":%q,"code":%d}`, message, reason, code)
	return true
}

func TestOlderServersThatDoNotStreamLists(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-0", true)
	var refused, lists atomic.Int64
	cfg := through(t, n.Cluster.REST(), func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		if q.Get("sendInitialEvents") != "" {
			refused.Add(1)
			return refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
		}
		if q.Get("watch") == "" && r.Method == http.MethodGet {
			lists.Add(1)
		}
		return false
	})
	hub := openHub(t, stranger(n, cfg))
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"})
	w.await("the first instance", ready(1))
	n.Pod(t, "inventory", "inventory-1", testkube.Pod{})
	w.await("the second", ready(2))
	if refused.Load() == 0 || lists.Load() == 0 {
		t.Fatalf("%d streamed lists were refused and %d plain ones made: the fallback was not taken", refused.Load(), lists.Load())
	}
}

func TestALongAbsenceEndsInARelist(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-0", true)
	var expired atomic.Bool
	var resumed atomic.Int64
	link := proxiedThrough(t, n.Cluster.REST(), func(w http.ResponseWriter, r *http.Request) bool {
		if expired.Load() && r.URL.Query().Get("watch") != "" && r.URL.Query().Get("resourceVersion") != "" {
			resumed.Add(1)
			return refuse(w, http.StatusGone, metav1.StatusReasonExpired, "too old resource version")
		}
		return false
	})
	registryMetrics := prometheus.NewRegistry()
	cfg := stranger(n, link.cfg)
	cfg.Metrics = registryMetrics
	hub := openHub(t, cfg)
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"})
	w.await("the first instance", ready(1))
	expired.Store(true)
	link.cut()
	n.Pod(t, "inventory", "inventory-1", testkube.Pod{})
	n.AwaitEndpoint(t, "inventory", "inventory-1", true)
	n.Remove(t, "inventory-0")
	link.restore()
	w.await("what the new list says", func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Name == "inventory-1" })
	if resumed.Load() == 0 {
		t.Fatal("no watch was resumed, so none was told that it is too late")
	}
	if n := testutil.CollectAndCount(registryMetrics, "weir_registry_relists_total"); n == 0 {
		t.Fatal("no relist was counted")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.all {
		if len(s.Callable()) == 0 {
			t.Fatalf("the relist emptied the application: %+v", s)
		}
	}
}

func TestAClusterWithoutPolicies(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	var log safeBuffer
	link := proxiedThrough(t, n.Cluster.REST(), func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/registry.weirmesh.io/") {
			return refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		}
		return false
	})
	metrics := prometheus.NewRegistry()
	cfg := stranger(n, link.cfg)
	cfg.MaxBackoff = 100 * time.Millisecond
	cfg.Logger, cfg.Metrics = slog.New(slog.NewTextHandler(&log, nil)), metrics
	hub := openHub(t, cfg)
	s, err := hub.Snapshot(testkube.Context(t), registry.App{Namespace: n.Name, Name: "inventory"})
	if err != nil || s.Service.Host == "" || s.Mode != registry.ModePod {
		t.Fatalf("%+v, %v: policies are optional", s, err)
	}
	if !strings.Contains(log.String(), "registry goes without an optional kind of object") {
		t.Fatalf("nobody is told that policies are not defined:\n%s", log.String())
	}
	iface := registry.Interface{Name: "org.example.A"}
	_, err = hub.InterfaceApps(brief(t), iface)
	wantError(t, err, registry.Unavailable, "the cluster does not know interfacemappings.registry.weirmesh.io; install Weir's custom resource definitions (deploy/crds)")
	err = hub.MapInterface(testkube.Context(t), iface, registry.App{Namespace: n.Name, Name: "inventory"})
	wantError(t, err, registry.Unavailable, "the cluster does not know interfacemappings.registry.weirmesh.io")

	// An outage ends for the missing kind as well.
	connected := func(what string, want float64) {
		t.Helper()
		testkube.Eventually(t, what, func() error {
			families, err := metrics.Gather()
			if err != nil {
				return err
			}
			for _, family := range families {
				for _, m := range family.Metric {
					labels := fmt.Sprint(m.Label)
					if family.GetName() == "weir_registry_watch_connected" && !strings.Contains(labels, "interfacemappings") && m.Gauge.GetValue() != want {
						return fmt.Errorf("%s: %v", labels, m.Gauge.GetValue())
					}
				}
			}
			return nil
		})
	}
	link.cut()
	connected("the loss", 0)
	link.restore()
	connected("the way back", 1)
	if s, err := hub.Snapshot(testkube.Context(t), registry.App{Namespace: n.Name, Name: "inventory"}); err != nil || !s.StaleSince.IsZero() {
		t.Fatalf("back in touch, the snapshot is %+v (%v)", s, err)
	}
}

// Whoever makes the object of an interface first, saying something else, keeps
// no provider from it.
func TestASquattedMappingIsWalkedAround(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	app, iface := registry.App{Namespace: n.Name, Name: "inventory"}, registry.Interface{Name: "org.example.A"}
	client, err := dynamic.NewForConfig(n.Cluster.REST())
	if err != nil {
		t.Fatal(err)
	}
	mappings := client.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "interfacemappings"}).Namespace(n.Name)
	squat := func() string {
		t.Helper()
		if err := hub.MapInterface(testkube.Context(t), iface, app); err != nil {
			t.Fatal(err)
		}
		list, err := mappings.List(testkube.Context(t), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			if name, _, _ := unstructured.NestedString(o.Object, "spec", "interface"); name != iface.Name {
				continue
			}
			if err := mappings.Delete(testkube.Context(t), o.GetName(), metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			_, err = mappings.Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "InterfaceMapping",
				"metadata": map[string]any{"name": o.GetName()}, "spec": map[string]any{"interface": "org.example.B"},
			}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return o.GetName()
		}
		t.Fatal("no object says the interface")
		return ""
	}
	provided := func(want int) {
		t.Helper()
		testkube.Eventually(t, "the providers", func() error {
			apps, err := hub.InterfaceApps(testkube.Context(t), iface)
			if err == nil && len(apps) != want {
				err = fmt.Errorf("provided by %v", apps)
			}
			return err
		})
	}
	first := squat()
	provided(0)
	if err := hub.MapInterface(testkube.Context(t), iface, app); err != nil {
		t.Fatal(err)
	}
	provided(1)
	if err := hub.UnmapInterface(testkube.Context(t), iface, app); err != nil {
		t.Fatal(err)
	}
	provided(0)
	second := squat()
	wantError(t, hub.MapInterface(testkube.Context(t), iface, app), registry.Invalid, "kubectl delete -n "+n.Name+" interfacemapping "+first+" "+second)
}

func TestOtherNamespacesAreWatchedWhenAsked(t *testing.T) {
	t.Parallel()
	cluster := testkube.Start(t)
	home, away := cluster.Namespace(t), cluster.Namespace(t)
	away.Service(t, "billing", 20000)
	away.Pod(t, "billing", "billing-0", testkube.Pod{})
	app := registry.App{Namespace: away.Name, Name: "billing"}
	for name, cfg := range map[string]kube.Config{
		"one by one":  stranger(home, cluster.REST()),
		"lazily":      {REST: cluster.REST(), Lazy: true, Identity: kube.Identity{Namespace: home.Name}},
		"all at once": {REST: cluster.REST(), Namespaces: []string{kube.AllNamespaces}, Identity: kube.Identity{Namespace: home.Name}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := openHub(t, cfg)
			watch(t, hub, app).await("an instance of another namespace", ready(1))
			apps, err := hub.Apps(testkube.Context(t), away.Name)
			if err != nil || len(apps) != 1 || apps[0] != app {
				t.Fatalf("Apps of the namespace lists %v, %v", apps, err)
			}
			apps, err = hub.Apps(testkube.Context(t), "")
			if err != nil {
				t.Fatal(err)
			}
			if name != "all at once" && len(apps) != 0 {
				t.Fatalf("Apps lists %v, which are not covered", apps)
			}
		})
	}
}

func TestMetricsTellOfTheLink(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	restConfig := n.Cluster.REST()
	link := proxyTo(t, restConfig)
	metrics := prometheus.NewPedanticRegistry()
	cfg := stranger(n, restConfig)
	cfg.Metrics = metrics
	hub := openHub(t, cfg)
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"})
	w.await("the Service", func(s registry.Snapshot) bool { return s.Service.Host != "" })
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	w.await("an instance", ready(1))
	connected := func(want float64) {
		t.Helper()
		testkube.Eventually(t, "the gauge of the watches", func() error {
			var text strings.Builder
			for _, resource := range []string{"discoverypolicies", "endpointslices", "pods", "services"} {
				fmt.Fprintf(&text, "weir_registry_watch_connected{namespace=%q,resource=%q} %v\n", n.Name, resource, want)
			}
			return testutil.GatherAndCompare(metrics, strings.NewReader(
				"# HELP weir_registry_watch_connected 1 while a watch stands, 0 while it is lost or refused.\n# TYPE weir_registry_watch_connected gauge\n"+text.String()),
				"weir_registry_watch_connected")
		})
	}
	connected(1)
	link.cut()
	connected(0)
	link.restore()
	connected(1)
	problems, err := testutil.GatherAndLint(metrics)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v %v", problems, err)
	}
	for _, name := range []string{"weir_registry_propagation_seconds", "weir_registry_events_total", "weir_registry_snapshots_total", "weir_registry_cached_instances", "weir_registry_errors_total"} {
		if testutil.CollectAndCount(metrics, name) == 0 {
			t.Errorf("no %s", name)
		}
	}
	_, err = kube.Open(t.Context(), cfg)
	wantError(t, err, registry.Invalid, "give each hub a Prometheus registerer of its own")
}

// One thing that is wrong is one line in the log, however many watches it hits.
func TestALostServerIsOneLine(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	restConfig := n.Cluster.REST()
	link := proxyTo(t, restConfig)
	var log safeBuffer
	cfg := stranger(n, restConfig)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	hub := openHub(t, cfg)
	if err := hub.WaitSynced(testkube.Context(t)); err != nil {
		t.Fatal(err)
	}
	link.cut()
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	testkube.Eventually(t, "staleness", func() error {
		s, err := hub.Snapshot(t.Context(), app)
		if err == nil && s.StaleSince.IsZero() {
			err = errors.New("not stale yet")
		}
		return err
	})
	link.restore()
	testkube.Eventually(t, "the way back", func() error {
		if !strings.Contains(log.String(), "registry watch is back") {
			return fmt.Errorf("log:\n%s", log.String())
		}
		return nil
	})
	if n := strings.Count(log.String(), "cannot reach the Kubernetes API server"); n != 2 { // once lost, once back
		t.Fatalf("%d lines, want one that it is lost and one that it is back:\n%s", n, log.String())
	}
}

func TestBrokenAnnotationsBreakNobodyElse(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	good := `{"dubbo.endpoints":"[{\"port\":20000,\"protocol\":\"tri\"}]"}`
	n.Pod(t, "inventory", "good", testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: good}})
	n.Pod(t, "inventory", "bad", testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: `{"dubbo.endpoints":`}})
	var log safeBuffer
	cfg := stranger(n, n.Cluster.REST())
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w := watch(t, openHub(t, cfg), registry.App{Namespace: n.Name, Name: "inventory"})
	s := w.await("both", func(s registry.Snapshot) bool { return len(s.Instances) == 2 && len(s.Callable()) == 1 })
	if s.Callable()[0].Name != "good" {
		t.Fatalf("got %+v", s)
	}
	want := `pod=` + n.Name + `/bad fault="its annotation io.dubbo/metadata cannot be read: the JSON ends too early"`
	if strings.Count(log.String(), want) != 1 {
		t.Fatalf("log:\n%s\nwant once: %s", log.String(), want)
	}
	n.Annotate(t, "bad", map[string]string{kube.AnnotationMetadata: good})
	w.await("both again, mended", ready(2))
}

func TestAClosedHubSaysSo(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	waiting := make(chan error, 1)
	offline := n.Cluster.REST()
	proxyTo(t, offline).cut()
	unsynced := openHub(t, stranger(n, offline))
	go func() {
		_, err := unsynced.Snapshot(testkube.Context(t), app)
		waiting <- err
	}()
	unsynced.Close()
	if err := <-waiting; registry.CodeOf(err) != registry.Unavailable {
		t.Fatalf("a question under way when the hub closes: %v", err)
	}
	hub.Close()
	hub.Close()
	_, err := hub.Snapshot(testkube.Context(t), app)
	wantError(t, err, registry.Unavailable, "registry: the hub is closed")
	_, err = hub.Subscribe(app, func(registry.Snapshot) {})
	wantError(t, err, registry.Unavailable, "registry: the hub is closed")
	in := openHub(t, kube.Config{REST: n.Cluster.REST(), Lazy: true, Identity: kube.Identity{Pod: "p", Namespace: n.Name}})
	in.Close()
	wantError(t, in.Register(testkube.Context(t), registry.Registration{App: app}), registry.Unavailable, "registry: the hub is closed")
	wantError(t, hub.PutMetadata(testkube.Context(t), app, "r", nil), registry.Unavailable, "registry: the hub is closed")
	wantError(t, hub.MapInterface(testkube.Context(t), registry.Interface{Name: "a.B"}, app), registry.Unavailable, "registry: the hub is closed")
	_, err = hub.SubscribeInterface(registry.Interface{Name: "a.B"}, func([]registry.App) {})
	wantError(t, err, registry.Unavailable, "registry: the hub is closed")
}

// safeBuffer is a log that may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var _ io.Writer = (*safeBuffer)(nil)
