package proxy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/internal/balance"
	"github.com/weirmesh/weir/sdk/trace"
)

// maxReplay is how large a body may be to be sent again.
const maxReplay = 64 << 10

// endpointsKnown is how long a request waits for an application of which nothing
// was heard yet: a route may be live before its application's endpoints are.
const endpointsKnown = 2 * time.Second

// errTried ends the attempt whose answer is not taken.
var errTried = errors.New("another attempt follows")

// http serves a request by an HTTP upstream.
func (x *exchange) http() {
	a := x.route.action
	to, err := a.rewritten(x.path, x.route)
	if err != nil {
		x.fail(&problem{status: http.StatusBadRequest, code: codeUnreachable, detail: "The route's filters make no path of this one that could be sent on: " + err.Error() + "."})
		return
	}
	call, refusal := x.begin()
	if refusal != nil {
		x.fail(refusal)
		return
	}
	x.upgrade = wantsWebSocket(x.r)
	f := &forward{exchange: x, action: a, path: to, until: x.began.Add(a.total)}
	if at, ok := deadlineOf(call); ok && at.Before(f.until) {
		f.until = at
	}
	f.ctx, f.cancel = context.WithCancelCause(x.r.Context())
	f.watch = newWatch(f.until.Sub(x.p.now()), func() { f.cancel(errTotal) })
	ended := false
	defer func() {
		if call != nil && !ended {
			call.End(outcomeOf(http.StatusInternalServerError, nil)) // a panic of ours
		}
		f.watch.stop()
		f.cancel(nil)
		f.endBody()
	}()
	response, failed := f.send()
	f.answers()
	ended = true
	if failed != nil {
		if call != nil {
			call.End(outcomeOfProblem(failed))
		}
		f.closeIfSending()
		x.fail(failed)
		return
	}
	defer f.finish(response)
	if call != nil {
		call.End(outcomeOf(response.StatusCode, nil))
	}
	x.status = response.StatusCode
	if response.StatusCode >= 500 && a.fallback != nil && a.fallback.on5xx {
		f.closeIfSending()
		trace.Fallback(x.span, trace.FallbackRoute, "", 0)
		x.answer(a.fallback, codeReset)
		return
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		x.switchProtocols(f, response)
		return
	}
	x.respond(f, response)
}

// forward is the sending of one request, over one or more attempts.
type forward struct {
	*exchange
	action *action
	path   path
	ctx    context.Context //nolint:containedctx // of this one request
	cancel context.CancelCauseFunc
	until  time.Time // by when there has to be an answer
	watch  *watch

	header http.Header
	body   *clientBody
	replay []byte // the whole body, where it may be sent again
	tried  []*member
	using  *member // that answered
	stop   func()  // ends the attempt that answered

	// Informational answers come from net/http's goroutines, which may outlast
	// their attempt; answering is off once the real answer is written.
	informs   sync.Mutex
	answering bool
}

// send returns the upstream's answer or what went wrong.
func (f *forward) send() (*http.Response, *problem) {
	if failed := f.prepare(); failed != nil {
		return nil, failed
	}
	pool := f.action.upstream
	if failed := f.awaitKnown(pool); failed != nil {
		return nil, failed
	}
	var last *problem
	for {
		wish := f.wish(pool)
		e := pool.Pick(&wish)
		if e == nil {
			if last != nil {
				return nil, last
			}
			return nil, noEndpoint(pool)
		}
		f.attempts++
		response, failed := f.attempt(pool, e)
		again := f.mayRepeat(response, failed)
		if again && !f.hasOther(pool, e) {
			again = false
		}
		if again && !f.action.state.budget.spend() {
			f.p.metrics.budgetSpent(f.route)
			again = false
		}
		if !again {
			if failed != nil {
				e.Release()
				return nil, failed
			}
			f.using, f.endpoint = e, e.Address
			return response, nil
		}
		f.p.metrics.retry(f.route)
		if f.span != nil {
			f.span.Annotate(f.p.now(), "retry")
		}
		trace.Retried(f.span, f.attempts)
		f.discard(response, e)
		f.tried = append(f.tried, e)
		last = failed
		if last == nil {
			last = &problem{status: response.StatusCode, code: codeReset, detail: "The upstream answered " + response.Status + " and no other endpoint is left.", upstream: true}
		}
	}
}

