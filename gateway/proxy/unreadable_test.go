package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
)

// TestARouteOfANewerProgramKeepsItsLastGoodForm: what this program does not know
// of a route may be what keeps strangers out, so it is not served in part.
func TestARouteOfANewerProgramKeepsItsLastGoodForm(t *testing.T) {
	s := &brokenSource{}
	s.put(version(t, "a", 0, gateway.Match{Path: "/a"}))
	follow(t, s, func(t *testing.T, p *Proxy) {
		newer := version(t, "a", 0, gateway.Match{Path: "/a"})
		newer.Route = gateway.Route{Namespace: newer.Route.Namespace, Name: newer.Route.Name}
		newer.Unreadable = "filters[0].onlyFriends: is no field"
		s.put(newer)
		settle(time.Second)
		if got := p.serves(t, "/a"); got != "a@1" {
			t.Errorf("%s is served", got)
		}
		q := s.last().Quarantined
		if len(q) != 1 || q[0].Serving != 1 || !strings.Contains(q[0].Reason, "onlyFriends") || !strings.Contains(q[0].Reason, "upgrade") {
			t.Errorf("quarantined: %+v", q)
		}
	})
}
