package plan

import "testing"

func TestEveryInstanceHasAnAddressOfItsOwn(t *testing.T) {
	p := Plan{Instances: MaxInstances, Apps: 7}
	seen := make(map[string]bool, p.Instances)
	for i := range p.Instances {
		host := Host(i)
		if seen[host] {
			t.Fatalf("instance %d: address %s was given before", i, host)
		}
		seen[host] = true
		if back, ok := p.Index(host); !ok || back != i {
			t.Fatalf("Index(Host(%d)) = %d, %t", i, back, ok)
		}
	}
}

func TestIndexRefusesForeignAddresses(t *testing.T) {
	p := Plan{Instances: 10, Apps: 2}
	for _, host := range []string{"", "shop", "10.0.0.1", "198.17.0.1", "198.20.0.1", "198.18.0.0", "198.18.0.251", "198.18.0.11", "::1"} {
		if i, ok := p.Index(host); ok {
			t.Errorf("Index(%q) = %d, want none", host, i)
		}
	}
}

func TestSizesAndSlotsCoverThePlan(t *testing.T) {
	p := Plan{Instances: 1003, Apps: 40}
	got := make([]int, p.Apps)
	for i := range p.Instances {
		if slot := p.Slot(i); slot != got[p.App(i)] {
			t.Fatalf("instance %d: slot %d, want %d", i, slot, got[p.App(i)])
		}
		got[p.App(i)]++
	}
	for app, n := range got {
		if p.Size(app) != n {
			t.Errorf("Size(%d) = %d, want %d", app, p.Size(app), n)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, p := range []Plan{
		{}, {Instances: 1}, {Instances: 1, Apps: 2}, {Instances: MaxInstances + 1, Apps: 1}, {Instances: 2000, Apps: 1001},
		{Instances: MaxInstances, Apps: 1, Upgrade: true}, {Instances: 41, Apps: 40, Upgrade: true},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v passed", p)
		}
	}
	if err := (Plan{Instances: 1000, Apps: 40}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestAnUpgradeHasASlotForEachSuccessor(t *testing.T) {
	p := Plan{Instances: 12, Apps: 4, Upgrade: true}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	seen := map[[2]int]bool{}
	for i := range p.Total() {
		if back, ok := p.Index(Host(i)); !ok || back != i {
			t.Errorf("Index(Host(%d)) = %d, %t", i, back, ok)
		}
		seen[[2]int{p.App(i), p.Slot(i)}] = true
		if old := i % p.Instances; p.App(old) != p.App(i) || p.Slot(i)%p.Size(p.App(i)) != p.Slot(old) {
			t.Errorf("instance %d does not take the place of %d", i, old)
		}
		if p.Slot(i) >= p.Slots(p.App(i)) {
			t.Errorf("instance %d has slot %d of %d", i, p.Slot(i), p.Slots(p.App(i)))
		}
	}
	if len(seen) != p.Total() {
		t.Errorf("%d instances have %d places", p.Total(), len(seen))
	}
}
