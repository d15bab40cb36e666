package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	"dubbo.apache.org/dubbo-go/v3/server"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/internal/testprocess"
)

// processEnv makes the test binary a provider process instead of running tests.
const processEnv = "WEIR_KUBERNETES_TEST_PROCESS"

func TestMain(m *testing.M) {
	if cfg := os.Getenv(processEnv); cfg != "" {
		os.Exit(provide(cfg))
	}
	os.Exit(m.Run())
}

const (
	stock   = "org.example.Stock"  // over the Dubbo protocol
	reports = "org.example.Report" // over Triple
)

type processConfig struct {
	App, ID, Kubeconfig string
	DubboPort, TriPort  int
	Call                bool // it calls, and serves nothing
	SnapshotDir         string
	Group, Version      string // under which it offers reports as well
}

// Service is what the providers of these tests offer, under two names.
type Service struct{ id, name string }

func (s *Service) Greet(_ context.Context, name string) (string, error) {
	return s.id + " greets " + name, nil
}

func (s *Service) Slow(_ context.Context, ms int64) (string, error) {
	<-time.After(time.Duration(ms) * time.Millisecond)
	return s.id, nil
}

func (s *Service) Reference() string { return s.name }

func provide(text string) int {
	var cfg processConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	run := serve
	if cfg.Call {
		run = call
	}
	if err := run(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "serve: "+err.Error())
		return 1
	}
	return 0
}

// serve is a provider as a user writes one, but for the ports, which pods need
// not share with one another.
func serve(cfg processConfig) error {
	ins, err := dubbogo.NewInstance(
		dubbogo.WithName(cfg.App),
		dubbogo.WithProtocol(protocol.WithDubbo(), protocol.WithPort(cfg.DubboPort), protocol.WithID("dubbo")),
		dubbogo.WithProtocol(protocol.WithTriple(), protocol.WithPort(cfg.TriPort), protocol.WithID("tri")),
		WithKubernetes(WithKubeconfig(cfg.Kubeconfig), WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil)))),
		dubbogo.WithLogger(dubbologger.WithLevel("warn")),
		dubbogo.WithShutdown(graceful_shutdown.WithConsumerUpdateWaitTime(time.Second), graceful_shutdown.WithStepTimeout(time.Second),
			graceful_shutdown.WithOfflineRequestWindowTimeout(100*time.Millisecond)),
	)
	if err != nil {
		return err
	}
	srv, err := ins.NewServer()
	if err != nil {
		return err
	}
	for name, proto := range map[string]string{stock: "dubbo", reports: "tri"} {
		err := srv.RegisterService(&Service{id: cfg.ID, name: name},
			server.WithInterface(name), server.WithSerialization(constant.Hessian2Serialization),
			func(o *server.ServiceOptions) { o.Service.ProtocolIDs = []string{proto} })
		if err != nil {
			return err
		}
	}
	if cfg.Group != "" {
		err := srv.RegisterService(&Service{id: cfg.ID + "-" + cfg.Group + "-" + cfg.Version, name: reports + "-" + cfg.Version},
			server.WithInterface(reports), server.WithSerialization(constant.Hessian2Serialization),
			server.WithGroup(cfg.Group), server.WithVersion(cfg.Version),
			func(o *server.ServiceOptions) { o.Service.ProtocolIDs = []string{"tri"} })
		if err != nil {
			return err
		}
	}
	return srv.Serve()
}