// wish is which endpoints to take. What stands behind a URL is not known to be one
// server, so it may be asked again.
func (f *forward) wish(p *pool) balance.Wish[*endpoint] {
	w := balance.Wish[*endpoint]{By: f.action.balance, AnyTag: true}
	if p.key.address == "" {
		w.Tried = f.tried
	}
	return w
}

// hasOther reports whether there is an endpoint left once e has been tried.
func (f *forward) hasOther(p *pool, e *member) bool {
	wish := f.wish(p)
	return p.key.address != "" || p.Others(&wish, e)
}

// sending reports whether the client of a failed request still sends its body.
func (f *forward) sending() bool {
	return f.body != nil && f.replay == nil && !f.body.ended.Load()
}

// closeIfSending has the connection closed after an answer that came before the
// client had sent its body.
func (f *forward) closeIfSending() {
	if f.sending() && f.r.ProtoMajor == 1 {
		f.w.Header()["Connection"] = []string{"close"}
	}
}

// endBody makes sure that nobody reads the client's body any more: the connection
// is net/http's again once the exchange has ended.
func (f *forward) endBody() {
	if f.body == nil || f.replay != nil {
		return
	}
	if f.sending() {
		_ = http.NewResponseController(f.w).Flush() // a writer that cannot flush does not buffer
		if f.cutBody() != nil {
			return // a server that cannot end a read: its own concern
		}
	}
	f.body.end()
}

// discard ends an attempt whose answer is not taken.
func (f *forward) discard(response *http.Response, e *member) {
	if response != nil {
		f.stop()
		_ = response.Body.Close() // nothing more of it is of interest
	}
	e.Release()
}

// finish ends the attempt that answered.
func (f *forward) finish(response *http.Response) {
	f.cancel(nil)
	f.stop()
	_ = response.Body.Close() // it was read to its end, or its connection is broken
	f.using.Release()
}

// prepare makes what all attempts share.
func (f *forward) prepare() *problem {
	f.header = f.p.outHeader(f.r, f.upgrade)
	for i := range f.action.request {
		f.action.request[i].apply(f.header)
	}
	if f.r.Body == nil || f.r.Body == http.NoBody || f.r.ContentLength == 0 {
		return nil
	}
	f.body = &clientBody{source: f.r.Body}
	t := &f.action.retry
	if !t.needsBody() || !t.repeats(f.r.Method) || f.r.ContentLength < 0 || f.r.ContentLength > maxReplay {
		// Else net/http holds an answer back until the body has arrived, and an
		// upstream that refuses a body is heard only after it was sent.
		_ = http.NewResponseController(f.w).EnableFullDuplex() // HTTP/2 always is
		return nil
	}
	data := make([]byte, f.r.ContentLength)
	stop := context.AfterFunc(f.ctx, func() { _ = f.cutBody() }) // a server without deadlines waits
	_, err := io.ReadFull(f.body, data)
	if !stop() || err != nil {
		return f.bodyFailed(err)
	}
	f.replay = data
	delete(f.header, "Expect") // was answered by reading
	return nil
}

// cutBody ends all reading of the client's body, which may take for ever. It must
// not be called once the body was read to its end, since net/http then watches
// the connection for the client's going away.
func (x *exchange) cutBody() error {
	x.cut.Store(true)
	return http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0))
}

func (f *forward) bodyFailed(err error) *problem {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return tooLargeFor(f.action)
	}
	if errors.Is(context.Cause(f.ctx), errTotal) {
		return &problem{status: http.StatusRequestTimeout, code: codeBody, detail: "The request's body did not arrive in time.", err: err}
	}
	if isGone(f.r.Context()) {
		return &problem{status: statusClientGone, code: codeClientGone, err: err}
	}
	return &problem{status: http.StatusBadRequest, code: codeBody, detail: "The request's body broke off.", err: err}
}

