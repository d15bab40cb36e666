package dubbo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// balancer does for one protocol what kube-proxy does at a Service: it chooses an
// instance for each connection, among those that are ready, and keeps connections
// to those that are not any more.
type balancer struct {
	net.Listener
	port  uint16
	conns sync.WaitGroup
	stop  context.CancelFunc
}

func balance(t *testing.T, c *memory.Client, name, protocol string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &balancer{Listener: l, port: uint16(l.Addr().(*net.TCPAddr).Port), stop: stop}
	b.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b.conns.Go(func() { b.serve(ctx, c, name, protocol, conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		stop()
		b.conns.Wait()
	})
	return b
}

func (b *balancer) serve(ctx context.Context, c *memory.Client, name, protocol string, conn net.Conn) {
	s, err := c.Snapshot(ctx, app(name))
	if err != nil {
		conn.Close()
		return
	}
	var to []string
	for _, i := range s.Callable() {
		if i.Health != registry.Ready {
			continue // called all the same, though not by way of the Service
		}
		for _, e := range i.Endpoints {
			if e.Protocol == protocol {
				to = append(to, fmt.Sprintf("%s:%d", i.Host, e.Port))
			}
		}
	}
	if len(to) == 0 {
		conn.Close()
		return
	}
	leadTo(ctx, conn, to[rand.IntN(len(to))])
}

// behindService is an application in Service mode, and how one process more of it begins.
func behindService(t *testing.T) (world *memory.Registry, backend Backend, c *memory.Client, begin func(id string) *testprocess.Process) {
	t.Helper()
	world = memory.New()
	b := newBridge(t, world, false)
	backend, c = memoryBackend(t, world)
	overTriple, overDubbo := balance(t, c, "greeter", constant.TriProtocol), balance(t, c, "greeter", constant.DubboProtocol)
	// Without targets, as where a named port is another one in each instance.
	world.PutService(app("greeter"), registry.Service{Host: "localhost", Ports: []registry.ServicePort{
		{Name: "tri", Port: overTriple.port}, {Name: "dubbo", Port: overDubbo.port},
	}})
	world.SetMode(app("greeter"), registry.ModeService)
	return world, backend, c, func(id string) *testprocess.Process {
		cfg := providerOf(b, id, testprocess.FreePorts(t, 2))
		cfg.UpdateWait = 3 * time.Second // as dubbo-go has it
		p := start(t, cfg)
		eventually(t, id+" is registered", func() bool { i := instances(t, c, "greeter")[id]; return i.ID == id && i.Callable() })
		return p
	}
}

// Calls through the Service outlive a rolling restart, and go over to instances and
// back, and none that was sent fails, without a retry to cover for it.
func TestServiceModeLosesNoCall(t *testing.T) {
	world, backend, _, begin := behindService(t)
	old := []*testprocess.Process{begin("a1"), begin("a2")}
	consumer := newConsumer(t, backend, false)
	opts := []client.ReferenceOption{client.WithRetries(0), client.WithClusterFailFast(), client.WithLoadBalanceRoundRobin()}
	dubboConn, triConn := consumer.refer(hessian, constant.DubboProtocol, opts...), consumer.refer(triple, constant.TriProtocol, opts...)
	answers(t, dubboConn, "a1")
	answers(t, triConn, "a1")
	byDubbo, byTriple := callAgain(dubboConn, 4), callAgain(triConn, 4)
	called := func(id string) {
		t.Helper()
		// By one of them: eight connections may all lead to the other of two instances.
		eventually(t, id+" is called", func() bool { return byDubbo.by(id)+byTriple.by(id) > 0 })
	}
	called("a1")
	called("a2")
	for n, p := range old {
		id := fmt.Sprintf("b%d", n+1)
		begin(id)
		world.SetHealth(app("greeter"), p.Name(), registry.Terminating) // as Kubernetes says before the process knows
		p.Stop(t)
		world.RemoveInstance(app("greeter"), p.Name())
		called(id)
	}
	for _, mode := range []registry.Mode{registry.ModePod, registry.ModeService} {
		world.SetMode(app("greeter"), mode)
		eventually(t, "both references have gone over", func() bool {
			return consumer.log.count("the mode of calling has changed", "mode="+string(mode)) == 2
		})
		before := byDubbo.calls.Load() + byTriple.calls.Load()
		eventually(t, "more calls", func() bool { return byDubbo.calls.Load()+byTriple.calls.Load() > before+100 })
	}
	t.Logf("not sent at first: %d of %d over Dubbo, %d of %d over Triple", byDubbo.unsent.Load(), byDubbo.calls.Load(), byTriple.unsent.Load(), byTriple.calls.Load())
	byDubbo.end(t, "dubbo")
	byTriple.end(t, "tri")
}

// While no instance is ready, those that are kept are called, also by whoever comes
// only now, and when one of them ends: the Service takes no connection then.
func TestServiceModeLosesNoCallWhileNobodyIsReady(t *testing.T) {
	world, backend, c, begin := behindService(t)
	first := begin("a1")
	begin("a2")
	begin("a3")
	consumer := newConsumer(t, backend, false)
	opts := []client.ReferenceOption{client.WithRetries(0), client.WithClusterFailFast(), client.WithLoadBalanceRoundRobin()}
	dubboConn, triConn := consumer.refer(hessian, constant.DubboProtocol, opts...), consumer.refer(triple, constant.TriProtocol, opts...)
	answers(t, dubboConn, "a1")
	answers(t, triConn, "a1")
	byDubbo, byTriple := callAgain(dubboConn, 4), callAgain(triConn, 4)
	changed := func(mode registry.Mode, n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d references have gone over to mode %s", n, mode), func() bool {
			return consumer.log.count("the mode of calling has changed", "mode="+string(mode)) == n
		})
		before := byDubbo.calls.Load() + byTriple.calls.Load()
		eventually(t, "more calls", func() bool { return byDubbo.calls.Load()+byTriple.calls.Load() > before+100 })
	}

	ready := instances(t, c, "greeter")
	for _, i := range ready {
		world.PutInstance(app("greeter"), kept(i))
	}
	world.SetHealth(app("greeter"), "a1", registry.Terminating)
	first.Stop(t)
	world.RemoveInstance(app("greeter"), "a1")
	changed(registry.ModePod, 2)
	late := consumer.refer(triple, constant.TriProtocol, append(opts, client.WithRequestTimeout(5*time.Second))...)
	answers(t, late, "a2")
	answers(t, late, "a3")
	byLate := callAgain(late, 2)

	for _, id := range []string{"a2", "a3"} {
		world.PutInstance(app("greeter"), ready[id])
	}
	changed(registry.ModeService, 3)
	byDubbo.end(t, "dubbo")
	byTriple.end(t, "tri")
	byLate.end(t, "tri, late")
}
