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
	waiting  bool // for clusters that have not spoken yet
	late     bool // they were waited for
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
	r.mu.Lock()
	a := r.apps[name]
	r.mu.Unlock()
	told := a != nil && a.wasTold()
	all := ask(ctx, r, func(ctx context.Context, m *Member) (registry.Snapshot, error) {
		return m.Discoverer.Snapshot(ctx, name)
	}, func(all []answer[registry.Snapshot], late bool) bool { return late && (told || speaks(partsOf(all))) })
	parts := partsOf(all)
	if a == nil {
		if !speaks(parts) {
			return registry.Snapshot{}, worst(all)
		}
		return r.number(r.one(name, parts, standing{}, r.ownZone(&parts[0])).snapshot), nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range parts {
		parts[i].join(&a.parts[i])
	}
	var s registry.Snapshot
	switch {
	case speaks(parts):
		s = r.one(name, parts, a.standing, r.ownZone(&parts[0])).snapshot
	case a.told:
		s = gone(a.last, parts)
	default:
		return registry.Snapshot{}, worst(all)
	}
	if a.told && a.last.Equal(s) {
		s.Generation, s.Observed = a.last.Generation, a.last.Observed
		return s, nil
	}
	return r.number(s), nil
}

// join takes over what followers know better: what was told them while the cluster was
// asked, and of one that did not answer.
func (p *part) join(told *part) {
	if told.known && (!p.known || told.s.Generation > p.s.Generation) {
		since := p.s.StaleSince
		if !p.known {
			since = told.s.StaleSince
		}
		p.known, p.s = true, told.s
		p.s.StaleSince = since
	}
	p.dead = told.dead
}

// wasTold reports whether followers were told anything.
func (a *app) wasTold() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.told
}

// gone is an application of which the clusters that have spoken have no instance any
// more, while another has not spoken yet. What was called is not called any more, as
// others may have its addresses; but that the application has no instances is not
// known.
func gone(last registry.Snapshot, parts []part) registry.Snapshot {
	last.Instances = slices.Clone(last.Instances)
	for n := range last.Instances {
		i := &last.Instances[n]
		i.Health, i.Kept, i.Standby = registry.Terminating, nil, ""
	}
	for i := range parts {
		last.Observed = later(last.Observed, parts[i].s.Observed)
	}
	return last
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
		return r.subscribeTo(m, name, notify)
	}
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

// subscribeTo follows an application in one cluster alone.
func (r *Registry) subscribeTo(m *Member, name registry.App, notify func(registry.Snapshot)) (func(), error) {
	if r.isClosed() {
		return nil, errClosed()
	}
	stop, err := m.Discoverer.Subscribe(registry.App{Namespace: name.Namespace, Name: name.Name}, func(s registry.Snapshot) { notify(sign(s, name)) })
	if err != nil {
		return nil, r.at(m, err)
	}
	s := &alone{stop}
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.alone[s] = struct{}{}
	}
	r.mu.Unlock()
	if closed {
		stop()
		return nil, errClosed()
	}
	return func() {
		stop()
		r.mu.Lock()
		delete(r.alone, s)
		r.mu.Unlock()
	}, nil
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
	a.r.missed[at].Store(false)
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
	some, wait := false, false
	for i := range a.parts {
		some = some || a.parts[i].known
		wait = wait || !a.late && !a.parts[i].known && !a.r.missed[i].Load()
	}
	switch {
	case a.closed || !some:
		return
	case wait && !a.told:
		if !a.waiting {
			a.waiting = true
			a.wakeAt(time.Now().Add(a.r.cfg.FirstWait), a.waited)
		}
		return
	case !speaks(a.parts):
		if a.told {
			a.set(gone(a.last, a.parts))
		}
		return
	}
	before := a.standing
	c := a.r.one(a.name, a.parts, before, a.r.ownZone(&a.parts[0]))
	a.standing = c.standing
	if a.told && before.order == c.standing.order && before.depth != c.standing.depth {
		a.tell(before.depth, c.standing.depth)
	}
	if !c.again.IsZero() {
		a.wakeAt(c.again, func() {})
	}
	a.set(c.snapshot)
}

// set tells the followers, if it is news. a.mu is held.
func (a *app) set(s registry.Snapshot) {
	if a.told && a.last.Equal(s) {
		return
	}
	a.last, a.told = a.r.number(s), true
	a.topic.Set(a.last)
}

// waited notes which clusters were waited for in vain. a.mu is held.
func (a *app) waited() {
	a.late = true
	for i := range a.parts {
		if !a.parts[i].known {
			a.r.missed[i].Store(true)
		}
	}
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
	levels := a.r.levels(a.r.preferred(&a.parts[0]).Clusters)
	a.r.metrics.moved(a.r, levels, from, to)
	var names []string
	for _, level := range levels[:to+1] {
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
	err := worst(all)
	if err != nil && len(apps) == 0 {
		return nil, err
	}
	r.saidLeftOut(err)
	return apps, nil
}

// saidLeftOut logs that the applications of a cluster are left out of a list, once for
// each reason.
func (r *Registry) saidLeftOut(err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	r.mu.Lock()
	before := r.leftOut
	r.leftOut = why
	r.mu.Unlock()
	switch {
	case why == before:
	case why != "":
		r.log.Warn("the applications of a cluster are left out", slog.String("reason", why))
	default:
		r.log.Info("the applications of all clusters are listed again")
	}
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

// ownZone is where this process runs, where the preference of the first cluster asks
// for it; empty while that is not known.
func (r *Registry) ownZone(home *part) string {
	if *r.preferred(home).ZonePercent == 0 {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sought && !r.closed {
		r.sought = true
		r.work.Go(r.seekZone)
	}
	return r.zone
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
