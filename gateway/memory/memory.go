// Package memory keeps routes in memory, with the semantics that every store of
// routes has: for tests, and for programs that need no durability.
package memory

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/gateway"
)

// Options tunes a Store. The zero value is sane.
type Options struct {
	// Now tells the time. Default time.Now.
	Now func() time.Time
	// Poll is about how often Watch calls whatever happens. Default 3 s.
	Poll time.Duration
	// Horizon is for how many revisions, at least, tombstones are kept. Default
	// 10,000.
	Horizon int64
}

// Store implements gateway.Store. It is safe for concurrent use.
type Store struct {
	opts Options

	mu       sync.Mutex
	revision gateway.Revision
	horizon  gateway.Revision
	sum      gateway.Sum
	routes   map[gateway.Key]gateway.Version // the newest, tombstones included
	history  map[gateway.Key][]gateway.Version
	nodes    map[string]gateway.Node
	moved    chan struct{} // closed, and made anew, when routes change
	told     chan struct{} // the same for nodes
}

var _ gateway.Store = (*Store)(nil)

// New returns an empty store.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Poll <= 0 {
		o.Poll = 3 * time.Second
	}
	if o.Horizon <= 0 {
		o.Horizon = 10_000
	}
	return &Store{
		opts: o, routes: map[gateway.Key]gateway.Version{}, history: map[gateway.Key][]gateway.Version{},
		nodes: map[string]gateway.Node{}, moved: make(chan struct{}), told: make(chan struct{}),
	}
}

// Apply implements gateway.Store.
func (s *Store) Apply(ctx context.Context, writes []gateway.Write, c gateway.Change) (gateway.Revision, error) {
	if err := gateway.CheckWrites(writes, c); err != nil {
		return 0, err
	}
	if err := alive(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pending, err := gateway.Pending(writes, func(k gateway.Key) (gateway.Version, bool) {
		v, ok := s.routes[k]
		return v, ok
	})
	if err != nil || len(pending) == 0 {
		return s.revisionUnless(err), err
	}
	copies := make([]gateway.Route, len(pending))
	for i, w := range pending {
		if w.Delete {
			copies[i] = s.routes[w.Route.Key()].Route
		} else if copies[i], err = clone(w.Route); err != nil {
			return 0, err
		}
	}
	s.revision++
	now := s.opts.Now().UTC().Truncate(time.Microsecond)
	for i, w := range pending {
		key := w.Route.Key()
		if old, there := s.routes[key]; there && !old.Deleted {
			s.sum.Toggle(old)
		}
		v := gateway.Version{
			Route: copies[i], Revision: s.revision, Created: now, Actor: c.Actor, Reason: c.Reason, Deleted: w.Delete,
		}
		if !v.Deleted {
			s.sum.Toggle(v)
		}
		s.routes[key] = v
		s.history[key] = append(s.history[key], v)
	}
	s.sweep()
	close(s.moved)
	s.moved = make(chan struct{})
	return s.revision, nil
}

func (s *Store) revisionUnless(err error) gateway.Revision {
	if err != nil {
		return 0
	}
	return s.revision
}

// sweep forgets tombstones once twice the horizon lies behind.
func (s *Store) sweep() {
	keep := gateway.Revision(s.opts.Horizon)
	behind := s.revision - keep
	if behind-s.horizon < keep {
		return
	}
	s.horizon = behind
	maps.DeleteFunc(s.routes, func(_ gateway.Key, v gateway.Version) bool { return v.Deleted && v.Revision <= behind })
}

// clone parts a route from its writer's maps and slices.
func clone(r gateway.Route) (out gateway.Route, err error) {
	raw, err := json.Marshal(r)
	if err == nil {
		err = gateway.Decode(raw, &out)
	}
	return out, err
}

func alive(ctx context.Context) error {
	if ctx.Err() != nil {
		return &gateway.Error{Code: gateway.Unavailable, Message: "the request ended", Err: context.Cause(ctx)}
	}
	return nil
}

// Get implements gateway.Store.
func (s *Store) Get(_ context.Context, key gateway.Key) (gateway.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.routes[key]
	if !ok || v.Deleted {
		return gateway.Version{}, &gateway.Error{Code: gateway.NotFound, Message: "there is no route " + key.String()}
	}
	return v, nil
}

// List implements gateway.Store.
func (s *Store) List(_ context.Context, namespace string) ([]gateway.Version, gateway.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live(namespace), s.revision, nil
}

func (s *Store) live(namespace string) []gateway.Version {
	return s.collect(func(v gateway.Version) bool {
		return !v.Deleted && (namespace == "" || v.Route.Namespace == namespace)
	})
}

func (s *Store) collect(keep func(gateway.Version) bool) []gateway.Version {
	var out []gateway.Version
	for _, v := range s.routes {
		if keep(v) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b gateway.Version) int { return a.Route.Key().Compare(b.Route.Key()) })
	return out
}

