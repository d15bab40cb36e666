//go:build unix && !linux

package run

import (
	"os/exec"
	"syscall"
)

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// supervise starts the child, reports on started, and sees it to its end.
// Without Linux's parent-death signal a killed parent leaves its children behind.
func (p *Process) supervise(cmd *exec.Cmd, started chan<- error, flush func() error) {
	if err := cmd.Start(); err != nil {
		_ = flush() // the log holds nothing yet
		started <- err
		return
	}
	pid := cmd.Process.Pid
	started <- nil
	_ = cmd.Wait() // what it tells is in ProcessState
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	err := flush()
	p.mu.Lock()
	p.reaped, p.state, p.err = true, cmd.ProcessState, err
	p.mu.Unlock()
	close(p.done)
}
