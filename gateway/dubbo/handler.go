package dubbo

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// knowWithin bounds how long a request waits for the registry's first word.
const knowWithin = 3 * time.Second

// handler serves one route.
type handler struct {
	d            *Dubbo
	app          registry.App
	following    *application
	hold         *hold
	target       target
	command      string
	mapping      *mapping
	attachments  []attachment
	bigAsStrings bool
	prefix       []byte // of requests of the Dubbo protocol
	attached     []byte // the begin of their attachments

	total, perTry time.Duration
	attempts      int
	retryOn       []string
	retryMethods  []string
	budget        budget
	counts        *counts
	circuit       atomic.Pointer[breaker.Circuit]
}

// Close lets go of the application; requests after that may find no provider.
func (h *handler) Close() error {
	h.hold.close()
	return nil
}

// exchange is one request on its way. It is used again for others.
type exchange struct {
	transcoder
	reader
	body    []byte
	args    []byte // within body's and encoder's lifetime
	attach  []byte
	frame   []byte
	message []byte
	tried   []*endpoint
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// maxKeptRefs is how many references and classes an exchange that is kept may have
// room for.
const maxKeptRefs = 8 << 10

func (x *exchange) free() {
	if cap(x.transcoder.b)+cap(x.body)+cap(x.out)+cap(x.frame)+cap(x.message) > 4*maxKept || cap(x.refs)+cap(x.reader.classes) > maxKeptRefs {
		return
	}
	clear(x.tried)
	x.tried, x.in = x.tried[:0], nil
	clear(x.refs)
	exchanges.Put(x)
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, _ := exchanges.Get().(*exchange)
	defer x.free()
	began := time.Now()
	out, p := h.serve(x, r)
	h.counts.seconds.Observe(time.Since(began).Seconds())
	if p != nil {
		h.counts.failed(p.Kind)
		p.write(w)
		return
	}
	h.counts.ok.Inc()
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Content-Length"] = []string{strconv.Itoa(len(out))}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(out) // the client is gone: nobody to tell
	}
}

var jsonType = []string{"application/json"}

// serve maps the request and makes the call.
func (h *handler) serve(x *exchange, r *http.Request) ([]byte, *callError) {
	var p *callError
	x.body, p = h.mapping.readBody(r, x.body[:0])
	if p != nil {
		return nil, p
	}
	req := request{vars: gateway.VarsOf(r.Context()), url: r.URL, header: r.Header}
	s := scanner{b: x.body}
	req.body = s.raw()
	if h.mapping.message {
		x.message, p = h.mapping.encodeMessage(x.message[:0], &req)
	} else {
		x.transcoder.b, x.transcoder.classes, x.transcoder.depth = x.transcoder.b[:0], x.transcoder.classes[:0], 0
		p = h.mapping.encode(&x.transcoder, &req)
		x.args = x.transcoder.b
	}
	if p != nil {
		return nil, p
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.total)
	defer cancel()
	return h.traced(ctx, x, r)
}

// traced makes the call within a client span.
func (h *handler) traced(ctx context.Context, x *exchange, r *http.Request) ([]byte, *callError) {
	if h.d.cfg.Tracer == nil {
		return h.guarded(ctx, x, r, nil)
	}
	span, ctx := h.d.cfg.Tracer.StartClient(ctx, h.command, governance.App{Namespace: h.app.Namespace, Name: h.app.Name})
	defer span.Finish()
	out, p := h.guarded(ctx, x, r, span)
	if p != nil {
		tagProblem(span, p)
	}
	return out, p
}

func tagProblem(span zipkin.Span, p *callError) {
	zipkin.TagError.Set(span, string(p.Kind)+": "+p.Detail)
}

