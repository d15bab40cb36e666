package registry

import (
	"context"
	"errors"
	"strings"
)

// Code classes what went wrong, for callers that branch on it and for edges that
// turn it into an HTTP, gRPC or Dubbo status.
type Code string

// Codes of the errors in this package's interfaces.
const (
	// Invalid: the request itself is wrong; repeating it will not help.
	Invalid Code = "invalid"
	// NotFound: the named thing is not there.
	NotFound Code = "not-found"
	// Forbidden: the registry is there and refuses; somebody must grant a right.
	Forbidden Code = "forbidden"
	// Conflict: somebody else holds what was to be written.
	Conflict Code = "conflict"
	// Unavailable: the registry cannot be reached or has not answered yet.
	Unavailable Code = "unavailable"
	// Internal: anything else.
	Internal Code = "internal"
)

// Error is an error with a code, a sentence for the user and, where one is
// known, what the user should do next.
type Error struct {
	Code    Code
	Message string // what happened
	Fix     string // what to do about it; may be empty
	Err     error  // the cause; may be nil
}

// Error returns "registry: message: cause; fix".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("registry: ")
	b.WriteString(e.Message)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Fix != "" {
		b.WriteString("; ")
		b.WriteString(e.Fix)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain, Internal for any
// other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

// Text is what a user is told of an error where it stands by itself: without the
// package's name before it, and without the cause where that says only that time
// was up.
func Text(err error) string {
	var e *Error
	if errors.As(err, &e) && (errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled)) {
		short := *e
		short.Err, err = nil, &short
	}
	return strings.TrimPrefix(err.Error(), "registry: ")
}
