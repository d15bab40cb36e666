package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/routetable"
)

func (s *server) registerWrites(a *httpapi.API) {
	const answer = " With ?wait=5s the answer comes once every gateway serves the change, or says who does not. With ?dryRun=true nothing is written."
	httpapi.Register(a, httpapi.Op[putIn]{
		Operation: withBody(op("put-route", http.MethodPut, "/api/v1/routes/{namespace}/{name}", "Write a route",
			"Creates the route or replaces it. If-Match: \"revision\" writes only over the version that was read, If-None-Match: * only a new route; else whatever is there is replaced. A route as it already is makes no new revision."+answer), exampleRoute),
		Role: access.Operator, Write: true,
		Namespace: func(in *putIn) string { return in.Namespace },
		Object:    func(in *putIn) string { return rehearsed(in.DryRun) + "route " + in.key().String() },
	}, s.put)
	httpapi.Register(a, httpapi.Op[deleteIn]{
		Operation: op("delete-route", http.MethodDelete, "/api/v1/routes/{namespace}/{name}", "Delete a route",
			"Its history stays. If-Match deletes only the version that was read."+answer),
		Role: access.Operator, Write: true,
		Namespace: func(in *deleteIn) string { return in.Namespace },
		Object:    func(in *deleteIn) string { return rehearsed(in.DryRun) + "route " + in.key().String() },
	}, s.remove)
	apply := withBody(op("apply-routes", http.MethodPost, "/api/v1/routes:apply", "Write many routes at once",
		"Writes all of the routes under one revision, or none when anything is wrong with one of them."+answer), exampleApply)
	apply.MaxBodyBytes = MaxApply
	httpapi.Register(a, httpapi.Op[applyIn]{
		Operation: apply,
		Role:      access.Operator, Write: true, Scoped: true,
		Object: func(in *applyIn) string { return rehearsed(in.DryRun) + in.object() },
	}, s.apply)
}

func rehearsed(dryRun bool) string {
	if dryRun {
		return "dry run: "
	}
	return ""
}

// How says how a change is to be made.
type How struct {
	httpapi.Wait
	DryRun bool `query:"dryRun" doc:"Say what would change, and change nothing."`
	Strict bool `query:"strict" doc:"Refuse with 422 what would else be a warning, such as arguments that the method does not have."`
	AllowUnknown
}

// AllowUnknown is embedded in inputs.
type AllowUnknown struct {
	AllowUnknown bool `query:"allowUnknown" doc:"Take routes to applications that are not known, which may come later; the answer then holds a warning. Without it they are refused with 422."`
}

// Result is what became of a change, or would become of it.
type Result struct {
	Revision gateway.Revision  `json:"revision" doc:"Of the table after the change; the present one when nothing changed."`
	DryRun   bool              `json:"dryRun,omitempty" doc:"Nothing was written."`
	Changes  []Change          `json:"changes" nullable:"false" doc:"In the order of the request."`
	Warnings []gateway.Warning `json:"warnings,omitempty" doc:"Doubts about what routes point to."`
	Findings []Finding         `json:"findings,omitempty" doc:"Routes that will never match because of others, as far as this change has to do with it."`
	// Unfinished says that there were too many routes to look at all of them.
	Unfinished bool `json:"unfinished,omitempty" doc:"The table is too large to look for every route that never matches."`
	// Served and Gateways are there after a wait.
	Served   *bool     `json:"served,omitempty" doc:"After a wait: whether every gateway serves all of it as written."`
	Gateways []Gateway `json:"gateways,omitempty" doc:"After a wait: what each gateway serves."`
}

type putIn struct {
	RoutePath
	httpapi.Precondition
	How
	Body routeBody
}

type writeOut struct {
	Status int
	ETag   string `header:"ETag"`
	Body   Result
}

