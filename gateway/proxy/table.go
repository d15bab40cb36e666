package proxy

import (
	"slices"
	"strings"
)

// table is every route that is served, arranged so that the one that takes a
// request is found without looking at the others. It is immutable: with and
// without return a table that shares all that did not change.
//
// Routes lie under their host (exact, below a wildcard's suffix, or any), and
// there in a trie of the segments of their path. Whoever takes a request with
// the highest priority wins, then the more specific, then the lesser key. A
// search goes from the most specific place to the least, so that of two routes
// with one priority it meets the winner first; and each node knows the highest
// priority below it, so that places that cannot win any more are passed over.
type table struct {
	hosts     *dict // by name
	wildcards *dict // by the name after "*."
	every     *node // those of any host
}

// node is one place in a trie. The nil node is empty.
type node struct {
	owner    *edit
	literals *dict
	variable *node
	ends     []*route // those whose path ends here, in the order of precedence
	tails    []*route // those that take whatever follows
	max      int      // the highest priority here and below
}

// with returns the table with r in it; what e has made is changed in place.
func (t *table) with(e *edit, r *route) *table { return t.change(e, r, true) }

// without returns the table without r.
func (t *table) without(e *edit, r *route) *table { return t.change(e, r, false) }

func (t *table) change(e *edit, r *route, in bool) *table {
	next := *t
	if len(r.hosts) == 0 {
		next.every = next.every.change(e, r, 0, in)
	}
	for _, h := range r.hosts {
		of := &next.hosts
		if h.wildcard {
			of = &next.wildcards
		}
		*of = (*of).put(e, h.name, (*of).get(h.name).change(e, r, 0, in))
	}
	return &next
}

// change puts r in, or takes it out, below the first depth segments of its path.
// What remains empty is nil.
func (n *node) change(e *edit, r *route, depth int, in bool) *node {
	switch {
	case n == nil:
		n = &node{owner: e, max: noPriority}
	case n.owner != e:
		n = &node{owner: e, literals: n.literals, variable: n.variable, ends: slices.Clone(n.ends), tails: slices.Clone(n.tails)}
	}
	switch {
	case depth < len(r.pattern.Segments) && r.pattern.Segments[depth].Var != "":
		n.variable = n.variable.change(e, r, depth+1, in)
	case depth < len(r.pattern.Segments):
		literal := r.pattern.Segments[depth].Literal
		n.literals = n.literals.put(e, literal, n.literals.get(literal).change(e, r, depth+1, in))
	case r.pattern.Open:
		n.tails = changeList(n.tails, r, in)
	default:
		n.ends = changeList(n.ends, r, in)
	}
	n.max = n.literals.top()
	if n.variable != nil {
		n.max = max(n.max, n.variable.max)
	}
	if len(n.ends) > 0 {
		n.max = max(n.max, n.ends[0].priority)
	}
	if len(n.tails) > 0 {
		n.max = max(n.max, n.tails[0].priority)
	}
	if n.literals == nil && n.variable == nil && len(n.ends)+len(n.tails) == 0 {
		return nil
	}
	return n
}

func changeList(list []*route, r *route, in bool) []*route {
	at, _ := slices.BinarySearchFunc(list, r, (*route).compareHere)
	there := at < len(list) && list[at].key == r.key
	switch {
	case in && there:
		list[at] = r
	case in:
		list = slices.Insert(list, at, r)
	case there:
		list = slices.Delete(list, at, at+1)
	}
	return list
}

// query is one search. It lives on the stack of who asks.
type query struct {
	request
	best *route
}

// find returns the route that takes a request, or nil.
func (t *table) find(req request) *route {
	q := query{request: req}
	if t.hosts != nil && q.host != "" {
		q.search(t.hosts.get(q.host), 0)
	}
	if t.wildcards != nil {
		for host := q.host; ; {
			_, parent, ok := strings.Cut(host, ".")
			if !ok {
				break
			}
			q.search(t.wildcards.get(parent), 0)
			host = parent
		}
	}
	q.search(t.every, 0)
	return q.best
}

func (q *query) search(n *node, depth int) {
	if n == nil || q.best != nil && n.max <= q.best.priority {
		return
	}
	if depth == len(q.segments) {
		q.try(n.ends)
		q.try(n.tails)
		return
	}
	segment := q.segments[depth]
	q.search(n.literals.get(segment), depth+1)
	if segment != "" {
		q.search(n.variable, depth+1)
	}
	q.try(n.tails)
}

func (q *query) try(routes []*route) {
	for _, r := range routes {
		if q.best != nil && r.priority <= q.best.priority {
			return
		}
		if r.takes(&q.request) {
			q.best = r
			return
		}
	}
}

// allowed returns the methods with which some route would take the request,
// given that none takes it as it is; empty when the method is not to blame.
func (t *table) allowed(req request) []string {
	var methods []string
	visit := func(r *route) {
		if !r.methods.empty() && r.takesHeaders(&req) {
			methods = append(methods, r.methods.list()...)
		}
	}
	t.each(req, visit)
	slices.Sort(methods)
	return slices.Compact(methods)
}

// each calls visit with every route whose host and path take the request.
func (t *table) each(req request, visit func(*route)) {
	var walk func(n *node, depth int)
	walk = func(n *node, depth int) {
		if n == nil {
			return
		}
		for _, r := range n.tails {
			visit(r)
		}
		if depth == len(req.segments) {
			for _, r := range n.ends {
				visit(r)
			}
			return
		}
		walk(n.literals.get(req.segments[depth]), depth+1)
		if req.segments[depth] != "" {
			walk(n.variable, depth+1)
		}
	}
	walk(t.hosts.get(req.host), 0)
	for host := req.host; ; {
		_, parent, ok := strings.Cut(host, ".")
		if !ok {
			break
		}
		walk(t.wildcards.get(parent), 0)
		host = parent
	}
	walk(t.every, 0)
}
