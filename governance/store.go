package governance

import (
	"context"
	"time"
)

// Change is who changes something, and why. Both are required.
type Change struct {
	Actor  string
	Reason string
}

// PolicyStore keeps policies and all their versions. Implementations are safe
// for concurrent use.
type PolicyStore interface {
	// Put writes a new version of a valid policy and returns it. expect is the
	// version that the writer has seen: 0 for a policy that must not exist yet,
	// AnyVersion to write whatever is there. Errors: Invalid, Conflict (whose
	// message names the version that is there), Unavailable.
	Put(ctx context.Context, p Policy, expect int64, c Change) (Version, error)

	// Delete writes the version that ends a policy. Errors: NotFound when there
	// is none in force, Conflict, Unavailable.
	Delete(ctx context.Context, key Key, expect int64, c Change) (Version, error)

	// Get returns the newest version. Errors: NotFound also for a deleted one.
	Get(ctx context.Context, key Key) (Version, error)

	// List returns what is in force (expired ones left out unless asked for) of a
	// namespace, or of all when it is empty, sorted by key, and the version of the
	// whole: the newest ever written.
	List(ctx context.Context, q PolicyQuery) ([]Version, int64, error)

	// Versions returns the versions of one policy, the newest first, deleted ones
	// included.
	Versions(ctx context.Context, key Key, limit int) ([]Version, error)

	// Watch calls changed, from one goroutine, whenever the version of the whole
	// may have moved, and at least once; it never blocks writers. It returns when
	// ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// AnyVersion as the expected version writes whatever is there.
const AnyVersion = -1

// PolicyQuery narrows a list.
type PolicyQuery struct {
	Namespace string
	App       App  // of the target; zero for any
	Kind      Kind // empty for both
	Expired   bool // also those that have expired
}

// Stored is a sample with where it came from.
type Stored struct {
	App      App
	Instance string
	Sample
}

// Event is one thing that happened, kept exactly.
type Event struct {
	ID       int64     `json:"id"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"` // one of the Event… constants
	App      App       `json:"app,omitzero"`
	Instance string    `json:"instance,omitempty"`
	Command  string    `json:"command,omitempty"`
	// Transition is set for EventTransition.
	Transition *Transition `json:"transition,omitempty"`
	// Policy, Version, Actor and Reason are set for the events of policies.
	Policy  string `json:"policy,omitempty"`
	Version int64  `json:"version,omitempty"`
	Actor   string `json:"actor,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Kinds of events.
const (
	EventTransition = "transition"
	EventPublished  = "policy.published"
	EventDeleted    = "policy.deleted"
	EventConfirmed  = "policy.confirmed"
	EventRefused    = "policy.refused"
	EventJoined     = "instance.joined"
	EventLeft       = "instance.left"
)

// EventQuery narrows a list of events.
type EventQuery struct {
	From, To time.Time // From included, To not; zero for the last hour, and now
	App      App       // zero for any
	Instance string
	Command  string
	Kinds    []string // empty for all
	Limit    int      // 1 to 10,000; 0 for 1,000
}

// History keeps what instances reported. Implementations are safe for concurrent
// use.
type History interface {
	// Append stores what one report said, once: a report that repeats
	// (instance, boot, seq) stores nothing. It returns after the report is as
	// durable as the store makes it. Errors: Unavailable.
	Append(ctx context.Context, r Report) error

	// Record stores events that did not come by a report.
	Record(ctx context.Context, events ...Event) error

	// Series returns points of one application's series over a range: merged
	// over instances, or of one instance. Steps without a sample are left out: a
	// gap is a gap.
	Series(ctx context.Context, q SeriesQuery) (SeriesResult, error)

	// Commands lists the series an application had in a range.
	Commands(ctx context.Context, app App, from, to time.Time) ([]Series, error)

	// Apps lists the applications that reported in a range, sorted.
	Apps(ctx context.Context, from, to time.Time) ([]App, error)

	// Events lists what happened, the newest first.
	Events(ctx context.Context, q EventQuery) ([]Event, error)
}

// SeriesQuery asks for points.
type SeriesQuery struct {
	App      App
	Instance string // empty for all instances, merged
	Series   Series
	From, To time.Time
	// Step is the wanted distance of points; zero lets the store choose one that
	// gives at most 600. A store may answer with a coarser one.
	Step time.Duration
}

// SeriesResult holds the points and the step they have.
type SeriesResult struct {
	Step   Duration `json:"step"`
	Points []Point  `json:"points"`
}

// Point is what happened from Time for one step.
type Point struct {
	Time      time.Time `json:"time"`
	Counts    Counts    `json:"counts"`
	InFlight  int       `json:"inFlight"`
	Instances int       `json:"instances"`
	// Percentiles, of calls that ran, merged over instances; nil when none ran.
	Latency *Percentiles `json:"latency,omitempty"`
	// States counts instances by the last state they were in.
	States map[State]int `json:"states,omitempty"`
	Lossy  bool          `json:"lossy,omitempty"`
}

// Percentiles of latency.
type Percentiles struct {
	P50 Duration `json:"p50"`
	P90 Duration `json:"p90"`
	P99 Duration `json:"p99"`
	Max Duration `json:"max"`
}
