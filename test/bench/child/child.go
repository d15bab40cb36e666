//go:build linux

// Package child runs the parts of a benchmark as processes of their own, so that
// memory, processor time and goroutines are those of the measured part alone.
// Parts of this program are started again in a role and answer calls, one line
// of JSON each way; servers are any command. None outlives the benchmark: the
// kernel ends them with it.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// roleVariable tells a process started by Start which part it plays.
const roleVariable = "WEIR_BENCH_ROLE"

// Role returns the part this process was started for by Start, or "".
func Role() string { return os.Getenv(roleVariable) }

// Process is a child. Its methods are for one goroutine, except Done and Pid.
type Process struct {
	name    string
	cmd     *exec.Cmd
	logPath string
	done    chan struct{}
	err     error // of the exit; read after done

	calls   io.WriteCloser // nil for a server
	answers *bufio.Reader
}

// Launch starts a command whose output goes to name.log in dir, which is also
// its working directory.
func Launch(name, dir string, command ...string) (*Process, error) {
	return start(name, dir, exec.Command(command[0], command[1:]...))
}

// Start starts this program again in a role; what it answers to is up to the
// handlers that it passes to Serve.
func Start(role, dir string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	callsRead, callsWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answersRead, answersWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, callsRead.Close(), callsWrite.Close())
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.ExtraFiles = []*os.File{callsRead, answersWrite} // 3 and 4: standard output belongs to libraries that print
	p, err := start(role, dir, cmd)
	err = errors.Join(err, callsRead.Close(), answersWrite.Close())
	if err != nil {
		return nil, errors.Join(err, callsWrite.Close(), answersRead.Close())
	}
	p.calls, p.answers = callsWrite, bufio.NewReader(answersRead)
	return p, nil
}

func start(name, dir string, cmd *exec.Cmd) (*Process, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &Process{name: name, cmd: cmd, logPath: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Died returns an error that tells how the process ended and its last words. Use
// it after Done.
func (p *Process) Died() error {
	why := "exit status 0"
	if p.err != nil {
		why = p.err.Error()
	}
	return fmt.Errorf("%s ended: %s; its last lines:\n%s", p.name, why, p.tail(15))
}

func (p *Process) tail(lines int) string {
	data, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "\t" + strings.Join(all[max(0, len(all)-lines):], "\n\t")
}

// Kill ends the process and its group at once, as kill -9 does, and waits for
// its end.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL) // it may have ended by itself
	<-p.done
}

// Stop asks the process to end and kills its group if it does not within grace.
func (p *Process) Stop(grace time.Duration) {
	if p.calls != nil {
		_ = p.calls.Close() // Serve returns at the end of calls
	} else {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
	}
	p.Kill() // also what a server has left behind in its group
}

type call struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

type answer struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// Call has a child started by Start do op and stores its result, unless result
// is nil. A child that does not answer before ctx ends is killed, since no
// answer to a later call could be told from one to this.
func (p *Process) Call(ctx context.Context, op string, args, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	line, err := json.Marshal(call{Op: op, Args: raw})
	if err != nil {
		return err
	}
	if _, err := p.calls.Write(append(line, '\n')); err != nil {
		return p.broken(op, err)
	}
	type reply struct {
		line []byte
		err  error
	}
	replies := make(chan reply, 1)
	go func() {
		line, err := p.answers.ReadBytes('\n')
		replies <- reply{line, err}
	}()
	var got reply
	select {
	case got = <-replies:
	case <-ctx.Done():
		p.Kill()
		<-replies
		return fmt.Errorf("%s: %s: %w", p.name, op, context.Cause(ctx))
	}
	if got.err != nil {
		return p.broken(op, got.err)
	}
	var a answer
	if err := json.Unmarshal(got.line, &a); err != nil {
		return fmt.Errorf("%s: %s: answer: %w", p.name, op, err)
	}
	if a.Error != "" {
		return fmt.Errorf("%s: %s: %s", p.name, op, a.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(a.Result, result)
}

// broken explains a pipe that broke: almost always by the child's end.
func (p *Process) broken(op string, err error) error {
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-p.done:
		return fmt.Errorf("%s: %w", op, p.Died())
	case <-t.C:
		return fmt.Errorf("%s: %s: %w", p.name, op, err)
	}
}

// Handler does one kind of call.
type Handler func(args json.RawMessage) (any, error)

// Handle makes a Handler of a function with typed arguments and result.
func Handle[A, R any](f func(A) (R, error)) Handler {
	return func(raw json.RawMessage) (any, error) {
		var args A
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &args); err != nil {
				return nil, fmt.Errorf("arguments: %w", err)
			}
		}
		return f(args)
	}
}

// Serve answers the calls made to this process, one after the other, until
// there are no more: the parent closed its end or is gone.
func Serve(handlers map[string]Handler) error {
	in, out := bufio.NewReader(os.NewFile(3, "calls")), os.NewFile(4, "answers")
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read call: %w", err)
		}
		reply, err := json.Marshal(serve(handlers, line))
		if err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		if _, err := out.Write(append(reply, '\n')); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
	}
}

func serve(handlers map[string]Handler, line []byte) answer {
	var c call
	if err := json.Unmarshal(line, &c); err != nil {
		return answer{Error: err.Error()}
	}
	h, ok := handlers[c.Op]
	if !ok {
		return answer{Error: "no such call"}
	}
	result, err := h(c.Args)
	if err != nil {
		return answer{Error: err.Error()}
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Result: raw}
}
