package dubbo

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
	"github.com/weirmesh/weir/tracing"
)

// provider guards served calls.
type provider struct{}

// Invoke implements filter.Filter.
func (provider) Invoke(ctx context.Context, invoker base.Invoker, inv base.Invocation) result.Result {
	url := invoker.GetURL()
	if url.SubURL != nil {
		url = url.SubURL
	}
	g := processes.of(url)
	if g == nil || own(url.Interface()) {
		return invoker.Invoke(ctx, inv)
	}
	m, ok := methodOf(url, inv.MethodName())
	if !ok { // which dubbo-go says better; names that anybody can make up are no commands
		return invoker.Invoke(ctx, inv)
	}
	// dubbo-go hands these on to the calls that the method makes, over the wishes of
	// those who make them. They are about this call.
	delete(inv.Attachments(), constant.TimeoutKey)
	delete(inv.Attachments(), constant.RetriesKey)
	name := command(url.Interface(), m.name)
	span, ctx := g.kit.Tracer().StartServer(ctx, name, attachments{inv})
	defer span.Finish()
	s := served{
		circuit: g.circuit(governance.Provider, url.Interface(), m.name, governance.App{}), classify: g.classify,
		method: m, args: inv.Arguments(), span: span,
	}
	trace.Governed(span, s.circuit.Series())
	return wrap(url, inv, s.serve(ctx, invoker, inv))
}

// OnResponse implements filter.Filter.
func (provider) OnResponse(_ context.Context, res result.Result, _ base.Invoker, _ base.Invocation) result.Result {
	return res
}

// served is one served call.
type served struct {
	circuit  *breaker.Circuit
	classify func(error) breaker.Outcome
	method   method
	args     []any
	span     zipkin.Span
}

func (s *served) serve(ctx context.Context, invoker base.Invoker, inv base.Invocation) result.Result {
	call, err := s.circuit.Begin(ctx)
	var refused *breaker.Refused
	if errors.As(err, &refused) {
		tellRefusal(s.span, refused)
		if refused.Reason == breaker.ReasonGone {
			return &result.RPCResult{Err: refused}
		}
		if res := s.fallback(refused.Fallback, refused); res != nil {
			return res
		}
		zipkin.TagError.Set(s.span, refused.Error())
		return &result.RPCResult{Err: wireError(s.method.triple, refused)}
	}
	defer call.End(breaker.Failure) // a panic passes by
	within := call.Context()
	if s.method.stream {
		within = ctx // a timeout is for calls that answer once
	}
	res := invoker.Invoke(within, inv)
	err = res.Error()
	var o breaker.Outcome
	if s.method.stream {
		o = s.streamed(ctx, call, err)
	} else {
		o = call.Done(err)
	}
	tellOutcome(s.span, o, err)
	switch {
	case err == nil:
		s.keep(res)
	case o == breaker.Failure || o == breaker.Timeout:
		if instead := s.fallback(s.circuit.Fallback(), nil); instead != nil {
			instead.SetAttachments(res.Attachments())
			return instead
		}
	}
	return res
}

// streamed ends a stream's call, which its policy's timeout does not bound.
func (s *served) streamed(ctx context.Context, call *breaker.Call, err error) breaker.Outcome {
	o := breaker.Success
	switch {
	case err == nil:
	case gone(ctx):
		o = breaker.Canceled
	default:
		o = s.classify(err)
	}
	call.End(o)
	return o
}

// fallback returns what policy says to answer; nil for nothing. refused is why the
// call was not let through; nil for one that was.
func (s *served) fallback(f *governance.Fallback, refused *breaker.Refused) result.Result {
	if f == nil || s.method.stream {
		return nil
	}
	k, keyed := "", false
	if s.circuit.Keeps() {
		k, keyed = key(s.args)
	}
	a, ok := s.circuit.Answer(f, k, keyed)
	if !ok {
		return nil
	}
	if a.Error != "" {
		s.span.Annotate(now(), "answered with the policy's error")
		trace.Answered(s.span, s.circuit, a, refused)
		return &result.RPCResult{Err: policyError(s.method.triple, a.Error)}
	}
	v := a.Kept
	if !a.Cached {
		var err error
		if v, err = decode(a.Value, s.method.reply); err != nil {
			s.circuit.Answered(false)
			return &result.RPCResult{Err: policyError(s.method.triple, fmt.Sprintf("weir: %s: %v", s.circuit.Series().Command, err))}
		}
	}
	s.circuit.Answered(true)
	s.span.Annotate(now(), "answered by the policy's fallback")
	trace.Answered(s.span, s.circuit, a, refused)
	if s.method.response {
		return &result.RPCResult{Rest: triple_protocol.NewResponse(v)}
	}
	return &result.RPCResult{Rest: v}
}

