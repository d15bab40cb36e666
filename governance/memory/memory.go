// Package memory keeps everything of a control plane in its own process: for
// tests, and for trying things out. What it holds is gone with the process.
package memory

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
)

// Options tunes a Store. The zero value is sane.
type Options struct {
	Now func() time.Time // default time.Now
}

// Store implements governance.Store. It is safe for concurrent use.
type Store struct {
	clock func() time.Time

	mu        sync.Mutex
	version   int64
	policies  map[governance.Key][]governance.Version // oldest first
	events    []governance.Event                      // in the order of their ids
	fleet     map[member]*instance
	confirmed map[int64]bool
	history   history
	// policyMoved and fleetMoved are closed and replaced with each change.
	policyMoved, fleetMoved chan struct{}
}

type member struct {
	app governance.App
	id  string
}

type instance struct {
	governance.Instance
	left bool
}

var _ governance.Store = (*Store)(nil)

// New returns an empty store.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{
		clock: o.Now, policies: map[governance.Key][]governance.Version{}, fleet: map[member]*instance{}, confirmed: map[int64]bool{},
		history: newHistory(), policyMoved: make(chan struct{}), fleetMoved: make(chan struct{}),
	}
}

func (s *Store) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// Put implements governance.PolicyStore.
func (s *Store) Put(ctx context.Context, p governance.Policy, expect int64, c governance.Change) (governance.Version, error) {
	if err := c.Validate(); err != nil {
		return governance.Version{}, err
	}
	p, err := p.Canonical()
	if err != nil {
		return governance.Version{}, err
	}
	return s.write(ctx, p.Key(), expect, c, func(*governance.Version) (governance.Policy, bool, error) { return p, false, nil })
}

// Delete implements governance.PolicyStore.
func (s *Store) Delete(ctx context.Context, key governance.Key, expect int64, c governance.Change) (governance.Version, error) {
	if err := c.Validate(); err != nil {
		return governance.Version{}, err
	}
	return s.write(ctx, key, expect, c, func(head *governance.Version) (governance.Policy, bool, error) {
		if head == nil || head.Deleted {
			return governance.Policy{}, false, governance.NoPolicy(key)
		}
		return head.Policy, true, nil
	})
}

