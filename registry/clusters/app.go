package clusters

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/internal/feed"
	"github.com/weirmesh/weir/registry"
)

// app is one application that somebody follows.
type app struct {
	r         *Registry
	name      registry.App
	topic     *feed.Topic[registry.Snapshot]
	followers int // guarded by r.mu

	mu       sync.Mutex
	stops    []func()
	parts    []part
	standing standing
	late     bool // FirstWait has passed since the first part became known
	waiting  bool // for that
	told     bool
	last     registry.Snapshot
	timer    *time.Timer
	closed   bool
}

// Snapshot implements registry.Discoverer. An application with a cluster is that of
// the cluster alone.
func (r *Registry) Snapshot(ctx context.Context, name registry.App) (registry.Snapshot, error) {
	if err := name.Validate(); err != nil {
		return registry.Snapshot{}, err
	}
	if name.Cluster != "" {
		return r.snapshotOf(ctx, name)
	}
	if r.isClosed() {
		return registry.Snapshot{}, errClosed()
	}
	r.seek.Do(r.seekZone)
	all := ask(ctx, r, func(ctx context.Context, m *Member) (registry.Snapshot, error) {
		return m.Discoverer.Snapshot(ctx, name)
	}, func(all []answer[registry.Snapshot], late bool) bool { return late && speaks(partsOf(all)) })
	parts := partsOf(all)
	if !speaks(parts) {
		return registry.Snapshot{}, worst(all)
	}
	r.mu.Lock()
	a, zone := r.apps[name], r.zone
	r.mu.Unlock()
	if a == nil {
		return r.number(r.one(name, parts, standing{}, zone).snapshot), nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range parts {
		parts[i].dead = a.parts[i].dead
	}
	s := r.one(name, parts, a.standing, zone).snapshot
	if a.told && a.last.Equal(s) {
		s.Generation, s.Observed = a.last.Generation, a.last.Observed
		return s, nil
	}
	return r.number(s), nil
}

// one is choose, but for a single cluster of which nothing has to be chosen.
func (r *Registry) one(name registry.App, parts []part, before standing, zone string) choice {
	if p := &parts[0]; len(parts) == 1 && r.members[0].Name == "" && len(p.dead) == 0 && (zone == "" || *r.preferred(p).ZonePercent == 0) {
		return choice{snapshot: p.s}
	}
	return r.choose(name, parts, before, zone, time.Now())
}

// speaks reports whether anything may be said of an application: all clusters have
// spoken, or one has that has instances of it. An application of a cluster that has
// not spoken yet would otherwise seem to be empty.
func speaks(parts []part) bool {
	all := true
	for i := range parts {
		if parts[i].known && len(parts[i].s.Instances) > 0 {
			return true
		}
		all = all && parts[i].known
	}
	return all
}

func partsOf(all []answer[registry.Snapshot]) []part {
	parts := make([]part, len(all))
	for i, a := range all {
		parts[i] = part{known: a.err == nil, s: a.value}
	}
	return parts
}

func (r *Registry) number(s registry.Snapshot) registry.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	s.Generation = r.generation
	return s
}

func (r *Registry) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// snapshotOf asks one cluster.
func (r *Registry) snapshotOf(ctx context.Context, name registry.App) (registry.Snapshot, error) {
	m, err := r.member(name.Cluster)
	if err != nil {
		return registry.Snapshot{}, err
	}
	s, err := m.Discoverer.Snapshot(ctx, registry.App{Namespace: name.Namespace, Name: name.Name})
	return sign(s, name), r.at(m, err)
}

// sign names the cluster in what it says alone.
func sign(s registry.Snapshot, name registry.App) registry.Snapshot {
	s.App = name
	s.Instances = slices.Clone(s.Instances)
	for i := range s.Instances {
		s.Instances[i].Cluster = name.Cluster
	}
	return s
}

// Subscribe implements registry.Discoverer.
func (r *Registry) Subscribe(name registry.App, notify func(registry.Snapshot)) (func(), error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	if name.Cluster != "" {
		m, err := r.member(name.Cluster)
		if err != nil {
			return nil, err
		}
		return m.Discoverer.Subscribe(registry.App{Namespace: name.Namespace, Name: name.Name}, func(s registry.Snapshot) { notify(sign(s, name)) })
	}
	r.seek.Do(r.seekZone)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, errClosed()
	}
	a := r.apps[name]
	begin := a == nil
	if begin {
		a = &app{r: r, name: name, topic: feed.NewTopic(registry.Snapshot.Equal), parts: make([]part, len(r.members))}
		r.apps[name] = a
		if !r.probing && r.cfg.ProbeEvery > 0 {
			r.probing = true
			r.work.Go(r.probe)
		}
	}
	a.followers++
	stop := a.topic.Subscribe(notify)
	r.mu.Unlock()
	var once sync.Once
	leave := func() {
		once.Do(func() {
			stop()
			r.mu.Lock()
			a.followers--
			last := a.followers == 0 && r.apps[name] == a
			if last {
				delete(r.apps, name)
			}
			r.mu.Unlock()
			if last {
				a.end()
			}
		})
	}
	if begin {
		if err := a.follow(); err != nil {
			leave()
			return nil, err
		}
	}
	return leave, nil
}

