package hystrix

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
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
	began := time.Now()
	call, err := c.circuit.Begin(ctx)
	if err != nil {
		var refused *breaker.Refused
		if !errors.As(err, &refused) {
			return err
		}
		counts, cause := refusal(refused)
		return c.fallBack(ctx, refused.Fallback, fallback, cause, counts, began, false)
	}
	w := &work{result: make(chan result, 1)}
	go w.run(call.Context(), run)
	select {
	case r := <-w.result:
		return c.finished(ctx, call, r, fallback, began)
	case <-call.Context().Done():
	}
	if r, ok := w.abandon(call, outcomeOf(ctx)); ok { // it came at the last moment
		return c.finished(ctx, call, r, fallback, began)
	}
	counts, cause := expired(ctx)
	return c.fallBack(ctx, c.circuit.Fallback(), fallback, cause, counts, began, true)
}

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
func (c *command) finished(ctx context.Context, call *breaker.Call, r result, fallback fallbackFuncC, began time.Time) error {
	if r.panicked {
		call.End(breaker.Failure)
		c.note(governance.Counts{Failure: 1}, began, true)
		panic(r.value)
	}
	callErr := call.Context().Err() // before Done, which ends the context
	o := call.Done(r.err)
	switch {
	case r.err == nil:
		c.note(governance.Counts{Success: 1}, began, true)
		return nil
	case o == breaker.Ignored:
		c.note(governance.Counts{Ignored: 1}, began, true)
		return r.err
	case callErr != nil && ctx.Err() == nil: // the command's own timeout
		return c.fallBack(ctx, c.circuit.Fallback(), fallback, ErrTimeout, governance.Counts{Timeout: 1}, began, true)
	}
	counts := governance.Counts{Failure: 1}
	switch o {
	case breaker.Timeout:
		counts = governance.Counts{Timeout: 1}
	case breaker.Canceled:
		counts = governance.Counts{Canceled: 1}
	}
	return c.fallBack(ctx, c.circuit.Fallback(), fallback, r.err, counts, began, true)
}

// fallBack answers in place of a function: as policy says, else as the code does.
func (c *command) fallBack(ctx context.Context, policy *governance.Fallback, fallback fallbackFuncC, cause error, counts governance.Counts, began time.Time, ran bool) error {
	// A value has nowhere to go; what an "else" says behind it is not meant for it.
	if a, ok := c.circuit.Answer(policy, "", false); ok && a.Value == nil {
		if a.Error != "" {
			c.note(counts, began, ran)
			return &breaker.PolicyError{Message: a.Error, Err: cause}
		}
		c.circuit.Answered(true)
		counts.FallbackSuccess++
		c.note(counts, began, ran)
		return nil
	}
	if fallback == nil {
		c.note(counts, began, ran)
		return cause
	}
	good := false
	defer func() { // also when it panics
		c.circuit.Answered(good)
		if good {
			counts.FallbackSuccess++
		} else {
			counts.FallbackFailure++
		}
		c.note(counts, began, ran)
	}()
	if err := fallback(ctx, cause); err != nil {
		return fmt.Errorf("fallback failed with '%w'. run error was '%w'", err, cause) // hystrix-go's words
	}
	good = true
	return nil
}
