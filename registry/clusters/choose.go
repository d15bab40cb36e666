package clusters

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/internal/balance"
	"github.com/weirmesh/weir/registry"
)

// part is what one cluster says of an application.
type part struct {
	known bool
	s     registry.Snapshot
	// dead are instances that took no connection, since their cluster stopped to answer.
	dead map[string]bool
}

// standing is how far down the order of clusters instances are called.
type standing struct {
	order  string // of the clusters, by which depth counts
	depth  int
	better time.Time // since when less would do; zero while it would not
}

// choice is what follows from the parts of an application.
type choice struct {
	snapshot registry.Snapshot
	standing standing
	// again is when it has to be looked at again though nothing changes; zero for never.
	again time.Time
}

// preference is by what instances are chosen.
type preference struct {
	registry.Preference
	returnAfter time.Duration
}

// preferred returns the preference that holds for an application.
func (r *Registry) preferred(home *part) preference {
	p := preference{returnAfter: r.cfg.ReturnAfter}
	if home.known && home.s.Prefer != nil {
		p.Preference = *home.s.Prefer
		if p.ReturnAfter > 0 {
			p.returnAfter = p.ReturnAfter
		}
	}
	if p.ClusterPercent == nil {
		p.ClusterPercent = &r.cfg.ClusterPercent
	}
	if p.ZonePercent == nil {
		p.ZonePercent = &r.cfg.ZonePercent
	}
	return p
}

// levels returns the members in order, those that count alike together.
func (r *Registry) levels(order []string) [][]int {
	rank := make([]int, len(r.members))
	all := make([]int, len(r.members))
	for i, m := range r.members {
		all[i] = i
		// Clusters that a policy names come first; the rest follow by priority.
		if at := slices.Index(order, m.Name); at >= 0 {
			rank[i] = at - len(order) - 1<<20
		} else {
			rank[i] = m.Priority
		}
	}
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(rank[a], rank[b]) })
	var out [][]int
	for n, i := range all {
		if n > 0 && rank[all[n-1]] == rank[i] {
			out[len(out)-1] = append(out[len(out)-1], i)
		} else {
			out = append(out, []int{i})
		}
	}
	return out
}

// choose makes one application of its parts, at least one of which is known.
func (r *Registry) choose(name registry.App, parts []part, before standing, zone string, now time.Time) choice {
	first := slices.IndexFunc(parts, func(p part) bool { return p.known })
	pref := r.preferred(&parts[0])
	levels := r.levels(pref.Clusters)
	c := choice{standing: before}
	c.settle(levels, parts, &pref, now)

	s := registry.Snapshot{App: name, Mode: parts[first].s.Mode, ModeFrom: parts[first].s.ModeFrom, Prefer: parts[first].s.Prefer}
	count := 0
	for i := range parts {
		count += len(parts[i].s.Instances)
	}
	s.Instances = make([]registry.Instance, 0, count)
	seen := make(map[string]bool, count)
	doubts := make([]string, 0, count) // why an instance may not answer, by its place in the list
	var called []int                   // instances that are called so far, by their place in the list
	var names []string
	whose := -1 // the first that is called
	for depth, level := range levels {
		for _, at := range level {
			p, m := &parts[at], &r.members[at]
			if !p.known {
				continue
			}
			s.Observed = later(s.Observed, p.s.Observed)
			active := false
			for n := range p.s.Instances {
				i := p.s.Instances[n]
				i.Cluster = m.Name
				if seen[i.ID] { // addresses without a pod are known by the address alone
					i.ID = m.Name + "/" + i.ID
				}
				seen[i.ID] = true
				s.Instances = append(s.Instances, i)
				doubts = append(doubts, p.doubt(n, m.Name, depth < c.standing.depth))
				if i.Callable() && depth <= c.standing.depth {
					active = true
					called = append(called, len(s.Instances)-1)
				}
			}
			if active {
				names = append(names, m.Name)
				if whose < 0 {
					whose = at
				}
			}
			if since := p.s.StaleSince; !since.IsZero() && (s.StaleSince.IsZero() || since.Before(s.StaleSince)) {
				s.StaleSince = since
			}
		}
	}
	s.Service = r.service(max(whose, 0), parts)
	if len(names) > 0 {
		word := "those of cluster " + strings.Join(names, " and ") + " are called in its place"
		on := make(map[int]bool, len(called))
		for _, n := range called {
			on[n] = true
		}
		for n := range s.Instances {
			if i := &s.Instances[n]; !on[n] && i.Callable() {
				i.Standby = word
			}
		}
	}
	called = hold(&s, called, func(n int) string { return doubts[n] })
	if zones := zonesOf(&s, called); zone != "" && *pref.ZonePercent > 0 && balance.EnoughNear(zones, zone, *pref.ZonePercent) {
		hold(&s, called, func(n int) string {
			if s.Instances[n].Zone != zone {
				return "those of zone " + zone + " are called in its place"
			}
			return ""
		})
	}
	slices.SortFunc(s.Instances, func(a, b registry.Instance) int { return strings.Compare(a.ID, b.ID) })
	c.snapshot = s
	return c
}

