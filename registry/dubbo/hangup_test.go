package dubbo

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/invocation"
	"dubbo.apache.org/dubbo-go/v3/remoting/getty"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// relay leads to one port of this machine, and counts the connections to it.
type relay struct {
	port     uint16
	accepted atomic.Int64
	open     atomic.Int64
}

func relayTo(t *testing.T, port int) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	r := &relay{port: uint16(l.Addr().(*net.TCPAddr).Port)}
	ctx, stop := context.WithCancel(context.Background())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.accepted.Add(1)
			r.open.Add(1)
			conns.Go(func() {
				defer r.open.Add(-1)
				leadTo(ctx, conn, address)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		stop()
		conns.Wait()
	})
	return r
}

// leadTo leads a connection to an address until either side ends it.
func leadTo(ctx context.Context, conn net.Conn, address string) {
	defer conn.Close()
	there, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer there.Close()
	defer context.AfterFunc(ctx, func() { conn.Close(); there.Close() })()
	var both sync.WaitGroup
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // either side's end is the other's
		_ = to.(*net.TCPConn).CloseWrite()
	}
	both.Go(func() { pipe(there, conn) })
	both.Go(func() { pipe(conn, there) })
	both.Wait()
}

// servedBy puts an application into a world of its own whose one instance is a
// provider process behind a relay.
func servedBy(t *testing.T, protocol, iface string) (*memory.Registry, registry.Instance, *relay) {
	t.Helper()
	there := memory.New()
	cfg := providerOf(newBridge(t, there, false), "p1", testprocess.FreePorts(t, 2))
	start(t, cfg)
	_, c := memoryBackend(t, there)
	eventually(t, "the provider is registered", func() bool { return instances(t, c, "greeter")["p1"].Revision != "" })
	i := instances(t, c, "greeter")["p1"]
	var doc []byte
	eventually(t, "its document is stored", func() (ok bool) {
		var err error
		doc, err = c.Metadata(t.Context(), app("greeter"), i.Revision)
		return err == nil
	})
	port := cfg.Servers[0].Port
	if protocol == constant.TriProtocol {
		port = cfg.Servers[1].Port
	}
	r := relayTo(t, port)
	i.Endpoints = []registry.Endpoint{{Protocol: protocol, Port: r.port}}

	here := memory.New()
	_, c = memoryBackend(t, here)
	if err := c.PutMetadata(t.Context(), app("greeter"), i.Revision, doc); err != nil {
		t.Fatal(err)
	}
	if err := c.MapInterface(t.Context(), registry.Interface{Name: iface}, app("greeter")); err != nil {
		t.Fatal(err)
	}
	here.PutInstance(app("greeter"), i)
	return here, i, r
}

// reweighted gives the instance of servedBy other words for balancers and routers,
// several times, each of which the consumer has taken over.
func reweighted(t *testing.T, consumer *consumer, world *memory.Registry, i *registry.Instance, conn *client.Connection) {
	t.Helper()
	lists := func() float64 { return testutil.ToFloat64(consumer.binding.metrics.lists.WithLabelValues("sent")) }
	for n := range 5 {
		before := lists()
		i.Details.Weight, i.Details.Tag, i.Zone = 200+n, fmt.Sprint("blue", n), fmt.Sprint("z", n)
		i.Metadata = maps.Clone(i.Metadata)
		i.Metadata[constant.EnvironmentKey] = fmt.Sprint("e", n)
		world.PutInstance(app("greeter"), *i)
		eventually(t, "dubbo-go has the new weight", func() bool { return lists() > before })
		answers(t, conn, "p1")
	}
}

// An instance that starts anew, lanes that give way, and the calls that run meanwhile:
// no connection is left but those that are used. A change of weight makes none.
func TestTripleHangsUp(t *testing.T) {
	world, i, relay := servedBy(t, constant.TriProtocol, triple)
	backend, _ := memoryBackend(t, world)
	consumer := newConsumer(t, backend, false)
	conn := consumer.refer(triple, constant.TriProtocol, client.WithRetries(0))
	answers(t, conn, "p1")
	listed := func(n int64) func() bool { return func() bool { return relay.accepted.Load() >= n } }
	one := func() bool { return relay.open.Load() == 1 }

	// dubbo-go makes an invoker anew where a parameter of its URL changes.
	load := callAgain(conn, 4)
	reweighted(t, consumer, world, &i, conn)
	load.end(t, "tri")
	if n := relay.accepted.Load(); n != 1 {
		t.Errorf("by its weights an instance has had %d connections", n)
	}
	for n := range 5 {
		i.Details.Started = i.Details.Started.Add(time.Second)
		world.PutInstance(app("greeter"), i)
		eventually(t, "a connection to the new process", listed(int64(n)+2))
	}
	eventually(t, "one connection is left", one)

	// Those of a Service give way together.
	ghosts := []string{"g1", "g2", "g3"}
	for _, id := range ghosts {
		ghost := i
		ghost.ID, ghost.Name = id, id
		world.PutInstance(app("greeter"), ghost)
	}
	world.PutService(app("greeter"), registry.Service{Host: "localhost", Ports: []registry.ServicePort{{Name: "tri", Port: relay.port}}})
	world.SetMode(app("greeter"), registry.ModeService)
	eventually(t, "the Service is called", func() bool {
		return consumer.log.count("the mode of calling has changed", "mode=service") == 1
	})
	eventually(t, "its lanes are all there is", func() bool { return relay.open.Load() == tripleLanes })
	load = callAgain(conn, 4)
	for n, id := range ghosts {
		before := relay.accepted.Load()
		world.SetHealth(app("greeter"), id, registry.Terminating)
		eventually(t, "new lanes", listed(before+tripleLanes))
		world.RemoveInstance(app("greeter"), id)
		t.Logf("after %d renewals %d connections are open of %d", n+1, relay.open.Load(), relay.accepted.Load())
	}
	eventually(t, "the lanes before are closed", func() bool { return relay.open.Load() == tripleLanes })
	load.end(t, "tri")
}

