package dubbo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	tripleopts "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
	"dubbo.apache.org/dubbo-go/v3/server"
	dubbotls "dubbo.apache.org/dubbo-go/v3/tls"

	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// processEnv makes the test binary a provider process instead of running tests.
const processEnv = "WEIR_DUBBO_TEST_PROCESS"

const namespace = "shop"

// deadline bounds every wait in these tests. Nothing waits for it on success.
const deadline = 60 * time.Second

func TestMain(m *testing.M) {
	if cfg := os.Getenv(processEnv); cfg != "" {
		os.Exit(provide(cfg))
	}
	// dubbo-go writes its metadata cache into the working directory.
	dir, err := os.MkdirTemp("", "weir-dubbo-")
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// processConfig is a provider process.
type processConfig struct {
	Bridge, ID, Host, App string
	Servers               []serverConfig
	Discovery             bool // use dubbo-go's own service discovery
	Second                string
	MetadataPort          int // let dubbo-go export its own MetadataService there
	Weight                int
	TLS                   string        // a directory with cert.pem and key.pem, for Triple over HTTP/2 and HTTP/3
	Insist                bool          // serve again, by another server, when a start is refused
	UpdateWait            time.Duration // how long it serves on for consumers to hear of its end; 1 s if 0
}

type serverConfig struct {
	Protocol string
	Port     int
	Services []serviceConfig
}

type serviceConfig struct{ Interface, Group, Version string }

// Greeter is the service of these tests.
type Greeter struct{ id, name string }

func (g *Greeter) Greet(_ context.Context, name string) (string, error) {
	return g.id + " greets " + name, nil
}

// slowCalls says that a call which takes long has begun.
const slowCalls = "a slow call has begun"

// Slow answers after some milliseconds.
func (g *Greeter) Slow(_ context.Context, ms int64) (string, error) {
	if ms >= 1000 {
		fmt.Fprintln(os.Stderr, slowCalls)
	}
	<-time.After(time.Duration(ms) * time.Millisecond)
	return g.id, nil
}

func (g *Greeter) Reference() string { return g.name }

// provide runs a provider until it is told to end.
func provide(text string) int {
	var cfg processConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := serve(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "serve: "+err.Error())
		return 1
	}
	return 0
}

func serve(cfg processConfig) error {
	b := newBridged(cfg.Bridge, cfg.ID, cfg.Host)
	binding, err := Use("weir", Backend{Discoverer: b, Registrar: b, Mapping: b, Metadata: b}, Config{
		Namespace: namespace, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), RetryDelay: 50 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	opts := []dubbogo.InstanceOption{
		dubbogo.WithName(cfg.App),
		dubbogo.WithLogger(dubbologger.WithLevel("warn")),
		dubbogo.WithRegistry(options(binding, cfg.Discovery)...),
		dubbogo.WithShutdown(graceful_shutdown.WithConsumerUpdateWaitTime(cmp.Or(cfg.UpdateWait, time.Second)), graceful_shutdown.WithStepTimeout(time.Second),
			graceful_shutdown.WithOfflineRequestWindowTimeout(100*time.Millisecond)),
	}
	if cfg.MetadataPort != 0 {
		opts = append(opts, dubbogo.WithMetadataServicePort(cfg.MetadataPort))
	} else {
		opts = append(opts, dubbogo.WithRemoteMetadata())
	}
	if cfg.Second != "" {
		second, err := Use("second", func() Backend {
			b := newBridged(cfg.Second, cfg.ID, cfg.Host)
			return Backend{Discoverer: b, Registrar: b, Mapping: b, Metadata: b}
		}(), Config{Namespace: namespace, RetryDelay: 50 * time.Millisecond})
		if err != nil {
			return err
		}
		opts = append(opts, dubbogo.WithRegistry(second.Options()...))
	}
	for _, s := range cfg.Servers {
		p := protocol.WithDubbo()
		if s.Protocol == constant.TriProtocol {
			p = protocol.WithTriple()
			if cfg.TLS != "" {
				p = protocol.WithTriple(tripleopts.Http3Enable(), tripleopts.Http3Negotiation(true))
			}
		}
		opts = append(opts, dubbogo.WithProtocol(p, protocol.WithIp("127.0.0.1"), protocol.WithPort(s.Port), protocol.WithID(s.Protocol)))
	}
	if cfg.TLS != "" {
		opts = append(opts, dubbogo.WithTLS(dubbotls.WithCertFile(filepath.Join(cfg.TLS, "cert.pem")), dubbotls.WithKeyFile(filepath.Join(cfg.TLS, "key.pem"))))
	}
	ins, err := dubbogo.NewInstance(opts...)
	if err != nil {
		return err
	}
	var srvOpts []server.ServerOption
	if cfg.Weight > 0 {
		srvOpts = append(srvOpts, func(o *server.ServerOptions) { o.Provider.Weight = int64(cfg.Weight) })
	}
	srv, err := newServer(cfg, ins, srvOpts)
	if err != nil {
		return err
	}
	err = srv.Serve()
	if err == nil || !cfg.Insist {
		return err
	}
	fmt.Fprintf(os.Stderr, "refused: %v; the same server again: %v\n", err, srv.Serve())
	for {
		// dubbo-go (v3.3.2) tells what it exports apart by the second: within one it
		// takes what it has taken back for the new, and serves nothing.
		<-time.After(1100 * time.Millisecond)
		if srv, err = newServer(cfg, ins, srvOpts); err != nil {
			return err
		}
		if err = srv.Serve(); err == nil {
			return nil
		}
		fmt.Fprintf(os.Stderr, "another server: %v\n", err)
	}
}

// newServer returns a server of an instance that offers the services.
func newServer(cfg processConfig, ins *dubbogo.Instance, opts []server.ServerOption) (*server.Server, error) {
	srv, err := ins.NewServer(opts...)
	if err != nil {
		return nil, err
	}
	for _, s := range cfg.Servers {
		for _, sv := range s.Services {
			svcOpts := []server.ServiceOption{
				server.WithInterface(sv.Interface), server.WithSerialization(constant.Hessian2Serialization),
				// server.WithProtocolIDs does nothing in dubbo-go v3.3.2.
				func(o *server.ServiceOptions) { o.Service.ProtocolIDs = []string{s.Protocol} },
			}
			if sv.Group != "" {
				svcOpts = append(svcOpts, server.WithGroup(sv.Group))
			}
			if sv.Version != "" {
				svcOpts = append(svcOpts, server.WithVersion(sv.Version))
			}
			g := &Greeter{id: cfg.ID, name: strings.Join([]string{sv.Interface, sv.Group, sv.Version, s.Protocol}, "-")}
			if err := srv.RegisterService(g, svcOpts...); err != nil {
				return nil, err
			}
		}
	}
	return srv, nil
}

func options(b *Binding, discovery bool) []goregistry.Option {
	if !discovery {
		return b.Options()
	}
	return []goregistry.Option{
		goregistry.WithID(b.Name()), goregistry.WithRegistry(b.Name()),
		goregistry.WithAddress(b.Name() + "." + namespace), goregistry.WithRegisterService(), goregistry.WithoutUseAsConfigCenter(),
	}
}

// start starts a provider process and ends it with the test.
func start(t *testing.T, cfg processConfig) *testprocess.Process {
	t.Helper()
	if raceDetector {
		t.Skip("dubbo-go v3.3.2 has data races of its own, which would be reported as this package's")
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return testprocess.Start(t, cfg.ID, processEnv+"="+string(text))
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", deadline, what)
		}
	}
}

