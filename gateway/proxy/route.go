package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"unique"

	"github.com/weirmesh/weir/gateway"
)

// route is one route, ready to be matched and served. It is immutable, but for
// what hangs on state, which outlives it.
type route struct {
	key      gateway.Key
	name     string // "namespace/name"
	spec     gateway.Route
	revision gateway.Revision
	priority int
	hosts    []hostName // none takes every host
	pattern  gateway.Pattern
	methods  methods
	headers  []condition
	action   *action // what is done with a request
}

type hostName struct {
	name     string
	wildcard bool // all names below name
}

// String returns the host as it is written in a route.
func (h hostName) String() string {
	if h.wildcard {
		return "*." + h.name
	}
	return h.name
}

func (h hostName) takes(host string) bool {
	if h.wildcard {
		return len(host) > len(h.name)+1 && strings.HasSuffix(host, h.name) && host[len(host)-len(h.name)-1] == '.'
	}
	return host == h.name
}

// compileMatch reads what a route says of the requests that it takes.
func compileMatch(v gateway.Version) (*route, error) {
	r := &route{key: v.Route.Key(), name: v.Route.Key().String(), spec: v.Route, revision: v.Revision, priority: v.Route.Priority}
	m := v.Route.Match
	for i, host := range m.Host {
		name, wildcard := strings.CutPrefix(host, "*.")
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if name == "" || strings.Contains(name, "*") || len(name) > maxHost {
			return nil, invalid(fmt.Sprintf("match.host[%d]", i), nil, "%q is neither a host name nor one of the form *.example.com", host)
		}
		if h := (hostName{name, wildcard}); !slices.Contains(r.hosts, h) {
			r.hosts = append(r.hosts, h)
		}
	}
	var err error
	if r.pattern, err = gateway.ParsePattern(m.Path); err != nil {
		return nil, invalid("match.path", err, "the pattern cannot be read")
	}
	for i := range r.pattern.Segments { // few words make up many paths: one copy of each stays in the processor's cache
		r.pattern.Segments[i].Literal = unique.Make(r.pattern.Segments[i].Literal).Value()
	}
	for _, method := range m.Method {
		r.methods.add(strings.ToUpper(method))
	}
	for i, h := range m.Header {
		c, err := newCondition(h)
		if err != nil {
			return nil, invalid(fmt.Sprintf("match.header[%d]", i), err, "the condition cannot be read")
		}
		r.headers = append(r.headers, c)
	}
	return r, nil
}

// invalid says what is wrong with a route.
func invalid(field string, err error, format string, args ...any) error {
	return &gateway.Error{Code: gateway.Invalid, Field: field, Message: fmt.Sprintf(format, args...), Err: err}
}

// takes reports whether the route takes a request whose host and path it takes.
func (r *route) takes(q *request) bool {
	return r.methods.take(q.method) && r.takesHeaders(q)
}

func (r *route) takesHeaders(q *request) bool {
	for i := range r.headers {
		if !r.headers[i].holds(q) {
			return false
		}
	}
	return true
}

func (r *route) takesHost(host string) bool {
	return len(r.hosts) == 0 || slices.ContainsFunc(r.hosts, func(h hostName) bool { return h.takes(host) })
}

// compareHere orders routes that stand at one place of the table, where all have
// the same host and the same path but for the names of variables: the higher
// priority first, then the one that says more, then the lesser key.
func (r *route) compareHere(o *route) int {
	return cmp.Or(
		-cmp.Compare(r.priority, o.priority),
		boolCompare(r.spec.Match.Path != "", o.spec.Match.Path != ""), // "/{all...}" says more than nothing
		boolCompare(!r.methods.empty(), !o.methods.empty()),
		-cmp.Compare(len(r.headers), len(o.headers)),
		strings.Compare(r.key.Namespace, o.key.Namespace),
		strings.Compare(r.key.Name, o.key.Name),
	)
}

// boolCompare orders true before false.
func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

// vars returns the variables of a path that the route takes.
func (r *route) vars(segments []string) gateway.Vars {
	var vars gateway.Vars
	for i, s := range r.pattern.Segments {
		if s.Var != "" {
			vars = append(vars, gateway.Var{Name: s.Var, Value: segments[i]})
		}
	}
	if r.pattern.Tail != "" {
		vars = append(vars, gateway.Var{Name: r.pattern.Tail, Value: strings.Join(segments[len(r.pattern.Segments):], "/")})
	}
	return vars
}

// methods is a set of methods; the empty one takes all.
type methods struct {
	known uint16 // a bit for each of knownMethods
	other []string
}

var knownMethods = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect,
}

func methodBit(method string) uint16 {
	for i, m := range knownMethods {
		if m == method {
			return 1 << i
		}
	}
	return 0
}

func (m *methods) add(method string) {
	switch bit := methodBit(method); {
	case method == http.MethodGet:
		m.known |= bit | methodBit(http.MethodHead)
	case bit != 0:
		m.known |= bit
	default:
		m.other = append(m.other, method)
	}
}

func (m *methods) empty() bool { return m.known == 0 && len(m.other) == 0 }

func (m *methods) take(method string) bool {
	return m.empty() || m.known&methodBit(method) != 0 || slices.Contains(m.other, method)
}

func (m *methods) list() []string {
	list := slices.Clone(m.other)
	for i, method := range knownMethods {
		if m.known&(1<<i) != 0 {
			list = append(list, method)
		}
	}
	return list
}

// condition is one on a header.
type condition struct {
	name   string // canonical
	equals string
	regex  *regexp.Regexp
	kind   conditionKind
}

type conditionKind uint8

const (
	headerEquals conditionKind = iota
	headerMatches
	headerPresent
	headerAbsent
)

func newCondition(h gateway.HeaderMatch) (condition, error) {
	c := condition{name: textproto.CanonicalMIMEHeaderKey(h.Name), equals: h.Equals}
	given := 0
	for kind, set := range []bool{h.Equals != "", h.Regex != "", h.Present, h.Absent} {
		if set {
			given++
			c.kind = conditionKind(kind)
		}
	}
	if h.Name == "" || given != 1 {
		return c, fmt.Errorf("it needs a name and exactly one of equals, regex, present and absent")
	}
	if c.kind == headerMatches {
		var err error
		if c.regex, err = regexp.Compile(h.Regex); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *condition) holds(q *request) bool {
	values := q.header[c.name]
	switch c.kind {
	case headerPresent:
		return len(values) > 0
	case headerAbsent:
		return len(values) == 0
	case headerMatches:
		return slices.ContainsFunc(values, c.regex.MatchString)
	default:
		return slices.Contains(values, c.equals)
	}
}

// String says what the condition asks for.
func (c *condition) String() string {
	switch c.kind {
	case headerPresent:
		return "header " + c.name + " present"
	case headerAbsent:
		return "header " + c.name + " absent"
	case headerMatches:
		return fmt.Sprintf("header %s matching %q", c.name, c.regex)
	default:
		return fmt.Sprintf("header %s equal to %q", c.name, c.equals)
	}
}
