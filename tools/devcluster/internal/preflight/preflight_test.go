package preflight

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
)

// machine sets up a machine that has the named programs and nothing else, and
// returns where this program would lie.
func machine(t *testing.T, programs ...string) (self string) {
	t.Helper()
	dir := t.TempDir()
	for _, p := range programs {
		path := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	oldSystem, oldCNI := systemDirs, cniDirs
	systemDirs, cniDirs = []string{filepath.Join(dir, "sbin")}, []string{filepath.Join(dir, "cni")}
	t.Cleanup(func() { systemDirs, cniDirs = oldSystem, oldCNI })
	return filepath.Join(dir, "bin", "devcluster")
}

var complete = []string{
	"bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "bin/runc", "bin/devcluster-pause",
	// As on a Debian whose user has no sbin in PATH.
	"sbin/iptables", "sbin/iptables-restore",
	"cni/ptp", "cni/host-local", "cni/loopback", "cni/portmap",
}

func without(programs ...string) []string {
	var left []string
	for _, c := range complete {
		keep := true
		for _, p := range programs {
			keep = keep && c != p
		}
		if keep {
			left = append(left, c)
		}
	}
	return left
}

func TestToolsAreFound(t *testing.T) {
	self := machine(t, complete...)
	tools, err := FindTools(self, config.ProxyIPTables)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(tools.Containerd) != "containerd" || filepath.Base(tools.Ctr) != "ctr" || filepath.Base(tools.CNIDir) != "cni" {
		t.Errorf("got %+v", tools)
	}
	if tools.Pause != filepath.Join(filepath.Dir(self), "devcluster-pause") {
		t.Errorf("pause is %s", tools.Pause)
	}
}

func TestMissingToolsAreNamedWithTheirPackages(t *testing.T) {
	for _, tt := range []struct {
		missing []string
		want    []string
	}{
		{[]string{"bin/containerd", "bin/ctr"}, []string{"containerd, ctr:", "apt-get install containerd`"}},
		{[]string{"bin/runc"}, []string{"needs runc:", "apt-get install runc`"}},
		{[]string{"sbin/iptables-restore"}, []string{"iptables-restore", "apt-get install iptables`"}},
		{[]string{"cni/ptp"}, []string{"CNI plugins", "apt-get install containernetworking-plugins`"}},
		{complete, []string{"apt-get install containerd runc iptables containernetworking-plugins`", "--control-plane-only"}},
		{[]string{"bin/devcluster-pause"}, []string{"make -C tools/devcluster build"}},
	} {
		t.Run(strings.Join(tt.missing, " "), func(t *testing.T) {
			_, err := FindTools(machine(t, without(tt.missing...)...), config.ProxyIPTables)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
}

func TestNftIsNeededByTheModeThatRunsIt(t *testing.T) {
	if _, err := FindTools(machine(t, complete...), config.ProxyNFTables); err == nil || !strings.Contains(err.Error(), "needs nft: install with `apt-get install nftables`") {
		t.Errorf("without it: %v", err)
	}
	if _, err := FindTools(machine(t, append([]string{"sbin/nft"}, complete...)...), config.ProxyNFTables); err != nil {
		t.Error(err)
	}
}

func TestSpace(t *testing.T) {
	for _, mode := range []cluster.Mode{cluster.ControlPlaneOnly, cluster.WithNode} {
		// A file system that is always full.
		if err := Space("/proc", mode); err == nil || !strings.Contains(err.Error(), "--dir") {
			t.Errorf("%s: got %v, want an error that names --dir", mode, err)
		}
	}
	if err := Space(cluster.Dir(t.TempDir()), cluster.ControlPlaneOnly); err != nil {
		t.Errorf("a directory with space: %v", err)
	}
}
