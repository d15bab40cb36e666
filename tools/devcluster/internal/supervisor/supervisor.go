// Package supervisor brings a cluster up, watches over its processes, answers
// for it on a socket in its directory, and takes it down.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/weirmesh/weir/tools/devcluster/internal/cgroup"
	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
	"github.com/weirmesh/weir/tools/devcluster/internal/image"
	"github.com/weirmesh/weir/tools/devcluster/internal/link"
	"github.com/weirmesh/weir/tools/devcluster/internal/node"
	"github.com/weirmesh/weir/tools/devcluster/internal/pki"
	"github.com/weirmesh/weir/tools/devcluster/internal/preflight"
	"github.com/weirmesh/weir/tools/devcluster/internal/proc"
	"github.com/weirmesh/weir/tools/devcluster/internal/process"
	"github.com/weirmesh/weir/tools/devcluster/internal/slot"
)

// nodePort is the API server's port on a node's own address.
const nodePort = 6443

// AnySlot asks for whichever slot is free.
const AnySlot = 0

// Options is what `up` is told.
type Options struct {
	Dir string
	// Name is the kubeconfig's context; empty means the directory's name.
	Name string
	Mode cluster.Mode
	// Port is the API server's, for a control plane alone; 0 means any.
	Port int
	// Slot is AnySlot or one of the slots.
	Slot   int
	Fsync  bool
	Images []Image
	// ProxyMode is kube-proxy's, one of config.ProxyModes.
	ProxyMode string
	// Version is the Kubernetes version this program was built with.
	Version string
	// Notify is told of each change of a part, one call at a time.
	Notify func(cluster.Event)
}

// Image is an image to load at the start: of a static binary, or an archive
// if Path ends in .tar.
type Image struct{ Name, Path string }

// Supervisor runs one cluster. Make it with Up.
type Supervisor struct {
	options Options
	began   time.Time
	self    string

	dir     cluster.Dir
	record  cluster.Record
	network cluster.Network
	server  string
	name    string
	tools   preflight.Tools
	cgroups cgroup.Tree
	// snapshotter is containerd's.
	snapshotter string

	failed chan error

	recordMu sync.Mutex

	// mu guards what follows, and orders the calls of Notify.
	mu     sync.Mutex
	engine engine
	parts  *parts
}

// Up brings a cluster up and runs it until ctx ends, which is success. It
// fails if the cluster cannot be started or cannot go on; a process that ends
// is restarted instead. When it returns nothing of the cluster is running.
func Up(ctx context.Context, o Options) error {
	s := &Supervisor{options: o, began: time.Now(), failed: make(chan error, 1)}
	var err error
	if s.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if o.Mode == cluster.WithNode {
		if err := preflight.Root(); err != nil {
			return err
		}
		if s.tools, err = preflight.FindTools(s.self, s.options.ProxyMode); err != nil {
			return err
		}
		if s.cgroups, err = cgroup.Detect(); err != nil {
			return err
		}
		if err := preflight.Kernel(s.cgroups); err != nil {
			return err
		}
	}
	images, err := readImages(o.Images)
	if err != nil {
		return err
	}
	if s.dir, err = cluster.OpenDir(o.Dir); err != nil {
		return err
	}
	lock, err := takeLock(s.dir)
	if err != nil {
		return err
	}
	defer lock.release()
	if err := preflight.Space(s.dir, o.Mode); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	release, err := s.reserve()
	if err != nil {
		return err
	}
	defer release()
	if err := s.configure(); err != nil {
		return err
	}
	return s.run(ctx, images)
}

// prepare reads what is kept, refuses what does not fit it, and sweeps.
func (s *Supervisor) prepare() error {
	record, kept, err := s.dir.Record()
	if err != nil {
		return err
	}
	if kept {
		if record.Mode != s.options.Mode {
			return fmt.Errorf("the data in %s are of a cluster %s: bring it up that way, choose another --dir, or begin afresh after `devcluster down --dir %s --purge`",
				s.dir, map[cluster.Mode]string{cluster.ControlPlaneOnly: "started with --control-plane-only", cluster.WithNode: "with a node (without --control-plane-only)"}[record.Mode], s.dir)
		}
		if s.options.Slot != AnySlot && s.options.Slot != record.Slot {
			return fmt.Errorf("the data in %s are of slot %d, and the Services in them have its addresses: leave out --slot, or begin afresh after `devcluster down --dir %s --purge`", s.dir, record.Slot, s.dir)
		}
		if err := sweepAll(s.dir, record); err != nil {
			return err
		}
	}
	s.record = record
	s.record.ID, s.record.Mode, s.record.Version, s.record.Processes = s.dir.ID(), s.options.Mode, s.options.Version, nil
	s.name = s.options.Name
	if s.name == "" {
		s.name = record.Name
	}
	if s.name == "" {
		s.name = filepath.Base(string(s.dir))
	}
	s.record.Name = s.name
	return s.dir.Make()
}

