// Package slot hands each cluster with a node a number of its own on this
// machine, from which its addresses derive.
package slot

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

// Lease holds a slot until Release or the end of the process.
type Lease struct {
	Network  cluster.Network
	listener net.Listener
}

// Release gives the slot back. A second call does nothing.
func (l *Lease) Release() { l.listener.Close() }

// socket is the name that stands for a slot. Abstract sockets exist once per
// network namespace, which is just where addresses would collide; the kernel
// frees them with their process, and they leave no file.
func socket(slot int) string { return fmt.Sprintf("@weirmesh-devcluster-slot-%d", slot) }

const count = cluster.MaxSlot - cluster.MinSlot + 1

var errTaken = errors.New("taken by another cluster")

// Take takes one slot. conflict names what else on the host uses a network's
// ranges, or returns "".
func Take(slot int, conflict func(cluster.Network) (string, error)) (*Lease, error) {
	n, err := cluster.SlotNetwork(slot)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", socket(slot))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("slot %d is %w", slot, errTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("take slot %d: %w", slot, err)
	}
	what, err := conflict(n)
	if err == nil && what != "" {
		err = fmt.Errorf("slot %d would collide with %s", slot, what)
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	return &Lease{Network: n, listener: listener}, nil
}

// TakeAny takes a free slot, beginning with one that depends on the cluster's
// id: two clusters that never ran at the same time then rarely share one, and
// can do so later.
func TakeAny(id string, conflict func(cluster.Network) (string, error)) (*Lease, error) {
	var last error
	for i := range count {
		l, err := Take(cluster.MinSlot+(preferred(id)+i)%count, conflict)
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, fmt.Errorf("no slot is free (last: %w): stop another cluster", last)
}

func preferred(id string) int {
	// FNV-1a spreads ids that differ in one character.
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h % uint32(count))
}
