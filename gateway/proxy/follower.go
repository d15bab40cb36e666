package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/balance"
	"github.com/weirmesh/weir/internal/pause"
)

// Of reading the source.
const (
	readTimeout  = 30 * time.Second
	tellTimeout  = 5 * time.Second
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// follower keeps the table like the source. What cannot be read changes nothing.
type follower struct {
	p     *Proxy
	pools *pools
	told  atomic.Pointer[gateway.Node] // what there is to tell the source
	tell  chan struct{}                // of capacity 1

	mu          sync.Mutex // of what follows
	closed      bool
	served      map[gateway.Key]*served
	quarantined map[gateway.Key]gateway.Quarantine
	states      map[gateway.Key]*state
	sum         gateway.Sum
	revision    gateway.Revision
	compile     time.Duration
	routes      int
	lastRead    time.Time
	lastErr     error
}

// served is a route as it was read, and the form of it that is served: nil for
// none, and an older one where the newest does not compile.
type served struct {
	version gateway.Version
	route   *route
}

type tableStats struct {
	routes, quarantined int
	revision            gateway.Revision
	compile             time.Duration
}

func newFollower(p *Proxy) *follower {
	f := &follower{
		p: p, tell: make(chan struct{}, 1), lastRead: p.now(),
		served: map[gateway.Key]*served{}, quarantined: map[gateway.Key]gateway.Quarantine{}, states: map[gateway.Key]*state{},
	}
	f.pools = &pools{registry: p.config.Registry, all: map[poolKey]*pool{}, make: func(key poolKey) *pool {
		id := key.identity()
		return &pool{key: key, Pool: balance.NewPool(balance.Config[*endpoint]{
			App: key.app, Port: key.portOf, Now: p.now,
			Ejected: func() { p.metrics.ejected() },
			Connect: func(m *member, secured bool) *endpoint {
				return newEndpoint(p.dial, m.Address, key.protocolOf(secured), id)
			},
		})}
	}}
	return f
}

func (f *follower) stats() tableStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return tableStats{f.routes, len(f.quarantined), f.revision, f.compile}
}

func (f *follower) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastErr
}

func (f *follower) unread() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.p.now().Sub(f.lastRead)
}

// run follows the source until ctx ends.
func (f *follower) run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { f.watch(ctx, changed) })
	others.Go(func() { f.report(ctx) })
	backoff := firstBackoff
	for {
		err := f.read(ctx)
		wait := f.p.config.Coalesce
		if err != nil && ctx.Err() == nil {
			f.warn(ctx, "the routes could not be read; those that are served stay", err)
			wait = backoff/2 + rand.N(backoff/2)
			backoff = min(2*backoff, maxBackoff)
		} else {
			backoff = firstBackoff
		}
		if !pause.For(ctx, wait) {
			return nil
		}
		if err != nil {
			continue
		}
		sweep := time.NewTimer(f.p.config.Sweep/2 + rand.N(f.p.config.Sweep))
		select {
		case <-changed:
		case <-sweep.C:
		case <-ctx.Done():
		}
		sweep.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (f *follower) warn(ctx context.Context, message string, err error) {
	if f.p.config.Log != nil {
		f.p.config.Log.WarnContext(ctx, message, slog.Any("error", err)) //nolint:sloglint // constant where it is called
	}
}

// watch passes on that the revision may have moved.
func (f *follower) watch(ctx context.Context, changed chan<- struct{}) {
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for backoff := firstBackoff; ctx.Err() == nil; backoff = min(2*backoff, maxBackoff) {
		err := f.p.config.Source.Watch(ctx, wake)
		if ctx.Err() != nil {
			return
		}
		f.warn(ctx, "the source of the routes is not watched for now", err)
		if !pause.For(ctx, backoff/2+rand.N(backoff/2)) {
			return
		}
		wake() // what came meanwhile
	}
}

// read brings the table to the source's state.
func (f *follower) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	f.mu.Lock()
	since := f.revision
	f.mu.Unlock()
	delta, err := f.p.config.Source.Since(ctx, since)
	if err == nil {
		if ok := f.apply(delta); !ok {
			f.warn(ctx, "the routes differ from the source's and are read anew", fmt.Errorf("checksum at revision %d", delta.Revision))
			if delta, err = f.p.config.Source.Since(ctx, 0); err == nil {
				delta.Full = true
				if ok := f.apply(delta); !ok {
					err = errors.New("the source's checksum is not that of its routes")
				}
			}
		}
	}
	f.mu.Lock()
	f.lastErr = err
	if err == nil {
		f.lastRead = f.p.now()
	}
	f.mu.Unlock()
	return err
}

