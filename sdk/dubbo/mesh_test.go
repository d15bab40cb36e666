package dubbo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"dubbo.apache.org/dubbo-go/v3/server"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java_exception"
	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/reporter/recorder"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

var _ Kit = (*sdk.Kit)(nil)

func TestMain(m *testing.M) {
	// dubbo-go writes its metadata cache into the working directory.
	dir, err := os.MkdirTemp("", "weir-dubbo-")
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	hessian.RegisterPOJO(&Stock{})
	hessian.RegisterPOJO(&UnknownSku{})
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// The three applications of the tests: storefront calls orders by Triple, orders
// calls inventory by the Dubbo protocol.
const (
	stockInterface  = "org.example.shop.StockService"
	ordersInterface = "org.example.shop.OrderCounter"
)

func app(name string) governance.App { return governance.App{Namespace: "shop", Name: name} }

// Stock travels in Hessian2.
type Stock struct {
	Sku     string
	Left    int32
	Checked time.Time
}

// JavaClassName returns the class that Java knows the type by.
func (*Stock) JavaClassName() string { return "org.example.shop.Stock" }

// UnknownSku is a business exception.
type UnknownSku struct { //nolint:errname // bears the name that Java gives it
	SerialVersionUID     int64
	DetailMessage        string
	StackTrace           []java_exception.StackTraceElement
	SuppressedExceptions []java_exception.Throwabler
	Cause                java_exception.Throwabler
}

func (e UnknownSku) Error() string       { return e.DetailMessage }
func (UnknownSku) JavaClassName() string { return "org.example.shop.UnknownSku" }
func (e UnknownSku) GetStackTrace() []java_exception.StackTraceElement {
	return e.StackTrace
}

// behaviour is what a service does with the next calls.
type behaviour struct {
	mu    sync.Mutex
	calls int
	do    func(ctx context.Context) error
}

func (b *behaviour) set(do func(ctx context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.do, b.calls = do, 0
}

func (b *behaviour) made() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

func (b *behaviour) step(ctx context.Context) error {
	b.mu.Lock()
	b.calls++
	do := b.do
	b.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(ctx)
}

// StockService is served by the Dubbo protocol.
type StockService struct{ behaviour *behaviour }

// Stock tells what is left of an article.
func (s *StockService) Stock(ctx context.Context, sku string) (*Stock, error) {
	if err := s.behaviour.step(ctx); err != nil {
		return nil, err
	}
	return &Stock{Sku: sku, Left: 7}, nil
}

// counter is served by Triple, by messages of protobuf.
type counter interface {
	Count(context.Context, *wrapperspb.StringValue) (*wrapperspb.Int64Value, error)
}

// Orders counts what inventory has.
type Orders struct {
	behaviour *behaviour
	stock     *client.Connection
}

func (o *Orders) Count(ctx context.Context, sku *wrapperspb.StringValue) (*wrapperspb.Int64Value, error) {
	if err := o.behaviour.step(ctx); err != nil {
		return nil, err
	}
	if sku.GetValue() == "local" {
		return wrapperspb.Int64(1), nil
	}
	s := new(Stock)
	if err := o.stock.CallUnary(ctx, []any{sku.GetValue()}, s, "stock"); err != nil {
		return nil, err
	}
	return wrapperspb.Int64(int64(s.Left)), nil
}

func counterInfo() *common.ServiceInfo {
	return &common.ServiceInfo{
		InterfaceName: ordersInterface, ServiceType: (*counter)(nil),
		Methods: []common.MethodInfo{{
			Name: "Count", Type: constant.CallUnary, ReqInitFunc: func() any { return new(wrapperspb.StringValue) },
			MethodFunc: func(ctx context.Context, args []any, handler any) (any, error) {
				resp, err := handler.(counter).Count(ctx, args[0].(*wrapperspb.StringValue))
				if err != nil {
					return nil, err
				}
				return triple_protocol.NewResponse(resp), nil
			},
		}, {
			Name: "Watch", Type: constant.CallServerStream, ReqInitFunc: func() any { return new(wrapperspb.StringValue) },
			StreamInitFunc: func(stream any) any { return stream },
			MethodFunc: func(ctx context.Context, args []any, handler any) (any, error) {
				stream := args[1].(*triple_protocol.ServerStream)
				for n := range 3 {
					if err := handler.(*Orders).behaviour.step(ctx); err != nil {
						return nil, err
					}
					if err := stream.Send(wrapperspb.Int64(int64(n))); err != nil {
						return nil, err
					}
				}
				return nil, nil
			},
		}},
	}
}

// testKit is a kit without a control plane: the test applies policies itself.
type testKit struct {
	app      governance.App
	breakers *breaker.Set
	tracer   *trace.Tracer
	spans    *recorder.ReporterRecorder

	mu    sync.Mutex
	calls []governance.App
	ahead time.Duration
}

func newKit(name string) (*testKit, error) {
	k := &testKit{app: app(name), spans: recorder.NewReporter()}
	k.breakers = breaker.NewSet(breaker.Config{App: k.app})
	var err error
	k.tracer, err = trace.New(trace.Config{App: k.app, Instance: name + "-1", SampleRate: 1, Reporter: k.spans})
	return k, err
}

func (k *testKit) App() governance.App    { return k.app }
func (k *testKit) Breakers() *breaker.Set { return k.breakers }
func (k *testKit) Tracer() *trace.Tracer  { return k.tracer }
func (k *testKit) Calls(a governance.App) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, a)
}

