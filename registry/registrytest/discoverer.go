package registrytest

import (
	"slices"
	"strings"

	"github.com/weirmesh/weir/registry"
)

var discovererTests = []test{
	{"UnknownIsNotEmpty", func(w *world) {
		c := w.Offline(w.T)
		app := w.app("inventory")
		r := w.follow(c, app)
		_, err := c.Snapshot(w.briefly(), app)
		w.wantCode("Snapshot without a registry", err, registry.Unavailable)
		if r.count() != 0 {
			w.Fatal("a subscriber was told of an application of which nothing is known")
		}
		if _, err := c.Apps(w.briefly(), w.Namespace); registry.CodeOf(err) != registry.Unavailable {
			w.Fatalf("Apps without a registry: %v", err)
		}
		if l, ok := c.(registry.Linked); ok {
			_, err := l.StaleSince(w.briefly())
			w.wantCode("StaleSince without a registry", err, registry.Unavailable)
		}
	}},
	{"FirstSnapshotIsWhole", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		a, b := w.PutInstance(w.T, app, "inventory-a"), w.PutInstance(w.T, app, "inventory-b")
		c := w.Open(w.T)
		first := w.follow(c, app).await("the first snapshot", 0, anything)
		want := []string{a, b}
		slices.Sort(want)
		if got := ids(first); !slices.Equal(got, want) {
			w.Fatalf("the first snapshot has instances %v, want %v", got, want)
		}
		if first.App != app || first.Mode != registry.ModePod || len(first.Callable()) != 2 || !first.StaleSince.IsZero() {
			w.Fatalf("the first snapshot is %+v", first)
		}
		if i := instance(first, a); i.Name != "inventory-a" || !i.Host.IsValid() || i.Registered() || i.Details.Weight != registry.DefaultWeight {
			w.Fatalf("instance a is %+v", i)
		}
		wantPort := registry.ServicePort{Name: first.Service.Ports[0].Name, Port: 20000, Target: 20000}
		if first.Service.Host != "inventory."+w.Namespace+".svc" || len(first.Service.Ports) != 1 || first.Service.Ports[0] != wantPort {
			w.Fatalf("the Service is %+v", first.Service)
		}
		s, err := c.Snapshot(w.ctx(), app)
		w.must(err)
		if !s.Equal(first) {
			w.Fatalf("Snapshot returns %s, the subscriber got %s", describe(s), describe(first))
		}
	}},
	{"AnUnknownNameIsProvenEmpty", func(w *world) {
		c := w.Open(w.T)
		app := w.app("nowhere")
		s, err := c.Snapshot(w.ctx(), app)
		w.must(err)
		if len(s.Instances) != 0 || s.App != app || s.Service.Host != "" || s.Mode != registry.ModePod {
			w.Fatalf("the snapshot of an application that does not exist is %+v", s)
		}
		first := w.follow(c, app).await("a proven empty snapshot", 0, anything)
		if len(first.Instances) != 0 {
			w.Fatalf("got %s", describe(first))
		}
	}},
	{"AnApplicationCanAppearUnderAFollower", func(w *world) {
		app := w.app("late")
		r := w.follow(w.Open(w.T), app)
		r.await("a proven empty snapshot", 0, callable(0))
		w.PutService(w.T, app, 20000)
		id := w.PutInstance(w.T, app, "late-0")
		if s := r.await("its first instance", 1, callable(1)); s.Callable()[0].ID != id {
			w.Fatalf("got %s", describe(s))
		}
	}},
	{"ChangesArrive", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		a, b := w.PutInstance(w.T, app, "inventory-a"), w.PutInstance(w.T, app, "inventory-b")
		r := w.follow(w.Open(w.T), app)
		r.await("both instances", 0, callable(2))
		w.SetReady(w.T, app, "inventory-a", false)
		s := r.await("one that is not ready", r.count()-1, callable(1))
		if i := instance(s, a); i == nil || i.Health != registry.NotReady || i.Why() == "" {
			w.Fatalf("an instance that is not ready must stay in sight; got %s", describe(s))
		}
		w.SetReady(w.T, app, "inventory-a", true)
		r.await("both again", r.count()-1, callable(2))
		w.RemoveInstance(w.T, app, "inventory-b")
		r.await("the other gone", r.count()-1, func(s registry.Snapshot) bool { return instance(s, b) == nil })
		w.RemoveInstance(w.T, app, "inventory-a")
		s = r.await("a scale to zero", r.count()-1, func(s registry.Snapshot) bool { return len(s.Instances) == 0 })
		if s.Service.Host == "" {
			w.Fatal("the Service went with its last instance")
		}
	}},
	{"LatestWinsForASlowSubscriber", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		c := w.Open(w.T)
		slow := newRecorder(w.T)
		slow.hold = make(chan struct{})
		stop, err := c.Subscribe(app, slow.notify)
		w.must(err)
		slow.await("the first snapshot", 0, callable(1))
		fast := w.follow(c, app)
		for i, name := range []string{"inventory-1", "inventory-2", "inventory-3"} {
			w.PutInstance(w.T, app, name)
			fast.await("what the slow one waits with", 0, callable(i+2))
		}
		slow.mu.Lock()
		close(slow.hold)
		slow.hold = nil
		slow.mu.Unlock()
		if next := slow.await("what came meanwhile", 1, anything); len(next.Callable()) != 4 {
			w.Fatalf("the slow subscriber's second snapshot is %s, want the newest", describe(next))
		}
		stop()
		if n := slow.count(); n != 2 {
			w.Fatalf("the slow subscriber was called %d times, want 2", n)
		}
	}},
	{"ASlowSubscriberDelaysNobodyElse", func(w *world) {
		one, other := w.app("one"), w.app("other")
		for _, app := range []registry.App{one, other} {
			w.PutService(w.T, app, 20000)
			w.PutInstance(w.T, app, app.Name+"-0")
		}
		c := w.Open(w.T)
		slow := newRecorder(w.T)
		slow.hold = make(chan struct{})
		stop, err := c.Subscribe(one, slow.notify)
		w.must(err)
		slow.await("its first snapshot", 0, callable(1))
		r := w.follow(c, other)
		r.await("the other application", 0, callable(1))
		w.PutInstance(w.T, one, "one-1")
		w.PutInstance(w.T, other, "other-1")
		r.await("a change of the other application", 0, callable(2))
		// Nor does it delay questions about its own.
		for {
			s, err := c.Snapshot(w.ctx(), one)
			w.must(err)
			if len(s.Callable()) == 2 {
				break
			}
		}
		close(slow.hold)
		stop()
	}},
	{"NothingNewIsNotSent", func(w *world) {
		if w.opts.NoDisturb {
			w.Skip("nothing is hidden from receivers")
		}
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		r := w.follow(w.Open(w.T), app)
		r.await("the first snapshot", 0, callable(1))
		before := r.count()
		w.Disturb(w.T, app, "inventory-0")
		w.PutInstance(w.T, app, "inventory-1")
		r.await("a change", before, callable(2)) // the recorder fails on repetitions
	}},
	{"StopIsFinal", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		c := w.Open(w.T)
		stopped, kept := w.follow(c, app), w.follow(c, app)
		stopped.await("the first snapshot", 0, callable(1))
		stopped.end()
		stopped.stop() // twice is no harm
		w.PutInstance(w.T, app, "inventory-1")
		kept.await("a change", 0, callable(2))
		again := w.follow(c, app)
		again.await("a new subscription", 0, callable(2))
	}},
	{"StopWaitsForTheCallUnderWay", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		c := w.Open(w.T)
		r := newRecorder(w.T)
		r.hold = make(chan struct{})
		stop, err := c.Subscribe(app, r.notify)
		w.must(err)
		r.await("the first snapshot", 0, anything)
		returned := make(chan struct{})
		go func() { stop(); close(returned) }()
		select {
		case <-returned:
			w.Fatal("stop returned while notify ran")
		case <-w.briefly().Done():
		}
		close(r.hold)
		<-returned
	}},
	{"ModeIsLive", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		r := w.follow(w.Open(w.T), app)
		r.await("the first snapshot", 0, anything)
		w.SetMode(w.T, app, registry.ModeService)
		r.await("Service mode", 0, func(s registry.Snapshot) bool { return s.Mode == registry.ModeService })
		w.SetMode(w.T, app, registry.ModePod)
		r.await("pod mode", r.count()-1, func(s registry.Snapshot) bool { return s.Mode == registry.ModePod })
	}},
	{"ALostLinkChangesNothing", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		c, cut, restore := w.Cut(w.T)
		r := w.follow(c, app)
		r.await("the first snapshot", 0, callable(1))
		calls := r.count()
		cut()
		ctx := w.ctx()
		for {
			s, err := c.Snapshot(ctx, app)
			w.must(err)
			if len(s.Callable()) != 1 {
				w.Fatalf("with the link cut the snapshot is %s", describe(s))
			}
			if !s.StaleSince.IsZero() {
				break
			}
		}
		if apps, err := c.Apps(ctx, w.Namespace); err != nil || !slices.Contains(apps, app) {
			w.Fatalf("with the link cut Apps returns %v, %v", apps, err)
		}
		if l, ok := c.(registry.Linked); ok {
			if since, err := l.StaleSince(ctx); err != nil || since.IsZero() {
				w.Fatalf("with the link cut StaleSince returns %s, %v", since, err)
			}
		}
		w.PutInstance(w.T, app, "inventory-1")
		w.RemoveInstance(w.T, app, "inventory-0")
		if n := r.count(); n != calls {
			w.Fatalf("with the link cut the subscriber was called %d times", n-calls)
		}
		restore()
		r.await("what happened meanwhile", calls, func(s registry.Snapshot) bool {
			return len(s.Instances) == 1 && s.Instances[0].Name == "inventory-1"
		})
		for {
			s, err := c.Snapshot(ctx, app)
			w.must(err)
			if s.StaleSince.IsZero() {
				return
			}
		}
	}},
	{"AppsAreSorted", func(w *world) {
		for _, name := range []string{"pricing", "inventory", "orders"} {
			w.PutService(w.T, w.app(name), 20000)
		}
		c := w.Open(w.T)
		apps, err := c.Apps(w.ctx(), w.Namespace)
		w.must(err)
		if want := []registry.App{w.app("inventory"), w.app("orders"), w.app("pricing")}; !slices.Equal(apps, want) {
			w.Fatalf("Apps returns %v, want %v", apps, want)
		}
	}},
	{"RefusalSaysWhatToDo", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		c := w.Refused(w.T, app, "inventory-0")
		r := w.follow(c, app) // a subscription outlives the lack of a right
		_, err := c.Snapshot(w.ctx(), app)
		w.wantCode("Snapshot without rights", err, registry.Forbidden)
		if len(err.Error()) < len("registry: something") {
			w.Fatalf("%q helps nobody", err)
		}
		if l, ok := c.(registry.Linked); ok {
			_, err := l.StaleSince(w.ctx())
			w.wantCode("StaleSince without rights", err, registry.Forbidden)
		}
		if r.count() != 0 {
			w.Fatal("a subscriber without rights was told something")
		}
	}},
	{"BadNamesAreInvalid", func(w *world) {
		c := w.Open(w.T)
		for _, app := range badApps(w) {
			_, err := c.Snapshot(w.ctx(), app)
			w.wantCode("Snapshot of "+app.String(), err, registry.Invalid)
			_, err = c.Subscribe(app, func(registry.Snapshot) { w.Error("called for an invalid name") })
			w.wantCode("Subscribe to "+app.String(), err, registry.Invalid)
		}
	}},
}

func badApps(w *world) []registry.App {
	return []registry.App{
		{},
		{Namespace: w.Namespace},
		{Name: "inventory"},
		w.app("Inventory"),
		w.app("com.example.Inventory"),
		w.app("shop_order"),
		w.app("-x"),
		w.app("1st"),
		w.app("a/b"),
		w.app(strings.Repeat("x", 64)),
		{Namespace: "../kube-system", Name: "inventory"},
	}
}
