package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/weirmesh/weir/internal/access"
)

// Op is one operation: huma's description of it, and who may do it. I is the
// handler's input.
type Op[I any] struct {
	huma.Operation

	// Role is what a principal must hold; required unless Public.
	Role access.Role
	// Public opens the operation to everybody. Public operations are not audited
	// by this package, since nobody is known to do them.
	Public bool
	// Namespace says which namespace the input is about; the principal must hold
	// the role there. Without it only principals that are not bounded to
	// namespaces may, unless Scoped.
	Namespace func(*I) string
	// Scoped says that the handler holds the namespaces itself, by access.Require
	// or Sees.
	Scoped bool

	// Recent lets an operation other than GET be done by who was proven of late,
	// while that cannot be asked (access.Credentials.Reads).
	Recent bool

	// Write marks what changes something: it needs a reason and is audited.
	Write bool
	// NoReason is for the few writes that explain themselves.
	NoReason bool
	// Object says for the audit what the write is done to, such as
	// "route shop/cart"; required with Write. Handlers may say it better later by
	// calling Object.
	Object func(*I) string
}

// Register adds an operation. It panics on one that is not whole, which is a
// mistake in the program.
func Register[I, O any](a *API, op Op[I], handler func(context.Context, *I) (*O, error)) {
	switch {
	case op.OperationID == "":
		panic("httpapi: an operation needs an OperationID")
	case op.Public == op.Role.Valid():
		panic("httpapi: " + op.OperationID + " needs either a role or Public")
	case op.Write && op.Recent:
		panic("httpapi: " + op.OperationID + " is a write, which is not done by who was proven before")
	case op.Write && !op.Public && (op.Object == nil || a.cfg.Audit == nil):
		panic("httpapi: " + op.OperationID + " is a write and needs an Object and the API an Audit")
	}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = a.cfg.MaxBody
	}
	rule := rule{id: op.OperationID, role: op.Role, public: op.Public, reason: op.Write && !op.NoReason, recent: op.Recent}
	document(&op.Operation, rule)
	guard := func(ctx huma.Context, next func(huma.Context)) { a.guard(ctx, next, rule, op.MaxBodyBytes) }
	op.Middlewares = append(huma.Middlewares{guard}, op.Middlewares...)

	huma.Register(a.huma, op.Operation, func(ctx context.Context, in *I) (*O, error) {
		out, err := enter(ctx, a, &op, in, handler)
		if err != nil {
			return nil, a.problem(ctx, err)
		}
		return out, nil
	})
}

// enter does what can only be done once the input is read: it holds the
// namespace, and records the write around the handler.
func enter[I, O any](ctx context.Context, a *API, op *Op[I], in *I, handler func(context.Context, *I) (*O, error)) (out *O, err error) {
	if op.Public {
		return handler(ctx, in)
	}
	req := from(ctx)
	if op.Write {
		req.object = op.Object(in)
	}
	if !op.Scoped {
		namespace := ""
		if op.Namespace != nil {
			namespace = op.Namespace(in)
		}
		if err := access.Require(ctx, op.Role, namespace); err != nil {
			if op.Write {
				a.record(ctx, op.OperationID, "denied: "+err.Error())
			}
			return nil, err
		}
	}
	if !op.Write {
		return handler(ctx, in)
	}
	id, err := a.cfg.Audit.Begin(ctx, req.entry(ctx, op.OperationID))
	if access.CodeOf(err) == access.Unavailable {
		return nil, access.NothingDone(err)
	}
	if err != nil {
		return nil, fmt.Errorf("record a write before it is done: %w", err)
	}
	outcome := "failed: it did not come to its end"
	defer func() { a.end(ctx, id, outcome) }()
	out, err = handler(ctx, in)
	if err != nil {
		p := a.problem(ctx, err)
		outcome = "failed: " + p.Detail
		return nil, p
	}
	outcome = "ok"
	return out, nil
}

// auditPatience bounds the filling in of an outcome after the client has gone.
const auditPatience = 5 * time.Second

