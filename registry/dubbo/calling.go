package dubbo

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

// calling is how a reference calls an application. Only run touches it.
type calling struct {
	mode  registry.Mode // of what was listed last; empty before that
	move  *move         // under way to another mode
	lanes lanes
	why   string // why there is no Service mode, as it was logged last
	both  bool   // instances and the Service are on the list that was made last
}

// mode is how the reference calls the application, by what speaks first: itself,
// then whatever the registry knows (a DiscoveryPolicy, the Service's annotation).
func (s *subscription) mode(snapshot *registry.Snapshot) registry.Mode {
	if cmp.Or(s.ref.mode, snapshot.Mode) == registry.ModeService {
		return registry.ModeService
	}
	return registry.ModePod
}

// move is the way from one mode to the other: the old list alone until one of the
// new addresses has taken a connection from here, then both for a while, for calls
// and connections to settle, then the new one alone.
type move struct {
	to        registry.Mode
	cancel    context.CancelFunc
	addresses atomic.Pointer[[]string] // the new ones; never none
	reached   atomic.Bool
	listed    time.Time // when both lists were handed on; zero before that
}

// redialPause is between two attempts to reach a new address.
const redialPause = time.Second

// dialPatience bounds one of them.
const dialPatience = 2 * time.Second

// choose returns which of the two lists of an application are called now. pods and
// whole are what either mode would give; either may be nothing.
func (s *subscription) choose(app registry.App, want registry.Mode, pods []entry, w *whole) (callPods, callWhole bool) {
	c := s.calling[app]
	has := func(m registry.Mode) bool {
		if m == registry.ModeService {
			return w != nil
		}
		return len(pods) > 0
	}
	if c.mode == "" || c.mode == want || !has(c.mode) || !has(want) {
		// Nothing to move from, or to.
		c.stay()
		if has(want) || c.mode == "" {
			c.mode = want
		}
		return c.mode != registry.ModeService, c.mode == registry.ModeService
	}
	if c.move == nil || c.move.to != want {
		c.stay()
		c.move = &move{to: want}
	}
	c.move.lead(pods, w)
	if c.move.cancel == nil {
		s.try(app, c.move)
	}
	switch {
	case !c.move.reached.Load():
		return c.mode != registry.ModeService, c.mode == registry.ModeService
	case c.move.listed.IsZero():
		return true, true
	case time.Since(c.move.listed) < s.b.cfg.Overlap:
		s.wakeAt(c.move.listed.Add(s.b.cfg.Overlap))
		return true, true
	}
	s.b.log.Info("the mode of calling has changed", slog.String("interface", s.ref.iface),
		slog.String("app", app.String()), slog.String("mode", string(want)))
	c.stay()
	c.mode = want
	return want != registry.ModeService, want == registry.ModeService
}

// handedOn notes that what is on the list was handed on, both modes of an
// application that goes over among it.
func (s *subscription) handedOn(now time.Time) {
	for _, c := range s.calling {
		if m := c.move; m != nil && m.reached.Load() && m.listed.IsZero() && c.both {
			m.listed = now
			s.wakeAt(now.Add(s.b.cfg.Overlap))
		}
	}
}

// stay ends a move, wherever it is.
func (c *calling) stay() {
	if c.move != nil {
		if c.move.cancel != nil {
			c.move.cancel()
		}
		c.move = nil
	}
}

// lead has the move lead to where the new list does now.
func (m *move) lead(pods []entry, w *whole) {
	var addresses []string
	if m.to == registry.ModeService {
		addresses = w.addresses()
	} else {
		for _, u := range (list{entries: pods}).urls() {
			addresses = append(addresses, u.Location)
		}
	}
	m.addresses.Store(&addresses)
}

// try dials the addresses of the new list, one after another, until one is reached.
func (s *subscription) try(app registry.App, m *move) {
	ctx, cancel := context.WithCancel(s.b.ctx)
	m.cancel = cancel
	started := s.b.goWork(func() {
		for n := 0; ; n++ {
			addresses := *m.addresses.Load()
			address := addresses[n%len(addresses)]
			err := dial(ctx, address)
			if err == nil {
				m.reached.Store(true)
				s.wake()
				return
			}
			if n == 0 && ctx.Err() == nil {
				s.b.log.Warn("the mode of calling is not changed yet: the new address cannot be reached from here; trying again",
					slog.String("interface", s.ref.iface), slog.String("app", app.String()), slog.String("mode", string(m.to)),
					slog.String("address", address), slog.Any("error", err))
			}
			if !pause.For(ctx, redialPause) {
				return
			}
		}
	})
	if !started {
		cancel()
	}
}

func dial(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: dialPatience}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// noService logs, once, why an application is not called by its Service.
func (s *subscription) noService(app registry.App, c *calling, why string) {
	if why == c.why {
		return
	}
	c.why = why
	if why != "" {
		s.b.log.Warn("the mode service cannot be had, and instances are called", slog.String("interface", s.ref.iface),
			slog.String("app", app.String()), slog.String("reason", why))
	}
}

// laid gives the whole its lanes.
func (s *subscription) laid(c *calling, w *whole, snapshot *registry.Snapshot, pods []entry) {
	want, shared := min(max(tripleLanes, 2*len(pods)), maxTripleLanes), false
	if s.ref.protocol == constant.DubboProtocol {
		want, shared = dubboLanes, true
	}
	var a around
	for i := range snapshot.Instances {
		switch in := &snapshot.Instances[i]; {
		case len(a.callable) < len(pods) && pods[len(a.callable)].instance == in: // they have one order
			a.callable = append(a.callable, in.ID)
		case in.Health == registry.Terminating:
			a.ending = append(a.ending, in.ID)
		case in.Health == registry.Ready: // it drains: its Service leads there still
			a.others = append(a.others, in.ID)
		}
	}
	c.lanes.close(s.closing.take(w.addresses()))
	left, grown, again := c.lanes.renew(want, shared, a, time.Now())
	if !again.IsZero() {
		s.wakeAt(again)
	}
	w.lanes = slices.Clone(c.lanes.ids)
	if shared {
		w.host = spelled(w.host, c.lanes.pool)
	}
	for reason, n := range map[string]int{"closing": left, "growth": grown} {
		s.b.metrics.lanes.WithLabelValues(reason).Add(float64(n))
	}
}
