package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/registry"
)

// Bounds of the window over which calls of routes are counted.
const (
	minWindow = 10 * time.Second
	maxWindow = time.Hour
)

// RouteStatusList is how routes are.
type RouteStatusList struct {
	Now      time.Time     `json:"now" doc:"When this was found out."`
	Items    []RouteStatus `json:"items" nullable:"false" doc:"By namespace and name."`
	Gateways int           `json:"gateways" doc:"How many were heard of in the last 30 seconds."`
	// Unknown is what could not be found out.
	Unknown []SystemUnknown `json:"unknown,omitempty" nullable:"false" doc:"What could not be found out, and why; it is told as it was last known, or left out."`
}

// RouteStatus is how one route is: what gateways counted of it, where it leads,
// and who serves it.
type RouteStatus struct {
	Route          string                   `json:"route" doc:"namespace/name"`
	Rate           *float64                 `json:"rate,omitempty" doc:"Requests per second, those refused included; missing, as all numbers, while it is not known."`
	ErrorPercent   *float64                 `json:"errorPercent,omitempty" doc:"Of the requests that ran."`
	RefusedPercent *float64                 `json:"refusedPercent,omitempty" doc:"Of all requests."`
	P50            *float64                 `json:"p50Ms,omitempty" doc:"Milliseconds; missing where nothing ran."`
	P99            *float64                 `json:"p99Ms,omitempty"`
	States         map[governance.State]int `json:"states" nullable:"false" doc:"How many gateways have the route's circuit in each state."`
	Upstreams      []RouteUpstream          `json:"upstreams" nullable:"false" doc:"Applications that it leads to; none for a URL."`
	Gateways       int                      `json:"gateways" doc:"How many were heard of in the last 30 seconds."`
	Serving        int                      `json:"serving" doc:"How many of them serve its newest version."`
	Quarantined    []RouteQuarantine        `json:"quarantined" nullable:"false" doc:"Gateways that cannot serve it as written."`
}

// RouteUpstream is an application that a route leads to.
type RouteUpstream struct {
	App       string          `json:"app" doc:"namespace/name"`
	Known     *bool           `json:"known,omitempty" doc:"Whether there is such an application; missing while that is not known."`
	Instances int             `json:"instances"`
	Callable  int             `json:"callable" doc:"Those that get new calls."`
	Held      []registry.Held `json:"held" nullable:"false" doc:"Why the others do not."`
	Stale     time.Time       `json:"stale,omitzero" doc:"Since when the registry is out of touch."`
	Hidden    bool            `json:"hidden,omitempty" doc:"Its namespace is none that the caller may see: of it only known is told."`
}

// RouteQuarantine is why a gateway does not serve a route as written.
type RouteQuarantine struct {
	Gateway string           `json:"gateway"`
	Reason  string           `json:"reason"`
	Serving gateway.Revision `json:"serving,omitempty" doc:"The revision that is served in its place; missing for none."`
}

type routeStatusIn struct {
	Window httpapi.Duration `query:"window" doc:"Over which calls are counted, 10s to 1h; 60s when left out."`
}

type routeStatusOut struct{ Body RouteStatusList }

func (o *observer) registerRouteStatus(a *httpapi.API) {
	httpapi.Register(a, httpapi.Op[routeStatusIn]{
		Operation: huma.Operation{
			OperationID: "list-route-status", Method: http.MethodGet, Path: "/api/v1/route-status", Tags: []string{"routes"},
			Summary:     "Read how routes are: their calls, their upstreams, and who serves them",
			Description: "Of the namespaces that the caller may see. An answer is at most two seconds old.",
		},
		Role: access.Viewer, Scoped: true,
	}, o.routeStatus)
}

