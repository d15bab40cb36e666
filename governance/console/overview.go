package console

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/registry"
)

// overviewWindow is over which the overview counts.
const overviewWindow = time.Minute

// mostAttention is how many things one answer tells.
const mostAttention = 200

// Overview is how everything is, in short.
type Overview struct {
	Now       time.Time   `json:"now" doc:"When this was found out."`
	Attention []Attention `json:"attention" nullable:"false" doc:"What somebody should look at, the worst first."`
	// More is how many things are left out of Attention.
	More    int            `json:"more,omitempty" doc:"How many more there are than are told, none of them worse."`
	Changes []Change       `json:"changes" nullable:"false" doc:"What was changed of late, the newest first."`
	Totals  OverviewTotals `json:"totals"`
}

// OverviewTotals are sums over what the caller may see.
type OverviewTotals struct {
	Apps           int      `json:"apps" doc:"Applications that have live instances under governance."`
	Registered     int      `json:"registered" doc:"Applications that the registry knows, those of Kubernetes and of Weir among them."`
	Instances      int      `json:"instances" doc:"Live instances under governance."`
	Rate           *float64 `json:"rate,omitempty" doc:"Calls per second that applications served in the last minute, those refused included; missing while it is not known, as are the next two."`
	ErrorPercent   *float64 `json:"errorPercent,omitempty" doc:"Of the calls that ran."`
	OpenCircuits   *int     `json:"openCircuits,omitempty" doc:"Circuits of instances that are open or half open."`
	PulledSwitches int      `json:"pulledSwitches"`
	Routes         int      `json:"routes" doc:"Those that are not disabled."`
	Gateways       int      `json:"gateways" doc:"That were heard of in the last 30 seconds."`
}

type overviewOut struct{ Body Overview }

func (o *observer) registerOverview(a *httpapi.API) {
	httpapi.Register(a, httpapi.Op[struct{}]{
		Operation: huma.Operation{
			OperationID: "get-overview", Method: http.MethodGet, Path: "/api/v1/overview", Tags: []string{"system"},
			Summary:     "Read what needs attention, what was changed of late, and sums",
			Description: "Of the namespaces that the caller may see. An answer is at most two seconds old. What cannot be asked is told as it was last known, and that it is not known stands among what needs attention.",
		},
		Role: access.Viewer, Scoped: true,
	}, func(ctx context.Context, _ *struct{}) (*overviewOut, error) {
		f, err := o.read(ctx)
		if err != nil {
			return nil, err
		}
		return &overviewOut{Body: f.tell(ctx)}, nil
	})
}

// tell writes what was found for the one who asks.
func (f *facts) tell(ctx context.Context) Overview {
	out := Overview{Now: f.time, Attention: []Attention{}, Changes: f.changes(ctx), Totals: f.totals(ctx)}
	for _, a := range f.ailments {
		if a.Kind == KindDatabase {
			since := a.Since
			a = databaseAttention(f.system.database.errorFor(ctx))
			a.Since = since
		}
		switch {
		case a.namespace != "" && !httpapi.Sees(ctx, a.namespace), a.of != "" && !httpapi.Sees(ctx, a.of):
		case len(out.Attention) < mostAttention:
			out.Attention = append(out.Attention, a)
		default:
			out.More++
		}
	}
	return out
}

func (f *facts) totals(ctx context.Context) OverviewTotals {
	out := OverviewTotals{Gateways: len(f.gateways)}
	apps := map[registry.App]bool{}
	for app := range f.apps {
		if httpapi.Sees(ctx, app.Namespace) {
			out.Registered++
		}
	}
	for _, i := range f.instances {
		if httpapi.Sees(ctx, i.App.Namespace) {
			out.Instances++
			apps[registry.App{Namespace: i.App.Namespace, Name: i.App.Name}] = true
		}
	}
	out.Apps = len(apps)
	for _, v := range f.switches {
		if httpapi.Sees(ctx, v.Policy.Namespace) {
			out.PulledSwitches++
		}
	}
	if f.routes != nil {
		for _, v := range f.routes.Sorted() {
			if !v.Route.Disabled && httpapi.Sees(ctx, v.Route.Namespace) {
				out.Routes++
			}
		}
	}
	if f.numbers != nil {
		served, open := load{}, 0
		for i := range f.numbers.totals {
			t := &f.numbers.totals[i]
			if !httpapi.Sees(ctx, t.App.Namespace) {
				continue
			}
			if t.At == governance.Provider {
				served.add(t)
			}
			open += t.States[governance.StateOpen] + t.States[governance.StateHalfOpen]
		}
		rate, failed := served.counts.Rate(f.numbers.over), served.counts.ErrorPercent()
		out.Rate, out.ErrorPercent, out.OpenCircuits = &rate, &failed, &open
	}
	return out
}
