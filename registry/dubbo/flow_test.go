package dubbo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"

	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

const (
	hessian = "org.example.Hessian"
	triple  = "org.example.Triple"
)

// providerOf returns the configuration of a process that offers one interface over
// each protocol.
func providerOf(b *bridge, id string, ports []int) processConfig {
	return processConfig{
		Bridge: b.url, ID: id, App: "greeter",
		Servers: []serverConfig{
			{Protocol: constant.DubboProtocol, Port: ports[0], Services: []serviceConfig{{Interface: hessian}}},
			{Protocol: constant.TriProtocol, Port: ports[1], Services: []serviceConfig{{Interface: triple}}},
		},
	}
}

// answers waits until the connection is answered by want.
func answers(t *testing.T, conn *client.Connection, want string) {
	t.Helper()
	var last error
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := greet(conn)
		if err == nil && strings.HasPrefix(got, want+" greets") {
			return
		}
		last = errors.Join(err, fmt.Errorf("answer %q", got))
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no answer from %s: %v", want, last)
		}
	}
}

// instances returns the registered instances by id.
func instances(t testing.TB, c *memory.Client, name string) map[string]registry.Instance {
	t.Helper()
	s, err := c.Snapshot(t.Context(), app(name))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]registry.Instance{}
	for _, i := range s.Instances {
		out[i.ID] = i
	}
	return out
}

// A consumer finds a provider and calls it, over both protocols, several
// interfaces, groups and versions; the provider registered once.
func TestCall(t *testing.T) {
	world := memory.New()
	b := newBridge(t, world, false)
	ports := testprocess.FreePorts(t, 2)
	cfg := providerOf(b, "p1", ports)
	cfg.Servers[1].Services = append(cfg.Servers[1].Services, serviceConfig{Interface: triple, Group: "g", Version: "2.0.0"})
	start(t, cfg)
	backend, c := memoryBackend(t, world)
	consumer := newConsumer(t, backend, false)
	answers(t, consumer.refer(hessian, constant.DubboProtocol), "p1")
	answers(t, consumer.refer(triple, constant.TriProtocol), "p1")
	answers(t, consumer.refer(triple, constant.TriProtocol, client.WithGroup("g"), client.WithVersion("2.0.0")), "p1")
	answers(t, consumer.refer(hessian, constant.DubboProtocol, client.WithProvidedBy("greeter")), "p1")

	i := instances(t, c, "greeter")["p1"]
	want := fmt.Sprintf(`{"version":"1.0.0","dubbo":"2.0.2","release":%q,"side":"provider","port":"%d","protocol":"tri"}`, release, ports[1])
	if got := i.Metadata[constant.MetadataServiceURLParamsPropertyName]; got != want {
		t.Errorf("the metadata service is at %s, want %s", got, want)
	}
	if i.Metadata["dubbo.metadata.storage-type"] != "local" || i.Metadata["registry.id"] != "" || len(i.Endpoints) != 2 {
		t.Errorf("the instance says %v", i.Metadata)
	}
	revisions, err := c.Revisions(t.Context(), app("greeter"))
	if err != nil || len(revisions) != 1 || revisions[0].Revision != i.Revision {
		t.Errorf("stored revisions are %v, %v; the instance has %s", revisions, err, i.Revision)
	}
}

