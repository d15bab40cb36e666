package governance

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Change is who changes something, and why. Both are required.
type Change struct {
	Actor  string
	Reason string
}

// MaxReason is how many bytes a reason may have.
const MaxReason = 1000

// Validate reports what is missing. Its errors have the code Invalid.
func (c Change) Validate() error {
	for _, f := range []struct{ field, text, what string }{{"actor", c.Actor, "who changes it"}, {"reason", c.Reason, "why it is changed"}} {
		switch {
		case strings.TrimSpace(f.text) == "":
			return &Error{Code: Invalid, Field: f.field, Message: "is missing", Fix: "say " + f.what}
		case len(f.text) > MaxReason || !utf8.ValidString(f.text) || strings.ContainsRune(f.text, 0):
			return &Error{Code: Invalid, Field: f.field, Message: "is longer than 1000 bytes, or no text"}
		}
	}
	return nil
}

// PolicyStore keeps policies and all their versions. Implementations are safe
// for concurrent use.
type PolicyStore interface {
	// Put writes a new version of a valid policy and returns it. expect is the
	// version that the writer has seen: 0 for a policy that must not exist yet,
	// AnyVersion to write whatever is there. Errors: Invalid, Conflict (whose
	// message names the version that is there), Unavailable.
	Put(ctx context.Context, p Policy, expect int64, c Change) (Version, error)

	// Delete writes the version that ends a policy; one that has expired may be
	// deleted too. Errors: NotFound when there is none, Conflict, Unavailable.
	Delete(ctx context.Context, key Key, expect int64, c Change) (Version, error)

	// Get returns the newest version. Errors: NotFound also for a deleted one.
	Get(ctx context.Context, key Key) (Version, error)

	// List returns what is in force (expired ones left out unless asked for) of a
	// namespace, or of all when it is empty, sorted by key, 10,000 at most, and the
	// version of the whole: the newest ever written.
	List(ctx context.Context, q PolicyQuery) ([]Version, int64, error)

	// Versions returns the versions of one policy, the newest first, deleted ones
	// included.
	Versions(ctx context.Context, key Key, limit int) ([]Version, error)

	// Version returns one version of a policy, a deleted one too. Errors: NotFound.
	Version(ctx context.Context, key Key, version int64) (Version, error)

	// Since returns the newest version of every policy that was written after the
	// given version of the whole, in the order of their versions, deleted and
	// expired ones included, and the version of the whole up to which that is
	// everything. A store may answer in parts: who wants all asks again from the
	// version returned until it stays the same, beginning with 0. When version lies ahead of
	// the store (another database, an older backup), the version returned is
	// lower, and the caller starts over from 0.
	Since(ctx context.Context, version int64) ([]Version, int64, error)

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
	ID       int64     `json:"id" doc:"Identifies the event; later ones may have lower ids."`
	Time     time.Time `json:"time" doc:"When it happened."`
	Kind     string    `json:"kind" doc:"What happened: one of the words of the reference of events."` // one of the Event… constants
	App      App       `json:"app,omitzero" doc:"The application that it is about."`
	Instance string    `json:"instance,omitempty" doc:"The instance that it is about."`
	Command  string    `json:"command,omitempty" doc:"The command that it is about."`
	// Transition is set for EventTransition.
	Transition *Transition `json:"transition,omitempty" doc:"What the circuit did, with its counts."`
	// Policy, Version, Actor and Reason are set for the events of policies.
	Policy  string `json:"policy,omitempty" doc:"The policy, as namespace/name."`
	Version int64  `json:"version,omitempty" doc:"The version of the policy."`
	Actor   string `json:"actor,omitempty" doc:"Who did it."`
	Reason  string `json:"reason,omitempty" doc:"Why, or the name of the instance."`
}

