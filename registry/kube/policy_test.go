package kube_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
)

func TestPoliciesAreLive(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	cfg := stranger(n, n.Cluster.REST())
	cfg.App = "orders"
	w := watch(t, openHub(t, cfg), registry.App{Namespace: n.Name, Name: "inventory"})
	mode := func(want registry.Mode) func(registry.Snapshot) bool {
		return func(s registry.Snapshot) bool { return s.Mode == want }
	}
	w.await("the default", mode(registry.ModePod))
	client, err := dynamic.NewForConfig(n.Cluster.REST())
	if err != nil {
		t.Fatal(err)
	}
	policies := client.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "discoverypolicies"}).Namespace(n.Name)
	_, err = policies.Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy",
		"metadata": map[string]any{"name": "orders"},
		"spec":     map[string]any{"consumer": "orders", "mode": "service"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.await("the policy's mode", mode(registry.ModeService))
	// What is to be called first is asked for as well; a policy that says nothing of the
	// mode leaves that to others.
	_, err = policies.Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy",
		"metadata": map[string]any{"name": "aa-first-by-name"},
		"spec":     map[string]any{"consumer": "orders", "prefer": map[string]any{"zonePercent": int64(0), "clusters": []any{"west"}, "returnSeconds": int64(5)}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.await("the preference", func(s registry.Snapshot) bool {
		p := s.Prefer
		return p != nil && p.ZonePercent != nil && *p.ZonePercent == 0 && p.ClusterPercent == nil && len(p.Clusters) == 1 && p.ReturnAfter == 5*time.Second &&
			strings.HasSuffix(p.From, "aa-first-by-name") && s.Mode == registry.ModeService
	})
	if err := policies.Delete(testkube.Context(t), "aa-first-by-name", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = policies.Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy",
		"metadata": map[string]any{"name": "ab-leaves-zookeeper"},
		"spec":     map[string]any{"provider": map[string]any{"name": "inventory"}, "registry": "kubernetes"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.await("the registry", func(s registry.Snapshot) bool {
		return s.Choice == registry.ChooseKubernetes && strings.HasSuffix(s.ChoiceFrom, "ab-leaves-zookeeper") && s.Mode == registry.ModeService
	})
	if err := policies.Delete(testkube.Context(t), "ab-leaves-zookeeper", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await("no registry", func(s registry.Snapshot) bool { return s.Choice == "" && s.ChoiceFrom == "" })
	w.await("no preference", func(s registry.Snapshot) bool { return s.Prefer == nil })
	if err := policies.Delete(testkube.Context(t), "orders", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await("the default again", mode(registry.ModePod))
}
