package kube

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/internal/feed"
	"github.com/weirmesh/weir/registry"
)

// Snapshot implements registry.Discoverer. The first question about a namespace
// that is not watched yet starts its watches.
func (h *Hub) Snapshot(ctx context.Context, name registry.App) (registry.Snapshot, error) {
	if err := name.Validate(); err != nil {
		return registry.Snapshot{}, err
	}
	var s registry.Snapshot
	need := func() []*source { return h.needInstances(name.Namespace) }
	for {
		var wait time.Duration
		var signal chan struct{}
		err := h.awaitOr(ctx, "application "+name.String(), need, func() {
			space := h.spaceOf(name.Namespace)
			if a := space.apps[name]; a == nil || a.snapshot == nil {
				wait, signal = space.catchingUp(h.clock.now()), h.signal
			}
			if wait <= 0 || ctx.Err() != nil {
				wait = 0
				s = *h.newest(name)
				s.StaleSince = h.clock.told(stale(need()))
			}
		}, func() bool {
			old := h.keeper.app(name)
			if old != nil {
				s = *old
			}
			return old != nil
		})
		if err != nil {
			h.metrics.countError(err)
			return registry.Snapshot{}, err
		}
		if wait == 0 {
			return s, nil
		}
		// Right after an outage the truth is a moment away.
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-signal:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// newest returns the present snapshot of an application. Followers are told of
// it as well, if it is news. mu is held.
func (h *Hub) newest(name registry.App) *registry.Snapshot {
	now := h.clock.now()
	a := h.spaceOf(name.Namespace).apps[name]
	switch {
	case a == nil:
		// Known not to exist. Nothing is kept, since anybody may ask about any name.
		a = &app{name: name, space: h.spaceOf(name.Namespace), dirty: true, changed: now}
		return h.build(a, now)
	case a.topic == nil:
		a.asked = now
		return h.build(a, now)
	case a.snapshot == nil || a.space.hold(now) == 0:
		h.publish(a, now)
	}
	return a.snapshot
}

// Subscribe implements registry.Discoverer.
func (h *Hub) Subscribe(name registry.App, notify func(registry.Snapshot)) (func(), error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed()
	}
	sources := h.needInstances(name.Namespace)
	a := h.spaceOf(name.Namespace).appOf(name)
	now := h.clock.now()
	if a.topic == nil {
		a.topic = feed.NewTopic(registry.Snapshot.Equal)
		a.dirty = true
		if a.changed.IsZero() {
			a.changed = now
		}
	}
	a.followers++
	a.space.follow()
	stop := a.topic.Subscribe(func(s registry.Snapshot) {
		h.mu.Lock()
		if synced, _ := heard(sources); synced || s.StaleSince.IsZero() {
			s.StaleSince = h.clock.told(stale(sources))
		}
		h.mu.Unlock()
		notify(s)
		h.metrics.snapshots.Inc()
		if s.Observed.After(now) {
			h.metrics.propagation.Observe(time.Since(s.Observed).Seconds())
		}
	})
	if synced, _ := heard(sources); synced {
		if a.space.catchingUp(now) > 0 {
			h.schedule(a, now)
		} else {
			h.publish(a, now)
		}
	} else if old := h.keeper.app(name); old != nil {
		a.topic.Set(*old)
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			stop()
			h.mu.Lock()
			defer h.mu.Unlock()
			if a.followers--; a.followers == 0 {
				a.topic, a.snapshot = nil, nil
				h.keeper.leftApp(a.name)
				a.space.releaseApp(a)
			}
			a.space.leave()
		})
	}, nil
}

// Apps implements registry.Discoverer: the applications are the Services of the
// namespace, and those of which slices alone are left.
func (h *Hub) Apps(ctx context.Context, namespace string) ([]registry.App, error) {
	namespaces := h.base
	if namespace != "" {
		if err := (registry.App{Namespace: namespace, Name: "any"}).Validate(); err != nil {
			return nil, err
		}
		namespaces = []string{namespace}
	}
	apps := []registry.App{}
	need := func() []*source { return h.needAll(namespaces) }
	err := h.await(ctx, "the applications", need, func() {
		for _, ns := range namespaces {
			for name, a := range h.spaceOf(ns).apps {
				if (a.service != nil || len(a.slices) > 0) && (ns == "" || name.Namespace == ns) {
					apps = append(apps, name)
				}
			}
		}
	})
	if err != nil {
		h.metrics.countError(err)
		return nil, err
	}
	slices.SortFunc(apps, registry.App.Compare)
	return apps, nil
}