// Where the store has no document, as with Dubbo Java, the instance is asked:
// over each protocol its metadata service may speak, dubbo-go's own included.
func TestMetadataByCall(t *testing.T) {
	for name, tc := range map[string]struct {
		servers int // 0: dubbo, 1: tri
		own     bool
		version string
	}{
		"dubbo":      {0, false, "1.0.0"},
		"tri":        {1, false, "2.0.0"},
		"dubbo-go's": {0, true, "1.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			world := memory.New()
			b := newBridge(t, world, false)
			cfg := providerOf(b, "p1", testprocess.FreePorts(t, 2))
			cfg.Servers = cfg.Servers[tc.servers : tc.servers+1]
			if tc.own {
				cfg.MetadataPort = testprocess.FreePorts(t, 1)[0]
			}
			start(t, cfg)
			backend, c := memoryBackend(t, world)
			eventually(t, "the provider is registered", func() bool { return instances(t, c, "greeter")["p1"].Revision != "" })
			i := instances(t, c, "greeter")["p1"]
			if got := i.Metadata[constant.MetadataVersion]; got != tc.version {
				t.Errorf("meta-v is %q, want %q: %v", got, tc.version, i.Metadata)
			}
			eventually(t, "the document is stored", func() bool {
				_, err := c.Metadata(t.Context(), app("greeter"), i.Revision)
				return err == nil
			})
			if err := c.DeleteMetadata(t.Context(), app("greeter"), i.Revision); err != nil {
				t.Fatal(err)
			}
			consumer := newConsumer(t, backend, false)
			s := cfg.Servers[0]
			answers(t, consumer.refer(s.Services[0].Interface, s.Protocol), "p1")

			// A consumer of the first shape over Triple, as Java before 3.3 is one.
			if s.Protocol == constant.TriProtocol {
				i.Metadata = mapWith(i.Metadata, constant.MetadataVersion, constant.MetadataServiceV1Version)
				if _, err := askInstance(t.Context(), app("greeter"), i.Revision, &i); err != nil {
					t.Errorf("ask in the first shape: %v", err)
				}
			}
			if _, err := askInstance(t.Context(), app("greeter"), "another", &i); err == nil {
				t.Error("an unknown revision has a document")
			}
		})
	}
}

