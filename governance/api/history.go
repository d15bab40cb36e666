package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
)

// AppKey names an application in an address. It is embedded in inputs.
type AppKey struct {
	Namespace string `path:"namespace" maxLength:"253"`
	Name      string `path:"name" maxLength:"253"`
}

func (k *AppKey) app() governance.App { return governance.App{Namespace: k.Namespace, Name: k.Name} }

// AppSummary is one application in a list.
type AppSummary struct {
	App governance.App `json:"app"`
	// Live counts instances that hold a stream, or reported lately; Behind those
	// of them that do not enforce what they should.
	Live   int `json:"live"`
	Behind int `json:"behind"`
}

// AppDetail is one application.
type AppDetail struct {
	AppSummary
	Instances []AppInstance `json:"instances"`
	// Commands are its series of the range that was asked for.
	Commands []governance.Series `json:"commands"`
	Policies []PolicyAnswer      `json:"policies"` // about it
}

// AppInstance is one instance with what it should enforce.
type AppInstance struct {
	governance.Instance
	Wanted  int64 `json:"wanted"` // the version of the whole
	Current bool  `json:"current"`
}

// Explanation is what holds for one circuit, and by which policies.
type Explanation struct {
	Rules   governance.Rules             `json:"rules"`
	Sources map[string]governance.Source `json:"sources"` // by field
	Until   time.Time                    `json:"until,omitzero"`
	// Considered are all policies about the application, with what became of each.
	Considered []Considered `json:"considered"`
	Note       string       `json:"note,omitempty"`
}

// Considered is one policy's part in an explanation.
type Considered struct {
	Policy  string `json:"policy"`
	Version int64  `json:"version"`
	Verdict string `json:"verdict"` // in words
}

type seriesIn struct {
	AppKey
	httpapi.Range
	Command  string           `query:"command" required:"true" doc:"One of the application's commands."`
	At       string           `query:"at" enum:"provider,caller" default:"provider"`
	Peer     string           `query:"peer" doc:"At the caller: the application that serves the command, as namespace/name."`
	Instance string           `query:"instance" doc:"Only of this instance; all of them merged, if left out."`
	Step     httpapi.Duration `query:"step" doc:"Distance of points, such as 10s; chosen for at most 600 points, if left out."`
}

type seriesOut struct{ Body governance.SeriesResult }

