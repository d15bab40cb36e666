package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command says which child process to run and how.
type Command struct {
	// Name is what errors call it.
	Name string
	// Path is the program; a bare name is looked up in PATH.
	Path string
	Args []string
	// Env is added to this process's own environment.
	Env []string
	// Dir is the working directory, this process's own when empty.
	Dir string
	// LogFile, when set, receives every line of output; it is appended to and
	// moved to LogFile.1 when it has grown past 16 MiB.
	LogFile string
	// KeepLines is how many of the last lines an ExitError quotes, 20 when zero.
	KeepLines int
	// OnStdout and OnStderr are called with each line of the two streams, each
	// one line at a time, but both at once; a slow one slows the child. They may
	// be nil: both streams are logged and quoted alike.
	OnStdout, OnStderr func(line string)
	// StopSignal asks the child to end, SIGTERM when zero.
	StopSignal syscall.Signal
}

// ExitError tells that a child process ended.
type ExitError struct {
	Name  string
	State *os.ProcessState
	// Lines are the last lines of its output, oldest first.
	Lines   []string
	LogFile string
}

// Error says how the child ended, quotes its last lines and names its log.
func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "process %s ended by itself: %s", e.Name, e.State)
	if len(e.Lines) > 0 {
		b.WriteString("; its last lines:")
		for _, line := range e.Lines {
			b.WriteString("\n    ")
			b.WriteString(line)
		}
	}
	if e.LogFile != "" {
		fmt.Fprintf(&b, "\n  (all of them in %s)", e.LogFile)
	}
	return b.String()
}

// Process is a supervised child process. It leads a process group of its own, so
// that a Ctrl-C at the terminal does not reach it before its time; the group as
// a whole is ended with it, and by the kernel if this process is killed. All
// methods are safe for concurrent use, and may be called in any order and more
// than once.
type Process struct {
	command Command
	kept    *ring

	mu      sync.Mutex
	pid     int // 0 before Start
	asked   bool
	stopped bool // Stop came first: Start refuses
	reaped  bool // the pid may belong to somebody else now

	done  chan struct{} // closed once the child is reaped and its output read
	state *os.ProcessState
	err   error // of waiting or logging; settled before done closes
}

// NewProcess returns a process that is not running yet.
func NewProcess(c Command) *Process {
	if c.KeepLines == 0 {
		c.KeepLines = 20
	}
	if c.StopSignal == 0 {
		c.StopSignal = syscall.SIGTERM
	}
	if c.Name == "" {
		c.Name = c.Path
	}
	return &Process{command: c, kept: newRing(c.KeepLines), done: make(chan struct{})}
}

// Start starts the child. It fails when the program cannot be run or the log
// cannot be opened, when it was started before, and after Stop.
func (p *Process) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopped:
		return fmt.Errorf("process %s was stopped before it was started", p.command.Name)
	case p.pid != 0:
		return fmt.Errorf("process %s was started before", p.command.Name)
	}
	var log *LogFile
	if p.command.LogFile != "" {
		var err error
		if log, err = OpenLog(p.command.LogFile); err != nil {
			return fmt.Errorf("process %s: %w", p.command.Name, err)
		}
	}
	record := func(line string) {
		p.kept.add(line)
		if log != nil {
			_, _ = log.Write([]byte(line + "\n")) // Close tells
		}
	}
	lines := func(also func(string)) *lineWriter {
		return &lineWriter{emit: func(line string) {
			record(line)
			if also != nil {
				also(line)
			}
		}}
	}
	stdout, stderr := lines(p.command.OnStdout), lines(p.command.OnStderr)

	cmd := exec.Command(p.command.Path, p.command.Args...)
	cmd.Env = append(os.Environ(), p.command.Env...)
	cmd.Dir = p.command.Dir
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// A grandchild that left the group may hold the pipes open for ever.
	cmd.WaitDelay = 2 * time.Second
	cmd.SysProcAttr = childAttr()

	started := make(chan error)
	go p.supervise(cmd, started, func() error {
		stdout.end()
		stderr.end()
		if log == nil {
			return nil
		}
		return log.Close()
	})
	if err := <-started; err != nil {
		return fmt.Errorf("process %s: %w", p.command.Name, err)
	}
	p.pid = cmd.Process.Pid
	return nil
}

// Watch blocks until the child has ended or ctx has. A child that ends without
// having been asked to, even with exit status 0, is an *ExitError.
func (p *Process) Watch(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked {
		return nil
	}
	return errors.Join(p.exitError(), p.err)
}

// Done is closed once the child has ended and all its output was read. It stays
// open for a child that was never started.
func (p *Process) Done() <-chan struct{} { return p.done }

// Lines returns the last lines of output, oldest first.
func (p *Process) Lines() []string { return p.kept.last() }

// Pid returns the process id, 0 before Start.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Stop asks the child to end and waits until it has, with all of its process
// group. When ctx ends first, the group is killed, and Stop still returns only
// once it is gone. The error then tells that it had to be killed.
func (p *Process) Stop(ctx context.Context) error {
	p.mu.Lock()
	p.stopped = true
	if p.pid == 0 {
		p.mu.Unlock()
		return nil
	}
	select {
	case <-p.done:
		p.mu.Unlock()
		return nil
	default:
	}
	p.asked = true
	p.signal(p.command.StopSignal)
	p.mu.Unlock()

	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	p.signal(syscall.SIGKILL)
	p.mu.Unlock()
	<-p.done
	return fmt.Errorf("process %s had to be killed: %w", p.command.Name, context.Cause(ctx))
}

// signal signals the child's group, unless the child was reaped: its number may
// be somebody else's by then. The caller holds mu.
func (p *Process) signal(s syscall.Signal) {
	if p.reaped {
		return
	}
	// ESRCH is the only error left, and what was wanted.
	_ = syscall.Kill(-p.pid, s)
}

func (p *Process) exitError() error {
	return &ExitError{Name: p.command.Name, State: p.state, Lines: p.kept.last(), LogFile: p.command.LogFile}
}

var _ io.Writer = (*lineWriter)(nil)
