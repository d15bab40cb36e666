package zookeeper

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
	"dubbo.apache.org/dubbo-go/v3/server"

	corev1 "k8s.io/api/core/v1"

	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/internal/testzk"
	dubbokubernetes "github.com/weirmesh/weir/registry/dubbo/kubernetes"
)

// processEnv makes the test binary an application's process instead of running tests.
const processEnv = "WEIR_ZOOKEEPER_TEST_PROCESS"

func TestMain(m *testing.M) {
	if text := os.Getenv(processEnv); text != "" {
		if err := live(text); err != nil {
			fmt.Fprintln(os.Stderr, "ended: "+err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	inventory = "inventory"          // provides
	orders    = "orders"             // calls
	stock     = "org.example.Stock"  // over the Dubbo protocol
	reports   = "org.example.Report" // over Triple
)

// interfaces are called in turns.
var interfaces = []struct{ name, protocol string }{{stock, constant.DubboProtocol}, {reports, constant.TriProtocol}}

// processConfig says how an application is set up: what users change on the way.
type processConfig struct {
	App, ID    string
	Kubeconfig string // empty for no registry on Kubernetes
	ZooKeeper  string // empty for none there
	// Plain takes dubbo-go's own registry, as applications have it before they move.
	Plain         bool
	ByApplication bool
	// Prefer is the id of the registry that is called.
	Prefer             string
	DubboPort, TriPort int // of providers
}

// options are those of the instance, as a user writes them.
func (c processConfig) options() []dubbogo.InstanceOption {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	preferred := func(id string) []goregistry.Option {
		if c.Prefer == id {
			return []goregistry.Option{goregistry.WithPreferred()}
		}
		return nil
	}
	opts := []dubbogo.InstanceOption{
		dubbogo.WithName(c.App),
		dubbogo.WithLogger(dubbologger.WithLevel("warn")),
		dubbogo.WithShutdown(graceful_shutdown.WithStepTimeout(time.Second), graceful_shutdown.WithOfflineRequestWindowTimeout(100*time.Millisecond)),
	}
	if c.Kubeconfig != "" {
		opts = append(opts, dubbokubernetes.WithKubernetes(
			dubbokubernetes.WithKubeconfig(c.Kubeconfig), dubbokubernetes.WithLogger(log),
			dubbokubernetes.WithRegisterTimeout(2*time.Second),
			dubbokubernetes.WithRegistryOptions(preferred(dubbokubernetes.DefaultID)...),
		))
	}
	kind := goregistry.WithRegisterInterface()
	if c.ByApplication {
		kind = goregistry.WithRegisterService()
	}
	switch {
	case c.ZooKeeper == "":
	case c.Plain:
		opts = append(opts, dubbogo.WithRegistry(goregistry.WithZookeeper(), goregistry.WithAddress(c.ZooKeeper), kind))
	default:
		opts = append(opts, WithZooKeeper(c.ZooKeeper, WithLogger(log), WithRegistryOptions(append(preferred(DefaultID), kind)...)))
	}
	return opts
}

func live(text string) error {
	var cfg processConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	patienceWithLists, settleLists = 500*time.Millisecond, 3*time.Second
	if cfg.App == inventory {
		return provide(cfg)
	}
	return consume(cfg)
}

// Service is what the providers of these tests offer, under two names.
type Service struct{ id, name string }

func (s *Service) Greet(_ context.Context, name string) (string, error) {
	return s.id + " greets " + name, nil
}

func (s *Service) Reference() string { return s.name }

func provide(cfg processConfig) error {
	ins, err := dubbogo.NewInstance(append(cfg.options(),
		dubbogo.WithProtocol(protocol.WithDubbo(), protocol.WithPort(cfg.DubboPort), protocol.WithID(constant.DubboProtocol)),
		dubbogo.WithProtocol(protocol.WithTriple(), protocol.WithPort(cfg.TriPort), protocol.WithID(constant.TriProtocol)),
	)...)
	if err != nil {
		return err
	}
	srv, err := ins.NewServer()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		err := srv.RegisterService(&Service{id: cfg.ID, name: i.name},
			server.WithInterface(i.name), server.WithSerialization(constant.Hessian2Serialization), server.WithVersion("1.0.0"),
			func(o *server.ServiceOptions) { o.Service.ProtocolIDs = []string{i.protocol} })
		if err != nil {
			return err
		}
	}
	go func() {
		// What a readiness probe would find.
		for _, port := range []int{cfg.DubboPort, cfg.TriPort} {
			for {
				c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
				if err == nil {
					_ = c.Close()
					break
				}
				<-time.After(10 * time.Millisecond)
			}
		}
		fmt.Println("serves")
	}()
	return srv.Serve()
}

// callPause is between two calls.
const callPause = 20 * time.Millisecond

// consume calls until it is told to end, and tells of each call that fails and, from
// time to time, who answered.
func consume(cfg processConfig) error {
	ctx, _, release := run.Signals(context.Background(), syscall.SIGTERM)
	defer release()
	opts := append(cfg.options(), dubbogo.WithShutdown(graceful_shutdown.WithoutInternalSignal()))
	ins, err := dubbogo.NewInstance(opts...)
	if err != nil {
		return err
	}
	var conns []*client.Connection
	for _, i := range interfaces {
		cli, err := ins.NewClient()
		if err != nil {
			return err
		}
		conn, err := cli.Dial(i.name,
			client.WithProtocol(i.protocol), client.WithSerialization(constant.Hessian2Serialization), client.WithVersion("1.0.0"),
			client.WithIDL(constant.NONIDL), //nolint:staticcheck // Triple without generated stubs still needs it
			client.WithRequestTimeout(5*time.Second), client.WithLoadBalanceRoundRobin(), client.WithParam(constant.WarmupKey, "1"))
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	fmt.Println("dialled")
	t := tally{By: map[string]int{}}
	// dubbo-go does not wait for its first list of ZooKeeper's; applications do, before
	// they are ready. Where Kubernetes is called, the first call counts.
	counts := cfg.Kubeconfig != "" && cfg.Prefer != DefaultID
	answered := map[string]bool{}
	told := time.Now()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			t.tell("done")
			return nil
		case <-time.After(callPause):
		}
		at := n % len(conns)
		var out string
		err := conns[at].CallUnary(context.Background(), []any{"you"}, &out, "Greet")
		switch {
		case err == nil:
			t.OK++
			id, _, _ := strings.Cut(out, " ")
			t.By[id+"/"+interfaces[at].protocol]++
			answered[interfaces[at].name] = true
			counts = counts || len(answered) == len(interfaces)
		case counts:
			t.Failed++
			fmt.Printf("FAILED %s: %v\n", interfaces[at].name, err)
		}
		if time.Since(told) > 400*time.Millisecond {
			told = time.Now()
			t.tell("tally")
			clear(t.By)
		}
	}
}

// tally is what a consumer tells: all calls, and who answered since it told last.
type tally struct {
	OK, Failed int
	By         map[string]int
}

func (t *tally) tell(word string) {
	text, err := json.Marshal(t)
	if err == nil {
		fmt.Println(word, string(text))
	}
}

// world is a namespace and a ZooKeeper with applications in them.
type world struct {
	t  *testing.T
	ns *testkube.Namespace
	zk *testzk.Server
	ip netip.Addr
}

func newWorld(t *testing.T, c *testkube.Cluster) *world {
	t.Helper()
	if raceDetector {
		t.Skip("dubbo-go v3.3.2 has data races of its own, which would be reported as this package's")
	}
	w := &world{t: t, ns: c.Namespace(t), zk: testzk.StartOwn(t), ip: testkube.HostAddress(t)}
	w.ns.Service(t, inventory, 20000)
	w.ns.ServiceAccount(t, inventory, "weir-provider")
	w.ns.ServiceAccount(t, orders, "weir-consumer")
	return w
}

// process is an application's process, and the pod that stands for it.
type process struct {
	*testprocess.Process
	w   *world
	pod *corev1.Pod
}

// start starts a process in a pod that is not ready. In says which registries it has.
func (w *world) start(app, id string, in processConfig) *process {
	w.t.Helper()
	return w.prepare(app, id, in)()
}

// prepare makes the pod, and returns what starts the process, which needs no cluster.
func (w *world) prepare(app, id string, in processConfig) func() *process {
	w.t.Helper()
	pod := w.ns.Pod(w.t, app, id, testkube.Pod{ServiceAccount: app, IP: w.ip, NotReady: true})
	in.App, in.ID = app, id
	if in.Kubeconfig != "" {
		in.Kubeconfig = w.ns.Kubeconfig(w.t, w.ns.As(w.t, app, pod))
	}
	if app == inventory {
		ports := testprocess.FreePorts(w.t, 2)
		in.DubboPort, in.TriPort = ports[0], ports[1]
	}
	text, err := json.Marshal(in)
	if err != nil {
		w.t.Fatal(err)
	}
	return func() *process { return w.run(pod, string(text)) }
}

func (w *world) run(pod *corev1.Pod, text string) *process {
	w.t.Helper()
	return &process{w: w, pod: pod, Process: testprocess.Start(w.t, pod.Name, processEnv+"="+text, constant.DubboIpToRegistryKey+"="+w.ip.String(),
		"POD_NAME="+pod.Name, "POD_NAMESPACE="+w.ns.Name, "POD_UID="+string(pod.UID), "POD_IP="+w.ip.String())}
}

// provider starts a provider and makes its pod ready, as the kubelet does.
func (w *world) provider(id string, in processConfig) *process {
	w.t.Helper()
	p := w.start(inventory, id, in)
	p.says("serves")
	if in.Kubeconfig != "" {
		p.says("msg=registered")
	}
	w.ns.SetReady(w.t, id, true)
	return p
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

// last returns what a consumer told last.
func (p *process) last() (tally, bool) {
	lines := strings.Split(p.Output(), "\n")
	for _, line := range slices.Backward(lines[:len(lines)-1]) {
		word, text, _ := strings.Cut(line, " ")
		var t tally
		if (word == "tally" || word == "done") && json.Unmarshal([]byte(text), &t) == nil {
			return t, true
		}
	}
	return tally{}, false
}

// answered waits until those that answer the consumer, over either protocol, are
// these and no others.
func (p *process) answered(by ...string) {
	p.w.t.Helper()
	var want []string
	for _, id := range by {
		for _, i := range interfaces {
			want = append(want, id+"/"+i.protocol)
		}
	}
	slices.Sort(want)
	testkube.Eventually(p.w.t, fmt.Sprintf("%s is answered by %v", p.pod.Name, by), func() error {
		t, ok := p.last()
		var have []string
		for id := range t.By {
			have = append(have, id)
		}
		slices.Sort(have)
		if !ok || !slices.Equal(have, want) {
			return fmt.Errorf("it is answered by %v:\n%s", have, p.Output())
		}
		return nil
	})
}

// lostNothing checks that no call has failed.
func (p *process) lostNothing() int {
	p.w.t.Helper()
	t, _ := p.last()
	if t.Failed > 0 || strings.Contains(p.Output(), "FAILED") {
		p.w.t.Errorf("%s lost calls: %d of %d", p.pod.Name, t.Failed, t.OK+t.Failed)
	}
	return t.OK
}
