//go:build unix

package pg

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// processInfo is what the system tells of a process.
type processInfo struct {
	uid  uint32
	args []string
	cwd  string // a path that leads to its working directory; "" where that cannot be told
}

// isPostgres reports whether the process is the server program at all.
func (p processInfo) isPostgres() bool {
	if len(p.args) == 0 {
		return false
	}
	base := filepath.Base(p.args[0])
	return base == "postgres" || base == "postmaster" || strings.HasPrefix(p.args[0], "postgres:")
}

// serves reports whether the process is a server on dataDir.
func (p processInfo) serves(dataDir string) bool {
	if !p.isPostgres() {
		return false
	}
	if p.cwd != "" {
		return sameFile(p.cwd, dataDir)
	}
	return strings.Contains(" "+strings.Join(p.args, " ")+" ", " -D "+dataDir+" ")
}

func sameFile(a, b string) bool {
	ia, err := os.Stat(a)
	if err != nil {
		return false
	}
	ib, err := os.Stat(b)
	return err == nil && os.SameFile(ia, ib)
}

// postmaster is a running server process, our child or adopted.
type postmaster struct {
	pid    int
	exited chan struct{} // closed when the process is gone
	state  string        // how it ended; read after exited
	same   func() bool   // whether pid still is that process; nil for a child, whose pid cannot be reused before we waited
	quit   chan struct{} // ends the watch of an adopted process
}

// spawn starts cmd and returns once it runs. With tied it dies with this process.
func spawn(cmd *exec.Cmd, tied bool) (*postmaster, error) {
	if tied {
		dieWithParent(cmd.SysProcAttr)
	}
	p := &postmaster{exited: make(chan struct{}), quit: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The thread that starts the child has to live as long as the child:
		// see dieWithParent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		_ = cmd.Wait() // the state below says more than the error
		p.state = cmd.ProcessState.String()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// adoptPoll is how often an adopted server, whose exit nobody reports to us,
// is looked at.
const adoptPoll = 200 * time.Millisecond

// watchForeign follows a process that is not our child, as long as same holds.
func watchForeign(pid int, same func() bool) *postmaster {
	p := &postmaster{pid: pid, exited: make(chan struct{}), same: same, quit: make(chan struct{})}
	go func() {
		tick := time.NewTicker(adoptPoll)
		defer tick.Stop()
		for same() {
			select {
			case <-tick.C:
			case <-p.quit:
				return
			}
		}
		// On its way out a process loses its command line and directory, by which it
		// is known, a moment before its sockets.
		waitGone(context.Background(), pid, time.Second)
		p.state = "exit status unknown, not started by this process"
		close(p.exited)
	}()
	return p
}

func (p *postmaster) gone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *postmaster) signal(sig syscall.Signal) error {
	if p.gone() || p.same != nil && !p.same() {
		return nil
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// stop ends the server: fast shutdown (clients are cut, data is written), an
// immediate one when fast takes longer than patience or ctx ends (the next
// start recovers from the log), and kill at last. It returns when the process
// is gone.
func (p *postmaster) stop(ctx context.Context, patience time.Duration) (clean bool, err error) {
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, patience}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		if err := p.signal(step.sig); err != nil {
			return false, err
		}
		done := ctx.Done()
		if step.sig != syscall.SIGINT {
			done = nil // the process has to go whatever the caller's patience
		}
		timer := time.NewTimer(step.wait)
		select {
		case <-p.exited:
			timer.Stop()
			return step.sig == syscall.SIGINT, nil
		case <-timer.C:
		case <-done:
			timer.Stop()
		}
	}
	return false, errors.New("the server process does not end, not even when killed")
}
