package dubbo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/invocation"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java_exception"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// invoke makes an attempt, and sees to it that exceptions come back over Triple
// as they do over the Dubbo protocol. Dubbo Java answers with the exception where
// the result would be, and dubbo-go 3.3.2 then panics, as it puts whatever comes
// into the caller's reply; of null it makes an error.
//
// The attempt has an invocation of its own, as a forking cluster makes several at
// the same time with one.
func invoke(ctx context.Context, invoker base.Invoker, inv base.Invocation) result.Result {
	values := inv.ParameterRawValues()
	if !inHessian(invoker.GetURL()) || stream(inv) || len(values) == 0 {
		return invoker.Invoke(ctx, inv)
	}
	last := len(values) - 1
	reply := values[last]
	var came any
	values = slices.Clone(values)
	values[last] = &came
	res := invoker.Invoke(ctx, copyFor(inv, values))
	if err := res.Error(); err != nil {
		if null(err) {
			res.SetError(nil)
		}
		return res
	}
	if thrown, ok := hessian2.ToGenericException(came); ok {
		res.SetError(thrown)
	} else if came != nil && reply != nil {
		res.SetError(answerOf(inv).put(came, reply))
	}
	return res
}

// copyFor returns a copy of an invocation with other raw values. It is of dubbo-go's
// type, as filters of dubbo-go rely on that.
func copyFor(inv base.Invocation, values []any) base.Invocation {
	c := invocation.NewRPCInvocationWithOptions(
		invocation.WithMethodName(inv.MethodName()),
		invocation.WithParameterTypes(inv.ParameterTypes()),
		invocation.WithParameterTypeNames(inv.ParameterTypeNames()),
		invocation.WithParameterValues(inv.ParameterValues()),
		invocation.WithParameterRawValues(values),
		invocation.WithArguments(inv.Arguments()),
		invocation.WithReply(inv.Reply()),
		invocation.WithAttachments(maps.Clone(inv.Attachments())),
		invocation.WithInvoker(inv.Invoker()),
	)
	for k, v := range inv.Attributes() {
		c.SetAttribute(k, v)
	}
	return c
}

// null reports whether an error is what dubbo-go's client says over Triple of an
// answer that is Java's null: it fails to read it. What the provider says comes as
// a wire error, whatever its text.
func null(err error) bool {
	var e *triple_protocol.Error
	return errors.As(err, &e) && !triple_protocol.IsWireError(e) && e.Code() == triple_protocol.CodeInvalidArgument &&
		strings.HasSuffix(e.Message(), "@in is nil")
}

// answer sees to it that attempts write into the caller's reply one after the other,
// and none does once the call has ended: the reply is the caller's then.
type answer struct {
	mu    sync.Mutex
	ended bool
}

// answerOf returns the answer of a guarded invocation.
func answerOf(inv base.Invocation) *answer {
	raw, _ := inv.GetAttribute(guarded)
	if a, ok := raw.(*answer); ok {
		return a
	}
	return new(answer)
}

func (a *answer) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

func (a *answer) put(came, reply any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return nil // nobody waits for it
	}
	return put(came, reply)
}

// inHessian reports whether calls go over Triple in Hessian.
func inHessian(url *common.URL) bool {
	return withoutProto(url) && url.GetParam(constant.SerializationKey, "") == constant.Hessian2Serialization
}

// withoutProto reports whether a service is served or called over Triple by method
// names alone, without code generated from a proto.
func withoutProto(url *common.URL) bool {
	return url.Protocol == constant.TriProtocol &&
		url.GetParam(constant.IDLMode, "") == constant.NONIDL //nolint:staticcheck // dubbo-go still goes by it
}

// put puts an answer into the caller's reply, as dubbo-go does it.
func put(came, reply any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the answer is a %T, and the caller wants a %T: %v", came, reply, p)
		}
	}()
	return hessian.ReflectResponse(came, reply)
}

// tripleException is the header by which Dubbo Java says that the answer is an
// exception, and exceptionOfService the code for one that the service threw.
const (
	tripleException    = "tri-exception-code"
	exceptionOfService = "3"
	// fromJava is a header that Dubbo Java sends, and dubbo-go does not.
	fromJava = "tri-consumer-appname"
	// hessian4 is Java's name of Hessian2 in a Triple message.
	hessian4 = "hessian4"
)

// wrap puts an answer into the message that callers over Triple expect of methods
// without a proto. dubbo-go 3.3.2 reads such a message, and then fails to write
// one: "doesn't implement proto.Message". To Dubbo Java, exceptions travel in it
// too, as the classes that they are.
//
// Over the Dubbo protocol an error that is no class of Java's becomes a
// RuntimeException: dubbo-go makes a java.lang.Throwable of it, which Dubbo Java
// does not let in, so that the caller reads "expect Throwable, but get class
// java.util.HashMap" in place of what was wrong.
func wrap(url *common.URL, inv base.Invocation, res result.Result) result.Result {
	if url.Protocol == constant.DubboProtocol {
		var exception java_exception.Throwabler
		var received *hessian2.GenericException
		if err := res.Error(); err != nil && !errors.As(err, &exception) && !errors.As(err, &received) {
			res.SetError(java_exception.NewRuntimeException(err.Error()))
		}
		return res
	}
	if !withoutProto(url) {
		return res
	}
	if t := header(inv, "content-type"); t != "application/grpc" && t != "application/grpc+proto" {
		return res
	}
	answer, thrown := res.Result(), false
	if err := res.Error(); err != nil {
		var exception java_exception.Throwabler
		if header(inv, fromJava) == "" || !errors.As(err, &exception) {
			return res
		}
		answer, thrown = exception, true
	}
	if _, done := answer.(*triple_protocol.Response); done {
		return res
	}
	encoder := hessian.NewEncoder()
	if err := encoder.Encode(answer); err != nil {
		res.SetError(fmt.Errorf("the answer cannot be written in Hessian: %w", err))
		return res
	}
	response := triple_protocol.NewResponse(responseWrapper(encoder.Buffer()))
	if thrown {
		response.Header().Set(tripleException, exceptionOfService)
	}
	wrapped := &result.RPCResult{Rest: response}
	wrapped.SetAttachments(res.Attachments())
	return wrapped
}

// responseWrapper is Triple's TripleResponseWrapper, whose Go type is dubbo-go's
// own: a message that consists of fields it does not know.
func responseWrapper(data []byte) proto.Message {
	b := protowire.AppendTag(nil, 1, protowire.BytesType)
	b = protowire.AppendString(b, hessian4)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendBytes(b, data)
	m := new(emptypb.Empty)
	m.ProtoReflect().SetUnknown(b)
	return m
}

// header returns a header of a call that came over Triple.
func header(inv base.Invocation, key string) string {
	switch v := inv.Attachments()[key].(type) {
	case string:
		return v
	case []string:
		if len(v) > 0 {
			return v[0]
		}
	}
	return ""
}