// apply takes a delta, and reports whether the routes are then those that the
// source has.
func (f *follower) apply(d gateway.Delta) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return true
	}
	began := f.p.now()
	old := f.p.table.Load()
	if d.Full && d.Revision == 0 && len(f.served) > 0 {
		// A store that nobody ever wrote to, such as a database made anew after its
		// volume was lost, is no word that all routes are deleted.
		f.keeps(d.Revision)
		return true
	}
	// A full table that is not the one it should be may lack anything: what it has
	// is taken, but nothing is taken away by it.
	removes := d.Full && (d.Checksum == "" || d.Checksum == gateway.Checksum(d.Routes))
	c := change{f: f, edit: new(edit)}
	if old == nil {
		old = &table{}
	}
	c.table = old
	if removes {
		live := make(map[gateway.Key]bool, len(d.Routes))
		for _, v := range d.Routes {
			live[v.Route.Key()] = !v.Deleted
		}
		for _, s := range f.served {
			if !live[s.version.Route.Key()] {
				c.remove(s.version.Route.Key())
			}
		}
	}
	for _, v := range d.Routes {
		if v.Deleted {
			c.remove(v.Route.Key())
		} else {
			c.put(v)
		}
	}
	f.p.table.Store(c.table)
	for _, done := range c.after {
		done() // nobody finds the old forms any more
	}
	f.revision = d.Revision
	if c.changed || f.told.Load() == nil {
		f.compile = f.p.now().Sub(began)
	}
	f.describe()
	return d.Checksum == "" || d.Checksum == f.sum.String()
}

// keeps goes on with the routes that are served, as the store's revision is. f.mu
// is held.
func (f *follower) keeps(rev gateway.Revision) {
	if f.revision == rev {
		return
	}
	f.revision = rev
	f.describe()
	if f.p.config.Log != nil {
		f.p.config.Log.Warn("the store of routes has never been written to; the routes that are served stay until it is", slog.Int("routes", len(f.served)))
	}
}

// change is one step from a table to the next.
type change struct {
	f       *follower
	edit    *edit
	table   *table
	changed bool
	after   []func() // to do once the new table is in place
}

func (c *change) remove(key gateway.Key) {
	s := c.f.served[key]
	if s == nil {
		return
	}
	c.changed = true
	c.f.sum.Toggle(s.version)
	delete(c.f.served, key)
	delete(c.f.quarantined, key)
	c.swap(s.route, nil)
	c.forget(key)
}

// forget drops what belongs to the key of a route that is gone.
func (c *change) forget(key gateway.Key) {
	delete(c.f.states, key)
	c.after = append(c.after, func() { c.f.p.metrics.leave(key.String()) })
}

