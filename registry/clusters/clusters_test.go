package clusters_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/registry/registrytest"
)

func TestMain(m *testing.M) { testkube.Main(m) }

var inventory = registry.App{Namespace: "shop", Name: "inventory"}

// of makes the registry of the clusters that clients look at, the first at home.
func of(t *testing.T, cfg clusters.Config, clients ...*memory.Client) *clusters.Registry {
	t.Helper()
	for n, c := range clients {
		name := []string{"east", "west", "north"}[n]
		cfg.Members = append(cfg.Members, clusters.Member{Name: name, Discoverer: c, Mapping: c, Metadata: c, Registrar: c, Priority: n})
	}
	r, err := clusters.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

var addresses atomic.Uint32

// A registry of two clusters, one of which has nothing, is a registry like any other.
func TestConformance(t *testing.T) {
	registrytest.Run(t, newBackend, registrytest.Options{NoDisturb: true})
}

// And so is that of a single cluster, of which nothing has to be chosen.
func TestConformanceOfOne(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) *registrytest.Backend { return newBackendOf(t, false) }, registrytest.Options{NoDisturb: true})
}

func newBackend(t *testing.T) *registrytest.Backend { return newBackendOf(t, true) }

func newBackendOf(t *testing.T, two bool) *registrytest.Backend {
	world, other := memory.New(), memory.New()
	id := func(name string) string { return "uid-" + name }
	join := func(t *testing.T, cfg memory.Config) (*memory.Client, *clusters.Registry) {
		home, away := world.Join(cfg), other.Join(memory.Config{})
		t.Cleanup(home.Close)
		t.Cleanup(away.Close)
		if !two {
			r, err := clusters.New(clusters.Config{Members: []clusters.Member{{Discoverer: home, Mapping: home, Metadata: home, Registrar: home}}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Close)
			return home, r
		}
		return home, of(t, clusters.Config{}, home, away)
	}
	process := func(t *testing.T, instance string) (*memory.Client, *clusters.Registry) {
		return join(t, memory.Config{ID: id(instance), Name: instance, Strict: true})
	}
	return &registrytest.Backend{
		Namespace: "shop",
		Open: func(t *testing.T) registrytest.Client {
			_, r := join(t, memory.Config{})
			return r
		},
		Process: func(t *testing.T, _ registry.App, instance string) registrytest.Client {
			_, r := process(t, instance)
			return r
		},
		Offline: func(t *testing.T) registrytest.Client {
			_, r := join(t, memory.Config{Offline: true})
			return r
		},
		Refused: func(t *testing.T, _ registry.App, instance string) registrytest.Client {
			c, r := process(t, instance)
			c.Refuse(errors.New("no right to look"))
			return r
		},
		Cut: func(t *testing.T) (registrytest.Client, func(), func()) {
			c, r := join(t, memory.Config{})
			return r, c.Cut, c.Restore
		},
		PutService: func(_ *testing.T, app registry.App, port uint16) {
			world.PutService(app, registry.Service{Ports: []registry.ServicePort{{Name: "main", Port: port, Target: port}}})
		},
		SetMode: func(_ *testing.T, app registry.App, mode registry.Mode) { world.SetMode(app, mode) },
		PutInstance: func(_ *testing.T, app registry.App, name string) string {
			world.PutInstance(app, registry.Instance{ID: id(name), Name: name, Host: memory.Address(addresses.Add(1))})
			return id(name)
		},
		SetReady: func(_ *testing.T, app registry.App, name string, ready bool) {
			world.SetHealth(app, id(name), health(ready))
		},
		RemoveInstance: func(_ *testing.T, app registry.App, name string) { world.RemoveInstance(app, id(name)) },
		Forget:         func(_ *testing.T, app registry.App, name string) { world.Forget(app, id(name)) },
	}
}

func health(ready bool) registry.Health {
	if ready {
		return registry.Ready
	}
	return registry.NotReady
}

// put adds instances "east-0", "east-1", … to a world.
func put(world *memory.Registry, cluster string, count int) {
	world.PutService(inventory, registry.Service{Ports: []registry.ServicePort{{Port: 80, Target: 8080}}})
	for n := range count {
		world.PutInstance(inventory, registry.Instance{ID: fmt.Sprintf("%s-%d", cluster, n), Host: memory.Address(addresses.Add(1))})
	}
}

// follower keeps what a subscription was told last.
type follower struct {
	mu   sync.Mutex
	last registry.Snapshot
	told int
}

func follow(t *testing.T, r *clusters.Registry) *follower {
	t.Helper()
	f := &follower{}
	stop, err := r.Subscribe(inventory, func(s registry.Snapshot) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.last = s
		f.told++
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return f
}

// called is which instances are called, once the bubble is at rest.
func (f *follower) called() string {
	synctest.Wait()
	return f.now()
}

func (f *follower) now() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return names(&f.last)
}

func names(s *registry.Snapshot) string {
	var out []string
	for _, i := range s.Callable() {
		out = append(out, i.ID)
	}
	return strings.Join(out, " ")
}

func (f *follower) want(t *testing.T, r *clusters.Registry, what, want string) {
	t.Helper()
	if got := f.called(); got != want {
		t.Errorf("%s: %q is called, want %q", what, got, want)
	}
	s, err := r.Snapshot(t.Context(), inventory)
	if err != nil || names(&s) != want {
		t.Errorf("%s: asked, it says %q, %v", what, names(&s), err)
	}
}

func TestFailoverAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, west := memory.New(), memory.New()
		put(east, "east", 2)
		put(west, "west", 1)
		home, away := east.Join(memory.Config{}), west.Join(memory.Config{})
		defer home.Close()
		defer away.Close()
		r := of(t, clusters.Config{ReturnAfter: 30 * time.Second, ProbeEvery: -1}, home, away)
		f := follow(t, r)
		f.want(t, r, "at first", "east-0 east-1")
		east.SetHealth(inventory, "east-0", registry.NotReady)
		f.want(t, r, "with one of two", "east-1")
		east.SetHealth(inventory, "east-1", registry.NotReady)
		f.want(t, r, "with none", "west-0")
		east.SetHealth(inventory, "east-0", registry.Ready)
		f.want(t, r, "with one again", "east-0 west-0")
		time.Sleep(29 * time.Second) //nolint:forbidigo // it is the time of the bubble
		f.want(t, r, "for a while", "east-0 west-0")
		time.Sleep(time.Second) //nolint:forbidigo // it is the time of the bubble
		f.want(t, r, "when it has lasted", "east-0")
		// A cluster that is scaled to nothing is left, too.
		east.RemoveInstance(inventory, "east-0")
		east.RemoveInstance(inventory, "east-1")
		f.want(t, r, "with no instance at all", "west-0")
		// And the other cluster's end is no end.
		east.PutInstance(inventory, registry.Instance{ID: "east-2", Host: memory.Address(1)})
		west.RemoveInstance(inventory, "west-0")
		f.want(t, r, "with the other gone before the return", "east-2")
	})
}

