package kube

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weirmesh/weir/registry"
)

// remembering is a quiet hub of namespace shop with a snapshot file in dir. Nothing of
// it runs but what the test has run.
func remembering(t *testing.T, dir string) *Hub {
	t.Helper()
	h := quietHub(Config{Coalesce: -1})
	h.base = []string{"shop"}
	h.cfg.SnapshotWait = time.Second
	h.client = &client{host: sample().Cluster}
	h.keeper = newKeeper(h, dir)
	return h
}

// ask starts the sources of a namespace, of which nothing is heard yet.
func (h *Hub) ask(namespace string) *space {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.spaceOf(namespace)
	for at, r := range map[**source]*resource{
		&s.sliceSource: slicesResource, &s.podSource: podsResource, &s.serviceSource: servicesResource,
		&s.policySource: policiesResource, &s.mappingSource: mappingsResource,
	} {
		*at = &source{hub: h, resource: r, table: emptyTable{}}
		h.keeper.wait(*at)
	}
	return s
}

// hear has all sources of a namespace say that there is nothing.
func (h *Hub) hear(s *space) {
	for _, src := range s.sources() {
		src.replace(nil)
	}
}

// standIn reports whether the file stands in for anything.
func (h *Hub) standIn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.keeper.used()
}

type emptyTable struct{ table }

func (emptyTable) replace(map[string]any, time.Time) {}

// write makes the snapshot file that a process has left, which was last true a while ago.
func write(t *testing.T, dir string, s *saved, ago time.Duration) {
	t.Helper()
	content, _, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	name := remembering(t, dir).keeper.file
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-ago)
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

// twoNamespaces is what a process knew that called inventory in two of them.
func twoNamespaces() *saved {
	s := sample()
	other := s.Apps[0]
	other.App.Namespace = "store"
	s.Apps = append(s.Apps, other)
	return s
}

func storeInventory() registry.App { return registry.App{Namespace: "store", Name: inventory.Name} }

// heardOf follows an application, and returns what its follower was told last.
func heardOf(t *testing.T, h *Hub, app registry.App) func() *registry.Snapshot {
	t.Helper()
	var last atomic.Pointer[registry.Snapshot]
	stop, err := h.Subscribe(app, func(s registry.Snapshot) { last.Store(&s) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return func() *registry.Snapshot {
		synctest.Wait()
		return last.Load()
	}
}

// A namespace that is asked about long after the start, by a process that has heard
// the API server all along, is no reason to go by an old file.
func TestTheFileGivesEachNamespaceItsTime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, twoNamespaces(), time.Hour)
		h := remembering(t, dir)
		h.hear(h.ask("shop"))
		advance(time.Minute)
		store := h.ask("store")
		told := heardOf(t, h, storeInventory())
		if s := told(); s != nil {
			t.Fatalf("told at once: %+v", s)
		}
		if used := h.standIn(); used {
			t.Error("the file counts as used")
		}
		advance(2 * h.cfg.SnapshotWait)
		if s := told(); s == nil || len(s.Instances) != 2 || s.StaleSince.IsZero() {
			t.Fatalf("after its time: %+v", s)
		}
		if used := h.standIn(); !used {
			t.Error("the file does not count as used")
		}
		h.hear(store)
		if s := told(); len(s.Instances) != 0 || !s.StaleSince.IsZero() {
			t.Fatalf("heard: %+v", s)
		}
		if used := h.standIn(); used {
			t.Error("the file counts as used for ever")
		}
	})
}

// Whose rights were taken away does not go by the file, whether it asks or follows.
func TestARefusalIsAnAnswer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, sample(), time.Hour)
		h := remembering(t, dir)
		s := h.ask("shop")
		told := heardOf(t, h, inventory)
		h.mu.Lock()
		s.podSource.failure = &registry.Error{Code: registry.Forbidden, Message: "may not list pods"}
		h.mu.Unlock()
		advance(2 * h.cfg.SnapshotWait)
		if s := told(); s != nil {
			t.Fatalf("told: %+v", s)
		}
		if apps, ok := func() ([]registry.App, bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			s.mappingSource.failure = s.podSource.failure
			return h.keeper.providers(sample().Interfaces[0].Interface)
		}(); ok {
			t.Fatalf("providers: %v", apps)
		}
	})
}

