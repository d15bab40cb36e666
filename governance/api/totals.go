package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
)

// CommandTotal is what one series of an application counted over a range.
type CommandTotal struct {
	governance.Series
	Instance string            `json:"instance,omitempty" doc:"Where each instance is told by itself."`
	Calls    int64             `json:"calls" doc:"Those that were refused included."`
	Counts   governance.Counts `json:"counts"`
	Rates
	Latencies
	InFlight  int                      `json:"inFlight" doc:"The most calls under way in any second."`
	Instances int                      `json:"instances"`
	States    map[governance.State]int `json:"states" nullable:"false" doc:"Instances by the last state their circuit was in."`
	Last      time.Time                `json:"last,omitzero" doc:"When it was called last, to within a minute; left out for a circuit that is known by its state alone."`
	Lossy     bool                     `json:"lossy,omitempty"`
}

// Edge is one application calling another, as the caller counts it.
type Edge struct {
	From  governance.App `json:"from"`
	To    governance.App `json:"to"`
	Calls int64          `json:"calls"`
	Rates
	Latencies
	States   map[governance.State]int `json:"states" nullable:"false" doc:"The caller's circuits by the last state they were in."`
	Commands int                      `json:"commands"`
}

type commandTotalsIn struct {
	AppKey
	httpapi.Range
	ByInstance bool `query:"byInstance" doc:"Tell each instance by itself."`
}

type (
	commandTotalsOut struct {
		Body struct {
			From  time.Time      `json:"from"`
			To    time.Time      `json:"to"`
			Items []CommandTotal `json:"items" nullable:"false"`
			Cut   bool           `json:"cut,omitempty" doc:"There is more than one question reads: not everything is counted."`
		}
	}
	rangeIn  struct{ httpapi.Range }
	edgesOut struct {
		Body struct {
			From  time.Time `json:"from"`
			To    time.Time `json:"to"`
			Items []Edge    `json:"items" nullable:"false"`
			Cut   bool      `json:"cut,omitempty" doc:"There is more than one question reads: not everything is counted."`
		}
	}
	topologyOut struct {
		Body struct {
			From  time.Time   `json:"from"`
			To    time.Time   `json:"to"`
			Nodes []AppHealth `json:"nodes" nullable:"false"`
			Edges []Edge      `json:"edges" nullable:"false"`
			Cut   bool        `json:"cut,omitempty" doc:"There is more than one question reads: not everything is counted."`
		}
	}
)

func (a *API) registerTotals(h *httpapi.API) {
	tags := []string{"history"}
	const rounded = "The range is rounded outwards to what is kept: seconds, ten seconds or minutes."
	httpapi.Register(h, httpapi.Op[commandTotalsIn]{
		Operation: huma.Operation{
			OperationID: "get-command-totals", Method: http.MethodGet, Path: "/api/v1/apps/{namespace}/{name}/commands", Tags: tags,
			Summary: "Read what each command of an application counted over a range", Description: rounded,
		},
		Role: access.Viewer, Namespace: func(in *commandTotalsIn) string { return in.Namespace },
	}, a.commandTotals)
	httpapi.Register(h, httpapi.Op[rangeIn]{
		Operation: huma.Operation{
			OperationID: "list-edges", Method: http.MethodGet, Path: "/api/v1/edges", Tags: tags,
			Summary: "List which application calls which, and how that goes", Description: "Those whose caller you may see. " + rounded,
		},
		Role: access.Viewer, Scoped: true,
	}, a.edges)
	httpapi.Register(h, httpapi.Op[rangeIn]{
		Operation: huma.Operation{
			OperationID: "get-topology", Method: http.MethodGet, Path: "/api/v1/topology", Tags: tags,
			Summary: "Read applications and who calls whom", Description: "Applications that only others tell of are there too, as unseen. " + rounded,
		},
		Role: access.Viewer, Scoped: true,
	}, a.topology)
}

// totals reads totals and how much time they are of, up to now at most.
func (a *API) totals(ctx context.Context, r httpapi.Range, q governance.TotalsQuery) (all governance.Totals, asked governance.TotalsQuery, over time.Duration, err error) {
	now := a.cfg.Now()
	if q.From, q.To, err = r.Times(now); err != nil {
		return all, q, 0, err
	}
	if q, err = q.WithDefaults(now); err != nil {
		return all, q, 0, err
	}
	end := q.To
	if lag := now.Truncate(time.Second).Add(-reportLag); end.After(lag) && lag.After(q.From) {
		end, q.Until = lag, lag
	}
	all, err = a.store.Totals(ctx, q)
	return all, q, end.Sub(q.From), err
}

