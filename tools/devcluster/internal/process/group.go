// Package process keeps child processes running: it starts them, logs what
// they say, restarts those that end, and stops them together.
package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

const (
	// initialBackoff is the pause before a first restart; it doubles up to
	// maxBackoff.
	initialBackoff = 500 * time.Millisecond
	maxBackoff     = 10 * time.Second
	// steady is how long a process has to live for its next failure to count
	// as the first again.
	steady = 30 * time.Second
	// maxToldLine bounds a log line in a report; the log has all of it.
	maxToldLine = 300
	// slow is how often a process that is not ready is told of.
	slow = 30 * time.Second
)

// Spec says how to run a process.
type Spec struct {
	// Name names the process and its log file.
	Name string
	Path string
	Args []string
	// Env replaces the environment unless it is nil.
	Env []string
	Dir string
	// Attr may be nil.
	Attr *syscall.SysProcAttr
	// Ready returns nil once the process serves, an error only when ctx ends.
	// Nil means: at once.
	Ready func(ctx context.Context) error
}

// Status is where a process stands.
type Status struct {
	Name  string        `json:"name"`
	State cluster.State `json:"state"`
	// PID is 0 while there is none.
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// Group runs processes until it is stopped. Make it with NewGroup.
type Group struct {
	starter      Starter
	logDir       string
	notify       func(Status)
	firstBackoff time.Duration

	ctx    context.Context //nolint:containedctx // the group's own life, from NewGroup to Stop
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	members map[string]*member
}

type member struct {
	spec Spec
	log  *Log

	// Guarded by the group's mu.
	child     *Child
	holdUntil time.Time
}

// NewGroup returns an empty group whose processes log to files in logDir.
// notify is told of each change, from several goroutines, one call per
// process at a time; it must not block for long.
func NewGroup(starter Starter, logDir string, notify func(Status)) *Group {
	ctx, cancel := context.WithCancel(context.Background())
	return &Group{starter: starter, logDir: logDir, notify: notify, firstBackoff: initialBackoff, ctx: ctx, cancel: cancel, members: map[string]*member{}}
}

// Start runs a process from now on. It fails only if its log cannot be opened;
// that the process itself fails is told to notify.
func (g *Group) Start(s Spec) error {
	log, err := OpenLog(filepath.Join(g.logDir, s.Name+".log"))
	if err != nil {
		return err
	}
	m := &member{spec: s, log: log}
	g.mu.Lock()
	g.members[s.Name] = m
	g.mu.Unlock()
	g.wg.Go(func() {
		defer log.Close()
		g.run(m)
	})
	return nil
}

func (g *Group) run(m *member) {
	backoff := g.firstBackoff
	for restarts := 0; ; restarts++ {
		g.set(m, Status{State: cluster.Starting, Restarts: restarts})
		began := time.Now()
		reason := g.once(m, restarts)
		if g.ctx.Err() != nil {
			g.set(m, Status{State: cluster.Stopped, Restarts: restarts})
			return
		}
		if time.Since(began) > steady {
			backoff = g.firstBackoff
		}
		wait := backoff
		g.mu.Lock()
		held := time.Until(m.holdUntil)
		m.child = nil
		g.mu.Unlock()
		if held > 0 {
			wait = held
			reason = fmt.Sprintf("%s; held down for %s by `devcluster fault`", reason, held.Round(100*time.Millisecond))
		} else {
			backoff = min(2*backoff, maxBackoff)
			reason += "; " + tail(m.log.Tail()) + "restarting in " + wait.String()
		}
		g.set(m, Status{State: cluster.Failed, Restarts: restarts, Detail: reason})
		select {
		case <-time.After(wait):
		case <-g.ctx.Done():
			g.set(m, Status{State: cluster.Stopped, Restarts: restarts})
			return
		}
	}
}

func tail(lines []string) string {
	if len(lines) == 0 {
		return "it logged nothing; "
	}
	for i, line := range lines {
		// Some components log their stack at the end of the line.
		if len(line) > maxToldLine {
			lines[i] = strings.ToValidUTF8(line[:maxToldLine], "") + "…"
		}
	}
	return "last log lines:\n  " + strings.Join(lines, "\n  ") + "\n"
}

// once runs the process until it ends and returns how it did.
func (g *Group) once(m *member, restarts int) string {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Sprintf("%s could not start: %v", m.spec.Name, err)
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		w.Close()
		return fmt.Sprintf("%s could not start: %v", m.spec.Name, err)
	}
	defer null.Close()
	attr := &os.ProcAttr{Dir: m.spec.Dir, Env: m.spec.Env, Files: []*os.File{null, w, w}, Sys: &syscall.SysProcAttr{}}
	if m.spec.Attr != nil {
		*attr.Sys = *m.spec.Attr
	}
	// A group of its own keeps the terminal's Ctrl-C from it: its parent says
	// when to end.
	attr.Sys.Setpgid = true
	child, err := g.starter.Start(m.spec.Path, append([]string{m.spec.Path}, m.spec.Args...), attr)
	w.Close()
	if err != nil {
		return fmt.Sprintf("%s could not start: %v", m.spec.Name, err)
	}
	m.log.Line(fmt.Sprintf("--- %s started, pid %d, %s", m.spec.Name, child.PID, time.Now().UTC().Format(time.RFC3339)))
	m.log.Tail()
	g.mu.Lock()
	m.child = child
	g.mu.Unlock()
	g.set(m, Status{State: cluster.Starting, PID: child.PID, Restarts: restarts})

	copied := make(chan struct{})
	go func() { defer close(copied); m.log.Copy(r) }()
	readyCtx, cancelReady := context.WithCancel(g.ctx)
	readied := make(chan struct{})
	go g.complain(readyCtx, m, child.PID, restarts, readied)
	go func() {
		defer close(readied)
		if m.spec.Ready == nil || m.spec.Ready(readyCtx) == nil {
			if readyCtx.Err() == nil {
				g.set(m, Status{State: cluster.Ready, PID: child.PID, Restarts: restarts})
			}
		}
	}()
	<-child.Done
	cancelReady()
	<-readied
	// A grandchild may still hold the pipe; what matters was said by now.
	select {
	case <-copied:
	case <-time.After(100 * time.Millisecond):
		r.Close()
		<-copied
	}
	return fmt.Sprintf("%s ended (%s)", m.spec.Name, child.Status())
}