// StaleSince implements registry.Linked, of the namespaces that the hub is for.
func (h *Hub) StaleSince(ctx context.Context) (time.Time, error) {
	var since time.Time
	need := func() []*source { return h.needAll(h.base) }
	err := h.awaitOr(ctx, "the applications", need, func() {
		since = h.clock.told(stale(need()))
	}, func() bool {
		since = h.keeper.knewUntil(h.base)
		return !since.IsZero() && h.keeper.standsIn(need())
	})
	if err != nil {
		h.metrics.countError(err)
		return time.Time{}, err
	}
	return since, nil
}

// needAll is needInstances for several namespaces. mu is held.
func (h *Hub) needAll(namespaces []string) []*source {
	var all []*source
	for _, namespace := range namespaces {
		all = append(all, h.needInstances(namespace)...)
	}
	return all
}

// touch notes that something an application is made of changed. mu is held.
func (a *app) touch(now time.Time) {
	a.dirty, a.changed = true, now
	if a.topic != nil {
		a.space.hub.schedule(a, now)
	}
}

// schedule sees to it that followers hear of a change: at once if the last is
// long ago, else together with what else comes until the window closes. mu is
// held.
func (h *Hub) schedule(a *app, now time.Time) {
	if a.scheduled {
		h.metrics.coalesced.Inc()
		return
	}
	if h.closed {
		return
	}
	wait := a.hold(now)
	if wait == untilFound {
		return // scheduleDirty comes when the slices are found
	}
	if !a.flushed.IsZero() {
		wait = max(wait, h.cfg.Coalesce-now.Sub(a.flushed))
	}
	a.scheduled = true
	// A goroutine or timer of its own: no application waits for another.
	if wait > 0 {
		a.timer = time.AfterFunc(wait, func() { h.flush(a) })
	} else {
		h.wg.Go(func() { h.flush(a) })
	}
}

func (h *Hub) flush(a *app) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.scheduled, a.timer = false, nil
	if a.topic == nil || h.closed {
		return
	}
	if synced, _ := heard(h.needInstances(a.name.Namespace)); !synced {
		return // flushFollowed comes when they are
	}
	now := h.clock.now()
	if a.hold(now) > 0 {
		h.schedule(a, now)
		return
	}
	h.publish(a, now)
}

// hold is how long followers of the application must not be told of changes.
// Those who were told nothing yet do not wait for the end of an outage. mu is
// held.
func (a *app) hold(now time.Time) time.Duration {
	if a.snapshot == nil {
		return a.space.catchingUp(now)
	}
	return a.space.hold(now)
}

// catchingUp is how long what is known may not fit together. With the slices
// lost it does as long as nothing else has come back: all is of one moment. mu
// is held.
func (s *space) catchingUp(now time.Time) time.Duration {
	wait := s.hold(now)
	if wait != untilFound {
		return wait
	}
	wait = 0
	for _, src := range []*source{s.podSource, s.serviceSource} {
		if src.lostAt.IsZero() && src.foundAt.After(s.sliceSource.lostAt) {
			wait = max(wait, src.foundAt.Add(holdLimit).Sub(now))
		}
	}
	return wait
}

const (
	// holdLimit is how long the slices' changes wait for a lost watch of pods or
	// Services to come back.
	holdLimit = 10 * time.Second
	// untilFound stands for a wait whose end is an event.
	untilFound = time.Duration(1<<63 - 1)
)

