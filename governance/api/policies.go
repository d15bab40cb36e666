package api

import (
	"context"
	"errors"
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

// PolicyAnswer is a policy, and how far it is with those that have to enforce it.
type PolicyAnswer struct {
	governance.Version
	// Expired says that it is still listed and no longer has a say.
	Expired      bool          `json:"expired,omitempty"`
	Confirmation *Confirmation `json:"confirmation,omitempty"`
	// Warnings are what was taken as it is and may not be what was meant.
	Warnings []string `json:"warnings,omitempty"`
}

// PolicyList is a list of policies.
type PolicyList struct {
	Items []PolicyAnswer `json:"items"`
	// Version is that of all policies together.
	Version int64 `json:"version"`
}

type policyOut struct {
	ETag string `header:"ETag"`
	Body PolicyAnswer
}

type policyListOut struct {
	ETag string `header:"ETag"`
	Body PolicyList
}

// PolicyKey names a policy in an address. It is embedded in inputs.
type PolicyKey struct {
	Namespace string `path:"namespace" maxLength:"253"`
	Name      string `path:"name" maxLength:"253"`
}

func (k *PolicyKey) key() governance.Key { return governance.Key{Namespace: k.Namespace, Name: k.Name} }

// AllowUnknown is embedded in inputs.
type AllowUnknown struct {
	AllowUnknown bool `query:"allowUnknown" doc:"Take it though nothing is known of the application, which may come later; the answer then holds a warning."`
}

type listPolicies struct {
	httpapi.Unmodified
	Namespace string `query:"namespace" doc:"Only of this namespace."`
	App       string `query:"app" doc:"Only about this application, as namespace/name."`
	Kind      string `query:"kind" enum:"policy,switch" doc:"Only of this kind."`
	Expired   bool   `query:"expired" doc:"Also those that have expired."`
	Status    bool   `query:"status" doc:"With how far each is with the instances that have to enforce it."`
}

type putPolicy struct {
	PolicyKey
	httpapi.Precondition
	httpapi.Wait
	AllowUnknown
	Body governance.Policy
}

type checkPolicy struct {
	AllowUnknown
	Body governance.Policy
}

type onePolicy struct {
	PolicyKey
	httpapi.Unmodified
}

type deletePolicy struct {
	PolicyKey
	httpapi.Precondition
	httpapi.Wait
}

type versionsIn struct {
	PolicyKey
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type versionsOut struct {
	Body struct {
		Items []governance.Version `json:"items"`
	}
}

type rollbackIn struct {
	PolicyKey
	httpapi.Precondition
	httpapi.Wait
	To int64 `query:"to" required:"true" minimum:"1" doc:"The version whose document is written again."`
}

type statusOut struct{ Body Confirmation }

func (a *API) registerPolicies(h *httpapi.API) {
	const one = "/api/v1/policies/{namespace}/{name}"
	tags := []string{"policies"}
	httpapi.Register(h, httpapi.Op[listPolicies]{
		Operation: huma.Operation{OperationID: "list-policies", Method: http.MethodGet, Path: "/api/v1/policies", Tags: tags, Summary: "List policies and switches in force"},
		Role:      access.Viewer, Scoped: true,
	}, a.listPolicies)
	httpapi.Register(h, httpapi.Op[checkPolicy]{
		Operation: huma.Operation{
			OperationID: "check-policy", Method: http.MethodPost, Path: "/api/v1/policies/check", Tags: tags, Summary: "Try a policy without writing it",
			Description: "Answers what a write would make of the document, which version it would replace, and which live instances would have to enforce it.",
		},
		Role: access.Viewer, Namespace: func(in *checkPolicy) string { return in.Body.Target.App.Namespace },
	}, a.checkPolicy)
	httpapi.Register(h, httpapi.Op[onePolicy]{
		Operation: huma.Operation{OperationID: "get-policy", Method: http.MethodGet, Path: one, Tags: tags, Summary: "Read a policy"},
		Role:      access.Viewer, Namespace: func(in *onePolicy) string { return in.Namespace },
	}, a.getPolicy)
	httpapi.Register(h, httpapi.Op[putPolicy]{
		Operation: huma.Operation{
			OperationID: "put-policy", Method: http.MethodPut, Path: one, Tags: tags, Summary: "Write a policy",
			Description: "Writes a new version, which instances learn of at once. With wait, the answer says who has confirmed it.",
		},
		Role: access.Operator, Write: true, Namespace: func(in *putPolicy) string { return in.Namespace },
		Object: func(in *putPolicy) string { return "policy " + in.key().String() },
	}, a.putPolicy)
	httpapi.Register(h, httpapi.Op[deletePolicy]{
		Operation: huma.Operation{OperationID: "delete-policy", Method: http.MethodDelete, Path: one, Tags: tags, Summary: "End a policy"},
		Role:      access.Operator, Write: true, Namespace: func(in *deletePolicy) string { return in.Namespace },
		Object: func(in *deletePolicy) string { return "policy " + in.key().String() },
	}, a.deletePolicy)
	httpapi.Register(h, httpapi.Op[versionsIn]{
		Operation: huma.Operation{OperationID: "list-policy-versions", Method: http.MethodGet, Path: one + "/versions", Tags: tags, Summary: "List the versions of a policy, the newest first"},
		Role:      access.Viewer, Namespace: func(in *versionsIn) string { return in.Namespace },
	}, a.policyVersions)
	httpapi.Register(h, httpapi.Op[rollbackIn]{
		Operation: huma.Operation{OperationID: "rollback-policy", Method: http.MethodPost, Path: one + "/rollback", Tags: tags, Summary: "Write an earlier version of a policy again, as a new one"},
		Role:      access.Operator, Write: true, Namespace: func(in *rollbackIn) string { return in.Namespace },
		Object: func(in *rollbackIn) string { return "policy " + in.key().String() },
	}, a.rollbackPolicy)
	httpapi.Register(h, httpapi.Op[PolicyKey]{
		Operation: huma.Operation{
			OperationID: "get-policy-status", Method: http.MethodGet, Path: one + "/status", Tags: tags, Summary: "Say which instances enforce the newest version of a policy",
			Description: "Of a deleted policy: which no longer do.",
		},
		Role: access.Viewer, Namespace: func(in *PolicyKey) string { return in.Namespace },
	}, a.policyStatus)
}

func (a *API) listPolicies(ctx context.Context, in *listPolicies) (*policyListOut, error) {
	q := governance.PolicyQuery{Namespace: in.Namespace, Kind: governance.Kind(in.Kind), Expired: in.Expired}
	if in.App != "" {
		app, err := governance.ParseApp(in.App)
		if err != nil {
			return nil, httpapi.BadRequest("query.app", "it is no application: write namespace/name")
		}
		q.App = app
	}
	list, version, err := a.listed(ctx, q, in.Status)
	if err != nil {
		return nil, err
	}
	out := &policyListOut{Body: PolicyList{Items: list, Version: version}}
	if !in.Status {
		// What instances say is no part of the version, and neither is that one
		// has expired, or what the reader may see.
		out.ETag = httpapi.ETag(version)
		if !slices.ContainsFunc(list, func(p PolicyAnswer) bool { return !p.Policy.Expires.IsZero() }) {
			if err := in.Check(out.ETag); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (a *API) listed(ctx context.Context, q governance.PolicyQuery, status bool) ([]PolicyAnswer, int64, error) {
	list, version, err := a.store.List(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	var all []governance.Instance
	if status {
		if all, err = a.store.Instances(ctx, governance.App{}); err != nil {
			return nil, 0, err
		}
	}
	items := []PolicyAnswer{}
	for _, v := range list {
		if !httpapi.Sees(ctx, v.Policy.Namespace) {
			continue
		}
		item := a.answer(v)
		if status {
			c := a.fleet.confirm(v, all)
			item.Confirmation = &c
		}
		items = append(items, item)
	}
	return items, version, nil
}

func (a *API) answer(v governance.Version) PolicyAnswer {
	e := v.Policy.Expires
	return PolicyAnswer{Version: v, Expired: !e.IsZero() && !e.After(a.cfg.Now())}
}

func (a *API) getPolicy(ctx context.Context, in *onePolicy) (*policyOut, error) {
	v, err := a.store.Get(ctx, in.key())
	if err != nil {
		return nil, err
	}
	etag := httpapi.ETag(v.Version)
	if err := in.Check(etag); err != nil {
		return nil, err
	}
	return &policyOut{ETag: etag, Body: a.answer(v)}, nil
}

// document makes a policy of what was sent, by the name of its address.
func document(p governance.Policy, key governance.Key) (governance.Policy, error) {
	if p.Name == "" {
		p.Name = key.Name
	}
	if p.Namespace == "" {
		p.Namespace = key.Namespace
	}
	if p.Key() != key {
		return p, httpapi.NewProblem(http.StatusUnprocessableEntity, fmt.Sprintf("the document is called %s and is written to %s: leave namespace and name out of it, or let them agree", p.Key(), key),
			httpapi.At("body.name", "it is not the name in the address"))
	}
	return valid(p)
}

// valid returns the policy as it would be stored, or everything that is wrong
// with it.
func valid(p governance.Policy) (governance.Policy, error) {
	out, err := p.Canonical()
	if err == nil {
		return out, nil
	}
	var details []*huma.ErrorDetail
	var says []string
	for _, e := range split(err) {
		var ge *governance.Error
		if !errors.As(e, &ge) {
			return p, err
		}
		details = append(details, httpapi.At(strings.TrimSuffix("body."+ge.Field, "."), ge.Message))
		says = append(says, strings.TrimSpace(ge.Field+" "+ge.Message))
	}
	return p, httpapi.NewProblem(http.StatusUnprocessableEntity, strings.Join(says, "; "), details...)
}

func split(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

// warn says what may not be meant. An application that does not exist is refused
// unless that is allowed; where nobody can say whether it does, it is a warning.
func (a *API) warn(ctx context.Context, p governance.Policy, allow bool) ([]string, error) {
	var out []string
	if e := p.Expires; !e.IsZero() && !e.After(a.cfg.Now()) {
		return nil, httpapi.NewProblem(http.StatusUnprocessableEntity, fmt.Sprintf("expires %s is over: give a time to come, or leave it out", e.Format(time.RFC3339)), httpapi.At("body.expires", "it is over"))
	}
	for _, app := range append([]governance.App{p.Target.App}, p.Target.From...) {
		known, sure, err := a.known(ctx, app)
		if err != nil {
			return nil, err
		}
		if known {
			continue
		}
		text := fmt.Sprintf("nothing is known of application %s: no instance of it holds a stream, and no Service has its name", app)
		if sure && !allow {
			return nil, httpapi.NewProblem(http.StatusUnprocessableEntity, text+"; correct the name, or say allowUnknown (--allow-unknown) for an application to come", httpapi.At("body.target", "nothing is known of "+app.String()))
		}
		out = append(out, text)
	}
	if r := p.Fallback; r != nil && r.Value != nil && p.Target.Command == "" {
		out = append(out, "one fallback value answers every command of the application, whatever type each answers with")
	}
	return out, nil
}

// known reports whether an application exists, and whether that is sure.
func (a *API) known(ctx context.Context, app governance.App) (known, sure bool, err error) {
	live, err := a.store.Instances(ctx, app)
	if err != nil || len(live) > 0 {
		return true, true, err
	}
	if a.cfg.Known == nil {
		return false, false, nil
	}
	known, err = a.cfg.Known(ctx, app)
	if err != nil {
		// A registry that is away is no reason to keep a switch from being pulled.
		a.log.WarnContext(ctx, "whether an application exists cannot be asked", "app", app.String(), "error", err)
		return true, false, nil
	}
	return known, true, nil
}

func (a *API) checkPolicy(ctx context.Context, in *checkPolicy) (*policyOut, error) {
	p, err := valid(in.Body)
	if err != nil {
		return nil, err
	}
	warnings, err := a.warn(ctx, p, in.AllowUnknown.AllowUnknown)
	if err != nil {
		return nil, err
	}
	v, err := a.store.Get(ctx, p.Key())
	if err != nil && governance.CodeOf(err) != governance.NotFound {
		return nil, err
	}
	// The version is the one it would replace: 0 for none. Who would have to
	// enforce it has not been asked yet.
	would := governance.Version{Policy: p, Version: v.Version, Created: v.Created, Actor: v.Actor, Reason: v.Reason}
	all, err := a.store.Instances(ctx, governance.App{})
	if err != nil {
		return nil, err
	}
	c := Confirmation{Version: v.Version, Instances: []InstanceStatus{}}
	for _, i := range all {
		if i.Enforces(p.Target) {
			c.Instances = append(c.Instances, InstanceStatus{App: i.App, Instance: i.ID, Name: i.Name, State: Pending})
		}
	}
	c.Live, c.Pending = len(c.Instances), len(c.Instances)
	if c.Live == 0 {
		c.Note = "0 live instances would have to enforce it"
	}
	return &policyOut{ETag: httpapi.ETag(v.Version), Body: PolicyAnswer{Version: would, Confirmation: &c, Warnings: warnings}}, nil
}

func (a *API) putPolicy(ctx context.Context, in *putPolicy) (*policyOut, error) {
	p, err := document(in.Body, in.key())
	if err != nil {
		return nil, err
	}
	return a.write(ctx, p, in.Precondition, in.Wait, in.AllowUnknown.AllowUnknown)
}

// write puts a valid policy and waits for those who have to enforce it.
func (a *API) write(ctx context.Context, p governance.Policy, pre httpapi.Precondition, w httpapi.Wait, allow bool) (*policyOut, error) {
	expect, err := pre.Expect()
	if err != nil {
		return nil, err
	}
	wait, err := w.Duration()
	if err != nil {
		return nil, err
	}
	warnings, err := a.warn(ctx, p, allow)
	if err != nil {
		return nil, err
	}
	v, err := a.store.Put(ctx, p, expect, change(ctx))
	if err != nil {
		return nil, err
	}
	return a.wrote(ctx, v, wait, warnings)
}

func change(ctx context.Context) governance.Change {
	return governance.Change{Actor: httpapi.Actor(ctx), Reason: httpapi.Reason(ctx)}
}

func (a *API) wrote(ctx context.Context, v governance.Version, wait time.Duration, warnings []string) (*policyOut, error) {
	httpapi.Wrote(ctx, v.Version)
	out := &policyOut{ETag: httpapi.ETag(v.Version), Body: a.answer(v)}
	out.Body.Warnings = warnings
	c, err := a.confirmations(ctx, v, wait)
	if err != nil {
		// It is written; who has it can be asked later.
		a.log.WarnContext(ctx, "who confirmed a change cannot be read", "version", v.Version, "error", err)
		out.Body.Warnings = append(out.Body.Warnings, "it is written; who has confirmed it cannot be read now")
		return out, nil
	}
	out.Body.Confirmation = &c
	return out, nil
}

func (a *API) confirmations(ctx context.Context, v governance.Version, wait time.Duration) (Confirmation, error) {
	if wait > 0 {
		return a.fleet.awaitAll(ctx, v, wait)
	}
	return a.fleet.confirmation(ctx, v)
}

func (a *API) deletePolicy(ctx context.Context, in *deletePolicy) (*policyOut, error) {
	expect, err := in.Expect()
	if err != nil {
		return nil, err
	}
	wait, err := in.Wait.Duration()
	if err != nil {
		return nil, err
	}
	v, err := a.store.Delete(ctx, in.key(), expect, change(ctx))
	if err != nil {
		return nil, err
	}
	return a.wrote(ctx, v, wait, nil)
}

func (a *API) policyVersions(ctx context.Context, in *versionsIn) (*versionsOut, error) {
	list, err := a.store.Versions(ctx, in.key(), in.Limit)
	if err != nil {
		return nil, err
	}
	out := &versionsOut{}
	out.Body.Items = list
	return out, nil
}

func (a *API) rollbackPolicy(ctx context.Context, in *rollbackIn) (*policyOut, error) {
	v, err := a.store.Version(ctx, in.key(), in.To)
	if err != nil {
		return nil, err
	}
	if e := v.Policy.Expires; !e.IsZero() && !e.After(a.cfg.Now()) {
		return nil, httpapi.NewProblem(http.StatusUnprocessableEntity, fmt.Sprintf(
			"version %d of policy %s ended at %s: read its document with the versions, and write that with another expires", in.To, in.key(), e.Format(time.RFC3339)))
	}
	return a.write(ctx, v.Policy, in.Precondition, in.Wait, false)
}

func (a *API) policyStatus(ctx context.Context, in *PolicyKey) (*statusOut, error) {
	list, err := a.store.Versions(ctx, in.key(), 1)
	if err != nil {
		return nil, err
	}
	c, err := a.fleet.confirmation(ctx, list[0])
	if err != nil {
		return nil, err
	}
	return &statusOut{Body: c}, nil
}
