package kube_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// patches counts what goes through to change something.
func patches(count *atomic.Int64) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			count.Add(1)
		}
		return false
	}
}

// Somebody changes the annotation as soon as it is written, again and again. Each write
// succeeds, and all the same they become rare, one line names the other, and what the
// process itself has to say does not wait.
func TestTwoWritersOfOnePod(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	var writes atomic.Int64
	var log safeBuffer
	metrics := prometheus.NewRegistry()
	cfg := kube.Config{
		REST: through(t, n.Cluster.REST(), patches(&writes)), Lazy: true, Metrics: metrics,
		Logger: slog.New(slog.NewTextHandler(&log, nil)), Identity: kube.Identity{Pod: "inventory-0", Namespace: n.Name},
	}
	hub := openHub(t, cfg)
	if err := hub.Register(testkube.Context(t), registry.Registration{App: app, Metadata: map[string]string{"a": "1"}}); err != nil {
		t.Fatal(err)
	}
	pods := n.Cluster.Client.CoreV1().Pods(n.Name)
	ctx := testkube.Context(t)
	rival := func() {
		w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=inventory-0"})
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Stop()
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"{\"b\":\"2\"}"}}}`, kube.AnnotationMetadata)
		// A busy machine takes longer over the first few.
		over := time.NewTicker(5 * time.Second)
		defer over.Stop()
		for {
			select {
			case event := <-w.ResultChan():
				object, ok := event.Object.(metav1.Object)
				if !ok || object.GetAnnotations()[kube.AnnotationMetadata] != `{"a":"1"}` {
					continue
				}
				if _, err := pods.Patch(ctx, "inventory-0", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "gitops"}); err != nil {
					t.Error(err)
				}
			case <-over.C:
				if writes.Load() > 4 || ctx.Err() != nil {
					return
				}
			}
		}
	}
	rival()
	// At 100 ms, doubled each time, the eighth comes after more than five seconds.
	if got := writes.Load(); got < 5 || got > 9 {
		t.Errorf("%d writes in the fight", got)
	}
	const fight = "somebody keeps changing the registration of this pod"
	for text, want := range map[string]int{fight: 1, "registration was lost or changed by somebody": 1, "by=gitops": 2} {
		if got := strings.Count(log.String(), text); got != want {
			t.Errorf("the log says %q %d times, want %d:\n%s", text, got, want, log.String())
		}
	}
	if n := testutil.CollectAndCount(metrics, "weir_registry_lost_registrations_total"); n != 1 {
		t.Error("losses are not counted")
	}
	// The end is said at once, in whatever pause.
	if err := hub.Register(ctx, registry.Registration{App: app, Metadata: map[string]string{"a": "1"}, Details: registry.Details{State: registry.Draining}}); err != nil {
		t.Fatal(err)
	}
	pod, err := pods.Get(ctx, "inventory-0", metav1.GetOptions{})
	if err != nil || !strings.Contains(pod.Annotations[kube.AnnotationInstance], `"draining"`) {
		t.Fatalf("annotations %v (%v)", pod.Annotations, err)
	}
}

// A Conflict says that the pod is another only where it is. Else it passes.
func TestAConflictThatPasses(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	var refused atomic.Int64
	cfg := kube.Config{Lazy: true, Identity: kube.Identity{Pod: "inventory-0", Namespace: n.Name}}
	cfg.REST = through(t, n.Cluster.REST(), func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodPatch && refused.Add(1) <= 2 && refuse(w, http.StatusConflict, metav1.StatusReasonConflict,
			"Operation cannot be fulfilled on pods \"inventory-0\": the object has been modified; please apply your changes to the latest version and try again")
	})
	hub := openHub(t, cfg)
	reg := registry.Registration{App: registry.App{Namespace: n.Name, Name: "inventory"}, Metadata: map[string]string{"a": "1"}}
	if err := hub.Register(testkube.Context(t), reg); err != nil {
		t.Fatal(err)
	}
	if got := refused.Load(); got != 3 {
		t.Errorf("%d attempts, want 3", got)
	}
	// The pod is deleted, and another takes its name.
	n.Remove(t, "inventory-0")
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	reg.Metadata = map[string]string{"b": "2"}
	wantError(t, hub.Register(testkube.Context(t), reg), registry.NotFound, "is gone from the cluster, or another has taken its name")
}

// An API server that asks for a pause gets it from writes as well.
func TestWritesWaitAsLongAsTheServerAsks(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	for name, answer := range map[string]func(http.ResponseWriter){
		"in the words of its queues": func(w http.ResponseWriter) {
			http.Error(w, "Too many requests, please try again later.", http.StatusTooManyRequests)
		},
		"by a status": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429,"details":{"retryAfterSeconds":60}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var refused atomic.Int64
			cfg := stranger(n, through(t, n.Cluster.REST(), func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch {
					refused.Add(1)
					w.Header().Set("Retry-After", "60")
					answer(w)
					return true
				}
				return false
			}))
			cfg.Lazy = true
			hub := openHub(t, cfg)
			err := hub.MapInterface(brief(t), registry.Interface{Name: "org.example.A"}, registry.App{Namespace: n.Name, Name: "inventory"})
			if registry.CodeOf(err) != registry.Unavailable {
				t.Errorf("got %v", err)
			}
			if got := refused.Load(); got != 1 {
				t.Errorf("%d attempts in the time that was asked for, want 1", got)
			}
		})
	}
}
