package governance_test

import (
	"slices"
	"testing"

	"github.com/weirmesh/weir/governance"
)

func TestReasonsAreToldPolicyByPolicy(t *testing.T) {
	t.Parallel()
	a1, a2, b := governance.Source{Policy: "shop/a", Version: 1}, governance.Source{Policy: "shop/a", Version: 2}, governance.Source{Policy: "shop/b", Version: 1}
	s := governance.Shortfall{}
	for _, reason := range []string{"6", "5", "4", "3", "2", "1", "1"} {
		s.Add(b, reason)
	}
	s.Add(a2, "not this")
	s.Add(a1, "nor that")
	s.Add(governance.Source{}, "nobody's wish")
	want := []governance.Unmet{
		{Policy: "shop/a", Version: 1, Reason: "nor that. The rest of the policy holds"},
		{Policy: "shop/a", Version: 2, Reason: "not this. The rest of the policy holds"},
		{Policy: "shop/b", Version: 1, Reason: "1; 2; 3; 4; and 2 more. The rest of the policy holds"},
	}
	for range 2 { // asking changes nothing
		if got := s.List(); !slices.Equal(got, want) {
			t.Errorf("it is %+v", got)
		}
	}
}