func (s *server) put(ctx context.Context, in *putIn) (*writeOut, error) {
	expect, err := in.Expect()
	if err != nil {
		return nil, err
	}
	route, err := read[gateway.Route](in.Body.raw)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, f := range []struct{ name, have, want string }{{"namespace", route.Namespace, in.Namespace}, {"name", route.Name, in.Name}} {
		if f.have != f.want {
			errs = append(errs, &gateway.Error{Code: gateway.Invalid, Field: f.name, Message: fmt.Sprintf("is %q, but the path says %q", f.have, f.want)})
		}
	}
	if err := errors.Join(append(errs, route.Validate())...); err != nil {
		return nil, problem(http.StatusUnprocessableEntity, err)
	}
	return s.change(ctx, []gateway.Write{{Route: route, Expect: gateway.Revision(expect)}}, in.How, func(int) string { return "body" })
}

type deleteIn struct {
	RoutePath
	httpapi.Precondition
	How
}

func (s *server) remove(ctx context.Context, in *deleteIn) (*writeOut, error) {
	expect, err := in.Expect()
	if err != nil {
		return nil, err
	}
	if in.IfNoneMatch != "" {
		return nil, httpapi.BadRequest("header.If-None-Match", "what is not there cannot be deleted")
	}
	write := gateway.Write{Route: gateway.Route{Namespace: in.Namespace, Name: in.Name}, Delete: true, Expect: gateway.Revision(expect)}
	return s.change(ctx, []gateway.Write{write}, in.How, func(int) string { return "path" })
}

// Apply is a change to many routes.
type Apply struct {
	Items []Item `json:"items" doc:"At most 10000, each route once."`
}

// Item is the change to one route.
type Item struct {
	Route  gateway.Route     `json:"route" doc:"Of a deletion, namespace and name are enough."`
	Delete bool              `json:"delete,omitempty" doc:"Delete the route."`
	Expect *gateway.Revision `json:"expect,omitempty" doc:"The revision that the writer has seen, 0 for a route that must not exist; when missing, whatever is there is replaced."`
}

type applyIn struct {
	How
	Body applyBody
}

// object names what a change is made to, for the audit.
func (in *applyIn) object() string {
	const most = 5
	var a Apply
	if gateway.Decode(in.Body.raw, &a) != nil {
		return "routes"
	}
	var names []string
	for _, i := range a.Items[:min(most, len(a.Items))] {
		names = append(names, i.Route.Key().String())
	}
	if more := len(a.Items) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return "routes " + strings.Join(names, ", ")
}

func (s *server) apply(ctx context.Context, in *applyIn) (*writeOut, error) {
	writes, err := writesOf(ctx, in.Body.raw, access.Operator)
	if err != nil {
		return nil, err
	}
	return s.change(ctx, writes, in.How, itemAt)
}

func itemAt(i int) string { return fmt.Sprintf("body.items[%d].route", i) }

// writesOf reads a change to many routes, all of whose namespaces the caller
// must hold a role in.
func writesOf(ctx context.Context, raw []byte, role access.Role) ([]gateway.Write, error) {
	a, err := read[Apply](raw)
	if err != nil {
		return nil, err
	}
	if len(a.Items) == 0 {
		return nil, httpapi.BadRequest("body.items", "is empty: give the routes to write")
	}
	if len(a.Items) > gateway.MaxWrites {
		return nil, httpapi.NewProblem(http.StatusUnprocessableEntity, fmt.Sprintf("%d routes are too many for one change: write at most %d", len(a.Items), gateway.MaxWrites),
			httpapi.At("body.items", "has too many routes"))
	}
	var errs []error
	seen := make(map[gateway.Key]int, len(a.Items))
	writes := make([]gateway.Write, len(a.Items))
	for i, item := range a.Items {
		at := fmt.Sprintf("items[%d]", i)
		writes[i] = gateway.Write{Route: item.Route, Delete: item.Delete, Expect: gateway.AnyRevision}
		if item.Expect != nil {
			writes[i].Expect = *item.Expect
			if *item.Expect < 0 {
				errs = append(errs, &gateway.Error{Code: gateway.Invalid, Field: at + ".expect", Message: fmt.Sprintf("%d is no revision", *item.Expect)})
			}
		}
		key := item.Route.Key()
		if first, twice := seen[key]; twice {
			errs = append(errs, &gateway.Error{Code: gateway.Invalid, Field: at + ".route", Message: fmt.Sprintf("route %s stands in items[%d] already", key, first)})
		}
		seen[key] = i
		if !item.Delete {
			errs = append(errs, within(at+".route", item.Route.Validate())...)
		} else if key.Namespace == "" || key.Name == "" {
			errs = append(errs, &gateway.Error{Code: gateway.Invalid, Field: at + ".route", Message: "a deletion needs namespace and name"})
		}
	}
	if len(errs) > 0 {
		return nil, problem(http.StatusUnprocessableEntity, errors.Join(errs...))
	}
	for _, w := range writes {
		if err := access.Require(ctx, role, w.Route.Namespace); err != nil {
			return nil, err
		}
	}
	return writes, nil
}