func mapWith(m map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// caller calls without pause until it is stopped, and keeps what failed.
type caller struct {
	stop   context.CancelFunc
	done   sync.WaitGroup
	calls  atomic.Int64
	unsent atomic.Int64
	mu     sync.Mutex
	errs   []error
	served map[string]int
}

func call(conn *client.Connection, workers int) *caller { return keepCalling(conn, workers, false) }

// callAgain is call, but what was not sent is called once more.
func callAgain(conn *client.Connection, workers int) *caller { return keepCalling(conn, workers, true) }

func keepCalling(conn *client.Connection, workers int, repeat bool) *caller {
	ctx, cancel := context.WithCancel(context.Background())
	c := &caller{stop: cancel, served: map[string]int{}}
	for range workers {
		c.done.Go(func() {
			for ctx.Err() == nil {
				var out string
				err := conn.CallUnary(context.Background(), []any{int64(20)}, &out, "Slow")
				if repeat && unsent(err) {
					c.unsent.Add(1)
					err = conn.CallUnary(context.Background(), []any{int64(20)}, &out, "Slow")
				}
				c.calls.Add(1)
				c.mu.Lock()
				if err != nil {
					c.errs = append(c.errs, err)
				}
				c.served[out]++
				c.mu.Unlock()
			}
		})
	}
	return c
}

// unsent reports whether dubbo-go had chosen where to send a call just before it
// heard that this one ends. Nothing was sent then, and its own clusters repeat such
// a call, unless they are told to repeat none.
func unsent(err error) bool {
	return err != nil && (strings.Contains(err.Error(), base.ErrDestroyedInvoker.Error()) || err.Error() == "provider is closing")
}

func (c *caller) by(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served[id]
}

func (c *caller) end(t *testing.T, what string) {
	t.Helper()
	c.stop()
	c.done.Wait()
	if len(c.errs) > 0 {
		t.Errorf("%s: %d of %d calls failed, the first: %v", what, len(c.errs), c.calls.Load(), c.errs[0])
	}
}

// A rolling restart fails no call, without a retry to cover for it.
func TestRollingRestart(t *testing.T) {
	for _, discovery := range []bool{false, true} {
		t.Run(fmt.Sprintf("discovery=%v", discovery), func(t *testing.T) {
			world := memory.New()
			b := newBridge(t, world, false)
			backend, c := memoryBackend(t, world)
			begin := func(id string) *testprocess.Process {
				cfg := providerOf(b, id, testprocess.FreePorts(t, 2))
				cfg.Discovery = discovery
				p := start(t, cfg)
				eventually(t, id+" is registered", func() bool { i := instances(t, c, "greeter")[id]; return i.ID == id && i.Callable() })
				return p
			}
			old := []*testprocess.Process{begin("a1"), begin("a2")}
			consumer := newConsumer(t, backend, discovery)
			opts := []client.ReferenceOption{client.WithRetries(0), client.WithClusterFailFast(), client.WithLoadBalanceRoundRobin(), client.WithParam(constant.WarmupKey, "1")}
			dubboConn, triConn := consumer.refer(hessian, constant.DubboProtocol, opts...), consumer.refer(triple, constant.TriProtocol, opts...)
			for _, id := range []string{"a1", "a2"} {
				answers(t, dubboConn, id)
				answers(t, triConn, id)
			}
			overDubbo, overTri := call(dubboConn, 4), call(triConn, 4)
			for n, p := range old {
				id := fmt.Sprintf("b%d", n+1)
				begin(id)
				eventually(t, id+" is called", func() bool { return overDubbo.by(id) > 0 && overTri.by(id) > 0 })
				p.Stop(t)
				world.RemoveInstance(app("greeter"), p.Name())
			}
			overDubbo.end(t, "dubbo")
			overTri.end(t, "tri")
		})
	}
}

// A call under way when its instance drains comes back, although dubbo-go drops
// the connection with the list.
func TestCallUnderWay(t *testing.T) {
	world := memory.New()
	b := newBridge(t, world, false)
	backend, c := memoryBackend(t, world)
	p1 := start(t, providerOf(b, "p1", testprocess.FreePorts(t, 2)))
	consumer := newConsumer(t, backend, false)
	conns := map[string]*client.Connection{
		"dubbo": consumer.refer(hessian, constant.DubboProtocol, client.WithRetries(0)),
		"tri":   consumer.refer(triple, constant.TriProtocol, client.WithRetries(0)),
	}
	var calls sync.WaitGroup
	for name, conn := range conns {
		answers(t, conn, "p1")
		calls.Go(func() {
			var out string
			if err := conn.CallUnary(context.Background(), []any{int64(1500)}, &out, "Slow"); err != nil {
				t.Errorf("the call over %s was lost: %v", name, err)
			}
		})
	}
	eventually(t, "both are under way", func() bool { return strings.Count(p1.Output(), slowCalls) == len(conns) })
	i := instances(t, c, "greeter")["p1"]
	i.Details.State = registry.Draining
	world.PutInstance(app("greeter"), i)
	for name, conn := range conns {
		eventually(t, "no new call over "+name, func() bool { _, err := greet(conn); return err != nil })
	}
	calls.Wait()
}

// A killed provider costs the calls it had, and no more once it is off the list.
func TestKilledProvider(t *testing.T) {
	world := memory.New()
	b := newBridge(t, world, false)
	backend, _ := memoryBackend(t, world)
	p1 := start(t, providerOf(b, "p1", testprocess.FreePorts(t, 2)))
	start(t, providerOf(b, "p2", testprocess.FreePorts(t, 2)))
	consumer := newConsumer(t, backend, false)
	conn := consumer.refer(triple, constant.TriProtocol, client.WithLoadBalanceRoundRobin())
	answers(t, conn, "p1")
	answers(t, conn, "p2")
	p1.Kill()
	world.SetHealth(app("greeter"), "p1", registry.NotReady)
	eventually(t, "only p2 is listed", func() bool {
		return strings.Count(consumer.log.String(), "providers found") > 0 && listed(consumer.binding) == 1
	})
	c := call(conn, 4)
	eventually(t, "p2 serves", func() bool { return c.by("p2") > 20 })
	c.end(t, "tri")
}

// listed returns how many instances the followed applications have to call.
func listed(b *Binding) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, w := range b.watches {
		n += len(w.view().snapshot.Callable())
	}
	return n
}