// mesh is the three applications, running.
type mesh struct {
	storefront, orders, inventory *testKit
	ordersDo, inventoryDo         *behaviour
	counter                       *client.Connection // of storefront to orders
	stock                         *client.Connection // of orders to inventory
}

var running = sync.OnceValues(start)

// newMesh returns the applications as new: without policies, counts and spans.
// dubbo-go can be started once in a process, so that they are shared.
func newMesh(t *testing.T) *mesh {
	t.Helper()
	if raceDetector {
		t.Skip("dubbo-go races with itself; the step dubbo runs this without the detector")
	}
	m, err := running()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*testKit{m.storefront, m.orders, m.inventory} {
		k.breakers.Close()
		k.breakers = breaker.NewSet(breaker.Config{App: k.app})
		k.spans.Flush()
	}
	m.ordersDo.set(nil)
	m.inventoryDo.set(nil)
	return m
}

func start() (*mesh, error) {
	m := &mesh{ordersDo: new(behaviour), inventoryDo: new(behaviour)}
	var errs [3]error
	m.storefront, errs[0] = newKit("storefront")
	m.orders, errs[1] = newKit("orders")
	m.inventory, errs[2] = newKit("inventory")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	instance := func(kit *testKit, opts ...dubbogo.InstanceOption) (*dubbogo.Instance, error) {
		return dubbogo.NewInstance(append([]dubbogo.InstanceOption{
			dubbogo.WithName(kit.app.Name), dubbogo.WithLogger(dubbologger.WithLevel("fatal")), dubbogo.WithRemoteMetadata(),
			dubbogo.WithShutdown(graceful_shutdown.WithoutInternalSignal()),
			WithGovernance(kit),
		}, opts...)...)
	}

	stockAddress, stockPort, err := address()
	if err != nil {
		return nil, err
	}
	inventory, err := instance(m.inventory, dubbogo.WithProtocol(protocol.WithDubbo(), protocol.WithIp("127.0.0.1"), protocol.WithPort(stockPort)))
	if err != nil {
		return nil, err
	}
	// A list of filters of the server's own, in place of dubbo-go's.
	srv, err := inventory.NewServer(server.WithServerFilter(constant.GracefulShutdownProviderFilterKey))
	if err != nil {
		return nil, err
	}
	if err := srv.Register(&StockService{m.inventoryDo}, nil, server.WithInterface(stockInterface)); err != nil {
		return nil, err
	}
	go func() { _ = srv.Serve() }()
	if err := waitFor(stockAddress); err != nil {
		return nil, err
	}

	ordersAddress, ordersPort, err := address()
	if err != nil {
		return nil, err
	}
	ordersInstance, err := instance(m.orders, dubbogo.WithProtocol(protocol.WithTriple(), protocol.WithIp("127.0.0.1"), protocol.WithPort(ordersPort)))
	if err != nil {
		return nil, err
	}
	cli, err := ordersInstance.NewClient(client.WithClientProtocolDubbo(), client.WithClientSerialization(constant.Hessian2Serialization))
	if err != nil {
		return nil, err
	}
	m.stock, err = cli.Dial(stockInterface, client.WithURL("dubbo://"+stockAddress), client.WithProvidedBy("inventory"))
	if err != nil {
		return nil, err
	}
	srv, err = ordersInstance.NewServer()
	if err != nil {
		return nil, err
	}
	if err := srv.Register(&Orders{m.ordersDo, m.stock}, counterInfo()); err != nil {
		return nil, err
	}
	go func() { _ = srv.Serve() }()
	if err := waitFor(ordersAddress); err != nil {
		return nil, err
	}

	storefront, err := instance(m.storefront)
	if err != nil {
		return nil, err
	}
	cli, err = storefront.NewClient(client.WithClientProtocolTriple())
	if err != nil {
		return nil, err
	}
	m.counter, err = cli.DialWithInfo(ordersInterface, &client.ClientInfo{InterfaceName: ordersInterface, MethodNames: []string{"Count", "Watch"}},
		client.WithURL("tri://"+ordersAddress), client.WithProvidedBy("orders"))
	return m, err
}

