package api

import (
	"context"
	"encoding/json"
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

// Pull is a switch to be pulled: which calls are refused, what callers get
// instead, and for how long.
type Pull struct {
	Target governance.Target `json:"target"`
	// Name of the switch; by its target, if left out.
	Name string `json:"name,omitempty"`
	// At most one of Value, Empty and Error; with none, callers get what the
	// service has as a fallback, or an error.
	Value json.RawMessage `json:"value,omitempty" doc:"Answered in place of the real answer."`
	Empty bool            `json:"empty,omitempty" doc:"Answer the zero value."`
	Error string          `json:"error,omitempty" doc:"Answer an error with this text."`
	// Cached comes before them: they hold for calls that have no good answer young
	// enough.
	Cached *governance.Cached `json:"cached,omitempty" doc:"Answer the last good answer to a call with equal arguments; value, empty or error where there is none."`
	// For or Until says when it releases by itself; with neither it stays until it
	// is released.
	For   governance.Duration `json:"for,omitempty" doc:"Release by itself after this long, such as 30m."`
	Until time.Time           `json:"until,omitzero" doc:"Release by itself at this time."`
}

type pullIn struct {
	httpapi.Wait
	AllowUnknown
	Body Pull
}

type listSwitches struct {
	Namespace string `query:"namespace" doc:"Only of this namespace."`
	App       string `query:"app" doc:"Only about this application, as namespace/name."`
}

type releaseIn struct {
	PolicyKey
	httpapi.Wait
}

func (a *API) registerSwitches(h *httpapi.API) {
	tags := []string{"switches"}
	httpapi.Register(h, httpapi.Op[listSwitches]{
		Operation: huma.Operation{
			OperationID: "list-switches", Method: http.MethodGet, Path: "/api/v1/switches", Tags: tags, Summary: "List the switches that are pulled",
			Description: "With how many of the live instances have confirmed each, and which have not.",
		},
		Role: access.Viewer, Scoped: true,
	}, a.listSwitches)
	httpapi.Register(h, httpapi.Op[pullIn]{
		Operation: huma.Operation{
			OperationID: "pull-switch", Method: http.MethodPost, Path: "/api/v1/switches", Tags: tags, Summary: "Pull a switch",
			Description: "Refuses the calls of the target at once, in every instance that has to enforce it, until it is released or its time is over: instances release it by themselves, even if no control plane is left. " +
				"One that is pulled already is pulled anew, with the new answer and time.",
		},
		Role: access.Operator, Write: true, Namespace: func(in *pullIn) string { return in.Body.Target.App.Namespace },
		Object: func(in *pullIn) string {
			return "switch of " + in.Body.Target.App.String() + " " + in.Body.Target.Command
		},
	}, a.pull)
	httpapi.Register(h, httpapi.Op[releaseIn]{
		Operation: huma.Operation{OperationID: "release-switch", Method: http.MethodDelete, Path: "/api/v1/switches/{namespace}/{name}", Tags: tags, Summary: "Release a switch"},
		Role:      access.Operator, Write: true, Namespace: func(in *releaseIn) string { return in.Namespace },
		Object: func(in *releaseIn) string { return "switch " + in.key().String() },
	}, a.release)
}

// policy makes a policy of what is to be pulled.
func (p Pull) policy(now time.Time) (governance.Policy, error) {
	out := governance.Policy{
		Kind: governance.KindSwitch, Name: p.Name, Target: p.Target, Expires: p.Until,
		Rules: governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}},
	}
	if p.Value != nil || p.Empty || p.Error != "" {
		out.Fallback = &governance.Fallback{Value: p.Value, Empty: p.Empty, Error: p.Error}
	}
	if p.Cached != nil {
		out.Fallback = &governance.Fallback{Cached: p.Cached, Else: out.Fallback}
	}
	switch {
	case p.For != 0 && !p.Until.IsZero():
		return out, httpapi.BadRequest("body.for", "it cannot stand beside until")
	case p.For < 0:
		return out, httpapi.BadRequest("body.for", fmt.Sprintf("%s is over already", p.For))
	case p.For > 0:
		out.Expires = now.Add(time.Duration(p.For))
	}
	return valid(out)
}

func (a *API) pull(ctx context.Context, in *pullIn) (*policyOut, error) {
	p, err := in.Body.policy(a.cfg.Now())
	if err != nil {
		return nil, err
	}
	httpapi.Object(ctx, "switch "+p.Key().String())
	if err := a.isFree(ctx, p); err != nil {
		return nil, err
	}
	return a.write(ctx, p, httpapi.Precondition{}, in.Wait, in.AllowUnknown.AllowUnknown)
}

// isFree refuses a switch whose name is that of something else: to pull it would
// release a switch of other calls, or end a policy, and nobody asked for that.
func (a *API) isFree(ctx context.Context, p governance.Policy) error {
	have, err := a.store.Get(ctx, p.Key())
	switch {
	case governance.CodeOf(err) == governance.NotFound:
		return nil
	case err != nil:
		return err
	case have.Policy.Kind != governance.KindSwitch:
		return httpapi.NewProblem(http.StatusConflict, fmt.Sprintf("%s is a policy: give the switch a name of its own", p.Key()))
	case !sameTarget(have.Policy.Target, p.Target):
		return httpapi.NewProblem(http.StatusConflict, fmt.Sprintf("switch %s is pulled for %s: give this one a name of its own, or release that one first",
			p.Key(), targetText(have.Policy.Target)))
	}
	return nil
}

func sameTarget(a, b governance.Target) bool {
	return a.App == b.App && a.At == b.At && governance.ShortCommand(a.Command) == governance.ShortCommand(b.Command) &&
		slices.Equal(tidyCalls(a.From), tidyCalls(b.From))
}

func targetText(t governance.Target) string {
	text := t.App.String()
	if t.Command != "" {
		text += " " + t.Command
	}
	if t.At == governance.Caller {
		from := make([]string, len(t.From))
		for i, app := range t.From {
			from[i] = app.String()
		}
		text = strings.TrimSpace(text + " at caller " + strings.Join(from, " "))
	}
	return text
}

func (a *API) listSwitches(ctx context.Context, in *listSwitches) (*policyListOut, error) {
	return a.listPolicies(ctx, &listPolicies{Namespace: in.Namespace, App: in.App, Kind: string(governance.KindSwitch), Status: true})
}

func (a *API) release(ctx context.Context, in *releaseIn) (*policyOut, error) {
	wait, err := in.Wait.Duration()
	if err != nil {
		return nil, err
	}
	have, err := a.store.Get(ctx, in.key())
	if err != nil {
		if governance.CodeOf(err) == governance.NotFound {
			return nil, httpapi.NewProblem(http.StatusNotFound, fmt.Sprintf("no switch %s is pulled: list them to see which are", in.key()))
		}
		return nil, err
	}
	if have.Policy.Kind != governance.KindSwitch {
		return nil, httpapi.NewProblem(http.StatusConflict, fmt.Sprintf("%s is a policy, not a switch: delete it as one", in.key()))
	}
	v, err := a.store.Delete(ctx, in.key(), have.Version, change(ctx))
	if err != nil {
		return nil, err
	}
	return a.wrote(ctx, v, wait, nil)
}
