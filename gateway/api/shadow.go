package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirmesh/weir/gateway"
)

// Kinds of findings.
const (
	// Shadowed: routes that are tried before take every request that this one
	// would.
	Shadowed = "shadowed"
	// Duplicate: another route matches the very same requests, and goes first only
	// because of its name.
	Duplicate = "duplicate"
)

// Finding is a route that never matches, because of others.
type Finding struct {
	Key     gateway.Key   `json:"route"`
	Kind    string        `json:"kind" enum:"shadowed,duplicate"`
	By      []gateway.Key `json:"by" doc:"The routes that take its requests."`
	Message string        `json:"message" example:"shadowed by shop/cart for GET /shop/cart/{id}: it will never match"`
}

// maxComparisons bounds the work of one analysis; a table of thousands of routes
// of one shape may need more, and is then not analysed to its end.
const maxComparisons = 5_000_000

// unit is one alternative of a route with one of its methods, "" for all: what
// one other route can take whole.
type unit struct {
	gateway.Alternative
	method string
}

// analysis finds routes that never match.
type analysis struct {
	buckets map[string][]gateway.Alternative
	left    int
}

// bucket is the place where alternatives are looked for: the first segment of
// their path where it is a literal. Others may take the paths of any place.
func bucket(p gateway.Pattern) string {
	if len(p.Segments) > 0 && p.Segments[0].Var == "" {
		return "/" + p.Segments[0].Literal
	}
	return ""
}

// findings says which of the routes can never match, looking at those for which
// look is true or that are shadowed by one for which it is.
func findings(routes []gateway.Route, look map[gateway.Key]bool) (out []Finding, whole bool) {
	a := &analysis{buckets: map[string][]gateway.Alternative{}, left: maxComparisons}
	var all [][]gateway.Alternative
	for _, r := range routes {
		if r.Disabled {
			continue
		}
		alternatives, err := r.Alternatives()
		if err != nil {
			continue // it is not served, and takes nothing from others
		}
		all = append(all, alternatives)
		for _, x := range alternatives {
			a.buckets[bucket(x.Pattern)] = append(a.buckets[bucket(x.Pattern)], x)
		}
	}
	// What is looked at may shadow only what lies in its own place, or anything.
	places, anywhere := map[string]bool{}, false
	for _, alternatives := range all {
		if look[alternatives[0].Route.Key()] {
			b := bucket(alternatives[0].Pattern)
			places[b] = true
			anywhere = anywhere || b == ""
		}
	}
	for _, alternatives := range all {
		mine := look[alternatives[0].Route.Key()]
		if !mine && !anywhere && !places[bucket(alternatives[0].Pattern)] {
			continue
		}
		f, found := a.shadowed(alternatives)
		if found && (mine || slices.ContainsFunc(f.By, func(k gateway.Key) bool { return look[k] })) {
			out = append(out, f)
		}
		if a.left <= 0 {
			return out, false
		}
	}
	return out, true
}

// shadowed reports whether every request that a route matches goes to others.
func (a *analysis) shadowed(alternatives []gateway.Alternative) (Finding, bool) {
	r := alternatives[0].Route
	f := Finding{Key: r.Key(), Kind: Shadowed}
	for _, alternative := range alternatives {
		methods := r.Match.Method
		if len(methods) == 0 {
			methods = gateway.Strings{""}
		}
		for _, m := range methods {
			by, ok := a.cover(unit{alternative, m})
			if !ok {
				return Finding{}, false
			}
			if !slices.Contains(f.By, by.Route.Key()) {
				f.By = append(f.By, by.Route.Key())
			}
			if len(alternatives) == 1 && len(by.Route.Match.Host) <= 1 && covers(alternative, by) &&
				len(by.Route.Match.Method) == len(r.Match.Method) && by.Route.Priority == r.Priority && by.Pattern.Compare(alternative.Pattern) == 0 {
				f.Kind = Duplicate
			}
		}
	}
	names := make([]string, len(f.By))
	for i, k := range f.By {
		names[i] = k.String()
	}
	says := "shadowed by %s for %s: it will never match"
	if f.Kind == Duplicate {
		says = "the same match as %s for %s: it will never match"
	}
	f.Message = fmt.Sprintf(says, strings.Join(names, ", "), requests(r))
	return f, true
}

// requests says in short what a route is for.
func requests(r gateway.Route) string {
	var parts []string
	if len(r.Match.Method) > 0 {
		parts = append(parts, strings.Join(r.Match.Method, ","))
	}
	path := r.Match.Path
	if path == "" {
		path = "every path"
	}
	if len(r.Match.Host) > 0 {
		path = strings.Join(r.Match.Host, ",") + path
	}
	return strings.Join(append(parts, path), " ")
}

// cover finds a route that takes everything of a unit and is tried before it.
func (a *analysis) cover(u unit) (gateway.Alternative, bool) {
	places := []string{bucket(u.Pattern)}
	if places[0] != "" {
		places = append(places, "")
	}
	for _, place := range places {
		for _, b := range a.buckets[place] {
			a.left--
			if a.left <= 0 {
				return gateway.Alternative{}, false
			}
			if b.Route.Key() != u.Route.Key() && takes(b.Route.Match.Method, u.method) && covers(b, u.Alternative) && b.Compare(u.Alternative) < 0 {
				return b, true
			}
		}
	}
	return gateway.Alternative{}, false
}

// covers reports whether b takes every request that a does, methods aside.
func covers(b, a gateway.Alternative) bool {
	return b.Pattern.Covers(a.Pattern) && hostCovers(b.Host, a.Host) && headersFollow(a.Route.Match.Header, b.Route.Match.Header)
}

// takes reports whether a list of methods holds one; "" stands for all.
func takes(methods gateway.Strings, method string) bool {
	return len(methods) == 0 || method != "" && (slices.Contains(methods, method) ||
		method == "HEAD" && slices.Contains(methods, "GET"))
}

// hostCovers reports whether b takes every host that a does; both are entries of
// a match, or "".
func hostCovers(b, a string) bool {
	if b == "" {
		return true
	}
	a, b = gateway.NormalHost(a), gateway.NormalHost(b)
	if rest, wild := strings.CutPrefix(a, "*."); wild {
		return a == b || strings.HasPrefix(b, "*.") && gateway.HostTakes(b, rest)
	}
	return a != "" && gateway.HostTakes(b, a)
}

// headersFollow reports whether what has holds makes all of wants hold.
func headersFollow(has, wants []gateway.HeaderMatch) bool {
	return !slices.ContainsFunc(wants, func(w gateway.HeaderMatch) bool {
		return !slices.ContainsFunc(has, func(h gateway.HeaderMatch) bool {
			if !strings.EqualFold(h.Name, w.Name) {
				return false
			}
			h.Name = w.Name
			return h == w || w.Present && !h.Absent
		})
	})
}
