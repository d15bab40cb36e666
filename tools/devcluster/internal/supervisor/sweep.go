package supervisor

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirmesh/weir/tools/devcluster/internal/cgroup"
	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/link"
	"github.com/weirmesh/weir/tools/devcluster/internal/proc"
)

// sweepPatience bounds the wait for what the kernel takes away by itself.
const sweepPatience = 5 * time.Second

// sweepAll removes what a supervisor left of its cluster's last run. The caller
// holds the cluster's lock.
func sweepAll(d cluster.Dir, r cluster.Record) error {
	if err := sweep(d, r); err != nil {
		return err
	}
	if err := os.RemoveAll(d.Run()); err != nil {
		return fmt.Errorf("remove the last run's files: %w", err)
	}
	return nil
}

// sweep removes what a cluster left outside its directory, and nothing else:
// the processes it recorded, the interface and the cgroups that bear its id.
// Mounts and the node's namespaces end with their processes.
func sweep(d cluster.Dir, r cluster.Record) error {
	for _, p := range r.Processes {
		if err := end(p); err != nil {
			return err
		}
	}
	if r.Mode != cluster.WithNode || os.Geteuid() != 0 {
		return nil
	}
	n, err := cluster.SlotNetwork(r.Slot)
	if err != nil {
		return fmt.Errorf("sweep what the last run left: %w", err)
	}
	tree, err := cgroup.Detect()
	if err != nil {
		return err
	}
	return errors.Join(link.Remove(d.ID(), n.Link), tree.Remove(d.ID(), sweepPatience))
}

// end kills a recorded process if it still lives and waits until it is gone.
func end(p cluster.Process) error {
	if current, err := proc.Identify(p.PID); err != nil || current != p {
		return nil
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	// The number may have been used anew between the look and the open.
	if current, err := proc.Identify(p.PID); err != nil || current != p {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d of the last run: %w", p.PID, err)
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(sweepPatience); ; {
		n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds())+1)
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			return fmt.Errorf("process %d of the last run does not end: look at it with `ps -fp %d`", p.PID, p.PID)
		}
	}
}