// What nobody asks for any more leaves the file, and does not grow young in it.
func TestTheFileForgets(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, twoNamespaces(), time.Hour)
		h := remembering(t, dir)
		h.hear(h.ask("shop"))
		_, there := h.keeper.saveAndRead(t)
		if there[storeInventory()].IsZero() {
			t.Error("what was not heard is saved as if it had been")
		}
		advance(forgetAfter)
		again, there := h.keeper.saveAndRead(t)
		if len(there) != 0 || len(again.Interfaces) != 0 {
			t.Fatalf("still saved: %v and %v", there, again.Interfaces)
		}
	})
}

// What nobody follows is saved as of when somebody last did, by whichever process: a
// restart does not make it young.
func TestWhatNobodyFollowsAgesInTheFile(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, twoNamespaces(), time.Hour)
		before := time.Now().Add(-time.Hour)
		h := remembering(t, dir)
		h.hear(h.ask("shop"))
		is := func(what string, h *Hub, want time.Time) {
			t.Helper()
			if _, since := h.keeper.saveAndRead(t); since[inventory].Sub(want).Abs() > 2*time.Second || since[inventory].IsZero() != want.IsZero() {
				t.Errorf("%s it is saved as stale since %v, want %v", what, since[inventory], want)
			}
		}
		is("not followed", h, before)
		stop, err := h.Subscribe(inventory, func(registry.Snapshot) {})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		is("followed", h, time.Time{})
		advance(time.Minute)
		stop()
		left := time.Now()
		advance(time.Minute)
		is("left", h, left)
		advance(time.Minute)
		next := remembering(t, dir)
		next.hear(next.ask("shop"))
		is("after a restart", next, left)
	})
}

// saveAndRead saves, and returns what a process would read, and since when each application
// is stale.
func (k *keeper) saveAndRead(t *testing.T) (*saved, map[registry.App]time.Time) {
	t.Helper()
	k.save()
	content, err := os.ReadFile(k.file)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := decodeSaved(content)
	if err != nil {
		t.Fatal(err)
	}
	since := map[registry.App]time.Time{}
	for i := range s.Apps {
		since[s.Apps[i].App] = s.Apps[i].StaleSince
	}
	return s, since
}

// A file that is written during an outage is as old as the outage.
func TestAnOutageIsNotForgottenInTheFile(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := remembering(t, dir)
		s := h.ask("shop")
		h.hear(s)
		told := heardOf(t, h, inventory)
		told()
		advance(time.Minute)
		lost := time.Now()
		h.mu.Lock()
		confirmed := h.keeper.confirmed
		s.sliceSource.lostAt = h.clock.now()
		h.mu.Unlock()
		advance(time.Hour)
		h.keeper.save()
		h.mu.Lock()
		if confirmed.IsZero() || h.keeper.confirmed != confirmed {
			t.Error("what cannot be heard counts as confirmed")
		}
		h.mu.Unlock()
		next := remembering(t, dir)
		next.ask("shop")
		stale := heardOf(t, next, inventory)
		advance(2 * next.cfg.SnapshotWait)
		if s := stale(); s == nil || s.StaleSince.Sub(lost).Abs() > time.Second {
			t.Fatalf("told of %+v, want it stale since %v", s, lost)
		}
	})
}

