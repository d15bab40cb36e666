package memory_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/registry/registrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	registrytest.Run(t, newBackend, registrytest.Options{NoDisturb: true})
}

var addresses atomic.Uint32

func newBackend(t *testing.T) *registrytest.Backend {
	world := memory.New()
	id := func(name string) string { return "uid-" + name }
	join := func(t *testing.T, cfg memory.Config) *memory.Client {
		c := world.Join(cfg)
		t.Cleanup(c.Close)
		return c
	}
	process := func(t *testing.T, app registry.App, instance string) *memory.Client {
		return join(t, memory.Config{ID: id(instance), Name: instance, Strict: true})
	}
	return &registrytest.Backend{
		Namespace: "shop",
		Open:      func(t *testing.T) registrytest.Client { return join(t, memory.Config{}) },
		Process: func(t *testing.T, app registry.App, instance string) registrytest.Client {
			return process(t, app, instance)
		},
		Offline: func(t *testing.T) registrytest.Client { return join(t, memory.Config{Offline: true}) },
		Refused: func(t *testing.T, app registry.App, instance string) registrytest.Client {
			c := process(t, app, instance)
			c.Refuse(errors.New("no right to look"))
			return c
		},
		Cut: func(t *testing.T) (registrytest.Client, func(), func()) {
			c := join(t, memory.Config{})
			return c, c.Cut, c.Restore
		},
		PutService: func(t *testing.T, app registry.App, port uint16) {
			world.PutService(app, registry.Service{Ports: []registry.ServicePort{{Name: "main", Port: port, Target: port}}})
		},
		SetMode: func(t *testing.T, app registry.App, mode registry.Mode) { world.SetMode(app, mode) },
		PutInstance: func(t *testing.T, app registry.App, name string) string {
			n := addresses.Add(1)
			world.PutInstance(app, registry.Instance{ID: id(name), Name: name, Host: memory.Address(n)})
			return id(name)
		},
		SetReady: func(t *testing.T, app registry.App, name string, ready bool) {
			health := registry.NotReady
			if ready {
				health = registry.Ready
			}
			world.SetHealth(app, id(name), health)
		},
		RemoveInstance: func(t *testing.T, app registry.App, name string) { world.RemoveInstance(app, id(name)) },
		Forget:         func(t *testing.T, app registry.App, name string) { world.Forget(app, id(name)) },
	}
}

func TestRegisterWithoutADriver(t *testing.T) {
	world := memory.New()
	c := world.Join(memory.Config{})
	defer c.Close()
	app := registry.App{Namespace: "shop", Name: "inventory"}
	if err := c.Register(t.Context(), registry.Registration{App: app}); err != nil {
		t.Fatal(err)
	}
	s, err := c.Snapshot(t.Context(), app)
	if err != nil || len(s.Callable()) != 1 {
		t.Fatalf("%+v, %v: want the instance that Register made", s, err)
	}
	if err := c.Unregister(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if s, err = c.Snapshot(t.Context(), app); err != nil || len(s.Instances) != 0 {
		t.Fatalf("%+v, %v: want what Register made to be gone", s, err)
	}
}

func TestAClosedClientSaysSo(t *testing.T) {
	c := memory.New().Join(memory.Config{})
	c.Close()
	c.Close()
	app := registry.App{Namespace: "shop", Name: "inventory"}
	_, subscribeErr := c.Subscribe(app, func(registry.Snapshot) {})
	_, snapshotErr := c.Snapshot(t.Context(), app)
	for what, err := range map[string]error{
		"Subscribe": subscribeErr, "Snapshot": snapshotErr,
		"Register": c.Register(t.Context(), registry.Registration{App: app}),
	} {
		if registry.CodeOf(err) != registry.Unavailable {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func BenchmarkChangeToSubscriber(b *testing.B) {
	for _, count := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("instances=%d", count), func(b *testing.B) {
			world := memory.New()
			app := registry.App{Namespace: "shop", Name: "inventory"}
			for i := range count {
				world.PutInstance(app, registry.Instance{ID: fmt.Sprint(i), Host: memory.Address(uint32(i))})
			}
			c := world.Join(memory.Config{})
			defer c.Close()
			got := make(chan struct{})
			stop, err := c.Subscribe(app, func(registry.Snapshot) { got <- struct{}{} })
			if err != nil {
				b.Fatal(err)
			}
			defer stop()
			<-got
			b.ReportAllocs()
			for i := range b.N {
				health := registry.Ready
				if i%2 == 0 {
					health = registry.NotReady
				}
				world.SetHealth(app, "0", health)
				<-got
			}
		})
	}
}
