package dubbo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
)

// lookWithin bounds how long one application is looked up.
const lookWithin = 2 * time.Second

// Checker compares the Dubbo upstreams of routes with what their providers say of
// themselves. It is a gateway.Checker and safe for concurrent use.
type Checker struct {
	Discoverer registry.Discoverer
	Metadata   registry.MetadataStore // nil: methods are not checked
}

var _ gateway.Checker = Checker{}

// Check tells of each route with a Dubbo upstream whether a gateway could serve
// it, whether there are instances and one of them offers a protocol the call can
// take, and whether the interface has the method, with these parameters where
// the metadata document of a revision has a method schema.
func (c Checker) Check(ctx context.Context, routes []gateway.Route) []gateway.Warning {
	var out []gateway.Warning
	for _, r := range routes {
		if r.Upstream.Dubbo == nil {
			continue
		}
		for _, w := range c.check(ctx, r) {
			w.Key = r.Key()
			out = append(out, w)
		}
	}
	return out
}

func (c Checker) check(ctx context.Context, route gateway.Route) []gateway.Warning {
	u := route.Upstream.Dubbo
	warn := func(field, format string, args ...any) gateway.Warning {
		return gateway.Warning{Field: "upstream.dubbo." + field, Message: fmt.Sprintf(format, args...)}
	}
	m, err := newMapping(u, route.Match.Path, defaultBodyLimit)
	if err != nil {
		var e *gateway.Error
		if !errors.As(err, &e) {
			return nil
		}
		return []gateway.Warning{{Field: e.Field, Message: "no gateway will serve the route: " + e.Message}}
	}
	app, err := registry.ParseApp(u.App, route.Namespace)
	if err != nil || c.Discoverer == nil {
		return nil // which gateway.Route.Validate tells
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	s, err := c.Discoverer.Snapshot(ctx, app)
	if err != nil {
		return nil
	}
	if len(s.Instances) == 0 {
		return []gateway.Warning{warn("app", "%s has no instances at present, so its method was not checked", app)}
	}
	var out []gateway.Warning
	offered := false
	revisions := map[string]int{}
	for i := range s.Instances {
		inst := &s.Instances[i]
		if inst.Revision != "" {
			revisions[inst.Revision]++
		}
		offered = offered || slices.ContainsFunc(inst.Endpoints, func(e registry.Endpoint) bool {
			return e.Protocol == protocolTriple || e.Protocol == protocolDubbo && !m.message
		})
	}
	switch {
	case !offered && m.message:
		out = append(out, warn("message", "no instance of %s offers Triple, which a method with a message needs", app))
	case !offered:
		out = append(out, warn("app", "no instance of %s offers Dubbo or Triple", app))
	}
	if c.Metadata == nil {
		return out
	}
	for _, revision := range slices.Sorted(maps.Keys(revisions)) {
		document, err := c.Metadata.Metadata(ctx, app, revision)
		if err != nil {
			continue // one that keeps its metadata to itself, or a registry that is away
		}
		for _, d := range checkDocument(document, u, m.types) {
			if revisions[revision] == 1 {
				out = append(out, warn(d.field, "revision %s of %s (1 instance) %s", shortRevision(revision), app, d.says))
				continue
			}
			out = append(out, warn(d.field, "revision %s of %s (%d instances) %s", shortRevision(revision), app, revisions[revision], d.says))
		}
	}
	return out
}

// doubt is what a metadata document says against a call.
type doubt struct{ field, says string }

func shortRevision(s string) string {
	if len(s) > 8 {
		return s[:8]
	}
	return s
}

// checkDocument holds a call against one metadata document.
func checkDocument(document []byte, u *gateway.Dubbo, types []string) []doubt {
	offers, err := registry.DecodeDocument(document)
	if err != nil {
		return []doubt{{"app", "has metadata that cannot be read"}}
	}
	if len(offers) == 0 {
		return nil // it says nothing
	}
	var found *registry.Offer
	var others []string
	for i := range offers {
		s := &offers[i]
		switch {
		case s.Name != u.Interface:
		case s.Group == u.Group && sameVersion(s.Version, u.Version):
			if found == nil || len(found.Methods) == 0 {
				found = s
			}
		default:
			others = append(others, s.Interface.String())
		}
	}
	if found == nil {
		wanted := registry.Interface{Name: u.Interface, Group: u.Group, Version: u.Version}
		if len(others) > 0 {
			slices.Sort(others)
			return []doubt{{"interface", fmt.Sprintf("does not offer %s, but %s", wanted, strings.Join(slices.Compact(others), ", "))}}
		}
		return []doubt{{"interface", fmt.Sprintf("does not offer %s", wanted)}}
	}
	if len(found.Methods) > 0 {
		return checkSchema(found, u, types)
	}
	if len(found.Names) > 0 && !slices.ContainsFunc(found.Names, func(n string) bool { return sameMethod(n, u.Method) }) {
		return []doubt{{"method", fmt.Sprintf("has no method %s in %s; it has %s", u.Method, u.Interface, strings.Join(found.Names, ", "))}}
	}
	return nil
}

// checkSchema holds a call's types against the method's overloads.
func checkSchema(s *registry.Offer, u *gateway.Dubbo, types []string) []doubt {
	var overloads []string
	for _, m := range s.Methods {
		if !sameMethod(m.Name, u.Method) {
			continue
		}
		if u.Message != nil {
			return nil // a message's fields are not in the schema
		}
		want := make([]string, len(m.Parameters))
		for i, t := range m.Parameters {
			want[i] = erase(t)
		}
		if slices.Equal(want, types) {
			return nil
		}
		overloads = append(overloads, m.String())
	}
	if len(overloads) == 0 {
		return []doubt{{"method", fmt.Sprintf("has no method %s in %s", u.Method, u.Interface)}}
	}
	return []doubt{{"args", fmt.Sprintf("has %s, and not %s(%s)", strings.Join(overloads, " and "), u.Method, strings.Join(types, ", "))}}
}

// erase takes the type arguments off a Java type, as parameters are told apart
// by what is left.
func erase(t string) string {
	var b strings.Builder
	depth := 0
	for _, r := range t {
		switch {
		case r == '<':
			depth++
		case r == '>':
			depth--
		case depth == 0 && r != ' ':
			b.WriteRune(r)
		}
	}
	return b.String()
}

func sameVersion(a, b string) bool {
	return a == b || a == "" && b == "0.0.0" || a == "0.0.0" && b == ""
}

// sameMethod takes Go's and Java's way to begin a method's name for the same, as
// dubbo-go does.
func sameMethod(a, b string) bool {
	return a == b || lowerFirst(a) == lowerFirst(b)
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToLower(r)) + s[n:]
}
