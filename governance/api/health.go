package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
)

// AppHealth is how one application is. Its own numbers are of the calls it serves;
// one that only calls others, such as a gateway, has those of the calls it makes.
type AppHealth struct {
	App  governance.App `json:"app"`
	Side string         `json:"side" enum:"provider,caller,both,unseen" doc:"What it counts calls as. The numbers are of calls it serves, if it serves any; unseen is one that only others call."`
	// Live, Behind and Refusing count instances: those that live, those of them that
	// do not enforce what they should, and those that said they cannot.
	Live     int `json:"live"`
	Behind   int `json:"behind"`
	Refusing int `json:"refusing"`
	Rates
	Latencies
	InFlight int       `json:"inFlight" doc:"Calls under way in the newest second that is told of; of a range that is rolled up, the most in any second of its last span."`
	Commands int       `json:"commands"`
	Open     int       `json:"open" doc:"Circuits of its instances that are open or half open, on either side."`
	Forced   int       `json:"forced" doc:"Circuits of its instances that are held open."`
	Lossy    bool      `json:"lossy,omitempty" doc:"A source knows its counts to be incomplete."`
	Seen     time.Time `json:"seen,omitzero" doc:"When it counted something last, to within a minute."`
}

// Sides of an application.
const (
	sideBoth   = "both"
	sideUnseen = "unseen"
)

type healthIn struct {
	Window httpapi.Duration `query:"window" doc:"How far back, from 10s to 1h; 60s, if left out."`
}

// Health is how applications are now.
type Health struct {
	Now    time.Time           `json:"now"`
	Window governance.Duration `json:"window" doc:"What was looked at: a little more than was asked for, since history is kept in spans."`
	Items  []AppHealth         `json:"items" nullable:"false"`
	Cut    bool                `json:"cut,omitempty" doc:"There is more than one question reads: not everything is counted."`
}

type healthOut struct{ Body Health }

// Windows of health.
const (
	defaultWindow = time.Minute
	minWindow     = 10 * time.Second
	maxWindow     = time.Hour
	// reportLag is how long what was counted in a second is on its way: what is
	// newer is not complete, and would make every rate too small.
	reportLag = 2 * time.Second
)

func (a *API) registerHealth(h *httpapi.API) {
	tags := []string{"history"}
	httpapi.Register(h, httpapi.Op[healthIn]{
		Operation: huma.Operation{OperationID: "get-health", Method: http.MethodGet, Path: "/api/v1/health", Tags: tags, Summary: "See how all applications are now"},
		Role:      access.Viewer, Scoped: true,
	}, a.health)
	a.registerTotals(h)
}

func (a *API) health(ctx context.Context, in *healthIn) (*healthOut, error) {
	window := in.Window.Duration
	if window == 0 {
		window = defaultWindow
	}
	if window < minWindow || window > maxWindow {
		return nil, httpapi.BadRequest("query.window", fmt.Sprintf("%s is not from %s to %s", window, minWindow, maxWindow))
	}
	if n := a.live.health(a.cfg.Now()); n != nil && window == defaultWindow {
		items := seen(ctx, slices.Clone(n.items))
		return &healthOut{Body: Health{Now: n.at.UTC(), Window: governance.Duration(window), Items: items}}, nil
	}
	to := a.cfg.Now().Truncate(time.Second).Add(-reportLag)
	q := governance.TotalsQuery{From: to.Add(-window).Truncate(10 * time.Second), To: a.cfg.Now(), Until: to, Namespaces: namespaces(ctx)}
	all, err := a.store.Totals(ctx, q)
	if err != nil {
		return nil, err
	}
	fleet, err := a.fleetHealth(ctx)
	if err != nil {
		return nil, err
	}
	over := to.Sub(q.From)
	out := &healthOut{Body: Health{Now: a.cfg.Now().UTC(), Window: governance.Duration(over), Items: seen(ctx, healthOf(all.Items, fleet, over, newestOf(all.Items, q))), Cut: all.Cut}}
	return out, nil
}

