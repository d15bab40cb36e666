package dubbo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

func now() time.Time { return time.Now() }

// guarded marks an invocation that has its guard, and holds its answer: references
// under several registries nest one cluster in another.
const guarded = "weir.guarded"

// attempts holds, on an invocation, how often it was sent.
const attempts = "weir.attempts"

// answered holds, on an invocation, an error that was an answer. dubbo-go retries
// by the Dubbo protocol whatever was thrown.
const answered = "weir.answered"

// caller guards calls that are made, around all their attempts.
type caller struct{}

// Invoke implements cluster.Interceptor.
func (caller) Invoke(ctx context.Context, next base.Invoker, inv base.Invocation) result.Result {
	url := next.GetURL()
	if url != nil && url.SubURL != nil { // under a registry
		url = url.SubURL
	}
	if url == nil || own(url.Interface()) {
		return next.Invoke(ctx, inv)
	}
	g := processes.of(url)
	if _, done := inv.GetAttribute(guarded); done || g == nil {
		return next.Invoke(ctx, inv)
	}
	inv.SetAttribute(guarded, new(answer))
	forget(inv)
	peer := g.peer(url)
	name := command(url.Interface(), inv.ActualMethodName())
	span, within := g.kit.Tracer().StartClient(ctx, name, peer)
	defer span.Finish()
	trace.Inject(span.Context(), attachments{inv})
	m := made{
		g: g, circuit: g.circuit(governance.Caller, url.Interface(), inv.ActualMethodName(), peer),
		inv: inv, span: span, stream: stream(inv), dubbo: url.Protocol == constant.DubboProtocol,
	}
	trace.Governed(span, m.circuit.Series())
	return m.make(within, next)
}

// made is one call that is made.
type made struct {
	g       *governed
	circuit *breaker.Circuit
	inv     base.Invocation
	span    zipkin.Span
	stream  bool
	dubbo   bool // by the Dubbo protocol
}

func (m *made) make(ctx context.Context, next base.Invoker) result.Result {
	call, err := m.circuit.Begin(ctx)
	var refused *breaker.Refused
	if errors.As(err, &refused) {
		tellRefusal(m.span, refused)
		if refused.Reason == breaker.ReasonGone {
			return &result.RPCResult{Err: refused}
		}
		res := m.instead(refused.Fallback, &result.RPCResult{Err: refused}, refused)
		if err := res.Error(); err != nil {
			zipkin.TagError.Set(m.span, err.Error())
		}
		return res
	}
	within := call.Context()
	if m.stream {
		// The call ends when the stream is open; its context must not end with it.
		within = ctx
	}
	defer call.End(breaker.Failure) // a panic passes by
	if m.dubbo {
		ruled := rule{byPolicy: within != ctx}
		if t, ok := m.inv.GetAttachment(constant.TimeoutKey); ok {
			ruled.option, _ = time.ParseDuration(t)
		}
		m.inv.SetAttribute(ruling, ruled)
		setTimeout(within, next.GetURL(), m.inv)
	}
	res := next.Invoke(within, m.inv)
	answerOf(m.inv).end()
	err = res.Error()
	o := m.g.done(call, err)
	tellOutcome(m.span, o, err)
	if err == nil {
		m.keep()
		return res
	}
	switched, _ := Refused(err)
	if o == breaker.Failure || o == breaker.Timeout || switched == breaker.ReasonSwitched {
		return m.instead(m.circuit.Fallback(), res, nil)
	}
	return res
}

// instead returns what policy says to answer in place of res, which is an error.
// refused is why the call was not let through; nil for one that was.
func (m *made) instead(f *governance.Fallback, res result.Result, refused *breaker.Refused) result.Result {
	reply := m.inv.Reply()
	if f == nil || m.stream {
		return res
	}
	k, keyed := "", false
	if m.circuit.Keeps() {
		k, keyed = key(m.inv.Arguments())
	}
	a, ok := m.circuit.Answer(f, k, keyed)
	if !ok {
		return res
	}
	if a.Error != "" {
		m.span.Annotate(now(), "answered with the policy's error")
		trace.Answered(m.span, m.circuit, a, refused)
		return &result.RPCResult{Err: &breaker.PolicyError{Message: a.Error, Err: res.Error()}}
	}
	err := fill(reply, a.Kept)
	if a.Value != nil && reply != nil {
		err = decodeInto(a.Value, reply)
	}
	if err != nil {
		m.circuit.Answered(false)
		return &result.RPCResult{Err: fmt.Errorf("%w; the policy's fallback is no %T: %w", res.Error(), reply, err)}
	}
	m.circuit.Answered(true)
	m.span.Annotate(now(), "answered by the policy's fallback")
	trace.Answered(m.span, m.circuit, a, refused)
	return &result.RPCResult{Rest: reply}
}

// keep remembers a good answer, where a policy may ask for it.
func (m *made) keep() {
	if m.stream || !m.circuit.Keeps() {
		return
	}
	if k, ok := key(m.inv.Arguments()); ok {
		if c := copyOf(m.inv.Reply()); c != nil {
			m.circuit.Keep(k, c)
		}
	}
}

