//go:build linux

package kubernetes

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// slice has the addresses that are ready, and those that are not, by "-".
func slice(name string, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range addresses {
		ready := a[0] != '-'
		if !ready {
			a = a[1:]
		}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}})
	}
	return s
}

func TestReadinessIsThatOfAllSlices(t *testing.T) {
	r := newReadiness()
	r.take(slice("a", "1", "2", "-3"), false, 0)
	r.take(slice("b", "4"), false, 0)
	for _, step := range []struct {
		slice *discoveryv1.EndpointSlice
		gone  bool
		at    int64
		told  map[string]int64
	}{
		{slice("a", "1", "-2", "-3"), false, 1, map[string]int64{"2": 1}},
		{slice("a", "1", "-2", "3"), false, 2, map[string]int64{"2": 1}}, // one more is nobody's end
		{slice("b", "1", "4"), false, 3, map[string]int64{"2": 1}},
		{slice("a", "3"), false, 4, map[string]int64{"2": 1}}, // 1 has moved
		{slice("b"), true, 5, map[string]int64{"2": 1, "1": 5, "4": 5}},
		{slice("a", "2", "3"), false, 6, map[string]int64{"1": 5, "4": 5}}, // who is back has not gone
	} {
		if r.take(step.slice, step.gone, step.at); !maps.Equal(r.told, step.told) {
			t.Errorf("after %s: told %v, want %v", step.slice.Name, r.told, step.told)
		}
	}
}

func TestAPodEndsWhenItWasFirstSeenTo(t *testing.T) {
	r := newReadiness()
	p := &corev1.Pod{Status: corev1.PodStatus{PodIP: "1"}}
	if r.end(p, 1); len(r.ending) != 0 {
		t.Error("a pod that lives has ended")
	}
	p.DeletionTimestamp = &metav1.Time{}
	r.end(p, 2)
	if r.end(p, 3); r.ending["1"] != 2 {
		t.Errorf("it ended at %d", r.ending["1"])
	}
	if first(5, 0) != 5 || first(5, 2) != 2 || first(5, 7) != 5 {
		t.Error("the first of two moments is another")
	}
}
