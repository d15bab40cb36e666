package kube_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// objects reads and writes Weir's objects of a namespace as an administrator.
type objects struct {
	t      *testing.T
	ns     string
	client dynamic.Interface
}

func objectsOf(t *testing.T, n *testkube.Namespace) objects {
	t.Helper()
	client, err := dynamic.NewForConfig(n.Cluster.REST())
	if err != nil {
		t.Fatal(err)
	}
	return objects{t, n.Name, client}
}

func (o objects) of(resource string) dynamic.ResourceInterface {
	return o.client.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: resource}).Namespace(o.ns)
}

func (o objects) policy(name string, spec map[string]any) {
	o.t.Helper()
	_, err := o.of("discoverypolicies").Create(testkube.Context(o.t), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": map[string]any{"name": name}, "spec": spec,
	}}, metav1.CreateOptions{})
	if err != nil {
		o.t.Fatal(err)
	}
}

// condition reads one condition of an object as "Status Reason: message".
func condition(o *unstructured.Unstructured, kind string) string {
	all, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range all {
		if c, ok := c.(map[string]any); ok && c["type"] == kind {
			return fmt.Sprintf("%s %s: %s", c["status"], c["reason"], c["message"])
		}
	}
	return ""
}

// says waits until an object has a condition.
func (o objects) says(resource, name, kind, want string) {
	o.t.Helper()
	testkube.Eventually(o.t, resource+" "+name, func() error {
		got, err := o.of(resource).Get(testkube.Context(o.t), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if text := condition(got, kind); text != want {
			return fmt.Errorf("%s is %q, want %q", kind, text, want)
		}
		if observed, _, _ := unstructured.NestedInt64(got.Object, "status", "observedGeneration"); observed != got.GetGeneration() {
			return fmt.Errorf("it speaks of generation %d, and the object has %d", observed, got.GetGeneration())
		}
		return nil
	})
}

// metadata reads the one AppMetadata there is; nil for none.
func (o objects) metadata() *unstructured.Unstructured {
	o.t.Helper()
	list, err := o.of("appmetadatas").List(testkube.Context(o.t), metav1.ListOptions{})
	if err != nil {
		o.t.Fatal(err)
	}
	switch len(list.Items) {
	case 0:
		return nil
	case 1:
		return &list.Items[0]
	}
	o.t.Fatalf("there are %d", len(list.Items))
	return nil
}

func unusedSince(o *unstructured.Unstructured) string {
	s, _, _ := unstructured.NestedString(o.Object, "status", "unusedSince")
	return s
}

// clock is one that is set by hand.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// tend runs a caretaker of the namespace with the rights of an account until stop,
// which may be called again.
func tend(t *testing.T, n *testkube.Namespace, as *rest.Config, cfg kube.CaretakerConfig) (stop func()) {
	t.Helper()
	_, stop = tendAll(t, []string{n.Name}, as, cfg)
	return stop
}

// tendAll is tend for several namespaces.
func tendAll(t *testing.T, namespaces []string, as *rest.Config, cfg kube.CaretakerConfig) (c *kube.Caretaker, stop func()) {
	t.Helper()
	if cfg.Every == 0 {
		cfg.Every = 20 * time.Millisecond
	}
	if cfg.Settle == 0 {
		cfg.Settle = time.Nanosecond
	}
	hub := openHub(t, kube.Config{REST: as, Namespaces: namespaces, MaxBackoff: 100 * time.Millisecond})
	c, err := kube.NewCaretaker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, hub) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
		hub.Close()
	}
	t.Cleanup(stop)
	return c, stop
}

// controller is an account with the control plane's role.
func controller(t *testing.T, n *testkube.Namespace) *rest.Config {
	t.Helper()
	n.ServiceAccount(t, "control", "weir-control")
	return n.As(t, "control", nil)
}

