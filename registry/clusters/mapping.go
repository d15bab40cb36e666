package clusters

import (
	"context"
	"sync"
	"time"

	"github.com/weirmesh/weir/internal/feed"
	"github.com/weirmesh/weir/registry"
)

func lacks(what string) error {
	return &registry.Error{Code: registry.Invalid, Message: "the first cluster was given without a " + what}
}

// Register implements registry.Registrar, in the first cluster.
func (r *Registry) Register(ctx context.Context, reg registry.Registration) error {
	home := &r.members[0]
	if home.Registrar == nil {
		return lacks("Registrar")
	}
	return r.at(home, home.Registrar.Register(ctx, reg))
}

// Unregister implements registry.Registrar, in the first cluster.
func (r *Registry) Unregister(ctx context.Context, app registry.App) error {
	home := &r.members[0]
	if home.Registrar == nil {
		return lacks("Registrar")
	}
	return r.at(home, home.Registrar.Unregister(ctx, app))
}

// MapInterface implements registry.Mapping, in the first cluster.
func (r *Registry) MapInterface(ctx context.Context, iface registry.Interface, app registry.App) error {
	home := &r.members[0]
	if home.Mapping == nil {
		return lacks("Mapping")
	}
	return r.at(home, home.Mapping.MapInterface(ctx, iface, app))
}

// UnmapInterface implements registry.Mapping, in the first cluster.
func (r *Registry) UnmapInterface(ctx context.Context, iface registry.Interface, app registry.App) error {
	home := &r.members[0]
	if home.Mapping == nil {
		return lacks("Mapping")
	}
	return r.at(home, home.Mapping.UnmapInterface(ctx, iface, app))
}

// InterfaceApps implements registry.Mapping: those that any cluster knows.
func (r *Registry) InterfaceApps(ctx context.Context, iface registry.Interface) ([]registry.App, error) {
	if r.isClosed() {
		return nil, errClosed()
	}
	all := ask(ctx, r, func(ctx context.Context, m *Member) ([]registry.App, error) {
		if m.Mapping == nil {
			return nil, nil
		}
		return m.Mapping.InterfaceApps(ctx, iface)
	}, func(all []answer[[]registry.App], late bool) bool { return late && len(union(all)) > 0 })
	apps := union(all)
	if err := worst(all); err != nil && len(apps) == 0 {
		return nil, err // who provides it may be known where nobody answers
	}
	return apps, nil
}

// followedInterface is what is known of an interface that somebody follows.
type followedInterface struct {
	topic *feed.Topic[[]registry.App]
	stops []func()

	mu    sync.Mutex
	parts []answer[[]registry.App]
	known []bool
	late  bool
	timer *time.Timer
}

// SubscribeInterface implements registry.Mapping.
func (r *Registry) SubscribeInterface(iface registry.Interface, notify func([]registry.App)) (func(), error) {
	if err := iface.Validate(); err != nil {
		return nil, err
	}
	if len(r.members) == 1 && r.members[0].Mapping != nil {
		return r.members[0].Mapping.SubscribeInterface(iface, notify)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed()
	}
	f := &followedInterface{
		topic: feed.NewTopic(equalApps),
		parts: make([]answer[[]registry.App], len(r.members)), known: make([]bool, len(r.members)),
	}
	for i := range r.members {
		m := &r.members[i]
		if m.Mapping == nil {
			f.known[i] = true
			continue
		}
		stop, err := m.Mapping.SubscribeInterface(iface, func(apps []registry.App) { f.take(i, apps, r.cfg.FirstWait) })
		if err != nil {
			f.end()
			return nil, r.at(m, err)
		}
		f.stops = append(f.stops, stop)
	}
	r.interfaces[f] = struct{}{}
	stop := f.topic.Subscribe(notify)
	var once sync.Once
	return func() {
		once.Do(func() {
			stop()
			r.mu.Lock()
			delete(r.interfaces, f)
			r.mu.Unlock()
			f.end()
		})
	}, nil
}

func (f *followedInterface) end() {
	for _, stop := range f.stops {
		stop()
	}
	f.mu.Lock()
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	f.topic.Close()
}

// take takes what one cluster says.
func (f *followedInterface) take(at int, apps []registry.App, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parts[at].value, f.known[at] = apps, true
	if f.timer == nil {
		f.timer = time.AfterFunc(wait, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.late = true
			f.publish()
		})
	}
	f.publish()
}

// publish tells the followers, once every cluster has spoken, or the others were
// waited for and somebody is known. f.mu is held.
func (f *followedInterface) publish() {
	all := true
	for _, known := range f.known {
		all = all && known
	}
	if apps := union(f.parts); all || f.late && len(apps) > 0 {
		f.topic.Set(apps)
	}
}
