package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// exchange is one request on its way through the gateway.
type exchange struct {
	p       *Proxy
	w       http.ResponseWriter
	r       *http.Request
	route   *route
	path    path // as it was matched
	began   time.Time
	span    zipkin.Span      // nil without tracing
	refused *breaker.Refused // why the circuit did not let it through; nil for others
	upgrade bool

	status   int // of the answer; 0 while there is none
	bytes    int64
	attempts int
	endpoint string // that answered
	code     string // of the problem, if there was one
	stream   bool   // the answer lasts as long as somebody listens
	observed bool
	cut      atomic.Bool // the client's body was
}

// ServeHTTP sends a request to the upstream of the route that takes it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{p: p, w: w, r: r, began: p.now()}
	p.active.Add(1)
	defer x.end()
	x.serve()
}

func (x *exchange) serve() {
	p, r := x.p, x.r
	if r.Method == http.MethodConnect {
		x.fail(&problem{status: http.StatusNotImplemented, code: codeTunnel, detail: "This gateway opens no tunnels."})
		return
	}
	var err error
	if x.path, err = pathOf(r.URL); err != nil {
		x.fail(&problem{status: http.StatusBadRequest, code: codeBadPath, detail: sentence(err)})
		return
	}
	table := p.table.Load()
	if table == nil {
		x.fail(&problem{status: http.StatusServiceUnavailable, code: codeNotReady, retry: time.Second, detail: "This gateway has not read its routes yet."})
		return
	}
	var inline [maxInline]string
	q := request{method: r.Method, host: hostOf(r.Host), segments: x.path.split(inline[:0]), header: r.Header}
	x.route = table.find(q)
	for x.route != nil && x.route.action.dubbo != nil && !x.route.action.users.enter() {
		now := p.table.Load()
		if now == table { // no other form of the route will come
			x.route = nil
			x.fail(&problem{status: http.StatusServiceUnavailable, code: codeNotReady, retry: time.Second, detail: "This gateway is stopping."})
			return
		}
		table = now // the route was replaced meanwhile
		x.route = table.find(q)
	}
	if x.route == nil {
		x.noRoute(table, q)
		return
	}
	if a := x.route.action; a.dubbo != nil {
		defer a.users.leave(a.dubbo)
	}
	if p.loops(r) {
		x.fail(&problem{status: http.StatusLoopDetected, code: codeLoop, detail: fmt.Sprintf("The request has passed gateways named %q %d times: a route seems to lead back to the gateway.", p.config.Via, maxPasses)})
		return
	}
	x.trace()
	a := x.route.action
	a.state.budget.earn(a.retry.budget)
	if a.bodyLimit >= 0 {
		if r.ContentLength > a.bodyLimit {
			x.fail(tooLargeFor(a))
			return
		}
		r.Body = http.MaxBytesReader(x.w, r.Body, a.bodyLimit)
	}
	if a.dubbo != nil {
		x.dubbo(x.route.vars(q.segments))
		return
	}
	x.http()
}

// noRoute answers for want of a route: 405 where another method would have been
// taken, else 404.
func (x *exchange) noRoute(t *table, q request) {
	if allowed := t.allowed(q); len(allowed) > 0 {
		x.fail(&problem{
			status: http.StatusMethodNotAllowed, code: codeMethod, allow: strings.Join(allowed, ", "),
			detail: fmt.Sprintf("A route takes this path, but not with %s: it takes %s.", printable(x.r.Method), strings.Join(allowed, ", ")),
		})
		return
	}
	x.fail(&problem{status: http.StatusNotFound, code: codeNoRoute, detail: fmt.Sprintf("No route of this gateway takes %s %s on host %q.", printable(x.r.Method), printable(x.path.escaped()), printable(x.r.Host))})
}

func tooLargeFor(a *action) *problem {
	return &problem{
		status: http.StatusRequestEntityTooLarge, code: codeTooLarge,
		detail: fmt.Sprintf("The request's body has more than the %d bytes that this route takes.", a.bodyLimit),
	}
}

