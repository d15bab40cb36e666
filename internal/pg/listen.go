package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/internal/pause"
)

// Wake tells a subscriber to look at its tables. It is a hint, not data:
// notifications that came close together are one Wake, and the rows alone say
// what changed.
type Wake struct {
	// Missed: the listener (re)connected, so that notifications may have been
	// lost before this. A subscriber's first Wake always has it.
	Missed bool
	// Payload is the one of the latest notification, "" if there was none.
	Payload string
	// Count is the number of notifications this Wake stands for.
	Count int
}

// ListenerConfig describes a [Listener].
type ListenerConfig struct {
	// Name labels logs, metrics and the server's list of sessions. Default "weir listen".
	Name string
	// Channels to LISTEN on. Required; at most 63 bytes each.
	Channels []string
	// Heartbeat is how long the connection may be silent before it is probed,
	// which finds a half-open one. Default 15 s.
	Heartbeat time.Duration
	// ProbeTimeout bounds a probe, and an attempt to connect. Default 5 s.
	ProbeTimeout time.Duration
	// MinBackoff and MaxBackoff bound the jittered pause between attempts to
	// connect, which doubles from one to the next. Defaults 100 ms and 10 s.
	MinBackoff, MaxBackoff time.Duration
	// Log receives losses and returns of the connection. Default: discarded.
	Log *slog.Logger
}

// Listener turns NOTIFY on a set of channels into wake-ups, over a connection
// of its own that it re-establishes for as long as it runs. Start and Stop may
// be called in any order, any number of times and from any goroutine. It is a
// prometheus.Collector.
type Listener struct {
	cfg  ListenerConfig
	conn *pgx.ConnConfig
	log  *slog.Logger
	stat listenStat

	mu       sync.Mutex
	subs     map[string]map[*Subscription]struct{}
	everHeld bool // a connection has listened in the present run

	life   sync.Mutex // serialises Start and Stop
	cancel context.CancelFunc
	ended  chan struct{}
}

