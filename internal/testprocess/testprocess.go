// Package testprocess lets tests run what has to be a process of its own: the test's
// own binary once more, told by its environment what to be.
//
//	func TestMain(m *testing.M) {
//		if cfg := os.Getenv("EXAMPLE"); cfg != "" {
//			os.Exit(serve(cfg))
//		}
//		os.Exit(m.Run())
//	}
package testprocess

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Deadline is how long a process may take to say something, or to end.
const Deadline = 90 * time.Second

// Process is a running process. Its methods are safe for concurrent use.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done

	mu  sync.Mutex
	log bytes.Buffer
}

// Start starts the test's binary again, in a directory of its own and with env, as
// NAME=value, in its environment besides the test's own. It ends with the test at the
// latest; a test that failed is told what it wrote.
func Start(t testing.TB, name string, env ...string) *Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{name: name, cmd: exec.Command(exe), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = t.TempDir(), append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = writer{p}, writer{p}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.Output())
		}
	})
	return p
}

type writer struct{ p *Process }

func (w writer) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.log.Write(b)
}

// Output returns what the process has written so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Name is what the process was started as.
func (p *Process) Name() string { return p.name }

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Says waits until the process has written something, and fails the test when it ends
// before, or does not in time.
func (p *Process) Says(t testing.TB, what string) {
	t.Helper()
	late := time.NewTimer(Deadline)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(p.Output(), what) {
		select {
		case <-tick.C:
		case <-p.done:
			if !strings.Contains(p.Output(), what) {
				t.Fatalf("%s ended (%v) and did not say %q:\n%s", p.name, p.err, what, p.Output())
			}
		case <-late.C:
			t.Fatalf("%s does not say %q:\n%s", p.name, what, p.Output())
		}
	}
}

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended, once it has; nil for well.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Terminate asks the process to end.
func (p *Process) Terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// Stop asks the process to end, and waits for it.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Terminate()
	p.Ends(t)
}

// Ends waits for the end of the process, and fails the test when it does not come.
func (p *Process) Ends(t testing.TB) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(Deadline):
		t.Fatalf("%s does not end:\n%s", p.name, p.Output())
	}
}

// Kill ends the process as a container is ended that is out of memory.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// FreePorts returns ports that were free a moment ago. They lie below those that the
// kernel gives to outgoing connections, which might take one between its choice and
// its use.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	const first, last = 23000, 32000
	var ports []int
	for len(ports) < n {
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		ports = append(ports, port)
	}
	return ports
}