// guarded makes the call under the method's circuit. span may be nil.
func (h *handler) guarded(ctx context.Context, x *exchange, r *http.Request, span zipkin.Span) ([]byte, *callError) {
	if h.d.cfg.Breakers == nil {
		return h.call(ctx, x, r, span)
	}
	c := h.circuit.Load()
	if c == nil {
		c = h.d.cfg.Breakers.Circuit(governance.Series{
			Command: h.command, At: governance.Caller, Peer: governance.App{Namespace: h.app.Namespace, Name: h.app.Name},
		}, breaker.WithClassify(classify))
		if c.Series().Command != breaker.Others { // else until a policy names the method
			h.circuit.Store(c)
		}
	}
	key, keyed := "", c.Keeps()
	if keyed {
		key = h.cacheKey(x, r)
	}
	trace.Governed(span, c.Series())
	call, err := c.Begin(ctx)
	if err != nil {
		p := refusal(err)
		var refused *breaker.Refused
		if errors.As(err, &refused) && span != nil {
			span.Annotate(time.Now(), "refused: "+err.Error())
			trace.Refused(span, refused)
		}
		if refused != nil && refused.Reason == breaker.ReasonGone {
			return nil, p
		}
		return h.fallback(c, p, key, keyed, span, refused)
	}
	out, p := h.call(call.Context(), x, r, span)
	if p == nil {
		call.End(breaker.Success)
		if keyed {
			c.Keep(key, slices.Clone(out))
		}
		return out, nil
	}
	if span != nil {
		tagProblem(span, p) // also where a fallback answers
	}
	if call.Done(p) == breaker.Ignored || p.Kind == kindCanceled {
		return nil, p
	}
	return h.fallback(c, p, key, keyed, span, nil)
}

// classify says what a problem tells of the provider, as sdk/dubbo does: a wrong
// request, a service's own exception and a switch tell nothing; an exception of
// Java's or Dubbo's classes, which every plain Go error is, speaks against it.
func classify(err error) breaker.Outcome {
	var p *callError
	if !errors.As(err, &p) {
		return breaker.Failure
	}
	switch p.Kind {
	case kindBadArgument, kindNotFound, kindOpen:
		return breaker.Ignored
	case kindException:
		if p.business {
			return breaker.Ignored
		}
		return breaker.Failure
	case kindTimeout:
		return breaker.Timeout
	case kindCanceled:
		return breaker.Canceled
	}
	return breaker.Failure
}

func refusal(err error) *callError {
	p := problem(http.StatusServiceUnavailable, kindOpen, "the method fails too often at present: its circuit is open")
	p.notRun = true
	var refused *breaker.Refused
	if !errors.As(err, &refused) {
		return p
	}
	switch refused.Reason {
	case breaker.ReasonSwitched:
		p.Code, p.Detail = codeSwitchedOff, "the method is switched off"
	case breaker.ReasonFull:
		p.Status, p.Title = http.StatusTooManyRequests, http.StatusText(http.StatusTooManyRequests)
		p.Kind, p.Detail = kindOverloaded, "the method has as many calls under way as it may"
	case breaker.ReasonGone:
		return ended(err)
	}
	return p
}

// fallback answers by what policy says, or with the problem. refused is why the
// call was not let through; nil for one that was.
func (h *handler) fallback(c *breaker.Circuit, p *callError, key string, keyed bool, span zipkin.Span, refused *breaker.Refused) ([]byte, *callError) {
	a, ok := c.Answer(c.Fallback(), key, keyed)
	if !ok {
		return nil, p
	}
	trace.Answered(span, c, a, refused)
	switch {
	case a.Value != nil:
		c.Answered(true)
		return a.Value, nil
	case a.Empty:
		c.Answered(true)
		return []byte("null"), nil
	case a.Cached:
		if kept, ok := a.Kept.([]byte); ok {
			c.Answered(true)
			return kept, nil
		}
	case a.Error != "":
		p.Detail = a.Error
	}
	c.Answered(false)
	return nil, p
}

var cacheSeed = maphash.MakeSeed()

// cacheKey stands for what is asked: the arguments and what travels along.
func (h *handler) cacheKey(x *exchange, r *http.Request) string {
	var m maphash.Hash
	m.SetSeed(cacheSeed)
	if h.mapping.message {
		_, _ = m.Write(x.message) // never fails
	} else {
		_, _ = m.Write(x.args) // never fails
	}
	for _, a := range h.attachments {
		_ = m.WriteByte(0) // never fails
		for _, v := range r.Header[a.header] {
			_, _ = m.WriteString(v) // never fails
		}
	}
	return h.target.group + "/" + h.target.version + "/" + strconv.FormatUint(m.Sum64(), 36)
}

