package java

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/weirmesh/weir/test/mesh"
)

// userDocument is what stands in a ConfigMap before Weir comes.
const userDocument = "shop.example.greeting: hello\n"

// readsConfigMap makes the ConfigMap of an application with one document, and has Weir write policies into
// it, until the test's end.
func readsConfigMap(t *testing.T, app, document string) {
	t.Helper()
	kubectl(t, "create", "configmap", app, "--from-literal="+document+"="+userDocument)
	kubectl(t, "annotate", "service", app, "weirmesh.io/config=true")
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		kubectlIn(ctx, t, "annotate", "service", app, "weirmesh.io/config-")
		kubectlIn(ctx, t, "delete", "configmap", app)
	})
}

func configMap(t *testing.T, name string) map[string]string {
	t.Helper()
	var o struct{ Data map[string]string }
	if err := json.Unmarshal([]byte(kubectl(t, "get", "configmap", name, "-o", "json")), &o); err != nil {
		t.Fatal(err)
	}
	return o.Data
}

// untouched waits until nothing of Weir's is in a ConfigMap, and what was before is.
func untouched(t *testing.T, name, document string) {
	t.Helper()
	mesh.Eventually(t, "the document is gone", func() error {
		if data := configMap(t, name); len(data) != 1 || data[document] != userDocument {
			return fmt.Errorf("%q", data)
		}
		return nil
	})
}

// What policies come to is in the ConfigMap that delivery reads: processes begin with it
// even where nobody governs them, and let go of it when it is taken back.
func TestHystrixPolicyHoldsFromTheFirstCall(t *testing.T) {
	springTurns.take(t)
	needs(t, hystrix)
	kubectl(t, "patch", "role", "delivery", "--type=json", "-p",
		`[{"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}}]`)
	readsConfigMap(t, "delivery", "application.yaml")
	kubectl(t, "set", "env", "deployment/delivery", "SPRING_CLOUD_KUBERNETES_CONFIG_ENABLED=true")
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		kubectlIn(ctx, t, "annotate", "--overwrite", "service", "delivery", "weirmesh.io/govern=true")
		kubectlIn(ctx, t, "set", "env", "deployment/delivery", "SPRING_CLOUD_KUBERNETES_CONFIG_ENABLED-")
		kubectlIn(ctx, t, "rollout", "status", "deployment", "delivery", "--timeout", mesh.Patience.String())
	})
	rolledOut(t, "delivery")
	all := pods(t, "delivery")
	carriers(t, all)
	governed(t, "delivery", all)
	confirmed := fmt.Sprintf("confirmed by %d of %d", len(all), len(all))
	pullOf(t, "delivery", quote, confirmed)
	answers(t, all, byPost)
	want := "# Written by Weir, which writes it again: what policies come to (docs/java/config.md).\n" +
		`hystrix.command.CarrierClient\#quote(String).circuitBreaker.enabled=true` + "\n" +
		`hystrix.command.CarrierClient\#quote(String).circuitBreaker.forceOpen=true` + "\n"
	if data := configMap(t, "delivery"); data["application.properties"] != want || data["application.yaml"] != userDocument {
		t.Errorf("the ConfigMap is %q", data)
	}

	// Now nobody writes into new processes.
	kubectl(t, "annotate", "--overwrite", "service", "delivery", "weirmesh.io/govern=false")
	restart(t, "delivery")
	all = pods(t, "delivery")
	answers(t, all, byPost)
	shows(t, all, "that it is forced open", func(w word) bool { return w.ForceOpen })

	kubectl(t, "annotate", "--overwrite", "service", "delivery", "weirmesh.io/govern=true")
	governed(t, "delivery", all)
	releaseOf(t, "delivery", quote, confirmed)
	carriers(t, all) // the first call of a process that made none before may exceed its timeout
	answers(t, all, byRoad)
	shows(t, all, "that nothing is forced", func(w word) bool { return !w.ForceOpen })
	untouched(t, "delivery", "application.yaml")
}