type eventsIn struct {
	httpapi.Range
	App      string   `query:"app" doc:"Only of this application, as namespace/name."`
	Instance string   `query:"instance"`
	Command  string   `query:"command"`
	Kind     []string `query:"kind" doc:"Only of these kinds, separated by commas."`
	Limit    int      `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
}

type eventsOut struct {
	Body struct {
		Items []governance.Event `json:"items"`
	}
}

type explainIn struct {
	AppKey
	Command string `query:"command" required:"true"`
	At      string `query:"at" enum:"provider,caller" default:"provider"`
	From    string `query:"from" doc:"At the caller: the application that calls, as namespace/name."`
}

type (
	appsIn struct{ httpapi.Range }
	appIn  struct {
		AppKey
		httpapi.Range
	}
	appsOut struct {
		Body struct {
			Items []AppSummary `json:"items"`
		}
	}
	appOut     struct{ Body AppDetail }
	explainOut struct{ Body Explanation }
)

func (a *API) registerHistory(h *httpapi.API) {
	const app = "/api/v1/apps/{namespace}/{name}"
	tags := []string{"history"}
	httpapi.Register(h, httpapi.Op[appsIn]{
		Operation: huma.Operation{OperationID: "list-apps", Method: http.MethodGet, Path: "/api/v1/apps", Tags: tags, Summary: "List applications that live, or reported in a range"},
		Role:      access.Viewer, Scoped: true,
	}, a.listApps)
	httpapi.Register(h, httpapi.Op[appIn]{
		Operation: huma.Operation{OperationID: "get-app", Method: http.MethodGet, Path: app, Tags: tags, Summary: "Read an application: its instances, commands and policies"},
		Role:      access.Viewer, Namespace: func(in *appIn) string { return in.Namespace },
	}, a.getApp)
	httpapi.Register(h, httpapi.Op[seriesIn]{
		Operation: huma.Operation{
			OperationID: "get-series", Method: http.MethodGet, Path: app + "/series", Tags: tags, Summary: "Read what a command counted over time",
			Description: "Points in which nothing happened are left out. The step may be coarser than asked for, where nothing finer is kept.",
		},
		Role: access.Viewer, Namespace: func(in *seriesIn) string { return in.Namespace },
	}, a.series)
	httpapi.Register(h, httpapi.Op[explainIn]{
		Operation: huma.Operation{OperationID: "explain-circuit", Method: http.MethodGet, Path: app + "/explain", Tags: tags, Summary: "Say which rules hold for a command, and by which policies"},
		Role:      access.Viewer, Namespace: func(in *explainIn) string { return in.Namespace },
	}, a.explain)
	httpapi.Register(h, httpapi.Op[eventsIn]{
		Operation: huma.Operation{OperationID: "list-events", Method: http.MethodGet, Path: "/api/v1/events", Tags: tags, Summary: "List what happened, the newest first"},
		Role:      access.Viewer, Scoped: true,
	}, a.listEvents)
}

func (a *API) behind(i governance.Instance) (governance.ReportAnswer, bool) {
	w := a.hub.wanted(i.App, i.Calls)
	return w, i.Applied == nil || i.Applied.Hash != w.Hash
}

func (a *API) listApps(ctx context.Context, in *appsIn) (*appsOut, error) {
	from, to, err := in.Times(a.cfg.Now())
	if err != nil {
		return nil, err
	}
	apps, err := a.store.Apps(ctx, from, to)
	if err != nil {
		return nil, err
	}
	live, err := a.store.Instances(ctx, governance.App{})
	if err != nil {
		return nil, err
	}
	all := map[governance.App]*AppSummary{}
	at := func(app governance.App) *AppSummary {
		if all[app] == nil {
			all[app] = &AppSummary{App: app}
		}
		return all[app]
	}
	for _, app := range apps {
		at(app)
	}
	for _, i := range live {
		s := at(i.App)
		s.Live++
		if _, behind := a.behind(i); behind {
			s.Behind++
		}
	}
	out := &appsOut{}
	out.Body.Items = []AppSummary{}
	for app, s := range all {
		if httpapi.Sees(ctx, app.Namespace) {
			out.Body.Items = append(out.Body.Items, *s)
		}
	}
	slices.SortFunc(out.Body.Items, func(x, y AppSummary) int { return x.App.Compare(y.App) })
	return out, nil
}

func (a *API) getApp(ctx context.Context, in *appIn) (*appOut, error) {
	from, to, err := in.Times(a.cfg.Now())
	if err != nil {
		return nil, err
	}
	live, err := a.store.Instances(ctx, in.app())
	if err != nil {
		return nil, err
	}
	out := &appOut{Body: AppDetail{AppSummary: AppSummary{App: in.app()}, Instances: []AppInstance{}}}
	for _, i := range live {
		w, behind := a.behind(i)
		out.Body.Live++
		if behind {
			out.Body.Behind++
		}
		out.Body.Instances = append(out.Body.Instances, AppInstance{Instance: i, Wanted: w.Version, Current: !behind})
	}
	if out.Body.Commands, err = a.store.Commands(ctx, in.app(), from, to); err != nil {
		return nil, err
	}
	if out.Body.Commands == nil {
		out.Body.Commands = []governance.Series{}
	}
	if out.Body.Policies, _, err = a.listed(ctx, governance.PolicyQuery{App: in.app()}, false); err != nil {
		return nil, err
	}
	if len(live) == 0 && len(out.Body.Commands) == 0 {
		known, _, err := a.known(ctx, in.app())
		if err != nil {
			return nil, err
		}
		if !known && len(out.Body.Policies) == 0 {
			return nil, httpapi.NewProblem(http.StatusNotFound, fmt.Sprintf("nothing is known of application %s in this range: list applications to see which there are", in.app()))
		}
	}
	return out, nil
}

func (a *API) series(ctx context.Context, in *seriesIn) (*seriesOut, error) {
	now := a.cfg.Now()
	from, to, err := in.Times(now)
	if err != nil {
		return nil, err
	}
	q := governance.SeriesQuery{
		App: in.app(), Instance: in.Instance, From: from, To: to, Step: in.Step.Duration,
		Series: governance.Series{Command: in.Command, At: governance.At(in.At)},
	}
	if in.Peer != "" {
		if q.Series.Peer, err = governance.ParseApp(in.Peer); err != nil {
			return nil, httpapi.BadRequest("query.peer", "it is no application: write namespace/name")
		}
	}
	res, err := a.store.Series(ctx, q)
	if err != nil {
		return nil, err
	}
	if res.Points == nil {
		res.Points = []governance.Point{}
	}
	return &seriesOut{Body: res}, nil
}

var eventKinds = []string{
	governance.EventTransition, governance.EventPublished, governance.EventDeleted, governance.EventConfirmed,
	governance.EventRefused, governance.EventJoined, governance.EventLeft, governance.EventDrifted,
}

func (a *API) listEvents(ctx context.Context, in *eventsIn) (*eventsOut, error) {
	now := a.cfg.Now()
	from, to, err := in.Times(now)
	if err != nil {
		return nil, err
	}
	q := governance.EventQuery{From: from, To: to, Instance: in.Instance, Command: in.Command, Kinds: in.Kind, Limit: in.Limit}
	if in.To == "" {
		q.To = now.Add(time.Second) // what was recorded just now is wanted too
	}
	for _, k := range in.Kind {
		if !slices.Contains(eventKinds, k) {
			return nil, httpapi.BadRequest("query.kind", fmt.Sprintf("%q is no kind of event: there are %s", k, strings.Join(eventKinds, ", ")))
		}
	}
	if in.App != "" {
		if q.App, err = governance.ParseApp(in.App); err != nil {
			return nil, httpapi.BadRequest("query.app", "it is no application: write namespace/name")
		}
	}
	if p, ok := access.From(ctx); ok {
		q.Namespaces = p.Namespaces // what is left out must not take the room of what is not
	}
	list, err := a.store.Events(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &eventsOut{}
	out.Body.Items = slices.DeleteFunc(list, func(e governance.Event) bool { return !httpapi.Sees(ctx, e.App.Namespace) })
	if out.Body.Items == nil {
		out.Body.Items = []governance.Event{}
	}
	return out, nil
}

func (a *API) explain(ctx context.Context, in *explainIn) (*explainOut, error) {
	call := governance.Call{App: in.app(), Command: governance.ShortCommand(in.Command), At: governance.At(in.At)}
	if call.At == "" {
		call.At = governance.Provider
	}
	if in.From != "" {
		app, err := governance.ParseApp(in.From)
		if err != nil {
			return nil, httpapi.BadRequest("query.from", "it is no application: write namespace/name")
		}
		if call.At != governance.Caller {
			return nil, httpapi.BadRequest("query.from", "it is for at=caller: a provider does not tell its callers apart")
		}
		call.From = app
	}
	list, _, err := a.store.List(ctx, governance.PolicyQuery{App: call.App, Expired: true})
	if err != nil {
		return nil, err
	}
	now := a.cfg.Now()
	e := governance.Resolve(list, call, now)
	out := &explainOut{Body: Explanation{Rules: e.Rules, Sources: e.Sources, Until: e.Until, Considered: []Considered{}}}
	if out.Body.Sources == nil {
		out.Body.Sources = map[string]governance.Source{}
		out.Body.Note = "no policy has a say: what the service itself has set holds"
	}
	for _, v := range list {
		out.Body.Considered = append(out.Body.Considered, Considered{
			Policy: v.Policy.Key().String(), Version: v.Version, Verdict: verdict(v, call, e, now),
		})
	}
	return out, nil
}

// verdict says what became of one policy.
func verdict(v governance.Version, call governance.Call, e governance.Effective, now time.Time) string {
	t := v.Policy.Target
	switch exp := v.Policy.Expires; {
	case !exp.IsZero() && !exp.After(now):
		return "expired at " + exp.UTC().Format(time.RFC3339)
	case t.At != call.At:
		return "is enforced at the " + string(t.At)
	case t.Command != "" && governance.ShortCommand(t.Command) != call.Command && t.Command != call.Command:
		return "is about " + t.Command
	case !t.Matches(call):
		return "is for other callers"
	}
	var fields []string
	for field, s := range e.Sources {
		if s.Version == v.Version {
			fields = append(fields, field)
		}
	}
	if len(fields) == 0 {
		return "matches, and others that have more say set all that it sets"
	}
	slices.Sort(fields)
	return "sets " + strings.Join(fields, ", ")
}
