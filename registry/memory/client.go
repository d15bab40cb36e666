package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/internal/feed"
	"github.com/weirmesh/weir/registry"
)

// Config says who a client is and what it sees.
type Config struct {
	// ID and Name are those of the instance that Register publishes. A generated
	// ID, and the ID as name, when empty.
	ID, Name string
	// Host is the instance's address; 127.0.0.1 when unset.
	Host netip.Addr
	// Namespaces limits whose interface mappings are seen and which applications
	// Apps lists; empty means all.
	Namespaces []string
	// Strict makes Register fail with NotFound for an application without a
	// Service, as in a cluster. Otherwise the application comes into being.
	Strict bool
	// Offline makes the client begin with its link cut, knowing nothing.
	Offline bool
}

var generated atomic.Uint64

// Client is one process's view of a Registry. It implements
// registry.Discoverer, Registrar, Mapping and MetadataStore, and is safe for
// concurrent use.
type Client struct {
	world *Registry
	cfg   Config

	// Guarded by world.mu.
	closed     bool
	cut        bool
	cutAt      time.Time
	before     []registry.App // those there were when the link was cut; nil when it never stood
	refused    error
	generation uint64
	topics     map[registry.App]*feed.Topic[registry.Snapshot]
	interfaces map[registry.Interface]*feed.Topic[[]registry.App]
	registered map[registry.App]*registration
}

// registration is what a client published and keeps asserted.
type registration struct {
	registry.Registration
	endpoints []registry.Endpoint
	made      bool // Register made the instance
}

var (
	_ registry.Discoverer    = (*Client)(nil)
	_ registry.Registrar     = (*Client)(nil)
	_ registry.Mapping       = (*Client)(nil)
	_ registry.MetadataStore = (*Client)(nil)
)

