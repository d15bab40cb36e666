package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// begin asks the route's circuit to let the request through. Both results are nil
// for a route that nothing guards.
func (x *exchange) begin() (*breaker.Call, *problem) {
	c := x.p.circuit(x.route)
	if c == nil {
		return nil, nil
	}
	trace.GovernedAtCaller(x.span, c.Series())
	call, err := c.Begin(x.r.Context())
	if err == nil {
		return call, nil
	}
	p := &problem{status: http.StatusServiceUnavailable, code: codeCircuitOpen, retry: time.Second, upstream: true}
	p.detail = "The upstream of this route failed too often lately and is given time to recover."
	var refused *breaker.Refused
	if errors.As(err, &refused) {
		if wait := time.Until(refused.Until); !refused.Until.IsZero() && wait > 0 {
			p.retry = wait
		}
		switch refused.Reason {
		case breaker.ReasonSwitched:
			p.code, p.detail = codeSwitchedOff, "The upstream of this route is switched off."
		case breaker.ReasonFull:
			p.status, p.code = http.StatusTooManyRequests, codeTooMany
			p.detail = fmt.Sprintf("The upstream of this route serves the %d requests at once that are allowed.", refused.Limit)
		case breaker.ReasonGone:
			p.code = codeClientGone
		}
	}
	if x.span != nil {
		x.span.Annotate(x.p.now(), "refused: "+err.Error())
	}
	if x.refused = refused; refused != nil {
		trace.Refused(x.span, refused)
	}
	return nil, p
}

// outcomeOf says what an answer tells of its upstream.
func outcomeOf(status int, client error) breaker.Outcome {
	switch {
	case client != nil:
		return breaker.Canceled
	case status == http.StatusGatewayTimeout:
		return breaker.Timeout
	case status >= 500:
		return breaker.Failure
	default:
		return breaker.Success
	}
}

// outcomeOfProblem says what the lack of an answer tells of the upstream.
func outcomeOfProblem(p *problem) breaker.Outcome {
	switch p.code {
	case codeTimeout:
		return breaker.Timeout
	case codeClientGone, codeBody:
		return breaker.Canceled
	case codeTooLarge, codeUnreachable:
		return breaker.Ignored
	default:
		return breaker.Failure
	}
}

// circuit returns a route's circuit, which counts under the route's key for as
// long as the process runs; nil for none. It is made for the first request, so
// that a table of many routes costs nothing here. A route without a breaker of
// its own has one too, switched off, so that a policy can switch it on.
func (p *Proxy) circuit(r *route) *breaker.Circuit {
	if c := r.action.circuit.Load(); c != nil || p.config.Breakers == nil {
		return c
	}
	state := r.action.state
	state.mu.Lock()
	defer state.mu.Unlock()
	settings := settingsOf(r.action.breaker)
	c := p.config.Breakers.Circuit(governance.Series{Command: r.name, At: governance.Caller, Peer: peerOf(r)}, breaker.WithSettings(settings))
	if c.Series().Command == breaker.Others {
		return c // not for good: a policy that names the route gives it one of its own
	}
	if r.revision >= state.configured { // not by a late request to an older form
		c.Configure(settings)
		state.configured = r.revision
	}
	r.action.circuit.Store(c)
	return c
}

// peerOf returns the application that serves a route; none for a URL.
func peerOf(r *route) governance.App {
	u := r.spec.Upstream
	name := u.App
	if u.Dubbo != nil {
		name = u.Dubbo.App
	}
	app, err := governance.ParseApp(name)
	if err != nil {
		return governance.App{} // of a URL
	}
	return app
}

func settingsOf(b *gateway.Breaker) governance.Rules {
	if b == nil {
		return governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeDisabled}}
	}
	rules := governance.Rules{Breaker: &governance.Breaker{
		Mode: governance.ModeAuto, Window: governance.Duration(b.Window), MinCalls: b.MinCalls,
		ErrorPercent: b.ErrorPercent, OpenFor: governance.Duration(b.OpenFor), Probes: b.Probes,
	}}
	if b.Concurrent > 0 {
		rules.Bulkhead = &governance.Bulkhead{Concurrent: b.Concurrent}
	}
	return rules
}

// deadlineOf returns by when a call has to be answered by a policy's word.
func deadlineOf(call *breaker.Call) (time.Time, bool) {
	if call == nil {
		return time.Time{}, false
	}
	return call.Context().Deadline()
}

// isGone reports whether a client went away.
func isGone(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }
