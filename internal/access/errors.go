package access

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
	// Conflict: what is there stands against it, such as one of that name.
	Conflict Code = "conflict"
	// TooMany: somebody tries too often; later it may work.
	TooMany Code = "too-many"
	// Unavailable: what knows the answer cannot be reached.
	Unavailable Code = "unavailable"
	// Internal: anything else.
	Internal Code = "internal"
)

// Error is an error with a code, a sentence for the user and, where one is
// known, what the user should do next.
type Error struct {
	Code    Code
	Field   string // of the request that is wrong, such as "role"; may be empty
	Message string // what happened
	Fix     string // what to do about it; may be empty
	Err     error  // the cause; may be nil
}

// Error returns "access: field: message: cause; fix".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("access: ")
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(": ")
	}
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

// NothingDone is why a write is refused while what records it is away.
func NothingDone(cause error) error {
	return &Error{
		Code: Unavailable, Message: "nothing was done: the database does not answer, and nothing is written without being recorded there",
		Fix: "try again once /api/v1/system says that it is back", Err: cause,
	}
}