// follow follows the application in all clusters. No lock is held.
func (a *app) follow() error {
	for i := range a.r.members {
		m := &a.r.members[i]
		stop, err := m.Discoverer.Subscribe(a.name, func(s registry.Snapshot) { a.take(i, s) })
		if err != nil {
			return a.r.at(m, err)
		}
		a.mu.Lock()
		closed := a.closed
		a.stops = append(a.stops, stop)
		a.mu.Unlock()
		if closed {
			stop()
		}
	}
	return nil
}

// end ends the following. No lock is held.
func (a *app) end() {
	a.mu.Lock()
	a.closed = true
	stops := a.stops
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	a.topic.Close()
}

// take takes what a cluster says.
func (a *app) take(at int, s registry.Snapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := &a.parts[at]
	p.known, p.s = true, s
	a.publish()
}

// again looks at the application again.
func (a *app) again() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.publish()
}

// publish tells the followers what follows from the parts. a.mu is held.
func (a *app) publish() {
	known, some := true, false
	for i := range a.parts {
		known, some = known && a.parts[i].known, some || a.parts[i].known
	}
	switch {
	case a.closed || !some:
		return
	case !known && !a.late:
		if !a.waiting {
			a.waiting = true
			a.wakeAt(time.Now().Add(a.r.cfg.FirstWait), func() { a.late = true })
		}
		return
	case !speaks(a.parts):
		return
	}
	a.r.mu.Lock()
	zone := a.r.zone
	a.r.mu.Unlock()
	before := a.standing
	c := a.r.one(a.name, a.parts, before, zone)
	a.standing = c.standing
	if a.told && before.order == c.standing.order && before.depth != c.standing.depth {
		a.tell(before.depth, c.standing.depth)
	}
	if !c.again.IsZero() {
		a.wakeAt(c.again, func() {})
	}
	if a.told && a.last.Equal(c.snapshot) {
		return
	}
	a.last, a.told = a.r.number(c.snapshot), true
	a.topic.Set(a.last)
}

// wakeAt has the application looked at again. a.mu is held.
func (a *app) wakeAt(at time.Time, first func()) {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = time.AfterFunc(time.Until(at), func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		first()
		a.publish()
	})
}

// tell logs that other clusters are called than before. a.mu is held.
func (a *app) tell(from, to int) {
	var names []string
	for _, level := range a.r.levels(a.r.preferred(&a.parts[0]).Clusters)[:to+1] {
		for _, at := range level {
			names = append(names, a.r.members[at].Name)
		}
	}
	log := a.r.log.With(slog.String("app", a.name.String()), slog.String("clusters", strings.Join(names, ", ")))
	if to < from {
		log.Info("an application is called in fewer clusters again: they have enough instances")
		return
	}
	log.Warn("an application is called in more clusters: those before have too few instances")
}

// Apps implements registry.Discoverer: those of all clusters, each once.
func (r *Registry) Apps(ctx context.Context, namespace string) ([]registry.App, error) {
	if r.isClosed() {
		return nil, errClosed()
	}
	all := ask(ctx, r, func(ctx context.Context, m *Member) ([]registry.App, error) {
		return m.Discoverer.Apps(ctx, namespace)
	}, func(all []answer[[]registry.App], late bool) bool { return late && len(union(all)) > 0 })
	apps := union(all)
	if err := worst(all); err != nil {
		if len(apps) == 0 {
			return nil, err
		}
		r.log.Warn("the applications of a cluster are left out", slog.Any("error", err))
	}
	return apps, nil
}

// union is all applications that were named, each once, sorted; never nil.
func union(all []answer[[]registry.App]) []registry.App {
	apps := []registry.App{}
	for _, a := range all {
		if a.err == nil {
			apps = append(apps, a.value...)
		}
	}
	slices.SortFunc(apps, registry.App.Compare)
	return slices.Compact(apps)
}

// seekZone has the first member tell where this process runs.
func (r *Registry) seekZone() {
	if r.cfg.Zone != "" || r.cfg.Instance == "" || r.cfg.Self.Validate() != nil {
		return
	}
	self := registry.App{Namespace: r.cfg.Self.Namespace, Name: r.cfg.Self.Name}
	stop, err := r.members[0].Discoverer.Subscribe(self, func(s registry.Snapshot) {
		i := s.Find(r.cfg.Instance)
		if i == nil {
			return
		}
		r.mu.Lock()
		moved := r.zone != i.Zone
		r.zone = i.Zone
		apps := make([]*app, 0, len(r.apps))
		for _, a := range r.apps {
			apps = append(apps, a)
		}
		r.mu.Unlock()
		if moved {
			for _, a := range apps {
				a.again()
			}
		}
	})
	if err != nil {
		return // others will say what is wrong with the registry
	}
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.stopSelf = stop
	}
	r.mu.Unlock()
	if closed {
		stop()
	}
}