// Join returns a new client of the registry. Close it to end its subscriptions.
func (r *Registry) Join(cfg Config) *Client {
	cfg.ID = cmp.Or(cfg.ID, fmt.Sprintf("memory-%d", generated.Add(1)))
	cfg.Name = cmp.Or(cfg.Name, cfg.ID)
	if !cfg.Host.IsValid() {
		cfg.Host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	c := &Client{
		world:      r,
		cfg:        cfg,
		topics:     map[registry.App]*feed.Topic[registry.Snapshot]{},
		interfaces: map[registry.Interface]*feed.Topic[[]registry.App]{},
		registered: map[registry.App]*registration{},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if cfg.Offline {
		c.cut, c.cutAt = true, r.now()
	}
	r.clients[c] = struct{}{}
	return c
}

// Cut cuts the client's link: it keeps what it knows, learns nothing new, marks
// its snapshots stale, and its writes fail with Unavailable.
func (c *Client) Cut() {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if !c.cut {
		c.cut, c.cutAt, c.before = true, c.world.now(), c.apps()
	}
}

// Restore mends the link; the client catches up at once and writes its
// registrations again if they were lost.
func (c *Client) Restore() {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	c.cut, c.cutAt, c.before = false, time.Time{}, nil
	c.catchUp()
}

// Refuse makes every read and write fail with Forbidden until it is called with
// nil; reason is the sentence that users get.
func (c *Client) Refuse(reason error) {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	c.refused = reason
	c.catchUp()
}

// catchUp takes over everything that changed meanwhile. world.mu is held.
func (c *Client) catchUp() {
	for name := range c.registered {
		c.world.tell(name)
	}
	for name := range c.topics {
		c.refresh(name)
	}
	for iface := range c.interfaces {
		c.refreshInterface(iface)
	}
}

// Close ends all subscriptions and waits for the calls under way. What the
// client registered stays: a process that dies does not tidy up either.
func (c *Client) Close() {
	c.world.mu.Lock()
	c.closed = true
	delete(c.world.clients, c)
	topics := slices.Collect(maps.Values(c.topics))
	interfaces := slices.Collect(maps.Values(c.interfaces))
	c.world.mu.Unlock()
	for _, t := range topics {
		t.Close()
	}
	for _, t := range interfaces {
		t.Close()
	}
}

// Snapshot implements registry.Discoverer.
func (c *Client) Snapshot(ctx context.Context, name registry.App) (registry.Snapshot, error) {
	if err := name.Validate(); err != nil {
		return registry.Snapshot{}, err
	}
	c.world.mu.Lock()
	if err := c.readable(); err != nil {
		c.world.mu.Unlock()
		return registry.Snapshot{}, err
	}
	topic := c.topic(name)
	c.world.mu.Unlock()
	s, err := topic.Wait(ctx)
	if err != nil {
		return registry.Snapshot{}, unknown("application "+name.String(), err)
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	s.StaleSince = c.cutAt
	return s, nil
}

// Subscribe implements registry.Discoverer.
func (c *Client) Subscribe(name registry.App, notify func(registry.Snapshot)) (func(), error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if c.closed {
		return nil, errClosed()
	}
	return c.topic(name).Subscribe(notify), nil
}

// Apps implements registry.Discoverer.
func (c *Client) Apps(ctx context.Context, namespace string) ([]registry.App, error) {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.readable(); err != nil {
		return nil, err
	}
	all := c.before
	switch {
	case !c.cut:
		all = c.apps()
	case all == nil:
		return nil, errCut()
	}
	apps := []registry.App{}
	for _, name := range all {
		if namespace == name.Namespace || namespace == "" && c.covers(name.Namespace) {
			apps = append(apps, name)
		}
	}
	return apps, nil
}

// StaleSince implements registry.Linked.
func (c *Client) StaleSince(context.Context) (time.Time, error) {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.readable(); err != nil {
		return time.Time{}, err
	}
	if c.cut && c.before == nil {
		return time.Time{}, errCut()
	}
	return c.cutAt, nil
}

// apps lists all there are, sorted. world.mu is held.
func (c *Client) apps() []registry.App {
	all := slices.AppendSeq([]registry.App{}, maps.Keys(c.world.apps))
	slices.SortFunc(all, registry.App.Compare)
	return all
}

// Register implements registry.Registrar. The instance is the client's own; it
// is made, ready, when the registry does not hold it yet.
func (c *Client) Register(ctx context.Context, reg registry.Registration) error {
	if err := reg.Validate(); err != nil {
		return err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.writable(); err != nil {
		return err
	}
	if a := c.world.apps[reg.App]; c.cfg.Strict && (a == nil || a.service.Host == "") {
		return &registry.Error{
			Code:    registry.NotFound,
			Message: fmt.Sprintf("application %s has no Service", reg.App),
			Fix:     "call PutService first",
		}
	}
	endpoints, err := registry.DubboEndpoints(reg.Metadata)
	if err != nil {
		return &registry.Error{Code: registry.Invalid, Message: "metadata of " + reg.App.String(), Err: err}
	}
	mine := c.registered[reg.App]
	if mine == nil {
		mine = &registration{}
		c.registered[reg.App] = mine
	}
	reg.Metadata = maps.Clone(reg.Metadata)
	mine.Registration, mine.endpoints = reg, endpoints
	c.world.changeLocked(reg.App, func(a *app) {
		_, exists := a.instances[c.cfg.ID]
		mine.made = mine.made || !exists
		c.assert(a, mine)
	})
	return nil
}

// assert writes a registration into the instance. world.mu is held.
func (c *Client) assert(a *app, mine *registration) {
	instance, ok := a.instances[c.cfg.ID]
	if !ok {
		instance = registry.Instance{ID: c.cfg.ID, Name: c.cfg.Name, Host: c.cfg.Host, Health: registry.Ready}
	}
	instance.Metadata = mine.Metadata
	instance.Endpoints = mine.endpoints
	instance.Revision = mine.Metadata[registry.KeyRevision]
	instance.Details = mine.Details
	instance.Details.Weight = cmp.Or(mine.Details.Weight, registry.DefaultWeight)
	instance.Details.Tag = cmp.Or(mine.Details.Tag, mine.Metadata[registry.KeyTag])
	instance.Details.State = cmp.Or(mine.Details.State, registry.Up)
	instance.Problem = ""
	a.instances[c.cfg.ID] = instance
}

// reassert writes again the registrations that were lost. world.mu is held.
func (c *Client) reassert(name registry.App) {
	mine := c.registered[name]
	a := c.world.apps[name]
	if mine == nil || a == nil || c.cut || c.refused != nil {
		return
	}
	if instance, ok := a.instances[c.cfg.ID]; ok && !instance.Registered() {
		c.assert(a, mine)
	}
}

// Unregister implements registry.Registrar. An instance that Register made goes;
// one that a driver put stays, as not registered.
func (c *Client) Unregister(ctx context.Context, name registry.App) error {
	if err := name.Validate(); err != nil {
		return err
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if err := c.writable(); err != nil {
		return err
	}
	mine := c.registered[name]
	if mine == nil {
		return nil
	}
	delete(c.registered, name)
	c.world.changeLocked(name, func(a *app) {
		if mine.made {
			delete(a.instances, c.cfg.ID)
		} else {
			a.forget(c.cfg.ID)
		}
	})
	return nil
}

// topic returns the feed of an application, filled if the link is up.
// world.mu is held.
func (c *Client) topic(name registry.App) *feed.Topic[registry.Snapshot] {
	t := c.topics[name]
	if t == nil {
		t = feed.NewTopic(registry.Snapshot.Equal)
		if c.closed {
			t.Close()
			return t
		}
		c.topics[name] = t
		c.refresh(name)
	}
	return t
}

// refresh takes over the present state of an application. world.mu is held.
func (c *Client) refresh(name registry.App) {
	t := c.topics[name]
	if t == nil || c.cut || c.refused != nil {
		return
	}
	s := c.world.snapshot(name)
	s.Generation = c.generation + 1
	if t.Set(s) {
		c.generation++
	}
}

func (c *Client) covers(namespace string) bool {
	return len(c.cfg.Namespaces) == 0 || slices.Contains(c.cfg.Namespaces, namespace)
}

func (c *Client) readable() error {
	switch {
	case c.closed:
		return errClosed()
	case c.refused != nil:
		return &registry.Error{Code: registry.Forbidden, Message: "access refused", Err: c.refused}
	}
	return nil
}

func (c *Client) writable() error {
	if err := c.readable(); err != nil {
		return err
	}
	if c.cut {
		return errCut()
	}
	return nil
}

func errCut() error {
	return &registry.Error{Code: registry.Unavailable, Message: "the link is cut", Fix: "call Restore"}
}

func errClosed() error {
	return &registry.Error{Code: registry.Unavailable, Message: "the registry client is closed"}
}

func unknown(what string, cause error) error {
	if errors.Is(cause, feed.ErrClosed) {
		return errClosed()
	}
	return &registry.Error{Code: registry.Unavailable, Message: "nothing is known yet of " + what, Err: cause}
}