// awaitKnown waits until it is known which endpoints there are.
func (f *forward) awaitKnown(p *pool) *problem {
	select {
	case <-p.Known():
		return nil
	default:
	}
	timer := time.NewTimer(endpointsKnown)
	defer timer.Stop()
	select {
	case <-p.Known():
		return nil
	case <-timer.C:
		return &problem{status: http.StatusServiceUnavailable, code: codeNoEndpoint, retry: time.Second, upstream: true, detail: "The registry has not said yet which endpoints the application " + p.key.app.String() + " has."}
	case <-f.ctx.Done():
		return f.broken(context.Cause(f.ctx), nil)
	}
}

func noEndpoint(p *pool) *problem {
	why := cmp.Or(p.Why(), "there is none")
	return &problem{status: http.StatusServiceUnavailable, code: codeNoEndpoint, retry: time.Second, upstream: true, detail: "No endpoint can take the request: " + why + "."}
}

// attempt sends the request to one endpoint.
func (f *forward) attempt(pool *pool, e *member) (*http.Response, *problem) {
	ctx := f.ctx
	f.stop = func() {}
	if f.action.perTry > 0 { // the attempt needs an end of its own
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		f.stop = func() { cancel(errTried) }
		timer := time.AfterFunc(f.action.perTry, func() { cancel(errPerTry) })
		defer timer.Stop()
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: f.inform})
	out := f.request(ctx, e.Conn)
	if f.span != nil {
		span, _ := f.p.config.Tracer.StartClient(ctx, f.spanName(), peerOf(f.route))
		trace.Inject(span.Context(), trace.Header(out.Header))
		defer span.Finish()
		response, failed := f.roundTrip(pool, e, out)
		if failed != nil {
			span.Tag("error", failed.code)
		} else {
			tagStatus(span, response.StatusCode)
		}
		return response, failed
	}
	return f.roundTrip(pool, e, out)
}

func (f *forward) roundTrip(pool *pool, e *member, out *http.Request) (*http.Response, *problem) {
	if f.body != nil && f.replay == nil {
		// A transport does not come back while it reads the body.
		defer context.AfterFunc(out.Context(), func() {
			if !f.body.ended.Load() {
				_ = f.cutBody() // a server without deadlines waits
			}
		})()
	}
	response, err := e.Conn.transportFor(f.upgrade).RoundTrip(out)
	if err == nil {
		e.Accepted()
		if response.StatusCode >= 100 {
			return response, nil
		}
		_ = response.Body.Close() // it is no HTTP
		err = fmt.Errorf("the upstream answers with the status %q, which is none", response.Status)
	}
	cause := context.Cause(out.Context())
	f.stop()
	failed := f.broken(err, cause)
	if failed.code == codeConnect {
		pool.Refused(e)
	}
	return nil, failed
}

// request makes the request of one attempt.
func (f *forward) request(ctx context.Context, e *endpoint) *http.Request {
	out := f.r.WithContext(ctx)
	out.URL = &url.URL{Scheme: e.scheme, Host: e.address, Path: f.path.plain, RawPath: f.path.raw, RawQuery: f.r.URL.RawQuery, ForceQuery: f.r.URL.ForceQuery}
	out.Header = f.header
	if f.attempts > 1 || f.span != nil {
		out.Header = f.header.Clone() // the transport of the attempt before may still read them
	}
	out.RequestURI = ""
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	out.Close = false
	out.Form, out.PostForm, out.MultipartForm = nil, nil, nil
	switch f.action.host {
	case "":
	case hostOfUpstream:
		out.Host = e.address
		if key := f.action.upstream.key; key.address != "" {
			out.Host = key.address
		}
	default:
		out.Host = f.action.host
	}
	switch {
	case f.body == nil:
		out.Body, out.ContentLength, out.TransferEncoding = nil, 0, nil
	case f.replay != nil:
		out.Body = io.NopCloser(bytes.NewReader(f.replay))
	default:
		out.Body = f.body
	}
	return out
}

