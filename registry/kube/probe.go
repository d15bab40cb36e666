package kube

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	// probeTimeout bounds one attempt to reach an instance.
	probeTimeout = time.Second
	// probeFailures in a row prove that an instance is gone.
	probeFailures = 3
	// probeRetry is the pause after one that failed, probePause that after the first
	// that did not, which doubles up to probePauseMax: an instance has many callers.
	probeRetry    = 300 * time.Millisecond
	probePause    = time.Second
	probePauseMax = 5 * time.Second
	// probesAtOnce bounds the connections that one process tries at one time: a
	// thousand hosts that are silent are found out in about a quarter of a minute.
	probesAtOnce = 256
	// askedFor is how long a question about an application that nobody follows keeps
	// its probes going.
	askedFor = time.Minute
	// probePorts bounds the ports of one instance that are tried.
	probePorts = 16
)

// dialTCP reaches an address, and lets go of it.
func dialTCP(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: probeTimeout}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// probe sees to it that an endpoint that is kept, or may be, is tried from here
// again and again, while somebody cares about the application. mu is held.
func (h *Hub) probe(a *app, l *lost, now time.Time) {
	if l.probing || h.closed || !a.cared(now) {
		return
	}
	l.probing = true
	h.wg.Go(func() { h.attempt(a, l) })
}

// cared reports whether somebody follows the application, or asked lately.
func (a *app) cared(now time.Time) bool {
	return a.topic != nil || !a.asked.IsZero() && now.Sub(a.asked) < askedFor
}

// attempt tries an endpoint once, and plans the next attempt.
func (h *Hub) attempt(a *app, l *lost) {
	h.mu.Lock()
	wanted := a.lost[l.pod] == l && (l.kept != nil || l.doubted) && !h.closed && a.cared(h.clock.now())
	addresses := a.probed(l)
	if !wanted || len(addresses) == 0 {
		// Without an address only time tells; settle asks again in case one comes.
		l.probing = false
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()

	answered := h.reach(addresses)

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.ctx.Err() != nil || a.lost[l.pod] != l {
		return
	}
	now := h.clock.now()
	if !answered {
		h.metrics.probes.WithLabelValues("failed").Inc()
		l.answers = 0
		if l.failures++; l.failures >= probeFailures {
			if l.kept != nil {
				h.metrics.released.WithLabelValues("probe").Inc()
			}
			delete(a.lost, l.pod)
			h.relook(a, now)
			return
		}
		h.probeAfter(a, l, probeRetry)
		return
	}
	h.metrics.probes.WithLabelValues("answered").Inc()
	l.failures = 0
	if l.doubted && l.kept == nil {
		// It had been given up before so many others were lost that its loss is doubted.
		rule := h.protection(a)
		callable := a.weed(rule, now)
		if a.lost[l.pod] == l && !rule.Disabled {
			l.keep(a, rule.Hold, len(a.lost), callable+len(a.lost), now)
		}
		h.relook(a, now)
	}
	h.probeAfter(a, l, min(probePause<<min(l.answers, 10), probePauseMax))
	l.answers++
}

// probeAfter plans the next attempt. mu is held.
func (h *Hub) probeAfter(a *app, l *lost, wait time.Duration) {
	l.timer = time.AfterFunc(wait-wait/8+rand.N(wait/4), func() { // a fleet must not knock in step
		h.mu.Lock()
		defer h.mu.Unlock()
		l.probing = false
		if a.lost[l.pod] == l && (l.kept != nil || l.doubted) {
			h.probe(a, l, h.clock.now())
		}
	})
}

// relook has an application looked at again because of what was found out about a
// lost endpoint. mu is held.
func (h *Hub) relook(a *app, now time.Time) {
	a.touch(now)
	if a.topic == nil {
		h.tidy(a, now)
		a.space.releaseApp(a)
	}
}

// reach reports whether any of the addresses can be reached. A port may be closed to
// this process alone, as by a NetworkPolicy; whoever answers at another lives.
func (h *Hub) reach(addresses []string) bool {
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel() // the first that answers is enough
	answers := make(chan bool, len(addresses))
	for _, address := range addresses {
		h.wg.Go(func() {
			select {
			case h.probes <- struct{}{}:
			case <-ctx.Done():
				answers <- false
				return
			}
			defer func() { <-h.probes }()
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			answers <- h.dial(ctx, address) == nil
		})
	}
	for range addresses {
		if <-answers {
			return true
		}
	}
	return false
}

// probed returns where an endpoint is tried.
func (a *app) probed(l *lost) (addresses []string) {
	ports := a.served(l)
	for _, port := range ports[:min(len(ports), probePorts)] {
		addresses = append(addresses, net.JoinHostPort(addressOf(l.addr), strconv.Itoa(int(port))))
	}
	return addresses
}

// served returns the ports of a lost endpoint, in order: those that the instance says
// it serves; without any, those that its Service leads to.
func (a *app) served(l *lost) (ports []uint16) {
	if l.pod.said != nil {
		for _, e := range l.pod.said.endpoints {
			ports = append(ports, e.Port)
		}
	}
	if len(ports) == 0 {
		for _, sl := range a.slices {
			for _, p := range sl.ports {
				ports = append(ports, p.port)
			}
		}
	}
	if len(ports) == 0 && a.service != nil {
		for _, p := range a.service.ports {
			if p.Target != 0 {
				ports = append(ports, p.Target)
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

func addressOf(addr netip.Addr) string { return addr.Unmap().String() }
