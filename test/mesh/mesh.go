// Package mesh gives tests a running `weir up`: PostgreSQL, a Kubernetes node and
// Weir, with the example shop as real pods or with other manifests. One mesh
// serves all tests of a package; it needs root and what `make build` makes.
package mesh

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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
)

const (
	// Patience bounds every wait for something that should come about by itself.
	Patience = 3 * time.Minute
	// poll is how often a wait looks.
	poll = 100 * time.Millisecond
)

// Mesh is a running `weir up`.
type Mesh struct {
	// Bin holds the programs that make build makes, Dir the mesh's data.
	Bin, Dir string
	// Admin is the address of its admin listener. It, and the addresses of the
	// mesh's parts, are chosen once: a client finds them again after a restart.
	Admin, Gateway, Control, Tracing string
	// Cmd is the process; Flags are given to it besides the addresses.
	Cmd   *exec.Cmd
	Flags []string
	// Startup bounds the start, instead of Patience: large images take a while.
	Startup time.Duration

	out  *output
	done chan struct{} // closed once the process has been reaped
}

// Run starts a mesh in a directory of its own, runs tests on it, ends it, and
// returns their exit code. name is that of the package, for messages and the
// directory; root leads to the project's directory.
func Run(name, root string, m *Mesh, run func() int) int {
	complain := func(args ...any) { fmt.Fprintln(os.Stderr, append([]any{name + ":"}, args...)...) }
	if os.Geteuid() != 0 {
		complain("a Kubernetes node needs root: run sudo make " + name + ", or run the other tests with make race")
		return 1
	}
	root, err := filepath.Abs(root)
	if err != nil {
		complain(err)
		return 1
	}
	m.Bin = filepath.Join(root, "bin")
	sweep(name, m.Bin)
	// In /var/tmp, since images are unpacked in it and /tmp may be in memory.
	dir, err := os.MkdirTemp("/var/tmp", fmt.Sprintf("weir-%s-%d-", name, os.Getpid()))
	if err != nil {
		complain(err)
		return 1
	}
	defer os.RemoveAll(dir)
	// PostgreSQL runs as an account of its own and must get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		complain(err)
		return 1
	}
	m.Dir = filepath.Join(dir, "data")
	if err := m.Start(); err != nil {
		complain(err)
		if err := m.Stop(syscall.SIGINT); err != nil {
			complain("ending weir up:", err)
		}
		return 1
	}
	code := run()
	if err := m.Stop(syscall.SIGINT); err != nil {
		complain("ending weir up:", err)
		code = 1
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "\n--- what weir up said\n%s---\n", m.out.String())
	}
	return code
}

// Start runs weir up and waits until everything is ready, the shop included.
func (m *Mesh) Start() error {
	if err := m.choose(); err != nil {
		return err
	}
	m.out = &output{}
	m.Cmd = exec.Command(filepath.Join(m.Bin, "weir"), append([]string{
		"up", "--data-dir", m.Dir, "--admin-listen", m.Admin,
		"--gateway-listen", m.Gateway, "--control-listen", m.Control, "--tracing-listen", m.Tracing,
	}, m.Flags...)...)
	m.Cmd.Stdout, m.Cmd.Stderr = m.out, m.out
	m.Cmd.Env = append(os.Environ(), "KUBECONFIG=/nonexistent") // a stray one must not matter
	// Killed tests must not leave a mesh behind. The signal is sent when the
	// thread that started the child ends, so that one stays until the child has.
	m.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	m.done = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := m.Cmd.Start()
		started <- err
		if err == nil {
			_ = m.Cmd.Wait() // the exit code is read from ProcessState
		}
		close(m.done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%w; run make build first", err)
	}
	err := WaitFor(cmp.Or(m.Startup, Patience), "weir up is ready", func() error {
		select {
		case <-m.done:
			return Fatal(fmt.Errorf("it ended: %s", m.Cmd.ProcessState))
		default:
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+m.Admin+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
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
func (m *Mesh) choose() error {
	for _, address := range []*string{&m.Admin, &m.Gateway, &m.Control, &m.Tracing} {
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

// Stop sends a signal and waits for the end.
func (m *Mesh) Stop(sig os.Signal) error {
	if m.Cmd.Process == nil {
		return nil
	}
	if err := m.Cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.done:
	case <-time.After(Patience):
		_ = m.Cmd.Process.Kill() // what matters is reported below
		<-m.done
		return fmt.Errorf("%s did not end it", sig)
	}
	if code := m.Cmd.ProcessState.ExitCode(); sig == syscall.SIGINT && code != 0 {
		return fmt.Errorf("it ended with %s", m.Cmd.ProcessState)
	}
	return nil
}

// sweep removes what test runs left that were killed together with their mesh.
func sweep(name, bin string) {
	left, err := filepath.Glob("/var/tmp/weir-" + name + "-*-*")
	if err != nil {
		return
	}
	for _, dir := range left {
		pid, err := strconv.Atoi(strings.Split(strings.TrimPrefix(filepath.Base(dir), "weir-"+name+"-"), "-")[0])
		if err != nil || syscall.Kill(pid, 0) == nil {
			continue // not one of these tests', or it still runs
		}
		cluster := filepath.Join(dir, "data", "devcluster")
		if out, err := exec.Command(filepath.Join(bin, "devcluster"), "down", "--dir", cluster, "--purge").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: sweeping %s: %v\n%s", name, dir, err, out)
			continue
		}
		os.RemoveAll(dir)
	}
}

// Kubeconfig is an administrator's of the mesh's cluster.
func (m *Mesh) Kubeconfig() string { return filepath.Join(m.Dir, "devcluster", "admin.kubeconfig") }

// Database is the address of the mesh's database, with its password.
func (m *Mesh) Database() (string, error) {
	dir := filepath.Join(m.Dir, "postgres")
	password, err := os.ReadFile(filepath.Join(dir, "weir.password"))
	if err != nil {
		return "", err
	}
	// Its lines are the process, the directory, the start, the port, …
	lock, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(lock), "\n")
	if len(lines) < 4 {
		return "", fmt.Errorf("postmaster.pid holds %q", lock)
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("weir", strings.TrimSpace(string(password))),
		Host: net.JoinHostPort("127.0.0.1", strings.TrimSpace(lines[3])), Path: "/weir", RawQuery: "sslmode=disable",
	}
	return u.String(), nil
}

// Weir runs a command of weir against the mesh's cluster.
func (m *Mesh) Weir(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(m.Bin, "weir"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// Registry runs `weir registry …` on the mesh's cluster.
func (m *Mesh) Registry(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := m.Weir(t.Context(), append([]string{"registry"}, append(args, "--kubeconfig", m.Kubeconfig())...)...)
	if err != nil {
		t.Fatalf("weir registry %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// Ask runs a command of weir that asks the mesh's APIs.
func (m *Mesh) Ask(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.TryAsk(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryAsk is Ask for what may fail; the error holds what the command said.
func (m *Mesh) TryAsk(ctx context.Context, args ...string) (string, error) {
	flags := []string{"--server", "http://" + m.Control, "--data-dir", m.Dir}
	if args[0] == "trace" {
		flags = []string{"--tracing-server", "http://" + m.Tracing}
	}
	out, errs, err := m.Weir(ctx, append(args, flags...)...)
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
