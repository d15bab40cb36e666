package breaker

import (
	"fmt"
	"time"

	"github.com/weirmesh/weir/governance"
)

// Reason is why a call was not let through.
type Reason string

// The reasons.
const (
	// ReasonOpen: the circuit is open, or half-open with its probes under way.
	ReasonOpen Reason = "open"
	// ReasonSwitched: a switch or a policy holds it open.
	ReasonSwitched Reason = "switched"
	// ReasonFull: as many calls are under way as the bulkhead allows.
	ReasonFull Reason = "full"
	// ReasonGone: the caller was gone before the call began, or its deadline had
	// passed. Such a call is counted nowhere and gets no fallback.
	ReasonGone Reason = "gone"
)

// Refused is the error of calls that were not let through. It is shared by many
// calls: do not change it.
type Refused struct { //nolint:errname // its users read "refused because", not "an error of kind"
	Reason Reason
	Series governance.Series
	// Policy, Version, Kind and Why (the reason that its author gave) are of the
	// policy that refuses; empty where the breaker decided by itself.
	Policy  string
	Version int64
	Kind    governance.Kind
	Why     string
	// Fallback is what policy says to answer instead; nil for none.
	Fallback *governance.Fallback
	// Cause, for ReasonOpen, is why the circuit opened, and Until when it tries
	// again; zero when it is trying.
	Cause string
	Until time.Time
	// Limit, for ReasonFull, is how many calls may be under way.
	Limit int

	err error // for ReasonGone
}

// Error says what refused the call.
func (r *Refused) Error() string {
	by := ""
	if r.Policy != "" {
		by = fmt.Sprintf("%s %s, version %d", or(r.Kind, governance.KindPolicy), r.Policy, r.Version)
	}
	switch r.Reason {
	case ReasonSwitched:
		s := "breaker: " + r.Series.Command + " is switched off"
		if by != "" {
			s += " by " + by
		}
		if r.Why != "" {
			s += ": " + r.Why
		}
		return s
	case ReasonFull:
		s := fmt.Sprintf("breaker: %s has all %d calls under way that are allowed", r.Series.Command, r.Limit)
		if by != "" {
			s += " by " + by
		}
		return s
	case ReasonGone:
		return "breaker: " + r.Series.Command + " was not called: " + r.err.Error()
	}
	if r.Until.IsZero() {
		return "breaker: " + r.Series.Command + " is being tried by other calls; its circuit opened because " + r.Cause
	}
	return "breaker: " + r.Series.Command + " is not called until " + r.Until.Format("15:04:05.000Z07:00") + ", because " + r.Cause
}

// Unwrap returns the context's error for ReasonGone.
func (r *Refused) Unwrap() error { return r.err }