// keep remembers a good answer, where a policy may ask for it.
func (s *served) keep(res result.Result) {
	if s.method.stream || !s.circuit.Keeps() {
		return
	}
	v := res.Result()
	if r, ok := v.(*triple_protocol.Response); ok {
		v = r.Msg // what is around it is the one call's own
	}
	if k, ok := key(s.args); ok {
		s.circuit.Keep(k, v)
	}
}

// method is what is known of a served method.
type method struct {
	name     string
	triple   bool         // errors are Triple's
	response bool         // answers are wrapped as Triple's generated code does it
	stream   bool         // it takes or gives more than one message
	reply    reflect.Type // nil where it answers nothing
}

// methodOf returns the method of a service by its name on the wire.
func methodOf(url *common.URL, name string) (method, bool) {
	m := method{name: name, triple: url.Protocol == constant.TriProtocol}
	if raw, ok := url.GetAttribute(constant.ServiceInfoKey); ok && m.triple {
		info, _ := raw.(*common.ServiceInfo)
		if info == nil {
			return m, false
		}
		for i := range info.Methods {
			if info.Methods[i].Name == name {
				m.response = true
				m.stream = info.Methods[i].Type != constant.CallUnary
				m.reply = replyOf(info, url, name)
				return m, true
			}
		}
		return m, false
	}
	svc := common.ServiceMap.GetServiceByServiceKey(url.Protocol, url.ServiceKey())
	if svc == nil || svc.Method()[name] == nil {
		return m, false
	}
	m.reply = svc.Method()[name].ReplyType()
	return m, true
}

// replyOf returns what a method of a Triple service made from a proto answers, by
// the handler's own method: the description does not tell.
func replyOf(info *common.ServiceInfo, url *common.URL, name string) reflect.Type {
	var types []reflect.Type
	if t := reflect.TypeOf(info.ServiceType); t != nil {
		if t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Interface {
			t = t.Elem()
		}
		types = append(types, t)
	}
	if svc, ok := url.GetAttribute(constant.RpcServiceKey); ok && svc != nil {
		types = append(types, reflect.TypeOf(svc))
	}
	first, size := utf8.DecodeRuneInString(name)
	for _, t := range types {
		for _, n := range []string{name, string(unicode.ToUpper(first)) + name[size:]} {
			if m, ok := t.MethodByName(n); ok && m.Type.NumOut() == 2 {
				return m.Type.Out(0)
			}
		}
	}
	return nil
}

// attachments is the carrier of an invocation.
type attachments struct{ base.Invocation }

var _ trace.Carrier = attachments{}

func (a attachments) Each(f func(key, value string)) { trace.Attachments(a.Attachments()).Each(f) }
func (a attachments) Set(key, value string)          { a.SetAttachment(key, value) }
func (a attachments) Delete(key string)              { delete(a.Attachments(), key) }

// tellRefusal marks a refusal on a span.
func tellRefusal(span zipkin.Span, r *breaker.Refused) {
	span.Annotate(now(), "refused: "+strings.TrimPrefix(r.Error(), "breaker: "))
	trace.Refused(span, r)
}

// tellOutcome marks how a call ended on a span.
func tellOutcome(span zipkin.Span, o breaker.Outcome, err error) {
	switch {
	case err != nil && o == breaker.Ignored:
		span.Tag(tracing.TagOutcome, o.String())
	case err != nil:
		zipkin.TagError.Set(span, err.Error())
		span.Tag(tracing.TagOutcome, o.String())
	}
}
