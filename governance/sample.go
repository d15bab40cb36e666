package governance

import (
	"math"
	"time"
)

// State is what a circuit does with calls.
type State string

// The states.
const (
	// StateClosed lets calls pass and counts them.
	StateClosed State = "closed"
	// StateOpen refuses calls, by what was counted.
	StateOpen State = "open"
	// StateHalfOpen lets a few probes through, and refuses the others.
	StateHalfOpen State = "halfOpen"
	// StateForcedOpen refuses calls, since a switch or a policy says so.
	StateForcedOpen State = "forcedOpen"
	// StateForcedClosed lets calls pass and counts them, whatever the counts, since a
	// policy says so.
	StateForcedClosed State = "forcedClosed"
	// StateDisabled lets calls pass and counts none towards a decision, since a policy
	// says so.
	StateDisabled State = "disabled"
)

// Series names what one instance counts together: a command, on one side of the
// calls, and the application on the other side where it is known.
type Series struct {
	Command string `json:"command" doc:"The command."`
	At      At     `json:"at" doc:"On which side of the call it is counted."`
	// Peer is, for At Caller, the application that serves the command; for At
	// Provider it is empty: callers are not told apart.
	Peer App `json:"peer,omitzero" doc:"At the caller: the application that serves the command."`
}

// Counts are of calls that ended in a span of time. They are additive.
type Counts struct {
	Success  int64 `json:"success,omitempty" doc:"Ran, and answered."`
	Failure  int64 `json:"failure,omitempty" doc:"Ran, and answered an error that counts."`                   // ran, and answered an error that counts
	Ignored  int64 `json:"ignored,omitempty" doc:"Ran, and answered an error that the service said is none."` // ran, and answered an error that the service said is not one
	Timeout  int64 `json:"timeout,omitempty" doc:"Ran into its own deadline or the caller's."`                // ran into its own or the caller's deadline
	Canceled int64 `json:"canceled,omitempty" doc:"Ended by a caller that went away."`                        // ended by a caller that went away
	Rejected int64 `json:"rejected,omitempty" doc:"Refused by the bulkhead."`                                 // refused by the bulkhead
	// ShortCircuited were refused by an open circuit, Switched by one that a
	// policy or switch holds open.
	ShortCircuited int64 `json:"shortCircuited,omitempty" doc:"Refused by an open circuit."`
	Switched       int64 `json:"switched,omitempty" doc:"Refused by a circuit that a switch or a policy holds open."`
	// Of all that were refused or failed, FallbackSuccess were answered by a
	// fallback, and the fallback of FallbackFailure failed as well.
	FallbackSuccess int64 `json:"fallbackSuccess,omitempty" doc:"Of those refused or failed: answered by a fallback."`
	FallbackFailure int64 `json:"fallbackFailure,omitempty" doc:"Of those refused or failed: the fallback failed too."`
	Slow            int64 `json:"slow,omitempty" doc:"Of those that ran: slow."` // of those that ran
}

// Ran is how many calls were let through to their end.
func (c Counts) Ran() int64 { return c.Success + c.Failure + c.Ignored + c.Timeout + c.Canceled }

// Refused is how many calls were not let through.
func (c Counts) Refused() int64 { return c.Rejected + c.ShortCircuited + c.Switched }

// Errors is how many calls speak against what was called, as a breaker counts.
func (c Counts) Errors() int64 { return c.Failure + c.Timeout }

// Calls is how many there were, those that were refused included.
func (c Counts) Calls() int64 { return c.Ran() + c.Refused() }

// Rate is how many calls there were in a second of a span of time, ErrorPercent how
// much of those that ran failed, RefusedPercent how much of all were not let
// through, and SlowPercent how much of those that ran were slow. A thousandth is
// the least that they tell; of nothing they are 0.
func (c Counts) Rate(over time.Duration) float64 {
	if over <= 0 {
		return 0
	}
	return thousandths(float64(c.Calls()) / over.Seconds())
}

// ErrorPercent is described at Rate.
func (c Counts) ErrorPercent() float64 { return percent(c.Errors(), c.Ran()) }

// RefusedPercent is described at Rate.
func (c Counts) RefusedPercent() float64 { return percent(c.Refused(), c.Calls()) }

// SlowPercent is described at Rate.
func (c Counts) SlowPercent() float64 { return percent(c.Slow, c.Ran()) }

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return thousandths(100 * float64(part) / float64(whole))
}

func thousandths(v float64) float64 { return math.Round(v*1000) / 1000 }

// Add returns the sum.
func (c Counts) Add(d Counts) Counts {
	return Counts{
		Success: c.Success + d.Success, Failure: c.Failure + d.Failure, Ignored: c.Ignored + d.Ignored,
		Timeout: c.Timeout + d.Timeout, Canceled: c.Canceled + d.Canceled, Rejected: c.Rejected + d.Rejected,
		ShortCircuited: c.ShortCircuited + d.ShortCircuited, Switched: c.Switched + d.Switched,
		FallbackSuccess: c.FallbackSuccess + d.FallbackSuccess, FallbackFailure: c.FallbackFailure + d.FallbackFailure,
		Slow: c.Slow + d.Slow,
	}
}

// Sample is what one instance counted for one series in one second. A second in
// which nothing happened has no sample.
type Sample struct {
	Series
	// Second is the Unix time of the span's begin.
	Second int64  `json:"second"`
	Counts Counts `json:"counts"`
	// Latency is the encoded sketch (governance/sketch) of the calls that ran;
	// empty when none did.
	Latency []byte `json:"latency,omitempty"`
	// InFlight is the most calls under way at once.
	InFlight int   `json:"inFlight,omitempty"`
	State    State `json:"state"`
	// Lossy marks counts that the source itself knows to be incomplete.
	Lossy bool `json:"lossy,omitempty"`
}

// Transition is one change of a circuit's state.
type Transition struct {
	Series
	Time time.Time `json:"time" doc:"When it happened."`
	From State     `json:"from" doc:"The state before it."`
	To   State     `json:"to" doc:"The state after it."`
	// Cause is a sentence: "62 % of 34 calls failed in 10 s, 50 % allowed".
	Cause string `json:"cause" doc:"A sentence that says why."`
	// Window is what the breaker had counted when it decided.
	Window Counts `json:"window" doc:"What the breaker had counted when it decided."`
	// Policy and Version are of the policy that brought it about; empty when the
	// breaker decided by itself.
	Policy  string `json:"policy,omitempty" doc:"The policy that brought it about; missing where the breaker decided by itself."`
	Version int64  `json:"version,omitempty" doc:"The version of that policy."`
}
