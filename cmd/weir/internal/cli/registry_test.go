package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
)

const annotation = "io.dubbo/metadata"

func metadata(port string) map[string]string {
	return map[string]string{annotation: `{"dubbo.endpoints":"[{\"port\":` + port + `,\"protocol\":\"dubbo\"}]","dubbo.metadata.revision":"r1"}`}
}

func TestRegistryShowsWhatConsumersSee(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ns.Service(t, "inventory", 20000)
	ns.Pod(t, "inventory", "inventory-a", testkube.Pod{Annotations: metadata("20000")})
	ns.Pod(t, "inventory", "inventory-b", testkube.Pod{Annotations: metadata("20000"), NotReady: true})
	ns.Pod(t, "inventory", "inventory-c", testkube.Pod{Annotations: map[string]string{annotation: "{"}})
	for _, pod := range []string{"inventory-a", "inventory-c"} {
		ns.AwaitEndpoint(t, "inventory", pod, true)
	}
	ns.AwaitEndpoint(t, "inventory", "inventory-b", false)
	at := []string{"--kubeconfig", kube.Kubeconfig, "-n", ns.Name}
	app := ns.Name + "/inventory"

	code, out, errs := do(t, nil, append([]string{"registry", "list"}, at...)...)
	if code != 0 || !strings.Contains(out, app) || !strings.Contains(out, "1 of 3") || !strings.Contains(out, "dubbo:20000") || !strings.Contains(out, "1 not ready") {
		t.Errorf("list: %d\n%s%s", code, out, errs)
	}

	code, out, errs = do(t, nil, append([]string{"registry", "get", "inventory"}, at...)...)
	for _, want := range []string{app + "   1 of 3 callable, mode pod", "inventory-a", "dubbo.metadata.revision = r1", "not ready", annotation} {
		if !strings.Contains(out, want) {
			t.Errorf("get: %d, %q is missing in\n%s%s", code, want, out, errs)
		}
	}

	code, out, errs = do(t, nil, append([]string{"registry", "get", app, "-o", "json"}, at[:2]...)...)
	var s registry.Snapshot
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || len(s.Instances) != 3 || len(s.Callable()) != 1 {
		t.Errorf("get -o json: %d, %v\n%s%s", code, err, out, errs)
	}

	code, out, errs = do(t, nil, append([]string{"registry", "list", "-o", "yaml"}, at...)...)
	if code != 0 || !strings.Contains(out, "name: inventory\n") {
		t.Errorf("list -o yaml: %d\n%s%s", code, out, errs)
	}

	code, out, errs = do(t, nil, append([]string{"registry", "get", "ledger"}, at...)...)
	if code != 1 || !strings.Contains(errs, "there is no application "+ns.Name+"/ledger in https://") {
		t.Errorf("get of what is not there: %d\n%s%s", code, out, errs)
	}

	explain := func(pod string, more ...string) (int, string, string) {
		return do(t, nil, append([]string{"explain", "instance", app + "/" + pod, "--kubeconfig", kube.Kubeconfig}, more...)...)
	}
	for pod, want := range map[string][]string{
		"inventory-a": {"inventory-a of " + app + " is called\n", "no, which keeps no calls away", "no document of revision r1 is stored"},
		"inventory-b": {"is not called: not ready\n", "NO, so it is not called", "kubectl describe pod inventory-b -n " + ns.Name},
		"inventory-c": {"is not called: its annotation " + annotation, "its metadata can be read"},
	} {
		code, out, errs := explain(pod)
		for _, text := range want {
			if code != 0 || !strings.Contains(out, text) {
				t.Errorf("explain %s: %d, %q is missing in\n%s%s", pod, code, text, out, errs)
			}
		}
	}
	code, out, errs = explain("inventory-z")
	if code != 1 || !strings.Contains(out, "inventory-z of "+app+" is not there") || !strings.Contains(out, "--show-labels") || !strings.Contains(errs, app+" has no instance inventory-z in https://") {
		t.Errorf("explain of what is not there: %d\n%s%s", code, out, errs)
	}
	code, out, errs = explain("inventory-b", "-o", "json")
	var told struct {
		Callable bool
		Explain  []registry.Finding
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil || code != 0 || told.Callable || len(told.Explain) < 10 {
		t.Errorf("explain -o json: %d, %v\n%s%s", code, err, out, errs)
	}

	code, out, errs = do(t, nil, "registry", "explain", app, "--kubeconfig", kube.Kubeconfig)
	for _, want := range []string{"inventory-a of " + app + " is called\n", "\n\ninventory-b of " + app + " is not called: not ready\n", "\n\ninventory-c of " + app + " is not called: "} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("explain of an application: %d, %q is missing in\n%s%s", code, want, out, errs)
		}
	}
	code, out, errs = do(t, nil, "registry", "explain", app, "--kubeconfig", kube.Kubeconfig, "-o", "json")
	var all []struct{ Callable bool }
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 3 {
		t.Errorf("explain of an application -o json: %d, %v\n%s%s", code, err, out, errs)
	}
	code, out, errs = do(t, nil, "registry", "explain", app+"/inventory-b", "--kubeconfig", kube.Kubeconfig)
	if code != 0 || !strings.HasPrefix(out, "inventory-b of "+app+" is not called: not ready\n") || strings.Contains(out, "inventory-a") {
		t.Errorf("registry explain of one: %d\n%s%s", code, out, errs)
	}

	code, out, errs = do(t, nil, "__complete", "registry", "get", "--kubeconfig", kube.Kubeconfig, "")
	if code != 0 || !strings.Contains(out, app+"\n") {
		t.Errorf("completion: %d\n%s%s", code, out, errs)
	}
}

