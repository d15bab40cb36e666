package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake makes a directory that looks like mounted control groups. What only a
// kernel does, such as filling a new group with files, is done here by hand.
func fake(t *testing.T, version Version, files map[string]string) Tree {
	t.Helper()
	tree := Tree{Mount: t.TempDir(), Version: version}
	for name, contents := range files {
		path := filepath.Join(tree.Mount, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(contents), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func exists(t *testing.T, tree Tree, name string, want bool) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(tree.Mount, name)); (err == nil) != want {
		t.Errorf("%s: exists is %v, want %v", name, err == nil, want)
	}
}

func read(t *testing.T, tree Tree, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(tree.Mount, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestV1(t *testing.T) {
	tree := fake(t, V1, map[string]string{
		"cpu/": "", "memory/": "", "pids/": "", "unified/": "",
		"cpuset/cpuset.cpus": "0-1\n", "cpuset/cpuset.mems": "0\n",
		// The kernel puts these into a new group, empty.
		"cpuset/weir-aa/cpuset.cpus": "\n", "cpuset/weir-aa/cpuset.mems": "",
		"memory/weir-bb/kubepods/": "", "memory/user/": "",
	})
	if err := tree.Check(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := tree.Make("aa"); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []string{"cpu", "memory", "pids", "unified", "cpuset"} {
		exists(t, tree, h+"/weir-aa", true)
	}
	if got := read(t, tree, "cpuset/weir-aa/cpuset.cpus"); got != "0-1\n" {
		t.Errorf("the new cpuset has processors %q", got)
	}
	if got := read(t, tree, "cpu/weir-aa/cpu.shares"); got != "10240" {
		t.Errorf("the cluster's share of the processors is %q", got)
	}
	if got := len(tree.Groups("aa")); got != 5 {
		t.Errorf("%d groups, want 5", got)
	}
	// What pods leave; files of a real group go with it.
	for _, f := range []string{"cpuset/weir-aa/cpuset.cpus", "cpuset/weir-aa/cpuset.mems", "cpu/weir-aa/cpu.shares"} {
		if err := os.Remove(filepath.Join(tree.Mount, f)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(tree.Mount, "memory", "weir-aa", "kubepods", "besteffort", "pod1", "c1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := tree.Remove("aa", 0); err != nil {
		t.Fatal(err)
	}
	if got := tree.Groups("aa"); len(got) > 0 {
		t.Errorf("%v are left", got)
	}
	exists(t, tree, "memory/weir-bb/kubepods", true)
	exists(t, tree, "memory/user", true)
}

func TestRemoveIsPatientAndThenSaysWhatIsLeft(t *testing.T) {
	// A file keeps a directory as a process keeps a group.
	tree := fake(t, V2, map[string]string{"weir-aa/kubepods/busy": ""})
	busy := filepath.Join(tree.Mount, "weir-aa", "kubepods", "busy")
	if err := tree.Remove("aa", time.Millisecond); err == nil || !strings.Contains(err.Error(), "weir-aa/kubepods") {
		t.Fatalf("got %v, want the group's name", err)
	}
	done := make(chan error)
	go func() { done <- tree.Remove("aa", time.Minute) }()
	if err := os.Remove(busy); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	exists(t, tree, "weir-aa", false)
}

func TestV2(t *testing.T) {
	tree := fake(t, V2, map[string]string{
		"cgroup.controllers":     "cpuset cpu io memory hugetlb pids\n",
		"cgroup.subtree_control": "cpuset cpu memory pids\n",
		"system.slice/":          "",
	})
	if err := tree.Check(); err != nil {
		t.Fatal(err)
	}
	if err := tree.Make("aa"); err != nil {
		t.Fatal(err)
	}
	exists(t, tree, "weir-aa", true)
	// What was written replaces the fake's contents. io is not the kubelet's.
	if got := read(t, tree, "cgroup.subtree_control"); got != "+hugetlb" {
		t.Errorf("passed on was %q, want +hugetlb", got)
	}
	if err := tree.Remove("aa", 0); err != nil {
		t.Fatal(err)
	}
	exists(t, tree, "weir-aa", false)
	exists(t, tree, "system.slice", true)
}

func TestV2LeavesAloneWhatIsPassedOn(t *testing.T) {
	tree := fake(t, V2, map[string]string{
		"cgroup.controllers":     "cpuset cpu io memory pids\n",
		"cgroup.subtree_control": "cpuset cpu memory pids\n",
	})
	if err := tree.Make("aa"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, tree, "cgroup.subtree_control"); got != "cpuset cpu memory pids\n" {
		t.Errorf("the machine's setting became %q", got)
	}
}

func TestMissingControllersAreNamed(t *testing.T) {
	for name, tree := range map[string]Tree{
		"v1": fake(t, V1, map[string]string{"cpu/": "", "cpuset/": "", "pids/": ""}),
		"v2": fake(t, V2, map[string]string{"cgroup.controllers": "cpu pids"}),
	} {
		if err := tree.Check(); err == nil || !strings.Contains(err.Error(), "memory") || !strings.Contains(err.Error(), "--control-plane-only") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// This machine's own groups, as whatever user the tests are.
func TestDetect(t *testing.T) {
	tree, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(tree.Mount, "cgroup.controllers"))
	if (tree.Version == V2) != (err == nil) {
		t.Errorf("found version %d, but cgroup.controllers says %v", tree.Version, err)
	}
}
