package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirmesh/weir/tools/devcluster/internal/apiclient"
	"github.com/weirmesh/weir/tools/devcluster/internal/link"
	"github.com/weirmesh/weir/tools/devcluster/internal/node"
	"github.com/weirmesh/weir/tools/devcluster/internal/process"

	"context"
)

// engine runs the cluster's processes.
type engine interface {
	// hold kills a process and keeps it down for d.
	hold(process string, d time.Duration) error
	// stop ends everything and returns when nothing is left.
	stop()
	// pid is the process below which all others are.
	pid() int
}

const (
	stopGrace = 2 * time.Second
	// killAfter is when a node that was asked to stop is killed.
	killAfter = 3 * time.Second
)

// localEngine runs the control plane alone, as this process's child.
type localEngine struct{ group *process.Group }

func startLocal(s *Supervisor) (engine, error) {
	client, err := apiclient.New(s.server, s.pki("ca.crt"), s.pki("admin.crt"), s.pki("admin.key"))
	if err != nil {
		return nil, err
	}
	group := process.NewGroup(process.Direct{}, s.dir.Logs(), s.onStatus)
	err = group.Start(process.Spec{
		Name: node.ControlPlane, Path: s.self,
		Args:  []string{node.ChildControlPlane, filepath.Join(s.dir.Run(), node.ControlPlaneFile)},
		Ready: func(ctx context.Context) error { return node.WaitControlPlane(ctx, client) },
	})
	if err != nil {
		return nil, err
	}
	return localEngine{group}, nil
}

func (e localEngine) hold(name string, d time.Duration) error { return e.group.Hold(name, d) }
func (e localEngine) stop()                                   { e.group.Stop(stopGrace) }
func (e localEngine) pid() int                                { return os.Getpid() }

// nodeEngine talks to the first process of the node's namespaces.
type nodeEngine struct {
	s     *Supervisor
	child *process.Child
	log   *process.Log
	// stopping says that the end is wanted.
	stopping atomic.Bool

	mu      sync.Mutex
	channel net.Conn
	enc     *json.Encoder
	held    chan string

	// containerd is closed once images can be loaded.
	containerd chan struct{}
}

// nodeEndedError says that the node's first process ended unasked.
type nodeEndedError struct{ how, log string }

func (e *nodeEndedError) Error() string {
	return fmt.Sprintf("the node's first process ended (%s); its log is %s", e.how, e.log)
}

func startNode(s *Supervisor) (engine, error) {
	if err := s.cgroups.Make(s.dir.ID()); err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a channel to the node: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "node"), os.NewFile(uintptr(pair[1]), "parent")
	defer theirs.Close()
	channel, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("make a channel to the node: %w", err)
	}
	log, err := process.OpenLog(filepath.Join(s.dir.Logs(), "node.log"))
	if err != nil {
		channel.Close()
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		channel.Close()
		return nil, fmt.Errorf("start the node: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		channel.Close()
		return nil, fmt.Errorf("start the node: %w", err)
	}
	defer null.Close()
	child, err := process.Direct{}.Start(s.self, []string{s.self, node.ChildInit, filepath.Join(s.dir.Run(), node.SpecFile)}, &os.ProcAttr{
		Files: []*os.File{null, w, w, theirs},
		Sys: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
			Setpgid:    true,
		},
	})
	w.Close()
	if err != nil {
		channel.Close()
		r.Close()
		return nil, fmt.Errorf("start the node in namespaces of its own: %w; use --control-plane-only where they are not allowed", err)
	}
	go func() { log.Copy(r); r.Close() }()
	e := &nodeEngine{s: s, child: child, log: log, channel: channel, enc: json.NewEncoder(channel), held: make(chan string, 1), containerd: make(chan struct{})}
	if err := s.recordProcess(child.PID); err != nil {
		e.stop()
		return nil, err
	}
	if err := link.Connect(s.dir.ID(), s.network, child.PID); err != nil {
		e.stop()
		return nil, err
	}
	if err := e.send(node.Command{Connected: true}); err != nil {
		e.stop()
		return nil, err
	}
	go e.receive()
	return e, nil
}

func (e *nodeEngine) send(c node.Command) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.enc.Encode(c); err != nil {
		return fmt.Errorf("the node is not listening: %w; see log/node.log in the cluster's directory", err)
	}
	return nil
}

func (e *nodeEngine) receive() {
	dec := json.NewDecoder(e.channel)
	var serving sync.Once
	for {
		var r node.Report
		if err := dec.Decode(&r); err != nil {
			break
		}
		switch {
		case r.Status != nil:
			e.s.onStatus(*r.Status)
		case r.Held != nil:
			select {
			case e.held <- *r.Held:
			default:
			}
		case r.Containerd:
			serving.Do(func() { close(e.containerd) })
		case r.Failed != "":
			e.s.fail(errors.New(r.Failed))
		}
	}
	<-e.child.Done
	if !e.stopping.Load() {
		e.s.fail(&nodeEndedError{how: e.child.Status(), log: filepath.Join(e.s.dir.Logs(), "node.log")})
	}
}

func (e *nodeEngine) hold(name string, d time.Duration) error {
	if err := e.send(node.Command{Hold: &node.Hold{Process: name, Seconds: d.Seconds()}}); err != nil {
		return err
	}
	select {
	case answer := <-e.held:
		if answer != "" {
			return errors.New(answer)
		}
		return nil
	case <-time.After(killAfter):
		return errors.New("the node does not answer: see log/node.log in the cluster's directory")
	}
}

func (e *nodeEngine) stop() {
	e.stopping.Store(true)
	// A node that cannot be told sees the channel close.
	_ = e.send(node.Command{Stop: true})
	select {
	case <-e.child.Done:
	case <-time.After(killAfter):
		_ = syscall.Kill(e.child.PID, syscall.SIGKILL) // It may be ending right now.
		<-e.child.Done
	}
	e.channel.Close()
	e.log.Close()
}

func (e *nodeEngine) pid() int { return e.child.PID }