func address() (address string, port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, err
	}
	defer l.Close()
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return l.Addr().String(), port, err
}

func waitFor(address string) error {
	for end := time.Now().Add(5 * time.Second); ; {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
}

// count calls orders by Triple.
func (m *mesh) count(ctx context.Context, sku string, opts ...client.CallOption) (int64, error) {
	resp := new(wrapperspb.Int64Value)
	err := m.counter.CallUnary(ctx, []any{wrapperspb.String(sku)}, resp, "Count", opts...)
	return resp.GetValue(), err
}

// ask calls inventory by the Dubbo protocol, as orders.
func (m *mesh) ask(ctx context.Context, sku string, opts ...client.CallOption) (Stock, error) {
	s := new(Stock)
	err := m.stock.CallUnary(ctx, []any{sku}, s, "stock", opts...)
	return *s, err
}

// watch reads a stream of orders to its end.
func (m *mesh) watch(ctx context.Context) (n int, err error) {
	opened, err := m.counter.CallServerStream(ctx, wrapperspb.String("apple"), "Watch")
	if err != nil {
		return 0, err
	}
	stream := opened.(*triple_protocol.ServerStreamForClient)
	defer stream.Close()
	for stream.Receive(new(wrapperspb.Int64Value)) {
		n++
	}
	return n, stream.Err()
}

// apply makes policies hold for a kit.
func (k *testKit) apply(t *testing.T, policies ...governance.Policy) {
	t.Helper()
	var versions []governance.Version
	for i, p := range policies {
		versions = append(versions, governance.Version{Policy: p.WithDefaults(), Version: int64(40 + i), Actor: "ann", Reason: "warehouse down"})
	}
	if err := k.breakers.Apply(versions, 0); err != nil {
		t.Fatal(err)
	}
}

// counts returns what a kit counted for a command on one side.
func (k *testKit) counts(at governance.At, command string) governance.Counts {
	var sum governance.Counts
	k.ahead += time.Minute // into a second that is over
	for _, s := range k.breakers.Collect(time.Now().Add(k.ahead)) {
		if s.Command == command && s.At == at {
			sum = sum.Add(s.Counts)
		}
	}
	return sum
}

// spans waits until n spans of a kit are there and returns them.
func (k *testKit) take(t *testing.T, n int) []model.SpanModel {
	t.Helper()
	var all []model.SpanModel
	for end := time.Now().Add(10 * time.Second); len(all) < n; {
		all = append(all, k.spans.Flush()...)
		if time.Now().After(end) {
			t.Fatalf("%s: %d spans, want %d", k.app, len(all), n)
		}
		<-time.After(time.Millisecond)
	}
	return all
}