// Who asks how the link is, of a process that began from its file, hears since when
// what it goes by was last known to be true, as whoever asks for an application does.
func TestSinceWhenAProcessIsStaleThatBeganFromItsFile(t *testing.T) {
	// During an outage the file goes on being written, and does not grow young by it.
	outage := func(ago time.Duration) *saved {
		s := sample()
		s.Apps[0].StaleSince = time.Now().Add(-ago).Truncate(time.Second).UTC()
		return s
	}
	elsewhere := sample()
	elsewhere.Apps[0].App.Namespace = "store"
	for name, c := range map[string]struct {
		file func() *saved
		// want is how long ago it was true when the process began; zero where nothing is
		// known that anybody could go by.
		want time.Duration
	}{
		"written by a process in touch": {sample, time.Hour},
		"written during an outage":      {func() *saved { return outage(3 * time.Hour) }, 3 * time.Hour},
		"of which one application was left long before": {func() *saved {
			s := outage(3 * time.Hour)
			s.Apps = append(s.Apps, sample().Apps...)
			s.Apps[1].App.Name = "orders"
			return s
		}, time.Hour},
		"that knows of other namespaces alone": {func() *saved { return elsewhere }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				write(t, dir, c.file(), time.Hour)
				was := time.Now().Add(-c.want)
				h := remembering(t, dir)
				s := h.ask("shop")
				since := func() (time.Time, error) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					defer cancel()
					return h.StaleSince(ctx)
				}
				is := func(when string, want time.Time) {
					t.Helper()
					if got, err := since(); err != nil || got.Sub(want).Abs() > 2*time.Second || got.IsZero() != want.IsZero() {
						t.Errorf("%s it is stale since %v (%v), want %v", when, got, err, want)
					}
				}
				unknown := func(when string, code registry.Code) {
					t.Helper()
					if got, err := since(); registry.CodeOf(err) != code {
						t.Errorf("%s it is stale since %v (%v), want an error of code %s", when, got, err, code)
					}
				}
				unknown("while the API server has its time", registry.Unavailable)
				advance(2 * h.cfg.SnapshotWait)
				if c.want == 0 {
					unknown("after that time", registry.Unavailable)
				} else {
					is("after that time", was)
					youngest := c.file().Apps[len(c.file().Apps)-1].App
					snapshot, err := h.Snapshot(t.Context(), youngest)
					if got, errSince := since(); err != nil || errSince != nil || !got.Equal(snapshot.StaleSince) {
						t.Errorf("it is stale since %v (%v), and the application since %v (%v)", got, errSince, snapshot.StaleSince, err)
					}
					// The wall clock is set: what was written is still of its time.
					h.clock.wall = func() time.Time { return time.Now().Round(0).Add(24 * time.Hour) }
					is("with the wall clock a day ahead", was)
					h.clock.wall = time.Now
				}
				forbid := func(why *registry.Error) {
					h.mu.Lock()
					defer h.mu.Unlock()
					s.podSource.failure = why
				}
				forbid(&registry.Error{Code: registry.Forbidden, Message: "may not list pods"})
				unknown("refused", registry.Forbidden)
				forbid(nil)
				h.hear(s)
				is("heard", time.Time{})
				advance(time.Minute)
				h.mu.Lock()
				s.podSource.lostAt = h.clock.now()
				h.mu.Unlock()
				lost := time.Now()
				advance(time.Hour)
				is("lost again", lost)
			})
		})
	}
}

// A file that cannot be written is tried again ever more seldom: each attempt costs as
// much as one that succeeds.
func TestAFileThatCannotBeWrittenCostsLittle(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		h := remembering(t, filepath.Join(blocked, "dir"))
		h.hear(h.ask("shop"))
		heardOf(t, h, inventory)()
		advance(time.Hour)
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		h.wg.Wait()
		attempts := testutil.ToFloat64(h.metrics.fileErrors.WithLabelValues("write"))
		if attempts < 3 || attempts > 25 {
			t.Fatalf("%g attempts in an hour", attempts)
		}
	})
}

// Two processes that share a directory leave each other's files alone, also those that
// are being written.
func TestProcessesShareADirectory(t *testing.T) {
	dir := t.TempDir()
	h := quietHub(Config{App: "orders"})
	h.client = &client{host: "https://10.96.0.1:443"}
	orders := newKeeper(h, dir)
	young, old := orders.file+".1", orders.file+".2"
	for _, name := range []string{young, old} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	newKeeper(h, dir)
	if left, err := filepath.Glob(orders.file + ".*"); err != nil || len(left) != 1 || left[0] != young {
		t.Errorf("left are %v (%v), want %s", left, err, young)
	}
	h.cfg.App = "payments"
	if payments := newKeeper(h, dir); payments.file == orders.file {
		t.Error("two applications have one file")
	}
}

