package testkube_test

import (
	"testing"

	"github.com/weirmesh/weir/internal/testkube"
)

// A test gets a namespace of its own on the shared cluster, and does by hand
// what a kubelet would; the controllers are real.
func Example() {
	_ = func(t *testing.T) {
		n := testkube.Start(t).Namespace(t)
		n.Service(t, "inventory", 20000)
		n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
		n.AwaitEndpoint(t, "inventory", "inventory-0", true)
		n.SetReady(t, "inventory-0", false)
		n.Remove(t, "inventory-0")
	}
}