// Kinds of events.
const (
	// EventTransition is a circuit's change of state in one instance, with the counts
	// of its window at that moment and a sentence that says why.
	EventTransition = "transition"
	// EventPublished is a new version of a policy or a switch, by a person, a program
	// or a rollback.
	EventPublished = "policy.published"
	// EventDeleted is the end of a policy or a switch: deleted, released, or put away
	// after it expired.
	EventDeleted = "policy.deleted"
	// EventConfirmed is told once for each version of a policy: all live instances
	// that have to enforce it said that they do, or, after a deletion, no longer do.
	EventConfirmed = "policy.confirmed"
	// EventRefused is an instance's word that it cannot take a set of policies, and
	// why; it keeps the one before.
	EventRefused = "policy.refused"
	// EventJoined is the first that was heard of an instance.
	EventJoined = "instance.joined"
	// EventLeft is an instance of which nothing was heard for half a minute.
	EventLeft = "instance.left"
	// EventDrifted is a change of an instance's settings by somebody else than those
	// who write policies. They are written again.
	EventDrifted = "instance.drifted"
)

// ConfirmedBy is the Reason of an EventConfirmed: "2 of 2 instances".
func ConfirmedBy(instances int) string {
	if instances == 1 {
		return "1 of 1 instance"
	}
	return fmt.Sprintf("%d of %d instances", instances, instances)
}

// EventQuery narrows a list of events.
type EventQuery struct {
	From, To time.Time // From included, To not; zero for the last hour, and now
	App      App       // zero for any
	// Namespaces are those of the applications; empty for any.
	Namespaces []string
	Instance   string
	Command    string
	Kinds      []string // empty for all
	Limit      int      // 1 to 10,000; 0 for 1,000
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

	// Totals returns what series counted over a range, sorted by application, series
	// and instance. The range is rounded as TotalsQuery.WithDefaults says; what lies
	// so far back that only minutes are kept is rounded to those. Errors: Invalid,
	// also for one that would read too much.
	Totals(ctx context.Context, q TotalsQuery) (Totals, error)

	// Circuits returns, of one application or of all when app is zero, what the last
	// transitions of circuits left them in. A process that begins anew has made none.
	// Cut says that there are more than a store reads at once.
	Circuits(ctx context.Context, app App) (circuits []Circuit, cut bool, err error)

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
	Cut    bool     `json:"cut,omitempty" doc:"There is more than one question reads: not everything is counted."`
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

// CheckExpected returns the Conflict of a write that expects a version which is
// not there: head is the newest version, nil for none. Stores share it, so that
// all say the same.
func CheckExpected(key Key, head *Version, expect int64) error {
	exists := head != nil && !head.Deleted
	switch {
	case expect == AnyVersion, expect == 0 && !exists, exists && head.Version == expect:
		return nil
	case !exists:
		return &Error{
			Code: Conflict, Message: fmt.Sprintf("policy %s is not there; version %d of it was expected", key, expect),
			Fix: "write it anew, without an expected version",
		}
	case expect == 0:
		return &Error{
			Code: Conflict, Message: fmt.Sprintf("policy %s is there already, in version %d", key, head.Version),
			Fix: "change it by naming that version, or choose another name",
		}
	}
	return &Error{
		Code: Conflict, Message: fmt.Sprintf("policy %s is in version %d, written by %s; version %d was expected", key, head.Version, head.Actor, expect),
		Fix: "read it again and repeat the change",
	}
}

// NoPolicy returns the NotFound of a policy that is not there.
func NoPolicy(key Key) error {
	return &Error{Code: NotFound, Message: fmt.Sprintf("there is no policy %s", key), Fix: "list them to see which there are"}
}

// NoVersion returns the NotFound of a version that a policy does not have.
func NoVersion(key Key, version int64) error {
	return &Error{Code: NotFound, Message: fmt.Sprintf("policy %s has no version %d", key, version), Fix: "list its versions to see which there are"}
}

// MaxEvents is how many events a query answers at most.
const MaxEvents = 10_000

// WithDefaults fills in what is zero, as of now.
func (q EventQuery) WithDefaults(now time.Time) EventQuery {
	if q.To.IsZero() {
		q.To = now.Add(time.Second) // what was recorded just now is wanted too
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-time.Hour)
	}
	if q.Limit <= 0 {
		q.Limit = 1000
	}
	q.Limit = min(q.Limit, MaxEvents)
	if len(q.Kinds) == 0 {
		q.Kinds = nil
	}
	if len(q.Namespaces) == 0 {
		q.Namespaces = nil
	}
	return q
}
