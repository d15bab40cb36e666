package kube

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/weirmesh/weir/registry"
)

// settleClaims leaves an address that several instances would be called at to one
// of them: the others get a Problem. An address is one pod's, so the rest of what
// the cluster says is out of date, as of a pod that ended without its status having
// been written. One that is ready has it before one that is kept; else the one that
// started last. created tells of an instance that does not say when it started when
// its pod was made.
//
// Pods of a node's network share its address and differ by port, which is no
// quarrel.
func settleClaims(all []registry.Instance, created func(*registry.Instance) time.Time) {
	first := make(map[netip.Addr]int32, len(all))
	var again map[netip.Addr][]int // all who claim an address that has more than one
	for i := range all {
		if !all[i].Callable() {
			continue
		}
		other, claimed := first[all[i].Host]
		if !claimed {
			first[all[i].Host] = int32(i)
			continue
		}
		if again == nil {
			again = map[netip.Addr][]int{}
		}
		if len(again[all[i].Host]) == 0 {
			again[all[i].Host] = []int{int(other)}
		}
		again[all[i].Host] = append(again[all[i].Host], i)
	}
	for _, claimants := range again {
		slices.SortStableFunc(claimants, func(x, y int) int { return byRight(&all[y], &all[x], created) })
		for n, loser := range claimants {
			for _, holder := range claimants[:n] {
				if all[holder].Problem == "" && quarrel(&all[holder], &all[loser]) {
					all[loser].Problem = registry.AddressProblem(all[loser].Host, all[holder].Name)
					break
				}
			}
		}
	}
}

// byRight orders instances by who is more likely to have the address, the likeliest
// last, and then in a fixed order.
func byRight(x, y *registry.Instance, created func(*registry.Instance) time.Time) int {
	began := func(i *registry.Instance) time.Time {
		if i.Details.Started.IsZero() {
			return created(i)
		}
		return i.Details.Started
	}
	return cmp.Or(
		compareBool(x.Health == registry.Ready, y.Health == registry.Ready),
		began(x).Compare(began(y)),
		cmp.Compare(x.ID, y.ID),
	)
}

// quarrel reports whether two instances at one address would be called at one port.
// Those that name no port are called at their Service's, the same for all.
func quarrel(x, y *registry.Instance) bool {
	if len(x.Endpoints) == 0 || len(y.Endpoints) == 0 {
		return len(x.Endpoints) == len(y.Endpoints)
	}
	return slices.ContainsFunc(x.Endpoints, func(e registry.Endpoint) bool {
		return slices.ContainsFunc(y.Endpoints, func(o registry.Endpoint) bool { return e.Port == o.Port })
	})
}
