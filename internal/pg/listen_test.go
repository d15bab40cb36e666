//go:build unix

package pg_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

// listener returns a running listener with pauses fit for tests.
func listener(t *testing.T, pool *pgxpool.Pool, cfg pg.ListenerConfig) *pg.Listener {
	t.Helper()
	cfg.MinBackoff, cfg.MaxBackoff = time.Millisecond, 20*time.Millisecond
	l, err := pg.NewListener(pool, cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Start(t.Context())
	t.Cleanup(l.Stop)
	return l
}

func subscribe(t *testing.T, l *pg.Listener, channel string) *pg.Subscription {
	t.Helper()
	s := l.Subscribe(channel)
	t.Cleanup(s.Close)
	return s
}

func next(t *testing.T, s *pg.Subscription) pg.Wake {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case w := <-s.C():
		return w
	case <-ctx.Done():
		t.Fatal("no wake-up came")
		return pg.Wake{}
	}
}

// until collects wake-ups up to the first that satisfies ok.
func until(t *testing.T, s *pg.Subscription, ok func(pg.Wake) bool) pg.Wake {
	t.Helper()
	for {
		if w := next(t, s); ok(w) {
			return w
		}
	}
}

func notify(t *testing.T, pool *pgxpool.Pool, channel, payload string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), "SELECT pg_notify($1, $2)", channel, payload); err != nil {
		t.Fatal(err)
	}
}

func TestListenerWakes(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	l := listener(t, pool, pg.ListenerConfig{Channels: []string{"routes", `odd "name"; --`}})
	routes, odd := subscribe(t, l, "routes"), subscribe(t, l, `odd "name"; --`)
	for _, s := range []*pg.Subscription{routes, odd} {
		if w := next(t, s); w != (pg.Wake{Missed: true}) {
			t.Fatalf("first wake-up %+v", w)
		}
	}
	notify(t, pool, "routes", "7")
	if w := next(t, routes); w != (pg.Wake{Payload: "7", Count: 1}) {
		t.Errorf("%+v", w)
	}
	notify(t, pool, `odd "name"; --`, "x")
	if w := next(t, odd); w != (pg.Wake{Payload: "x", Count: 1}) {
		t.Errorf("%+v", w)
	}
	select {
	case w := <-routes.C():
		t.Errorf("woken by another channel: %+v", w)
	default:
	}
	late := subscribe(t, l, "routes")
	if w := next(t, late); w != (pg.Wake{Missed: true}) {
		t.Errorf("a late subscriber's first wake-up is %+v", w)
	}
}

func TestListenerCoalesces(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	l := listener(t, pool, pg.ListenerConfig{Channels: []string{"routes"}})
	slow, quick := subscribe(t, l, "routes"), subscribe(t, l, "routes")
	next(t, quick)
	for i := range 100 {
		notify(t, pool, "routes", fmt.Sprint(i))
	}
	until(t, quick, func(w pg.Wake) bool { return w.Payload == "99" })
	// The same loop serves both, so by now it has offered everything to slow,
	// except perhaps the very last.
	total, wakes, missed := 0, 0, false
	until(t, slow, func(w pg.Wake) bool {
		total, wakes, missed = total+w.Count, wakes+1, missed || w.Missed
		return w.Payload == "99"
	})
	if total != 100 || wakes > 2 || !missed {
		t.Errorf("%d wake-ups stand for %d notifications, a miss told: %v", wakes, total, missed)
	}
	if n := l.Stats().Coalesced; n < 99 {
		t.Errorf("%d merged", n)
	}
}

func TestClosedSubscriptionIsNotWoken(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	l := listener(t, pool, pg.ListenerConfig{Channels: []string{"routes"}})
	closed, open := l.Subscribe("routes"), subscribe(t, l, "routes")
	next(t, closed)
	next(t, open)
	closed.Close()
	closed.Close()
	notify(t, pool, "routes", "1")
	next(t, open)
	// Whichever of the two was offered to first, a second round settles it.
	notify(t, pool, "routes", "2")
	next(t, open)
	select {
	case w := <-closed.C():
		t.Errorf("woken after Close: %+v", w)
	default:
	}
}