// printable bounds what of a request is told back.
func printable(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// fail answers a problem, or what the route or a policy says to answer instead.
func (x *exchange) fail(p *problem) {
	x.code = p.code
	if p.err != nil && x.p.config.Log != nil && p.code != codeClientGone {
		x.p.failures.log(x, p)
	}
	if p.code == codeClientGone || x.r.Context().Err() != nil && !x.cut.Load() { // nobody is there to read it
		x.status, x.code = statusClientGone, codeClientGone
		panic(http.ErrAbortHandler)
	}
	name := ""
	if x.route != nil {
		name = x.route.name
		if p.upstream && x.fallback(p) {
			return
		}
	}
	x.status = p.status
	p.write(x.w, x.r, name)
}

// fallback answers in place of an upstream that did not. What an active policy
// says goes before what the route says.
func (x *exchange) fallback(p *problem) bool {
	a := x.route.action
	if c := a.circuit.Load(); c != nil {
		if said, ok := c.Answer(c.Fallback(), "", false); ok {
			switch {
			case said.Error != "":
				trace.Answered(x.span, c, said, x.refused)
				p.detail = said.Error
				return false
			case said.Value != nil:
				c.Answered(true)
				trace.Answered(x.span, c, said, x.refused)
				x.answer(&answer{status: http.StatusOK, header: []field{{"Content-Type", "application/json"}}, body: said.Value}, p.code)
				return true
			case said.Empty:
				c.Answered(true)
				trace.Answered(x.span, c, said, x.refused)
				x.answer(&answer{status: http.StatusNoContent}, p.code)
				return true
			}
		}
	}
	if a.fallback == nil {
		return false
	}
	if c := a.circuit.Load(); c != nil {
		c.Answered(true)
	}
	trace.Fallback(x.span, trace.FallbackRoute, "", 0)
	x.answer(a.fallback, p.code)
	return true
}

func (x *exchange) answer(a *answer, code string) {
	if x.span != nil {
		x.span.Annotate(x.p.now(), "fallback")
	}
	x.p.metrics.fallback(x.route)
	x.status, x.code = a.status, code
	a.write(x.w, x.r, code)
}

// end counts what has ended, also when it ended by a panic that tells net/http
// to close the connection.
func (x *exchange) end() {
	x.observe()
	x.finishSpan()
	x.logAccess()
	x.p.exits()
}

// observe counts the exchange, once: when its answer has ended, or, for one that
// goes on for as long as somebody listens, when it has begun.
func (x *exchange) observe() {
	if !x.observed {
		x.observed = true
		x.p.metrics.observe(x.route, x.status, x.p.now().Sub(x.began))
	}
}

// dubbo serves a request by a Dubbo upstream.
func (x *exchange) dubbo(vars gateway.Vars) {
	a := x.route.action
	ctx, cancel := context.WithTimeoutCause(x.r.Context(), a.total, errTotal)
	defer cancel()
	call, refusal := x.begin()
	if refusal != nil {
		x.fail(refusal)
		return
	}
	if call != nil {
		if at, ok := call.Context().Deadline(); ok {
			ctx, cancel = context.WithDeadline(ctx, at)
			defer cancel()
		}
	}
	if x.span != nil {
		ctx = zipkin.NewContext(ctx, x.span)
	}
	r := x.r.WithContext(gateway.WithVars(ctx, vars))
	r.Header = x.p.outHeader(x.r, false)
	delete(r.Header, "Te")
	for i := range a.request {
		a.request[i].apply(r.Header)
	}
	if r.Body != nil && r.ContentLength != 0 {
		body := &arriving{ReadCloser: r.Body}
		r.Body = body
		defer context.AfterFunc(ctx, func() {
			if !body.done.Load() {
				_ = x.cutBody() // a server without deadlines waits
			}
		})()
	}
	w := &capture{ResponseWriter: x.w, header: make(http.Header), x: x}
	ended := false
	defer func() { // also when the handler panics
		if call != nil && !ended {
			call.End(outcomeOf(http.StatusInternalServerError, nil))
		}
	}()
	a.dubbo.ServeHTTP(w, r)
	w.finish()
	ended = true
	if call != nil {
		if w.code == codeSwitchedOff { // somebody's will, which tells nothing of the upstream
			call.End(breaker.Ignored)
		} else {
			call.End(outcomeOf(w.status, x.r.Context().Err()))
		}
	}
	if w.withheld {
		x.fail(&problem{status: w.status, code: cmp.Or(w.code, codeReset), detail: "The upstream did not answer as it should.", upstream: true})
	}
}

// arriving is a client's body that knows whether it was read to its end.
type arriving struct {
	io.ReadCloser
	done atomic.Bool
}

func (a *arriving) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.done.Store(true)
	}
	return n, err
}

// capture stands before the client for a handler, to see its status, to edit its
// headers, and to withhold an answer for which there is a fallback.
type capture struct {
	http.ResponseWriter
	x        *exchange
	header   http.Header
	status   int
	code     string // of the handler's problem, if it answers one
	withheld bool
}

func (c *capture) Header() http.Header {
	if c.status != 0 && !c.withheld {
		return c.ResponseWriter.Header()
	}
	return c.header
}

func (c *capture) WriteHeader(status int) {
	if c.status != 0 {
		return
	}
	if status < 200 {
		return
	}
	a := c.x.route.action
	c.status, c.code = status, c.header.Get(ErrorHeader)
	gave := status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
	if c.x.hasFallback() && (gave || status >= 500 && a.fallback != nil && a.fallback.on5xx) {
		c.withheld = true
		return
	}
	h := c.ResponseWriter.Header()
	maps.Copy(h, c.header)
	for i := range a.response {
		a.response[i].apply(h)
	}
	c.x.status, c.x.code = status, c.code
	c.ResponseWriter.WriteHeader(status)
}

func (c *capture) Write(b []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	if c.withheld {
		return len(b), nil
	}
	n, err := c.ResponseWriter.Write(b)
	c.x.bytes += int64(n)
	return n, err
}

// Flush sends what was written.
func (c *capture) Flush() {
	c.WriteHeader(http.StatusOK)
	if !c.withheld {
		_ = http.NewResponseController(c.ResponseWriter).Flush() // a writer that cannot flush does not buffer
	}
}

func (c *capture) finish() { c.WriteHeader(http.StatusOK) }

func (x *exchange) hasFallback() bool {
	a := x.route.action
	if a.fallback != nil {
		return true
	}
	c := a.circuit.Load()
	return c != nil && c.Fallback() != nil
}

var (
	errTotal  = errors.New("the route's total timeout has passed")
	errPerTry = errors.New("the route's timeout of one attempt has passed")
	errIdle   = errors.New("nothing moved for as long as the route allows")
	errDrain  = errors.New("the gateway is stopping")
)