// consumer is a dubbo-go client in the test's own process.
type consumer struct {
	t       *testing.T
	binding *Binding
	ins     *dubbogo.Instance
	log     *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// count returns how many lines hold all of the words.
func (l *logBuffer) count(words ...string) (n int) {
	for line := range strings.Lines(l.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

// newConsumer returns a consumer that looks at world through a client of its own.
func newConsumer(t *testing.T, backend Backend, discovery bool) *consumer {
	t.Helper()
	return newConsumerAt(t, backend, discovery, t.Name())
}

// newConsumerNamed returns one of several consumers of a test.
func newConsumerNamed(t *testing.T, backend Backend, n int) *consumer {
	t.Helper()
	return newConsumerAt(t, backend, false, fmt.Sprint(t.Name(), n))
}

func newConsumerAt(t *testing.T, backend Backend, discovery bool, of string) *consumer {
	t.Helper()
	log := &logBuffer{}
	name := "weir-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "=", "-", "'", "-").Replace(of))
	binding, err := Use(name, backend, Config{
		Namespace: namespace, Logger: slog.New(slog.NewTextHandler(log, nil)),
		SyncTimeout: time.Second, RetryDelay: 20 * time.Millisecond, Overlap: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(binding.Close)
	ins, err := dubbogo.NewInstance(
		dubbogo.WithName("consumer"),
		dubbogo.WithLogger(dubbologger.WithLevel("error")),
		dubbogo.WithRegistry(options(binding, discovery)...),
		dubbogo.WithShutdown(graceful_shutdown.WithoutInternalSignal()),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the consumer:\n%s", log)
		}
	})
	return &consumer{t: t, binding: binding, ins: ins, log: log}
}

// withoutStubs are the options of references that are called by method name.
var withoutStubs = []client.ReferenceOption{
	client.WithSerialization(constant.Hessian2Serialization),
	client.WithIDL(constant.NONIDL), //nolint:staticcheck // Triple without generated stubs still needs it
}

// refer returns a connection to the interface over the protocol. Each has a
// client of its own, since dubbo-go lets the options of one reference leak into
// the next of its client.
func (c *consumer) refer(iface, proto string, opts ...client.ReferenceOption) *client.Connection {
	c.t.Helper()
	opts = slices.Concat(withoutStubs, []client.ReferenceOption{
		client.WithProtocol(proto), client.WithRequestTimeout(10 * time.Second),
	}, opts)
	cli, err := c.ins.NewClient()
	if err != nil {
		c.t.Fatal(err)
	}
	conn, err := cli.Dial(iface, opts...)
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}

func greet(conn *client.Connection) (string, error) {
	var out string
	err := conn.CallUnary(context.Background(), []any{"you"}, &out, "Greet")
	return out, err
}

// memoryBackend joins world and leaves it with the test.
func memoryBackend(t testing.TB, world *memory.Registry) (Backend, *memory.Client) {
	t.Helper()
	c := world.Join(memory.Config{})
	t.Cleanup(c.Close)
	return Backend{Discoverer: c, Registrar: c, Mapping: c, Metadata: c}, c
}

func app(name string) registry.App { return registry.App{Namespace: namespace, Name: name} }
