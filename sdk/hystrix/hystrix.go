package hystrix

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

type (
	runFunc       func() error
	fallbackFunc  func(error) error
	runFuncC      func(context.Context) error
	fallbackFuncC func(context.Context, error) error
)

// CircuitError is an error of the circuit, not of what it guards.
type CircuitError struct {
	Message string
}

// Error returns the message after "hystrix: ".
func (e CircuitError) Error() string { return "hystrix: " + e.Message }

var (
	// ErrMaxConcurrency is of calls that the bulkhead refused.
	ErrMaxConcurrency = CircuitError{Message: "max concurrency"}
	// ErrCircuitOpen is of calls that an open circuit, a policy or a switch refused.
	ErrCircuitOpen = CircuitError{Message: "circuit open"}
	// ErrTimeout is of calls that took longer than the command's timeout.
	ErrTimeout = CircuitError{Message: "timeout"}
)

// Go runs a function as a command, without waiting for it. The channel has its
// error; of a success it says nothing. A fallback, which may be nil, is run for
// whatever error there is, and its success is one.
func Go(name string, run runFunc, fallback fallbackFunc) chan error {
	return GoC(context.Background(), name, withoutContext(run), fallbackWithoutContext(fallback))
}

// GoC is Go under a context. The function's context ends with the command's
// timeout, unlike hystrix-go's.
func GoC(ctx context.Context, name string, run runFuncC, fallback fallbackFuncC) chan error {
	errs := make(chan error, 1)
	go func() {
		if err := do(ctx, name, run, fallback); err != nil {
			errs <- err
		}
	}()
	return errs
}

// Do runs a function as a command and waits for it, or for the command's timeout.
// A function that goes on behind a timeout keeps its place in the bulkhead until
// it returns. A panic in the function goes on to the caller, unless that has left
// by a timeout: then it ends the process, as it does in hystrix-go.
func Do(name string, run runFunc, fallback fallbackFunc) error {
	return do(context.Background(), name, withoutContext(run), fallbackWithoutContext(fallback))
}

// DoC is Do under a context.
func DoC(ctx context.Context, name string, run runFuncC, fallback fallbackFuncC) error {
	return do(ctx, name, run, fallback)
}

func withoutContext(run runFunc) runFuncC {
	return func(context.Context) error { return run() }
}

func fallbackWithoutContext(fallback fallbackFunc) fallbackFuncC {
	if fallback == nil {
		return nil
	}
	return func(_ context.Context, err error) error { return fallback(err) }
}

func do(ctx context.Context, name string, run runFuncC, fallback fallbackFuncC) error {
	c, _ := engines.command(name)
	u := under{command: c, fallback: fallback, began: time.Now()}
	if u.span, ctx = c.trace(ctx); u.span != nil {
		defer u.span.Finish()
	}
	call, err := c.circuit.Begin(ctx)
	if err != nil {
		var refused *breaker.Refused
		if !errors.As(err, &refused) {
			return err
		}
		u.refused = refused
		u.tellRefusal()
		counts, cause := refusal(refused)
		return u.fallBack(ctx, refused.Fallback, cause, counts)
	}
	w := &work{result: make(chan result, 1)}
	go w.run(call.Context(), run)
	select {
	case r := <-w.result:
		return u.finished(ctx, call, r)
	case <-call.Context().Done():
	}
	if r, ok := w.abandon(call, outcomeOf(ctx)); ok { // it came at the last moment
		return u.finished(ctx, call, r)
	}
	counts, cause := expired(ctx)
	return u.fallBack(ctx, c.circuit.Fallback(), cause, counts)
}

// under is a call under way.
type under struct {
	*command
	fallback fallbackFuncC // of the code; may be nil
	began    time.Time
	span     zipkin.Span      // nil where the caller is not traced
	refused  *breaker.Refused // why it was not let through; nil for one that was
}

func (u under) note(counts governance.Counts) { u.command.note(counts, u.began, u.refused == nil) }

// refusal tells a refusal in hystrix-go's words.
func refusal(r *breaker.Refused) (governance.Counts, error) {
	switch r.Reason {
	case breaker.ReasonFull:
		return governance.Counts{Rejected: 1}, ErrMaxConcurrency
	case breaker.ReasonGone:
		return governance.Counts{}, r.Unwrap()
	}
	return governance.Counts{ShortCircuited: 1}, ErrCircuitOpen
}

