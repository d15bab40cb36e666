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

	asks := &parts[asking(parts, first)].s
	s := registry.Snapshot{App: name, Mode: asks.Mode, ModeFrom: asks.ModeFrom}
	if home := &parts[0]; home.known {
		s.Prefer, s.Choice, s.ChoiceFrom = home.s.Prefer, home.s.Choice, home.s.ChoiceFrom
	}
	ids := r.identify(parts)
	count := 0
	for i := range parts {
		count += len(parts[i].s.Instances)
	}
	s.Instances = make([]registry.Instance, 0, count)
	dead := make([]string, 0, count) // why an instance does not answer, by its place in the list
	var called []int                 // instances that are called so far, by their place in the list
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
				if p.dead[i.ID] {
					dead = append(dead, "it takes no connection, and the API server of cluster "+m.Name+" does not answer")
				} else {
					dead = append(dead, "")
				}
				i.ID = ids(at, i.ID)
				s.Instances = append(s.Instances, i)
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
	called = hold(&s, called, func(n int) string { return dead[n] })
	if c.standing.depth > 0 {
		// Whoever needs help is not to be called on suspicion, unless all are.
		called = hold(&s, called, func(n int) string {
			if s.Instances[n].Kept != nil {
				return "it is not ready, and other instances are"
			}
			return ""
		})
	}
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

// asking returns the part that says how the application asks to be called: the first
// cluster's, unless that says nothing of it and knows nothing of the application, which
// lives elsewhere then.
func asking(parts []part, first int) int {
	for at := range parts {
		if p := &parts[at]; p.known && (p.s.Known() || at == 0 && p.s.ModeFrom != "") {
			return at
		}
	}
	return first
}

// addressID begins the ID of an instance that is known by its address alone, which
// another cluster may have as well.
const addressID = "address:"

// identify returns what gives each instance an ID of its own, which does not depend on
// who else is there at the moment, nor on the order of the clusters.
func (r *Registry) identify(parts []part) func(at int, id string) string {
	var twice map[string]int // the first member that has an ID that several have
	if len(parts) > 1 {
		seen := map[string]int{}
		for at := range parts {
			for n := range parts[at].s.Instances {
				id := parts[at].s.Instances[n].ID
				if first, ok := seen[id]; !ok {
					seen[id] = at
				} else if first != at {
					if twice == nil {
						twice = map[string]int{}
					}
					twice[id] = first
				}
			}
		}
	}
	return func(at int, id string) string {
		first, also := twice[id]
		if at > 0 && (strings.HasPrefix(id, addressID) || also && first != at) {
			return r.members[at].Name + "/" + id
		}
		return id
	}
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

// zonesOf returns where those are that are called and not doubted; where all are
// doubted, where all are: a zone that fails is not to be preferred.
func zonesOf(s *registry.Snapshot, called []int) []string {
	zones, sure := make([]string, 0, len(called)), make([]string, 0, len(called))
	for _, at := range called {
		i := &s.Instances[at]
		zones = append(zones, i.Zone)
		if i.Kept == nil {
			sure = append(sure, i.Zone)
		}
	}
	if len(sure) > 0 {
		return sure
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