// reserve takes the addresses or the port that the cluster is to have.
func (s *Supervisor) reserve() (release func(), err error) {
	if s.options.Mode == cluster.ControlPlaneOnly {
		var p *port
		if s.options.Port == 0 && s.record.Port != 0 {
			// Yesterday's kubeconfig stays good if it can.
			p, _ = takePort(s.record.Port)
		}
		if p == nil {
			if p, err = takePort(s.options.Port); err != nil {
				return nil, err
			}
		}
		s.network, s.record.Port = cluster.ControlPlaneNetwork(), p.number
		s.server = config.ServerURL(s.options.Mode, s.network, p.number)
		return p.release, nil
	}
	wanted := s.options.Slot
	if wanted == AnySlot {
		wanted = s.record.Slot
	}
	var lease *slot.Lease
	if wanted != AnySlot {
		if lease, err = slot.Take(wanted, link.Conflict); err != nil {
			if s.record.Slot != AnySlot {
				return nil, fmt.Errorf("%w, and the Services in %s have its addresses: stop what uses it, or choose another --dir", err, s.dir)
			}
			return nil, fmt.Errorf("%w: stop what uses it, or choose another with --slot", err)
		}
	} else if lease, err = slot.TakeAny(s.dir.ID(), link.Conflict); err != nil {
		return nil, err
	}
	s.network, s.record.Slot, s.record.Port = lease.Network, lease.Network.Slot, nodePort
	s.server = config.ServerURL(s.options.Mode, s.network, nodePort)
	// A first start may meet an interface of that name too.
	if err := link.Remove(s.dir.ID(), s.network.Link); err != nil {
		lease.Release()
		return nil, err
	}
	return lease.Release, nil
}

func (s *Supervisor) pki(name string) string { return filepath.Join(s.dir.PKI(), name) }

// configure writes certificates, kubeconfigs and every component's
// configuration.
func (s *Supervisor) configure() error {
	if err := s.dir.Write(s.record); err != nil {
		return err
	}
	if _, err := pki.Ensure(s.dir.PKI(), s.plan(), time.Now()); err != nil {
		return err
	}
	if err := s.writeKubeconfig(); err != nil {
		return err
	}
	// The control plane sees the directory where it runs.
	seen := s.dir
	if s.options.Mode == cluster.WithNode {
		seen = config.Inside
	}
	controlPlane := config.NewControlPlane(config.ControlPlaneOptions{
		Dir: seen, Mode: s.options.Mode, Network: s.network, Port: s.record.Port, Fsync: s.options.Fsync,
	})
	if err := controlPlane.Write(filepath.Join(s.dir.Run(), node.ControlPlaneFile)); err != nil {
		return err
	}
	if s.options.Mode == cluster.ControlPlaneOnly {
		return nil
	}
	s.snapshotter = snapshotter(s.dir)
	n := config.Node{ID: s.dir.ID(), Network: s.network, CNIDir: s.tools.CNIDir, Snapshotter: s.snapshotter, ProxyMode: s.options.ProxyMode}
	files, err := config.NodeFiles(n)
	if err != nil {
		return err
	}
	for name, contents := range files {
		path := filepath.Join(config.EtcDir(s.dir), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("write the node's configuration: %w", err)
		}
		if err := cluster.WriteFile(path, contents, 0o600); err != nil {
			return err
		}
	}
	spec := node.Spec{Dir: s.dir, Tools: s.tools, Node: n, Port: s.record.Port}
	return spec.Write(filepath.Join(s.dir.Run(), node.SpecFile))
}

func (s *Supervisor) plan() pki.Plan { return Plan(s.name, s.options.Mode, s.network, s.record.Port) }

