package run

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// supervise starts the child, reports on started, and sees it to its end.
//
// The kernel sends Pdeathsig when the thread that forked ends, not the process.
// The goroutine therefore keeps its thread to itself for as long as the child
// lives; no other goroutine can lock that thread and take it down.
func (p *Process) supervise(cmd *exec.Cmd, started chan<- error, flush func() error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		_ = flush() // the log holds nothing yet
		started <- err
		return
	}
	pid := cmd.Process.Pid
	started <- nil

	// Wait without reaping: while the dead leader is a zombie, the number of its
	// group cannot be given to anybody else, and the rest can be ended safely.
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()

	_ = cmd.Wait() // what it tells is in ProcessState
	err := flush()
	p.mu.Lock()
	p.state, p.err = cmd.ProcessState, err
	p.mu.Unlock()
	close(p.done)
}
