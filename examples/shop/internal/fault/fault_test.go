package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	perrors "github.com/pkg/errors"

	"github.com/weirmesh/weir/sdk/breaker"

	"shop.example/api/inventory"
)

// Sentences of dubbo-go.
const (
	nobodyKnown     = "Failed to invoke the method reserve. No provider available for the service x"
	nobodyReachable = "Failed to invoke the method reserve of the service x .No provider is available because can't connect server."
)

func TestOf(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	read := &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	for name, c := range map[string]struct {
		err   error
		class Class
	}{
		"success":              {nil, OK},
		"client closed":        {perrors.WithStack(base.ErrClientClosed), Unreachable},
		"invoker destroyed":    {base.ErrDestroyedInvoker, Unreachable},
		"dial refused":         {triple_protocol.NewError(triple_protocol.CodeUnavailable, dial), Unreachable},
		"connection broke":     {triple_protocol.NewError(triple_protocol.CodeUnavailable, read), Broken},
		"nobody known":         {errors.New(nobodyKnown), NoProvider},
		"refused by a circuit": {perrors.WithStack(&breaker.Refused{Reason: breaker.ReasonOpen}), Guarded},
		"switched off there": {
			&hessian2.GenericException{ExceptionClass: "java.lang.Throwable", ExceptionMessage: "weir refused the call (switched): reserve is switched off"}, Guarded,
		},
		"nobody reachable":       {errors.New(nobodyReachable), Unreachable},
		"dubbo timeout":          {perrors.New("maybe the client read timeout or fail to decode tcp stream in Writer.Write"), Timeout},
		"refused over dubbo":     {&hessian2.GenericException{ExceptionClass: "java.lang.Throwable", ExceptionMessage: ErrRefused.Error()}, Refused},
		"withdrawn":              {&hessian2.GenericException{ExceptionClass: "java.lang.Throwable", ExceptionMessage: "don't have this exporter, key: x"}, Refused},
		"refused over triple":    {triple_protocol.NewWireError(triple_protocol.CodeUnknown, errors.New(ErrRefused.Error())), Refused},
		"said no over dubbo":     {&hessian2.GenericException{ExceptionClass: "org.example.shop.UnknownSkuException"}, Business},
		"said no over triple":    {triple_protocol.NewWireError(triple_protocol.CodeNotFound, errors.New("no article")), Business},
		"a stranger's exception": {&hessian2.GenericException{ExceptionClass: "java.lang.NullPointerException"}, Upstream},
		// The instance that answered was reached, whatever it says of others.
		"its own calls failed":      {triple_protocol.NewWireError(triple_protocol.CodeUnavailable, errors.New("reserve: unreachable: No provider is available because can't connect server")), Upstream},
		"its own dubbo call failed": {&hessian2.GenericException{ExceptionClass: "java.lang.Throwable", ExceptionMessage: "maybe the client read timeout"}, Upstream},
		"deadline":                  {fmt.Errorf("call: %w", context.DeadlineExceeded), Timeout},
		"triple deadline":           {triple_protocol.NewError(triple_protocol.CodeDeadlineExceeded, errors.New("late")), Timeout},
		"given up":                  {context.Canceled, Cancelled},
		"anything else":             {errors.New("boom"), Other},
		"a word is not a certainty": {errors.New("session"), Other},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Of(c.err); got != c.class {
				t.Errorf("class %q, want %q", got, c.class)
			}
		})
	}
}

func TestAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		class Class
	}{
		"success":             {nil, OK},
		"a code that says no": {triple_protocol.NewError(triple_protocol.CodeInvalidArgument, errors.New("count is 0")), Business},
		"an exception":        {inventory.NewUnknownSku("unicorn"), Business},
		"a failure behind it": {triple_protocol.NewError(triple_protocol.CodeUnavailable, base.ErrClientClosed), Upstream},
		"anything else":       {errors.New("boom"), Upstream},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Answered(c.err); got != c.class {
				t.Errorf("class %q, want %q", got, c.class)
			}
		})
	}
}

// What may have been run must not be repeated.
func TestAgainRepeatsOnlyWhatWasNotRun(t *testing.T) {
	for class, err := range map[Class]error{
		Timeout:  context.DeadlineExceeded,
		Broken:   triple_protocol.NewError(triple_protocol.CodeUnavailable, errors.New("reset")),
		Business: triple_protocol.NewWireError(triple_protocol.CodeNotFound, errors.New("no")),
		Upstream: triple_protocol.NewWireError(triple_protocol.CodeUnavailable, errors.New("session not exist")),
		Other:    errors.New("boom"),
	} {
		calls := 0
		tries, got := Again(t.Context(), time.Hour, func(context.Context) error { calls++; return err })
		if calls != 1 || tries != 1 || !errors.Is(got, err) {
			t.Errorf("%s: called %d times, told %d, error %v", class, calls, tries, got)
		}
	}
}

func TestAgainSucceedsOnceSomebodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		tries, err := Again(t.Context(), 50*time.Millisecond, func(context.Context) error {
			if calls++; calls < 4 {
				return base.ErrClientClosed
			}
			return nil
		})
		if err != nil || tries != 4 {
			t.Errorf("%d tries, %v", tries, err)
		}
	})
}

func TestAgainGivesUpWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		tries, err := Again(ctx, 50*time.Millisecond, func(context.Context) error { return ErrRefused })
		// 50 + 100 + 200 + 400 ms and the pause that the deadline cuts short.
		if tries != 5 || Of(err) != Refused {
			t.Errorf("%d tries, %v", tries, err)
		}
	})
}