// A policy for one consumer is seen by asking as that consumer; who does not is told
// that there is one.
func TestRegistryAnswersAsAConsumer(t *testing.T) {
	t.Parallel()
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ns.Service(t, "inventory", 20000)
	policies, err := dynamic.NewForConfig(kube.REST())
	if err != nil {
		t.Fatal(err)
	}
	_, err = policies.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "discoverypolicies"}).Namespace(ns.Name).
		Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": map[string]any{"name": "orders-moves"},
			"spec": map[string]any{"consumer": "orders", "provider": map[string]any{"name": "inventory"}, "mode": "service", "registry": "kubernetes"},
		}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	app, orders := ns.Name+"/inventory", ns.Name+"/orders"
	get := func(more ...string) string {
		t.Helper()
		code, out, errs := do(t, nil, append([]string{"registry", "get", app, "--kubeconfig", kube.Kubeconfig}, more...)...)
		if code != 0 {
			t.Fatalf("%d\n%s%s", code, out, errs)
		}
		return out
	}
	if out := get(); !strings.Contains(out, "mode pod\n") || !strings.Contains(out, "  "+orders+" by DiscoveryPolicy orders-moves\n") {
		t.Errorf("asked as nobody:\n%s", out)
	}
	if out := get("--consumer", orders); !strings.Contains(out, "mode service (DiscoveryPolicy "+ns.Name+"/orders-moves), beside ZooKeeper called by kubernetes") || strings.Contains(out, "of their own") {
		t.Errorf("asked as orders:\n%s", out)
	}
	if out := get("--consumer", ns.Name+"/cart"); !strings.Contains(out, "mode pod\n") {
		t.Errorf("asked as cart:\n%s", out)
	}
	if code, _, errs := do(t, nil, "registry", "get", app, "--consumer", "orders"); code != 2 || !strings.Contains(errs, "write it like shop/orders") {
		t.Errorf("without a namespace: %d %s", code, errs)
	}
}

