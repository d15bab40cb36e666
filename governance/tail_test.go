package governance_test

import (
	"math/rand/v2"
	"testing"

	"github.com/weirmesh/weir/governance"
)

// TestSeenIsASet holds sets against maps, over random additions.
func TestSeenIsASet(t *testing.T) {
	t.Parallel()
	const ids = 60
	check := func(what string, s governance.Seen, want map[int64]bool) {
		t.Helper()
		for id := int64(1); id <= ids+5; id++ {
			if s.Has(id) != want[id] {
				t.Fatalf("%s: %s has %d: %v", what, s, id, s.Has(id))
			}
		}
		again, err := governance.ParseSeen(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%s: %s is read as %s, %v", what, s, again, err)
		}
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		fill := func() (governance.Seen, map[int64]bool) {
			var s governance.Seen
			in := map[int64]bool{}
			for range r.IntN(ids) {
				id := 1 + r.Int64N(ids)
				s.Add(id)
				in[id] = true
				check("added", s, in)
			}
			return s, in
		}
		a, inA := fill()
		b, inB := fill()
		both := map[int64]bool{}
		for id := range inA {
			both[id] = true
		}
		for id := range inB {
			both[id] = true
		}
		check("union", a.Union(b), both)
		check("union", b.Union(a), both)
		check("left alone", a, inA)
		upTo := r.Int64N(ids)
		c := a.Clone()
		c.GiveUp(upTo)
		check("left alone", a, inA)
		for id := int64(1); id <= upTo; id++ {
			inA[id] = true
		}
		check("given up", c, inA)
	}
}

func TestWhatIsNoSeenIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", "-1", "5~", "5~7", "5~5", "5~3-2", "9~3.2", "9~1-3.4", "9~1-2-3", "9~a"} {
		if s, err := governance.ParseSeen(text); governance.CodeOf(err) != governance.Invalid {
			t.Errorf("%q is read as %s, %v", text, s, err)
		}
	}
}
