package testzk

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a program that ends with this one.
type process struct {
	cmd     *exec.Cmd
	started chan struct{} // closed once it runs, or has failed to
	done    chan struct{}
	err     error // valid once done
}

func run(log, name string, args ...string) *process {
	p := &process{cmd: exec.Command(name, args...), started: make(chan struct{}), done: make(chan struct{})}
	go p.run(log)
	return p
}

// run keeps to one thread: the death signal fires when the thread that started the
// child ends, and must mean that this process did.
func (p *process) run(log string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		defer out.Close()
		p.cmd.Stdout, p.cmd.Stderr = out, out
		err = p.cmd.Start()
	}
	close(p.started)
	if err != nil {
		p.err = err
		return
	}
	p.err = p.cmd.Wait()
}

// kill ends the process and waits for its end.
func (p *process) kill() {
	<-p.started
	if p.cmd.Process != nil {
		_ = p.cmd.Process.Kill()
	}
	<-p.done
}
