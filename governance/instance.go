package governance

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Instance is one running process of an application, as its control plane knows
// it from its stream and its reports.
type Instance struct {
	App   App    `json:"app"`
	ID    string `json:"instance"` // the pod's UID, or a generated id
	Name  string `json:"name,omitempty"`
	SDK   string `json:"sdk,omitempty"`
	Calls []App  `json:"calls,omitempty"` // sorted
	// Lacks are what stands in the way of governing it in full, one sentence each
	// that says what to do about it. Who reports by an SDK lacks nothing.
	Lacks []string `json:"lacks,omitempty" doc:"What stands in the way of governing it in full, in sentences."`
	// Joined is when it was first heard of since it was last gone, Seen when it
	// was heard of last.
	Joined time.Time `json:"joined"`
	Seen   time.Time `json:"seen"`
	// Applied is what it said last about the policies it enforces, at AppliedAt;
	// nil when it has not said anything yet.
	Applied   *Applied  `json:"applied,omitempty"`
	AppliedAt time.Time `json:"appliedAt,omitzero"`
	// Beside is set by who may not be the only one to tell of the instance: what another
	// said it lacks is left as it is, and where that one names another SDK, what it says
	// of policies holds. It is not kept.
	Beside bool `json:"-"`
	// Outside is set by who looks at the instance from outside: nothing of that is taken
	// while the instance tells of itself, by Weir's SDK. It is not kept.
	Outside bool `json:"-"`
}

// Tells reports whether the instance tells of itself, by Weir's SDK.
func (i Instance) Tells() bool { return strings.HasPrefix(i.SDK, "go/") }

// Enforces reports whether the instance is one of those that have to enforce a
// policy.
func (i Instance) Enforces(t Target) bool {
	if t.At == Caller {
		return slices.Contains(i.Calls, t.App) && (len(t.From) == 0 || slices.Contains(t.From, i.App))
	}
	return i.App == t.App
}

// How long instances count.
const (
	// InstanceGone is how long after it was last heard of an instance no longer
	// counts. A control plane that holds its stream says so every InstanceSeen.
	InstanceGone = 30 * time.Second
	InstanceSeen = 5 * time.Second
	// InstanceLeaving is how long an instance whose stream has ended still counts:
	// time to open another.
	InstanceLeaving = 15 * time.Second
)

// MaxCalls is how many applications one instance may call.
const MaxCalls = 500

// Fleet keeps which instances live and what they said that they enforce, for all
// control planes that share a store. Implementations are safe for concurrent use.
type Fleet interface {
	// PutInstances writes what is known of instances, each by its App and ID.
	// Seen is taken as it is given; Calls are added to those there are, Name and
	// SDK left when empty. An older Applied never replaces a newer one,
	// and a nil one leaves what is there. It records EventJoined for an instance
	// that was not there or had gone, and EventRefused when one refuses a set that
	// it has not refused before, in the same step.
	PutInstances(ctx context.Context, in ...Instance) error

	// Instances returns those that live, sorted by application and name, of one
	// application or of all when app is zero.
	Instances(ctx context.Context, app App) ([]Instance, error)

	// SweepInstances ends those not seen for InstanceGone and records EventLeft
	// for each, once.
	SweepInstances(ctx context.Context) error

	// Confirm records, once for each version, that all instances that have to
	// enforce it do, or for a deleted one that they no longer do. It reports
	// whether this was the first time.
	Confirm(ctx context.Context, v Version, instances int) (bool, error)

	// WatchInstances calls changed, from one goroutine, when instances may have
	// come, gone, or applied something else; it may call it too often, and does so
	// every few seconds. It returns when ctx ends.
	WatchInstances(ctx context.Context, changed func()) error
}

// Store is everything that a control plane keeps.
type Store interface {
	PolicyStore
	Fleet
	History
	Tail
}

// Renew joins what is known of an instance with what was heard of it now. left
// says that it had gone, or was not known. It returns the events that this makes
// and whether what it calls or applies has changed. Stores share it.
func Renew(old Instance, left bool, heard Instance) (now Instance, events []Event, moved bool) {
	if heard.Outside && !left && old.Tells() {
		return old, nil, false
	}
	heard.Outside = false
	if heard.Beside && !left {
		heard.Lacks = old.Lacks
		if old.SDK != "" && old.SDK != heard.SDK {
			heard.Name, heard.SDK, heard.Applied = old.Name, old.SDK, nil
			heard.Seen = slices.MaxFunc([]time.Time{heard.Seen, old.Seen}, time.Time.Compare)
		}
	}
	now = heard
	now.Beside = false
	// Who comes in the place of one that was beside others need not be the later one.
	instead := !left && heard.SDK != "" && old.SDK != "" && heard.SDK != old.SDK
	now.Seen = heard.Seen.UTC().Truncate(time.Microsecond)
	now.AppliedAt = heard.AppliedAt.UTC().Truncate(time.Microsecond)
	if !left {
		// What an application calls only becomes more while it runs.
		now.Calls = slices.Concat(old.Calls, heard.Calls)
	}
	now.Lacks = slices.Clone(heard.Lacks)
	now.Calls = slices.Clone(now.Calls)
	slices.SortFunc(now.Calls, App.Compare)
	now.Calls = slices.Compact(now.Calls)
	if len(now.Calls) > MaxCalls {
		// One that says others each time it comes does not grow for ever.
		now.Calls = slices.Clone(heard.Calls)
		slices.SortFunc(now.Calls, App.Compare)
		now.Calls = slices.Compact(now.Calls)
	}
	if left {
		now.Joined, moved = now.Seen, true
		events = append(events, Event{Time: now.Seen, Kind: EventJoined, App: now.App, Instance: now.ID, Reason: now.Name})
		old.Applied = nil
	} else {
		now.Joined, moved = old.Joined, !slices.Equal(old.Calls, now.Calls) || !slices.Equal(old.Lacks, now.Lacks)
		if now.Name == "" {
			now.Name = old.Name
		}
		if now.SDK == "" {
			now.SDK = old.SDK
		}
	}
	if now.Applied == nil || old.Applied != nil && !instead && now.AppliedAt.Before(old.AppliedAt) {
		now.Applied, now.AppliedAt = old.Applied, old.AppliedAt
		if now.Applied == nil {
			now.AppliedAt = time.Time{}
		}
		return now, events, moved
	}
	a := *now.Applied
	now.Applied = &a
	if old.Applied != nil && old.Applied.same(a) {
		now.AppliedAt = old.AppliedAt // said again
	} else {
		moved = true
	}
	refused := func(policy string, version int64, reason string) {
		events = append(events, Event{
			Time: now.AppliedAt, Kind: EventRefused, App: now.App, Instance: now.ID, Policy: policy, Version: version, Reason: reason,
		})
	}
	if r := a.Refused; r != nil && (old.Applied == nil || old.Applied.Refused == nil || old.Applied.Refused.Hash != r.Hash || old.Applied.Refused.Version != r.Version) {
		moved = true
		refused(r.Policy, r.Version, r.Reason)
	}
	for _, u := range a.Unmet {
		if old.Applied == nil || !slices.Contains(old.Applied.Unmet, u) {
			refused(u.Policy, u.Version, u.Reason)
		}
	}
	return now, events, moved
}

// same reports whether both say the same of the set, whatever the words.
func (a *Applied) same(o Applied) bool {
	return a.Version == o.Version && a.Hash == o.Hash && (a.Refused == nil) == (o.Refused == nil) && slices.Equal(a.Unmet, o.Unmet)
}
