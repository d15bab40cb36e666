package gateway

import "context"

// Var is a variable of a path pattern with what a request has in its place.
type Var struct {
	Name  string
	Value string // percent-decoded; that of a tail has no leading slash
}

// Vars are the variables of the route that took a request, in the order of its
// pattern. They are shared: read, do not write.
type Vars []Var

// Get returns the value of a variable, and whether the pattern has it.
func (v Vars) Get(name string) (value string, ok bool) {
	for i := range v {
		if v[i].Name == name {
			return v[i].Value, true
		}
	}
	return "", false
}

type varsKey struct{}

// WithVars returns a context that carries the variables to whoever serves the
// request.
func WithVars(ctx context.Context, v Vars) context.Context {
	return context.WithValue(ctx, varsKey{}, v)
}

// VarsOf returns the variables of the route that took the request; nil for none.
func VarsOf(ctx context.Context) Vars {
	v, _ := ctx.Value(varsKey{}).(Vars)
	return v
}

// ErrorHeader names, on answers that a gateway gives by itself instead of an
// upstream, what was the matter: the member code of the problem document.
const ErrorHeader = "Weir-Error"