// broken says what the failure of an attempt means. cause is why its context
// ended, nil if it has not.
func (f *forward) broken(err, cause error) *problem {
	connect := (*connectError)(nil)
	switch {
	case errors.Is(cause, errPerTry), errors.Is(cause, errTotal), errors.Is(err, errTotal):
		return &problem{status: http.StatusGatewayTimeout, code: codeTimeout, detail: "The upstream did not answer in time.", err: err, upstream: true}
	case isGone(f.r.Context()):
		return &problem{status: statusClientGone, code: codeClientGone, err: err}
	case f.body != nil && f.body.failure() != nil:
		return f.bodyFailed(f.body.failure())
	case errors.As(err, &connect):
		if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
			return &problem{status: http.StatusBadGateway, code: codeConnect, detail: "The upstream's certificate is not for whom the route calls, or of nobody that the gateway believes.", err: err, upstream: true}
		}
		return &problem{status: http.StatusBadGateway, code: codeConnect, detail: "The upstream takes no connection.", err: err, upstream: true}
	default:
		return &problem{status: http.StatusBadGateway, code: codeReset, detail: "The connection to the upstream broke, or what came back was no HTTP.", err: err, upstream: true}
	}
}

// mayRepeat reports whether the route wants another attempt, and whether one can
// be made.
func (f *forward) mayRepeat(response *http.Response, failed *problem) bool {
	t := &f.action.retry
	if f.attempts >= t.attempts || f.ctx.Err() != nil {
		return false
	}
	if failed != nil && failed.code == codeConnect {
		return f.body == nil || f.replay != nil || !f.body.begun()
	}
	wanted := false
	switch {
	case failed == nil:
		wanted = slices.Contains(t.statuses, response.StatusCode)
	case failed.code == codeTimeout:
		wanted = t.timeout
	case failed.code == codeReset:
		wanted = t.reset
	}
	return wanted && t.repeats(f.r.Method) && !f.upgrade && (f.body == nil || f.replay != nil)
}

// inform passes an informational answer on, such as 103 Early Hints. 100 is
// net/http's to give, once it reads the body.
func (f *forward) inform(code int, header textproto.MIMEHeader) error {
	f.informs.Lock()
	defer f.informs.Unlock()
	if f.answering || code == http.StatusContinue {
		return nil
	}
	h := f.w.Header()
	maps.Copy(h, http.Header(header))
	removeHopByHop(h)
	f.w.WriteHeader(code)
	clear(h)
	return nil
}

// answers ends the time of informational answers.
func (f *forward) answers() {
	f.informs.Lock()
	defer f.informs.Unlock()
	f.answering = true
}

// clientBody is the body of the client, which one attempt after another may be
// given, as long as nothing of it was read.
type clientBody struct {
	mu     sync.Mutex // held by a read
	closed bool
	source io.Reader
	read   atomic.Bool
	ended  atomic.Bool
	err    atomic.Pointer[error]
}

func (b *clientBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	b.read.Store(true)
	n, err := b.source.Read(p)
	if err != nil {
		b.ended.Store(true)
		if !errors.Is(err, io.EOF) {
			b.err.CompareAndSwap(nil, &err)
		}
	}
	return n, err
}

// Close leaves the body open: the server closes it when the exchange has ended.
func (b *clientBody) Close() error { return nil }

// end waits for a read under way and allows no other.
func (b *clientBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

func (b *clientBody) begun() bool { return b.read.Load() }

func (b *clientBody) failure() error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}

// watch calls a function when time has passed, and can be set anew. Once stop has
// returned it never will.
type watch struct {
	mu    sync.Mutex
	timer *time.Timer
	late  func()
	ended bool
	fired bool
}

func newWatch(d time.Duration, late func()) *watch {
	w := &watch{late: late}
	w.timer = time.AfterFunc(d, w.fire)
	return w
}

func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.fired = true
		w.late()
	}
}

// move gives the watch a new time and what to do then.
func (w *watch) move(d time.Duration, late func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = late
	w.timer.Reset(d)
}

// touch sets the time anew.
func (w *watch) touch(d time.Duration) { w.timer.Reset(d) }

// stop ends the watch and reports whether it had fired.
func (w *watch) stop() bool {
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	return w.fired
}
