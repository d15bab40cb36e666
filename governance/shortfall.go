package governance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Shortfall gathers why an instance does not enforce policies in full, by what set the
// field in question. What nothing set is left out.
type Shortfall map[Source][]string

// maxReasons bounds the reasons that are told of one policy.
const maxReasons = 4

// Add notes a reason, once.
func (s Shortfall) Add(by Source, reason string) {
	if by != (Source{}) && !slices.Contains(s[by], reason) {
		s[by] = append(s[by], reason)
	}
}

// List says it policy by policy, sorted.
func (s Shortfall) List() []Unmet {
	var out []Unmet
	for by, reasons := range s {
		reasons, more := slices.Sorted(slices.Values(reasons)), ""
		if n := len(reasons) - maxReasons; n > 0 {
			reasons, more = reasons[:maxReasons], fmt.Sprintf("; and %d more", n)
		}
		out = append(out, Unmet{Policy: by.Policy, Version: by.Version, Reason: strings.Join(reasons, "; ") + more + ". The rest of the policy holds"})
	}
	slices.SortFunc(out, func(a, b Unmet) int {
		return cmp.Or(strings.Compare(a.Policy, b.Policy), cmp.Compare(a.Version, b.Version))
	})
	return out
}
