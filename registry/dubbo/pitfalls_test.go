package dubbo

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"

	gxset "github.com/dubbogo/gost/container/set"
	"github.com/dubbogo/gost/gof/observer"

	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// dubbo-go subscribes in a goroutine of its own and hands out the reference; the
// first call of each is answered all the same, without a retry to cover for it.
func TestTheFirstCallIsAnswered(t *testing.T) {
	world := memory.New()
	cfg := providerOf(newBridge(t, world, false), "p1", testprocess.FreePorts(t, 2))
	start(t, cfg)
	backend, c := memoryBackend(t, world)
	for _, iface := range []string{hessian, triple} {
		eventually(t, iface+" is mapped", func() bool {
			apps, err := c.InterfaceApps(t.Context(), registry.Interface{Name: iface})
			return err == nil && len(apps) == 1
		})
	}
	for n := range 10 {
		fresh := newConsumerNamed(t, backend, n)
		fresh.binding.cfg.SyncTimeout = deadline
		for iface, protocol := range map[string]string{hessian: constant.DubboProtocol, triple: constant.TriProtocol} {
			if _, err := greet(fresh.refer(iface, protocol, client.WithRetries(0), client.WithClusterFailFast())); err != nil {
				t.Errorf("the first call over %s: %v", protocol, err)
			}
		}
	}
}