// What a cluster says to be gone is not called any more, though another has never
// spoken; that there is none is not said either.
func TestGoneIsNotCalledWhileAnotherIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, west := memory.New(), memory.New()
		put(east, "east", 1)
		put(west, "west", 1)
		home, away := east.Join(memory.Config{}), west.Join(memory.Config{Offline: true})
		defer home.Close()
		defer away.Close()
		r := of(t, clusters.Config{ProbeEvery: -1}, home, away)
		f := follow(t, r)
		time.Sleep(2 * time.Second) //nolint:forbidigo // it is the time of the bubble
		f.want(t, r, "at first", "east-0")
		east.RemoveInstance(inventory, "east-0")
		f.want(t, r, "with east's gone", "")
		if len(f.last.Instances) != 1 || f.last.Instances[0].Health != registry.Terminating {
			t.Errorf("it is said that there is none: %+v", f.last)
		}
		away.Restore()
		f.want(t, r, "when west speaks", "west-0")
	})
}

// Close ends what follows one cluster alone, too.
func TestCloseEndsAll(t *testing.T) {
	east := memory.New()
	put(east, "east", 1)
	home := east.Join(memory.Config{})
	defer home.Close()
	r := of(t, clusters.Config{}, home)
	app := inventory
	app.Cluster = "east"
	told := make(chan registry.Snapshot, 10)
	stop, err := r.Subscribe(app, func(s registry.Snapshot) { told <- s })
	if err != nil {
		t.Fatal(err)
	}
	<-told
	r.Close()
	put(east, "more", 1)
	// Who follows the cluster itself hears of it; then the other would have, too.
	heard := make(chan struct{})
	end, err := home.Subscribe(inventory, func(s registry.Snapshot) {
		if len(s.Instances) == 2 {
			close(heard)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	<-heard
	end()
	stop()
	if len(told) != 0 {
		t.Errorf("it was told %+v after its end", <-told)
	}
	if _, err := r.Subscribe(app, func(registry.Snapshot) {}); registry.CodeOf(err) != registry.Unavailable {
		t.Errorf("it can be followed after the end: %v", err)
	}
}

// watched notes which applications somebody follows.
type watched struct {
	*memory.Client
	mu   sync.Mutex
	apps []registry.App
}

func (w *watched) Subscribe(app registry.App, notify func(registry.Snapshot)) (func(), error) {
	w.mu.Lock()
	w.apps = append(w.apps, app)
	w.mu.Unlock()
	return w.Client.Subscribe(app, notify)
}

// Where zones do not matter, the process does not look for its own: it may have no
// right to look there.
func TestNobodyLooksForAZoneThatDoesNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := memory.New()
		put(east, "east", 1)
		home := &watched{Client: east.Join(memory.Config{})}
		defer home.Close()
		r, err := clusters.New(clusters.Config{
			Members: []clusters.Member{{Discoverer: home}}, Self: registry.App{Namespace: "weir-system", Name: "gateway"}, Instance: "me",
		})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		f := follow(t, r)
		f.want(t, r, "at first", "east-0")
		if !slices.Equal(home.apps, []registry.App{inventory}) {
			t.Errorf("it follows %v", home.apps)
		}
	})
}

