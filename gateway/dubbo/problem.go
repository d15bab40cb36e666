package dubbo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// Kind says what went wrong with a call, for fallbacks, retries and metrics.
type Kind string

// Kinds of problems.
const (
	kindBadArgument   Kind = "bad_argument"
	kindNotFound      Kind = "not_found" // no such method or interface
	kindException     Kind = "exception" // the provider's method threw
	kindTimeout       Kind = "timeout"
	kindNoProvider    Kind = "no_provider"
	kindUnreachable   Kind = "unreachable" // nothing was sent
	kindBroken        Kind = "broken"      // the connection broke while the call ran
	kindOverloaded    Kind = "overloaded"  // the provider refused to run it
	kindOpen          Kind = "open"        // by the circuit breaker
	kindBadAnswer     Kind = "bad_answer"
	kindProviderError Kind = "provider_error"
	kindCanceled      Kind = "canceled"
)

// ProblemError is one wrong part of a request.
type ProblemError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Problem is an RFC 9457 problem document, and an error. It never holds the
// provider's stack or address.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Exception is the class of the exception that the provider's method threw,
	// where it is known, and its message.
	Exception string         `json:"exception,omitempty"`
	Message   string         `json:"message,omitempty"`
	Errors    []ProblemError `json:"errors,omitempty"`

	Kind Kind `json:"-"`
	// notRun says that the method provably did not run.
	notRun bool
	// ran says that an answer came, so that the provider is alive and reachable.
	ran bool
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// NotRun reports whether the method provably did not run.
func (p *Problem) NotRun() bool { return p.notRun }

func problem(status int, kind Kind, format string, args ...any) *Problem {
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Kind: kind,
		Detail: fmt.Sprintf(format, args...),
	}
}

func badRequest(format string, args ...any) *Problem {
	return problem(http.StatusBadRequest, kindBadArgument, format, args...)
}

func tooLarge(limit int64) *Problem {
	return problem(http.StatusRequestEntityTooLarge, kindBadArgument, "the body is larger than the %d bytes this route takes", limit)
}

// write answers a request with the problem.
func (p *Problem) write(w http.ResponseWriter) {
	b, err := json.Marshal(p)
	if err != nil {
		http.Error(w, p.Title, p.Status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(b) // the client is gone: nobody to tell
}
