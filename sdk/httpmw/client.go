package httpmw

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// ClientOption says what a Client does unlike others.
type ClientOption func(*client)

// Over names the transport that makes the calls; http.DefaultTransport does
// without.
func Over(t http.RoundTripper) ClientOption { return func(c *client) { c.next = t } }

// Peer names the application that all calls go to, whatever their host is.
func Peer(app governance.App) ClientOption { return func(c *client) { c.peer = app } }

// Patterns are those of the servers that are called, as http.ServeMux writes them,
// such as "GET /cart/{id}": the commands of calls whose paths they match. It
// panics for a pattern that http.ServeMux does not take, as that does.
func Patterns(patterns ...string) ClientOption {
	return func(c *client) {
		mux := http.NewServeMux()
		for _, p := range patterns {
			mux.Handle(p, http.NotFoundHandler())
		}
		c.pattern = muxPattern(mux)
	}
}

type client struct {
	kit     *sdk.Kit
	next    http.RoundTripper
	peer    governance.App
	pattern func(*http.Request) string
	finder  *finder
}

// Client returns a transport that guards, counts and traces calls. The
// application that a call goes to is the one that Peer names, else that of the
// URL's host: "orders.shop", "orders.shop.svc" or "orders" in the service's own
// namespace. Calls to other hosts are counted by host. The control plane is told who
// is called after the first call, but not of hosts that DNS does not know.
//
// A call that is refused is answered by the policy's fallback, else its error is
// a *breaker.Refused. A call ends, and its timeout holds, until its body has been
// read or closed.
func Client(kit *sdk.Kit, opts ...ClientOption) http.RoundTripper {
	c := &client{kit: kit, next: http.DefaultTransport}
	for _, o := range opts {
		o(c)
	}
	if f := c.finder; f != nil {
		f.self, f.id, f.next, f.fixed, f.calls = kit.App(), kit.Instance(), c.next, c.peer.Name != "", kit.Calls
	}
	return c
}

// CloseIdleConnections closes the connections that carry no call, as that of
// http.Client expects it.
func (c *client) CloseIdleConnections() {
	if c.finder != nil {
		c.finder.closeIdle()
	}
	if t, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (c *client) RoundTrip(r *http.Request) (*http.Response, error) {
	peer := c.peer
	if peer.Name == "" {
		peer = appOfHost(r.URL.Hostname(), c.kit.App().Namespace)
	}
	command := c.commandOf(r, peer)
	span, ctx := c.kit.Tracer().StartClient(r.Context(), command, peer)
	span.Tag("http.method", methodOf(r))
	span.Tag("http.path", r.URL.Path)
	circuit := c.kit.Breakers().Circuit(governance.Series{Command: command, At: governance.Caller, Peer: peer})
	trace.Governed(span, circuit.Series())
	call, err := circuit.Begin(ctx)
	if err != nil {
		defer span.Finish()
		closeBody(r)
		refused := asRefused(err)
		if refused.Policy != "" {
			c.kit.Calls(peer) // so that it hears when the policy is lifted
		}
		return c.refused(r, span, circuit, refused)
	}
	out := r.Clone(call.Context())
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	trace.Inject(span.Context(), trace.Header(out.Header))
	resp, err := c.send(out, peer, span)
	if c.finder == nil && !unheardOf(err) {
		c.kit.Calls(peer)
	}
	switch {
	case err != nil:
		span.Tag("error", err.Error())
	case resp.StatusCode >= http.StatusInternalServerError:
		span.Tag("error", strconv.Itoa(resp.StatusCode))
		fallthrough
	default:
		span.Tag("http.status_code", strconv.Itoa(resp.StatusCode))
	}
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		return c.failed(r, resp, err, span, circuit, call)
	}
	resp.Body = c.follow(r, resp, span, circuit, call)
	return resp, nil
}