func (c *change) put(v gateway.Version) {
	key := v.Route.Key()
	s := c.f.served[key]
	if s != nil {
		if s.version.Revision == v.Revision && s.version.Created.Equal(v.Created) && c.f.quarantined[key].Revision != v.Revision {
			return // have it
		}
		c.f.sum.Toggle(s.version)
	} else {
		s = &served{}
		c.f.served[key] = s
	}
	c.changed = true
	c.f.sum.Toggle(v)
	s.version = v
	if v.Route.Disabled {
		delete(c.f.quarantined, key)
		c.swap(s.route, nil)
		s.route = nil
		return
	}
	r, err := c.f.enter(v)
	if err != nil {
		q := gateway.Quarantine{Key: key, Revision: v.Revision, Reason: err.Error()}
		if s.route != nil {
			q.Serving = s.route.revision
		}
		c.f.quarantined[key] = q
		return
	}
	delete(c.f.quarantined, key)
	c.swap(s.route, r)
	s.route = r
}

// swap replaces one form of a route by another; either may be nil.
func (c *change) swap(old, r *route) {
	if old != nil {
		c.table = c.table.without(c.edit, old)
		c.f.routes--
		c.after = append(c.after, func() { c.f.leave(old) })
	}
	if r != nil {
		c.table = c.table.with(c.edit, r)
		c.f.routes++
	}
}

// compileRoute reads a route whole. It is where a route that cannot be served is
// found out.
func compileRoute(v gateway.Version, dubbo Dubbo, registered bool) (*route, error) {
	if v.Unreadable != "" {
		return nil, &gateway.Error{Code: gateway.Invalid, Message: "this version of Weir cannot read it as it is stored (" + v.Unreadable + ")", Fix: "upgrade this gateway"}
	}
	if err := v.Route.Validate(); err != nil {
		return nil, err
	}
	r, err := compileMatch(v)
	if err != nil {
		return nil, err
	}
	r.action, err = compileAction(v.Route, dubbo, registered)
	return r, err
}

// enter compiles a route and gives it what it needs to be served.
func (f *follower) enter(v gateway.Version) (r *route, err error) {
	r, err = compileRoute(v, f.p.config.Dubbo, f.p.config.Registry != nil)
	if err != nil {
		return nil, err
	}
	a := r.action
	if a.dubbo == nil {
		if a.upstream, err = f.pools.use(a.pool); err != nil {
			return nil, err
		}
	}
	a.state = f.states[r.key]
	if a.state == nil {
		a.state = newState(f.p.metrics.enter(r.name))
		f.states[r.key] = a.state
	}
	return r, nil
}

// leave lets go of what enter gave.
func (f *follower) leave(r *route) {
	if r.action.upstream != nil {
		f.pools.leave(r.action.upstream)
	}
	r.action.users.leave(r.action.dubbo)
}

// describe prepares what the source is told. f.mu is held.
func (f *follower) describe() {
	n := &gateway.Node{
		Name: f.p.config.Node, Version: f.p.config.Version, Revision: f.revision, Checksum: f.sum.String(),
		Quarantined: slices.SortedFunc(maps.Values(f.quarantined), func(a, b gateway.Quarantine) int { return a.Key.Compare(b.Key) }),
	}
	f.told.Store(n)
	select {
	case f.tell <- struct{}{}:
	default:
	}
}

// report tells the source what is served, when that changes and as a heartbeat.
func (f *follower) report(ctx context.Context) {
	for {
		heartbeat := time.NewTimer(f.p.config.Heartbeat)
		select {
		case <-f.tell:
		case <-heartbeat.C:
		case <-ctx.Done():
		}
		heartbeat.Stop()
		if ctx.Err() != nil {
			return
		}
		n := f.told.Load()
		if n == nil {
			continue
		}
		node := *n
		node.Seen = f.p.now()
		telling, cancel := context.WithTimeout(ctx, tellTimeout)
		err := f.p.config.Source.SetNode(telling, node)
		cancel()
		if err != nil && ctx.Err() == nil {
			f.warn(ctx, "the source was not told which routes are served", err)
			if !pause.For(ctx, firstBackoff) {
				return
			}
		}
	}
}

// stop lets go of all upstreams. Nothing is applied afterwards.
func (f *follower) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	for _, s := range f.served {
		if s.route != nil {
			f.leave(s.route)
		}
	}
}
