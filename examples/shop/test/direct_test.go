// Package test runs the shop's three programs as processes of their own, as
// `make run` does, and holds them to what the README promises.
package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shop.example/internal/tally"
)

// bin is where the shop's programs are, caller the program that calls them.
var bin, caller string

func TestMain(m *testing.M) { os.Exit(withPrograms(m.Run)) }

// withPrograms builds what the tests run; $SHOP_BIN names programs built before.
func withPrograms(run func() int) int {
	dir, err := os.MkdirTemp("", "shop-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	caller = filepath.Join(dir, "caller")
	packages := []string{"shop.example/test/caller"}
	if bin = os.Getenv("SHOP_BIN"); bin == "" {
		bin = dir
		packages = append(packages, "shop.example/cmd/...")
	}
	build := exec.Command("go", append([]string{"build", "-ldflags", "-s -w", "-o", dir + string(filepath.Separator)}, packages...)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile builds them
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	err = build.Run()
	if err == nil && bin == dir {
		same := exec.Command("go", "build", "-ldflags", "-s -w", "-tags", "samefunctions", "-o", filepath.Join(dir, "pricing-same"), "shop.example/cmd/pricing")
		same.Env, same.Stdout, same.Stderr = build.Env, os.Stderr, os.Stderr
		err = same.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the shop:", err)
		return 1
	}
	return run()
}

// stats is what the tests read of /stats.
type stats struct {
	App       string                        `json:"app"`
	Instance  string                        `json:"instance"`
	Served    tally.Stats                   `json:"served"`
	Made      tally.Stats                   `json:"made"`
	Attempts  tally.Stats                   `json:"attempts"`
	Providers map[string]tally.ProviderList `json:"providers"`
	Load      struct {
		Started, Shed int64
	} `json:"load"`
}

// program is one running process.
type program struct {
	name  string
	cmd   *exec.Cmd
	admin string // its admin port
	log   *logBuffer
	ended chan struct{} // closed once the process has ended
}

// logBuffer keeps what a process printed, to be shown when a test fails.
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

// freeAddress returns a loopback address that nobody listens at, outside the
// range that the system gives to outgoing connections: one of those could take
// it before the program does.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprint("127.0.0.1:", 20100+rand.N(12000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no free port on loopback")
	return ""
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// start runs a program until the test ends.
func start(t *testing.T, program_, instance string, args ...string) *program {
	t.Helper()
	p := &program{name: instance, log: &logBuffer{}, ended: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(bin, program_), append([]string{
		"-registry", "direct", "-instance", instance, "-admin-address", "127.0.0.1:0", "-drain", "1s",
	}, args...)...)
	p.cmd.Env = []string{} // nothing of the tester's own environment
	p.cmd.Dir = t.TempDir()
	out, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	admin := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fmt.Fprintln(p.log, lines.Text())
			if _, rest, ok := strings.Cut(lines.Text(), " admin="); ok {
				address, _, _ := strings.Cut(rest, " ")
				select {
				case admin <- address:
				default:
				}
			}
		}
		_ = p.cmd.Wait() // its code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // ended already, or has to
		<-p.ended
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.name, p.log)
		}
	})
	select {
	case p.admin = <-admin:
	case <-p.ended:
		t.Fatalf("%s ended at once:\n%s", instance, p.log)
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not open its admin port:\n%s", instance, p.log)
	}
	return p
}

// stop tells a program to end and requires that it ends in order.
func (p *program) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not end", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with code %d", p.name, code)
	}
}

func (p *program) get(path string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

func (p *program) stats(t *testing.T) (s stats) {
	t.Helper()
	code, body, err := p.get("/stats")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("status %d", code)
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		t.Fatalf("stats of %s: %v", p.name, err)
	}
	return s
}

// eventually asks until the answer is nil, and fails with the last one after a
// minute.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func (p *program) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, p.name+" ready", func() error {
		select {
		case <-p.ended:
			t.Fatalf("%s ended:\n%s", p.name, p.log)
		default:
		}
		code, body, err := p.get("/readyz")
		if err == nil && code != http.StatusOK {
			err = errors.New(string(body))
		}
		return err
	})
}

// shop is two instances of inventory and one of orders.
type shop struct {
	a, b, orders                  *program
	addressA, addressB, addressOf string
}

// open starts a shop, with more instances of inventory than the two if wanted.
func open(t *testing.T, more ...string) *shop {
	t.Helper()
	s := &shop{addressA: freeAddress(t), addressB: freeAddress(t), addressOf: freeAddress(t)}
	s.a = start(t, "inventory", "inv-a", "-listen", s.addressA, "-probe-port", port(freeAddress(t)))
	s.b = start(t, "inventory", "inv-b", "-listen", s.addressB, "-probe-port", port(freeAddress(t)))
	addresses, programs := []string{"dubbo://" + s.addressA, "dubbo://" + s.addressB}, []*program{s.a, s.b}
	for _, name := range more {
		address := freeAddress(t)
		addresses = append(addresses, "dubbo://"+address)
		programs = append(programs, start(t, "inventory", name, "-listen", address, "-probe-port", port(freeAddress(t))))
	}
	s.orders = start(t, "orders", "ord-a", "-listen", s.addressOf, "-probe-port", port(freeAddress(t)),
		"-inventory", strings.Join(addresses, ","))
	for _, p := range append(programs, s.orders) {
		p.waitReady(t)
	}
	return s
}

func (s *shop) load(t *testing.T) *program {
	t.Helper()
	return start(t, "load", "load", "-orders", "tri://"+s.addressOf, "-rate", "50")
}
