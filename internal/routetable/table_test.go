package routetable_test

import (
	"slices"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/memory"
	"github.com/weirmesh/weir/internal/routetable"
)

// source is a store that another can take the place of.
type source struct{ *memory.Store }

func (s *source) put(t *testing.T, names ...string) {
	t.Helper()
	var writes []gateway.Write
	for _, name := range names {
		writes = append(writes, gateway.Write{Expect: gateway.AnyRevision, Route: gateway.Route{
			Namespace: "shop", Name: name, Match: gateway.Match{Path: "/" + name}, Upstream: gateway.Upstream{URL: "http://127.0.0.1:1"},
		}})
	}
	if _, err := s.Apply(t.Context(), writes, gateway.Change{Actor: "test", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
}

func TestTheTableFollowsItsSource(t *testing.T) {
	t.Parallel()
	s := &source{memory.New(memory.Options{})}
	table := routetable.New(s)
	read := func(want ...string) *routetable.View {
		t.Helper()
		v, err := table.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range v.Sorted() {
			names = append(names, r.Route.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("got %v, want %v", names, want)
		}
		return v
	}
	read()
	s.put(t, "b", "a")
	first := read("a", "b")
	if again := read("a", "b"); again != first {
		t.Error("what has not changed is made anew")
	}
	if v, ok := first.Get(gateway.Key{Namespace: "shop", Name: "b"}); !ok || v.Revision != 1 {
		t.Errorf("%+v", v)
	}
	s.put(t, "c")
	read("a", "b", "c")
	if len(first.Sorted()) != 2 {
		t.Error("a view that was handed out has changed")
	}

	// Another database takes the place of this one, at the same revision.
	s.Store = memory.New(memory.Options{})
	s.put(t, "x")
	s.put(t, "y")
	read("x", "y")
}
