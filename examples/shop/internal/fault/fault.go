// Package fault sorts the failures of remote calls by what they prove. The one
// question that matters to a caller of something that must not happen twice is
// whether the call may have reached anyone.
package fault

import (
	"context"
	"errors"
	"net"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"

	weirdubbo "github.com/weirmesh/weir/sdk/dubbo"
)

// Class is a kind of failure.
type Class string

// Classes of failure. OK is the class of a call that did not fail.
const (
	OK Class = ""
	// Business: the service understood the call and said no.
	Business Class = "business"
	// NoProvider: nobody is known who could be called. Nothing was sent.
	NoProvider Class = "no-provider"
	// Unreachable: the connection to the chosen instance was closed or could
	// not be made. Nothing was sent.
	Unreachable Class = "unreachable"
	// Refused: the instance turned the call away before running it, because it
	// is shutting down.
	Refused Class = "refused"
	// Guarded: a circuit or a switch refused the call, here or at the instance,
	// which did not run it. To make it again at once would be refused again.
	Guarded Class = "guarded"
	// Upstream: the instance ran the call and answered that something it needs
	// failed.
	Upstream Class = "upstream"
	// Timeout: sent, and no answer came in time.
	Timeout Class = "timeout"
	// Broken: sent, and the connection broke before an answer came.
	Broken Class = "broken"
	// Cancelled: the caller gave up.
	Cancelled Class = "cancelled"
	// Other: anything else.
	Other Class = "other"
)

// Untouched reports whether the failure proves that the service did not run
// the call, so that it can be made again whatever it does.
func (c Class) Untouched() bool {
	return c == NoProvider || c == Unreachable || c == Refused
}

// ErrRefused is what an instance that is shutting down answers to calls that
// come too late. Its text travels, since Dubbo carries errors as text.
var ErrRefused = errors.New("shop: instance is shutting down and did not run the call; call another")

// withdrawn is what dubbo-go answers between withdrawing a service and closing
// its port.
const withdrawn = "don't have this exporter"

// texts are the failures that dubbo-go 3.3 words but does not export as values.
// All but the last prove that the call was not run.
var texts = []struct {
	text  string
	class Class
}{
	{ErrRefused.Error(), Refused},
	{"No provider available for the service", NoProvider},
	{"No provider is available because can't connect server", Unreachable},
	{"provider is closing", Unreachable},
	{"session not exist", Unreachable},
	{"client have been closed", Unreachable},
	{"failed to create client connection", Unreachable},
	{"Failed to connect server", Unreachable},
	{"session Already Closed", Unreachable},
	{"maybe the client read timeout", Timeout},
}

// Of returns the class of an error, OK for nil.
func Of(err error) Class {
	if err == nil {
		return OK
	}
	if _, refused := weirdubbo.Refused(err); refused {
		return Guarded
	}
	if class, answered := answer(err); answered {
		return class
	}
	if errors.Is(err, base.ErrClientClosed) || errors.Is(err, base.ErrDestroyedInvoker) {
		return Unreachable
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return Unreachable
	}
	for _, t := range texts {
		if strings.Contains(err.Error(), t.text) {
			return t.class
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Cancelled
	}
	switch triple_protocol.CodeOf(err) {
	case triple_protocol.CodeDeadlineExceeded:
		return Timeout
	case triple_protocol.CodeCanceled:
		return Cancelled
	case triple_protocol.CodeUnavailable:
		return Broken
	}
	return Other
}

// answer classes an error that the called instance itself sent. What its text
// says of connections is about that instance's own calls, not about this one.
func answer(err error) (class Class, answered bool) {
	var thrown *hessian2.GenericException
	if !errors.As(err, &thrown) && !triple_protocol.IsWireError(err) {
		return Other, false
	}
	if text := err.Error(); strings.Contains(text, ErrRefused.Error()) || strings.Contains(text, withdrawn) {
		return Refused, true
	}
	if thrown != nil {
		if strings.HasPrefix(thrown.ExceptionClass, exceptions) {
			return Business, true
		}
		return Upstream, true
	}
	return meaning(err), true
}

// Answered returns the class of an error that this process itself answers a call
// with.
func Answered(err error) Class {
	var thrown interface{ JavaClassName() string }
	_, refused := weirdubbo.Refused(err)
	switch {
	case err == nil:
		return OK
	case refused:
		return Guarded
	case errors.As(err, &thrown) && strings.HasPrefix(thrown.JavaClassName(), exceptions):
		return Business
	}
	return meaning(err)
}

// exceptions begin the names of the classes that the shop throws.
const exceptions = "org.example.shop."

// meaning tells by its code whether an answer is a no or a failure.
func meaning(err error) Class {
	switch triple_protocol.CodeOf(err) {
	case triple_protocol.CodeBizError, triple_protocol.CodeInvalidArgument, triple_protocol.CodeNotFound,
		triple_protocol.CodeAlreadyExists, triple_protocol.CodeFailedPrecondition:
		return Business
	}
	return Upstream
}
