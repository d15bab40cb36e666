// Package api is the REST API of routes: reading and writing them with
// preconditions, rehearsing a change, explaining a request, and telling what
// every gateway serves. Routes are read as strictly as from files, and all that
// is wrong with a request is said at once.
package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/routetable"
)

// Options are what the API works with beside the store.
type Options struct {
	// Explainer matches sample requests; without one they cannot be explained.
	Explainer gateway.Explainer
	// Checker looks at what routes point to; nil for no such check.
	Checker gateway.Checker
}

// MaxApply bounds the body of a change to many routes, in bytes.
const MaxApply = 16 << 20

// Pages of a list.
const (
	defaultPage = 1000
	maxPage     = 10_000
)

type server struct {
	store gateway.Store
	opts  Options
	table *routetable.Table
}

// Register adds the operations to an API.
func Register(a *httpapi.API, store gateway.Store, o Options) {
	s := &server{store: store, opts: o, table: routetable.New(store)}
	s.registerReads(a)
	s.registerWrites(a)
	s.registerRollback(a)
	describe(a.Huma().OpenAPI().Components.Schemas)
}

const tag = "routes"

func op(id, method, path, summary, description string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{tag}}
}

func (s *server) registerReads(a *httpapi.API) {
	httpapi.Register(a, httpapi.Op[listIn]{
		Operation: op("list-routes", http.MethodGet, "/api/v1/routes", "List routes",
			"The newest version of every route that lives, sorted by namespace and name, a page at a time. Without a namespace, those of all namespaces that the caller may see."),
		Role: access.Viewer, Scoped: true,
	}, s.list)
	httpapi.Register(a, httpapi.Op[getIn]{
		Operation: op("get-route", http.MethodGet, "/api/v1/routes/{namespace}/{name}", "Read a route",
			"The newest version of a route. Its ETag is for If-Match on a write."),
		Role: access.Viewer, Namespace: func(in *getIn) string { return in.Namespace },
	}, s.get)
	httpapi.Register(a, httpapi.Op[historyIn]{
		Operation: op("list-route-history", http.MethodGet, "/api/v1/routes/{namespace}/{name}/history", "List the versions of a route",
			"Every version with who wrote it and why, the newest first. Deletions are versions too, and a deleted route keeps its history."),
		Role: access.Viewer, Namespace: func(in *historyIn) string { return in.Namespace },
	}, s.history)
	httpapi.Register(a, httpapi.Op[struct{}]{
		Operation: op("list-gateways", http.MethodGet, "/api/v1/gateways", "List the gateways and what they serve",
			"Every gateway that was heard of in the last 30 seconds, with the revision it serves and the routes it cannot serve as written."),
		Role: access.Viewer, Scoped: true,
	}, s.gateways)
	if s.opts.Explainer != nil {
		httpapi.Register(a, httpapi.Op[explainIn]{
			Operation: withBody(op("explain-route", http.MethodPost, "/api/v1/routes:explain", "Explain a request",
				"Says which route would take a request, with its variables and where it would go, and why the others would not. Nothing is sent."), exampleSample),
			Role: access.Viewer, Scoped: true,
		}, s.explain)
	}
	httpapi.Register(a, httpapi.Op[planIn]{
		Operation: withBody(op("plan-routes", http.MethodPost, "/api/v1/routes:plan", "Rehearse a change",
			"Takes what routes:apply takes and says what would become of it: the difference for each route, expectations that do not hold, doubts, and routes that would never match. Nothing is written, so no reason is needed; ?dryRun=true does the same on the writes themselves."), exampleApply),
		Role: access.Viewer, Scoped: true,
	}, s.plan)
}

// RoutePath names a route in a path.
type RoutePath struct {
	Namespace string `path:"namespace" example:"shop"`
	Name      string `path:"name" example:"cart"`
}

func (p RoutePath) key() gateway.Key { return gateway.Key{Namespace: p.Namespace, Name: p.Name} }

type listIn struct {
	Namespace string `query:"namespace" doc:"Only this namespace." example:"shop"`
	Limit     int    `query:"limit" minimum:"1" maximum:"10000" doc:"How many at most; 1000 when not given."`
	After     string `query:"after" doc:"Go on after this route, as next of the page before said it."`
}

// List is a page of routes.
type List struct {
	Items    []gateway.Version `json:"items" nullable:"false" doc:"Sorted by namespace and name."`
	Revision gateway.Revision  `json:"revision" doc:"Of the whole table."`
	Next     string            `json:"next,omitempty" doc:"What to give as after for the next page; missing on the last."`
}

type listOut struct{ Body List }

