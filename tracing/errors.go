package tracing

import (
	"errors"
	"strings"
)

// Code classes what went wrong, for callers that branch on it and for edges that
// turn it into a status.
type Code string

// Codes of the errors in this package's interfaces.
const (
	// Invalid: the request itself is wrong; repeating it will not help.
	Invalid Code = "invalid"
	// NotFound: the named thing is not there.
	NotFound Code = "not-found"
	// Unavailable: the store cannot be reached, or has no room; repeating helps.
	Unavailable Code = "unavailable"
	// Internal: anything else.
	Internal Code = "internal"
)

// Error is an error with a code and a sentence for the user.
type Error struct {
	Code    Code
	Message string // what happened; in Zipkin's words where Zipkin has any
	Err     error  // the cause; may be nil
}

// Error returns "message: cause".
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	var b strings.Builder
	b.WriteString(e.Message)
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
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

// ErrTooManySpans means that a list is longer than its reader takes.
var ErrTooManySpans = &Error{Code: Invalid, Message: "too many spans in one list: send fewer at once"}

func invalid(message string) *Error { return &Error{Code: Invalid, Message: message} }
