package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/node"
	"github.com/weirmesh/weir/tools/devcluster/internal/process"
)

// members says of which processes a part consists.
var members = map[cluster.Part][]string{
	cluster.PartControlPlane: {node.ControlPlane},
	cluster.PartNode:         {node.Containerd, node.Kubelet, node.Proxy},
	cluster.PartDNS:          {node.DNS},
}

// parts knows where each part stands. It is guarded by its supervisor.
type parts struct {
	order     []cluster.Part
	processes map[string]process.Status
	states    map[cluster.Part]cluster.State
	ready     bool
}

func newParts(mode cluster.Mode, images bool) *parts {
	p := &parts{order: []cluster.Part{cluster.PartControlPlane}, processes: map[string]process.Status{}, states: map[cluster.Part]cluster.State{}}
	if mode == cluster.WithNode {
		p.order = append(p.order, cluster.PartNode, cluster.PartDNS)
		if images {
			p.order = append(p.order, cluster.PartImage)
		}
	}
	for _, part := range p.order {
		p.states[part] = cluster.Starting
	}
	return p
}

func (p *parts) set(part cluster.Part, s cluster.State) { p.states[part] = s }

// update takes in a process's change and returns what changed for its part.
// Each failure of a process is an event, whatever its part's state was.
func (p *parts) update(st process.Status) []cluster.Event {
	p.processes[st.Name] = st
	for _, part := range p.order {
		if !slices.Contains(members[part], st.Name) {
			continue
		}
		old, now := p.states[part], p.derive(part)
		p.states[part] = now
		if st.State == cluster.Failed {
			return []cluster.Event{{Part: part, State: cluster.Failed, Detail: st.Detail}}
		}
		if old != now && now != cluster.Failed || st.Detail != "" {
			return []cluster.Event{{Part: part, State: now, Detail: st.Detail}}
		}
	}
	return nil
}

// derive: a part failed if one of its processes did, and is ready if all are.
func (p *parts) derive(part cluster.Part) cluster.State {
	state := cluster.Ready
	for _, name := range members[part] {
		switch st, known := p.processes[name]; {
		case known && (st.State == cluster.Failed || st.State == cluster.Stopped):
			return st.State
		case !known || st.State != cluster.Ready:
			state = cluster.Starting
		}
	}
	return state
}

// restart forgets the processes of a node that ended.
func (p *parts) restart() {
	p.ready = false
	p.processes = map[string]process.Status{}
	for _, part := range p.order {
		p.states[part] = cluster.Starting
	}
}

// becameReady is true once for each time that all parts are ready.
func (p *parts) becameReady() bool {
	was := p.ready
	p.ready = true
	for _, part := range p.order {
		if p.states[part] != cluster.Ready {
			p.ready = false
		}
	}
	return p.ready && !was
}

// snapshotter chooses how containerd lays an image's layers: by overlay, or by
// copies where the directory's file system cannot carry one (an overlay
// itself, as in a container).
func snapshotter(d cluster.Dir) string {
	probe := filepath.Join(d.Run(), "overlay")
	defer os.RemoveAll(probe)
	dir := func(name string) string { return filepath.Join(probe, name) }
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if os.MkdirAll(dir(name), 0o700) != nil {
			return "native"
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir("lower"), dir("upper"), dir("work"))
	if unix.Mount("overlay", dir("merged"), "overlay", 0, options) != nil {
		return "native"
	}
	_ = unix.Unmount(dir("merged"), unix.MNT_DETACH)
	return "overlayfs"
}