func TestListenerComesBackAfterItsConnectionIsCut(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	l := listener(t, pool, pg.ListenerConfig{Name: "cut me", Channels: []string{"routes"}})
	s := subscribe(t, l, "routes")
	next(t, s)
	for range 3 {
		var n int
		if err := pool.QueryRow(t.Context(), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'cut me' AND datname = current_database()").Scan(&n); err != nil || n != 1 {
			t.Fatalf("%d connections cut (%v)", n, err)
		}
		if w := next(t, s); !w.Missed {
			t.Fatalf("after a reconnect %+v", w)
		}
		notify(t, pool, "routes", "after")
		if w := next(t, s); w != (pg.Wake{Payload: "after", Count: 1}) {
			t.Fatalf("%+v", w)
		}
	}
	if st := l.Stats(); st.Connects != 4 || st.Failures != 3 || !st.Connected || st.LastContact.IsZero() {
		t.Errorf("%+v", st)
	}
}

func TestListenerSurvivesTheServersDeath(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	cfg.Port = lastingPort(t)
	server := start(t, cfg)
	pool, err := pg.Open(t.Context(), server.URL(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	execSQL(t, server.URL(), "CREATE TABLE row (n int)")
	l := listener(t, pool, pg.ListenerConfig{Channels: []string{"rows"}})
	s := subscribe(t, l, "rows")
	next(t, s)

	if err := syscall.Kill(server.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-server.Done()
	eventually(t, "the listener noticing", func() bool { return !l.Stats().Connected })
	failures := l.Stats().Failures
	eventually(t, "attempts while the server is away", func() bool { return l.Stats().Failures > failures+2 })
	stop(t, server)

	again := start(t, cfg)
	// Written before the listener may be back: the wake-up has to make its
	// subscriber look, notified of this or not.
	execSQL(t, again.URL(), "INSERT INTO row VALUES (1)")
	until(t, s, func(w pg.Wake) bool {
		return w.Missed && query[int](t, again.URL(), "SELECT count(*) FROM row") == 1
	})
	execSQL(t, again.URL(), "NOTIFY rows, 'alive'")
	until(t, s, func(w pg.Wake) bool { return w.Payload == "alive" })
}

// blackhole forwards TCP until it is told to swallow everything while keeping
// connections open, as a network does that loses one side's packets.
type blackhole struct {
	l    net.Listener
	to   string
	mu   sync.Mutex
	dark chan struct{} // closed: swallow
	wg   sync.WaitGroup
	open []net.Conn
}

func newBlackhole(t *testing.T, to string) *blackhole {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &blackhole{l: l, to: to, dark: make(chan struct{})}
	b.wg.Go(b.accept)
	t.Cleanup(func() {
		_ = l.Close() // ends accept
		b.mu.Lock()
		for _, c := range b.open {
			_ = c.Close() // ends the copies
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b
}

func (b *blackhole) accept() {
	for {
		in, err := b.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp4", b.to)
		if err != nil {
			_ = in.Close() // the client sees that it failed
			continue
		}
		b.mu.Lock()
		b.open = append(b.open, in, out)
		dark := b.dark
		b.mu.Unlock()
		b.wg.Go(func() { b.pipe(in, out, dark) })
		b.wg.Go(func() { b.pipe(out, in, dark) })
	}
}

func (b *blackhole) pipe(dst io.Writer, src io.Reader, dark <-chan struct{}) {
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-dark: // swallowed
		default:
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// swallow goes dark for the connections there are; later ones pass.
func (b *blackhole) swallow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.dark)
	b.dark = make(chan struct{})
}

func TestListenerFindsAHalfOpenConnection(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	hole := newBlackhole(t, u.Host)
	far, err := pg.Open(t.Context(), altered(t, db.URL, func(u *url.URL) { u.Host = hole.l.Addr().String() }), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	var log record
	l := listener(t, far, pg.ListenerConfig{Channels: []string{"routes"}, Heartbeat: 20 * time.Millisecond, ProbeTimeout: time.Second, Log: log.logger()})
	s := subscribe(t, l, "routes")
	next(t, s)
	seen := l.Stats().LastContact
	eventually(t, "probes that are answered", func() bool { return l.Stats().LastContact.After(seen) })
	hole.swallow()
	if w := next(t, s); !w.Missed {
		t.Fatalf("%+v", w)
	}
	if !strings.Contains(log.String(), "answers no probe") {
		t.Errorf("the log does not say why:\n%s", log.String())
	}
	notify(t, db.Pool(), "routes", "through")
	until(t, s, func(w pg.Wake) bool { return w.Payload == "through" })
}

func TestListenerWaitsForADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	cfg.Port = lastingPort(t)
	server := start(t, cfg)
	pool, err := pg.Open(t.Context(), server.URL(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	stop(t, server)
	var log record
	l := listener(t, pool, pg.ListenerConfig{Channels: []string{"routes"}, Log: log.logger()})
	s := subscribe(t, l, "routes")
	eventually(t, "attempts", func() bool { return l.Stats().Failures > 3 })
	if n := strings.Count(log.String(), "cannot listen"); n != 1 {
		t.Errorf("%d complaints about one absence:\n%s", n, log.String())
	}
	start(t, cfg)
	if w := next(t, s); !w.Missed {
		t.Errorf("%+v", w)
	}
}

func TestListenerStartAndStop(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	l, err := pg.NewListener(pool, pg.ListenerConfig{Channels: []string{"routes"}})
	if err != nil {
		t.Fatal(err)
	}
	l.Stop() // never started
	s := subscribe(t, l, "routes")
	for range 2 { // and once more
		l.Start(t.Context())
		l.Start(t.Context())
		if w := next(t, s); !w.Missed {
			t.Errorf("%+v", w)
		}
		l.Stop()
		l.Stop()
		if l.Stats().Connected {
			t.Error("connected after Stop")
		}
	}
	// A context that ended is as good as Stop, and no bar to another start.
	ctx, cancel := context.WithCancel(t.Context())
	l.Start(ctx)
	next(t, s)
	cancel()
	eventually(t, "the end", func() bool { return !l.Stats().Connected })
	eventually(t, "a start after the end of a context", func() bool {
		l.Start(t.Context())
		return l.Stats().Connected
	})
	next(t, s)
	l.Stop()
}

func TestListenerStress(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	l, err := pg.NewListener(pool, pg.ListenerConfig{Channels: []string{"routes"}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for range 30 {
				if i%2 == 0 {
					l.Start(t.Context())
				} else {
					l.Stop()
				}
				s := l.Subscribe("routes")
				l.Stats()
				s.Close()
			}
		})
	}
	wg.Wait()
	l.Stop()
	if l.Stats().Connected {
		t.Error("connected after Stop")
	}
}

func TestListenerRejectsMistakesOfItsCaller(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	for _, channels := range [][]string{nil, {""}, {strings.Repeat("x", 64)}, {"a\x00b"}} {
		if _, err := pg.NewListener(pool, pg.ListenerConfig{Channels: channels}); err == nil {
			t.Errorf("accepted %q", channels)
		}
	}
}

func TestListenerMetrics(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	l := listener(t, pool, pg.ListenerConfig{Name: "gateway", Channels: []string{"routes"}})
	s := subscribe(t, l, "routes")
	next(t, s)
	notify(t, pool, "routes", "1")
	next(t, s)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(l)
	want := `
# HELP weir_pg_listen_connected 1 while the connection listens.
# TYPE weir_pg_listen_connected gauge
weir_pg_listen_connected{listener="gateway"} 1
# HELP weir_pg_listen_connects_total Times the connection was established.
# TYPE weir_pg_listen_connects_total counter
weir_pg_listen_connects_total{listener="gateway"} 1
# HELP weir_pg_listen_notifications_total Notifications received.
# TYPE weir_pg_listen_notifications_total counter
weir_pg_listen_notifications_total{channel="routes",listener="gateway"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "weir_pg_listen_connected", "weir_pg_listen_connects_total", "weir_pg_listen_notifications_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
