// Package cgroup makes and removes the control groups of one cluster, on
// version 1 (one hierarchy per controller), version 2 (one for all) and the
// hybrid of both.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Version is the cgroup version in which a machine's controllers live.
type Version int

const (
	// V1 is one hierarchy per controller; its hybrid with version 2 counts here.
	V1 Version = 1
	// V2 is one hierarchy for all controllers.
	V2 Version = 2
)

// DefaultMount is where every distribution mounts control groups.
const DefaultMount = "/sys/fs/cgroup"

var (
	// required are the controllers a kubelet cannot do without.
	required = []string{"cpu", "memory", "pids"}
	// requiredV1 is one more in version 1.
	requiredV1 = append([]string{"cpuset"}, required...)
	// wanted are those that, in version 2, a kubelet insists on finding in its
	// group if the machine has them at all.
	wanted = []string{"cpu", "cpuset", "hugetlb", "memory", "pids"}
)

// Tree is a machine's control groups.
type Tree struct {
	Mount   string
	Version Version
}

// Detect tells which version the controllers of this machine live in. It
// fails if none are mounted.
func Detect() (Tree, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(DefaultMount, &s); err != nil {
		return Tree{}, fmt.Errorf("find the control groups: %w; mount them at %s", err, DefaultMount)
	}
	if s.Type == unix.CGROUP2_SUPER_MAGIC {
		return Tree{Mount: DefaultMount, Version: V2}, nil
	}
	return Tree{Mount: DefaultMount, Version: V1}, nil
}

// Root is the name of a cluster's group as the kubelet takes it.
func Root(id string) string { return "/weir-" + id }

// Check tells in one sentence which controllers are missing.
func (t Tree) Check() error {
	var missing []string
	var have []string
	if t.Version == V2 {
		b, err := os.ReadFile(filepath.Join(t.Mount, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("read the kernel's cgroup controllers: %w", err)
		}
		have = strings.Fields(string(b))
	}
	if t.Version == V2 {
		for _, c := range required {
			if !slices.Contains(have, c) {
				missing = append(missing, c)
			}
		}
	} else {
		for _, c := range requiredV1 {
			if _, err := os.Stat(filepath.Join(t.Mount, c)); err != nil {
				missing = append(missing, c)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the kernel offers no cgroup controller %s under %s: a node needs it; use --control-plane-only", strings.Join(missing, ", "), t.Mount)
	}
	return nil
}

// Make makes the cluster's group, as the kubelet expects to find it.
func (t Tree) Make(id string) error {
	if t.Version == V2 {
		return t.makeV2(id)
	}
	for _, h := range t.hierarchies() {
		group := filepath.Join(h, Root(id))
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the cluster's cgroup: %w", err)
		}
		// A new cpuset group has no processors until it is given its parent's.
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(h, group, f); err != nil {
				return fmt.Errorf("make the cluster's cgroup: %w", err)
			}
		}
		if slices.Contains(strings.Split(filepath.Base(h), ","), "cpu") {
			if err := os.WriteFile(filepath.Join(group, "cpu.shares"), []byte(shares), 0o644); err != nil {
				return fmt.Errorf("give the cluster's cgroup its share of the processors: %w", err)
			}
		}
	}
	return nil
}

// shares is a cluster's part of busy processors in version 1, that of ten processes.
// Each process of the root group, where all are on a machine without slices, counts
// as much as a group does: with the kernel's own 1024 all pods together would get what
// one compiler gets, and a start of some seconds would take minutes beside a build. In
// version 2 processes are in groups, and a group's own weight is fair.
const shares = "10240"

func inherit(parent, group, file string) error {
	own, err := os.ReadFile(filepath.Join(group, file))
	if errors.Is(err, fs.ErrNotExist) || len(strings.TrimSpace(string(own))) > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(parent, file))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(group, file), b, 0o644)
}

// makeV2 sees that the cluster's group has the controllers that a kubelet
// wants; the kubelet passes them further down. Distributions have most of them
// passed on already.
func (t Tree) makeV2(id string) error {
	available, err := os.ReadFile(filepath.Join(t.Mount, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("make the cluster's cgroup: %w", err)
	}
	delegated, err := os.ReadFile(filepath.Join(t.Mount, "cgroup.subtree_control"))
	if err != nil {
		return fmt.Errorf("make the cluster's cgroup: %w", err)
	}
	have := strings.Fields(string(delegated))
	for c := range strings.FieldsSeq(string(available)) {
		if slices.Contains(have, c) || !slices.Contains(wanted, c) {
			continue
		}
		// One write per controller: one that cannot be passed on must not keep
		// back the others.
		err := os.WriteFile(filepath.Join(t.Mount, "cgroup.subtree_control"), []byte("+"+c), 0o644)
		if errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("cannot pass the cgroup controller %s on below %s because processes live in that group (a container without an init group?): move them to a subgroup, or use --control-plane-only", c, t.Mount)
		}
		if err != nil {
			return fmt.Errorf("pass the cgroup controller %s on: %w", c, err)
		}
	}
	group := filepath.Join(t.Mount, Root(id))
	if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the cluster's cgroup: %w", err)
	}
	return nil
}

func (t Tree) hierarchies() []string {
	if t.Version == V2 {
		return []string{t.Mount}
	}
	entries, err := os.ReadDir(t.Mount)
	if err != nil {
		return nil
	}
	var h []string
	for _, e := range entries {
		// cpu and cpuacct may be links to one directory.
		if e.IsDir() {
			h = append(h, filepath.Join(t.Mount, e.Name()))
		}
	}
	return h
}

// Groups returns the cluster's groups that exist.
func (t Tree) Groups(id string) []string {
	var groups []string
	for _, h := range t.hierarchies() {
		group := filepath.Join(h, Root(id))
		if _, err := os.Stat(group); err == nil {
			groups = append(groups, group)
		}
	}
	return groups
}

// Remove removes the cluster's groups and all below them. A dead process
// leaves its group a moment after it was reaped, hence the patience.
func (t Tree) Remove(id string, patience time.Duration) error {
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var failed error
		for _, group := range t.Groups(id) {
			failed = errors.Join(failed, removeTree(group))
		}
		if failed == nil {
			return nil
		}
		select {
		case <-deadline:
			return fmt.Errorf("remove the cluster's cgroups: %w", failed)
		case <-tick.C:
		}
	}
}

// removeTree removes the directories from the leaves up: the files of a
// control group are the kernel's and go with it.
func removeTree(group string) error {
	var dirs []string
	err := filepath.WalkDir(group, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		if e := syscall.Rmdir(dir); e != nil && !errors.Is(e, syscall.ENOENT) {
			err = errors.Join(err, fmt.Errorf("%s: %w", dir, e))
		}
	}
	return err
}
