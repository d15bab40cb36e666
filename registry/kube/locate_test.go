package kube_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
)

// A pod is found by its address, in its namespace or in all that the hub covers, for
// as long as it runs and has the address for itself.
func TestAPodIsFoundByItsAddress(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	pod := n.Pod(t, "restock", "restock-0", testkube.Pod{})
	other := n.Pod(t, "restock", "restock-1", testkube.Pod{})
	status := func(name string, s corev1.PodStatus) {
		t.Helper()
		patch, err := json.Marshal(map[string]any{"status": s})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Cluster.Client.CoreV1().Pods(n.Name).Patch(testkube.Context(t), name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	address := netip.MustParseAddr("10.99.7.1")
	at := func(s corev1.PodStatus) corev1.PodStatus {
		s.PodIP, s.PodIPs = address.String(), []corev1.PodIP{{IP: address.String()}}
		return s
	}
	status(pod.Name, at(corev1.PodStatus{Phase: corev1.PodRunning}))
	want := registry.PodName{Namespace: n.Name, Name: pod.Name, ID: string(pod.UID)}
	for _, ns := range []string{n.Name, ""} {
		// The server answers from what it remembers, which may be a moment old.
		testkube.Eventually(t, "the pod is found", func() error {
			got, err := hub.PodAt(testkube.Context(t), ns, address)
			if err == nil && got != want {
				t.Fatalf("in %q it is %+v, want %+v", ns, got, want)
			}
			return err
		})
	}
	if _, err := hub.PodAt(testkube.Context(t), n.Name, netip.MustParseAddr("10.99.7.2")); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("of an address that nobody has: %v", err)
	}
	for _, ns := range []string{"..", "../../api/v1/secrets", n.Name + "/../" + n.Name, strings.Repeat("a", 64)} {
		if _, err := hub.PodAt(testkube.Context(t), ns, address); registry.CodeOf(err) != registry.Invalid {
			t.Errorf("in a namespace %q that there cannot be: %v", ns, err)
		}
	}
	// One that has ended keeps the address that it had.
	status(other.Name, at(corev1.PodStatus{Phase: corev1.PodSucceeded}))
	if got, err := hub.PodAt(testkube.Context(t), n.Name, address); err != nil || got != want {
		t.Errorf("beside one that has ended it is %+v, %v", got, err)
	}
}
