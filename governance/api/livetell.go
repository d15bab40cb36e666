package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
)

// LiveHello is the event "hello", the first of the stream.
type LiveHello struct {
	Now     time.Time           `json:"now"`
	Version string              `json:"version,omitempty" doc:"Of weir."`
	Every   governance.Duration `json:"every" doc:"How far apart events of health are."`
}

// LiveHealth is the event "health" of the stream.
type LiveHealth struct {
	Full  bool             `json:"full" doc:"Whether these are all applications; else those that changed."`
	Now   time.Time        `json:"now"`
	Stale time.Time        `json:"stale,omitzero" doc:"Since when nothing new could be read; left out when all is well."`
	Items []AppHealth      `json:"items" nullable:"false"`
	Gone  []governance.App `json:"gone" nullable:"false"`
}

// LiveChange is the event "change" of the stream.
type LiveChange struct {
	Topics []string `json:"topics" nullable:"false" doc:"Lists that changed, to be read again: policies, routes, fleet, or events, where some were passed over."`
}

const (
	topicPolicies = "policies"
	topicRoutes   = "routes"
	topicFleet    = "fleet"
	topicEvents   = "events"
)

// load reads everything anew.
func (f *following) load(ctx context.Context, now time.Time) error {
	f.apps = map[governance.App]*liveApp{}
	f.fleetAt = time.Time{}
	seen, err := f.store.RecentSamples(ctx, governance.RecentQuery{From: now.Add(-defaultWindow - 10*time.Second)}, func(r governance.Staged) {
		a := f.app(r.App)
		for n := range r.Samples {
			a.add(r.Instance, &r.Samples[n], now.Unix())
		}
	})
	if err != nil {
		return err
	}
	f.reports, f.reportMarks = seen, nil
	if !f.loaded {
		if f.events, err = f.store.EventsNow(ctx); err != nil {
			return err
		}
	}
	if err := f.readFleet(ctx, now); err != nil {
		return err
	}
	for _, v := range f.views {
		if err := f.fill(ctx, v, now); err != nil {
			return err
		}
	}
	f.loaded, f.fresh = true, now // not before: what is half read is read again
	f.measure(now)
	return nil
}

// fill reads what a view begins with.
func (f *following) fill(ctx context.Context, v *view, now time.Time) error {
	*v = view{key: v.key, users: v.users, from: now.Unix() - viewSeconds, cells: map[cellKey]*cell{}, dirty: map[cellKey]*cell{}, ids: map[string]int32{}}
	seen, err := f.store.RecentSamples(ctx, governance.RecentQuery{App: v.key.app, Instance: v.key.instance, From: time.Unix(v.from, 0)}, func(r governance.Staged) {
		v.add(r.Instance, r.Samples)
	})
	v.has = seen
	clear(v.dirty)
	return err
}

// begin hands to those who came what a stream begins with; to all of them if all
// was read anew. One whose views cannot be read is let go, and holds up nobody.
func (f *following) begin(ctx context.Context, now time.Time) {
	whole := map[string][]byte{}
	for w := range f.watchers {
		if w.joined && !f.full {
			continue
		}
		if !w.joined {
			if err := f.look(ctx, w, now); err != nil {
				if !errors.Is(ctx.Err(), context.Canceled) {
					f.api.log.WarnContext(ctx, "a live stream cannot begin", "views", len(w.views), "error", err)
				}
				f.drop(w)
				continue
			}
		}
		health, ok := whole[w.scope]
		if !ok {
			health = liveEvent("health", LiveHealth{Full: true, Now: now.UTC(), Items: w.of(f.items), Gone: []governance.App{}})
			whole[w.scope] = health
		}
		parts := [][]byte{health}
		for _, k := range w.views {
			// What is not told to the others yet is told to this one twice, the same.
			parts = append(parts, f.views[k].event(f.views[k].recent(now.Unix()), true))
		}
		seen := f.events.Clone()
		f.offer(w, frame{data: bytes.Join(parts, nil), begin: true, seen: &seen})
	}
	f.full = false
}

