package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/test/mesh"
)

// orderService is what load calls, over Triple.
const orderService = "org.example.shop.OrderService"

// callMode sets how an application asks to be called; "" takes that back.
func (s *shop) callMode(app, mode string) {
	s.t.Helper()
	value := "null"
	if mode != "" {
		value = fmt.Sprintf("%q", mode)
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"weirmesh.io/call-mode":%s}}}`, value)
	if _, err := s.client.CoreV1().Services(namespace).Patch(s.t.Context(), app, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// policies are what says how applications are called, for one consumer or all.
var policies = schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "discoverypolicies"}

// byService has a consumer call an application by its Service, until the policy that
// says so goes by what is returned.
func (s *shop) byService(consumer, provider string) (goes func()) {
	s.t.Helper()
	at := theMesh.Resources(s.t).Resource(policies).Namespace(namespace)
	name := consumer + "-by-service"
	_, err := at.Create(s.t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"consumer": consumer, "provider": map[string]any{"name": provider}, "mode": "service"},
	}}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := at.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			s.t.Error(err)
		}
	}
}

// calls waits until all that a pod calls of an interface is at one host, by any
// spelling of it.
func (s *shop) calls(pod corev1.Pod, iface string, at func(address string) bool, what string) {
	s.t.Helper()
	mesh.Eventually(s.t, pod.Name+" calls "+what, func() error {
		st, err := s.read(pod)
		if err != nil {
			return err
		}
		list := st.Providers[iface]
		if lost := list.lost(); len(lost) != 0 {
			return mesh.Fatal(fmt.Errorf("its list of %s was empty at %v", iface, lost))
		}
		if len(list.Current) == 0 || slices.ContainsFunc(list.Current, func(a string) bool { return !at(strings.ToLower(a)) }) {
			return fmt.Errorf("its list is %v", list.Current)
		}
		return nil
	})
}

// Consumers go over to the Service and back as their providers ask for it by an
// annotation, or a policy does of themselves, by a real kube-proxy, over both protocols; they reach the pods that come, let go of
// those that end, and lose no call.
func TestServiceModeIsChosenLiveAndLosesNoCall(t *testing.T) {
	s := openShop(t)
	load, orders := s.one("load"), s.one("orders")
	before := s.placed(load, 20)
	defer s.callMode("inventory", "") // also when the test is given up
	s.callMode("inventory", "service")
	policyGoes := s.byService("load", "orders")
	defer policyGoes()
	byName := func(app string) func(string) bool {
		return func(a string) bool { return strings.HasPrefix(a, app+".shop.svc:") }
	}
	s.calls(orders, inventory, byName("inventory"), "inventory by its Service")
	s.calls(load, orderService, byName("orders"), "orders by its Service")
	s.unharmed(load, before)

	s.scale("inventory", 4)
	pods, err := s.pods("inventory")
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]int64{}
	for _, p := range pods {
		served[p.Name] = s.stats(p).Served.OK
	}
	// kube-proxy chooses at random: one consumer's sixteen connections lead to most.
	mesh.Eventually(t, "most pods of inventory are called", func() error {
		called := 0
		for _, p := range pods {
			if st, err := s.read(p); err == nil && st.Served.OK > served[p.Name] {
				called++
			}
		}
		if called < 3 {
			return fmt.Errorf("%d of %d", called, len(pods))
		}
		return nil
	})
	s.restart("inventory")
	s.restart("orders")
	s.scale("inventory", 2)
	s.unharmed(load, before)

	s.callMode("inventory", "")
	policyGoes()
	orders = s.one("orders")
	s.calls(load, orderService, func(a string) bool { return strings.HasPrefix(a, orders.Status.PodIP+":") }, "the pod of orders")
	s.follows()
	s.unharmed(load, before)
}