func (a *API) end(ctx context.Context, id int64, outcome string) {
	revision := from(ctx).revision
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditPatience)
	defer cancel()
	if err := a.cfg.Audit.End(ctx, id, plain(outcome), revision); err != nil {
		a.log.ErrorContext(ctx, "the outcome of a write was not recorded", "entry", id, "outcome", outcome, "error", err)
	}
}

// record keeps an attempt that went no further.
func (a *API) record(ctx context.Context, action, outcome string) {
	id, err := a.cfg.Audit.Begin(ctx, from(ctx).entry(ctx, action))
	if err != nil {
		a.log.ErrorContext(ctx, "a refused write was not recorded", "action", action, "outcome", outcome, "error", err)
		return
	}
	a.end(ctx, id, outcome)
}

// RoleExtension is the key of an operation's description that says who may do it: a
// role, or one of the words below.
const RoleExtension = "x-weir-role"

// What stands in place of a role.
const (
	RolePublic   = "public"   // everybody
	RoleInstance = "instance" // running services, and operators
)

// document adds to the description what this package asks for.
func document(op *huma.Operation, r rule) {
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	if r.public {
		op.Security = []map[string][]string{}
		op.Extensions[RoleExtension] = RolePublic
		return
	}
	op.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	if op.Description != "" {
		op.Description += "\n\n"
	}
	if r.instance {
		op.Extensions[RoleExtension] = RoleInstance
		op.Description += "For running services, each for its own application, and for whoever has the role operator."
	} else {
		op.Extensions[RoleExtension] = string(r.role)
		op.Description += "Needs the role " + string(r.role) + "."
	}
	if r.reason {
		op.Description += " Needs a reason, in the header Weir-Reason or the query parameter reason."
		op.Parameters = append(op.Parameters,
			&huma.Param{Name: ReasonHeader, In: "header", Description: "Why this is done; UTF-8, may be percent-encoded.", Schema: &huma.Schema{Type: huma.TypeString}},
			&huma.Param{Name: reasonQuery, In: "query", Description: "The same, for clients that cannot set headers.", Schema: &huma.Schema{Type: huma.TypeString}},
		)
	}
}

// rule is what holds before a request's input is read.
type rule struct {
	id       string
	role     access.Role // "" with instance or public
	public   bool
	instance bool // for instances, and operators
	reason   bool
	// unattended requests prolong no session.
	unattended bool
	recent     bool // as Op has it
}

// guard is the outermost part of every operation.
func (a *API) guard(hctx huma.Context, next func(huma.Context), rule rule, maxBody int64) {
	r, w := humago.Unwrap(hctx)
	defer func() {
		if v := recover(); v != nil {
			a.recovered(w, r, v, hctx.Status() != 0)
		}
	}()
	ctx, err := a.admit(r, rule)
	if err == nil {
		err = checkQuery(r, hctx.Operation())
	}
	if err == nil && maxBody > 0 && r.ContentLength >= maxBody {
		err = tooLarge(maxBody) // before a byte of it is read
	}
	if err != nil {
		a.WriteProblem(w, r, err)
		return
	}
	next(huma.WithContext(hctx, ctx))
}

// checkQuery refuses query parameters that nobody reads: a mistyped one would
// do more, or less, than was asked.
func checkQuery(r *http.Request, op *huma.Operation) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	var known []string
	for _, p := range op.Parameters {
		if p.In == "query" {
			known = append(known, p.Name)
		}
	}
	for name := range r.URL.Query() {
		if slices.Contains(known, name) {
			continue
		}
		if len(known) == 0 {
			return BadRequest("query."+name, "there is no such parameter: this takes none")
		}
		return BadRequest("query."+name, "there is no such parameter: there are "+strings.Join(known, ", "))
	}
	return nil
}

// recovered answers a request whose handler panicked.
func (a *API) recovered(w http.ResponseWriter, r *http.Request, v any, begun bool) {
	if v == http.ErrAbortHandler { //nolint:errorlint // it is panicked with as it is
		panic(v)
	}
	id := newID()
	a.log.ErrorContext(r.Context(), "a handler panicked", "id", id, "method", r.Method, "path", r.URL.Path,
		"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if begun {
		panic(http.ErrAbortHandler) // the client sees that the answer is not whole
	}
	a.WriteProblem(w, r, internalProblem(id))
}
