package dubbo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/weirmesh/weir/gateway"
)

// failureKind says what went wrong with a call, for fallbacks, retries and metrics.
type failureKind string

// Kinds of problems.
const (
	kindBadArgument   failureKind = "bad_argument"
	kindNotFound      failureKind = "not_found" // no such method or interface
	kindException     failureKind = "exception" // the provider's method threw
	kindTimeout       failureKind = "timeout"
	kindNoProvider    failureKind = "no_provider"
	kindUnreachable   failureKind = "unreachable" // nothing was sent
	kindBroken        failureKind = "broken"      // the connection broke while the call ran
	kindOverloaded    failureKind = "overloaded"  // the provider refused to run it
	kindOpen          failureKind = "open"        // by the circuit breaker
	kindBadAnswer     failureKind = "bad_answer"
	kindProviderError failureKind = "provider_error"
	kindCanceled      failureKind = "canceled"
)

// wrongPart is one wrong part of a request.
type wrongPart struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// callError is an RFC 9457 problem document, and an error. It never holds the
// provider's stack or address.
type callError struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Code is the kind in the words of the gateway's other problems; it is also the
	// header gateway.ErrorHeader.
	Code string `json:"code,omitempty"`
	// Exception is the class of the exception that the provider's method threw,
	// where it is known, and its message.
	Exception string      `json:"exception,omitempty"`
	Message   string      `json:"message,omitempty"`
	Errors    []wrongPart `json:"errors,omitempty"`

	Kind failureKind `json:"-"`
	// business says that an exception is the service's own word, and speaks neither
	// against the provider nor the way to it.
	business bool
	// notRun says that the method provably did not run.
	notRun bool
	// policy is the policy or switch that refused the call at the provider, and its
	// version, as the header Weir-Policy has them; empty for none.
	policy string
	// ran says that an answer came, so that the provider is alive and reachable.
	ran bool
}

// policyHeader names the policy that refuses, as services under sdk/httpmw do.
const policyHeader = "Weir-Policy"

// Codes of problems that are not named like their kind.
const (
	codeCircuitOpen = "circuit-open"
	codeSwitchedOff = "switched-off"
)

// code returns what the problem is called in documents and headers.
func (p *callError) code() string {
	switch {
	case p.Code != "":
		return p.Code
	case p.Kind == kindOpen:
		return codeCircuitOpen
	}
	return strings.ReplaceAll(string(p.Kind), "_", "-")
}

// Error returns the detail.
func (p *callError) Error() string { return p.Detail }

func problem(status int, kind failureKind, format string, args ...any) *callError {
	return &callError{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Kind: kind,
		Detail: fmt.Sprintf(format, args...),
	}
}

func badRequest(format string, args ...any) *callError {
	return problem(http.StatusBadRequest, kindBadArgument, format, args...)
}

func tooLarge(limit int64) *callError {
	return problem(http.StatusRequestEntityTooLarge, kindBadArgument, "the body is larger than the %d bytes this route takes", limit)
}

// write answers a request with the problem.
func (p *callError) write(w http.ResponseWriter) {
	p.Code = p.code()
	b, err := json.Marshal(p)
	if err != nil {
		http.Error(w, p.Title, p.Status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	h.Set(gateway.ErrorHeader, p.Code)
	if p.policy != "" {
		h.Set(policyHeader, p.policy)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(b) // the client is gone: nobody to tell
}
