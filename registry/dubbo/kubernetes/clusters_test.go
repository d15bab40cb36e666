package kubernetes

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/weirmesh/weir/internal/testkube"
)

// A consumer calls its own cluster, another while that has nobody who is ready, and
// its own again, also when the API server of its own is killed. No call fails
// throughout.
func TestTwoClusters(t *testing.T) {
	if raceDetector {
		t.Skip("dubbo-go v3.3.2 has data races of its own, which would be reported as this package's")
	}
	home, other := testkube.StartOwn(t), testkube.StartOwn(t)
	east := newWorld(t, home)
	west := &world{t: t, ns: other.Named(t, east.ns.Name), ip: east.ip}
	west.ns.ServiceAccount(t, greeter, "weir-provider")
	west.ns.ServiceAccount(t, "caller", "weir-consumer")
	for _, w := range []*world{east, west} {
		w.ns.Service(t, greeter, 20000)
	}
	client, err := dynamic.NewForConfig(home.REST())
	if err != nil {
		t.Fatal(err)
	}
	policies := schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "discoverypolicies"}
	if _, err := client.Resource(policies).Namespace(east.ns.Name).Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": map[string]any{"name": "return"},
		"spec": map[string]any{"consumer": "caller", "prefer": map[string]any{"returnSeconds": int64(1)}},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	east.start("one").ready()
	west.start("two").ready()
	consumer := east.consume(WithClusters("east", Cluster{Name: "west", Kubeconfig: west.ns.Kubeconfig(west.t, west.ns.As(t, "caller", nil))}))
	conn := consumer.refer(stock, "dubbo")
	east.answers(conn, "one")

	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	var load sync.WaitGroup
	load.Go(func() {
		for ctx.Err() == nil {
			var out string
			if err := conn.CallUnary(context.WithoutCancel(ctx), []any{"you"}, &out, "Greet"); err != nil {
				t.Errorf("call %d failed: %v", calls.Load(), err)
				return
			}
			calls.Add(1)
		}
	})
	defer load.Wait()
	defer cancel()
	east.ns.SetReady(t, "one", false)
	east.answers(conn, "two")
	east.ns.SetReady(t, "one", true)
	east.answers(conn, "one")
	home.Kill(t)
	consumer.says("registry watch lost")
	east.answers(conn, "one")
	west.ns.SetReady(t, "two", false)
	east.answers(conn, "one")
	t.Logf("%d calls beside these, none failed", calls.Load())
}
