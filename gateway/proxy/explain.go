package proxy

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
)

// maxLosers is how many routes that lost are told of.
const maxLosers = 20

// endpointsWait is how long an explanation waits for the registry.
const endpointsWait = 500 * time.Millisecond

// Explainer says which route takes a request, by the table that gateways use. It
// needs no gateway. It is safe for concurrent use, and keeps the last table it
// built: asking again about the same routes costs no more than a search.
type Explainer struct {
	registry registry.Discoverer

	mu   sync.Mutex
	last *explained
}

type explained struct {
	sum    string
	table  *table
	routes []*route
	broken []gateway.Candidate
}

// NewExplainer returns an explainer. The registry says which endpoints a request
// would go to; nil leaves them out.
func NewExplainer(r registry.Discoverer) *Explainer { return &Explainer{registry: r} }

var _ gateway.Explainer = (*Explainer)(nil)

// Explain implements gateway.Explainer.
func (e *Explainer) Explain(ctx context.Context, versions []gateway.Version, s gateway.Sample) (gateway.Explanation, error) {
	q, err := requestOf(s)
	if err != nil {
		return gateway.Explanation{}, err
	}
	in := e.compile(versions)
	out := gateway.Explanation{Routes: len(versions), Losers: []gateway.Candidate{}}
	winner := in.table.find(q)
	if winner != nil {
		c := winner.candidate(q)
		c.Why = "it is the only route that takes the request"
		c.Endpoints = e.endpoints(ctx, winner)
		out.Winner = &c
	}
	var losers []loser
	for _, r := range in.routes {
		if r == winner {
			continue
		}
		l := loser{route: r, faults: r.faults(q)}
		if len(l.faults) <= 1 || r.revision == 0 { // revision 0: what somebody is about to write
			losers = append(losers, l)
		}
	}
	slices.SortFunc(losers, func(a, b loser) int {
		return cmp.Or(cmp.Compare(len(a.faults), len(b.faults)), place(a.route, q.host).Compare(place(b.route, q.host)))
	})
	if winner != nil && len(losers) > 0 && len(losers[0].faults) == 0 {
		out.Winner.Why = "it goes before " + losers[0].route.name + ": " + before(winner, losers[0].route, q.host)
	}
	for _, l := range losers {
		c := l.route.candidate(q)
		if c.Why = strings.Join(l.faults, "; "); c.Why == "" {
			c.Why = winner.name + " goes before it: " + before(winner, l.route, q.host)
		}
		out.Losers = append(out.Losers, c)
	}
	out.Losers = append(out.Losers, in.broken...)
	out.Losers = out.Losers[:min(len(out.Losers), maxLosers)]
	return out, nil
}

type loser struct {
	route  *route
	faults []string
}