// The zone is that of this very process, as its cluster knows it.
func TestOwnZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east := memory.New()
		put(east, "east", 0)
		for n, zone := range []string{"a", "b"} {
			east.PutInstance(inventory, registry.Instance{ID: fmt.Sprint("east-", n), Zone: zone, Host: memory.Address(uint32(n))})
		}
		home := east.Join(memory.Config{})
		defer home.Close()
		orders := registry.App{Namespace: "shop", Name: "orders"}
		r := of(t, clusters.Config{ZonePercent: 50, Self: orders, Instance: "me"}, home)
		f := follow(t, r)
		f.want(t, r, "before it is known", "east-0 east-1")
		east.PutInstance(orders, registry.Instance{ID: "me", Zone: "b", Host: memory.Address(9)})
		f.want(t, r, "in zone b", "east-1")
		east.SetHealth(inventory, "east-1", registry.NotReady)
		f.want(t, r, "where zone b has none", "east-0")
	})
}

func TestMappingsAndDocumentsOfAllClusters(t *testing.T) {
	east, west := memory.New(), memory.New()
	home, away := east.Join(memory.Config{}), west.Join(memory.Config{})
	defer home.Close()
	defer away.Close()
	r := of(t, clusters.Config{}, home, away)
	ctx := t.Context()
	stock, pricing := registry.Interface{Name: "org.example.Stock"}, registry.App{Namespace: "shop", Name: "pricing"}
	heard := make(chan []registry.App, 10)
	stop, err := r.SubscribeInterface(stock, func(apps []registry.App) { heard <- apps })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	next := func(want ...registry.App) {
		t.Helper()
		for got := range heard {
			if slices.Equal(got, want) {
				return
			}
		}
	}
	next()
	for c, app := range map[registry.Mapping]registry.App{home: inventory, away: pricing} {
		if err := c.MapInterface(ctx, stock, app); err != nil {
			t.Fatal(err)
		}
	}
	next(inventory, pricing)
	if apps, err := r.InterfaceApps(ctx, stock); err != nil || len(apps) != 2 {
		t.Errorf("%v, %v", apps, err)
	}
	if err := away.PutMetadata(ctx, pricing, "5f1c", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Metadata(ctx, pricing, "5f1c"); err != nil || string(got) != "{}" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := r.Metadata(ctx, pricing, "none"); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("%v", err)
	}
	pricing.Cluster = "west"
	if found, err := r.Revisions(ctx, pricing); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	pricing.Cluster = "south"
	if _, err := r.Metadata(ctx, pricing, "5f1c"); registry.CodeOf(err) != registry.Invalid || !strings.Contains(err.Error(), "name one of east, west") {
		t.Errorf("%v", err)
	}
	// That one has no such document says little while the other cannot be asked.
	away.Refuse(errors.New("no right to look"))
	if _, err := r.Metadata(ctx, registry.App{Namespace: "shop", Name: "pricing"}, "none"); registry.CodeOf(err) != registry.Forbidden {
		t.Errorf("%v", err)
	}
}

// An application with a cluster is that of the cluster alone.
func TestOneClusterAlone(t *testing.T) {
	east, west := memory.New(), memory.New()
	put(east, "east", 1)
	put(west, "west", 1)
	home, away := east.Join(memory.Config{}), west.Join(memory.Config{})
	defer home.Close()
	defer away.Close()
	r := of(t, clusters.Config{}, home, away)
	app := inventory
	app.Cluster = "west"
	s, err := r.Snapshot(t.Context(), app)
	if err != nil || names(&s) != "west-0" || s.Instances[0].Cluster != "west" || s.App != app {
		t.Errorf("%+v, %v", s, err)
	}
	told := make(chan registry.Snapshot, 1)
	stop, err := r.Subscribe(app, func(s registry.Snapshot) { told <- s })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if s := <-told; names(&s) != "west-0" {
		t.Errorf("%+v", s)
	}
	if apps, err := r.Apps(t.Context(), "shop"); err != nil || !slices.Equal(apps, []registry.App{inventory}) {
		t.Errorf("%v, %v", apps, err)
	}
}

func TestNewRefuses(t *testing.T) {
	c := memory.New().Join(memory.Config{})
	defer c.Close()
	for want, cfg := range map[string]clusters.Config{
		"no cluster is named":                 {},
		`cluster "east" has no Discoverer`:    {Members: []clusters.Member{{Name: "east"}}},
		"one of 2 clusters has no name":       {Members: []clusters.Member{{Name: "east", Discoverer: c}, {Discoverer: c}}},
		`two clusters are called "east"`:      {Members: []clusters.Member{{Name: "east", Discoverer: c}, {Name: "east", Discoverer: c}}},
		"ZonePercent is 101, which is not":    {Members: []clusters.Member{{Discoverer: c}}, ZonePercent: 101},
		"ClusterPercent is -1, which is not ": {Members: []clusters.Member{{Discoverer: c}}, ClusterPercent: -1},
	} {
		if _, err := clusters.New(cfg); registry.CodeOf(err) != registry.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