// call is a consumer as a user writes one. It says what its first call gave, and then
// each answer from somebody new.
func call(cfg processConfig) error {
	ins, err := dubbogo.NewInstance(
		dubbogo.WithName(cfg.App),
		WithKubernetes(WithKubeconfig(cfg.Kubeconfig), WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))), WithSnapshotDir(cfg.SnapshotDir)),
		dubbogo.WithLogger(dubbologger.WithLevel("warn")),
	)
	if err != nil {
		return err
	}
	cli, err := ins.NewClient()
	if err != nil {
		return err
	}
	conn, err := cli.Dial(stock, client.WithProtocol("dubbo"), client.WithSerialization(constant.Hessian2Serialization),
		client.WithLoadBalanceRoundRobin(), client.WithParam(constant.WarmupKey, "1"), client.WithRetries(0), client.WithClusterFailFast())
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for {
		var out string
		if err := conn.CallUnary(context.Background(), []any{"you"}, &out, "Greet"); err != nil {
			return fmt.Errorf("call: %w", err)
		}
		if !seen[out] {
			seen[out] = true
			fmt.Fprintln(os.Stderr, "answer: "+out)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// world is a namespace with an application in it.
type world struct {
	t  *testing.T
	ns *testkube.Namespace
	ip netip.Addr
}

const greeter = "greeter"

func newWorld(t *testing.T, c *testkube.Cluster) *world {
	t.Helper()
	w := &world{t: t, ns: c.Namespace(t), ip: testkube.HostAddress(t)}
	w.ns.ServiceAccount(t, greeter, "weir-provider")
	w.ns.ServiceAccount(t, "caller", "weir-consumer")
	return w
}

// process is a provider process and the pod that stands for it.
type process struct {
	*testprocess.Process
	w   *world
	pod *corev1.Pod
}

// start makes a pod that is not ready and starts its process.
func (w *world) start(name string, change ...func(*processConfig)) *process {
	w.t.Helper()
	return w.prepare(name, change...)()
}

// prepare makes a pod that is not ready and returns what starts its process,
// which needs no cluster.
func (w *world) prepare(name string, change ...func(*processConfig)) func() *process {
	w.t.Helper()
	pod := w.ns.Pod(w.t, greeter, name, testkube.Pod{ServiceAccount: greeter, IP: w.ip, NotReady: true})
	ports := testprocess.FreePorts(w.t, 2)
	cfg := processConfig{App: greeter, ID: name, DubboPort: ports[0], TriPort: ports[1], Kubeconfig: w.ns.Kubeconfig(w.t, w.ns.As(w.t, greeter, pod))}
	for _, f := range change {
		f(&cfg)
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return func() *process { return w.run(pod, string(text)) }
}

// caller starts a process that calls, with the credentials of that file.
func (w *world) caller(name, kubeconfig, dir string) *process {
	w.t.Helper()
	text, err := json.Marshal(processConfig{App: "caller", ID: name, Kubeconfig: kubeconfig, Call: true, SnapshotDir: dir})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.run(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}, string(text))
}

func (w *world) run(pod *corev1.Pod, text string) *process {
	w.t.Helper()
	return &process{w: w, pod: pod, Process: testprocess.Start(w.t, pod.Name, processEnv+"="+text,
		"POD_NAME="+pod.Name, "POD_NAMESPACE="+w.ns.Name, "POD_UID="+string(pod.UID), "POD_IP="+w.ip.String())}
}

// ready waits until the process is registered and makes its pod ready, as the
// kubelet does once the readiness probe succeeds.
func (p *process) ready() {
	p.w.t.Helper()
	p.says("msg=registered")
	p.w.ns.SetReady(p.w.t, p.pod.Name, true)
}

// listens returns the ports on which the process takes connections, in order.
func (p *process) listens() (ports []int) {
	p.w.t.Helper()
	proc := fmt.Sprintf("/proc/%d/", p.PID())
	open, err := filepath.Glob(proc + "fd/*")
	if err != nil {
		p.w.t.Fatal(err)
	}
	own := map[string]bool{}
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil {
			own[to] = true
		}
	}
	for _, file := range []string{"net/tcp", "net/tcp6"} {
		text, err := os.ReadFile(proc + file)
		if err != nil {
			p.w.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			const listening = "0A"
			fields := strings.Fields(line)
			if len(fields) < 10 || fields[3] != listening || !own["socket:["+fields[9]+"]"] {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			port, err := strconv.ParseInt(hex, 16, 32)
			if err != nil {
				p.w.t.Fatal(err)
			}
			ports = append(ports, int(port))
		}
	}
	slices.Sort(ports)
	return ports
}

func (p *process) says(what string) {
	p.w.t.Helper()
	p.Says(p.w.t, what)
}

// stop ends pod and process as Kubernetes does: told to go, waited for, removed.
func (p *process) stop() {
	p.w.t.Helper()
	p.w.ns.Terminate(p.w.t, p.pod.Name)
	p.Stop(p.w.t)
	p.w.ns.Remove(p.w.t, p.pod.Name)
}

func (p *process) ends() {
	p.w.t.Helper()
	p.Ends(p.w.t)
}

// consumer is a dubbo-go client in the test's own process.
type consumer struct {
	w   *world
	ins *dubbogo.Instance
	log *bytes.Buffer
	mu  *sync.Mutex
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (w *world) consume(opts ...Option) *consumer {
	w.t.Helper()
	c := &consumer{w: w, log: &bytes.Buffer{}, mu: &sync.Mutex{}}
	id := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(w.t.Name()))
	opts = append([]Option{
		WithKubeconfig(w.ns.Kubeconfig(w.t, w.ns.As(w.t, "caller", nil))), WithID(id), WithoutSignals(),
		WithLogger(slog.New(slog.NewTextHandler(lockedWriter{c.mu, c.log}, nil))),
	}, opts...)
	ins, err := dubbogo.NewInstance(dubbogo.WithName("caller"), WithKubernetes(opts...), dubbogo.WithLogger(dubbologger.WithLevel("error")))
	if err != nil {
		w.t.Fatal(err)
	}
	c.ins = ins
	w.t.Cleanup(func() {
		leave(id)
		if w.t.Failed() {
			w.t.Logf("log of the consumer:\n%s", c.Output())
		}
	})
	return c
}

func (c *consumer) Output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

func (c *consumer) says(what string) {
	c.w.t.Helper()
	testkube.Eventually(c.w.t, "the consumer says "+strconv.Quote(what), func() error {
		if out := c.Output(); !strings.Contains(out, what) {
			return fmt.Errorf("it says: %s", out)
		}
		return nil
	})
}

func (c *consumer) refer(iface, proto string, opts ...client.ReferenceOption) *client.Connection {
	c.w.t.Helper()
	cli, err := c.ins.NewClient()
	if err != nil {
		c.w.t.Fatal(err)
	}
	conn, err := cli.Dial(iface, append([]client.ReferenceOption{
		client.WithProtocol(proto), client.WithSerialization(constant.Hessian2Serialization),
		client.WithIDL(constant.NONIDL), //nolint:staticcheck // Triple without generated stubs still needs it

		client.WithRequestTimeout(10 * time.Second), client.WithLoadBalanceRoundRobin(), client.WithParam(constant.WarmupKey, "1"),
	}, opts...)...)
	if err != nil {
		c.w.t.Fatal(err)
	}
	return conn
}

// answers waits until each of the providers has answered, and nobody else does.
func (w *world) answers(conn *client.Connection, ids ...string) {
	w.t.Helper()
	testkube.Eventually(w.t, fmt.Sprintf("answers from %v", ids), func() error {
		seen := map[string]int{}
		for range 4 * len(ids) {
			var out string
			if err := conn.CallUnary(context.Background(), []any{"you"}, &out, "Greet"); err != nil {
				return err
			}
			id, _, _ := strings.Cut(out, " ")
			seen[id]++
		}
		if len(seen) != len(ids) {
			return fmt.Errorf("they come from %v", seen)
		}
		for _, id := range ids {
			if seen[id] == 0 {
				return fmt.Errorf("they come from %v", seen)
			}
		}
		return nil
	})
}