// requestOf reads a sample.
func requestOf(s gateway.Sample) (request, error) {
	bad := func(field, format string, args ...any) (request, error) {
		return request{}, &gateway.Error{Code: gateway.Invalid, Field: field, Message: fmt.Sprintf(format, args...)}
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "" && u.Host == "" || u.Opaque != "" {
		return bad("url", "%.200q is no URL: write http://host/path, or a path with a host beside it", s.URL)
	}
	if u.Host != "" && u.Path == "" {
		u.Path = "/"
	}
	p, err := pathOf(u)
	if err != nil {
		return bad("url", "%s: a gateway answers 400", err)
	}
	header := http.Header{}
	for name, values := range s.Header {
		name = textproto.CanonicalMIMEHeaderKey(name)
		header[name] = append(header[name], values...)
	}
	return request{
		method: strings.ToUpper(cmp.Or(s.Method, http.MethodGet)), host: hostOf(cmp.Or(s.Host, u.Host)),
		segments: p.split(nil), header: header,
	}, nil
}

// compile builds the table of routes, unless it is the one that was built last.
func (e *Explainer) compile(versions []gateway.Version) *explained {
	var sum gateway.Sum
	draft := false // what is not written yet has no revision by which to be told
	for _, v := range versions {
		sum.Toggle(v)
		draft = draft || v.Revision == 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last != nil && e.last.sum == sum.String() && !draft {
		return e.last
	}
	in := &explained{sum: sum.String(), table: &table{}}
	made := new(edit)
	for _, v := range versions {
		if v.Deleted {
			continue
		}
		r, err := compileRoute(v, anyDubbo{}, true)
		if err != nil {
			in.broken = append(in.broken, gateway.Candidate{Key: v.Route.Key(), Revision: v.Revision, Why: "it cannot be served: " + err.Error()})
			continue
		}
		in.routes = append(in.routes, r)
		if !v.Route.Disabled {
			in.table = in.table.with(made, r)
		}
	}
	if draft {
		return in
	}
	e.last = in
	return in
}

// anyDubbo takes every Dubbo upstream: explaining does not call them.
type anyDubbo struct{}

func (anyDubbo) Compile(gateway.Route) (http.Handler, error) { return http.NotFoundHandler(), nil }

// faults says what keeps a route from taking a request; nothing if it would.
func (r *route) faults(q request) []string {
	var out []string
	if r.spec.Disabled {
		out = append(out, "it is disabled")
	}
	if !r.takesHost(q.host) {
		var hosts []string
		for _, h := range r.hosts {
			hosts = append(hosts, h.String())
		}
		out = append(out, fmt.Sprintf("its host is %s, not %q", strings.Join(hosts, " or "), q.host))
	}
	if !r.pattern.Match(q.segments) {
		out = append(out, "its path "+r.spec.Match.Path+" does not take the request's")
	}
	if !r.methods.take(q.method) {
		out = append(out, fmt.Sprintf("its method is %s, not %s", strings.Join(r.methods.list(), " or "), q.method))
	}
	for i := range r.headers {
		if !r.headers[i].holds(&q) {
			out = append(out, "it needs "+r.headers[i].String())
		}
	}
	return out
}

// place is where a route stands in the order of those that take a host.
func place(r *route, host string) gateway.Alternative {
	all, err := r.spec.Alternatives()
	if err != nil || len(all) == 0 {
		return gateway.Alternative{Route: r.spec}
	}
	taking := slices.DeleteFunc(slices.Clone(all), func(a gateway.Alternative) bool { return !gateway.HostTakes(a.Host, host) })
	if len(taking) == 0 {
		taking = all
	}
	return slices.MinFunc(taking, gateway.Alternative.Compare)
}

// before says why a goes before b, both of which take the request.
func before(a, b *route, host string) string {
	x, y := place(a, host), place(b, host)
	switch {
	case a.priority != b.priority:
		return fmt.Sprintf("its priority is %d, the other's %d", a.priority, b.priority)
	case x.Host != y.Host:
		return fmt.Sprintf("its host %s is more specific than %s", hostWord(x.Host), hostWord(y.Host))
	case x.Pattern.Compare(y.Pattern) != 0:
		return fmt.Sprintf("its path %s is more specific than %s", pathWord(a), pathWord(b))
	case a.methods.empty() != b.methods.empty():
		return "it names its methods"
	case len(a.headers) != len(b.headers):
		return fmt.Sprintf("it has %d conditions on headers, the other %d", len(a.headers), len(b.headers))
	default:
		return "nothing else tells them apart, and its name comes first"
	}
}

func hostWord(h string) string { return cmp.Or(h, "(any)") }

func pathWord(r *route) string { return cmp.Or(r.spec.Match.Path, "(any)") }

func (r *route) candidate(q request) gateway.Candidate {
	c := gateway.Candidate{Key: r.key, Revision: r.revision, Upstream: upstreamWord(r)}
	if r.pattern.Match(q.segments) {
		for _, v := range r.vars(q.segments) {
			if c.Vars == nil {
				c.Vars = map[string]string{}
			}
			c.Vars[v.Name] = v.Value
		}
	}
	return c
}

func upstreamWord(r *route) string {
	u := r.spec.Upstream
	switch {
	case u.Dubbo != nil:
		short := u.Dubbo.Interface[strings.LastIndexByte(u.Dubbo.Interface, '.')+1:]
		return "dubbo " + u.Dubbo.App + " " + short + "." + u.Dubbo.Method
	case u.URL != "":
		return u.URL
	default:
		return r.action.pool.String()
	}
}

// endpoints returns where a route's requests would go now.
func (e *Explainer) endpoints(ctx context.Context, r *route) []string {
	if e.registry == nil || r.action.pool.app.Name == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endpointsWait)
	defer cancel()
	s, err := e.registry.Snapshot(ctx, r.action.pool.app)
	if err != nil {
		return nil
	}
	port, err := r.action.pool.portOf(s.Service)
	if err != nil {
		return nil
	}
	var out []string
	for _, i := range s.Callable() {
		out = append(out, net.JoinHostPort(i.Host.String(), strconv.Itoa(int(port.Number))))
	}
	return out
}