// look gets the views of a stream that begins: all of them or none.
func (f *following) look(ctx context.Context, w *watcher, now time.Time) error {
	fresh := map[viewKey]*view{}
	for _, k := range w.views {
		if f.views[k] != nil {
			continue
		}
		v := &view{key: k}
		if err := f.fill(ctx, v, now); err != nil {
			return err
		}
		fresh[k] = v
	}
	maps.Copy(f.views, fresh)
	for _, k := range w.views {
		f.views[k].users++
	}
	w.joined = true
	return nil
}

// of are the items that a stream may see.
func (w *watcher) of(items []AppHealth) []AppHealth {
	out := make([]AppHealth, 0, len(items))
	for _, i := range items {
		if w.sees(i.App.Namespace) {
			out = append(out, i)
		}
	}
	return out
}

func (w *watcher) sees(namespace string) bool {
	return w.namespaces == nil || slices.Contains(w.namespaces, namespace)
}

// release lets views go that nobody looks at. What they hold is read again when
// somebody does.
func (f *following) release(w *watcher) {
	if !w.joined {
		return
	}
	for _, k := range w.views {
		if v := f.views[k]; v != nil {
			if v.users--; v.users <= 0 {
				delete(f.views, k)
			}
		}
	}
}

// tellSamples tells what counted since it did so last.
func (f *following) tellSamples(now time.Time) {
	events := map[viewKey][]byte{}
	for k, v := range f.views {
		v.forget(now.Unix())
		if e := v.changed(); e != nil {
			events[k] = e
		}
	}
	if len(events) == 0 {
		return
	}
	f.each(func(w *watcher) {
		var data []byte
		for _, k := range w.views {
			data = append(data, events[k]...)
		}
		if len(data) > 0 {
			f.offer(w, frame{data: data})
		}
	})
}

// measure computes how all applications are, and returns those that changed since
// it did so last, with those that are gone.
func (f *following) measure(now time.Time) (changed []AppHealth, gone []governance.App) {
	end := now.Add(-reportLag)
	f.items = make([]AppHealth, 0, len(f.apps))
	for app, a := range f.apps {
		h := a.health(app, end, f.lives[app], &f.scratch)
		h.stand(f.standings[app])
		if h.Live == 0 && len(a.series) == 0 {
			delete(f.apps, app)
			continue
		}
		f.items = append(f.items, h)
		text, err := json.Marshal(h)
		if err == nil && bytes.Equal(text, f.told[app]) {
			continue
		}
		f.told[app] = text
		changed = append(changed, h)
	}
	for app := range f.told {
		if f.apps[app] == nil {
			delete(f.told, app)
			gone = append(gone, app)
		}
	}
	byApp := func(x, y AppHealth) int { return x.App.Compare(y.App) }
	slices.SortFunc(f.items, byApp)
	slices.SortFunc(changed, byApp)
	f.now.Store(&liveNow{now, f.items})
	return changed, gone
}

// tellHealth tells what changed; nothing is told as well, and shows that all is well.
func (f *following) tellHealth(now time.Time) {
	changed, gone := f.measure(now)
	whole := map[string][]byte{}
	seen := f.events.Clone()
	f.each(func(w *watcher) {
		data, ok := whole[w.scope]
		if !ok {
			out := LiveHealth{Now: now.UTC(), Items: w.of(changed), Gone: []governance.App{}}
			for _, app := range gone {
				if w.sees(app.Namespace) {
					out.Gone = append(out.Gone, app)
				}
			}
			data = liveEvent("health", out)
			whole[w.scope] = data
		}
		f.offer(w, frame{data: data, seen: &seen})
	})
}

// stale tells that nothing can be read.
func (f *following) stale() {
	out := LiveHealth{Now: f.api.cfg.Now().UTC(), Stale: f.fresh.UTC(), Items: []AppHealth{}, Gone: []governance.App{}}
	if f.fresh.IsZero() {
		out.Stale = out.Now
	}
	data := liveEvent("health", out)
	for w := range f.watchers { // also those who came meanwhile, and have no beginning yet
		f.offer(w, frame{data: data})
	}
}

func (f *following) tellTopics() {
	if len(f.topics) == 0 {
		return
	}
	data := liveEvent("change", LiveChange{Topics: f.topics})
	f.topics = nil
	f.each(func(w *watcher) { f.offer(w, frame{data: data}) })
}