// doubt says why an instance that counts as callable may not answer. That it is kept
// though it is not ready counts only where other clusters help out.
func (p *part) doubt(n int, cluster string, helped bool) string {
	switch i := &p.s.Instances[n]; {
	case p.dead[i.ID]:
		return "it takes no connection, and the API server of cluster " + cluster + " does not answer"
	case helped && i.Kept != nil:
		return "it is not ready, and other clusters have instances that are"
	}
	return ""
}

// hold has instances stand by for a reason, unless there is one for all of them. It
// returns those that are still called.
func hold(s *registry.Snapshot, called []int, why func(n int) string) []int {
	var left []int
	for _, n := range called {
		if why(n) == "" {
			left = append(left, n)
		}
	}
	if len(left) == 0 {
		return called
	}
	for _, n := range called {
		s.Instances[n].Standby = why(n)
	}
	return left
}

func zonesOf(s *registry.Snapshot, called []int) []string {
	zones := make([]string, len(called))
	for n, at := range called {
		zones[n] = s.Instances[at].Zone
	}
	return zones
}

// settle decides how many of the levels are called: down to the first that has
// enough, at once where that are more than before, and after a while where they are
// less.
func (c *choice) settle(levels [][]int, parts []part, pref *preference, now time.Time) {
	order := fmt.Sprint(levels)
	want := len(levels) - 1
	for depth, level := range levels {
		if enough(level, parts, *pref.ClusterPercent) {
			want = depth
			break
		}
	}
	s := &c.standing
	switch {
	case s.order != order: // nothing that was before counts in it
		*s = standing{order: order, depth: want}
	case want >= s.depth:
		s.depth, s.better = want, time.Time{}
	default:
		if s.better.IsZero() {
			s.better = now
		}
		if due := s.better.Add(pref.returnAfter); now.Before(due) {
			c.again = due
		} else {
			s.depth, s.better = want, time.Time{}
		}
	}
}

// enough reports whether the clusters of a level have enough instances that can be
// called. Those that leave are not missed, and those that are kept though they are
// not ready do not count.
func enough(level []int, parts []part, percent int) bool {
	fit, total := 0, 0
	for _, at := range level {
		p := &parts[at]
		for n := range p.s.Instances {
			i := &p.s.Instances[n]
			if i.Health == registry.Terminating || i.Details.State == registry.Draining {
				continue
			}
			total++
			if i.Callable() && i.Kept == nil && !p.dead[i.ID] {
				fit++
			}
		}
	}
	return fit > 0 && fit*100 >= total*percent
}

// service returns the Service of a member as it is reached from here, or that of the
// next that has one.
func (r *Registry) service(at int, parts []part) registry.Service {
	has := func(p part) bool { return p.s.Service.Host != "" || len(p.s.Service.Ports) > 0 }
	if !has(parts[at]) {
		if at = slices.IndexFunc(parts, has); at < 0 {
			return registry.Service{}
		}
	}
	service := parts[at].s.Service
	if at == 0 {
		return service
	}
	service.Govern = nil // each cluster is governed from inside
	if domain := r.members[at].ServiceDomain; domain != "" && service.Host != "" {
		service.Host = parts[at].s.App.Name + "." + parts[at].s.App.Namespace + "." + domain
	} else {
		service.Host = ""
	}
	return service
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