func TestRegistryTellsWhatBecomesOfRevisions(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	at := []string{"--kubeconfig", kube.Kubeconfig, "-n", ns.Name}
	revisions := func(more ...string) (int, string, string) {
		return do(t, nil, append(append([]string{"registry", "revisions"}, at...), more...)...)
	}
	code, out, errs := revisions()
	if code != 0 || !strings.Contains(out, "no metadata of revisions is stored in namespace "+ns.Name+" of https://") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	ns.Pod(t, "inventory", "inventory-a", testkube.Pod{Annotations: metadata("20000")}) // runs r1
	client, err := dynamic.NewForConfig(kube.REST())
	if err != nil {
		t.Fatal(err)
	}
	stored := client.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "appmetadatas"}).Namespace(ns.Name)
	since := time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	for i, r := range []string{"r1", "r2", strings.Repeat("0123456789abcdef", 8)} {
		name := fmt.Sprintf("inventory-%016d", i)
		_, err := stored.Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "AppMetadata", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"app": "inventory", "revision": r, "size": int64(2048), "sha256": strings.Repeat("0", 64)},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if r == "r2" {
			status := fmt.Sprintf(`{"status":{"instances":0,"unusedSince":%q}}`, since.Format(time.RFC3339))
			if _, err := stored.Patch(testkube.Context(t), name, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
				t.Fatal(err)
			}
		}
	}
	code, out, errs = revisions()
	for _, want := range []string{
		"r1                  1      2.0 KiB", "stays: it is run", "0123456789abcdef…   0", "stays until a control plane has seen that no pod runs it",
		"unused since " + since.Format(time.DateTime) + ", deleted after " + since.Add(24*time.Hour).Format(time.DateTime),
	} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, %q is missing in\n%s%s", code, want, out, errs)
		}
	}
	code, out, errs = revisions("--unused", "--grace", "30m")
	if code != 0 || strings.Contains(out, "it is run") || !strings.Contains(out, "deleted when a control plane looks next") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	code, out, errs = revisions("-o", "json")
	var all []struct {
		App          registry.App
		Revision     string
		Instances    int
		DeletedAfter time.Time
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 3 {
		t.Fatalf("%d, %v\n%s%s", code, err, out, errs)
	}
	for _, r := range all {
		if due := r.DeletedAfter; due.IsZero() != (r.Revision != "r2") || !due.IsZero() && !due.Equal(since.Add(24*time.Hour)) || r.App.Name != "inventory" {
			t.Errorf("%+v", r)
		}
	}
	if code, _, errs := revisions("--grace", "-1h"); code != 2 || !strings.Contains(errs, "--grace -1h0m0s is negative") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestRegistryListTellsWhichClusterIsEmpty(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	code, out, errs := do(t, map[string]string{"KUBECONFIG": kube.Kubeconfig}, "registry", "list", "-n", ns.Name)
	if code != 0 || !strings.Contains(out, "no applications in namespace "+ns.Name+" of https://") || !strings.Contains(out, "$KUBECONFIG") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
}

func TestRegistryWatchOutlivesTheAPIServer(t *testing.T) {
	kube := testkube.StartOwn(t)
	ns := kube.Namespace(t)
	ns.Service(t, "inventory", 20000)
	ns.Pod(t, "inventory", "inventory-a", testkube.Pod{Annotations: metadata("20000"), NotReady: true})
	w := start(t, nil, "registry", "watch", "--kubeconfig", kube.Kubeconfig, "-n", ns.Name)
	w.says(t, "not called: not ready")
	ns.SetReady(t, "inventory-a", true)
	w.says(t, "~ inventory-a")
	w.says(t, "(1 of 1 callable)")

	// An application that comes later is followed too.
	ns.Service(t, "orders", 20001)
	w.says(t, ns.Name+"/orders")

	kube.Kill(t)
	w.says(t, "! stale since")
	select {
	case <-w.done:
		t.Fatal("watch ended with the API server")
	default:
	}
	kube.Restart(t)
	w.says(t, "! the API server answers again")
	ns.SetReady(t, "inventory-a", false)
	w.says(t, "kept: called though it is not ready, since 1 of 1 was lost at once  (1 of 1 callable)")
	ns.Remove(t, "inventory-a")
	w.says(t, "- inventory-a")

	w.cancel()
	w.wait(t)
	if w.code != 0 {
		t.Errorf("exit code %d after Ctrl-C: %s", w.code, w.errs)
	}
}

func TestRegistryWatchAsJSON(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ns.Service(t, "inventory", 20000)
	w := start(t, nil, "registry", "watch", ns.Name+"/inventory", "--kubeconfig", kube.Kubeconfig, "-o", "json")
	w.says(t, "callable")
	ns.Pod(t, "inventory", "inventory-a", testkube.Pod{Annotations: metadata("20000")})
	w.says(t, `"instance":"inventory-a"`)
	w.cancel()
	w.wait(t)
	for line := range strings.Lines(w.out.String()) {
		var c struct {
			App  registry.App
			Kind string
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil || c.Kind == "" || c.App.Name != "inventory" {
			t.Errorf("line %q: %v", line, err)
		}
	}
}

func TestRegistryOfAClusterThatIsAway(t *testing.T) {
	kube := testkube.Start(t)
	away := rewrite(t, kube.Kubeconfig, kube.REST().Host, "https://127.0.0.1:1")
	for _, args := range [][]string{{"list"}, {"get", "shop/inventory"}, {"watch"}, {"watch", "shop/inventory"}} {
		code, out, errs := do(t, nil, append(append([]string{"registry"}, args...), "--kubeconfig", away, "--timeout", "1s")...)
		if code != 1 || out != "" || !strings.Contains(errs, "https://127.0.0.1:1") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %d\n%s%s", args, code, out, errs)
		}
	}
}
