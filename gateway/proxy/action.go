package proxy

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/balance"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk/breaker"
)

// Defaults of a route that says nothing itself.
const (
	DefaultTotal = 30 * time.Second
	DefaultIdle  = 5 * time.Minute
	// DefaultBudget is how many percent of a route's requests may be tried again.
	DefaultBudget = 20
)

// action is what is done with the requests of a route. It is immutable but for
// what it points to, which is shared by all forms that the route has over time.
type action struct {
	paths     []pathStep
	request   []headerEdit // in their order
	response  []headerEdit // the last filter first
	host      string       // sent as Host: "" for the client's, hostOfUpstream, or a name
	total     time.Duration
	perTry    time.Duration
	idle      time.Duration
	bodyLimit int64 // bytes; negative for none
	retry     retry
	fallback  *answer
	breaker   *gateway.Breaker

	pool    poolKey // of HTTP upstreams
	prefix  string  // of the path, escaped, without a slash at the end
	balance balance.By
	dubbo   http.Handler // for a Dubbo upstream
	users   users        // of dubbo

	// What the route was given when it came into service.
	upstream *pool
	state    *state
	circuit  atomic.Pointer[breaker.Circuit] // nil until the first request
}

const hostOfUpstream = "\x00upstream"

// retry says what is tried again, and of which requests.
type retry struct {
	attempts int
	reset    bool
	timeout  bool
	statuses []int
	methods  []string
	budget   int // percent
}

// compileAction reads what a route does with its requests.
func compileAction(r gateway.Route, dubbo Dubbo, registered bool) (*action, error) {
	a := &action{
		total: DefaultTotal, idle: DefaultIdle, bodyLimit: -1,
		balance: balances[r.Upstream.Balance],
		// A request of which nothing was sent is harmlessly sent elsewhere.
		retry: retry{attempts: 2, budget: DefaultBudget},
	}
	for i, f := range r.Filters {
		if err := a.filter(f); err != nil {
			return nil, invalid(fmt.Sprintf("filters[%d]", i), err, "the filter cannot be used")
		}
	}
	slices.Reverse(a.response)
	if err := a.to(r, dubbo, registered); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *action) filter(f gateway.Filter) error {
	switch {
	case f.StripPrefix != nil:
		a.paths = append(a.paths, stripPrefix(*f.StripPrefix))
	case f.AddPrefix != "":
		a.paths = append(a.paths, addPrefix(strings.TrimSuffix(escapeBare(f.AddPrefix), "/")))
	case f.SetPath != "":
		a.paths = append(a.paths, newSetPath(f.SetPath))
	case f.Rewrite != nil:
		expr, err := regexp.Compile(f.Rewrite.Regex)
		if err != nil {
			return err
		}
		a.paths = append(a.paths, rewrite{expr, f.Rewrite.With})
	case f.Request != nil:
		a.request = append(a.request, newHeaderEdit(f.Request))
	case f.Response != nil:
		a.response = append(a.response, newHeaderEdit(f.Response))
	case f.HostHeader == "upstream":
		a.host = hostOfUpstream
	case f.HostHeader != "" && f.HostHeader != "preserve":
		a.host = f.HostHeader
	case f.Timeout != nil:
		a.total = cmp.Or(time.Duration(f.Timeout.Total), a.total)
		a.perTry = time.Duration(f.Timeout.PerTry)
		a.idle = cmp.Or(time.Duration(f.Timeout.Idle), a.idle)
	case f.Retry != nil:
		return a.retry.read(f.Retry)
	case f.Breaker != nil:
		a.breaker = f.Breaker
	case f.Fallback != nil:
		a.fallback = newAnswer(f.Fallback)
	case f.BodyLimit != nil:
		a.bodyLimit = *f.BodyLimit
	}
	return nil
}

func (t *retry) read(r *gateway.Retry) error {
	t.attempts = r.Attempts
	t.budget = cmp.Or(r.Budget, DefaultBudget)
	t.methods = r.Methods
	for _, on := range r.On {
		switch on {
		case "connect":
		case "reset":
			t.reset = true
		case "timeout":
			t.timeout = true
		default:
			status, err := strconv.Atoi(on)
			if err != nil {
				return fmt.Errorf("%q is neither connect, reset, timeout nor a status", on)
			}
			t.statuses = append(t.statuses, status)
		}
	}
	return nil
}

// repeats reports whether a request that may have been served can be sent again.
func (t *retry) repeats(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return slices.Contains(t.methods, method)
}

// needsBody reports whether a second attempt may need the body again.
func (t *retry) needsBody() bool {
	return t.attempts > 1 && (t.reset || t.timeout || len(t.statuses) > 0)
}