// expired tells in hystrix-go's words why a call's context ended: by its caller's,
// or else by the command's timeout.
func expired(caller context.Context) (governance.Counts, error) {
	if outcomeOf(caller) == breaker.Canceled {
		return governance.Counts{Canceled: 1}, caller.Err()
	}
	if err := caller.Err(); err != nil {
		return governance.Counts{Timeout: 1}, err
	}
	return governance.Counts{Timeout: 1}, ErrTimeout
}

func outcomeOf(caller context.Context) breaker.Outcome {
	if errors.Is(caller.Err(), context.Canceled) {
		return breaker.Canceled
	}
	return breaker.Timeout
}

// result is how a function ended.
type result struct {
	err      error
	panicked bool
	value    any // of the panic
}

// errGone is of a function that ended its goroutine.
var errGone = errors.New("hystrix: the function ended its goroutine and answered nothing")

// work is a function under way, on a goroutine of its own because nobody knows if
// it heeds its context.
type work struct {
	result chan result
	state  atomic.Int32
	leave  func() // gives the place in the bulkhead back; set before state says abandoned
}

const (
	underWay = iota
	ended
	abandoned
)

func (w *work) run(ctx context.Context, run runFuncC) {
	r := result{err: errGone}
	returned := false
	defer func() {
		if !returned {
			if v := recover(); v != nil {
				r = result{err: fmt.Errorf("hystrix: the function panicked: %v", v), panicked: true, value: v}
			}
		}
		if w.state.CompareAndSwap(underWay, ended) {
			w.result <- r
			return
		}
		w.leave()
		if r.panicked {
			panic(r.value) // nobody is left to be told
		}
	}()
	r.err = run(ctx)
	returned = true
}

// abandon counts the call and leaves its function behind, unless that has just
// ended.
func (w *work) abandon(call *breaker.Call, o breaker.Outcome) (result, bool) {
	select {
	case r := <-w.result:
		return r, true
	default:
	}
	w.leave = call.Settle(o)
	if !w.state.CompareAndSwap(underWay, abandoned) {
		w.leave()
	}
	return result{}, false
}

// finished ends a call whose function has ended.
func (u under) finished(ctx context.Context, call *breaker.Call, r result) error {
	if r.panicked {
		call.End(breaker.Failure)
		u.note(governance.Counts{Failure: 1})
		u.tellError(r.err)
		panic(r.value)
	}
	callErr := call.Context().Err() // before Done, which ends the context
	o := call.Done(r.err)
	switch {
	case r.err == nil:
		u.note(governance.Counts{Success: 1})
		return nil
	case o == breaker.Ignored:
		u.note(governance.Counts{Ignored: 1})
		return r.err
	case callErr != nil && ctx.Err() == nil: // the command's own timeout
		return u.fallBack(ctx, u.circuit.Fallback(), ErrTimeout, governance.Counts{Timeout: 1})
	}
	counts := governance.Counts{Failure: 1}
	switch o {
	case breaker.Timeout:
		counts = governance.Counts{Timeout: 1}
	case breaker.Canceled:
		counts = governance.Counts{Canceled: 1}
	}
	return u.fallBack(ctx, u.circuit.Fallback(), r.err, counts)
}

// fallBack answers in place of a function: as policy says, else as the code does.
func (u under) fallBack(ctx context.Context, policy *governance.Fallback, cause error, counts governance.Counts) error {
	if u.refused == nil {
		u.tellError(cause)
	}
	// A value has nowhere to go; what an "else" says behind it is not meant for it.
	if a, ok := u.circuit.Answer(policy, "", false); ok && a.Value == nil {
		trace.Answered(u.span, u.circuit, a, u.refused)
		if a.Error != "" {
			u.note(counts)
			err := &breaker.PolicyError{Message: a.Error, Err: cause}
			u.tellError(err)
			return err
		}
		u.circuit.Answered(true)
		counts.FallbackSuccess++
		u.note(counts)
		return nil
	}
	if u.fallback == nil {
		u.note(counts)
		u.tellError(cause)
		return cause
	}
	good := false
	defer func() { // also when it panics
		u.circuit.Answered(good)
		if good {
			counts.FallbackSuccess++
		} else {
			counts.FallbackFailure++
		}
		u.note(counts)
	}()
	if err := u.fallback(ctx, cause); err != nil {
		err = fmt.Errorf("fallback failed with '%w'. run error was '%w'", err, cause) // hystrix-go's words
		u.tellError(err)
		return err
	}
	good = true
	trace.Fallback(u.span, trace.FallbackCode, "", 0)
	return nil
}