// An application registered in two registries is found in both.
func TestTwoRegistries(t *testing.T) {
	east, west := memory.New(), memory.New()
	a, b := newBridge(t, east, false), newBridge(t, west, false)
	cfg := providerOf(a, "p1", testprocess.FreePorts(t, 2))
	cfg.Second = b.url
	start(t, cfg)
	eastBackend, eastClient := memoryBackend(t, east)
	westBackend, westClient := memoryBackend(t, west)
	answers(t, newConsumer(t, eastBackend, false).refer(triple, constant.TriProtocol), "p1")
	eventually(t, "it is registered in the second too", func() bool { return instances(t, westClient, "greeter")["p1"].Revision != "" })
	one, other := instances(t, eastClient, "greeter")["p1"], instances(t, westClient, "greeter")["p1"]
	if one.Revision != other.Revision || len(one.Endpoints) != 2 || !slices.Equal(one.Endpoints, other.Endpoints) {
		t.Errorf("the registries disagree: %v and %v", one, other)
	}

	// And one consumer may use both: the second takes over when the first is empty.
	first, err := Use("first", eastBackend, Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Close)
	second, err := Use("other", westBackend, Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	ins, err := dubbogo.NewInstance(dubbogo.WithName("both"), dubbogo.WithLogger(dubbologger.WithLevel("error")),
		dubbogo.WithRegistry(first.Options()...), dubbogo.WithRegistry(second.Options()...),
		dubbogo.WithShutdown(graceful_shutdown.WithoutInternalSignal()))
	if err != nil {
		t.Fatal(err)
	}
	cli, err := ins.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := cli.Dial(triple, append([]client.ReferenceOption{client.WithProtocolTriple()}, withoutStubs...)...)
	if err != nil {
		t.Fatal(err)
	}
	answers(t, conn, "p1")
	east.RemoveInstance(app("greeter"), "p1")
	answers(t, conn, "p1")
}

// What a provider cannot put right is what its Serve returns, in the words of
// the registry, and the process ends with it.
func TestProviderIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		app  string
		prep func(b *bridge, world *memory.Registry)
		want string
	}{
		"no Service": {
			app:  "greeter",
			prep: func(*bridge, *memory.Registry) {},
			want: "no Service",
		},
		"no permission": {
			app: "greeter",
			prep: func(b *bridge, world *memory.Registry) {
				world.PutService(app("greeter"), registry.Service{})
				b.client("p1", "").Refuse(errors.New("bind ClusterRole weir-provider to ServiceAccount shop/greeter"))
			},
			want: "bind ClusterRole weir-provider to ServiceAccount shop/greeter",
		},
		"bad name": {
			app:  "Greeter_App",
			prep: func(*bridge, *memory.Registry) {},
			want: "set dubbo.WithName to the name of its Kubernetes Service",
		},
	} {
		t.Run(name, func(t *testing.T) {
			world := memory.New()
			b := newBridge(t, world, true)
			tc.prep(b, world)
			cfg := providerOf(b, "p1", testprocess.FreePorts(t, 2))
			cfg.App = tc.app
			p := start(t, cfg)
			select {
			case <-p.Done():
			case <-time.After(deadline):
				t.Fatal("the process does not end")
			}
			if p.Err() == nil {
				t.Error("the process ended as if all were well")
			}
			_, sentence, ok := strings.Cut(p.Output(), "serve: ")
			if !ok || !strings.Contains(sentence, tc.want) {
				t.Errorf("Serve returned %q, want %q in it\n%s", sentence, tc.want, p.Output())
			}
		})
	}
}

// While the registry is away a provider waits and says so; it registers when the
// registry is back, and a stop meanwhile is obeyed.
func TestProviderWaitsForRegistry(t *testing.T) {
	world := memory.New()
	b := newBridge(t, world, false)
	b.client("p1", "").Cut()
	b.client("p2", "").Cut()
	p1, p2 := start(t, providerOf(b, "p1", testprocess.FreePorts(t, 2))), start(t, providerOf(b, "p2", testprocess.FreePorts(t, 2)))
	for _, p := range []*testprocess.Process{p1, p2} {
		eventually(t, "the provider says that it waits", func() bool {
			return strings.Contains(p.Output(), "the registry does not take this instance yet; it is not ready until it does")
		})
	}
	p2.Terminate()
	select {
	case <-p2.Done():
	case <-time.After(deadline):
		t.Error("a provider that waits for the registry cannot be stopped")
	}
	b.client("p1", "").Restore()
	backend, c := memoryBackend(t, world)
	answers(t, newConsumer(t, backend, false).refer(triple, constant.TriProtocol), "p1")
	if i := instances(t, c, "greeter")["p2"]; i.Revision != "" {
		t.Error("the stopped provider is registered")
	}
}

