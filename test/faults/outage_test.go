//go:build faults

package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failfast"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failover"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/roundrobin"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	_ "dubbo.apache.org/dubbo-go/v3/filter/accesslog"
	_ "dubbo.apache.org/dubbo-go/v3/filter/echo"
	_ "dubbo.apache.org/dubbo-go/v3/filter/exec_limit"
	_ "dubbo.apache.org/dubbo-go/v3/filter/generic"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/filter/token"
	_ "dubbo.apache.org/dubbo-go/v3/filter/tps"
	dubbologger "dubbo.apache.org/dubbo-go/v3/logger"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	"dubbo.apache.org/dubbo-go/v3/server"

	corev1 "k8s.io/api/core/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/internal/testprocess"
	"github.com/weirmesh/weir/registry/dubbo/kubernetes"
)

// processEnv makes the test binary a provider or a consumer instead of running tests.
const processEnv = "WEIR_FAULTS_PROCESS"

// outageEnv is how long the API server is away; ten minutes without it.
const outageEnv = "WEIR_FAULTS_OUTAGE"

func TestMain(m *testing.M) {
	if text := os.Getenv(processEnv); text != "" {
		var cfg processConfig
		err := json.Unmarshal([]byte(text), &cfg)
		if err == nil && cfg.SnapshotDir != "" {
			err = consume(cfg)
		} else if err == nil {
			err = provide(cfg)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "process: "+err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	provider = "greeter"
	overDub  = "org.example.Stock"
	overTri  = "org.example.Report"
)

type processConfig struct {
	ID, Kubeconfig     string
	DubboPort, TriPort int
	SnapshotDir        string // a consumer, if set
}

// Service is what the providers offer, under two names.
type Service struct{ id, name string }

// Greet says who answers.
func (s *Service) Greet(_ context.Context, name string) (string, error) {
	return s.id + " greets " + name, nil
}

// Reference is the name of the interface.
func (s *Service) Reference() string { return s.name }

func (cfg *processConfig) registry() dubbogo.InstanceOption {
	return kubernetes.WithKubernetes(kubernetes.WithKubeconfig(cfg.Kubeconfig), kubernetes.WithSnapshotDir(cfg.SnapshotDir),
		kubernetes.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
}

func provide(cfg processConfig) error {
	ins, err := dubbogo.NewInstance(
		dubbogo.WithName(provider),
		dubbogo.WithProtocol(protocol.WithDubbo(), protocol.WithPort(cfg.DubboPort), protocol.WithID("dubbo")),
		dubbogo.WithProtocol(protocol.WithTriple(), protocol.WithPort(cfg.TriPort), protocol.WithID("tri")),
		cfg.registry(), dubbogo.WithLogger(dubbologger.WithLevel("warn")),
	)
	if err != nil {
		return err
	}
	srv, err := ins.NewServer()
	if err != nil {
		return err
	}
	for name, proto := range map[string]string{overDub: "dubbo", overTri: "tri"} {
		err := srv.RegisterService(&Service{id: cfg.ID, name: name}, server.WithInterface(name),
			server.WithSerialization(constant.Hessian2Serialization), func(o *server.ServiceOptions) { o.Service.ProtocolIDs = []string{proto} })
		if err != nil {
			return err
		}
	}
	return srv.Serve()
}

// consume calls until it is told to end, over both protocols and without a retry. It
// tells each call that fails, and every second how many it made to whom.
func consume(cfg processConfig) error {
	ins, err := dubbogo.NewInstance(dubbogo.WithName("caller"), cfg.registry(), dubbogo.WithLogger(dubbologger.WithLevel("error")))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var calls atomic.Int64
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for name, proto := range map[string]string{overDub: "dubbo", overTri: "tri"} {
		cli, err := ins.NewClient()
		if err != nil {
			return err
		}
		conn, err := cli.Dial(name, client.WithProtocol(proto), client.WithSerialization(constant.Hessian2Serialization),
			client.WithIDL(constant.NONIDL), //nolint:staticcheck // Triple without generated stubs still needs it
			client.WithLoadBalanceRoundRobin(), client.WithParam(constant.WarmupKey, "1"), client.WithRetries(0), client.WithClusterFailFast(),
			client.WithRequestTimeout(10*time.Second))
		if err != nil {
			return err
		}
		for range 2 {
			wg.Go(func() {
				for ctx.Err() == nil {
					var out string
					err := conn.CallUnary(context.Background(), []any{"you"}, &out, "Greet")
					calls.Add(1)
					if err != nil {
						fmt.Fprintf(os.Stderr, "FAILED %s: %v\n", proto, err)
					}
					mu.Lock()
					answers[proto+" "+strings.SplitN(out, " ", 2)[0]]++
					mu.Unlock()
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
	}
	tick := time.NewTicker(time.Second)
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			wg.Wait()
		}
		mu.Lock()
		fmt.Fprintf(os.Stderr, "CALLS %d %v\n", calls.Load(), answers)
		mu.Unlock()
	}
	return nil
}

type process struct {
	t    *testing.T
	name string
	pod  *corev1.Pod
	cmd  *exec.Cmd
	done chan struct{}

	mu     sync.Mutex
	log    bytes.Buffer
	calls  string
	failed []string
}

func start(t *testing.T, cfg processConfig, env ...string) *process {
	t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: cfg.ID, cmd: exec.Command(exe), done: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append(append(os.Environ(), processEnv+"="+string(text)), env...)
	out, in := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		in.Close()
	}()
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := lines.Text()
			p.mu.Lock()
			switch {
			case strings.HasPrefix(line, "CALLS "):
				p.calls = line
			case strings.HasPrefix(line, "FAILED "):
				p.failed = append(p.failed, time.Now().Format(time.TimeOnly)+" "+line)
			default:
				p.log.WriteString(line + "\n")
			}
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.name, p.log.String())
		}
	})
	return p
}

