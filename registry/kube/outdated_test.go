package kube_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// redefine changes the definition of DiscoveryPolicies in the cluster.
func (o objects) redefine(change func(version map[string]any)) {
	o.t.Helper()
	all := o.client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	testkube.Eventually(o.t, "the definition to be written", func() error {
		crd, err := all.Get(testkube.Context(o.t), "discoverypolicies.registry.weirmesh.io", metav1.GetOptions{})
		if err != nil {
			return err
		}
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		change(versions[0].(map[string]any))
		if err := unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"); err != nil {
			return err
		}
		_, err = all.Update(testkube.Context(o.t), crd, metav1.UpdateOptions{})
		return err
	})
}

// A cluster may have the definitions of an older version. What they lack is told once,
// with what to do; the rest is written, nothing is tried without end, and all is well
// once they are installed anew.
func TestOlderDefinitionsAreToldOf(t *testing.T) {
	t.Parallel()
	c := testkube.StartOwn(t) // no other test has its definitions changed
	n := c.Namespace(t)
	o := objectsOf(t, n)
	o.redefine(func(v map[string]any) { delete(v, "subresources") })
	var log safeBuffer
	var looks lookingClock
	var tries atomic.Int64
	as := through(t, controller(t, n), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/discoverypolicies/") {
			tries.Add(1)
		}
		return false
	})
	caretaker, _ := tendAll(t, []string{n.Name}, as, kube.CaretakerConfig{Now: looks.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	problem := func(want string) {
		t.Helper()
		testkube.Eventually(t, "the problem", func() error {
			p := caretaker.Problems()
			if want == "" && len(p) == 0 {
				return nil
			}
			if len(p) != 1 || want == "" || !strings.Contains(p[0].Reason, want) || !strings.Contains(p[0].Reason, "weir manifests | kubectl apply --server-side -f -") || len(p[0].Namespaces) > 0 {
				return fmt.Errorf("they are %+v, want %q", p, want)
			}
			return nil
		})
	}
	o.policy("a", map[string]any{"mode": "pod"})
	o.policy("b", map[string]any{"mode": "pod", "registry": "both"})
	problem("the definition of discoverypolicies.registry.weirmesh.io in the cluster has no status subresource: it is older than this version of Weir")
	// The others are written all the same.
	hub := openHub(t, stranger(n, c.REST()))
	if err := hub.MapInterface(testkube.Context(t), registry.Interface{Name: "org.example.A"}, registry.App{Namespace: n.Name, Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	list, err := o.of("interfacemappings").List(testkube.Context(t), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	o.says("interfacemappings", list.Items[0].GetName(), "Resolved", "False ServiceMissing: no Service in namespace "+n.Name+" bears the name gone: nobody is called there")
	before, seen := tries.Load(), looks.looks.Load()
	looks.look(t, 60)
	if n, of := tries.Load()-before, looks.looks.Load()-seen; n > of/2 {
		t.Errorf("it was tried %d times in %d looks", n, of)
	}

	o.redefine(func(v map[string]any) { v["subresources"] = map[string]any{"status": map[string]any{}} })
	whole := "it is for all calls from and to namespace " + n.Name
	o.says("discoverypolicies", "a", "Accepted", "True Accepted: "+whole)
	problem("")

	// A field that is not known yet is left out.
	overridden := func() map[string]any {
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}
	}
	field := func(change func(map[string]any)) {
		o.redefine(func(v map[string]any) {
			status, _, _ := unstructured.NestedMap(v, "schema", "openAPIV3Schema", "properties", "status", "properties")
			change(status)
			if err := unstructured.SetNestedMap(v, status, "schema", "openAPIV3Schema", "properties", "status", "properties"); err != nil {
				t.Fatal(err)
			}
		})
	}
	field(func(status map[string]any) { delete(status, "overridden") })
	o.policy("c", map[string]any{"mode": "pod", "registry": "both", "protection": map[string]any{"percent": int64(30)}})
	problem("the definition of discoverypolicies.registry.weirmesh.io in the cluster does not know .status.overridden: it is older than this version of Weir")
	o.says("discoverypolicies", "c", "Accepted", "True PartlyOverridden: "+whole+
		", and gives protection; the rest does not count, since another for the same consumer and provider comes first by its name: DiscoveryPolicy a gives mode, DiscoveryPolicy b gives registry")
	looks.look(t, 60)
	problem("does not know .status.overridden")
	field(func(status map[string]any) { status["overridden"] = overridden() })
	testkube.Eventually(t, "the whole status", func() error {
		got, err := o.of("discoverypolicies").Get(testkube.Context(t), "c", metav1.GetOptions{})
		if err != nil {
			return err
		}
		by, _, _ := unstructured.NestedStringMap(got.Object, "status", "overridden")
		if want := map[string]string{"mode": "a", "registry": "b"}; !maps.Equal(by, want) {
			return fmt.Errorf("it says %v, want %v", by, want)
		}
		return nil
	})
	problem("")
	var told []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "level=WARN") {
			told = append(told, line)
		}
	}
	if len(told) != 2 || !slices.ContainsFunc(told, func(line string) bool { return strings.Contains(line, "namespaces=*") }) {
		t.Errorf("two things were to be told of, once each:\n%s", strings.Join(told, ""))
	}
}
