package dubbo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	"dubbo.apache.org/dubbo-go/v3/server"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
	registrydubbo "github.com/weirmesh/weir/registry/dubbo"
	"github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/sdk/breaker"
)

const depotInterface = "org.example.shop.DepotService"

// underRegistry is two applications that find each other by Weir's registry.
type underRegistry struct {
	depot, buyer *testKit
	conn         *client.Connection
}

// registered starts them, which dubbo-go can once in a process.
var registered = sync.OnceValues(func() (*underRegistry, error) {
	world := memory.New()
	instance := func(kit *testKit, opts ...dubbogo.InstanceOption) (*dubbogo.Instance, error) {
		c := world.Join(memory.Config{ID: kit.app.Name + "-1"})
		binding, err := registrydubbo.Use("weir-"+kit.app.Name, registrydubbo.Backend{Discoverer: c, Registrar: c, Mapping: c, Metadata: c},
			registrydubbo.Config{Namespace: "shop", Logger: slog.New(slog.DiscardHandler), RetryDelay: 20 * time.Millisecond})
		if err != nil {
			return nil, err
		}
		return dubbogo.NewInstance(append([]dubbogo.InstanceOption{
			dubbogo.WithName(kit.app.Name), dubbogo.WithLogger(dubbologger.WithLevel("fatal")), dubbogo.WithRemoteMetadata(),
			dubbogo.WithShutdown(graceful_shutdown.WithoutInternalSignal()), dubbogo.WithRegistry(binding.Options()...),
			WithGovernance(kit),
		}, opts...)...)
	}
	u := new(underRegistry)
	var errs [3]error
	var port int
	u.depot, errs[0] = newKit("depot")
	u.buyer, errs[1] = newKit("buyer")
	_, port, errs[2] = address()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	ins, err := instance(u.depot, dubbogo.WithProtocol(protocol.WithDubbo(), protocol.WithIp("127.0.0.1"), protocol.WithPort(port)))
	if err != nil {
		return nil, err
	}
	srv, err := ins.NewServer()
	if err != nil {
		return nil, err
	}
	if err := srv.Register(&StockService{new(behaviour)}, nil, server.WithInterface(depotInterface)); err != nil {
		return nil, err
	}
	go func() { _ = srv.Serve() }()
	watcher := world.Join(memory.Config{})
	defer watcher.Close()
	for end := time.Now().Add(20 * time.Second); ; {
		s, err := watcher.Snapshot(context.Background(), registry.App{Namespace: "shop", Name: "depot"})
		if err == nil && len(s.Instances) == 1 && len(s.Instances[0].Endpoints) > 0 {
			break
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("not registered: %+v, %w", s, err)
		}
		<-time.After(10 * time.Millisecond)
	}
	if ins, err = instance(u.buyer); err != nil {
		return nil, err
	}
	cli, err := ins.NewClient(client.WithClientProtocolDubbo(), client.WithClientSerialization(constant.Hessian2Serialization),
		client.WithClientFilter(constant.GracefulShutdownConsumerFilterKey)) // a list of its own
	if err != nil {
		return nil, err
	}
	if u.conn, err = cli.Dial(depotInterface); err != nil {
		return nil, err
	}
	if !slices.Contains(u.buyer.calls, app("depot")) {
		return nil, errors.New("the depot is not declared before it is called")
	}
	return u, nil
})

// Under Weir's registry nobody is named: who provides an interface is learnt from
// it, before the first call, whichever filters a program chose for itself.
func TestUnderTheRegistry(t *testing.T) {
	newMesh(t) // with other instances of dubbo-go in the process
	u, err := registered()
	if err != nil {
		t.Fatal(err)
	}
	depot, buyer := u.depot, u.buyer
	for _, k := range []*testKit{depot, buyer} {
		k.breakers = breaker.NewSet(breaker.Config{App: k.app})
		t.Cleanup(k.breakers.Close)
		k.spans.Flush()
	}
	ask := func() error {
		return u.conn.CallUnary(t.Context(), []any{"apple"}, new(Stock), "stock")
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if got := buyer.take(t, 1)[0]; got.RemoteEndpoint == nil || got.RemoteEndpoint.ServiceName != "depot" || got.Tags["dubbo.address"] == "" {
		t.Errorf("%+v", got)
	}
	buyer.apply(t, pulled("depot", "DepotService.stock", governance.Caller, nil))
	if reason, _ := Refused(ask()); reason != breaker.ReasonSwitched {
		t.Errorf("refused as %q", reason)
	}
	buyer.apply(t)
	depot.apply(t, pulled("depot", "DepotService.stock", governance.Provider, nil))
	if reason, _ := Refused(ask()); reason != breaker.ReasonSwitched {
		t.Errorf("refused as %q", reason)
	}
	// Once each: the guard is around the retries, and nothing is guarded twice.
	if got := buyer.counts(governance.Caller, "DepotService.stock"); got != (governance.Counts{Success: 1, Switched: 1, Ignored: 1}) {
		t.Errorf("%+v", got)
	}
	if got := depot.counts(governance.Provider, "DepotService.stock"); got != (governance.Counts{Success: 1, Switched: 1}) {
		t.Errorf("%+v", got)
	}
}
