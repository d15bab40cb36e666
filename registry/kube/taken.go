package kube

import (
	"net/netip"
	"slices"
	"time"
)

// findTaken returns which of the lost endpoints have lost their address to another
// pod as well: a pod that ended is listed no more, but may stay as an object for long,
// while its address is given away.
func (a *app) findTaken() map[*lost]bool {
	a.unlisted = nil
	for p, l := range a.lost {
		if !p.refers(a) {
			if a.unlisted == nil {
				a.unlisted = map[netip.Addr][]*lost{}
			}
			a.unlisted[l.addr] = append(a.unlisted[l.addr], l)
		}
	}
	if a.unlisted == nil {
		return nil
	}
	var taken map[*lost]bool
	for _, sl := range a.space.slices {
		for l := range a.takenBy(sl) {
			if taken == nil {
				taken = map[*lost]bool{}
			}
			taken[l] = true
		}
	}
	return taken
}

// takenBy yields the endpoints, of those that findTaken saw to be unlisted, whose
// address is another pod's, as the slice has it.
func (a *app) takenBy(sl *slice) func(yield func(*lost) bool) {
	return func(yield func(*lost) bool) {
		if len(a.unlisted) == 0 {
			return
		}
		for i := range sl.endpoints {
			e := &sl.endpoints[i]
			if e.pod == nil || e.health != ready {
				continue
			}
			for _, l := range a.unlisted[e.addr] {
				if e.pod != l.pod && a.lost[l.pod] == l && a.meet(l, e, sl) && !yield(l) {
					return
				}
			}
		}
	}
}

// meet reports whether an endpoint at the address of a lost one serves a port of it.
// Pods of a node's network share its address and differ by port. Where ports are
// unknown, the address alone counts.
func (a *app) meet(l *lost, e *endpoint, sl *slice) bool {
	ports := a.served(l)
	serves := func(port uint16) bool { return slices.Contains(ports, port) }
	if len(ports) == 0 {
		return true
	}
	if e.pod.said != nil && len(e.pod.said.endpoints) > 0 {
		for _, o := range e.pod.said.endpoints {
			if serves(o.Port) {
				return true
			}
		}
		return false
	}
	if len(sl.ports) == 0 {
		return true
	}
	return slices.ContainsFunc(sl.ports, func(p slicePort) bool { return serves(p.port) })
}

// touchTaken looks again at the applications of which endpoints are lost whose
// addresses a new slice gives to others.
func (s *space) touchTaken(sl *slice, now time.Time) {
	for a := range s.losing {
		for range a.takenBy(sl) {
			a.touch(now)
			s.hub.tidyUnfollowed(a, now)
			break
		}
	}
}