// dubbo-go shares what it has to an address over the Dubbo protocol.
func TestAChangeOfWeightMakesNoConnection(t *testing.T) {
	if raceDetector {
		t.Skip("dubbo-getty v1.4.10 has data races of its own, which would be reported as this package's")
	}
	world, i, relay := servedBy(t, constant.DubboProtocol, hessian)
	backend, _ := memoryBackend(t, world)
	consumer := newConsumer(t, backend, false)
	conn := consumer.refer(hessian, constant.DubboProtocol, client.WithRetries(0))
	answers(t, conn, "p1")
	pool := int64(getty.GetDefaultClientConfig().ConnectionNum)
	eventually(t, "the pool is full", func() bool { return relay.open.Load() == pool })
	load := callAgain(conn, 4)
	reweighted(t, consumer, world, &i, conn)
	load.end(t, "dubbo")
	if accepted, open := relay.accepted.Load(), relay.open.Load(); accepted != pool || open != pool {
		t.Errorf("of %d connections %d are open, in a pool of %d", accepted, open, pool)
	}
}

// A stream that outlives its invoker keeps its connection, and no longer than it
// runs.
func TestAStreamIsWaitedFor(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-end
		_, _ = io.WriteString(w, "the end")
	}))
	var open atomic.Int64
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	answer, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()

	invoker := &line{Invoker: base.NewBaseInvoker(consumerURL(stock, constant.TriProtocol)), client: srv.Client()}
	call := func(kind string) {
		i := invocation.NewRPCInvocationWithOptions(invocation.WithMethodName("get"))
		i.SetAttribute(constant.CallTypeKey, kind)
		invoker.Invoke(t.Context(), i)
	}
	if call(constant.CallUnary); len(invoker.pauses()) != len(hangUpPauses) {
		t.Errorf("after calls alone it looks again after %v", invoker.pauses())
	}
	if call(constant.CallServerStream); !slices.Contains(invoker.pauses(), time.Hour) {
		t.Errorf("after a stream it looks again after %v", invoker.pauses())
	}
	closeIdle(invoker.client, slices.Repeat([]time.Duration{time.Millisecond}, 10_000))
	close(end)
	if rest, err := io.ReadAll(answer.Body); err != nil || string(rest) != "the end" {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	eventually(t, "the connection is closed", func() bool { return open.Load() == 0 })
}

// What else dubbo-go asks of Triple is its own.
func TestTripleIsWhole(t *testing.T) {
	newRig(t) // whoever uses a registry has it
	if _, ok := extension.GetProtocol(constant.TriProtocol).(*tripleProtocol); !ok {
		t.Fatal("the protocol is not ours")
	}
	if _, ok := extension.GetProtocol(constant.TriProtocol).(base.HTTPHandlerHost); !ok {
		t.Error("it hosts no HTTP handlers any more")
	}
	u := withoutStubsURL(stock, constant.TriProtocol)
	u.Location = "127.0.0.1:1"
	invoker := refer(u)
	if invoker == nil {
		t.Fatal("no invoker")
	}
	if _, ok := invoker.(*tripleInvoker); !ok {
		t.Errorf("the HTTP client of a %T was not found", invoker)
	}
	setter, ok := invoker.(base.AvailabilitySetter)
	if !ok {
		t.Fatal("its availability cannot be set any more")
	}
	if setter.SetAvailable(false); invoker.IsAvailable() {
		t.Error("it is available against its setting")
	}
	invoker.Destroy()
	invoker.Destroy() // dubbo-go may do so twice
	if clientOf(base.NewBaseInvoker(u)) != nil {
		t.Error("an invoker without a client has one")
	}
}
