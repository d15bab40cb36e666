package process

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Child is a started process.
type Child struct {
	PID int
	// Done is closed once the process has ended and Status holds.
	Done   chan struct{}
	status syscall.WaitStatus
}

// Status says how the process ended. It may be called once Done is closed.
func (c *Child) Status() string {
	if c.status.Signaled() {
		return "killed by " + unix.SignalName(c.status.Signal())
	}
	return fmt.Sprintf("exit status %d", c.status.ExitStatus())
}

// Starter starts processes.
type Starter interface {
	Start(path string, argv []string, attr *os.ProcAttr) (*Child, error)
}

// Direct starts processes that die with this one, whatever kills it. attr.Sys
// must not be nil.
type Direct struct{}

// Start implements Starter.
func (Direct) Start(path string, argv []string, attr *os.ProcAttr) (*Child, error) {
	type result struct {
		child *Child
		err   error
	}
	started := make(chan result)
	attr.Sys.Pdeathsig = syscall.SIGKILL
	go func() {
		// The kernel sends the signal when the parent's thread ends: this one
		// has to live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p, err := os.StartProcess(path, argv, attr)
		if err != nil {
			started <- result{err: err}
			return
		}
		c := &Child{PID: p.Pid, Done: make(chan struct{})}
		started <- result{child: c}
		if state, err := p.Wait(); err == nil {
			c.status, _ = state.Sys().(syscall.WaitStatus)
		}
		close(c.Done)
	}()
	r := <-started
	return r.child, r.err
}

// Init starts processes from the first process of a process namespace, which
// has to reap everybody's orphans as well: it must be the only one in its
// process that waits for children.
type Init struct {
	mu       sync.Mutex
	children map[int]*Child
}

// NewInit returns an Init and begins to reap.
func NewInit() *Init {
	i := &Init{children: map[int]*Child{}}
	exited := make(chan os.Signal, 1)
	signal.Notify(exited, syscall.SIGCHLD)
	go func() {
		for range exited {
			i.reap()
		}
	}()
	return i
}

func (i *Init) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		// Start holds the lock until the child is known.
		i.mu.Lock()
		if c := i.children[pid]; c != nil {
			delete(i.children, pid)
			c.status = status
			close(c.Done)
		}
		i.mu.Unlock()
	}
}

// Start implements Starter.
func (i *Init) Start(path string, argv []string, attr *os.ProcAttr) (*Child, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p, err := os.StartProcess(path, argv, attr)
	if err != nil {
		return nil, err
	}
	c := &Child{PID: p.Pid, Done: make(chan struct{})}
	i.children[p.Pid] = c
	return c, p.Release()
}