// History implements gateway.Store.
func (s *Store) History(_ context.Context, key gateway.Key, limit int) ([]gateway.Version, error) {
	limit = min(limit, gateway.MaxHistory)
	if limit <= 0 {
		limit = 100
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.history[key])
	slices.Reverse(out)
	return out[:min(limit, len(out))], nil
}

// Version implements gateway.Store.
func (s *Store) Version(_ context.Context, key gateway.Key, rev gateway.Revision) (gateway.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.history[key]
	if i := slices.IndexFunc(all, func(v gateway.Version) bool { return v.Revision == rev }); i >= 0 {
		return all[i], nil
	}
	return gateway.Version{}, gateway.NoVersion(key, rev)
}

// Since implements gateway.Source.
func (s *Store) Since(ctx context.Context, rev gateway.Revision) (gateway.Delta, error) {
	if err := alive(ctx); err != nil {
		return gateway.Delta{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := gateway.Delta{Revision: s.revision, Checksum: s.sum.String()}
	d.Full = rev <= 0 || rev > s.revision || rev < s.horizon
	if d.Full {
		d.Routes = s.live("")
	} else {
		d.Routes = s.collect(func(v gateway.Version) bool { return v.Revision > rev })
	}
	return d, nil
}

// Watch implements gateway.Source.
func (s *Store) Watch(ctx context.Context, changed func()) error {
	for {
		s.mu.Lock()
		moved := s.moved
		s.mu.Unlock()
		changed()
		if !pause(ctx, moved, s.opts.Poll) {
			return context.Cause(ctx)
		}
	}
}

// pause returns once woken, or after about d; false means that ctx ended.
func pause(ctx context.Context, wake <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-wake:
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// SetNode implements gateway.Source.
func (s *Store) SetNode(_ context.Context, n gateway.Node) error {
	if n.Name == "" || len(n.Name) > gateway.MaxNameLength {
		return &gateway.Error{Code: gateway.Invalid, Field: "name", Message: "is missing or too long"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Seen = s.opts.Now().UTC()
	n.Quarantined = slices.Clone(n.Quarantined)
	s.nodes[n.Name] = n
	close(s.told)
	s.told = make(chan struct{})
	return nil
}

// Nodes implements gateway.Store.
func (s *Store) Nodes(context.Context) ([]gateway.Node, error) {
	nodes, _ := s.present()
	return nodes, nil
}

func (s *Store) present() ([]gateway.Node, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []gateway.Node{}
	oldest := s.opts.Now().Add(-gateway.NodeGone)
	for _, n := range s.nodes {
		if n.Seen.After(oldest) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b gateway.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, s.told
}

// WaitApplied implements gateway.Store.
func (s *Store) WaitApplied(ctx context.Context, rev gateway.Revision) ([]gateway.Node, error) {
	for {
		nodes, told := s.present()
		if gateway.AllServe(nodes, rev) || !pause(ctx, told, s.opts.Poll) {
			return nodes, nil
		}
	}
}