func (p *process) says(what string) {
	p.t.Helper()
	testkube.Eventually(p.t, p.name+" says "+what, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !strings.Contains(p.log.String()+p.calls, what) {
			return fmt.Errorf("it says:\n%s%s", p.log.String(), p.calls)
		}
		return nil
	})
}

// lost fails the test if a call failed.
func (p *process) lost(when string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.failed) > 0 {
		p.t.Fatalf("%s: %s lost %d calls, the first: %s", when, p.name, len(p.failed), p.failed[0])
	}
	p.t.Logf("%s: %s: %s", when, p.name, p.calls)
}

// Ten minutes without an API server, under calls: none is lost, neither of a consumer
// that ran before, nor of one that is killed and starts again meanwhile.
func TestTenMinutesWithoutTheAPIServer(t *testing.T) {
	outage := 10 * time.Minute
	if text := os.Getenv(outageEnv); text != "" {
		var err error
		if outage, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	c := testkube.StartOwn(t)
	n := c.Namespace(t)
	n.Service(t, provider, 20000)
	n.ServiceAccount(t, provider, "weir-provider")
	n.ServiceAccount(t, "caller", "weir-consumer")
	ip := testkube.HostAddress(t)
	add := func(id string) {
		pod := n.Pod(t, provider, id, testkube.Pod{ServiceAccount: provider, IP: ip, NotReady: true})
		ports := testprocess.FreePorts(t, 2)
		p := start(t, processConfig{ID: id, DubboPort: ports[0], TriPort: ports[1], Kubeconfig: n.Kubeconfig(t, n.As(t, provider, pod))},
			"POD_NAME="+id, "POD_NAMESPACE="+n.Name, "POD_UID="+string(pod.UID), "POD_IP="+ip.String())
		p.says("msg=registered")
		n.SetReady(t, id, true)
	}
	for _, id := range []string{"one", "two", "three"} {
		add(id)
	}
	account := n.Kubeconfig(t, n.As(t, "caller", nil))
	dir := t.TempDir()
	steady := start(t, processConfig{ID: "steady", Kubeconfig: account, SnapshotDir: filepath.Join(dir, "steady")})
	victim := start(t, processConfig{ID: "victim", Kubeconfig: account, SnapshotDir: filepath.Join(dir, "victim")})
	for _, p := range []*process{steady, victim} {
		for _, id := range []string{"dubbo one", "dubbo two", "dubbo three", "tri one", "tri two", "tri three"} {
			p.says(id)
		}
	}
	files := filepath.Join(dir, "victim", "registry-*.snapshot")
	testkube.Eventually(t, "the snapshot file, as it will stay", func() error {
		found, err := filepath.Glob(files)
		if err != nil || len(found) != 1 {
			return fmt.Errorf("files %v, %w", found, err)
		}
		info, err := os.Stat(found[0])
		if err == nil && time.Since(info.ModTime()) < 6*time.Second {
			err = fmt.Errorf("written %v ago", time.Since(info.ModTime()))
		}
		return err
	})

	c.Kill(t)
	began := time.Now()
	steady.lost("before")
	half := time.After(outage / 2)
	<-half
	victim.lost("half of the outage")
	_ = victim.cmd.Process.Kill()
	<-victim.done
	again := start(t, processConfig{ID: "again", Kubeconfig: account, SnapshotDir: filepath.Join(dir, "victim")})
	for _, id := range []string{"dubbo one", "tri one", "dubbo three", "tri three"} {
		again.says(id)
	}
	<-time.After(outage - time.Since(began))
	steady.lost("at the end of the outage")
	again.lost("at the end of the outage")
	t.Logf("the API server was away for %v", time.Since(began).Round(time.Second))

	c.Restart(t)
	add("four")
	for _, p := range []*process{steady, again} {
		p.says("dubbo four")
		p.says("tri four")
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.done
		p.lost("back, and with one more provider")
	}
}
