package api

import (
	"context"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pause"
)

// Confirmation is how far a version of a policy is with the instances that have
// to enforce it, or that have to stop doing so when it was deleted.
type Confirmation struct {
	Version int64 `json:"version"`
	// Live counts the instances that have to enforce it.
	Live      int `json:"live"`
	Confirmed int `json:"confirmed"`
	Pending   int `json:"pending"`
	Refused   int `json:"refused"`
	// Took is how long the last of those that confirmed took; left out while none
	// has.
	Took      governance.Duration `json:"took,omitempty"`
	Instances []InstanceStatus    `json:"instances"`
	// Note says in a sentence what the numbers do not.
	Note string `json:"note,omitempty"`
}

// All reports whether every instance has confirmed, and there is one.
func (c Confirmation) All() bool { return c.Live > 0 && c.Confirmed == c.Live }

// States of an instance's word.
const (
	Confirmed = "confirmed"
	Pending   = "pending"
	Refused   = "refused"
)

// InstanceStatus is one instance's word.
type InstanceStatus struct {
	App      governance.App `json:"app"`
	Instance string         `json:"instance"`
	Name     string         `json:"name,omitempty"`
	State    string         `json:"state" enum:"confirmed,pending,refused"`
	// Wanted and Applied are versions of the whole.
	Wanted  int64     `json:"wanted"`
	Applied int64     `json:"applied"`
	At      time.Time `json:"at,omitzero"`
	Reason  string    `json:"reason,omitempty"` // of a refusal
}

// judge holds what an instance said against what it should have.
func judge(v governance.Version, i governance.Instance, wanted governance.ReportAnswer) InstanceStatus {
	s := InstanceStatus{App: i.App, Instance: i.ID, Name: i.Name, State: Pending, Wanted: wanted.Version}
	if i.Applied == nil {
		return s
	}
	s.Applied, s.At = i.Applied.Version, i.AppliedAt
	refused := i.Applied.Refused
	for _, u := range i.Applied.Unmet {
		if u.Version == v.Version && u.Policy == v.Policy.Key().String() && !v.Deleted {
			s.State, s.Reason = Refused, u.Reason
			return s
		}
	}
	switch {
	case i.Applied.Hash == wanted.Hash && wanted.Version >= v.Version, i.Applied.Version >= v.Version:
		s.State = Confirmed
	case refused != nil && (refused.Hash == wanted.Hash || refused.Version >= v.Version):
		s.State, s.Reason = Refused, refused.Reason
	}
	return s
}

// confirmation returns how far a version is now.
func (f *fleet) confirmation(ctx context.Context, v governance.Version) (Confirmation, error) {
	app := governance.App{}
	if v.Policy.Target.At != governance.Caller {
		app = v.Policy.Target.App
	}
	all, err := f.store.Instances(ctx, app)
	if err != nil {
		return Confirmation{}, err
	}
	return f.confirm(v, all), nil
}

func (f *fleet) confirm(v governance.Version, all []governance.Instance) Confirmation {
	c := Confirmation{Version: v.Version, Instances: []InstanceStatus{}}
	for _, i := range all {
		if !i.Enforces(v.Policy.Target) {
			continue
		}
		s := judge(v, i, f.hub.wanted(i.App, i.Calls))
		switch s.State {
		case Confirmed:
			c.Confirmed++
			c.Took = max(c.Took, governance.Duration(s.At.Sub(v.Created)))
		case Refused:
			c.Refused++
		default:
			c.Pending++
		}
		c.Instances = append(c.Instances, s)
	}
	c.Live = len(c.Instances)
	if c.Live == 0 {
		c.Note = "0 live instances have to enforce it: those that come will, and until then nobody can confirm it"
	}
	return c
}

// awaitAll returns the confirmation once all live instances have given their
// word, or as it is after a while.
func (f *fleet) awaitAll(ctx context.Context, v governance.Version, most time.Duration) (Confirmation, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	// What is wanted of an instance is known once the hub has the version.
	f.hub.reached(ctx, v.Version)
	for {
		changes := f.changes()
		begin := time.Now()
		look, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		c, err := f.confirmation(look, v)
		done()
		if err != nil || c.Live == c.Confirmed+c.Refused {
			return c, err
		}
		if !pause.For(ctx, rest(begin)) {
			return c, nil
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-changes:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return c, nil
		}
		timer.Stop()
	}
}

// rest is how long to leave the store alone after a look at all instances, so
// that looking takes a small share of the time however many there are.
func rest(begin time.Time) time.Duration { return 10*time.Millisecond + 4*time.Since(begin) }

// confirmAll records when all instances have confirmed a change of late.
func (f *fleet) confirmAll(ctx context.Context) {
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.suspect:
		case <-ticker.C:
		}
		waiting := f.hub.unconfirmed()
		f.metrics.unconfirmed.Set(float64(len(waiting)))
		if len(waiting) == 0 {
			continue
		}
		begin := time.Now()
		look, done := context.WithTimeout(ctx, storePatience)
		all, err := f.store.Instances(look, governance.App{})
		done()
		if err != nil {
			continue // who serves requests tells of a store that is away
		}
		for _, v := range waiting {
			c := f.confirm(v, all)
			if !c.All() {
				continue
			}
			if _, err := f.store.Confirm(ctx, v, c.Live); err == nil {
				f.hub.confirmed(v.Version)
			}
		}
		pause.For(ctx, rest(begin))
	}
}