// dubbo-go goes through the registries of a process one by one, in any order, and
// waits for each. One that is down holds up neither what a provider writes into the
// other nor what a consumer finds there.
func TestARegistryThatIsDownHoldsUpNoOther(t *testing.T) {
	up, down := memory.New(), memory.New()
	a, b := newBridge(t, up, false), newBridge(t, down, false)
	for n, id := range []string{"p1", "p2", "p3"} {
		b.client(id, "").Cut()
		cfg := providerOf(a, id, testprocess.FreePorts(t, 2))
		cfg.Second = b.url
		p := start(t, cfg)
		upBackend, c := memoryBackend(t, up)
		eventually(t, id+" is registered where it can be", func() bool { return instances(t, c, "greeter")[id].Revision != "" })
		eventually(t, "it is mapped", func() bool {
			apps, err := c.InterfaceApps(t.Context(), registry.Interface{Name: triple})
			return err == nil && len(apps) == 1
		})
		if n > 0 {
			p.Kill()
			up.RemoveInstance(app("greeter"), id)
			continue
		}
		away := down.Join(memory.Config{Offline: true})
		t.Cleanup(away.Close)
		first, err := Use("away", Backend{Discoverer: away, Registrar: away, Mapping: away, Metadata: away}, Config{Namespace: namespace, SyncTimeout: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(first.Close)
		second, err := Use("here", upBackend, Config{Namespace: namespace, SyncTimeout: deadline})
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
		if _, err := greet(conn); err != nil {
			t.Errorf("the first call, with the other registry down: %v", err)
		}
	}
}

// listener is one of dubbo-go's own discovery, for one application.
type listener struct {
	name string
	gate chan struct{} // OnEvent waits here
	mu   sync.Mutex
	seen int
}

func (l *listener) OnEvent(e observer.Event) error {
	<-l.gate
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = len(e.(*goregistry.ServiceInstancesChangedEvent).Instances)
	return nil
}

func (l *listener) AddListenerAndNotify(string, goregistry.NotifyListener) {}
func (l *listener) RemoveListener(string)                                  {}
func (l *listener) GetServiceNames() *gxset.HashSet                        { return gxset.NewSet(l.name) }
func (l *listener) Accept(observer.Event) bool                             { return true }
func (l *listener) GetEventType() reflect.Type                             { return nil }
func (l *listener) GetPriority() int                                       { return 0 }

// overTriple is an instance to which nobody connects over the Dubbo protocol.
func overTriple(id, host string) registry.Instance {
	i := callable(id, host, "r1")
	i.Endpoints = i.Endpoints[1:]
	return i
}

// dubbo-go fetches metadata while it is told of an application, which may take as
// long as the slowest of its instances; the other applications do not wait for that.
func TestNoApplicationWaitsForAnother(t *testing.T) {
	r := newRig(t)
	u, err := common.NewURL("x://y", common.WithParamsValue(constant.RegistryKey, r.binding.Name()))
	if err != nil {
		t.Fatal(err)
	}
	slow, quick := &listener{name: "inventory", gate: make(chan struct{})}, &listener{name: "orders", gate: make(chan struct{})}
	close(quick.gate)
	for _, l := range []*listener{slow, quick} {
		d, err := extension.GetServiceDiscovery(u) // dubbo-go makes one for each
		if err != nil {
			t.Fatal(err)
		}
		r.offer(l.name, "r1", "org.example."+l.name)
		r.world.PutInstance(app(l.name), overTriple(l.name, "10.0.0.1"))
		if err := d.AddListener(l); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(l *listener, n int) func() bool {
		return func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.seen == n
		}
	}
	eventually(t, "the quick one's first list", sees(quick, 1))
	r.world.PutInstance(app("orders"), overTriple("another", "10.0.0.2"))
	eventually(t, "its second", sees(quick, 2))
	close(slow.gate)
	eventually(t, "the slow one's list", sees(slow, 1))
}

// A start that is refused is not the end: dubbo-go does not serve again by the same
// server, and says so, but another of the process's is registered and serves, in all
// registries.
func TestAnotherServerAfterARefusal(t *testing.T) {
	for _, registries := range []int{1, 2} {
		t.Run(fmt.Sprint(registries), func(t *testing.T) {
			worlds := []*memory.Registry{memory.New(), memory.New()}[:registries]
			bridges := []*bridge{newBridge(t, worlds[0], false)}
			cfg := providerOf(bridges[0], "p1", testprocess.FreePorts(t, 2))
			if cfg.Insist = true; registries == 2 {
				bridges = append(bridges, newBridge(t, worlds[1], false))
				cfg.Second = bridges[1].url
			}
			refuse := bridges[registries-1].client("p1", "").Refuse
			refuse(errors.New("bind ClusterRole weir-provider"))
			p := start(t, cfg)
			eventually(t, "two starts are refused", func() bool { return strings.Contains(p.Output(), "another server: registry: ") })
			for _, said := range []string{"access refused: bind ClusterRole weir-provider; the same server again: ", "has already unexported"} {
				if !strings.Contains(p.Output(), said) {
					t.Errorf("it does not say %q", said)
				}
			}
			refuse(nil)
			for n, world := range worlds {
				backend, c := memoryBackend(t, world)
				eventually(t, "the instance is registered", func() bool {
					i := instances(t, c, "greeter")["p1"]
					return i.Revision != "" && i.Callable()
				})
				consumer := newConsumerNamed(t, backend, n)
				answers(t, consumer.refer(hessian, constant.DubboProtocol), "p1")
				answers(t, consumer.refer(triple, constant.TriProtocol), "p1")
			}
		})
	}
}

// A start that one registry refuses for good leaves nobody to be called in another.
func TestAStartThatIsRefusedLeavesNobodyElsewhere(t *testing.T) {
	for range 3 { // in either order
		here, there := memory.New(), memory.New()
		a, b := newBridge(t, here, false), newBridge(t, there, false)
		b.client("p1", "").Refuse(errors.New("bind ClusterRole weir-provider"))
		cfg := providerOf(a, "p1", testprocess.FreePorts(t, 2))
		cfg.Second = b.url
		p := start(t, cfg)
		select {
		case <-p.Done():
		case <-time.After(deadline):
			t.Fatal("the process does not end")
		}
		if !strings.Contains(p.Output(), "access refused: bind ClusterRole weir-provider") {
			t.Errorf("it says\n%s", p.Output())
		}
		_, c := memoryBackend(t, here)
		if i := instances(t, c, "greeter")["p1"]; i.Revision != "" && i.Callable() {
			t.Errorf("left behind is %+v", i)
		}
	}
}
