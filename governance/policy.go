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
	App App `json:"app"`
	// Command is one command of App, such as "InventoryService.reserve",
	// "GET /cart/{id}" or a Hystrix command's name; empty for all of them.
	Command string `json:"command,omitempty"`
	// At is where it is enforced; Provider unless said otherwise.
	At At `json:"at,omitempty"`
	// From, for At Caller, narrows it to calls made by these applications.
	From []App `json:"from,omitempty"`
}

// Policy is one document about one target. Fields that are left out leave the
// decision to a less specific policy, and at last to what the service itself
// has set.
type Policy struct {
	Namespace string `json:"namespace,omitempty"` // that of Target.App, if left out
	Name      string `json:"name,omitempty"`      // DefaultName(kind, target), if left out
	Kind      Kind   `json:"kind,omitempty"`      // KindPolicy, if left out
	Target    Target `json:"target"`
	Rules
	// Expires ends the policy; zero for never. Instances enforce it themselves.
	Expires time.Time `json:"expires,omitzero"`
}

// Rules are what a policy may say of a call.
type Rules struct {
	Breaker  *Breaker  `json:"breaker,omitempty"`
	Timeout  Duration  `json:"timeout,omitempty"` // of the whole call; zero leaves it
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
	Mode Mode `json:"mode,omitempty"`
	// Window is the rolling time over which calls are counted, 1 s to 5 min.
	Window Duration `json:"window,omitempty"`
	// MinCalls is how many calls a window needs before it can trip.
	MinCalls int `json:"minCalls,omitempty"`
	// ErrorPercent, 1 to 100, of failures and timeouts among the calls that ran
	// opens the circuit.
	ErrorPercent float64 `json:"errorPercent,omitempty"`
	// SlowCall makes a call that took at least as long a slow one;
	// SlowPercent of slow calls opens the circuit. Both or none.
	SlowCall    Duration `json:"slowCall,omitempty"`
	SlowPercent float64  `json:"slowPercent,omitempty"`
	// OpenFor is how long the circuit refuses before it lets probes through.
	OpenFor Duration `json:"openFor,omitempty"`
	// Probes is how many calls in a row must succeed, half-open, to close it.
	Probes int `json:"probes,omitempty"`
}

// Bulkhead bounds calls under way.
type Bulkhead struct {
	Concurrent int `json:"concurrent"` // at least 1
}

// Fallback is what a caller gets in place of an answer. Exactly one of Value,
// Empty, Error and Cached is set.
type Fallback struct {
	// Value is answered, decoded by the type that the caller expects.
	Value json.RawMessage `json:"value,omitempty"`
	// Empty answers the zero value of what the caller expects.
	Empty bool `json:"empty,omitempty"`
	// Error answers an error with this text, and keeps a fallback that the
	// service has in its code from running.
	Error string `json:"error,omitempty"`
	// Cached answers the last good answer to a call with equal arguments; Else
	// holds where there is none young enough.
	Cached *Cached   `json:"cached,omitempty"`
	Else   *Fallback `json:"else,omitempty"`
}

// Cached says how old an answer may be.
type Cached struct {
	MaxAge Duration `json:"maxAge"`
}

// Version is one immutable version of a policy. Versions are numbered by one
// counter over all policies, so that their order is that of their commits.
type Version struct {
	Policy  Policy    `json:"policy"`
	Version int64     `json:"version"`
	Created time.Time `json:"created"`
	Actor   string    `json:"actor"`
	Reason  string    `json:"reason"`
	// Deleted marks the version that ended the policy: a released switch, a
	// deleted policy. Policy is then what it was before.
	Deleted bool `json:"deleted,omitempty"`
}