// namespaces are those that the one who acts is bound to; nil for none.
func namespaces(ctx context.Context) []string {
	if p, ok := access.From(ctx); ok && len(p.Namespaces) > 0 {
		return p.Namespaces
	}
	return nil
}

// seen leaves out what the one who acts may not see.
func seen(ctx context.Context, items []AppHealth) []AppHealth {
	return slices.DeleteFunc(items, func(i AppHealth) bool { return !httpapi.Sees(ctx, i.App.Namespace) })
}

// standing is how many instances of an application live, and how they are.
type standing struct{ live, behind, refusing int }

func (a *API) fleetHealth(ctx context.Context) (map[governance.App]standing, error) {
	all, err := a.store.Instances(ctx, governance.App{})
	if err != nil {
		return nil, err
	}
	return a.standings(all), nil
}

// standings counts instances. While nobody can tell what they should enforce, none
// is behind.
func (a *API) standings(all []governance.Instance) map[governance.App]standing {
	out := map[governance.App]standing{}
	for _, i := range all {
		s := out[i.App]
		s.live++
		if i.Applied != nil && i.Applied.Refused != nil {
			s.refusing++
		}
		out[i.App] = s
	}
	behind, _ := a.Behind(all)
	for _, i := range behind {
		s := out[i.App]
		s.behind++
		out[i.App] = s
	}
	return out
}

// newestOf returns the second, in Unix time, in which calls count as under way: the
// last that is whole, or the last there is of a range that is over.
func newestOf(all []governance.Total, q governance.TotalsQuery) int64 {
	if !q.Until.IsZero() {
		return newestSecond(q.Until)
	}
	var newest time.Time
	for _, t := range all {
		newest = later(newest, t.Last)
	}
	return newest.Unix()
}

// newestSecond is the last before an end.
func newestSecond(end time.Time) int64 { return end.Unix() - 1 }

// healthOf joins what applications counted with how their instances are. Calls are
// under way in the newest second: maxima of different ones do not add up.
func healthOf(all []governance.Total, fleet map[governance.App]standing, over time.Duration, newest int64) []AppHealth {
	sides := map[governance.App]*[2]sum{}
	at := func(app governance.App) *[2]sum {
		if sides[app] == nil {
			sides[app] = &[2]sum{}
		}
		return sides[app]
	}
	for _, t := range all {
		s := &at(t.App)[sideOf(t.At)]
		s.add(t)
		if t.Last.Unix() == newest {
			s.inFlight += t.LastInFlight
		}
	}
	for app := range fleet {
		at(app)
	}
	out := make([]AppHealth, 0, len(sides))
	for app, s := range sides {
		own, side := chooseSide(s[0].series > 0, s[1].series > 0)
		o := &s[own]
		h := AppHealth{
			App: app, Side: side, Rates: ratesOf(o.counts, over), Latencies: latenciesOf(&o.latency), InFlight: o.inFlight, Commands: o.series,
			Lossy: o.lossy, Seen: later(s[0].last, s[1].last),
		}
		h.stand(fleet[app])
		for i := range s {
			open, forced := broken(s[i].states)
			h.Open, h.Forced = h.Open+open, h.Forced+forced
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(x, y AppHealth) int { return x.App.Compare(y.App) })
	return out
}

func (h *AppHealth) stand(s standing) { h.Live, h.Behind, h.Refusing = s.live, s.behind, s.refusing }

func sideOf(at governance.At) int {
	if at == governance.Caller {
		return 1
	}
	return 0
}

// chooseSide says which side's numbers are an application's own, and what it is.
func chooseSide(provides, calls bool) (own int, side string) {
	switch {
	case provides && calls:
		return 0, sideBoth
	case calls:
		return 1, string(governance.Caller)
	}
	return 0, string(governance.Provider)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
