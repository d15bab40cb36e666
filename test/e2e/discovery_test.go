package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/test/mesh"
)

// The flow itself: orders finds inventory through Kubernetes and calls both of
// its pods, at the rate that load asks for.
func TestOrdersCallInventoryThroughKubernetes(t *testing.T) {
	s := openShop(t)
	load := s.one("load")
	before := s.stats(load)
	s.unharmed(load, before)
	orders := s.follows()
	if orders.Served.OK == 0 {
		t.Error("orders counts no order served")
	}
	pods, err := s.pods("inventory")
	if err != nil {
		t.Fatal(err)
	}
	if len(pods) != 2 {
		t.Fatalf("%d pods of inventory", len(pods))
	}
	for _, p := range pods {
		if st := s.stats(p); st.Served.OK == 0 {
			t.Errorf("%s served nothing", p.Name)
		}
	}
}

func TestRegistryCommandsShowTheShop(t *testing.T) {
	s := openShop(t)
	pods, err := s.pods("inventory")
	if err != nil {
		t.Fatal(err)
	}
	list := theMesh.Registry(t, "list")
	for _, want := range []string{"shop/inventory", "shop/orders"} {
		if !strings.Contains(list, want) {
			t.Errorf("list lacks %s:\n%s", want, list)
		}
	}
	get := theMesh.Registry(t, "get", "shop/inventory")
	for _, p := range pods {
		if !strings.Contains(get, p.Name) || !strings.Contains(get, p.Status.PodIP) {
			t.Errorf("get lacks pod %s at %s:\n%s", p.Name, p.Status.PodIP, get)
		}
	}
	var doc any
	if out := theMesh.Registry(t, "get", "shop/inventory", "-o", "json"); json.Unmarshal([]byte(out), &doc) != nil {
		t.Errorf("get -o json is no JSON:\n%s", out)
	}
}

func TestScaleIsFollowedAndLosesNoCall(t *testing.T) {
	s := openShop(t)
	load := s.one("load")
	before := s.placed(load, 20)
	for _, n := range []int{4, 1, 2} {
		s.scale("inventory", n)
		s.follows()
	}
	s.unharmed(load, before)
}

func TestRollingRestartsLoseNoCall(t *testing.T) {
	s := openShop(t)
	load := s.one("load")
	before := s.placed(load, 20)
	s.restart("inventory")
	s.follows()
	s.restart("orders")
	s.follows()
	s.unharmed(load, before)
}

// A pod that is killed takes along the calls that it was working on, and only
// those.
func TestForcedDeletionLosesOnlyCallsUnderWay(t *testing.T) {
	s := openShop(t)
	load, orders := s.one("load"), s.one("orders")
	pods, err := s.pods("inventory")
	if err != nil {
		t.Fatal(err)
	}
	victim := pods[0]
	before, beforeOrders := s.placed(load, 40), s.stats(orders)
	now := int64(0)
	if err := s.client.CoreV1().Pods(namespace).Delete(t.Context(), victim.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	gone := died(t.Context(), victim)
	s.rolledOut("inventory")
	s.follows()
	after := s.placed(load, 40)
	for _, f := range newer(after.Made.Failures, before) {
		if f.Started.After(gone) {
			t.Errorf("an order that was placed after %s was gone (%s) failed: %+v", victim.Name, gone, f)
		}
	}
	for _, f := range newer(s.stats(orders).Attempts.Failures, stats{Made: beforeOrders.Attempts}) {
		if !strings.HasPrefix(f.Address, victim.Status.PodIP+":") {
			t.Errorf("a call to %s failed, though %s was killed: %+v", f.Address, victim.Status.PodIP, f)
		}
	}
	t.Logf("the kill cost %d orders", after.Made.Failed-before.Made.Failed)
}

// With the API server killed for a minute nothing is forgotten and no call is
// lost; what changes after its return is followed.
func TestCallsGoOnWithoutTheAPIServer(t *testing.T) {
	s := openShop(t)
	load, orders := s.one("load"), s.one("orders")
	before := s.placed(load, 20)
	list := s.stats(orders).Providers[inventory]

	down := time.Minute
	if testing.Short() {
		down = 10 * time.Second
	}
	fault := exec.CommandContext(t.Context(), filepath.Join(theMesh.Bin, "devcluster"), "fault", "apiserver",
		"--dir", filepath.Join(theMesh.Dir, "devcluster"), "--for", down.String())
	if out, err := fault.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	alive := func() error {
		_, err := s.client.Discovery().ServerVersion()
		return err
	}
	mesh.Eventually(t, "the API server is gone", func() error {
		if alive() == nil {
			return fmt.Errorf("it answers")
		}
		return nil
	})
	gone := s.placed(load, 100) // calls go on meanwhile
	if gone.Made.Failed != before.Made.Failed {
		t.Errorf("orders failed while the API server was gone: %+v", newer(gone.Made.Failures, before))
	}
	if alive() == nil {
		t.Error("the API server was back too soon for this test to mean anything")
	}
	if now := s.stats(orders).Providers[inventory]; fmt.Sprint(now) != fmt.Sprint(list) {
		t.Errorf("orders' list changed without an API server: %v, it was %v", now, list)
	}
	mesh.Eventually(t, "the API server is back", alive)
	s.follows()
	s.scale("inventory", 3)
	s.follows()
	s.scale("inventory", 2)
	s.follows()
	s.unharmed(load, before)
}