// hold is how long followers must not be told of changes: after a lost link the
// sources return one by one, and what they say fits together only when all have
// caught up. A pod that went and the slice with its successor would otherwise
// make an application look empty in between. A watch that does not come back
// though others do holds nobody up for long. mu is held.
func (s *space) hold(now time.Time) time.Duration {
	slices := s.sliceSource
	if slices == nil {
		return 0
	}
	if !slices.lostAt.IsZero() {
		return untilFound
	}
	until := time.Time{}
	for _, src := range []*source{slices, s.podSource, s.serviceSource} {
		var end time.Time
		switch {
		case !src.lostAt.IsZero():
			if end = src.lostAt.Add(holdLimit); slices.foundAt.After(src.lostAt) {
				end = slices.foundAt.Add(holdLimit)
			}
		case !src.foundAt.IsZero():
			// A resumed watch stands before it has told what was missed.
			end = src.foundAt.Add(max(s.hub.cfg.Coalesce, 0))
		}
		if end.After(until) {
			until = end
		}
	}
	return max(until.Sub(now), 0)
}

// scheduleDirty looks at the applications whose changes were held back. mu is
// held.
func (h *Hub) scheduleDirty(now time.Time) {
	for _, s := range h.spaces {
		for _, a := range s.apps {
			if a.timer != nil && a.timer.Stop() {
				a.scheduled, a.timer = false, nil // it may have less to wait for now
			}
			if a.topic != nil && a.dirty && !a.scheduled {
				h.schedule(a, now)
			}
		}
	}
}

// publish hands the newest snapshot to the followers. It does not wait for
// them. mu is held.
func (h *Hub) publish(a *app, now time.Time) {
	a.topic.Set(*h.build(a, now))
}

// build returns the present snapshot of an application. One that says the same
// as the last is the last. mu is held, and the sources are synced.
func (h *Hub) build(a *app, now time.Time) *registry.Snapshot {
	if !a.dirty && a.snapshot != nil {
		return a.snapshot
	}
	h.tidy(a, now)
	a.dirty = false
	a.flushed = now
	mode, from := h.mode(a)
	s := join(a, mode, now)
	s.ModeFrom, s.Prefer, s.Observed = from, h.prefer(a), h.clock.told(s.Observed)
	s.Choice, s.ChoiceFrom = h.choice(a)
	a.showed(now)
	if a.snapshot != nil && a.snapshot.Equal(s) {
		return a.snapshot
	}
	h.generation++
	s.Generation = h.generation
	if a.topic != nil {
		a.snapshot = &s
		h.keeper.learnedApp(&s)
	}
	return &s
}

// tidy decides about the endpoints that an application lost, now and when that has
// to be done again. mu is held.
func (h *Hub) tidy(a *app, now time.Time) {
	due := a.settle(now)
	if due.Equal(a.due) {
		return
	}
	if a.due = due; a.again != nil {
		a.again.Stop()
	}
	if due.IsZero() {
		return
	}
	a.again = time.AfterFunc(due.Sub(now), func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !a.due.Equal(due) || h.closed {
			return
		}
		a.due = time.Time{}
		now := h.clock.now()
		a.touch(now)
		h.tidyUnfollowed(a, now)
		a.space.releaseApp(a)
	})
}

// tidyUnfollowed is tidy for an application that nobody follows, and at which nobody
// else would look. mu is held.
func (h *Hub) tidyUnfollowed(a *app, now time.Time) {
	if a.topic == nil {
		h.tidy(a, now)
	}
}

// flushFollowed looks at every application that somebody follows, since a
// source was heard for the first time. mu is held.
func (h *Hub) flushFollowed(now time.Time) {
	for _, s := range h.spaces {
		h.keeper.heardApps(s, now)
		for _, a := range s.apps {
			if a.topic != nil && a.snapshot == nil {
				h.schedule(a, now)
			}
		}
	}
	for iface := range h.interfaces {
		h.publishInterface(iface)
	}
}

// flushSaved hands what an earlier process knew to those who follow what was not
// heard. mu is held.
func (h *Hub) flushSaved() {
	for _, s := range h.spaces {
		for _, a := range s.apps {
			if a.topic == nil || a.snapshot != nil {
				continue
			}
			if synced, _ := heard(h.needInstances(a.name.Namespace)); synced {
				continue
			}
			if old := h.keeper.app(a.name); old != nil {
				a.topic.Set(*old)
			}
		}
	}
	for iface := range h.interfaces {
		h.publishInterface(iface)
	}
}
