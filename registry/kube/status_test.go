package kube_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// Each field of a policy counts by itself: its status says which do not, and by which
// policy, and a consumer goes by what it says.
func TestAPolicyIsOverriddenFieldByField(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	n.Service(t, "inventory", 20000)
	tend(t, n, controller(t, n), kube.CaretakerConfig{})
	cfg := stranger(n, n.Cluster.REST())
	cfg.App = "orders"
	w := watch(t, openHub(t, cfg), registry.App{Namespace: n.Name, Name: "inventory"})

	const since = "since another for the same consumer and provider comes first by its name: "
	overridden := func(name string, want map[string]string) {
		t.Helper()
		testkube.Eventually(t, "what is overridden of "+name, func() error {
			got, err := o.of("discoverypolicies").Get(testkube.Context(t), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if by, _, _ := unstructured.NestedStringMap(got.Object, "status", "overridden"); !maps.Equal(by, want) {
				return fmt.Errorf("it says %v, want %v", by, want)
			}
			return nil
		})
	}
	provider := map[string]any{"name": "inventory"}
	o.policy("c", map[string]any{
		"provider": provider, "mode": "service", "registry": "kubernetes", "prefer": map[string]any{"zonePercent": int64(50)},
	})
	whole := "it is for all calls to " + n.Name + "/inventory"
	o.says("discoverypolicies", "c", "Accepted", "True Accepted: "+whole)
	overridden("c", nil)

	o.policy("b", map[string]any{"provider": provider, "mode": "pod", "protection": map[string]any{"percent": int64(30)}})
	o.says("discoverypolicies", "c", "Accepted", "True PartlyOverridden: "+whole+", and gives registry and prefer; the rest does not count, "+since+"DiscoveryPolicy b gives mode")
	overridden("c", map[string]string{"mode": "b"})
	overridden("b", nil)
	w.await("what counts of both", func(s registry.Snapshot) bool {
		return s.Mode == registry.ModePod && s.ModeFrom == "DiscoveryPolicy "+n.Name+"/b" && s.Choice == registry.ChooseKubernetes && s.ChoiceFrom == "DiscoveryPolicy "+n.Name+"/c"
	})

	// Of several that give it, the first by name decides.
	o.policy("a", map[string]any{"provider": provider, "registry": "both", "mode": "pod"})
	o.says("discoverypolicies", "b", "Accepted", "True PartlyOverridden: "+whole+", and gives protection; the rest does not count, "+since+"DiscoveryPolicy a gives mode")
	o.says("discoverypolicies", "c", "Accepted", "True PartlyOverridden: "+whole+", and gives prefer; the rest does not count, "+since+"DiscoveryPolicy a gives mode and registry")
	overridden("c", map[string]string{"mode": "a", "registry": "a"})

	// Nothing is left of one whose fields two others give.
	o.policy("b2", map[string]any{"provider": provider, "prefer": map[string]any{"zonePercent": int64(0)}})
	o.says("discoverypolicies", "c", "Accepted", "False Overridden: nothing of it counts, "+since+
		"DiscoveryPolicy a gives mode and registry, DiscoveryPolicy b2 gives prefer; delete this one, or what the other says")
	overridden("c", map[string]string{"mode": "a", "registry": "a", "prefer": "b2"})

	// One for a consumer by name is for other calls, and comes before.
	o.policy("d", map[string]any{"consumer": "orders", "mode": "service"})
	o.says("discoverypolicies", "d", "Accepted", "True Accepted: it is for all calls from orders")

	for _, name := range []string{"a", "b", "b2"} {
		if err := o.of("discoverypolicies").Delete(testkube.Context(t), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	o.says("discoverypolicies", "c", "Accepted", "True Accepted: "+whole)
	overridden("c", nil)
}

// kubectl get shows what is overridden, by the API server's own table.
func TestKubectlShowsWhatIsOverridden(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	tend(t, n, controller(t, n), kube.CaretakerConfig{})
	o.policy("a", map[string]any{"mode": "pod"})
	o.policy("b", map[string]any{"mode": "pod", "registry": "both"})
	var table metav1.Table
	testkube.Eventually(t, "the column", func() error {
		err := n.Cluster.Client.CoreV1().RESTClient().Get().AbsPath("/apis/registry.weirmesh.io/v1alpha1/namespaces", n.Name, "discoverypolicies", "b").
			SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Do(testkube.Context(t)).Into(&table)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(table.ColumnDefinitions, func(c metav1.TableColumnDefinition) bool { return c.Name == "Overridden" })
		if i < 0 || len(table.Rows) != 1 {
			return fmt.Errorf("columns %v, %d rows", table.ColumnDefinitions, len(table.Rows))
		}
		if got := fmt.Sprint(table.Rows[0].Cells[i]); got != `{"mode":"a"}` {
			return fmt.Errorf("it shows %q", got)
		}
		return nil
	})
}
