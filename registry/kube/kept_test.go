package kube_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// servers stand in for the processes in pods, whose addresses lead nowhere here: a
// pod's address is dialled at a real listener.
type servers struct {
	t    *testing.T
	open map[string]net.Listener // by the pod's address
	pods map[string]testkube.Pod
}

func serve(t *testing.T, pods ...string) *servers {
	t.Helper()
	s := &servers{t: t, open: map[string]net.Listener{}, pods: map[string]testkube.Pod{}}
	for _, name := range pods {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		ip := testkube.NextIP()
		s.open[ip.String()] = listener
		s.pods[name] = testkube.Pod{IP: ip, Annotations: map[string]string{
			kube.AnnotationMetadata: `{"dubbo.endpoints":"[{\"port\":20000,\"protocol\":\"dubbo\"}]"}`,
		}}
	}
	return s
}

func (s *servers) dial(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != "20000" || s.open[host] == nil {
		return fmt.Errorf("no pod is at %s", address)
	}
	return kube.DialTCP(ctx, s.open[host].Addr().String())
}

// stop closes the server of a pod.
func (s *servers) stop(pod string) { s.open[s.pods[pod].IP.String()].Close() }

// Readiness of all pods fails at once, as when what their probes ask for is away; the
// processes go on. Then one of them does die, another is deleted, and the rest is
// ready again; at last the application is scaled to zero, and back.
func TestNobodyIsReadyAtOnce(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	names := []string{"inventory-0", "inventory-1", "inventory-2", "inventory-3"}
	processes := serve(t, names...)
	for _, name := range names {
		n.Pod(t, "inventory", name, processes.pods[name])
		n.AwaitEndpoint(t, "inventory", name, true)
	}
	metrics := prometheus.NewRegistry()
	var log safeBuffer
	cfg := stranger(n, n.Cluster.REST())
	cfg.Metrics, cfg.Logger = metrics, slog.New(slog.NewTextHandler(&log, nil))
	hub := openHub(t, cfg)
	hub.SetDial(processes.dial)
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	w := watch(t, hub, app)
	w.await("four instances", ready(4))
	_, before := w.last()

	for _, name := range names {
		n.SetReady(t, name, false)
	}
	kept := func(want int) func(registry.Snapshot) bool {
		return func(s registry.Snapshot) bool { return registry.Summarize(s).Kept == want && len(s.Callable()) == want }
	}
	s := w.await("all of them kept", kept(4))
	finding := s.Explain(&s.Instances[0], nil)
	if text := fmt.Sprint(finding); !strings.Contains(text, "it is not ready, and is called all the same until ") {
		t.Errorf("explained as %s", text)
	}
	gauge := func(want int) {
		t.Helper()
		testkube.Eventually(t, "the gauge of kept instances", func() error {
			return testutil.GatherAndCompare(metrics, bytes.NewBufferString(fmt.Sprintf(
				"# HELP weir_registry_kept_instances Instances that are kept callable though they are not ready.\n"+
					"# TYPE weir_registry_kept_instances gauge\nweir_registry_kept_instances{namespace=%q} %d\n", n.Name, want)), "weir_registry_kept_instances")
		})
	}
	gauge(4)
	processes.stop("inventory-1")
	w.await("the dead one out", kept(3))
	n.Remove(t, "inventory-2")
	s = w.await("the deleted one out", kept(2))
	if s.Find("inventory-0").Kept == nil || s.Find("inventory-3").Kept == nil {
		t.Fatalf("the wrong ones are kept: %+v", s)
	}
	n.SetReady(t, "inventory-0", true)
	n.SetReady(t, "inventory-3", true)
	w.await("two ready again", func(s registry.Snapshot) bool { return len(s.Callable()) == 2 && registry.Summarize(s).Kept == 0 })
	gauge(0)
	w.mu.Lock()
	for _, s := range w.all[before-1:] {
		if len(s.Callable()) == 0 {
			t.Errorf("the application was empty: %+v", s)
		}
	}
	w.mu.Unlock()
	for _, line := range []string{"instances are called though they are not ready", "no instance is kept any more"} {
		if strings.Count(log.String(), line) != 1 {
			t.Errorf("%q is not told once:\n%s", line, log.String())
		}
	}

	for _, name := range names {
		n.Remove(t, name)
	}
	w.await("scaled to zero", func(s registry.Snapshot) bool { return len(s.Instances) == 0 })
	n.Pod(t, "inventory", "inventory-0", processes.pods["inventory-0"])
	w.await("and back", ready(1))
}

// Pods that were evicted stay as objects, and their addresses go to others, who answer
// at them. They are not kept.
func TestPodsThatEndedAreNotKept(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	names := []string{"inventory-0", "inventory-1", "inventory-2"}
	processes := serve(t, names...)
	for _, name := range names {
		n.Pod(t, "inventory", name, processes.pods[name])
		n.AwaitEndpoint(t, "inventory", name, true)
	}
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	hub.SetDial(processes.dial)
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "inventory"})
	w.await("three instances", ready(3))
	for _, name := range names[:2] {
		pods := n.Cluster.Client.CoreV1().Pods(n.Name)
		// As a kubelet does: the EndpointSlice controller does not look at a phase alone.
		evicted := []byte(`{"status":{"phase":"Failed","reason":"Evicted","conditions":[{"type":"Ready","status":"False","reason":"PodFailed"}]}}`)
		if _, err := pods.Patch(t.Context(), name, types.StrategicMergePatchType, evicted, metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	s := w.await("the two out", func(s registry.Snapshot) bool { return len(s.Callable()) == 1 })
	if s.Callable()[0].Name != names[2] {
		t.Fatalf("called is %s", s.Callable()[0].Name)
	}
}
