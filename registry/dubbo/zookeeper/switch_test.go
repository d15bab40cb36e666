package zookeeper

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/weirmesh/weir/internal/testkube"
)

// choose has a DiscoveryPolicy say by which registry orders calls inventory; nothing
// takes the policy back.
func (w *world) choose(by string) {
	w.t.Helper()
	client, err := dynamic.NewForConfig(w.ns.Cluster.REST())
	if err != nil {
		w.t.Fatal(err)
	}
	policies := client.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "discoverypolicies"}).Namespace(w.ns.Name)
	if by == "" {
		if err := policies.Delete(testkube.Context(w.t), "move", metav1.DeleteOptions{}); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	_, err = policies.Apply(testkube.Context(w.t), "move", &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": map[string]any{"name": "move"},
		"spec": map[string]any{"consumer": orders, "provider": map[string]any{"name": inventory}, "registry": by},
	}}, metav1.ApplyOptions{FieldManager: "test", Force: true})
	if err != nil {
		w.t.Fatal(err)
	}
}

// Which registry is called is said from outside, goes over what the process prefers
// itself, and changes under load in every direction without a failed call.
func TestWhichRegistryIsCalledIsSwitchedLive(t *testing.T) {
	t.Parallel()
	c := testkube.Start(t)
	for name, byApplication := range map[string]bool{"by interface": false, "by application": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c)
			both := processConfig{ZooKeeper: w.zk.Address(), ByApplication: byApplication, Kubeconfig: "yes"}
			w.provider("both", both)
			// Two of which one registry alone knows show which is called.
			zooOnly := w.provider("zoo-only", processConfig{ZooKeeper: w.zk.Address(), Plain: true, ByApplication: byApplication})
			kubeOnly := w.provider("kube-only", processConfig{Kubeconfig: "yes"})
			prefers := both
			prefers.Prefer = DefaultID
			consumer := w.start(orders, "consumer", prefers)
			consumer.answered("both", "zoo-only")

			w.choose("kubernetes")
			consumer.answered("both", "kube-only")
			// One that starts now does the same, whatever it prefers itself.
			late := w.start(orders, "late", prefers)
			late.answered("both", "kube-only")
			w.choose("zookeeper")
			consumer.answered("both", "zoo-only")
			w.choose("both")
			consumer.answered("both", "kube-only", "zoo-only")
			w.choose("kubernetes")
			consumer.answered("both", "kube-only")
			// Its own wish again.
			w.choose("")
			consumer.answered("both", "zoo-only")
			late.answered("both", "zoo-only")

			// A registry that has nobody is passed over, whatever is chosen.
			w.choose("zookeeper")
			w.zk.Kill(t)
			consumer.says("out of touch with ZooKeeper")
			consumer.answered("both", "kube-only")
			consumer.stop()
			late.stop()
			consumer.lostNothing()
			late.lostNothing()
			kubeOnly.stop()
			zooOnly.stop()
		})
	}
}
