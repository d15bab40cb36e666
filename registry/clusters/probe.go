package clusters

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/weirmesh/weir/registry"
)

const (
	// probeTimeout bounds one attempt to connect to an instance.
	probeTimeout = time.Second
	// probesAtOnce bounds how many run, and probesEach how many are made of one
	// application in one cluster each time.
	probesAtOnce = 16
	probesEach   = 128
	// deadAfter is how many attempts in a row an instance has to fail.
	deadAfter = 2
)

// probe tries the instances of clusters that do not answer, for as long as the
// registry runs. Such a cluster says of no instance that it has gone; if the cluster
// itself is gone, only this tells.
func (r *Registry) probe() {
	tick := time.NewTicker(r.cfg.ProbeEvery)
	defer tick.Stop()
	failures := map[*app][]map[string]int{}
	for {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		r.mu.Lock()
		apps := slices.Collect(maps.Values(r.apps))
		r.mu.Unlock()
		maps.DeleteFunc(failures, func(a *app, _ []map[string]int) bool { return !slices.Contains(apps, a) })
		for _, a := range apps {
			if failures[a] == nil {
				failures[a] = make([]map[string]int, len(r.members))
			}
			r.probeApp(a, failures[a])
		}
	}
}

// probeApp tries an application's instances in the clusters that do not answer, and
// tells the application which are dead. failed counts attempts by member and
// instance.
func (r *Registry) probeApp(a *app, failed []map[string]int) {
	changed := false
	for at := range r.members {
		ctx, cancel := context.WithTimeout(r.ctx, probeTimeout)
		s, err := r.members[at].Discoverer.Snapshot(ctx, a.name)
		cancel()
		switch {
		case err != nil: // nothing is known of it that could be tried
		case s.StaleSince.IsZero():
			failed[at] = nil
		default:
			failed[at] = r.try(&s, failed[at])
		}
		var dead map[string]bool
		for id, n := range failed[at] {
			if n >= deadAfter {
				if dead == nil {
					dead = map[string]bool{}
				}
				dead[id] = true
			}
		}
		a.mu.Lock()
		if !maps.Equal(a.parts[at].dead, dead) {
			a.parts[at].dead, changed = dead, true
		}
		a.mu.Unlock()
	}
	if changed {
		a.again()
	}
}

// try tries instances that are called, and returns how often each has failed in a row.
func (r *Registry) try(s *registry.Snapshot, before map[string]int) map[string]int {
	after := map[string]int{}
	var mu sync.Mutex
	var work sync.WaitGroup
	slots := make(chan struct{}, probesAtOnce)
	tried := 0
	for n := range s.Instances {
		i := &s.Instances[n]
		port := probePort(i, &s.Service)
		if !i.Callable() || port == 0 {
			continue
		}
		if tried++; tried > probesEach {
			break
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(r.ctx, probeTimeout)
			defer cancel()
			c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(i.Host.String(), strconv.Itoa(int(port))))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				_ = c.Close() // nothing was sent
				return
			}
			if r.ctx.Err() == nil {
				after[i.ID] = before[i.ID] + 1
			}
		})
	}
	work.Wait()
	return after
}

// probePort is where an instance should take a connection; 0 where that is not known.
func probePort(i *registry.Instance, s *registry.Service) uint16 {
	if len(i.Endpoints) > 0 {
		return i.Endpoints[0].Port
	}
	for _, p := range s.Ports {
		if p.Target != 0 {
			return p.Target
		}
	}
	return 0
}