// unheardOf reports whether DNS does not know the host that was called. Such hosts may
// be made up, as those of webhooks are, and a control plane is told of a few hundred
// applications only.
func unheardOf(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func methodOf(r *http.Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

func (c *client) commandOf(r *http.Request, peer governance.App) string {
	if s, ok := r.Context().Value(commandKey{}).(string); ok && s != "" {
		return s
	}
	if c.pattern != nil {
		if p := c.pattern(r); p != "" {
			return commandOf(r.Method, p)
		}
	}
	if peer.Name == "" {
		return commandOf(r.Method, r.URL.Host)
	}
	return commandOf(r.Method, "*")
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // a transport closes it whatever happens
	}
}

// refused answers a call that was not let through.
func (c *client) refused(r *http.Request, span zipkin.Span, circuit *breaker.Circuit, refused *breaker.Refused) (*http.Response, error) {
	annotateRefusal(span, refused)
	if refused.Reason == breaker.ReasonGone {
		return nil, refused.Unwrap()
	}
	answer := standInFor(circuit, refused.Fallback, r)
	if answer == nil {
		span.Tag("error", refused.Error())
		return nil, refused
	}
	policy, version := refused.Policy, refused.Version
	if policy == "" {
		policy, version = fallbackSource(circuit)
	}
	return c.standIn(answer, r, span, circuit, policy, version), nil
}

// failed ends a call that failed, and answers by the policy's fallback if there is
// one.
func (c *client) failed(r *http.Request, resp *http.Response, err error, span zipkin.Span, circuit *breaker.Circuit, call *breaker.Call) (*http.Response, error) {
	cause := err
	if err == nil {
		cause = statusError(resp.StatusCode)
	}
	o := circuitOutcome(call, cause)
	// A server that is switched off is not failing: if its callers' circuits opened
	// over that, they would stay open after the release.
	switched := resp != nil && resp.Header.Get(HeaderRefused) == string(breaker.ReasonSwitched)
	if switched {
		o = breaker.Ignored
	}
	if o == breaker.Failure || o == breaker.Timeout || switched {
		if answer := standInFor(circuit, circuit.Fallback(), r); answer != nil {
			call.End(o)
			defer span.Finish()
			if resp != nil {
				_ = resp.Body.Close() // nobody reads it
			}
			policy, version := fallbackSource(circuit)
			return c.standIn(answer, r, span, circuit, policy, version), nil
		}
	}
	if err != nil {
		call.End(o)
		span.Finish()
		if why := context.Cause(call.Context()); why != nil && r.Context().Err() == nil && o == breaker.Timeout {
			return nil, why // names the policy whose timeout it was
		}
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, end: func(error) { call.End(o); span.Finish() }}
	return resp, nil
}

// circuitOutcome tells a failure from a deadline and a caller that has gone.
func circuitOutcome(call *breaker.Call, err error) breaker.Outcome {
	switch ctx := call.Context(); {
	case ctx.Err() == nil && isTimeout(err):
		return breaker.Timeout
	case ctx.Err() == nil:
		return breaker.Failure
	case context.Cause(ctx) == context.Canceled, ctx.Err() == context.Canceled: //nolint:errorlint // a context's own errors are not wrapped
		return breaker.Canceled
	}
	return breaker.Timeout
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

func (c *client) standIn(answer *standIn, r *http.Request, span zipkin.Span, circuit *breaker.Circuit, policy string, version int64) *http.Response {
	answer.count(circuit)
	answer.sign(policy, version)
	annotateFallback(span, answer, policy, version)
	return answer.response(r)
}

// follow ends the call with its body.
func (c *client) follow(r *http.Request, resp *http.Response, span zipkin.Span, circuit *breaker.Circuit, call *breaker.Call) io.ReadCloser {
	b := &body{ReadCloser: resp.Body}
	key := ""
	if circuit.Keeps() && resp.StatusCode == http.StatusOK && resp.ContentLength <= maxKept && keepable(resp.Header) {
		var keyed bool
		if key, keyed = cacheKey(r); keyed {
			b.keep = new(bytes.Buffer)
		}
	}
	b.end = func(err error) {
		if o := call.Done(err); o == breaker.Success && b.whole != nil {
			h := resp.Header.Clone()
			h.Del("Set-Cookie")
			circuit.Keep(key, &keptAnswer{resp.StatusCode, h, b.whole})
		}
		if err != nil {
			span.Tag("error", err.Error())
		}
		span.Finish()
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		b.end(nil) // what follows is no call any more
		return resp.Body
	}
	return b
}

// body tells when it has been read, or closed.
type body struct {
	io.ReadCloser
	once  sync.Once
	end   func(error)
	keep  *bytes.Buffer // by readers alone: Close may come from elsewhere
	whole []byte        // set before the end of a body that was read whole and is kept
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.keep != nil {
		if b.keep.Len()+n > maxKept {
			b.keep = nil
		} else {
			b.keep.Write(p[:n])
		}
	}
	switch {
	case err == io.EOF:
		b.once.Do(func() {
			if b.keep != nil {
				b.whole = append([]byte{}, b.keep.Bytes()...)
			}
			b.end(nil)
		})
	case err != nil:
		b.once.Do(func() { b.end(err) })
	}
	return n, err
}

// Close implements io.Closer. A caller that has read enough has had its answer.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() { b.end(nil) })
	return err
}

// send makes a call, by way of the registry where there is one.
func (c *client) send(r *http.Request, peer governance.App, span zipkin.Span) (*http.Response, error) {
	if c.finder == nil {
		return c.next.RoundTrip(r)
	}
	return c.finder.send(r, peer, span)
}

// appOfHost reads an application out of a host as Kubernetes writes it; the zero
// App for one that names none.
func appOfHost(host, namespace string) governance.App {
	if host == "localhost" {
		return governance.App{}
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" || net.ParseIP(host) != nil {
		return governance.App{}
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	labels := strings.Split(host, ".")
	if len(labels) > 2 {
		if labels[2] != "svc" { // a name on the internet
			return governance.App{}
		}
		return governance.App{Namespace: labels[1], Name: labels[0]}
	}
	if len(labels) == 2 {
		namespace = labels[1]
	}
	return governance.App{Namespace: namespace, Name: labels[0]}
}