// complain tells again and again that a process is not ready yet, and what it
// says.
func (g *Group) complain(ctx context.Context, m *member, pid, restarts int, readied <-chan struct{}) {
	tick := time.NewTicker(slow)
	defer tick.Stop()
	for waited := slow; ; waited += slow {
		select {
		case <-tick.C:
			g.set(m, Status{State: cluster.Starting, PID: pid, Restarts: restarts,
				Detail: fmt.Sprintf("%s is not ready after %s; %s", m.spec.Name, waited, strings.TrimSuffix(tail(m.log.Tail()), "\n"))})
		case <-ctx.Done():
			return
		case <-readied:
			return
		}
	}
}

func (g *Group) set(m *member, s Status) {
	s.Name = m.spec.Name
	g.notify(s)
}

// Hold kills a process and keeps it from restarting for d.
func (g *Group) Hold(name string, d time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[name]
	if m == nil {
		return fmt.Errorf("there is no process %s", name)
	}
	if m.child == nil {
		return fmt.Errorf("%s is not running now; try again once it is", name)
	}
	m.holdUntil = time.Now().Add(d)
	select {
	case <-m.child.Done:
		return nil
	default:
	}
	if err := syscall.Kill(m.child.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	return nil
}

// Stop ends all processes: SIGTERM, and SIGKILL for those that still run
// after grace. It returns when none is left. A second call waits as well.
func (g *Group) Stop(grace time.Duration) {
	g.cancel()
	g.signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { g.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace):
		g.signal(syscall.SIGKILL)
		<-done
	}
}

func (g *Group) signal(s syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		if m.child == nil {
			continue
		}
		select {
		case <-m.child.Done:
		default:
			_ = syscall.Kill(m.child.PID, s) // It may be ending right now.
		}
	}
}
