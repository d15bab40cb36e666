package kube_test

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
)

// Governed is who asks for it by the annotation, live, and the snapshot says with
// what; a pod is told with what runs in it.
func TestWhoAsksToBeGovernedIsKnown(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "delivery", 20000)
	n.Service(t, "other", 20000)
	pod := n.Pod(t, "delivery", "delivery-0", testkube.Pod{})
	app := registry.App{Namespace: n.Name, Name: "delivery"}
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	w := watch(t, hub, app)
	w.await("nobody asking", func(s registry.Snapshot) bool { return s.Service.Host != "" && s.Service.Govern == nil })
	governed := func(want ...registry.App) {
		t.Helper()
		got, err := hub.Governed(testkube.Context(t))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("governed are %v, %v", got, err)
		}
	}
	governed()
	annotate := func(value string) {
		t.Helper()
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"weirmesh.io/govern":%q,"boot.spring.io/actuator":"http://:9090/manage"}}}`, value)
		_, err := n.Cluster.Client.CoreV1().Services(n.Name).Patch(testkube.Context(t), "delivery", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	annotate("true")
	w.await("one that asks", func(s registry.Snapshot) bool {
		return s.Service.Govern != nil && s.Service.Govern.Actuator == "http://:9090/manage"
	})
	governed(app)
	annotate("yes")
	w.await("one that asks no more", func(s registry.Snapshot) bool { return s.Service.Govern == nil })
	governed()
	got, err := hub.Pod(testkube.Context(t), n.Name, "delivery-0")
	if err != nil || got.ID != string(pod.UID) || len(got.Containers) == 0 || got.Containers[0].Image == "" {
		t.Errorf("the pod is %+v, %v", got, err)
	}
	if _, err := hub.Pod(testkube.Context(t), n.Name, "nobody"); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("of a pod that is not there: %v", err)
	}
}
