package dubbo

import (
	"context"
	"errors"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"github.com/apache/dubbo-go-hessian2/java_exception"

	"github.com/weirmesh/weir/sdk/breaker"
)

// refusedPrefix begins what a refused caller reads, before the reason. It is the
// one thing that both protocols carry unchanged.
const refusedPrefix = "weir refused the call ("

// Refused reports whether err says that a call was refused by governance, here or
// at the provider, and why.
func Refused(err error) (breaker.Reason, bool) {
	if err == nil {
		return "", false
	}
	var r *breaker.Refused
	if errors.As(err, &r) {
		return r.Reason, true
	}
	_, rest, ok := strings.Cut(err.Error(), refusedPrefix)
	if !ok {
		return "", false
	}
	reason, _, ok := strings.Cut(rest, ")")
	return breaker.Reason(reason), ok
}

// wireError is how a provider tells a refusal to callers of either protocol.
func wireError(triple bool, r *breaker.Refused) error {
	err := errors.New(refusedPrefix + string(r.Reason) + "): " + strings.TrimPrefix(r.Error(), "breaker: "))
	if !triple {
		return err // Hessian makes an exception of it
	}
	code := triple_protocol.CodeUnavailable
	if r.Reason == breaker.ReasonFull {
		code = triple_protocol.CodeResourceExhausted
	}
	return triple_protocol.NewError(code, err)
}

// policyError is how a provider tells the error that a policy answers.
func policyError(triple bool, text string) error {
	err := errors.New(text)
	if !triple {
		return err
	}
	return triple_protocol.NewError(triple_protocol.CodeUnavailable, err)
}

// Classify is what errors mean unless WithClassify says otherwise; see the
// package's documentation.
func Classify(err error) breaker.Outcome {
	var e *triple_protocol.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case triple_protocol.CodeInvalidArgument, triple_protocol.CodeNotFound, triple_protocol.CodeAlreadyExists,
			triple_protocol.CodePermissionDenied, triple_protocol.CodeFailedPrecondition, triple_protocol.CodeAborted,
			triple_protocol.CodeOutOfRange, triple_protocol.CodeUnauthenticated:
			return breaker.Ignored
		case triple_protocol.CodeDeadlineExceeded:
			return breaker.Timeout
		}
	}
	var thrown java_exception.Throwabler // as methods return it
	if errors.As(err, &thrown) && ofService(thrown.JavaClassName()) {
		return breaker.Ignored
	}
	var received *hessian2.GenericException // as callers get it
	if errors.As(err, &received) && ofService(received.ExceptionClass) {
		return breaker.Ignored
	}
	return breaker.Failure
}

// noProvider is what dubbo-go says when it knows nobody to call.
const noProvider = "No provider available for the service"

// unprovided reports whether a call was not made because this process knows
// nobody to call. Nothing was called, so nothing failed: a circuit that opened over
// it would keep the first instance waiting. What comes as an answer tells of calls
// that the provider made, and is a failure of it.
func unprovided(err error) bool {
	var answered *triple_protocol.Error
	var thrown *hessian2.GenericException
	return err != nil && !errors.As(err, &answered) && !errors.As(err, &thrown) && strings.Contains(err.Error(), noProvider)
}

// ofService reports whether a class is a service's own, and not one of Java's or
// Dubbo's.
func ofService(class string) bool {
	for _, p := range []string{"java.", "javax.", "jakarta.", "org.apache.dubbo.", "com.alibaba.dubbo."} {
		if strings.HasPrefix(class, p) {
			return false
		}
	}
	return class != ""
}

// answers reports whether an error is a word that another instance would only
// repeat: an ignored one, or that the provider is switched off.
func (g *governed) answers(err error) bool {
	reason, ok := Refused(err)
	return ok && reason == breaker.ReasonSwitched || !ok && g.classify(err) == breaker.Ignored
}

// done ends a guarded call that was made to another application.
func (g *governed) done(call *breaker.Call, err error) breaker.Outcome {
	if reason, ok := Refused(err); ok && reason == breaker.ReasonSwitched || unprovided(err) {
		call.End(breaker.Ignored)
		return breaker.Ignored
	}
	return call.Done(err)
}

// gone reports whether the caller of a call is no longer there.
func gone(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }
