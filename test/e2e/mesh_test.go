package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// patience bounds every wait for something that should come about by itself.
	patience = 3 * time.Minute
	// poll is how often a wait looks.
	poll = 100 * time.Millisecond
)

// mesh is a running `weir up`.
type mesh struct {
	bin, dir string
	admin    string // address of its admin listener
	// Addresses of its parts, chosen once: a client finds them again after a
	// restart.
	gateway, control, tracing string

	cmd  *exec.Cmd
	out  *output
	done chan struct{} // closed once the process has been reaped
}

// theMesh is shared by the tests, which run one after another.
var theMesh *mesh

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: a Kubernetes node needs root: run sudo make e2e, or run the other tests with make race")
		return 1
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	theMesh = &mesh{bin: filepath.Join(root, "bin")}
	sweep(theMesh.bin)
	// In /var/tmp, since images are unpacked in it and /tmp may be in memory.
	dir, err := os.MkdirTemp("/var/tmp", fmt.Sprintf("weir-e2e-%d-", os.Getpid()))
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	// PostgreSQL runs as an account of its own and must get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	theMesh.dir = filepath.Join(dir, "data")
	if err := theMesh.start(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		if err := theMesh.stop(syscall.SIGINT); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: ending weir up:", err)
		}
		return 1
	}
	code := m.Run()
	if err := theMesh.stop(syscall.SIGINT); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: ending weir up:", err)
		code = 1
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "\n--- what weir up said\n%s---\n", theMesh.out.String())
	}
	return code
}

// start runs weir up and waits until everything is ready, the shop included.
func (m *mesh) start() error {
	if err := m.choose(); err != nil {
		return err
	}
	m.out = &output{}
	m.cmd = exec.Command(filepath.Join(m.bin, "weir"), "up", "--data-dir", m.dir, "--admin-listen", m.admin,
		"--gateway-listen", m.gateway, "--control-listen", m.control, "--tracing-listen", m.tracing)
	m.cmd.Stdout, m.cmd.Stderr = m.out, m.out
	m.cmd.Env = append(os.Environ(), "KUBECONFIG=/nonexistent") // a stray one must not matter
	// Killed tests must not leave a mesh behind. The signal is sent when the
	// thread that started the child ends, so that one stays until the child has.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	m.done = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := m.cmd.Start()
		started <- err
		if err == nil {
			_ = m.cmd.Wait() // the exit code is read from ProcessState
		}
		close(m.done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%w; run make build first", err)
	}
	err := wait("weir up is ready", func() error {
		select {
		case <-m.done:
			return fatal(fmt.Errorf("it ended: %s", m.cmd.ProcessState))
		default:
		}
		resp, err := http.Get("http://" + m.admin + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", resp.Status, body)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%w\n--- it said\n%s---", err, m.out.String())
	}
	return nil
}

// choose takes free ports on the first start.
func (m *mesh) choose() error {
	for _, address := range []*string{&m.admin, &m.gateway, &m.control, &m.tracing} {
		if *address != "" {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // held until all are chosen, so that none is chosen twice
		*address = l.Addr().String()
	}
	return nil
}

// stop sends a signal and waits for the end.
func (m *mesh) stop(sig os.Signal) error {
	if m.cmd.Process == nil {
		return nil
	}
	if err := m.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.done:
	case <-time.After(patience):
		_ = m.cmd.Process.Kill() // what matters is reported below
		<-m.done
		return fmt.Errorf("%s did not end it", sig)
	}
	if code := m.cmd.ProcessState.ExitCode(); sig == syscall.SIGINT && code != 0 {
		return fmt.Errorf("it ended with %s", m.cmd.ProcessState)
	}
	return nil
}

// sweep removes what test runs left that were killed together with their mesh.
func sweep(bin string) {
	left, err := filepath.Glob("/var/tmp/weir-e2e-*-*")
	if err != nil {
		return
	}
	for _, dir := range left {
		pid, err := strconv.Atoi(strings.Split(filepath.Base(dir), "-")[2])
		if err != nil || syscall.Kill(pid, 0) == nil {
			continue // not one of these tests', or it still runs
		}
		cluster := filepath.Join(dir, "data", "devcluster")
		if out, err := exec.Command(filepath.Join(bin, "devcluster"), "down", "--dir", cluster, "--purge").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: sweeping %s: %v\n%s", dir, err, out)
			continue
		}
		os.RemoveAll(dir)
	}
}

func (m *mesh) kubeconfig() string { return filepath.Join(m.dir, "devcluster", "admin.kubeconfig") }

// client returns an administrator's client of the mesh's cluster.
func (m *mesh) client(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", m.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	return kubernetes.NewForConfigOrDie(cfg)
}

// weir runs a command of weir against the mesh's cluster.
func (m *mesh) weir(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(m.bin, "weir"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// registry runs `weir registry …` on the mesh's cluster.
func (m *mesh) registry(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := m.weir(t.Context(), append([]string{"registry"}, append(args, "--kubeconfig", m.kubeconfig())...)...)
	if err != nil {
		t.Fatalf("weir registry %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// ask runs a command of weir that asks the mesh's APIs.
func (m *mesh) ask(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.tryAsk(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tryAsk is ask for what may fail; the error holds what the command said.
func (m *mesh) tryAsk(ctx context.Context, args ...string) (string, error) {
	flags := []string{"--server", "http://" + m.control, "--data-dir", m.dir}
	if args[0] == "trace" {
		flags = []string{"--tracing-server", "http://" + m.tracing}
	}
	out, errs, err := m.weir(ctx, append(args, flags...)...)
	if err != nil {
		return out, fmt.Errorf("weir %s: %w\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out, nil
}

// output keeps what a process wrote.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// fatalError ends a wait at once.
type fatalError struct{ error }

func fatal(err error) error { return fatalError{err} }

// wait calls check until it returns nil or patience ends.
func wait(what string, check func() error) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		err := check()
		var f fatalError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &f):
			return fmt.Errorf("waiting until %s: %w", what, f.error)
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("gave up waiting until %s: %w", what, err)
		}
	}
}

// eventually fails the test if check does not come to return nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	if err := wait(what, check); err != nil {
		t.Fatal(err)
	}
}

// getJSON reads a JSON document over HTTP.
func getJSON(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
