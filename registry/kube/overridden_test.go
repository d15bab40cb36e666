package kube

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

// A status that is written says the same at each look, in whatever order the
// policies come: it would be written again and again, and told to every consumer.
func TestTheSamePolicyComesFirstInAnyOrder(t *testing.T) {
	t.Parallel()
	named := func(name, mode string) *discoveryPolicy {
		return &discoveryPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: policySpec{Consumer: "orders", Mode: mode}}
	}
	a, b, c := named("a", "pod"), named("b", "pod"), named("c", "service")
	l := &landscape{covered: func(string) bool { return true }, served: func(registry.App) bool { return true }}
	now := time.Unix(1e9, 0)
	for _, order := range [][]*discoveryPolicy{{a, b, c}, {c, b, a}, {b, a, c}} {
		if by := overridden(c, order); by["mode"] != "a" {
			t.Errorf("of %v, %v comes first", names(order), by)
		}
		first := policyStatusOf(c, order, l, now)
		slices.Reverse(order)
		if again := policyStatusOf(c, order, l, now); !first.same(&again) {
			t.Errorf("%+v, and the other way round %+v", first, again)
		}
	}
	if by := overridden(a, []*discoveryPolicy{c, b, a}); len(by) > 0 {
		t.Errorf("the first one is preceded: %v", by)
	}
}

// A control plane that does not look after a provider's namespace leaves the count of
// one that does.
func TestControlPlanesOfDifferentNamespacesLeaveEachOthersCount(t *testing.T) {
	t.Parallel()
	p := &discoveryPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "shop"},
		Spec:       policySpec{Mode: "pod", Provider: &policyProvider{Namespace: "elsewhere", Name: "inventory"}},
	}
	now := time.Unix(1e9, 0)
	wide := &landscape{covered: func(string) bool { return true }, served: func(registry.App) bool { return true }}
	narrow := &landscape{covered: func(namespace string) bool { return namespace == "shop" }, served: func(registry.App) bool { return false }}
	p.Status = policyStatusOf(p, nil, wide, now)
	if p.Status.Apps != 1 {
		t.Fatalf("%+v", p.Status)
	}
	if s := policyStatusOf(p, nil, narrow, now.Add(time.Hour)); !s.same(&p.Status) {
		t.Errorf("%+v becomes %+v", p.Status, s)
	}
}

func names(list []*discoveryPolicy) (out []string) {
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}