// call tries endpoints until one answers.
func (h *handler) call(ctx context.Context, x *exchange, r *http.Request, span zipkin.Span) ([]byte, *callError) {
	h.budget.earn()
	var last *callError
	for attempt := range h.attempts {
		e, p := h.choose(ctx, x, r)
		if p != nil {
			if last != nil { // no other endpoint to try
				return nil, last
			}
			return nil, p
		}
		if attempt > 0 {
			h.counts.retries.Inc()
			if span != nil {
				span.Annotate(time.Now(), "retry: "+last.Detail)
			}
			trace.Retried(span, attempt)
		}
		x.tried = append(x.tried, e)
		out, p := h.try(ctx, e, x, r, span)
		if p == nil {
			return out, nil
		}
		last = p
		if ctx.Err() != nil || !h.again(p, r.Method) || attempt+1 == h.attempts || !h.budget.spend(p) {
			break
		}
	}
	return nil, last
}

// again reports whether a call that failed may be made again.
func (h *handler) again(p *callError, method string) bool {
	if p.notRun && p.Kind != kindNotFound {
		return true
	}
	if p.Kind == kindOpen || !repeatable(method) && // a switch is one for all instances
		!slices.Contains(h.retryMethods, method) {
		return false
	}
	return p.Kind == kindBroken && slices.Contains(h.retryOn, "reset") ||
		p.Kind == kindTimeout && slices.Contains(h.retryOn, "timeout") ||
		slices.Contains(h.retryOn, strconv.Itoa(p.Status))
}

func repeatable(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// choose returns the endpoint to try next.
func (h *handler) choose(ctx context.Context, x *exchange, r *http.Request) (*endpoint, *callError) {
	s := h.following.now.Load()
	if s == nil {
		wait, cancel := context.WithTimeout(ctx, knowWithin)
		defer cancel()
		if s = h.following.wait(wait); s == nil {
			if ctx.Err() != nil {
				return nil, ended(context.Cause(ctx))
			}
			return nil, h.noProvider("the registry has not told yet where %s is", h.app)
		}
	}
	list := s.candidates(h.mapping.message, h.tag(r))
	for e := pick(list, x.tried); e != nil; e = pick(list, x.tried) {
		e.acquire()
		if !e.left() {
			return e, nil
		}
		// It left the registry in this moment, and may be closed already.
		e.release()
		if s = h.following.now.Load(); s == nil {
			break
		}
		next := s.candidates(h.mapping.message, h.tag(r))
		if slices.ContainsFunc(next, func(c choice) bool { return c.endpoint == e }) {
			break // the application itself was let go of
		}
		list = next
	}
	switch {
	case s.instances == 0:
		return nil, h.noProvider("%s has no instances", h.app)
	case s.callable == 0 && s.instances == 1:
		return nil, h.noProvider("the only instance of %s takes no calls", h.app)
	case s.callable == 0:
		return nil, h.noProvider("none of the %d instances of %s takes calls", s.instances, h.app)
	case len(list) == 1:
		return nil, h.noProvider("the only endpoint of %s was tried", h.app)
	case len(list) > 0:
		return nil, h.noProvider("all %d endpoints of %s were tried", len(list), h.app)
	case h.mapping.message:
		return nil, h.noProvider("no instance of %s offers Triple, which methods with a message need", h.app)
	}
	return nil, h.noProvider("no instance of %s offers Dubbo or Triple", h.app)
}

func (h *handler) noProvider(format string, args ...any) *callError {
	p := problem(http.StatusServiceUnavailable, kindNoProvider, format, args...)
	p.notRun = true
	return p
}

// tag returns the request's traffic tag, if the route takes one along.
func (h *handler) tag(r *http.Request) string {
	for _, a := range h.attachments {
		if a.name == registry.KeyTag {
			return r.Header.Get(a.header)
		}
	}
	return ""
}

// try makes one attempt.
func (h *handler) try(ctx context.Context, e *endpoint, x *exchange, r *http.Request, span zipkin.Span) ([]byte, *callError) {
	defer e.release()
	if h.perTry > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.perTry)
		defer cancel()
	}
	if ctx.Err() != nil {
		return nil, ended(context.Cause(ctx))
	}
	var a answer
	var p *callError
	var err error
	switch {
	case e.triple == nil:
		a, p, err = h.tryDubbo(ctx, e, x, r, span)
	case h.mapping.message:
		header := h.target.headers("application/json")
		h.attachHeaders(header, r, span)
		a, p, err = e.triple.callJSON(ctx, &h.target, header, slices.Clone(x.message)) // the transport may read it after the answer
	default:
		header := h.target.headers("application/grpc+proto")
		h.attachHeaders(header, r, span)
		a, p, err = e.triple.callHessian(ctx, &h.target, header, x.args, &x.reader, h.bigAsStrings)
	}
	if a.closing {
		e.drain()
	}
	if err != nil {
		p = h.failed(ctx, e, err)
	}
	if p != nil {
		if p.Kind == kindOverloaded || p.Kind == kindBroken || p.Kind == kindUnreachable {
			e.rest()
		}
		return nil, p
	}
	return a.json, nil
}

