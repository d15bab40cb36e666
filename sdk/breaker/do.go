package breaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weirmesh/weir/governance"
)

// Option is what one Do has beside its function.
type Option struct {
	fallback, decode any // functions of the type that Do answers
	key              string
	keyed            bool
}

// WithFallback gives what answers in place of the function, where no policy has a
// fallback of its own. It is told why: a *Refused, or the function's error. It runs
// under the caller's context.
func WithFallback[T any](f func(ctx context.Context, err error) (T, error)) Option {
	return Option{fallback: f}
}

// WithDecoder gives what makes an answer of the value that a policy holds; without
// it, json.Unmarshal does.
func WithDecoder[T any](f func(json.RawMessage) (T, error)) Option { return Option{decode: f} }

// WithCacheKey keeps good answers under a key that stands for the call's
// arguments, for policies whose fallback is the last good answer.
func WithCacheKey(key string) Option { return Option{key: key, keyed: true} }

// Do calls f under the circuit, on the caller's goroutine, and answers what f
// answers. Where the call is refused, fails or times out, it answers by the
// policy's fallback, else by that of WithFallback, else with the error: a *Refused,
// or what f answered. Errors that are ignored and calls whose caller is gone get no
// fallback. A context that ends by a policy's timeout tells so as its cause.
func Do[T any](ctx context.Context, c *Circuit, f func(context.Context) (T, error), opts ...Option) (T, error) {
	use, err := options[T](opts)
	if err != nil {
		panic(err)
	}
	var call Call
	if refused := c.begin(ctx, &call); refused != nil {
		if refused.Reason == ReasonGone {
			var zero T
			return zero, refused
		}
		return fallback(ctx, c, use, refused.Fallback, refused)
	}
	// A panic, or runtime.Goexit, passes by; what it leaves is a failure.
	defer call.End(Failure)
	v, err := f(call.ctx)
	o := call.Done(err)
	if err == nil {
		if use.keyed {
			c.Keep(use.key, v)
		}
		return v, nil
	}
	if o != Failure && o != Timeout {
		return v, err
	}
	if use.fallback == nil && call.rules.fallback == nil && c.rules.Load().fallback == nil {
		return v, err
	}
	return fallback(ctx, c, use, c.Fallback(), err)
}

// used are the options of a Do, with their types known.
type used[T any] struct {
	fallback func(context.Context, error) (T, error)
	decode   func(json.RawMessage) (T, error)
	key      string
	keyed    bool
}

func options[T any](opts []Option) (u used[T], err error) {
	for i := range opts {
		o := &opts[i]
		ok := true
		switch {
		case o.fallback != nil:
			u.fallback, ok = o.fallback.(func(context.Context, error) (T, error))
		case o.decode != nil:
			u.decode, ok = o.decode.(func(json.RawMessage) (T, error))
		default:
			u.key, u.keyed = o.key, o.keyed
		}
		if !ok {
			return u, fmt.Errorf("breaker: Do answers %T, its option %T or %T does not", *new(T), o.fallback, o.decode)
		}
	}
	return u, nil
}

// fallback answers in place of f.
func fallback[T any](ctx context.Context, c *Circuit, use used[T], policy *governance.Fallback, cause error) (T, error) {
	var zero T
	if a, ok := c.Answer(policy, use.key, use.keyed); ok {
		v, err := decode(a, use)
		switch {
		case a.Error != "":
			return zero, &PolicyError{Message: a.Error, Err: cause}
		case err != nil:
			c.Answered(false)
			return zero, failed(cause, err)
		}
		c.Answered(true)
		return v, nil
	}
	if use.fallback == nil {
		return zero, cause
	}
	good := false
	defer func() { c.Answered(good) }() // also when it panics
	v, err := use.fallback(ctx, cause)
	if err != nil {
		return v, failed(cause, err)
	}
	good = true
	return v, nil
}

func failed(cause, err error) error {
	if errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w; its fallback failed as well: %w", cause, err)
}

func decode[T any](a Answer, use used[T]) (v T, err error) {
	switch {
	case a.Value != nil && use.decode != nil:
		v, err = use.decode(a.Value)
	case a.Value != nil:
		err = json.Unmarshal(a.Value, &v)
	case a.Cached:
		var ok bool
		if v, ok = a.Kept.(T); !ok && a.Kept != nil {
			err = fmt.Errorf("breaker: a %T was kept where %T is answered", a.Kept, v)
		}
	}
	if err != nil {
		err = fmt.Errorf("breaker: the policy's fallback does not fit the answer: %w", err)
	}
	return v, err
}

// Answer is what a fallback comes to for one call.
type Answer struct {
	// Value is JSON to answer; nil unless the policy gives one.
	Value json.RawMessage
	// Empty: answer the zero value.
	Empty bool
	// Error is the text of the error to answer.
	Error string
	// Cached: answer Kept, which Circuit.Keep was given.
	Cached bool
	Kept   any
	// Age is how old Kept is not to be exceeded by; the policy's limit.
	MaxAge time.Duration
}

// Kind names what is answered: "value", "empty", "cached" or "error".
func (a Answer) Kind() string {
	switch {
	case a.Error != "":
		return "error"
	case a.Cached:
		return "cached"
	case a.Empty:
		return "empty"
	}
	return "value"
}

// Answer tells what a policy's fallback comes to for a call whose arguments key
// stands for; keyed says that there is a key. It is false when the policy has
// none, or only a cached one without an answer young enough: then the fallback in
// the code answers, if there is one.
func (c *Circuit) Answer(f *governance.Fallback, key string, keyed bool) (Answer, bool) {
	for ; f != nil; f = f.Else {
		switch {
		case f.Cached != nil:
			maxAge := time.Duration(f.Cached.MaxAge)
			if keyed {
				if v, ok := c.Kept(key, maxAge); ok {
					return Answer{Cached: true, Kept: v, MaxAge: maxAge}, true
				}
			}
		case f.Value != nil:
			return Answer{Value: f.Value}, true
		case f.Empty:
			return Answer{Empty: true}, true
		case f.Error != "":
			return Answer{Error: f.Error}, true
		}
	}
	return Answer{}, false
}

// Answered counts that a fallback answered, or failed as well. Do counts by
// itself.
func (c *Circuit) Answered(good bool) {
	k := kindFallbackSuccess
	if !good {
		k = kindFallbackFailure
	}
	c.count(k, c.set.mono())
}

// PolicyError is the error that a policy's fallback answers.
type PolicyError struct {
	Message string // of the policy
	Err     error  // what it stands in for
}

// Error returns the policy's text.
func (e *PolicyError) Error() string { return e.Message }

// Unwrap returns what the error stands in for.
func (e *PolicyError) Unwrap() error { return e.Err }
