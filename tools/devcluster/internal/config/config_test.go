package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

func network(t *testing.T) cluster.Network {
	t.Helper()
	n, err := cluster.SlotNetwork(7)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it anew):\n%s", path, got)
	}
}

func TestNodeFiles(t *testing.T) {
	n := Node{ID: "ea25dcdc", Network: network(t), CNIDir: "/usr/lib/cni", Snapshotter: "overlayfs"}
	files, err := NodeFiles(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		golden(t, filepath.Base(name), files[name])
	}
	for _, mode := range append([]string{""}, ProxyModes...) {
		n.ProxyMode = mode
		files, err := NodeFiles(n)
		if err != nil {
			t.Fatal(err)
		}
		if want := `"mode": "` + cmp.Or(mode, "iptables") + `"`; !strings.Contains(string(files["kube-proxy.json"]), want) {
			t.Errorf("kube-proxy's configuration lacks %s", want)
		}
	}
	flags := slices.Concat(KubeletArgs(n), []string{""}, ProxyArgs(), []string{""}, ContainerdArgs())
	golden(t, "processes.flags", []byte(strings.Join(flags, "\n")+"\n"))
}

func TestControlPlaneFlags(t *testing.T) {
	for _, o := range []ControlPlaneOptions{
		{Dir: Inside, Mode: cluster.WithNode, Network: network(t), Port: 6443},
		{Dir: "/home/ann/cluster", Mode: cluster.ControlPlaneOnly, Network: cluster.ControlPlaneNetwork(), Port: 40123, Fsync: true},
	} {
		c := NewControlPlane(o)
		flags := slices.Concat(c.APIServer, []string{""}, c.ControllerManager, []string{""}, c.Scheduler)
		golden(t, string(o.Mode)+".flags", []byte(strings.Join(flags, "\n")+"\n"))
		path := filepath.Join(t.TempDir(), "c.json")
		if err := c.Write(path); err != nil {
			t.Fatal(err)
		}
		again, err := LoadControlPlane(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c, again) {
			t.Errorf("read back %+v, want %+v", again, c)
		}
	}
}

// What two clusters on one machine could collide in has to differ.
func TestClustersShareNoAddressAndNoName(t *testing.T) {
	var both [2]map[string][]byte
	for i, id := range []string{"aaaaaaaa", "bbbbbbbb"} {
		n, err := cluster.SlotNetwork(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		if both[i], err = NodeFiles(Node{ID: id, Network: n, CNIDir: "/usr/lib/cni", Snapshotter: "native"}); err != nil {
			t.Fatal(err)
		}
	}
	for i, own := range []string{".1.", ".2."} {
		for name, contents := range both[i] {
			for _, prefix := range []string{"10.231", "10.232", "10.233"} {
				if n := strings.Count(string(contents), prefix+"."); n != strings.Count(string(contents), prefix+own) {
					t.Errorf("%s of slot %d has another slot's address", name, i+1)
				}
			}
		}
	}
	for i, id := range []string{"aaaaaaaa", "bbbbbbbb"} {
		var k struct{ CgroupRoot string }
		if err := json.Unmarshal(both[i]["kubelet.json"], &k); err != nil {
			t.Fatal(err)
		}
		if k.CgroupRoot != "/weir-"+id {
			t.Errorf("cgroup root %q, want the cluster's own", k.CgroupRoot)
		}
	}
}