func (h *handler) tryDubbo(ctx context.Context, e *endpoint, x *exchange, r *http.Request, span zipkin.Span) (answer, *callError, error) {
	left, _ := timeLeft(ctx)
	x.attach = append(x.attach[:0], h.attached...)
	for _, a := range h.attachments {
		if v := r.Header[a.header]; len(v) > 0 {
			x.attach = appendAttachment(x.attach, a.name, strings.Join(v, ","))
		}
	}
	if span != nil {
		trace.Inject(span.Context(), (*wireAttachments)(&x.attach))
	}
	resp, err := e.client.do(ctx, func(id uint64) []byte {
		x.frame = append(append(append(x.frame[:0], h.prefix...), x.args...), x.attach...)
		x.frame = finishRequest(x.frame, id, left)
		return x.frame
	})
	if err != nil {
		return answer{}, nil, err
	}
	defer resp.release()
	a, p := readAnswer(&x.reader, resp.header, *resp.body, h.bigAsStrings)
	return a, p, nil
}

// wireAttachments is a trace carrier that writes attachments as they are set.
type wireAttachments []byte

// Each implements trace.Carrier: nothing of a trace is there before.
func (*wireAttachments) Each(func(key, value string)) {}

// Set implements trace.Carrier.
func (w *wireAttachments) Set(key, value string) { *w = appendAttachment(*w, key, value) }

// Delete implements trace.Carrier.
func (*wireAttachments) Delete(string) {}

func (h *handler) attachHeaders(header http.Header, r *http.Request, span zipkin.Span) {
	for _, a := range h.attachments {
		if v := r.Header[a.header]; len(v) > 0 {
			header.Set(a.name, strings.Join(v, ","))
		}
	}
	if span != nil {
		trace.Inject(span.Context(), trace.Header(header))
	}
}

// failed maps what went wrong on the way.
func (h *handler) failed(ctx context.Context, e *endpoint, err error) *callError {
	var unsent *unsentError
	switch {
	case errors.As(err, &unsent) && ctx.Err() == nil:
		h.d.cfg.Log.DebugContext(ctx, "a Dubbo call could not be sent", "app", h.app.String(), "address", e.address, "error", err)
		p := problem(http.StatusServiceUnavailable, kindUnreachable, "an instance of %s cannot be reached", h.app)
		if errors.Is(err, errPending) {
			p = problem(http.StatusServiceUnavailable, kindOverloaded, "an instance of %s has too many calls under way", h.app)
		}
		p.notRun = true
		return p
	case errors.Is(err, errTooLarge):
		return badAnswer("the answer is larger than %d bytes", h.d.client.maxAnswer)
	case ctx.Err() != nil:
		p := ended(context.Cause(ctx))
		p.notRun = unsent != nil
		return p
	}
	h.d.cfg.Log.WarnContext(ctx, "a connection broke while a Dubbo call was under way", "app", h.app.String(), "address", e.address, "error", err)
	return problem(http.StatusBadGateway, kindBroken, "the connection to an instance of %s broke while the call was under way: the method may have run", h.app)
}

// ended maps the end of a context: a deadline, or a client that went away.
func ended(cause error) *callError {
	if errors.Is(cause, context.Canceled) {
		return problem(499, kindCanceled, "the client went away")
	}
	return problem(http.StatusGatewayTimeout, kindTimeout, "the provider did not answer in time")
}

// budget bounds calls made again: percent of the route's calls may be, and ten at
// once.
type budget struct {
	percent int64
	tokens  atomic.Int64 // hundredths of a call
}

const maxTokens = 10 * 100

func (b *budget) earn() {
	if t := b.tokens.Load(); t < maxTokens {
		b.tokens.Store(min(maxTokens, t+b.percent)) // a lost update costs a part of a token
	}
}

// spend takes what one more call costs. Calls of which nothing was sent cost
// nothing: they put no load on anybody.
func (b *budget) spend(p *callError) bool {
	if p.Kind == kindUnreachable {
		return true
	}
	if b.tokens.Add(-100) >= 0 {
		return true
	}
	b.tokens.Add(100)
	return false
}
