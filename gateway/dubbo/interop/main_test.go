package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/dubbo"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// deadline bounds every wait in these tests. Nothing waits for it on success.
const deadline = 60 * time.Second

func TestMain(m *testing.M) {
	if cfg := os.Getenv(processEnv); cfg != "" {
		os.Exit(provide(cfg))
	}
	os.Exit(withDir(m.Run))
}

// shopBin is where the example shop's programs are, once built; $SHOP_BIN names
// ones built before.
var shopBin string

func withDir(run func() int) int {
	dir, err := os.MkdirTemp("", "weir-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shopBin = dir
	return run()
}

var buildShop = sync.OnceValue(func() error {
	if bin := os.Getenv("SHOP_BIN"); bin != "" {
		shopBin = bin
		return nil
	}
	root, err := filepath.Abs("../../../examples/shop")
	if err != nil {
		return err
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", shopBin+string(filepath.Separator), "./cmd/inventory", "./cmd/orders")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile builds them
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the shop: %w\n%s", err, out)
	}
	return nil
})

// process is a running provider.
type process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	done chan struct{}
	log  logBuffer
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

func run(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	if raceDetector {
		t.Skip("dubbo-go v3.3.2 has data races of its own, which would be reported as this package's")
	}
	p := &process{t: t, name: name, cmd: cmd, done: make(chan struct{})}
	cmd.Dir = t.TempDir()
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if !strings.Contains(lines.Text(), "ignoring invalid trailer") { // dubbo-go sends all headers back
				fmt.Fprintln(&p.log, lines.Text())
			}
		}
		_, _ = io.Copy(io.Discard, out) // nothing is left but what was too long
	}()
	go func() {
		_ = cmd.Wait() // its code is of no interest
		in.Close()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%.4000s", name, p.log.String())
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // ended already, or has to
	<-p.done
}

func (p *process) terminate() {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// startProbe starts a provider of Probe.
func startProbe(t testing.TB, protocol, name string) (*process, int) {
	t.Helper()
	port := freePort(t)
	text, err := json.Marshal(processConfig{Protocol: protocol, Port: port, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), processEnv+"="+string(text))
	p := run(t, name, cmd)
	p.awaitPort(port)
	return p, port
}

// startShop starts a program of the example shop.
func startShop(t testing.TB, program, instance string, args ...string) (*process, int) {
	t.Helper()
	if raceDetector {
		t.Skip("dubbo-go v3.3.2 races with itself; the step dubbo runs this without the detector")
	}
	if err := buildShop(); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	cmd := exec.Command(filepath.Join(shopBin, program), append([]string{
		"-registry", "direct", "-instance", instance, "-admin-address", "127.0.0.1:0", "-drain", "1s",
		"-listen", fmt.Sprint("127.0.0.1:", port), "-probe-port", fmt.Sprint(freePort(t)),
	}, args...)...)
	cmd.Env = []string{} // nothing of the tester's own environment
	p := run(t, instance, cmd)
	p.awaitPort(port)
	return p, port
}

func (p *process) awaitPort(port int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s listens at %d", p.name, port), func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("%s ended:\n%s", p.name, p.log.String())
		default:
		}
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// freePort returns a port that was free a moment ago, below those that the kernel
// gives to outgoing connections.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 21000 + rand.IntN(11000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port on loopback")
	return 0
}

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

// world is a registry with one application, shop/probe, and a gateway on it.
type world struct {
	t   testing.TB
	reg *memory.Registry
	app registry.App
	d   *dubbo.Dubbo
}

func newWorld(t testing.TB, cfg dubbo.Config) *world {
	t.Helper()
	w := &world{t: t, reg: memory.New(), app: registry.App{Namespace: "shop", Name: "probe"}}
	client := w.reg.Join(memory.Config{})
	t.Cleanup(client.Close)
	cfg.Discoverer = client
	d, err := dubbo.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	w.d = d
	return w
}

func (w *world) put(id, protocol string, port int) {
	w.reg.PutInstance(w.app, registry.Instance{
		ID: id, Name: id, Host: netip.MustParseAddr("127.0.0.1"), Health: registry.Ready,
		Metadata:  map[string]string{registry.KeyEndpoints: fmt.Sprintf(`[{"port":%d,"protocol":%q}]`, port, protocol)},
		Endpoints: []registry.Endpoint{{Protocol: protocol, Port: uint16(port)}},
	})
}

// compile returns the handler of a method's route.
func (w *world) compile(iface, method string, args []gateway.Arg, filters ...gateway.Filter) http.Handler {
	w.t.Helper()
	return w.route(gateway.Route{
		Namespace: "shop", Name: strings.ToLower(method), Filters: filters,
		Upstream: gateway.Upstream{Dubbo: &gateway.Dubbo{App: "shop/probe", Interface: iface, Method: method, Args: args}},
	})
}

func (w *world) route(r gateway.Route) http.Handler {
	w.t.Helper()
	h, err := w.d.Compile(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// post sends a JSON body to a handler.
func post(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	return send(context.Background(), h, body, header...)
}

func send(ctx context.Context, h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func expect(t testing.TB, w *httptest.ResponseRecorder, status int, words ...string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	for _, word := range words {
		if !strings.Contains(w.Body.String(), word) {
			t.Errorf("no %s in %s", word, w.Body)
		}
	}
}