func TestPoliciesAndMappingsSayWhatBecomesOfThem(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	n.Service(t, "inventory", 20000)
	tend(t, n, controller(t, n), kube.CaretakerConfig{})

	o.policy("all", map[string]any{"mode": "pod"})
	o.policy("to-inventory", map[string]any{"consumer": "orders", "provider": map[string]any{"name": "inventory"}, "mode": "service"})
	o.policy("to-nobody", map[string]any{"provider": map[string]any{"name": "pricing"}, "protection": map[string]any{"percent": int64(30)}})
	o.policy("again", map[string]any{"consumer": "orders", "provider": map[string]any{"namespace": n.Name, "name": "inventory"}, "mode": "pod"})
	o.policy("to-elsewhere", map[string]any{"provider": map[string]any{"namespace": "elsewhere", "name": "inventory"}, "mode": "pod"})
	o.says("discoverypolicies", "all", "Accepted", "True Accepted: it is for all calls from and to namespace "+n.Name)
	o.says("discoverypolicies", "all", "Resolved", "True AnyProvider: it names no provider, and is for all")
	o.says("discoverypolicies", "again", "Accepted", "True Accepted: it is for calls from orders to "+n.Name+"/inventory")
	o.says("discoverypolicies", "to-inventory", "Resolved", "True ProviderFound: Service "+n.Name+"/inventory is there")
	o.says("discoverypolicies", "to-inventory", "Accepted", "False Overridden: nothing of it counts, since another for the same consumer and provider comes first by its name: DiscoveryPolicy again gives mode; delete this one, or what the other says")
	o.says("discoverypolicies", "to-nobody", "Accepted", "True Accepted: it is for all calls to "+n.Name+"/pricing")
	o.says("discoverypolicies", "to-nobody", "Resolved", "False ProviderMissing: no Service bears the name pricing in namespace "+n.Name+": until one does, the policy is for nobody")
	o.says("discoverypolicies", "to-elsewhere", "Resolved", "Unknown NotLookedAfter: the control plane does not look after namespace elsewhere, and cannot say whether elsewhere/inventory is there")
	n.Service(t, "pricing", 20001)
	o.says("discoverypolicies", "to-nobody", "Resolved", "True ProviderFound: Service "+n.Name+"/pricing is there")
	all, err := o.of("discoverypolicies").Get(testkube.Context(t), "all", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	testkube.Eventually(t, "how many it is about", func() error {
		if all, err = o.of("discoverypolicies").Get(testkube.Context(t), "all", metav1.GetOptions{}); err != nil {
			return err
		}
		if apps, _, _ := unstructured.NestedInt64(all.Object, "status", "apps"); apps != 2 {
			return fmt.Errorf("it says %d", apps)
		}
		return nil
	})

	// A change is judged anew.
	patch := []byte(`{"spec":{"provider":{"name":"ledger"}}}`)
	if _, err := o.of("discoverypolicies").Patch(testkube.Context(t), "all", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	o.says("discoverypolicies", "all", "Resolved", "False ProviderMissing: no Service bears the name ledger in namespace "+n.Name+": until one does, the policy is for nobody")

	hub := openHub(t, stranger(n, n.Cluster.REST()))
	iface := registry.Interface{Name: "org.example.InventoryService"}
	mapped := func() *unstructured.Unstructured {
		t.Helper()
		list, err := o.of("interfacemappings").List(testkube.Context(t), metav1.ListOptions{})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		return &list.Items[0]
	}
	for _, app := range []string{"inventory", "ledger"} {
		if err := hub.MapInterface(testkube.Context(t), iface, registry.App{Namespace: n.Name, Name: app}); err != nil {
			t.Fatal(err)
		}
	}
	name := mapped().GetName()
	o.says("interfacemappings", name, "Resolved", "False ServiceMissing: no Service in namespace "+n.Name+" bears the name ledger: nobody is called there")
	n.Service(t, "ledger", 20002)
	o.says("interfacemappings", name, "Resolved", "True ServicesFound: every application that offers it has a Service")
	for _, app := range []string{"inventory", "ledger"} {
		if err := hub.UnmapInterface(testkube.Context(t), iface, registry.App{Namespace: n.Name, Name: app}); err != nil {
			t.Fatal(err)
		}
	}
	o.says("interfacemappings", name, "Resolved", "False NoApps: no application offers the interface any more")
}

// Two control planes write what one would, and then nothing.
func TestTwoControlPlanesDoNotFight(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	n.Service(t, "inventory", 20000)
	as := controller(t, n)
	var looks [2]atomic.Int64
	for i := range looks {
		tend(t, n, as, kube.CaretakerConfig{Now: func() time.Time {
			looks[i].Add(1)
			return time.Now().Add(time.Duration(i) * time.Hour) // they do not agree on the time either
		}})
	}
	look := func(times int64) {
		t.Helper()
		until := [2]int64{looks[0].Load() + times, looks[1].Load() + times}
		testkube.Eventually(t, "both to look", func() error {
			if a, b := looks[0].Load(), looks[1].Load(); a < until[0] || b < until[1] {
				return fmt.Errorf("%d and %d looks, want %v", a, b, until)
			}
			return nil
		})
	}
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	for i := range 3 {
		o.policy(fmt.Sprintf("p%d", i), map[string]any{"provider": map[string]any{"name": fmt.Sprintf("app%d", i)}, "mode": "pod"})
		revision := fmt.Sprintf("r%d", i)
		if err := hub.PutMetadata(testkube.Context(t), registry.App{Namespace: n.Name, Name: "inventory"}, revision, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if i > 0 { // nobody runs r0
			n.Pod(t, "inventory", fmt.Sprintf("inventory-%d", i), testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: `{"dubbo.metadata.revision":"` + revision + `"}`}})
		}
	}
	if err := hub.MapInterface(testkube.Context(t), registry.Interface{Name: "org.example.A"}, registry.App{Namespace: n.Name, Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	versions := func() (all string, whole bool) {
		t.Helper()
		whole = true
		for _, r := range []string{"discoverypolicies", "appmetadatas", "interfacemappings"} {
			list, err := o.of(r).List(testkube.Context(t), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range list.Items {
				whole = whole && item.Object["status"] != nil
				all += item.GetName() + " " + item.GetResourceVersion() + "\n"
			}
		}
		return all, whole
	}
	before := ""
	testkube.Eventually(t, "all to have a status that stays", func() error {
		all, whole := versions()
		if !whole || all != before {
			before = all
			look(3)
			return fmt.Errorf("a status is missing, or was written just now:\n%s", all)
		}
		return nil
	})
	look(20)
	if after, _ := versions(); after != before {
		t.Errorf("nothing changed, and objects were written:\n%s\nwere:\n%s", after, before)
	}
}

// sees waits until the AppMetadata is as wanted.
func (o objects) sees(what string, ok func(*unstructured.Unstructured) bool) *unstructured.Unstructured {
	o.t.Helper()
	var m *unstructured.Unstructured
	testkube.Eventually(o.t, what, func() error {
		if m = o.metadata(); m == nil || !ok(m) {
			return fmt.Errorf("it is %v", m)
		}
		return nil
	})
	return m
}

// goes waits until the AppMetadata is gone.
func (o objects) goes() {
	o.t.Helper()
	testkube.Eventually(o.t, "the AppMetadata to go", func() error {
		if m := o.metadata(); m != nil {
			return fmt.Errorf("it is there: %v", m.Object["status"])
		}
		return nil
	})
}

func instances(want int64) func(*unstructured.Unstructured) bool {
	return func(o *unstructured.Unstructured) bool {
		n, found, _ := unstructured.NestedInt64(o.Object, "status", "instances")
		return found && n == want && (unusedSince(o) == "") == (want > 0)
	}
}

// lookingClock is a clock by which it is known when a caretaker looks.
type lookingClock struct {
	clock
	looks atomic.Int64
}

func (c *lookingClock) now() time.Time {
	c.looks.Add(1)
	return c.clock.now()
}

func (c *lookingClock) look(t *testing.T, times int64) {
	t.Helper()
	until := c.looks.Load() + times
	testkube.Eventually(t, "the caretaker to look", func() error {
		if c.looks.Load() < until {
			return errors.New("not yet")
		}
		return nil
	})
}

const revisionAnnotation = `{"dubbo.metadata.revision":"r"}`

// A revision goes a day after its last pod: a restart of the control plane neither
// hastens nor forgets it.
func TestUnusedRevisionsGo(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	n.Service(t, "inventory", 20000)
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	if err := hub.PutMetadata(testkube.Context(t), app, "r", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	// Any pod that names it counts, ready or not, behind a Service or not.
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: revisionAnnotation}})
	n.Pod(t, "nothing", "apart", testkube.Pod{NotReady: true, Annotations: map[string]string{kube.AnnotationMetadata: revisionAnnotation}})
	as := controller(t, n)
	var time0 lookingClock
	var log safeBuffer
	metrics := prometheus.NewRegistry()
	stop := tend(t, n, as, kube.CaretakerConfig{Now: time0.now, Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics})
	o.sees("two pods", instances(2))
	n.Remove(t, "inventory-0")
	o.sees("one pod", instances(1))
	time0.advance(48 * time.Hour)
	time0.look(t, 5)
	o.sees("it to stay while a pod names it", instances(1))
	n.Terminate(t, "apart")
	time0.look(t, 5)
	o.sees("a terminating pod to count", instances(1))
	n.Remove(t, "apart")
	since := unusedSince(o.sees("the mark", instances(0)))
	time0.advance(23 * time.Hour)
	time0.look(t, 5)
	if m := o.metadata(); m == nil || unusedSince(m) != since {
		t.Fatalf("an hour too early it is %v; it was unused since %s", m, since)
	}
	stop()

	// What would go can be seen before.
	all, err := hub.StoredRevisions(testkube.Context(t), "")
	if err != nil || len(all) != 1 || all[0].App != app || all[0].Revision != "r" || all[0].Instances != 0 || all[0].UnusedSince.Format(time.RFC3339) != since || all[0].Held != "" {
		t.Fatalf("listed: %+v, %v", all, err)
	}

	stop = tend(t, n, as, kube.CaretakerConfig{Now: time0.now, Settle: time.Hour})
	time0.advance(2 * time.Hour)
	time0.look(t, 5)
	if o.metadata() == nil {
		t.Fatal("a control plane that has just started deletes at once")
	}
	stop()
	stop = tend(t, n, as, kube.CaretakerConfig{Now: time0.now, Grace: -1})
	time0.look(t, 5)
	if o.metadata() == nil {
		t.Fatal("told to keep everything, it deletes")
	}
	stop()
	stop = tend(t, n, as, kube.CaretakerConfig{Now: time0.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	o.goes()
	// The object is gone before the caretaker has its answer: an end in between would
	// leave the line unwritten.
	want := `msg="deleted the metadata of a revision that nobody runs" app=` + app.String() + ` revision=r object=inventory-`
	testkube.Eventually(t, "the deletion to be logged", func() error {
		if !strings.Contains(log.String(), want) {
			return fmt.Errorf("log:\n%s", log.String())
		}
		return nil
	})
	stop()
	if strings.Count(log.String(), want) != 1 {
		t.Errorf("log:\n%s\nwant once: %s", log.String(), want)
	}
}

// A scale to zero is no end: within the grace the revision is there again.
func TestAScaleToZeroLosesNothing(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	n.Service(t, "inventory", 20000)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	if err := hub.PutMetadata(testkube.Context(t), registry.App{Namespace: n.Name, Name: "inventory"}, "r", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	pod := testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: revisionAnnotation}}
	n.Pod(t, "inventory", "inventory-0", pod)
	var now lookingClock
	tend(t, n, controller(t, n), kube.CaretakerConfig{Now: now.now})
	o.sees("the pod", instances(1))
	n.Remove(t, "inventory-0")
	o.sees("the mark", instances(0))
	now.advance(23 * time.Hour)
	n.Pod(t, "inventory", "inventory-1", pod)
	o.sees("the mark to go", instances(1))
	n.Remove(t, "inventory-1")
	o.sees("a new mark", instances(0))
	now.advance(23 * time.Hour) // 46 h after the first mark
	now.look(t, 5)
	if o.metadata() == nil {
		t.Error("the first scale to zero counted")
	}
}

// marked makes an AppMetadata of revision r that is unused for longer than the grace,
// and returns a clock by which that is so.
func marked(t *testing.T, n *testkube.Namespace, o objects, as *rest.Config) *lookingClock {
	t.Helper()
	n.Service(t, "inventory", 20000)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	if err := hub.PutMetadata(testkube.Context(t), registry.App{Namespace: n.Name, Name: "inventory"}, "r", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	now := &lookingClock{}
	now.advance(time.Hour) // it is not new any more
	stop := tend(t, n, as, kube.CaretakerConfig{Now: now.now})
	o.sees("the mark", instances(0))
	stop()
	now.advance(25 * time.Hour)
	return now
}

// An instance that finds the metadata of its revision marked, while the control plane
// is about to delete it, keeps it.
func TestAnInstanceThatComesInTimeKeepsItsMetadata(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	as := controller(t, n)
	now := marked(t, n, o, as)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	var tried, conflicts atomic.Int64
	through := through(t, as, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete && tried.Add(1) == 1 {
			// Between the decision and the deletion an instance starts, which has not
			// registered yet.
			if err := hub.PutMetadata(context.Background(), registry.App{Namespace: n.Name, Name: "inventory"}, "r", []byte("{}")); err != nil {
				conflicts.Add(-1)
			}
		}
		return false
	})
	stop := tend(t, n, through, kube.CaretakerConfig{Now: func() time.Time {
		if tried.Load() > 0 {
			now.looks.Add(1)
			return time.Now() // by the instance's clock
		}
		return now.now()
	}})
	testkube.Eventually(t, "the deletion to be tried", func() error {
		if tried.Load() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	now.look(t, 5)
	stop()
	m := o.metadata()
	if m == nil || conflicts.Load() != 0 {
		t.Fatal("the metadata that an instance needs was deleted")
	}
	if m.GetAnnotations()["weirmesh.io/stored"] == "" || m.GetAnnotations()["weirmesh.io/revision"] != "r" {
		t.Errorf("annotations: %v", m.GetAnnotations())
	}
}

// The watch may be behind: the API server has the last word.
func TestNothingIsDeletedOnTheWordOfAWatchAlone(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	as := controller(t, n)
	now := marked(t, n, o, as)
	var asked, deleted atomic.Int64
	through := through(t, as, func(_ http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodDelete:
			deleted.Add(1)
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/pods") && r.URL.Query().Get("watch") == "" && asked.Add(1) == 1:
			n.Pod(t, "inventory", "inventory-0", testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: revisionAnnotation}})
		}
		return false
	})
	tend(t, n, through, kube.CaretakerConfig{Now: now.now})
	o.sees("the pod that came", instances(1))
	if asked.Load() == 0 || deleted.Load() != 0 {
		t.Errorf("asked %d times, tried to delete %d times", asked.Load(), deleted.Load())
	}
}

// What a pod runs whose annotation cannot be read is not known, and not unused.
func TestUnreadablePodsHoldTheirRevisions(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	as := controller(t, n)
	now := marked(t, n, o, as)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: "{"}})
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"}).await("the pod", func(s registry.Snapshot) bool { return len(s.Instances) == 1 })
	tend(t, n, as, kube.CaretakerConfig{Now: now.now})
	now.look(t, 10)
	if o.metadata() == nil {
		t.Fatal("it was deleted")
	}
	all, err := hub.StoredRevisions(testkube.Context(t), n.Name)
	if want := "it is not known what pod inventory-0 runs: its annotation io.dubbo/metadata cannot be read"; err != nil || len(all) != 1 || all[0].Held != want {
		t.Errorf("listed: %+v, %v; want it held as %q", all, err, want)
	}
	n.Annotate(t, "inventory-0", map[string]string{kube.AnnotationMetadata: `{"dubbo.metadata.revision":"another"}`})
	o.goes()
}
