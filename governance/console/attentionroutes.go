package console

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

// routeOf is the route that a gateway counts a series for.
func (f *facts) routeOf(t *governance.Total) (gateway.Key, bool) {
	if t.At != governance.Caller || f.routes == nil || t.App != f.gateway {
		return gateway.Key{}, false
	}
	namespace, name, _ := strings.Cut(t.Command, "/")
	v, ok := f.routes.Get(gateway.Key{Namespace: namespace, Name: name})
	return v.Route.Key(), ok
}

// upstreamOf is the application that a route leads to; ok is false for a URL.
func upstreamOf(r *gateway.Route) (app registry.App, ok bool) {
	name := r.Upstream.App
	if d := r.Upstream.Dubbo; d != nil {
		name = d.App
	}
	if name == "" {
		return registry.App{}, false
	}
	app, err := registry.ParseApp(name, r.Namespace)
	return app, err == nil
}

func routeLink(key gateway.Key) string { return link([]string{"routes", key.Namespace, key.Name}) }

// routesQuarantined tells of routes that gateways cannot serve as written.
func (f *facts) routesQuarantined() (out []Attention) {
	type quarantine struct {
		gateways []string
		reason   string
		nothing  bool // is served in its place somewhere
	}
	routes := map[gateway.Key]*quarantine{}
	for _, n := range f.gateways {
		for _, q := range n.Quarantined {
			r := routes[q.Key]
			if r == nil {
				r = &quarantine{reason: q.Reason}
				routes[q.Key] = r
			}
			r.gateways = append(r.gateways, n.Name)
			r.nothing = r.nothing || q.Serving == 0
		}
	}
	for key, q := range routes {
		severity, instead := Warning, "they serve the last good version"
		if q.nothing {
			severity, instead = Critical, "nothing is served in its place"
		}
		out = append(out, Attention{
			Kind: KindQuarantined, Severity: severity, namespace: key.Namespace, Link: routeLink(key), Since: f.writtenAt(key),
			Params: map[string]string{"route": key.String(), "gateways": strconv.Itoa(len(q.gateways)), "of": strconv.Itoa(len(f.gateways)), "why": q.reason},
			Text: fmt.Sprintf("Route %s cannot be served as written by %d of %s, %s: %s.",
				key, len(q.gateways), count(len(f.gateways), "gateway"), instead, strings.TrimSuffix(q.reason, ".")),
		})
	}
	return out
}

// writtenAt is when a route was written last.
func (f *facts) writtenAt(key gateway.Key) time.Time {
	if f.routes == nil {
		return time.Time{}
	}
	v, _ := f.routes.Get(key)
	return v.Created
}

// upstreamsGone tells of routes that lead to nobody.
func (f *facts) upstreamsGone() (out []Attention) {
	if f.routes == nil || f.apps == nil {
		return nil
	}
	for _, v := range f.routes.Sorted() {
		app, ok := upstreamOf(&v.Route)
		if !ok || v.Route.Disabled || v.Unreadable != "" {
			continue
		}
		r, known := f.apps[app]
		if known && r.Callable > 0 || f.unsure[app] {
			continue
		}
		key := v.Route.Key()
		a := Attention{
			Kind: KindUpstreamUnknown, Severity: Warning, namespace: key.Namespace, Link: routeLink(key),
			Params: map[string]string{"route": key.String(), "app": app.String()},
			Text:   fmt.Sprintf("Route %s leads to application %s, which nobody knows.", key, app),
		}
		if known {
			a.Kind, a.Severity, a.of = KindUpstreamEmpty, Critical, app.Namespace
			a.Text = fmt.Sprintf("Route %s leads to application %s, none of whose instances can be called.", key, app)
		}
		out = append(out, a)
	}
	return out
}

// gatewaysBehind tells of gateways that serve older routes once they have had the
// time to take on newer ones, and of there being none.
func (f *facts) gatewaysBehind() (out []Attention) {
	if f.routes == nil {
		return nil
	}
	if len(f.gateways) == 0 && slices.ContainsFunc(f.routes.Sorted(), func(v gateway.Version) bool { return !v.Route.Disabled }) && f.heard {
		out = append(out, Attention{
			Kind: KindGatewayNone, Severity: Critical, Link: "/system", Params: map[string]string{},
			Text: "No gateway was heard of in the last 30 seconds, so nobody serves the routes.",
		})
	}
	for _, n := range f.gateways {
		if n.Revision >= f.routes.Revision {
			continue
		}
		since := f.routesChangedAfter(n.Revision)
		if f.time.Sub(since) < settleFor {
			continue
		}
		out = append(out, Attention{
			Kind: KindGatewayBehind, Severity: Warning, Link: "/system", Since: since,
			Params: map[string]string{"gateway": n.Name, "revision": strconv.FormatInt(int64(n.Revision), 10), "newest": strconv.FormatInt(int64(f.routes.Revision), 10)},
			Text:   fmt.Sprintf("Gateway %s serves revision %d of the routes, and the newest is %d.", n.Name, n.Revision, f.routes.Revision),
		})
	}
	return out
}

// routesChangedAfter is when the first of the routes was written after a revision,
// of those that were not written again; zero where that was too long ago to be
// known.
func (f *facts) routesChangedAfter(rev gateway.Revision) (at time.Time) {
	for _, v := range f.written { // the newest first
		if v.Revision <= rev {
			return at
		}
		at = v.Created
	}
	if len(f.written) < recent {
		return at
	}
	return time.Time{}
}
