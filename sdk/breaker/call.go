package breaker

import (
	"context"
	"errors"
	"sync/atomic"
)

// Outcome is how a call that ran ended.
type Outcome uint8

// The outcomes.
const (
	// Success: it answered.
	Success Outcome = iota
	// Failure: it answered an error that speaks against what was called.
	Failure
	// Ignored: it answered an error that does not, such as "no such article".
	Ignored
	// Timeout: it ran into its own or the caller's deadline.
	Timeout
	// Canceled: its caller went away.
	Canceled
)

// String returns the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Ignored:
		return "ignored"
	case Timeout:
		return "timeout"
	case Canceled:
		return "canceled"
	}
	return "unknown"
}

func (o Outcome) kind() kind {
	switch o {
	case Success:
		return kindSuccess
	case Ignored:
		return kindIgnored
	case Timeout:
		return kindTimeout
	case Canceled:
		return kindCanceled
	}
	return kindFailure
}

// Call is one call under way. It has to be ended, once; further ends do nothing.
type Call struct {
	circuit *Circuit
	rules   *rules
	ctx     context.Context //nolint:containedctx // the call's own, which its owner hands on
	cancel  context.CancelFunc
	began   int64
	gen     uint64
	probe   bool
	ended   atomic.Bool
}

// Begin asks to make a call. When it may not be made, the error is a *Refused. The
// caller makes it with the call's Context and ends it by Done or End, from any
// goroutine.
func (c *Circuit) Begin(ctx context.Context) (*Call, error) {
	call := new(Call)
	if refused := c.begin(ctx, call); refused != nil {
		return nil, refused
	}
	return call, nil
}

// Context returns the context to make the call with, which carries the timeout
// that holds for it. It ends with the call, if there is one.
func (call *Call) Context() context.Context { return call.ctx }

// Probe reports whether the call tries a circuit that was open.
func (call *Call) Probe() bool { return call.probe }

// End ends the call with an outcome.
func (call *Call) End(o Outcome) {
	if !call.ended.CompareAndSwap(false, true) {
		return
	}
	if call.cancel != nil {
		call.cancel()
	}
	call.circuit.end(call, o, call.circuit.set.mono())
}

// Done ends the call with the outcome that err stands for (nil for an answer), as
// the package's documentation tells, and returns it.
func (call *Call) Done(err error) Outcome {
	o := call.circuit.outcome(call, err)
	call.End(o)
	return o
}

// outcome classes an error.
func (c *Circuit) outcome(call *Call, err error) Outcome {
	o := Success
	if err != nil {
		o = Failure
		if _, ok := errors.AsType[ignored](err); ok {
			return Ignored
		}
		if c.classify != nil {
			o = c.classify(err)
		}
	}
	switch {
	case o == Ignored:
		return o
	case errors.Is(call.ctx.Err(), context.DeadlineExceeded):
		return Timeout
	case o != Failure:
		return o
	case errors.Is(call.ctx.Err(), context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		// A deadline further on that passed before the call's own.
		return Timeout
	}
	return o
}

// Ignore marks an error as one that does not speak against what was called: it
// neither opens a circuit nor calls for a fallback. It is nil for nil.
func Ignore(err error) error {
	if err == nil {
		return nil
	}
	return ignored{err}
}

type ignored struct{ error }

func (e ignored) Unwrap() error { return e.error }
