package link

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

func TestOverlap(t *testing.T) {
	n, err := cluster.SlotNetwork(7)
	if err != nil {
		t.Fatal(err)
	}
	for used, want := range map[string]string{
		"10.232.7.0/24":   "10.232.7.0/24",
		"10.232.0.0/16":   "10.232.0.0/16",
		"10.233.7.9/32":   "10.233.7.9",
		"10.231.8.0/24":   "",
		"10.0.0.0/8":      "", // a wide private route only loses a few addresses
		"0.0.0.0/0":       "",
		"192.168.1.0/24":  "",
		"10.232.7.128/25": "10.232.7.128/25",
	} {
		_, ipn, err := net.ParseCIDR(used)
		if err != nil {
			t.Fatal(err)
		}
		if got := overlap(n.Prefixes(), []*net.IPNet{ipn}); got != want {
			t.Errorf("%s: got %q, want %q", used, got, want)
		}
	}
}

// inNamespace moves the test into a network namespace of its own: nothing of
// this machine's is touched.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: interfaces can be made by root only")
	}
	// The thread is given up with the test's goroutine, and its namespace goes.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("NOT TESTED: no network namespace can be made here: %v", err)
	}
}

// other starts a process in another network namespace.
func other(t *testing.T) int {
	t.Helper()
	c := exec.Command("sleep", "infinity")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return c.Process.Pid
}

func TestConnectAndRemove(t *testing.T) {
	inNamespace(t)
	n, err := cluster.SlotNetwork(7)
	if err != nil {
		t.Fatal(err)
	}
	if err := Connect("aa", n, other(t)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []netip.Addr{n.NodeIP, n.DNSIP, n.PodCIDR.Addr().Next()} {
		routes, err := netlink.RouteGet(want.AsSlice())
		if err != nil {
			t.Fatal(err)
		}
		if !routes[0].Src.Equal(n.HostIP.AsSlice()) {
			t.Errorf("%s is reached from %s, want %s", want, routes[0].Src, n.HostIP)
		}
	}
	if what, err := Conflict(n); what != "" || err != nil {
		t.Errorf("the cluster's own interface is a conflict: %q, %v", what, err)
	}
	next, err := cluster.SlotNetwork(8)
	if err != nil {
		t.Fatal(err)
	}
	if what, err := Conflict(next); what != "" || err != nil {
		t.Errorf("another slot is a conflict: %q, %v", what, err)
	}
	if err := Remove("bb", n.Link); err == nil || !strings.Contains(err.Error(), "not this cluster's") {
		t.Fatalf("another cluster's interface: got %v", err)
	}
	for range 2 {
		if err := Remove("aa", n.Link); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := netlink.LinkByName(n.Link); err == nil {
		t.Error("the interface is still there")
	}
}

func TestConflict(t *testing.T) {
	inNamespace(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr("10.232.7.200/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(lo, addr); err != nil {
		t.Fatal(err)
	}
	for slot, want := range map[int]string{7: "10.232.7.200 on lo", 8: ""} {
		n, err := cluster.SlotNetwork(slot)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Conflict(n); got != want || err != nil {
			t.Errorf("slot %d: got %q, %v; want %q", slot, got, err, want)
		}
	}
}