// Shutdown says draining first and withdraws at the end.
func TestShutdownDrains(t *testing.T) {
	world := memory.New()
	b := newBridge(t, world, false)
	p := start(t, providerOf(b, "p1", testprocess.FreePorts(t, 2)))
	_, c := memoryBackend(t, world)
	var mu sync.Mutex
	var states []string
	stop, err := c.Subscribe(app("greeter"), func(s registry.Snapshot) {
		mu.Lock()
		defer mu.Unlock()
		state := "gone"
		if len(s.Instances) > 0 && s.Instances[0].Problem == "" {
			state = string(s.Instances[0].Details.State)
		}
		states = append(states, state)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	seen := func(what string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Contains(states, what)
		}
	}
	eventually(t, "up", seen("up"))
	eventually(t, "the provider serves", func() bool { return strings.Contains(p.Output(), "msg=registered") })
	p.Stop(t)
	if !seen("draining")() {
		t.Errorf("the instance went through %v", states)
	}
	eventually(t, "withdrawn", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return states[len(states)-1] == "gone"
	})
}

// The weights of instances reach dubbo-go's load balancer while it runs.
func TestWeightReachesCalls(t *testing.T) {
	world := memory.New()
	b := newBridge(t, world, false)
	for _, id := range []string{"p1", "p2"} {
		start(t, providerOf(b, id, testprocess.FreePorts(t, 2)))
	}
	backend, c := memoryBackend(t, world)
	consumer := newConsumer(t, backend, false)
	conn := consumer.refer(hessian, constant.DubboProtocol, client.WithLoadBalanceRoundRobin(), client.WithParam(constant.WarmupKey, "1"))
	answers(t, conn, "p1")
	answers(t, conn, "p2")
	i := instances(t, c, "greeter")["p1"]
	i.Details.Weight = 900
	i.Details.Started = time.Now().Add(-time.Hour)
	world.PutInstance(app("greeter"), i)
	eventually(t, "nine calls of ten go to p1", func() bool {
		n := 0
		for range 100 {
			if got, err := greet(conn); err == nil && strings.HasPrefix(got, "p1") {
				n++
			}
		}
		return n >= 85
	})
}

// Configurations that name dubbo-go's own service discovery work as well.
func TestServiceDiscovery(t *testing.T) {
	world := memory.New()
	b := newBridge(t, world, false)
	cfg := providerOf(b, "p1", testprocess.FreePorts(t, 2))
	cfg.Discovery, cfg.MetadataPort = true, testprocess.FreePorts(t, 1)[0]
	start(t, cfg)
	backend, c := memoryBackend(t, world)
	// dubbo-go attaches mapping listeners to one metadata report per process, and
	// the tests before this one left theirs.
	for _, iface := range []string{hessian, triple} {
		eventually(t, iface+" is mapped", func() bool {
			apps, err := c.InterfaceApps(t.Context(), registry.Interface{Name: iface})
			return err == nil && len(apps) == 1 && instances(t, c, "greeter")["p1"].Revision != ""
		})
	}
	consumer := newConsumer(t, backend, true)
	answers(t, consumer.refer(hessian, constant.DubboProtocol), "p1")
	answers(t, consumer.refer(triple, constant.TriProtocol), "p1")
	revisions, err := c.Revisions(t.Context(), app("greeter"))
	if err != nil || len(revisions) != 1 {
		t.Errorf("stored revisions are %v, %v", revisions, err)
	}
	i := instances(t, c, "greeter")["p1"]
	if i.Metadata["registry.id"] != "" || i.Metadata["dubbo.metadata.storage-type"] != "local" {
		t.Errorf("the instance says %v", i.Metadata)
	}
	// Its own metadata service answers for the revision that is published.
	if _, err := askInstance(t.Context(), app("greeter"), i.Revision, &i); err != nil {
		t.Error(err)
	}
}
