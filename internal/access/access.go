// Package access says who may do what: principals and their roles, how a request
// proves which one it is, and the audit of every write. It serves every API of
// Weir; internal/access/postgres keeps accounts, sessions, tokens and the audit.
package access

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Kind is what sort of principal acts.
type Kind string

// Kinds of principals.
const (
	KindUser     Kind = "user"           // a person with a password and a session
	KindToken    Kind = "token"          // an API token
	KindInstance Kind = "serviceaccount" // a running service, by the token of its pod
)

// Role is what a principal may do. Each role includes those before it.
type Role string

// The roles. An instance has none of them: it may only open its own stream and
// report about itself.
const (
	Viewer   Role = "viewer"   // read everything but secrets
	Operator Role = "operator" // write routes, policies and switches
	Admin    Role = "admin"    // manage people and tokens
)

var roles = []Role{Viewer, Operator, Admin}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return slices.Contains(roles, r) }

// Includes reports whether r allows what other allows.
func (r Role) Includes(other Role) bool {
	return r.Valid() && slices.Index(roles, r) >= slices.Index(roles, other)
}

// Principal is who acts.
type Principal struct {
	Kind Kind
	Name string // "admin", the token's name, "shop/orders"
	Role Role
	// Namespaces bounds the role; empty for all.
	Namespaces []string
	// Instance is set for KindInstance.
	Instance *Instance
}

// Instance is what a pod's token proves.
type Instance struct {
	Namespace      string
	ServiceAccount string
	PodName        string // empty for a token that is not bound to a pod
	PodUID         string
}

// String returns "user:admin", as audits and change records have it.
func (p Principal) String() string { return string(p.Kind) + ":" + p.Name }

// Can reports whether the principal holds a role in a namespace; the empty
// namespace stands for what belongs to none, such as accounts.
func (p Principal) Can(r Role, namespace string) bool {
	if !p.Role.Includes(r) {
		return false
	}
	return p.within(namespace)
}

// within reports whether a namespace is among those that bound the principal.
func (p Principal) within(namespace string) bool {
	return len(p.Namespaces) == 0 || (namespace != "" && slices.Contains(p.Namespaces, namespace))
}

type contextKey struct{}

// With returns a context in which p acts.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// From returns who acts.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(contextKey{}).(Principal)
	return p, ok
}

// Require returns a *DeniedError unless the one who acts in ctx holds a role in
// a namespace.
func Require(ctx context.Context, r Role, namespace string) error {
	p, ok := From(ctx)
	if !ok {
		return &DeniedError{Unknown: true, Message: "nobody is logged in: log in, or send an API token as Authorization: Bearer"}
	}
	if p.Can(r, namespace) {
		return nil
	}
	if namespace != "" {
		return &DeniedError{Message: fmt.Sprintf("%s may not do this: it needs the role %s in namespace %s; ask an admin for it", p, r, namespace)}
	}
	return &DeniedError{Message: fmt.Sprintf("%s may not do this: it needs the role %s; ask an admin for it", p, r)}
}

// DeniedError says that somebody may not do something, or, with Unknown, that
// nobody knows who it is.
type DeniedError struct {
	Unknown bool
	Message string
}

// Error returns the message.
func (e *DeniedError) Error() string { return e.Message }

// Entry is one write, or attempt at one.
type Entry struct {
	ID        int64     `json:"id" doc:"Counts up."`
	Time      time.Time `json:"time" doc:"When it was begun."`
	Principal string    `json:"principal" doc:"Who did it."`
	// Action is the operation's id, such as "put-route"; Object what it was done
	// to, such as "route shop/cart".
	Action string `json:"action" doc:"The id of the operation, such as put-route."`
	Object string `json:"object" doc:"What it was done to, such as route shop/cart."`
	Reason string `json:"reason" doc:"Why."`
	Remote string `json:"remote" doc:"The peer's address."` // the peer's address
	// Outcome is empty while the write runs, then "ok", or what went wrong.
	Outcome string `json:"outcome" doc:"ok, or what went wrong; empty while it is under way."`
	// Revision is what the write made of what it wrote; 0 if nothing.
	Revision int64 `json:"revision,omitempty" doc:"What the write made of what it wrote; missing if nothing."`
}

// Auditor keeps what was done. Begin is called before a write and its failure
// forbids the write; End fills in the outcome.
type Auditor interface {
	Begin(ctx context.Context, e Entry) (id int64, err error)
	End(ctx context.Context, id int64, outcome string, revision int64) error
}
