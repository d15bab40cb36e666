package slot

import (
	"strings"
	"testing"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

func free(cluster.Network) (string, error) { return "", nil }

// The slots are the machine's: clusters that run beside this test may hold
// some.
func take(t *testing.T, id string) *Lease {
	t.Helper()
	l, err := TakeAny(id, free)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

func TestOneSlotForOneCluster(t *testing.T) {
	a, b := take(t, "same"), take(t, "same")
	if a.Network.Slot == b.Network.Slot {
		t.Fatalf("both got slot %d", a.Network.Slot)
	}
	if _, err := Take(a.Network.Slot, free); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("a taken slot: got %v", err)
	}
	a.Release()
	again, err := Take(a.Network.Slot, free)
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	again.Release()
}

func TestPreferencesSpread(t *testing.T) {
	slots := map[int]bool{}
	for _, id := range []string{"00000000", "00000001", "ea25dcdc", "ffffffff"} {
		slots[preferred(id)] = true
	}
	if len(slots) != 4 {
		t.Errorf("4 ids share %d slots", len(slots))
	}
}

func TestConflictsArePassedOver(t *testing.T) {
	first := take(t, "id")
	first.Release()
	l, err := TakeAny("id", func(n cluster.Network) (string, error) {
		if n.Slot == first.Network.Slot {
			return n.PodCIDR.String() + " on vpn0", nil
		}
		return "", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if l.Network.Slot == first.Network.Slot {
		t.Errorf("got slot %d in spite of its conflict", l.Network.Slot)
	}
	everything := func(cluster.Network) (string, error) { return "10.0.0.0/16 on vpn0", nil }
	if _, err := TakeAny("id", everything); err == nil || !strings.Contains(err.Error(), "vpn0") {
		t.Errorf("nothing free: got %v, want the reason", err)
	}
	// A slot refused for its conflict is not kept.
	again, err := Take(first.Network.Slot, free)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}