func (s *server) list(ctx context.Context, in *listIn) (*listOut, error) {
	if in.Namespace != "" {
		if err := access.Require(ctx, access.Viewer, in.Namespace); err != nil {
			return nil, err
		}
	}
	all, rev, err := s.store.List(ctx, in.Namespace)
	if err != nil {
		return nil, err
	}
	limit := min(cmp.Or(in.Limit, defaultPage), maxPage)
	out := &listOut{Body: List{Items: []gateway.Version{}, Revision: rev}}
	for _, v := range all {
		key := v.Route.Key().String()
		if !httpapi.Sees(ctx, v.Route.Namespace) || in.After != "" && compareKeys(key, in.After) <= 0 {
			continue
		}
		if len(out.Body.Items) == limit {
			out.Body.Next = out.Body.Items[limit-1].Route.Key().String()
			break
		}
		out.Body.Items = append(out.Body.Items, v)
	}
	return out, nil
}

type getIn struct {
	RoutePath
	httpapi.Unmodified
}

type getOut struct {
	ETag string `header:"ETag"`
	Body gateway.Version
}

func (s *server) get(ctx context.Context, in *getIn) (*getOut, error) {
	v, err := s.store.Get(ctx, in.key())
	if err != nil {
		return nil, err
	}
	etag := httpapi.ETag(int64(v.Revision))
	if err := in.Check(etag); err != nil {
		return nil, err
	}
	return &getOut{ETag: etag, Body: v}, nil
}

type historyIn struct {
	RoutePath
	Limit    int              `query:"limit" minimum:"1" maximum:"1000" doc:"How many at most; 100 when not given."`
	Revision gateway.Revision `query:"revision" minimum:"1" doc:"Only the version that this revision wrote; 404 where it wrote none."`
}

// History are the versions of one route.
type History struct {
	Items []gateway.Version `json:"items" nullable:"false" doc:"The newest first, each with its whole document."`
}

type historyOut struct{ Body History }

func (s *server) history(ctx context.Context, in *historyIn) (*historyOut, error) {
	if in.Revision > 0 {
		v, err := s.store.Version(ctx, in.key(), in.Revision)
		if err != nil {
			return nil, err
		}
		return &historyOut{Body: History{Items: []gateway.Version{v}}}, nil
	}
	versions, err := s.store.History(ctx, in.key(), in.Limit)
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, &gateway.Error{Code: gateway.NotFound, Message: "there never was a route " + in.key().String()}
	}
	return &historyOut{Body: History{Items: versions}}, nil
}

// Gateways is what every gateway serves.
type Gateways struct {
	Items    []Gateway        `json:"items" nullable:"false"`
	Revision gateway.Revision `json:"revision" doc:"Of the table that they should all serve."`
}

// Gateway is one of them.
type Gateway struct {
	gateway.Node
	// Current says that it serves what it was asked for.
	Current bool `json:"current" doc:"Whether it serves the newest revision, or the one just written."`
}

type gatewaysOut struct{ Body Gateways }

func (s *server) gateways(ctx context.Context, _ *struct{}) (*gatewaysOut, error) {
	nodes, err := s.store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	state, err := s.table.Read(ctx)
	if err != nil {
		return nil, err
	}
	return &gatewaysOut{Body: Gateways{Items: states(ctx, nodes, state.Revision), Revision: state.Revision}}, nil
}

// states tells what nodes serve, without routes that the caller may not see.
func states(ctx context.Context, nodes []gateway.Node, rev gateway.Revision) []Gateway {
	out := make([]Gateway, 0, len(nodes))
	for _, n := range nodes {
		n.Quarantined = slices.DeleteFunc(slices.Clone(n.Quarantined), func(q gateway.Quarantine) bool {
			return !httpapi.Sees(ctx, q.Key.Namespace)
		})
		out = append(out, Gateway{Node: n, Current: n.Revision >= rev})
	}
	return out
}

type explainIn struct{ Body sampleBody }

type explainOut struct{ Body gateway.Explanation }

func (s *server) explain(ctx context.Context, in *explainIn) (*explainOut, error) {
	sample, err := read[gateway.Sample](in.Body.raw)
	if err != nil {
		return nil, err
	}
	state, err := s.table.Read(ctx)
	if err != nil {
		return nil, err
	}
	e, err := s.opts.Explainer.Explain(ctx, state.Sorted(), sample)
	if err != nil {
		return nil, err
	}
	// Of other people's routes, that there is one is all that is told.
	if w := e.Winner; w != nil && !httpapi.Sees(ctx, w.Key.Namespace) {
		e.Winner = &gateway.Candidate{Key: w.Key, Revision: w.Revision, Why: w.Why}
	}
	e.Losers = slices.DeleteFunc(e.Losers, func(c gateway.Candidate) bool { return !httpapi.Sees(ctx, c.Key.Namespace) })
	return &explainOut{Body: e}, nil
}
