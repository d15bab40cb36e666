package dubbo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/result"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java_exception"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// null is what dubbo-go says over Triple of an answer that is Java's null.
const null = "@in is nil"

// invoke makes an attempt, and sees to it that exceptions come back over Triple
// as they do over the Dubbo protocol. Dubbo Java answers with the exception where
// the result would be, and dubbo-go 3.3.2 then panics, as it puts whatever comes
// into the caller's reply; of null it makes an error.
func invoke(ctx context.Context, invoker base.Invoker, inv base.Invocation) result.Result {
	values := inv.ParameterRawValues()
	if !inHessian(invoker.GetURL()) || stream(inv) || len(values) == 0 {
		return invoker.Invoke(ctx, inv)
	}
	last := len(values) - 1
	reply := values[last]
	var came any
	values[last] = &came
	defer func() { values[last] = reply }()
	res := invoker.Invoke(ctx, inv)
	if err := res.Error(); err != nil {
		if strings.Contains(err.Error(), null) {
			res.SetError(nil)
		}
		return res
	}
	if thrown, ok := hessian2.ToGenericException(came); ok {
		res.SetError(thrown)
	} else if came != nil && reply != nil {
		res.SetError(put(came, reply))
	}
	return res
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
