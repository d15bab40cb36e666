package role

import (
	"fmt"
	"strings"
)

// mostNamespaces is how many namespaces a note names: it stands in a table.
const mostNamespaces = 10

// upkeepNotes are what an operator should know of the care for the cluster's objects.
func (c *Control) upkeepNotes() []string {
	if c.caretaker == nil {
		return nil
	}
	var notes []string
	for _, p := range c.caretaker.Problems() {
		switch n := len(p.Namespaces); {
		case n == 0:
			notes = append(notes, fmt.Sprintf("cannot keep Weir's objects in order, since it cannot %s: %s", p.Task, p.Reason))
		case n <= mostNamespaces:
			notes = append(notes, fmt.Sprintf("cannot keep Weir's objects in order in %s, since it cannot %s: %s", strings.Join(p.Namespaces, ", "), p.Task, p.Reason))
		default:
			notes = append(notes, fmt.Sprintf("cannot keep Weir's objects in order in %s and %d more namespaces, since it cannot %s: %s",
				strings.Join(p.Namespaces[:mostNamespaces], ", "), n-mostNamespaces, p.Task, p.Reason))
		}
	}
	return notes
}