func (a *API) commandTotals(ctx context.Context, in *commandTotalsIn) (*commandTotalsOut, error) {
	all, q, over, err := a.totals(ctx, in.Range, governance.TotalsQuery{App: in.app(), ByInstance: in.ByInstance})
	if err != nil {
		return nil, err
	}
	out := &commandTotalsOut{}
	out.Body.From, out.Body.To, out.Body.Items, out.Body.Cut = q.From, q.To, make([]CommandTotal, len(all.Items)), all.Cut
	for i, t := range all.Items {
		var latency sketch.Sketch
		damaged := len(t.Latency) > 0 && latency.UnmarshalBinary(t.Latency) != nil
		out.Body.Items[i] = CommandTotal{
			Series: t.Series, Instance: t.Instance, Calls: t.Counts.Ran() + t.Counts.Refused(), Counts: t.Counts,
			Rates: ratesOf(t.Counts, over), Latencies: latenciesOf(&latency), InFlight: t.InFlight, Instances: t.Instances,
			States: t.States, Last: t.Last, Lossy: t.Lossy || damaged,
		}
	}
	return out, nil
}

func (a *API) edges(ctx context.Context, in *rangeIn) (*edgesOut, error) {
	all, q, over, err := a.totals(ctx, in.Range, governance.TotalsQuery{Namespaces: namespaces(ctx)})
	if err != nil {
		return nil, err
	}
	out := &edgesOut{}
	out.Body.From, out.Body.To, out.Body.Items, out.Body.Cut = q.From, q.To, edgesOf(ctx, all.Items, over), all.Cut
	return out, nil
}

// edgesOf returns what callers counted, by whom they called.
func edgesOf(ctx context.Context, all []governance.Total, over time.Duration) []Edge {
	type pair struct{ from, to governance.App }
	sums := map[pair]*sum{}
	for _, t := range all {
		if t.At != governance.Caller || t.Peer == (governance.App{}) || !httpapi.Sees(ctx, t.App.Namespace) {
			continue
		}
		k := pair{t.App, t.Peer}
		if sums[k] == nil {
			sums[k] = &sum{}
		}
		sums[k].add(t)
	}
	out := make([]Edge, 0, len(sums))
	for k, s := range sums {
		states := s.states
		if states == nil {
			states = map[governance.State]int{}
		}
		out = append(out, Edge{
			From: k.from, To: k.to, Calls: s.counts.Calls(), Rates: ratesOf(s.counts, over), Latencies: latenciesOf(&s.latency),
			States: states, Commands: s.series,
		})
	}
	slices.SortFunc(out, func(x, y Edge) int { return cmp.Or(x.From.Compare(y.From), x.To.Compare(y.To)) })
	return out
}

func (a *API) topology(ctx context.Context, in *rangeIn) (*topologyOut, error) {
	all, q, over, err := a.totals(ctx, in.Range, governance.TotalsQuery{Namespaces: namespaces(ctx)})
	if err != nil {
		return nil, err
	}
	var fleet map[governance.App]standing
	if q.Current(a.cfg.Now()) { // who lives now says nothing of a range that is over
		if fleet, err = a.fleetHealth(ctx); err != nil {
			return nil, err
		}
	}
	out := &topologyOut{}
	out.Body.From, out.Body.To, out.Body.Cut = q.From, q.To, all.Cut
	out.Body.Nodes, out.Body.Edges = seen(ctx, healthOf(all.Items, fleet, over, newestOf(all.Items, q))), edgesOf(ctx, all.Items, over)
	known := map[governance.App]bool{}
	for _, n := range out.Body.Nodes {
		known[n.App] = true
	}
	for _, e := range out.Body.Edges {
		for _, app := range []governance.App{e.From, e.To} {
			if !known[app] {
				known[app] = true
				out.Body.Nodes = append(out.Body.Nodes, AppHealth{App: app, Side: sideUnseen})
			}
		}
	}
	slices.SortFunc(out.Body.Nodes, func(x, y AppHealth) int { return x.App.Compare(y.App) })
	return out, nil
}
