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
	// probesAtOnce bounds how many instances are tried at one time: the thousand of a
	// cluster that is gone are found out in about a quarter of a minute.
	probesAtOnce = 128
	// probePorts bounds the ports of one instance that are tried.
	probePorts = 8
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
	slots := make(chan struct{}, probesAtOnce)
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
		var work sync.WaitGroup
		for _, a := range apps {
			if failures[a] == nil {
				failures[a] = make([]map[string]int, len(r.members))
			}
			failed := failures[a]
			work.Go(func() { r.probeApp(a, failed, slots) }) // none waits for those before it
		}
		work.Wait()
	}
}

// probeApp tries an application's instances in the clusters that do not answer, and
// tells the application which are dead. failed counts attempts by member and
// instance.
func (r *Registry) probeApp(a *app, failed []map[string]int, slots chan struct{}) {
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
			failed[at] = r.try(&s, failed[at], slots)
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
func (r *Registry) try(s *registry.Snapshot, before map[string]int, slots chan struct{}) map[string]int {
	after := map[string]int{}
	var mu sync.Mutex
	var work sync.WaitGroup
	for n := range s.Instances {
		i := &s.Instances[n]
		addresses := probed(i, &s.Service)
		if !i.Callable() || len(addresses) == 0 {
			continue
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			if answers := r.reach(addresses); !answers && r.ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()
				after[i.ID] = before[i.ID] + 1
			}
		})
	}
	work.Wait()
	return after
}

// reach reports whether a connection is taken at one of the addresses: a single port
// may be closed to this process alone.
func (r *Registry) reach(addresses []string) bool {
	ctx, cancel := context.WithTimeout(r.ctx, probeTimeout)
	defer cancel()
	answers := make(chan bool, len(addresses))
	for _, address := range addresses {
		go func() {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err == nil {
				_ = c.Close() // nothing was sent
				cancel()
			}
			answers <- err == nil
		}()
	}
	one := false
	for range addresses {
		one = <-answers || one
	}
	return one
}

// probed are the addresses where an instance should take a connection; none where
// they are not known.
func probed(i *registry.Instance, s *registry.Service) []string {
	if !i.Host.IsValid() {
		return nil
	}
	var ports []uint16
	add := func(port uint16) {
		if port != 0 && len(ports) < probePorts && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	for _, e := range i.Endpoints {
		add(e.Port)
	}
	for _, p := range s.Ports {
		if len(i.Endpoints) == 0 {
			add(p.Target)
		}
	}
	out := make([]string, len(ports))
	for n, port := range ports {
		out[n] = net.JoinHostPort(i.Host.String(), strconv.Itoa(int(port)))
	}
	return out
}