// Plan returns what a cluster's certificates say.
func Plan(name string, mode cluster.Mode, n cluster.Network, port int) pki.Plan {
	p := pki.Plan{
		Server: config.ServerURL(mode, n, port),
		Name:   name,
		APIServerSANs: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + cluster.Domain,
			"127.0.0.1", n.APIServiceIP.String(),
		},
	}
	if mode == cluster.WithNode {
		p.NodeName, p.NodeIP = cluster.NodeName, n.NodeIP.String()
		p.APIServerSANs = append(p.APIServerSANs, n.NodeIP.String())
	}
	return p
}

// writeKubeconfig hands the administrator's kubeconfig to the user: under
// sudo, to the one who called it.
func (s *Supervisor) writeKubeconfig() error {
	b, err := os.ReadFile(s.pki("admin.kubeconfig"))
	if err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	if err := cluster.WriteFile(s.dir.Kubeconfig(), b, 0o600); err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, err2 := strconv.Atoi(os.Getenv("SUDO_GID"))
	if os.Geteuid() == 0 && err1 == nil && err2 == nil {
		if err := os.Chown(s.dir.Kubeconfig(), uid, gid); err != nil {
			return fmt.Errorf("hand over the kubeconfig: %w", err)
		}
	}
	return nil
}

// run keeps the cluster going until ctx ends or it cannot go on.
func (s *Supervisor) run(ctx context.Context, images []loadable) error {
	s.parts = newParts(s.options.Mode, len(images) > 0)
	for _, p := range s.parts.order {
		if p != cluster.PartImage {
			s.notify(cluster.Event{Part: p, State: cluster.Starting})
		}
	}
	control, err := serveControl(s)
	if err != nil {
		return err
	}
	defer control.close()
	backoff := firstBackoff
	for {
		began := time.Now()
		err := s.once(ctx, images)
		var ended *nodeEndedError
		if !errors.As(err, &ended) {
			_ = os.RemoveAll(s.dir.Run()) // The next start does it otherwise.
			s.notify(cluster.Event{Part: cluster.PartCluster, State: cluster.Stopped})
			return err
		}
		// Somebody killed the node's first process, and the kernel all others.
		if time.Since(began) > steady {
			backoff = firstBackoff
		}
		s.mu.Lock()
		s.parts.restart()
		s.mu.Unlock()
		s.notify(cluster.Event{Part: cluster.PartNode, State: cluster.Failed, Detail: fmt.Sprintf("%v; restarting everything in %s", err, backoff)})
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

const (
	firstBackoff = time.Second
	maxBackoff   = 30 * time.Second
	// steady is how long a node has to live for its next end to count as the
	// first again.
	steady = time.Minute
)

// once starts the processes and waits for the end; nothing is left of them
// when it returns. It returns nil when ctx ends.
func (s *Supervisor) once(ctx context.Context, images []loadable) error {
	defer s.cleanup()
	var e engine
	var err error
	if s.options.Mode == cluster.WithNode {
		e, err = startNode(s)
	} else {
		e, err = startLocal(s)
	}
	if err != nil {
		return err
	}
	s.setEngine(e)
	defer e.stop()
	defer s.setEngine(nil)
	loadCtx, cancel := context.WithCancel(ctx)
	var loading sync.WaitGroup
	if e, ok := e.(*nodeEngine); ok {
		loading.Go(func() { s.loadImages(loadCtx, e, images) })
	}
	defer loading.Wait()
	defer cancel()
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

func (s *Supervisor) setEngine(e engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine = e
}

// cleanup removes what the stopped cluster would leave outside its directory.
func (s *Supervisor) cleanup() {
	s.recordMu.Lock()
	record := s.record
	s.record.Processes = nil
	s.recordMu.Unlock()
	if err := sweep(s.dir, record); err != nil {
		s.notify(cluster.Event{Part: cluster.PartCluster, State: cluster.Failed, Detail: err.Error()})
	}
}

// recordProcess remembers a process for the next start, which ends it if it
// should outlive this one. A full disk is no reason to end the cluster: once
// there is room it goes on.
func (s *Supervisor) recordProcess(pid int) error {
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	p, err := proc.Identify(pid)
	if err != nil {
		return nil // It has ended already.
	}
	s.record.Processes = append(s.record.Processes, p)
	return s.dir.Write(s.record)
}

func (s *Supervisor) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// onStatus turns a process's change into its part's.
func (s *Supervisor) onStatus(st process.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options.Mode == cluster.ControlPlaneOnly && st.PID != 0 && st.State == cluster.Starting {
		if err := s.recordProcess(st.PID); err != nil {
			s.emit(cluster.Event{Part: cluster.PartControlPlane, State: cluster.Starting, Detail: err.Error()})
		}
	}
	if st.State == cluster.Failed {
		// The most common reason that no log line may have been written for.
		if err := preflight.Space(s.dir, cluster.ControlPlaneOnly); err != nil {
			st.Detail += "\n" + err.Error()
		}
	}
	for _, e := range s.parts.update(st) {
		s.emit(e)
	}
	s.emitIfReady()
}

func (s *Supervisor) notify(e cluster.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emit(e)
}

// emit and emitIfReady want mu held.
func (s *Supervisor) emit(e cluster.Event) {
	e.Seconds = time.Since(s.began).Seconds()
	s.options.Notify(e)
}

// emitIfReady tells that the whole cluster is ready, each time it became so.
func (s *Supervisor) emitIfReady() {
	if s.parts.becameReady() {
		summary := s.summary()
		s.emit(cluster.Event{Part: cluster.PartCluster, State: cluster.Ready, Summary: &summary})
	}
}

func (s *Supervisor) summary() cluster.Summary {
	return cluster.Summary{
		Name: s.name, Version: s.options.Version, Mode: s.options.Mode, Server: s.server,
		Kubeconfig: s.dir.Kubeconfig(), Network: s.network,
	}
}

type loadable struct {
	Image
	archive *image.Archive
}

// readImages builds the images before anything starts, so that a wrong path is
// told at once.
func readImages(images []Image) ([]loadable, error) {
	var out []loadable
	for _, i := range images {
		l := loadable{Image: i}
		if filepath.Ext(i.Path) == ".tar" {
			if _, err := os.Stat(i.Path); err != nil {
				return nil, fmt.Errorf("read the image archive for --load-image: %w", err)
			}
		} else {
			a, err := image.New(i.Name, image.Build{Binary: i.Path})
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("there is no file %s: give --load-image NAME=PATH the path of a static binary or of a .tar archive", i.Path)
			}
			if err != nil {
				return nil, err
			}
			l.archive = a
		}
		out = append(out, l)
	}
	return out, nil
}

// loadImages loads the sandbox image and the wanted ones as soon as containerd
// serves.
func (s *Supervisor) loadImages(ctx context.Context, e *nodeEngine, images []loadable) {
	select {
	case <-e.containerd:
	case <-ctx.Done():
		return
	}
	for _, i := range images {
		s.notify(cluster.Event{Part: cluster.PartImage, State: cluster.Starting, Detail: i.Name})
	}
	containerd := Containerd(s.tools, e.pid(), s.snapshotter)
	pause, err := image.New(config.PauseImage, image.Build{Binary: s.tools.Pause, Entrypoint: []string{"/pause"}})
	if err == nil {
		_, err = containerd.Load(ctx, pause)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.fail(fmt.Errorf("no pod can start without the sandbox image: %w", err))
		}
		return
	}
	for _, i := range images {
		if i.archive != nil {
			_, err = containerd.Load(ctx, i.archive)
		} else {
			err = containerd.LoadTar(ctx, i.Name, i.Path)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.mu.Lock()
			s.parts.set(cluster.PartImage, cluster.Failed)
			s.emit(cluster.Event{Part: cluster.PartImage, State: cluster.Failed, Detail: err.Error()})
			s.mu.Unlock()
			return
		}
		s.notify(cluster.Event{Part: cluster.PartImage, State: cluster.Ready, Detail: i.Name})
	}
	if len(images) > 0 {
		s.mu.Lock()
		s.parts.set(cluster.PartImage, cluster.Ready)
		s.emitIfReady()
		s.mu.Unlock()
	}
}

// Containerd reaches the containerd of the node whose first process is pid.
func Containerd(t preflight.Tools, pid int, snapshotter string) image.Containerd {
	return image.Containerd{
		Ctr: t.Ctr, Snapshotter: snapshotter,
		Socket: fmt.Sprintf("/proc/%d/root%s", pid, config.ContainerdSocket),
	}
}
