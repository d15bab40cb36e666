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
	whole *whole               // as it is on the list; nil where the Service is not
	mute  map[string]time.Time // ready instances that say of themselves nothing, and since when
	why   string               // why there is no Service mode, as it was logged last
	both  bool                 // instances and the Service are on the list that was made last
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

// service returns the application as a whole. Where it cannot be called so, or should
// not be, why says it; what is returned then is what is called until instances are,
// with the lanes that still work and none that are new; nil for nothing.
func (s *subscription) service(c *calling, v view, of called) (w *whole, why string) {
	if len(of.pods) == 0 {
		return nil, ""
	}
	w, why = newWhole(v, of.pods, of.others+s.overdue(c, of.mute))
	ready, kept := 0, 0
	for _, e := range of.pods {
		if e.instance.Health == registry.Ready {
			ready++
		} else {
			kept++
		}
	}
	if w != nil && (ready == 0 || c.mode == registry.ModePod && ready < kept) {
		// The first to be ready again would else be given all calls.
		w, why = nil, "most of its instances are not ready, and the cluster gives those no new connection"
	}
	if w == nil {
		return s.standing(c), why
	}
	return w, ""
}

// overdue returns how many of the instances that say nothing of themselves count as
// offering nothing. Their word may be on its way, and a Service that is called already
// is called on for a while: no lane leads to those that came after it was made.
func (s *subscription) overdue(c *calling, mute []string) (n int) {
	if c.whole == nil {
		c.mute = nil
		return len(mute)
	}
	if c.mute == nil {
		c.mute = map[string]time.Time{}
	}
	now := time.Now()
	note(c.mute, mute, now)
	for _, since := range c.mute {
		if until := since.Add(s.b.cfg.Grace); now.Before(until) {
			s.wakeAt(until)
		} else {
			n++
		}
	}
	return n
}

// standing is the whole as it was called last, with those of its lanes that were not
// closed; nil where there are none.
func (s *subscription) standing(c *calling) *whole {
	if c.whole == nil {
		return nil
	}
	c.lanes.close(s.closing.take(c.whole.addresses()))
	c.lanes.shed()
	if len(c.lanes.ids) == 0 {
		return nil
	}
	w := *c.whole
	w.lanes = slices.Clone(c.lanes.ids)
	return &w
}

// laid gives the whole its lanes.
func (s *subscription) laid(c *calling, w *whole, snapshot *registry.Snapshot, pods []entry) {
	want, shared := min(max(tripleLanes, 2*len(pods)), maxTripleLanes), false
	if s.ref.protocol == constant.DubboProtocol {
		want, shared = dubboLanes, true
	}
	var a around
	for i := range snapshot.Instances {
		in := &snapshot.Instances[i]
		listed := len(a.ready)+len(a.kept) < len(pods) && pods[len(a.ready)+len(a.kept)].instance == in // they have one order
		switch {
		case listed && in.Health == registry.Ready:
			a.ready = append(a.ready, in.ID)
		case listed:
			a.kept = append(a.kept, in.ID)
		case in.Health == registry.Terminating:
			a.ending = append(a.ending, in.ID)
		case in.Health == registry.Ready: // it drains: its Service leads there still
			a.others = append(a.others, in.ID)
		case in.Kept == nil:
			a.away = append(a.away, in.ID)
		}
	}
	c.lanes.close(s.closing.take(w.addresses()))
	n, again := c.lanes.renew(want, shared, a, time.Now())
	if !again.IsZero() {
		s.wakeAt(again)
	}
	w.lanes = slices.Clone(c.lanes.ids)
	if shared {
		w.host = spelled(w.host, c.lanes.pool)
	}
	for reason, n := range map[string]int{"closing": n.closing, "growth": n.growth, "unready": n.unready} {
		s.b.metrics.lanes.WithLabelValues(reason).Add(float64(n))
	}
}