// NewListener returns a listener that will connect where pool does, but with a
// connection that is not the pool's. It does no I/O.
func NewListener(pool *pgxpool.Pool, cfg ListenerConfig) (*Listener, error) {
	if len(cfg.Channels) == 0 {
		return nil, errors.New("postgres: listen: no channels given")
	}
	cfg.Channels = slices.Clone(cfg.Channels)
	for _, c := range cfg.Channels {
		if c == "" || len(c) > 63 || strings.ContainsRune(c, 0) {
			return nil, fmt.Errorf("postgres: listen: %q is no channel name", c)
		}
	}
	if cfg.Name == "" {
		cfg.Name = "weir listen"
	}
	for d, def := range map[*time.Duration]time.Duration{
		&cfg.Heartbeat: 15 * time.Second, &cfg.ProbeTimeout: 5 * time.Second,
		&cfg.MinBackoff: 100 * time.Millisecond, &cfg.MaxBackoff: 10 * time.Second,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	conn := pool.Config().ConnConfig.Copy()
	conn.ConnectTimeout = cfg.ProbeTimeout
	conn.RuntimeParams["application_name"] = cfg.Name
	conn.RuntimeParams["statement_timeout"] = "0"
	l := &Listener{
		cfg: cfg, conn: conn, log: cfg.Log.With("listener", cfg.Name),
		subs: map[string]map[*Subscription]struct{}{},
	}
	l.stat.init(cfg)
	for _, c := range cfg.Channels {
		l.subs[c] = map[*Subscription]struct{}{}
	}
	return l, nil
}

// Subscription is one subscriber's place at one channel.
type Subscription struct {
	l       *Listener
	channel string
	c       chan Wake
}

// Subscribe adds a subscriber to one of the listener's channels; it panics if
// the channel was not named in ListenerConfig. Its first Wake comes as soon as
// the listener listens, at once if it already does. Close it when done.
func (l *Listener) Subscribe(channel string) *Subscription {
	s := &Subscription{l: l, channel: channel, c: make(chan Wake, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	set, ok := l.subs[channel]
	if !ok {
		panic(fmt.Sprintf("pg: channel %q was not given to NewListener", channel))
	}
	set[s] = struct{}{}
	if l.everHeld {
		s.offer(Wake{Missed: true})
	}
	return s
}

// C delivers wake-ups. It holds at most one, into which later ones are merged
// until it is received: a slow subscriber delays nobody and misses nothing. It
// is never closed.
func (s *Subscription) C() <-chan Wake { return s.c }

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	delete(s.l.subs[s.channel], s)
}

// offer merges w into what waits. Callers hold l.mu, so that nobody else sends.
func (s *Subscription) offer(w Wake) {
	select {
	case old := <-s.c:
		w.Missed = w.Missed || old.Missed
		w.Count += old.Count
		if w.Payload == "" {
			w.Payload = old.Payload
		}
		s.l.stat.coalesced.Add(1)
	default:
	}
	s.c <- w // there is room: this is the only sender, and it just made some
}

// Start makes the listener connect and stay connected until Stop is called or
// ctx ends. It returns at once; a database that is away is no error but waited
// for. Starting a running listener does nothing.
func (l *Listener) Start(ctx context.Context) {
	l.life.Lock()
	defer l.life.Unlock()
	if l.cancel != nil {
		select {
		case <-l.ended: // its context ended; it may be started again
			l.cancel()
		default:
			return
		}
	}
	ctx, l.cancel = context.WithCancel(ctx)
	l.ended = make(chan struct{})
	go l.run(ctx, l.ended)
}

// Stop ends the connection and returns when the listener has come to rest. It
// does nothing to one that does not run.
func (l *Listener) Stop() {
	l.life.Lock()
	defer l.life.Unlock()
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.ended
	l.cancel = nil
}

func (l *Listener) run(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	defer func() {
		l.mu.Lock()
		l.everHeld = false
		l.mu.Unlock()
	}()
	for failures := 0; ctx.Err() == nil; {
		held, err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		l.stat.failures.Add(1)
		if held {
			failures = 0
			l.log.WarnContext(ctx, "lost the notification connection; reconnecting", "error", err)
		} else if failures == 0 {
			l.log.WarnContext(ctx, "cannot listen for notifications; retrying", "error", describe(err, l.conn))
		}
		failures++
		if !pause.For(ctx, backoff(failures, l.cfg.MinBackoff, l.cfg.MaxBackoff)) {
			return
		}
	}
}

// session holds one connection until it fails. held says whether it ever listened.
func (l *Listener) session(ctx context.Context) (held bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, l.conn)
	if err != nil {
		return false, err
	}
	defer func() {
		// Say goodbye if the server still hears it; it notices anyway.
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(bye)
	}()
	if err := l.listen(ctx, conn); err != nil {
		return false, err
	}
	l.stat.connected.Store(true)
	l.stat.connects.Add(1)
	l.stat.contact()
	defer l.stat.connected.Store(false)
	l.log.InfoContext(ctx, "listening for notifications", "channels", l.cfg.Channels)
	// Only now: whoever reads its tables after this sees every change that was
	// committed before LISTEN took effect, and is notified of every later one.
	l.missed()
	for {
		if err := l.receive(ctx, conn); err != nil {
			return true, err
		}
	}
}

func (l *Listener) listen(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ProbeTimeout)
	defer cancel()
	var sql strings.Builder
	for _, c := range l.cfg.Channels {
		sql.WriteString("LISTEN " + pgx.Identifier{c}.Sanitize() + ";")
	}
	_, err := conn.Exec(ctx, sql.String(), pgx.QueryExecModeSimpleProtocol)
	return err
}

// receive waits for one notification, and when none comes in time asks the
// server whether it is still there.
func (l *Listener) receive(ctx context.Context, conn *pgx.Conn) error {
	wait, cancel := context.WithTimeout(ctx, l.cfg.Heartbeat)
	n, err := conn.WaitForNotification(wait)
	silent := wait.Err() != nil
	cancel()
	switch {
	case err == nil:
		l.stat.contact()
		l.deliver(n.Channel, n.Payload)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !silent || conn.IsClosed():
		return err
	}
	probe, cancel := context.WithTimeout(ctx, l.cfg.ProbeTimeout)
	defer cancel()
	if err := conn.Ping(probe); err != nil {
		return fmt.Errorf("the connection is silent and answers no probe: %w", err)
	}
	l.stat.contact()
	return nil
}

func (l *Listener) deliver(channel, payload string) {
	l.stat.notified(channel)
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.subs[channel] {
		s.offer(Wake{Payload: payload, Count: 1})
	}
}

func (l *Listener) missed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.everHeld = true
	for set := range maps.Values(l.subs) {
		for s := range set {
			s.offer(Wake{Missed: true})
		}
	}
}