// stream reports whether an invocation opens a stream.
func stream(inv base.Invocation) bool {
	kind, ok := inv.GetAttribute(constant.CallTypeKey)
	return ok && kind != constant.CallUnary
}

// attempt is each attempt of a call that is made.
type attempt struct{}

// Invoke implements filter.Filter.
func (attempt) Invoke(ctx context.Context, invoker base.Invoker, inv base.Invocation) result.Result {
	if _, ok := inv.GetAttribute(guarded); !ok {
		return invoker.Invoke(ctx, inv)
	}
	if err := ctx.Err(); err != nil { // no retries for a caller that has given up
		return &result.RPCResult{Err: err}
	}
	if before, ok := inv.GetAttribute(answered); ok {
		if err, ok := before.(error); ok {
			return &result.RPCResult{Err: err}
		}
	}
	// Other clusters than failover call the next for another reason than a failure.
	failover := invoker.GetURL().GetParam(constant.ClusterKey, constant.ClusterKeyFailover) == constant.ClusterKeyFailover
	untilTheEnd := invoker.GetURL().Protocol == constant.DubboProtocol && setTimeout(ctx, invoker.GetURL(), inv)
	if span := zipkin.SpanFromContext(ctx); span != nil {
		span.Tag("dubbo.address", invoker.GetURL().Location)
		if failover {
			tellAttempt(span, inv, invoker.GetURL().Location)
		}
	}
	res := invoke(ctx, invoker, inv)
	if err := res.Error(); err != nil {
		if untilTheEnd && strings.Contains(err.Error(), readTimeout) {
			// It was told to wait for longer than the context lasts, but its timers go
			// by a clock that may run ahead. What is missing is not worth a retry.
			<-ctx.Done()
		}
		if g := processes.of(invoker.GetURL()); g != nil && failover && g.answers(err) {
			inv.SetAttribute(answered, err)
		}
	}
	return res
}

// tellAttempt marks on a span that its call is made again.
func tellAttempt(span zipkin.Span, inv base.Invocation, address string) {
	before := 0
	if n, ok := inv.GetAttribute(attempts); ok {
		before, _ = n.(int)
	}
	inv.SetAttribute(attempts, before+1)
	if before > 0 {
		span.Annotate(now(), "retry at "+address)
		trace.Retried(span, before)
	}
}

// OnResponse implements filter.Filter.
func (attempt) OnResponse(_ context.Context, res result.Result, _ base.Invoker, _ base.Invocation) result.Result {
	return res
}

// readTimeout is what dubbo-go's client of the Dubbo protocol says when no answer
// came in time.
const readTimeout = "maybe the client read timeout"

// grace is how much longer than its context dubbo-go's client of the Dubbo protocol
// is let wait: when it gives up, the context has ended, and says why.
const grace = 20 * time.Millisecond

// ruling holds, on an invocation by the Dubbo protocol, a rule.
const ruling = "weir.timeout"

// rule is what a call's time goes by beside its context.
type rule struct {
	byPolicy bool          // the context's deadline is a policy's, which beats what the program configured
	option   time.Duration // what the program gave the one call; 0 for nothing
}

// setTimeout tells dubbo-go's client of the Dubbo protocol, which knows no contexts,
// how much time a call has left, and reports whether that is all that its context
// leaves: a shorter time that the program configured holds, unless a policy says
// otherwise. It has to be told at each attempt, as it leaves a number there that it
// cannot read itself.
func setTimeout(ctx context.Context, url *common.URL, inv base.Invocation) bool {
	at, ok := ctx.Deadline()
	if !ok {
		return false
	}
	var ruled rule
	if raw, ok := inv.GetAttribute(ruling); ok {
		ruled, _ = raw.(rule)
	}
	left := max(time.Until(at), 0).Truncate(time.Millisecond) + grace
	if own := configured(url, inv.ActualMethodName(), ruled.option); !ruled.byPolicy && own < left {
		inv.SetAttachment(constant.TimeoutKey, own.String())
		return false
	}
	inv.SetAttachment(constant.TimeoutKey, left.String())
	return true
}

// configured is how long a call may take by what the program said of it.
func configured(url *common.URL, method string, option time.Duration) time.Duration {
	if option > 0 {
		return option
	}
	if d, err := time.ParseDuration(url.GetParam("methods."+method+"."+constant.TimeoutKey, "")); err == nil && d > 0 {
		return d
	}
	return url.GetParamDuration(constant.TimeoutKey, "3s")
}

// forget drops what dubbo-go hands on from a served call to those made under it
// though it is about the served one and Triple cannot send it: the addresses of its
// connection. The guard of served calls has dropped the rest.
func forget(inv base.Invocation) {
	all := inv.Attachments()
	for _, k := range []string{constant.LocalAddr, constant.RemoteAddr} {
		if _, text := all[k].(string); !text {
			delete(all, k)
		}
	}
}