type planIn struct {
	Strict bool `query:"strict" doc:"Refuse with 422 what would else be a warning."`
	AllowUnknown
	Body applyBody
}

type planOut struct{ Body Result }

func (s *server) plan(ctx context.Context, in *planIn) (*planOut, error) {
	writes, err := writesOf(ctx, in.Body.raw, access.Viewer)
	if err != nil {
		return nil, err
	}
	out, err := s.change(ctx, writes, How{DryRun: true, Strict: in.Strict, AllowUnknown: in.AllowUnknown}, itemAt)
	if err != nil {
		return nil, err
	}
	return &planOut{Body: out.Body}, nil
}

// change makes a change of valid writes, or rehearses it. at names the place of
// a write's route in the request.
func (s *server) change(ctx context.Context, writes []gateway.Write, h How, at func(int) string) (*writeOut, error) {
	wait, err := h.Duration()
	if err != nil {
		return nil, err
	}
	now, err := s.table.Read(ctx)
	if err != nil {
		return nil, err
	}
	out := &writeOut{Status: http.StatusOK, Body: s.rehearse(ctx, now, writes)}
	if err := s.strict(h, out.Body.Warnings, writes, at); err != nil {
		return nil, err
	}
	out.Body.DryRun = h.DryRun
	if h.DryRun {
		if _, err := gateway.Pending(writes, now.Get); err != nil {
			return nil, conflicts(ctx, err)
		}
		out.tag(now.Revision)
		return out, nil
	}
	rev, err := s.store.Apply(ctx, writes, gateway.Change{Actor: httpapi.Actor(ctx), Reason: httpapi.Reason(ctx)})
	if err != nil {
		return nil, conflicts(ctx, err)
	}
	out.Body.Revision = rev
	if slices.ContainsFunc(out.Body.Changes, func(c Change) bool { return c.Action != None }) {
		httpapi.Wrote(ctx, int64(rev))
	}
	if len(writes) == 1 && out.Body.Changes[0].Action == Create {
		out.Status = http.StatusCreated
	}
	out.tag(rev)
	if wait > 0 {
		return out, s.await(ctx, &out.Body, wait)
	}
	return out, nil
}

// tag sets the entity tag of the one route that was written.
func (o *writeOut) tag(rev gateway.Revision) {
	if len(o.Body.Changes) != 1 {
		return
	}
	switch c := o.Body.Changes[0]; {
	case c.Action == None || o.Body.DryRun && c.Before > 0:
		o.ETag = httpapi.ETag(int64(c.Before))
	case c.Action != Remove && !o.Body.DryRun:
		o.ETag = httpapi.ETag(int64(rev))
	}
}

// conflicts tells of all expectations that do not hold; other errors stay as
// they are.
func conflicts(ctx context.Context, err error) error {
	many := gateway.Problems(err)
	if len(many) < 2 || gateway.CodeOf(err) == gateway.Unavailable || gateway.CodeOf(err) == gateway.Internal {
		return err
	}
	status := http.StatusConflict
	if r := httpapi.Request(ctx); r != nil && r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != "" {
		status = http.StatusPreconditionFailed
	}
	return problem(status, err)
}