// A namespace that is refused for good keeps the file of all others neither from being
// marked as true nor from forgetting.
func TestANamespaceThatIsRefusedHoldsUpNoOther(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, twoNamespaces(), time.Hour)
		h := remembering(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		h.ctx = ctx
		h.wg.Go(h.keeper.confirm)
		h.hear(h.ask("shop"))
		store := h.ask("store")
		h.hear(store)
		for _, app := range []registry.App{inventory, storeInventory()} {
			heardOf(t, h, app)()
		}
		advance(5 * time.Minute)
		h.mu.Lock()
		refused := h.clock.now()
		store.podSource.lostAt, store.podSource.failure = refused, &registry.Error{Code: registry.Forbidden, Message: "may not list pods"}
		h.mu.Unlock()
		advance(5 * time.Minute)
		h.mu.Lock()
		if since := h.clock.now().Sub(h.keeper.confirmed); h.keeper.confirmed.IsZero() || since > 2*confirmEvery {
			t.Errorf("confirmed %s ago", since)
		}
		h.mu.Unlock()
		content, err := os.ReadFile(h.keeper.file)
		if err != nil {
			t.Fatal(err)
		}
		s, _, err := decodeSaved(content)
		if err != nil || len(s.Apps) != 2 {
			t.Fatalf("saved is %+v (%v)", s, err)
		}
		if !s.Apps[0].StaleSince.IsZero() || s.Apps[1].StaleSince.Sub(h.clock.told(refused)).Abs() > time.Second {
			t.Errorf("saved as stale since %v and %v, want never and since %v", s.Apps[0].StaleSince, s.Apps[1].StaleSince, h.clock.told(refused))
		}
		h.mu.Lock()
		h.keeper.leftApp(inventory)
		h.mu.Unlock()
		advance(2 * forgetAfter)
		if _, since := h.keeper.saveAndRead(t); len(since) != 1 {
			t.Errorf("saved are %v, want that of the refused namespace alone, which is followed", since)
		}
		// A refusal is no outage: what was read of a document before is not gone by, but
		// where the namespace itself cannot be heard.
		h.mu.Lock()
		if !h.reachable("shop") || h.reachable("store") || !h.reachable("elsewhere") {
			t.Errorf("reachable are shop %v, store %v, elsewhere %v", h.reachable("shop"), h.reachable("store"), h.reachable("elsewhere"))
		}
		h.closed = true
		h.mu.Unlock()
		cancel()
		h.wg.Wait()
	})
}

// An API server that answers, but has too much to do, is waited for longer than one that
// does not.
func TestAServerThatIsThereIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, sample(), time.Minute)
		h := remembering(t, dir)
		s := h.ask("shop")
		busy := apierrors.NewTooManyRequests("too much to do", 1)
		answer := func(err error) {
			for _, src := range s.sources() {
				src.lost(h.clock.now(), err)
			}
		}
		told := heardOf(t, h, inventory)
		answer(busy)
		advance(2 * h.cfg.SnapshotWait)
		if s := told(); s != nil {
			t.Fatalf("while the server has too much to do: %+v", s)
		}
		advance(patience * h.cfg.SnapshotWait)
		if s := told(); s == nil || len(s.Instances) != 2 {
			t.Fatalf("when that lasts: %+v", s)
		}

		h = remembering(t, dir)
		s = h.ask("shop")
		told = heardOf(t, h, inventory)
		answer(busy)
		answer(errors.New("connection refused"))
		advance(2 * h.cfg.SnapshotWait)
		if s := told(); s == nil || len(s.Instances) != 2 {
			t.Fatalf("when it is gone: %+v", s)
		}
	})
}

// What an old file knows is tried before it is called, and who does not answer stands by
// while others do.
func TestAnOldFileIsTried(t *testing.T) {
	for _, c := range []struct {
		name    string
		ago     time.Duration
		answers int // how many of two do
		called  int
		tries   int64
	}{
		{"young", time.Minute, 0, 2, 0},
		{"old", time.Hour, 1, 1, 2},
		{"old, and all answer", time.Hour, 2, 2, 2},
		{"old, and nobody answers", time.Hour, 0, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				saved := sample()
				for i := range saved.Apps[0].Instances {
					saved.Apps[0].Instances[i].Endpoints = []registry.Endpoint{{Protocol: "tri", Port: uint16(20000 + i)}}
				}
				write(t, dir, saved, c.ago)
				h := remembering(t, dir)
				var tries atomic.Int64
				h.dial = func(_ context.Context, address string) error {
					tries.Add(1)
					_, port, err := net.SplitHostPort(address)
					if err != nil || port >= strconv.Itoa(20000+c.answers) {
						return errors.New("connection refused")
					}
					return nil
				}
				h.ask("shop")
				told := heardOf(t, h, inventory)
				advance(2 * h.cfg.SnapshotWait)
				if s := told(); s == nil || len(s.Instances) != 2 || len(s.Callable()) != c.called {
					t.Errorf("told of %+v, want %d to call", s, c.called)
				}
				if s, err := h.Snapshot(t.Context(), inventory); err != nil || len(s.Callable()) != c.called {
					t.Errorf("who asks is told of %+v (%v), want %d to call", s, err, c.called)
				}
				if n := tries.Load(); n != c.tries {
					t.Errorf("%d attempts, want %d", n, c.tries)
				}
			})
		})
	}
}