// to reads where requests go.
func (a *action) to(r gateway.Route, dubbo Dubbo, registered bool) error {
	u := r.Upstream
	switch {
	case u.Dubbo != nil:
		if dubbo == nil {
			return invalid("upstream.dubbo", nil, "this gateway was started without Dubbo")
		}
		h, err := dubbo.Compile(r)
		a.dubbo = h
		a.users.n.Store(1) // the table
		return err
	case u.URL != "":
		to, err := url.Parse(u.URL)
		if err != nil || to.Host == "" {
			return invalid("upstream.url", err, "%q is no address", u.URL)
		}
		a.pool = poolKey{address: strings.ToLower(to.Host), protocol: cmp.Or(u.Protocol, protocolHTTP1)}
		if to.Scheme == "https" {
			a.pool.protocol = protocolTLS
		}
		a.pool.tls = tlsOf(u)
		a.prefix = strings.TrimSuffix(to.EscapedPath(), "/")
		return nil
	default:
		app, err := registry.ParseApp(u.App, r.Namespace)
		if err != nil {
			return invalid("upstream.app", err, "%q is no application", u.App)
		}
		if !registered {
			return invalid("upstream.app", nil, "this gateway was started without a registry, so it knows no applications: use upstream.url")
		}
		a.pool = poolKey{app: app, port: u.Port, protocol: u.Protocol, tls: tlsOf(u)}
		if u.TLS != nil { // whoever says whose certificate it has to be wants no call in clear, whatever the Service says
			a.pool.protocol = protocolTLS
		}
		return nil
	}
}

func tlsOf(u gateway.Upstream) gateway.UpstreamTLS {
	if u.TLS == nil {
		return gateway.UpstreamTLS{}
	}
	return *u.TLS
}

// pathStep changes an escaped path.
type pathStep interface {
	apply(escaped string, vars gateway.Vars) string
}

// stripPrefix takes segments off the begin.
type stripPrefix int

func (n stripPrefix) apply(escaped string, _ gateway.Vars) string {
	for range n {
		i := strings.IndexByte(escaped[1:], '/')
		if i < 0 {
			return "/"
		}
		escaped = escaped[i+1:]
	}
	return escaped
}

// addPrefix is escaped and has no slash at its end.
type addPrefix string

func (p addPrefix) apply(escaped string, _ gateway.Vars) string { return string(p) + escaped }

// setPath is a template: what stands between the variables, and their names.
type setPath struct {
	text  []string // one more than names; escaped
	names []string
}

var variableInPath = regexp.MustCompile(`\{([^{}]*)\}`)

func newSetPath(template string) *setPath {
	s := &setPath{}
	last := 0
	for _, m := range variableInPath.FindAllStringSubmatchIndex(template, -1) {
		s.text = append(s.text, escapeBare(template[last:m[0]]))
		s.names = append(s.names, template[m[2]:m[3]])
		last = m[1]
	}
	s.text = append(s.text, escapeBare(template[last:]))
	return s
}

func (s *setPath) apply(_ string, vars gateway.Vars) string {
	var b strings.Builder
	for i, name := range s.names {
		b.WriteString(s.text[i])
		value, _ := vars.Get(name)
		b.WriteString(value)
	}
	b.WriteString(s.text[len(s.names)])
	return b.String()
}

// rewrite replaces what an expression finds.
type rewrite struct {
	expr *regexp.Regexp
	with string
}

func (w rewrite) apply(escaped string, _ gateway.Vars) string {
	return w.expr.ReplaceAllString(escaped, w.with)
}

// rewritten returns the path that is sent on for one that was matched. What the
// filters made of it is looked at as a client's path is: a rewrite must not open
// the way around a match.
func (a *action) rewritten(p path, r *route) (path, error) {
	if len(a.paths) > 0 {
		escaped := p.escaped()
		var vars gateway.Vars
		if len(r.pattern.Segments) > 0 || r.pattern.Tail != "" {
			vars = r.escapedVars(escaped)
		}
		for _, step := range a.paths {
			escaped = step.apply(escaped, vars)
			if escaped == "" || escaped[0] != '/' {
				escaped = "/" + escaped
			}
		}
		var err error
		if p, err = parsePath(escaped); err != nil {
			return p, err
		}
	}
	if a.prefix != "" {
		return parsePath(a.prefix + p.escaped())
	}
	return p, nil
}

// escapedVars returns the variables as they stand in an escaped path.
func (r *route) escapedVars(escaped string) gateway.Vars {
	return r.vars(strings.Split(escaped[1:], "/"))
}

// headerEdit is an edit with its names in canonical form, in an order of its own.
type headerEdit struct {
	remove   []string
	set, add []field
}

type field struct{ name, value string }

func newHeaderEdit(e *gateway.HeaderEdit) headerEdit {
	h := headerEdit{set: fields(e.Set), add: fields(e.Add)}
	for _, name := range e.Remove {
		h.remove = append(h.remove, textproto.CanonicalMIMEHeaderKey(name))
	}
	return h
}

func fields(m map[string]string) []field {
	var out []field
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, field{textproto.CanonicalMIMEHeaderKey(name), m[name]})
	}
	return out
}

func (e *headerEdit) apply(h http.Header) {
	for _, name := range e.remove {
		delete(h, name)
	}
	for _, f := range e.set {
		h[f.name] = []string{f.value}
	}
	for _, f := range e.add {
		h[f.name] = append(slices.Clip(h[f.name]), f.value)
	}
}
