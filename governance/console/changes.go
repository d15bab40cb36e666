package console

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/httpapi"
)

// Change is one thing that somebody changed of late.
type Change struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind" enum:"policy.written,policy.deleted,switch.pulled,switch.released,route.written,route.deleted"`
	Actor  string    `json:"actor,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Object string    `json:"object" doc:"What was changed, such as route shop/cart."`
	Text   string    `json:"text" doc:"A few words in English."`
	Link   string    `json:"link" doc:"Where in the console to look at it."`
}

// mostChanges is how many one answer tells.
const mostChanges = 50

// changes are the last ones that the caller may see, the newest first. Routes that
// were written together are one change; of each route the last one counts.
func (f *facts) changes(ctx context.Context) []Change {
	out := []Change{}
	for i := range f.versions {
		if v := &f.versions[i]; httpapi.Sees(ctx, v.Policy.Namespace) && len(out) < mostChanges {
			out = append(out, policyChange(v))
		}
	}
	var seen []gateway.Version
	for _, v := range f.written {
		if httpapi.Sees(ctx, v.Route.Namespace) {
			seen = append(seen, v)
		}
	}
	routes := 0
	for len(seen) > 0 && routes < mostChanges {
		first := seen[0]
		n := 1
		for n < len(seen) && seen[n].Revision == first.Revision && seen[n].Deleted == first.Deleted {
			n++
		}
		out = append(out, routeChange(&first, n))
		seen = seen[n:]
		routes++
	}
	slices.SortStableFunc(out, func(a, b Change) int { return cmp.Compare(b.Time.UnixNano(), a.Time.UnixNano()) })
	return out[:min(len(out), mostChanges)]
}

func policyChange(v *governance.Version) Change {
	key := v.Policy.Key()
	c := Change{Time: v.Created, Actor: v.Actor, Reason: v.Reason}
	if v.Policy.Kind == governance.KindSwitch {
		c.Kind, c.Object, c.Link = "switch.pulled", "switch "+key.String(), "/switches"
		c.Text = c.Object + " pulled"
		if v.Deleted {
			c.Kind, c.Text = "switch.released", c.Object+" released"
		}
		return c
	}
	c.Kind, c.Object = "policy.written", "policy "+key.String()
	c.Link = link([]string{"policies", key.Namespace, key.Name})
	c.Text = fmt.Sprintf("%s written, version %d", c.Object, v.Version)
	if v.Deleted {
		c.Kind, c.Text = "policy.deleted", c.Object+" deleted"
	}
	return c
}

// routeChange tells of n routes that were written together, of which v is one.
func routeChange(v *gateway.Version, n int) Change {
	c := Change{Time: v.Created, Kind: "route.written", Actor: v.Actor, Reason: v.Reason, Object: "route " + v.Route.Key().String(), Link: routeLink(v.Route.Key())}
	if n > 1 {
		c.Object, c.Link = fmt.Sprintf("%d routes", n), "/routes"
	}
	if c.Text = fmt.Sprintf("%s written, revision %d", c.Object, v.Revision); v.Deleted {
		c.Kind, c.Text = "route.deleted", c.Object+" deleted"
	}
	return c
}
