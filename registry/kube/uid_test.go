package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/registry"
)

// UIDs that are UUIDs are kept otherwise than others, and addresses have none. All
// come out as they went in, in the order of their texts.
func TestInstancesAreInTheOrderOfTheirIDs(t *testing.T) {
	h := quietHub(Config{})
	now := time.Now()
	s := bigSlice(0, 20)
	for i, text := range []string{"u1", "0f3c2b1a-7e5d-4c6b-9a8f-00000000000X", "0F3C2B1A-7E5D-4C6B-9A8F-000000000003", "zebra", "00000000-0000-0000-0000-000000000000"} {
		s.Endpoints[3*i].TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: fmt.Sprint("odd-", i), UID: types.UID(text)}
	}
	s.Endpoints[1].TargetRef = nil
	want := make([]string, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if e.TargetRef == nil {
			want = append(want, "address:"+e.Addresses[0])
		} else {
			want = append(want, string(e.TargetRef.UID))
		}
	}
	slices.Sort(want)
	h.feed(s, false, now)
	a := h.spaceOf("").apps[inventory]
	ids := func(s registry.Snapshot) (all []string) {
		for i := range s.Instances {
			all = append(all, s.Instances[i].ID)
		}
		return all
	}
	first := join(a, registry.ModePod, now)
	if got := ids(first); !slices.Equal(got, want) {
		t.Fatalf("ids\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// The next snapshot has the same texts, and not as many of its own.
	a.snapshot = &first
	s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Addresses[0] == "10.0.0.2" })
	h.feed(s, false, now)
	second := join(a, registry.ModePod, now)
	if len(second.Instances) != len(first.Instances)-1 {
		t.Fatalf("%d instances, want one less than %d", len(second.Instances), len(first.Instances))
	}
	for i := range second.Instances {
		id := second.Instances[i].ID
		if at := slices.Index(want, id); at < 0 || !strings.HasPrefix(id, "address:") && unsafe.StringData(id) != unsafe.StringData(first.Instances[at].ID) {
			t.Errorf("%q is a text of its own", id)
		}
	}
}
