package dubbo

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

// watch follows one application for all references of the process that use it,
// and holds the metadata document of each revision its instances have.
type watch struct {
	b      *Binding
	app    registry.App
	refs   int             // guarded by b.mu
	ctx    context.Context //nolint:containedctx // the watch's own lifetime
	cancel context.CancelFunc
	stop   func() // ends the discoverer's subscription

	// mu is taken after b.mu where both are.
	mu        sync.Mutex
	snapshot  registry.Snapshot
	known     bool
	documents map[string]*revision // of the instances in snapshot
	followers map[follower]struct{}
	problems  map[string]string // last problem logged, by instance
}

// follower is told that a watch knows something new. wake must not block.
type follower interface{ wake() }

// revision is a metadata document on its way or here.
type revision struct {
	doc *document // nil until it is fetched
	err error     // why it is not; nil while the first attempt runs
}

// view is what a watch knows at one moment. It is not to be written to.
type view struct {
	snapshot  registry.Snapshot
	known     bool
	documents map[string]revision
}

// follow adds a follower to the watch of app, which it starts if there is none.
// The follower is woken at once if the application is known.
func (b *Binding) follow(app registry.App, s follower) (*watch, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, errClosed
	}
	w := b.watches[app]
	fresh := w == nil
	if fresh {
		w = &watch{
			b: b, app: app,
			documents: map[string]*revision{},
			followers: map[follower]struct{}{},
			problems:  map[string]string{},
		}
		w.ctx, w.cancel = context.WithCancel(b.ctx)
		b.watches[app] = w
	}
	w.refs++
	w.mu.Lock()
	w.followers[s] = struct{}{}
	known := w.known
	w.mu.Unlock()
	var err error
	if fresh {
		// Under b.mu, so that nobody can leave before stop is set. Subscribe does
		// not call back on this goroutine.
		if w.stop, err = b.backend.Discoverer.Subscribe(app, w.update); err != nil {
			w.cancel()
			delete(b.watches, app)
		}
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if known {
		s.wake()
	}
	return w, nil
}

// leave removes a follower; the last one ends the watch.
func (w *watch) leave(s follower) {
	w.b.mu.Lock()
	w.mu.Lock()
	delete(w.followers, s)
	w.mu.Unlock()
	w.refs--
	last := w.refs == 0
	if last {
		delete(w.b.watches, w.app)
	}
	w.b.mu.Unlock()
	if last {
		w.cancel()
		w.stop()
	}
}

// update takes over a snapshot. The discoverer calls it from a goroutine of its
// own, but what it waits for delays the snapshots behind it, so it waits for
// nothing: not for documents, nor for dubbo-go.
func (w *watch) update(s registry.Snapshot) {
	w.b.heard()
	var missing []func()
	w.mu.Lock()
	w.snapshot, w.known = s, true
	present := make(map[string]struct{})
	for i := range s.Instances {
		instance := &s.Instances[i]
		w.report(instance)
		if r := instance.Revision; r != "" && r != noServices {
			present[r] = struct{}{}
			if _, ok := w.documents[r]; !ok && (instance.Callable() || instance.StandsBy()) {
				rev := &revision{}
				w.documents[r] = rev
				missing = append(missing, func() { w.fetch(r, rev) })
			}
		}
	}
	for r := range w.documents {
		if _, ok := present[r]; !ok {
			delete(w.documents, r) // its fetch sees that and ends
		}
	}
	w.tidyProblems()
	w.mu.Unlock()
	for _, fetch := range missing {
		w.b.goWork(fetch)
	}
	w.wakeFollowers()
}

// report logs an instance's problem once. Its owner may never look, but those
// who call it do. w.mu is held.
func (w *watch) report(i *registry.Instance) {
	if i.Problem == w.problems[i.ID] {
		return
	}
	if i.Problem == "" {
		delete(w.problems, i.ID)
		return
	}
	w.problems[i.ID] = i.Problem
	if i.Health == registry.Ready {
		w.b.log.Warn("an instance is ready but cannot be called",
			slog.String("app", w.app.String()), slog.String("instance", i.Name), slog.String("problem", i.Problem))
	}
}

// tidyProblems forgets instances that are gone. w.mu is held.
func (w *watch) tidyProblems() {
	if len(w.problems) == 0 {
		return
	}
	here := make(map[string]struct{}, len(w.snapshot.Instances))
	for i := range w.snapshot.Instances {
		here[w.snapshot.Instances[i].ID] = struct{}{}
	}
	for id := range w.problems {
		if _, ok := here[id]; !ok {
			delete(w.problems, id)
		}
	}
}

func (w *watch) wakeFollowers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.followers {
		s.wake()
	}
}

// view returns what is known now.
func (w *watch) view() view {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := view{snapshot: w.snapshot, known: w.known, documents: make(map[string]revision, len(w.documents))}
	for r, rev := range w.documents {
		v.documents[r] = *rev
	}
	return v
}

// current reports whether rev is still wanted, and returns the instances that have
// it and may be asked: those that are called first.
func (w *watch) current(r string, rev *revision) ([]registry.Instance, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.documents[r] != rev {
		return nil, false
	}
	var out, stand []registry.Instance
	for i := range w.snapshot.Instances {
		instance := &w.snapshot.Instances[i]
		switch {
		case instance.Revision != r:
		case instance.Callable():
			out = append(out, *instance)
		case instance.StandsBy():
			stand = append(stand, *instance)
		}
	}
	return append(out, stand...), true
}

// fetch gets the document of a revision and keeps at it while an instance of
// that revision is there.
func (w *watch) fetch(r string, rev *revision) {
	delay := w.b.cfg.RetryDelay
	for {
		instances, wanted := w.current(r, rev)
		if !wanted {
			return
		}
		select {
		case w.b.fetches <- struct{}{}:
		case <-w.ctx.Done():
			return
		}
		doc, err := w.b.fetchDocument(w.ctx, w.app, r, instances)
		<-w.b.fetches
		if w.ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		first := rev.err == nil
		rev.doc, rev.err = doc, err
		w.mu.Unlock()
		w.wakeFollowers()
		if err == nil {
			return
		}
		if first {
			w.b.log.Warn("instances cannot be called yet: what they offer could not be read; trying again",
				slog.String("app", w.app.String()), slog.String("revision", short(r)), slog.Any("error", err))
		}
		if !pause.For(w.ctx, delay) {
			return
		}
		delay = min(2*delay, 30*time.Second)
	}
}