func (o *observer) routeStatus(ctx context.Context, in *routeStatusIn) (*routeStatusOut, error) {
	window := cmp.Or(in.Window.Duration, overviewWindow).Truncate(time.Second)
	if window < minWindow || window > maxWindow {
		return nil, httpapi.BadRequest("query.window", fmt.Sprintf("it takes %s to %s", minWindow, maxWindow))
	}
	// Side by side, so that one deadline holds for all of the answer.
	var n *numbers
	var uncounted error
	var counting sync.WaitGroup
	if window != overviewWindow {
		counting.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, o.longest())
			defer cancel()
			n, uncounted = within(ctx, func(ctx context.Context) (*numbers, error) { return o.count(ctx, window) })
		})
	}
	f, err := o.read(ctx)
	counting.Wait()
	if err != nil {
		return nil, err
	}
	if f.routes == nil {
		return nil, &gateway.Error{Code: gateway.Unavailable, Message: "the routes are not known yet: " + f.why("routes"), Fix: "try again"}
	}
	out := &routeStatusOut{Body: RouteStatusList{Now: f.time, Items: []RouteStatus{}, Gateways: len(f.gateways), Unknown: slices.Clone(f.unknown)}}
	switch unknown := &out.Body.Unknown; {
	case window == overviewWindow:
		n = f.numbers
	case errors.Is(uncounted, errNoAnswer):
		*unknown = append(*unknown, SystemUnknown{What: "numbers of calls of the window", Why: noAnswer(o.deps.Patience)})
	case uncounted != nil:
		*unknown = append(*unknown, SystemUnknown{What: "numbers of calls of the window", Why: httpapi.Text(uncounted)})
	case n.cut:
		*unknown = append(*unknown, SystemUnknown{What: "all numbers of calls of the window", Why: tooMany})
	}
	loads := f.routeLoads(n)
	for _, v := range f.routes.Sorted() {
		if httpapi.Sees(ctx, v.Route.Namespace) {
			out.Body.Items = append(out.Body.Items, f.routeItem(ctx, &v, n, loads[v.Route.Key()]))
		}
	}
	return out, nil
}

// why says why something could not be found out.
func (f *facts) why(what string) string {
	for _, u := range f.unknown {
		if u.What == what {
			return u.Why
		}
	}
	return "nobody was asked"
}

// routeLoads adds up what gateways counted of each route.
func (f *facts) routeLoads(n *numbers) map[gateway.Key]*load {
	out := map[gateway.Key]*load{}
	if n == nil {
		return out
	}
	for i := range n.totals {
		t := &n.totals[i]
		key, ok := f.routeOf(t)
		if !ok {
			continue
		}
		if out[key] == nil {
			out[key] = &load{}
		}
		out[key].add(t)
	}
	return out
}

func (f *facts) routeItem(ctx context.Context, v *gateway.Version, n *numbers, l *load) RouteStatus {
	key := v.Route.Key()
	out := RouteStatus{
		Route: key.String(), States: map[governance.State]int{}, Upstreams: []RouteUpstream{}, Gateways: len(f.gateways), Quarantined: []RouteQuarantine{},
	}
	if n != nil {
		if l == nil {
			l = &load{}
		}
		rate, failed, refused := l.counts.Rate(n.over), l.counts.ErrorPercent(), l.counts.RefusedPercent()
		out.Rate, out.ErrorPercent, out.RefusedPercent, out.P50, out.P99 = &rate, &failed, &refused, l.quantile(0.5), l.quantile(0.99)
		if l.states != nil {
			out.States = l.states
		}
	}
	if app, ok := upstreamOf(&v.Route); ok {
		out.Upstreams = append(out.Upstreams, f.upstream(ctx, app))
	}
	for _, g := range f.gateways {
		at := slices.IndexFunc(g.Quarantined, func(q gateway.Quarantine) bool { return q.Key == key })
		if at >= 0 {
			q := g.Quarantined[at]
			out.Quarantined = append(out.Quarantined, RouteQuarantine{Gateway: g.Name, Reason: q.Reason, Serving: q.Serving})
		} else if g.Revision >= v.Revision {
			out.Serving++
		}
	}
	return out
}

// upstream tells of an application what the caller may know: a route may lead out
// of the namespaces that they see.
func (f *facts) upstream(ctx context.Context, app registry.App) RouteUpstream {
	u := RouteUpstream{App: app.String(), Held: []registry.Held{}, Hidden: !httpapi.Sees(ctx, app.Namespace)}
	if f.apps == nil || f.unsure[app] {
		return u
	}
	r, known := f.apps[app]
	u.Known = &known
	if u.Hidden {
		return u
	}
	u.Instances, u.Callable, u.Stale = r.Instances, r.Callable, r.stale
	if r.Held != nil {
		u.Held = r.Held
	}
	return u
}