func (s *Store) write(ctx context.Context, key governance.Key, expect int64, c governance.Change, next func(head *governance.Version) (governance.Policy, bool, error)) (governance.Version, error) {
	if err := ctx.Err(); err != nil {
		return governance.Version{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	head := s.head(key)
	p, deleted, err := next(head)
	if err != nil {
		return governance.Version{}, err
	}
	if err := governance.CheckExpected(key, head, expect); err != nil {
		return governance.Version{}, err
	}
	s.version++
	v := governance.Version{Policy: p, Version: s.version, Created: s.now(), Actor: c.Actor, Reason: c.Reason, Deleted: deleted}
	s.policies[key] = append(s.policies[key], v)
	kind := governance.EventPublished
	if deleted {
		kind = governance.EventDeleted
	}
	s.record(governance.Event{
		Time: v.Created, Kind: kind, App: p.Target.App, Command: p.Target.Command,
		Policy: key.String(), Version: v.Version, Actor: v.Actor, Reason: v.Reason,
	})
	close(s.policyMoved)
	s.policyMoved = make(chan struct{})
	return v, nil
}

func (s *Store) head(key governance.Key) *governance.Version {
	if all := s.policies[key]; len(all) > 0 {
		v := all[len(all)-1]
		return &v
	}
	return nil
}

// Get implements governance.PolicyStore.
func (s *Store) Get(_ context.Context, key governance.Key) (governance.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.head(key)
	if v == nil || v.Deleted {
		return governance.Version{}, governance.NoPolicy(key)
	}
	return *v, nil
}

// List implements governance.PolicyStore.
func (s *Store) List(_ context.Context, q governance.PolicyQuery) ([]governance.Version, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var out []governance.Version
	for key := range s.policies {
		v := s.head(key)
		p := v.Policy
		switch {
		case v.Deleted, q.Namespace != "" && key.Namespace != q.Namespace, q.Kind != "" && p.Kind != q.Kind,
			q.App != governance.App{} && p.Target.App != q.App,
			!q.Expired && !p.Expires.IsZero() && !p.Expires.After(now):
		default:
			out = append(out, *v)
		}
	}
	slices.SortFunc(out, func(a, b governance.Version) int {
		if c := strings.Compare(a.Policy.Namespace, b.Policy.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Policy.Name, b.Policy.Name)
	})
	return out, s.version, nil
}

// Since implements governance.PolicyStore.
func (s *Store) Since(_ context.Context, version int64) ([]governance.Version, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []governance.Version
	for key := range s.policies {
		if v := s.head(key); v.Version > version {
			out = append(out, *v)
		}
	}
	slices.SortFunc(out, func(a, b governance.Version) int { return int(a.Version - b.Version) })
	return out, s.version, nil
}

// Versions implements governance.PolicyStore.
func (s *Store) Versions(_ context.Context, key governance.Key, limit int) ([]governance.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.policies[key])
	if len(out) == 0 {
		return nil, governance.NoPolicy(key)
	}
	slices.Reverse(out)
	if limit > 0 {
		out = out[:min(limit, len(out))]
	}
	return out, nil
}

// Version implements governance.PolicyStore.
func (s *Store) Version(_ context.Context, key governance.Key, version int64) (governance.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.policies[key]
	if i := slices.IndexFunc(all, func(v governance.Version) bool { return v.Version == version }); i >= 0 {
		return all[i], nil
	}
	return governance.Version{}, governance.NoVersion(key, version)
}

// Watch implements governance.PolicyStore.
func (s *Store) Watch(ctx context.Context, changed func()) error {
	return s.watch(ctx, &s.policyMoved, changed)
}

func (s *Store) watch(ctx context.Context, moved *chan struct{}, changed func()) error {
	for {
		s.mu.Lock()
		wait := *moved
		s.mu.Unlock()
		changed()
		select {
		case <-ctx.Done():
			return nil
		case <-wait:
		}
	}
}

// PutInstances implements governance.Fleet.
func (s *Store) PutInstances(_ context.Context, in ...governance.Instance) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	moves := false
	for _, heard := range in {
		k := member{heard.App, heard.ID}
		old, left := governance.Instance{}, true
		if i := s.fleet[k]; i != nil {
			old, left = i.Instance, i.left
		}
		now, events, moved := governance.Renew(old, left, heard)
		s.fleet[k] = &instance{Instance: now}
		s.record(events...)
		moves = moves || moved
	}
	if moves {
		s.moveFleet()
	}
	return nil
}

func (s *Store) moveFleet() {
	close(s.fleetMoved)
	s.fleetMoved = make(chan struct{})
}

// Instances implements governance.Fleet.
func (s *Store) Instances(_ context.Context, app governance.App) ([]governance.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []governance.Instance
	for _, i := range s.fleet {
		if i.left || s.gone(i) || app != (governance.App{}) && i.App != app {
			continue
		}
		c := i.Instance
		c.Calls = slices.Clone(c.Calls)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b governance.Instance) int {
		return firstNot0(a.App.Compare(b.App), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

func (s *Store) gone(i *instance) bool { return !i.Seen.After(s.now().Add(-governance.InstanceGone)) }

func firstNot0(all ...int) int {
	for _, c := range all {
		if c != 0 {
			return c
		}
	}
	return 0
}

// SweepInstances implements governance.Fleet.
func (s *Store) SweepInstances(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.fleet {
		if !i.left && s.gone(i) {
			i.left, i.Applied = true, nil
			s.record(governance.Event{Time: s.now(), Kind: governance.EventLeft, App: i.App, Instance: i.ID, Reason: i.Name})
			s.moveFleet()
		}
	}
	return nil
}

// Confirm implements governance.Fleet.
func (s *Store) Confirm(_ context.Context, v governance.Version, instances int) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.confirmed[v.Version] {
		return false, nil
	}
	s.confirmed[v.Version] = true
	s.record(governance.Event{
		Time: s.now(), Kind: governance.EventConfirmed, App: v.Policy.Target.App, Command: v.Policy.Target.Command,
		Policy: v.Policy.Key().String(), Version: v.Version, Reason: governance.ConfirmedBy(instances),
	})
	return true, nil
}

// WatchInstances implements governance.Fleet.
func (s *Store) WatchInstances(ctx context.Context, changed func()) error {
	return s.watch(ctx, &s.fleetMoved, changed)
}
