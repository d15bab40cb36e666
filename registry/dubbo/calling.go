package dubbo

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

// calling is how a reference calls an application. Only run touches it.
type calling struct {
	mode  registry.Mode // of what was listed last; empty before that
	move  *move         // under way to another mode
	lanes lanes
	why   string // why there is no Service mode, as it was logged last
}

// move is the way from one mode to the other: the old list alone until one of the
// new addresses has taken a connection from here, then both for a while, for calls
// and connections to settle, then the new one alone.
type move struct {
	to      registry.Mode
	cancel  context.CancelFunc
	reached atomic.Pointer[time.Time]
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
		c.move = s.start(app, want, pods, w)
	}
	reached := c.move.reached.Load()
	switch {
	case reached == nil:
		return c.mode != registry.ModeService, c.mode == registry.ModeService
	case time.Since(*reached) < s.b.cfg.Overlap:
		s.wakeAt(reached.Add(s.b.cfg.Overlap))
		return true, true
	}
	s.b.log.Info("the mode of calling has changed", slog.String("interface", s.ref.iface),
		slog.String("app", app.String()), slog.String("mode", string(want)))
	c.stay()
	c.mode = want
	return want != registry.ModeService, want == registry.ModeService
}

// stay ends a move, wherever it is.
func (c *calling) stay() {
	if c.move != nil {
		c.move.cancel()
		c.move = nil
	}
}

// start begins a move by trying the addresses of the new list, one after another.
func (s *subscription) start(app registry.App, to registry.Mode, pods []entry, w *whole) *move {
	var addresses []string
	if to == registry.ModeService {
		addresses = w.addresses()
	} else {
		for _, u := range (list{entries: pods}).urls() {
			addresses = append(addresses, u.Location)
		}
	}
	ctx, cancel := context.WithCancel(s.b.ctx)
	m := &move{to: to, cancel: cancel}
	started := s.b.goWork(func() {
		for n := 0; ; n++ {
			address := addresses[n%len(addresses)]
			err := dial(ctx, address)
			if err == nil {
				now := time.Now()
				m.reached.Store(&now)
				s.wake()
				return
			}
			if n == 0 && ctx.Err() == nil {
				s.b.log.Warn("the mode of calling is not changed yet: the new address cannot be reached from here; trying again",
					slog.String("interface", s.ref.iface), slog.String("app", app.String()), slog.String("mode", string(to)),
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
	return m
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