// rehearse says what becomes of valid writes to the table as it is now.
func (s *server) rehearse(ctx context.Context, now *routetable.View, writes []gateway.Write) Result {
	r := Result{Revision: now.Revision, Changes: make([]Change, 0, len(writes))}
	written := make(map[gateway.Key]gateway.Write, len(writes))
	look := make(map[gateway.Key]bool, len(writes))
	var put []gateway.Route
	for _, w := range writes {
		key := w.Route.Key()
		written[key] = w
		have, there := now.Get(key)
		c := Change{Key: key, Before: have.Revision}
		switch {
		case w.Delete:
			c.Action = Remove
		case !there:
			c.Action = Create
		case gateway.Equal(have.Route, w.Route) && have.Unreadable == "":
			c.Action = None
		default:
			c.Action, c.Fields = Update, differences(have.Route, w.Route)
		}
		r.Changes = append(r.Changes, c)
		if !w.Delete {
			put = append(put, w.Route)
			look[key] = true
		}
	}
	if s.opts.Checker != nil && len(put) > 0 {
		r.Warnings = s.opts.Checker.Check(ctx, put)
	}
	after := slices.Clone(put)
	for _, v := range now.Sorted() {
		if _, changed := written[v.Route.Key()]; !changed && v.Unreadable == "" {
			after = append(after, v.Route)
		}
	}
	slices.SortFunc(after, func(a, b gateway.Route) int { return a.Key().Compare(b.Key()) })
	var whole bool
	r.Findings, whole = findings(after, look)
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return !httpapi.Sees(ctx, f.Key.Namespace) })
	r.Unfinished = !whole
	return r
}

// strict turns warnings into a refusal where that was asked for, and those of
// unknown applications where they are not allowed; a dry run only tells of those.
func (s *server) strict(h How, warnings []gateway.Warning, writes []gateway.Write, at func(int) string) error {
	hint := "; without strict this is a warning"
	if !h.Strict {
		hint = "; correct the name, or say allowUnknown (--allow-unknown) for an application to come"
		warnings = slices.DeleteFunc(slices.Clone(warnings), func(w gateway.Warning) bool { return !w.Unknown || h.AllowUnknown.AllowUnknown || h.DryRun })
	}
	if len(warnings) == 0 {
		return nil
	}
	p := httpapi.NewProblem(http.StatusUnprocessableEntity, "")
	var says []string
	for _, w := range warnings {
		i := slices.IndexFunc(writes, func(x gateway.Write) bool { return x.Route.Key() == w.Key })
		where := "body"
		if i >= 0 {
			where = at(i)
		}
		if w.Field != "" {
			where += "." + w.Field
		}
		p.Errors = append(p.Errors, httpapi.At(where, w.Message))
		says = append(says, w.Key.String()+": "+w.Message)
	}
	p.Detail = strings.Join(says, "; ") + hint
	return p
}

// await waits until every gateway serves what was written, and says what each
// serves.
func (s *server) await(ctx context.Context, r *Result, wait time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	nodes, err := s.store.WaitApplied(waiting, r.Revision)
	for err == nil && len(nodes) == 0 && pause(waiting) {
		// Nobody to wait for yet, as when everything starts at once.
		nodes, err = s.store.WaitApplied(waiting, r.Revision)
	}
	if err != nil {
		// It is written all the same; who serves it is what is not known.
		r.Gateways = []Gateway{}
		served := false
		r.Served = &served
		return nil
	}
	r.Gateways = states(ctx, nodes, r.Revision)
	served := len(nodes) > 0 && !slices.ContainsFunc(nodes, func(n gateway.Node) bool {
		return n.Revision < r.Revision || slices.ContainsFunc(n.Quarantined, func(q gateway.Quarantine) bool {
			return slices.ContainsFunc(r.Changes, func(c Change) bool { return c.Key == q.Key && c.Action != Remove })
		})
	})
	r.Served = &served
	return nil
}

// pause is between two looks for the first gateway; false means that ctx ended.
func pause(ctx context.Context) bool {
	t := time.NewTimer(200 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
