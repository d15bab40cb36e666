// Package preflight finds, before anything is started, what would keep a
// cluster from running here, and says what helps.
package preflight

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weirmesh/weir/tools/devcluster/internal/cgroup"
	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
)

// Tools are the programs a node runs that are not its own.
type Tools struct {
	Containerd string `json:"containerd"`
	Ctr        string `json:"ctr"`
	// CNIDir holds the network plugins.
	CNIDir string `json:"cniDir"`
	// Pause is the static binary of the sandbox image.
	Pause string `json:"pause"`
	// Path is the PATH under which all of them find one another.
	Path string `json:"path"`
}

var (
	cniDirs    = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}
	cniPlugins = []string{"ptp", "host-local", "loopback", "portmap"}
	// systemDirs are missing from the PATH of many users.
	systemDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
)

// Minimal free space: what a start writes, with room for images.
const (
	nodeSpace         = 1 << 30
	controlPlaneSpace = 200 << 20
)

// Root says what to do if a node cannot be run for want of rights.
func Root() error {
	if os.Geteuid() != 0 {
		return errors.New("a cluster with a node needs root for its namespaces: run it with sudo, or use --control-plane-only for an API server without pods")
	}
	return nil
}

// Space fails if the file system of the cluster's directory is nearly full.
func Space(d cluster.Dir, mode cluster.Mode) error {
	need := uint64(controlPlaneSpace)
	if mode == cluster.WithNode {
		need = nodeSpace
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(string(d), &s); err != nil {
		return fmt.Errorf("ask how much space is left for %s: %w", d, err)
	}
	if free := s.Bavail * uint64(s.Bsize); free < need {
		return fmt.Errorf("the disk of %s is nearly full (%d MiB free, %d needed): make room, or choose another directory with --dir", d, free>>20, need>>20)
	}
	return nil
}

// FindTools finds the programs that a node needs whose kube-proxy is in this mode.
// self is this program's own path. The error names every missing one with the
// Debian package it is in.
func FindTools(self, proxyMode string) (Tools, error) {
	t := Tools{Path: searchPath(os.Getenv("PATH"))}
	var missing, packages []string
	miss := func(what, pkg string) {
		missing = append(missing, what)
		if !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
		}
	}
	find := func(name, pkg string) string {
		for _, dir := range filepath.SplitList(t.Path) {
			if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return p
			}
		}
		miss(name, pkg)
		return ""
	}
	t.Containerd = find("containerd", "containerd")
	find("containerd-shim-runc-v2", "containerd")
	t.Ctr = find("ctr", "containerd")
	find("runc", "runc")
	find("iptables", "iptables")
	find("iptables-restore", "iptables")
	if proxyMode == config.ProxyNFTables {
		find("nft", "nftables")
	}
	i := slices.IndexFunc(cniDirs, hasPlugins)
	if i < 0 {
		miss("the CNI plugins "+strings.Join(cniPlugins, ", "), "containernetworking-plugins")
	} else {
		t.CNIDir = cniDirs[i]
	}
	if len(missing) > 0 {
		return t, fmt.Errorf("a node needs %s: install with `apt-get install %s`, or use --control-plane-only", strings.Join(missing, ", "), strings.Join(packages, " "))
	}
	t.Pause = filepath.Join(filepath.Dir(self), "devcluster-pause")
	if _, err := os.Stat(t.Pause); err != nil {
		return t, fmt.Errorf("devcluster-pause does not lie beside %s: build both with `make -C tools/devcluster build`", self)
	}
	return t, nil
}

func hasPlugins(dir string) bool {
	for _, p := range cniPlugins {
		if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
			return false
		}
	}
	return true
}

func searchPath(path string) string {
	dirs := filepath.SplitList(path)
	for _, d := range systemDirs {
		if !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return strings.Join(dirs, string(filepath.ListSeparator))
}

// Kernel fails if the kernel lacks something a node needs and cannot load it.
func Kernel(t cgroup.Tree) error {
	if err := t.Check(); err != nil {
		return err
	}
	for _, ns := range []string{"net", "mnt", "pid"} {
		if _, err := os.Stat("/proc/self/ns/" + ns); err != nil {
			return fmt.Errorf("the kernel has no %s namespaces: a node needs them; use --control-plane-only", ns)
		}
	}
	return nil
}
