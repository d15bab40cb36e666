package governance

import (
	"encoding/json"
	"time"
)

// Key identifies a policy. Its namespace is that of the application it is about.
type Key struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String returns "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Kind tells a lasting policy from a switch.
type Kind string

// The kinds.
const (
	// KindPolicy holds until it is changed.
	KindPolicy Kind = "policy"
	// KindSwitch only degrades: it is made to be pulled and released fast, beats
	// every policy, and skips whatever delays other changes.
	KindSwitch Kind = "switch"
)

// Target says which calls a policy is about and where it is enforced.
type Target struct {
	// App is the application that serves the calls.
	App App `json:"app" doc:"The application that serves the calls."`
	// Command is one command of App, such as "InventoryService.reserve",
	// "GET /cart/{id}" or a Hystrix command's name; empty for all of them.
	Command string `json:"command,omitempty" doc:"One command of it; all of them, if left out."`
	// At is where it is enforced; Provider unless said otherwise.
	At At `json:"at,omitempty" doc:"Where it is enforced: provider, which is meant if left out, or caller."`
	// From, for At Caller, narrows it to calls made by these applications.
	From []App `json:"from,omitempty" doc:"At the caller: only calls of these applications."`
}

// Policy is one document about one target. Fields that are left out leave the
// decision to a less specific policy, and at last to what the service itself
// has set.
type Policy struct {
	Namespace string `json:"namespace,omitempty" doc:"That of the target, if left out."`          // that of Target.App, if left out
	Name      string `json:"name,omitempty" doc:"Made of the target, if left out."`               // DefaultName(kind, target), if left out
	Kind      Kind   `json:"kind,omitempty" doc:"policy, which is meant if left out, or switch."` // KindPolicy, if left out
	Target    Target `json:"target" doc:"Which calls it is about."`
	Rules
	// Expires ends the policy; zero for never. Instances enforce it themselves.
	Expires time.Time `json:"expires,omitzero" doc:"When it ends by itself; instances enforce it."`
}

// Rules are what a policy may say of a call.
type Rules struct {
	Breaker  *Breaker  `json:"breaker,omitempty"`
	Timeout  Duration  `json:"timeout,omitempty" doc:"Of the whole call, such as 800ms; at most 10m."` // of the whole call; zero leaves it
	Bulkhead *Bulkhead `json:"bulkhead,omitempty"`
	Fallback *Fallback `json:"fallback,omitempty"`
}

// Mode is how a breaker decides.
type Mode string

// The modes.
const (
	ModeAuto         Mode = "auto"         // by what it counts
	ModeForcedOpen   Mode = "forcedOpen"   // refuses every call
	ModeForcedClosed Mode = "forcedClosed" // admits every call, counting on
	ModeDisabled     Mode = "disabled"     // as if there were none
)

// Breaker holds the thresholds of a circuit breaker. Zero fields leave the
// decision to a less specific policy.
type Breaker struct {
	Mode Mode `json:"mode,omitempty" doc:"auto, forcedOpen, forcedClosed or disabled."`
	// Window is the rolling time over which calls are counted, 1 s to 5 min.
	Window Duration `json:"window,omitempty" doc:"The rolling time over which calls are counted, 1s to 5m."`
	// MinCalls is how many calls a window needs before it can trip.
	MinCalls int `json:"minCalls,omitempty" doc:"How many calls a window needs before the circuit can open."`
	// ErrorPercent, 1 to 100, of failures and timeouts among the calls that ran
	// opens the circuit.
	ErrorPercent float64 `json:"errorPercent,omitempty" doc:"Opens at this share of failures and timeouts among the calls that ran, 1 to 100."`
	// SlowCall makes a call that took at least as long a slow one;
	// SlowPercent of slow calls opens the circuit. Both or none.
	SlowCall    Duration `json:"slowCall,omitempty" doc:"Calls that took at least as long are slow."`
	SlowPercent float64  `json:"slowPercent,omitempty" doc:"Opens at this share of slow calls, 1 to 100."`
	// OpenFor is how long the circuit refuses before it lets probes through.
	OpenFor Duration `json:"openFor,omitempty" doc:"How long it refuses before it lets probes through, at most 1h."`
	// Probes is how many calls in a row must succeed, half-open, to close it.
	Probes int `json:"probes,omitempty" doc:"How many probes in a row have to succeed to close it."`
}

// Bulkhead bounds calls under way.
type Bulkhead struct {
	Concurrent int `json:"concurrent" doc:"The most calls under way at once in each instance, at least 1."` // at least 1
}

// Fallback is what a caller gets in place of an answer. Exactly one of Value,
// Empty, Error and Cached is set.
type Fallback struct {
	// Value is answered, decoded by the type that the caller expects.
	Value json.RawMessage `json:"value,omitempty" doc:"JSON that is answered, decoded by the type that the caller expects."`
	// Empty answers the zero value of what the caller expects.
	Empty bool `json:"empty,omitempty" doc:"Answers the zero value of what the caller expects."`
	// Error answers an error with this text, and keeps a fallback that the
	// service has in its code from running.
	Error string `json:"error,omitempty" doc:"Answers an error with this text; a fallback in the code does not run either."`
	// Cached answers the last good answer to a call with equal arguments; Else
	// holds where there is none young enough.
	Cached *Cached   `json:"cached,omitempty" doc:"Answers the last good answer to an equal call."`
	Else   *Fallback `json:"else,omitempty" doc:"Holds where no answer is young enough."`
}

// Cached says how old an answer may be.
type Cached struct {
	MaxAge Duration `json:"maxAge"`
}

// Version is one immutable version of a policy. Versions are numbered by one
// counter over all policies, so that their order is that of their commits.
type Version struct {
	Policy  Policy    `json:"policy"`
	Version int64     `json:"version" doc:"Higher is later, over all policies."`
	Created time.Time `json:"created" doc:"When it was written."`
	Actor   string    `json:"actor" doc:"Who wrote it."`
	Reason  string    `json:"reason" doc:"Why."`
	// Deleted marks the version that ended the policy: a released switch, a
	// deleted policy. Policy is then what it was before.
	Deleted bool `json:"deleted,omitempty" doc:"The policy ended with this version."`
}
