package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/weirmesh/weir/registry"
)

// Explanation is why an instance is called or not.
type Explanation struct {
	App      registry.App       `json:"app"`
	Instance string             `json:"instance"`
	ID       string             `json:"id,omitempty"` // of one that is there
	Callable bool               `json:"callable"`
	Why      string             `json:"why,omitempty"`
	Explain  []registry.Finding `json:"explain"`
}

// WriteExplanation writes an explanation, the outcome first.
func WriteExplanation(w io.Writer, e Explanation) error {
	var b strings.Builder
	outcome := "is called"
	switch {
	case e.ID == "":
		outcome = "is not there"
	case !e.Callable:
		outcome = "is not called: " + e.Why
	case hasEffect(e.Explain, registry.EffectDubbo):
		outcome = "is called over HTTP; Dubbo consumers leave it out"
	}
	fmt.Fprintf(&b, "%s of %s %s\n\n", e.Instance, e.App, outcome)
	rows := make([]Row, 0, len(e.Explain))
	for _, f := range e.Explain {
		rows = append(rows, Row{string(f.Check), holds(f), dash(f.Detail)})
	}
	if err := WriteTable(&b, Row{"CHECK", "HOLDS", "SAYS"}, rows); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// holds says whether a check does, and what follows where it does not.
func holds(f registry.Finding) string {
	switch f.Effect {
	case registry.EffectHeld:
		return "NO, so it is not called"
	case registry.EffectDubbo:
		return "no, so Dubbo leaves it out"
	case registry.EffectNone:
		return "no, which keeps no calls away"
	}
	return yes(f.OK)
}

func hasEffect(found []registry.Finding, e registry.Effect) bool {
	for _, f := range found {
		if f.Effect == e {
			return true
		}
	}
	return false
}
