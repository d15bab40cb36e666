package cluster

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSlotNetworksDoNotOverlap(t *testing.T) {
	var all []netip.Prefix
	links := map[string]bool{}
	for slot := MinSlot; slot <= MaxSlot; slot++ {
		n, err := SlotNetwork(slot)
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Link) > 15 {
			t.Errorf("slot %d: interface name %q is longer than the kernel allows", slot, n.Link)
		}
		if links[n.Link] {
			t.Errorf("slot %d: interface %s is another's", slot, n.Link)
		}
		links[n.Link] = true
		for addr, in := range map[netip.Addr]netip.Prefix{n.HostIP: n.NodeCIDR, n.NodeIP: n.NodeCIDR, n.APIServiceIP: n.ServiceCIDR, n.DNSIP: n.ServiceCIDR} {
			if !in.Contains(addr) {
				t.Errorf("slot %d: %s is outside %s", slot, addr, in)
			}
		}
		all = append(all, n.Prefixes()...)
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.Overlaps(b) {
				t.Fatalf("%s overlaps %s", a, b)
			}
		}
	}
	for _, slot := range []int{MinSlot - 1, MaxSlot + 1, -1} {
		if _, err := SlotNetwork(slot); err == nil || !strings.Contains(err.Error(), "--slot") {
			t.Errorf("slot %d: got %v, want an error that names --slot", slot, err)
		}
	}
}

func TestDirIsOneClusterByWhateverName(t *testing.T) {
	base := t.TempDir()
	d, err := OpenDir(filepath.Join(base, "a"))
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(string(d), link); err != nil {
		t.Fatal(err)
	}
	same, err := FindDir(link)
	if err != nil {
		t.Fatal(err)
	}
	if same.ID() != d.ID() {
		t.Errorf("by a link the id is %s, want %s", same.ID(), d.ID())
	}
	other, err := OpenDir(filepath.Join(base, "b"))
	if err != nil {
		t.Fatal(err)
	}
	if other.ID() == d.ID() {
		t.Error("two directories have one id")
	}
	for _, missing := range []string{"", filepath.Join(base, "none")} {
		if _, err := FindDir(missing); err == nil || !strings.Contains(err.Error(), "--dir") {
			t.Errorf("FindDir(%q): got %v, want an error that names --dir", missing, err)
		}
	}
}

func TestRecord(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := d.Record(); ok || err != nil {
		t.Fatalf("empty directory: got %v, %v; want no record", ok, err)
	}
	want := Record{ID: d.ID(), Name: "n", Mode: WithNode, Slot: 7, Port: 6443, Version: "v1", Processes: []Process{{PID: 1, Start: 2, Boot: "b"}}}
	if err := d.Write(want); err != nil {
		t.Fatal(err)
	}
	got, ok, err := d.Record()
	if err != nil || !ok || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v, %v; want %+v", got, ok, err, want)
	}
	if err := os.WriteFile(d.RecordFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Record(); err == nil || !strings.Contains(err.Error(), "--purge") {
		t.Errorf("broken record: got %v, want an error that says what to do", err)
	}
}

func TestWriteFileLeavesNoLitterAndSetsTheMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, contents := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); string(b) != contents {
			t.Errorf("got %q, want %q", b, contents)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d files, want 1", len(entries))
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", st.Mode())
	}
}

// The events' form is what other programs read.
func TestEventsAsJSON(t *testing.T) {
	n, err := SlotNetwork(7)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		event Event
		want  string
	}{
		{Event{Part: PartNode, State: Failed, Detail: "why", Seconds: 1.5}, `{"part":"node","state":"failed","detail":"why","seconds":1.5}`},
		{
			Event{Part: PartCluster, State: Ready, Seconds: 2, Summary: &Summary{Name: "n", Version: "v1", Mode: ControlPlaneOnly, Server: "s", Kubeconfig: "k", Network: ControlPlaneNetwork()}},
			`{"part":"cluster","state":"ready","seconds":2,"name":"n","version":"v1","mode":"control-plane-only","server":"s","kubeconfig":"k","serviceCIDR":"10.96.0.0/16","apiServiceIP":"10.96.0.1"}`,
		},
		{
			Event{Part: PartCluster, State: Ready, Seconds: 2, Summary: &Summary{Name: "n", Version: "v1", Mode: WithNode, Server: "s", Kubeconfig: "k", Network: n}},
			`{"part":"cluster","state":"ready","seconds":2,"name":"n","version":"v1","mode":"node","server":"s","kubeconfig":"k","slot":7,"link":"weir7",` +
				`"nodeCIDR":"10.231.7.0/24","hostIP":"10.231.7.1","nodeIP":"10.231.7.2","podCIDR":"10.232.7.0/24","serviceCIDR":"10.233.7.0/24","apiServiceIP":"10.233.7.1","dnsIP":"10.233.7.10"}`,
		},
	} {
		b, err := json.Marshal(tt.event)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != tt.want {
			t.Errorf("got  %s\nwant %s", b, tt.want)
		}
	}
}
