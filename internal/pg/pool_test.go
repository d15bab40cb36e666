//go:build unix

package pg_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

// once is Open without retries.
var once = pg.Options{RetryFor: -1}

// altered returns a connection string with one part changed.
func altered(t *testing.T, raw string, f func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	f(u)
	return u.String()
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // that is its purpose
	return l.Addr().String()
}

func TestOpenExplainsWhatIsWrong(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	const secret = "hunter2secret"
	host := func(addr string) string {
		return altered(t, db.URL, func(u *url.URL) { u.Host, u.User = addr, url.UserPassword("weir", secret) })
	}
	silent, err := net.Listen("tcp4", "127.0.0.1:0") // accepts in the kernel, never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() }) // nothing was written
	for name, c := range map[string]struct {
		url   string
		kind  error
		words []string
	}{
		"nothing listens":  {host(closedPort(t)), pg.ErrUnreachable, []string{"connection refused"}},
		"no answer":        {host(silent.Addr().String()), pg.ErrUnreachable, []string{"in time", silent.Addr().String()}},
		"no such host":     {host("db.invalid:5432"), pg.ErrUnreachable, []string{"db.invalid"}},
		"no such socket":   {"postgres://weir:" + secret + "@/weir?host=/nonexistent", pg.ErrUnreachable, []string{"/nonexistent/.s.PGSQL.5432"}},
		"wrong password":   {altered(t, db.URL, func(u *url.URL) { u.User = url.UserPassword("weir", secret) }), pg.ErrAuth, []string{`"weir"`, "password"}},
		"unknown user":     {altered(t, db.URL, func(u *url.URL) { u.User = url.UserPassword("mallory", secret) }), pg.ErrAuth, []string{`"mallory"`}},
		"no such database": {altered(t, db.URL, func(u *url.URL) { u.Path = "/absent" }), pg.ErrNoDatabase, []string{`"absent"`, "createdb absent"}},
		"TLS not offered":  {altered(t, db.URL, func(u *url.URL) { u.RawQuery = "sslmode=require" }), pg.ErrAuth, []string{"TLS", "sslmode=disable"}},
		"empty":            {"", pg.ErrInvalidURL, nil},
		"malformed":        {"postgres://weir:" + secret + "%zz@host/db", pg.ErrInvalidURL, nil},
		"malformed port":   {"postgres://weir:" + secret + "@host:port/db", pg.ErrInvalidURL, nil},
		"malformed words":  {"host=db password=" + secret + " port=x", pg.ErrInvalidURL, nil},
		"other scheme":     {"mysql://weir:" + secret + "@host/db", pg.ErrInvalidURL, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log record
			o := once
			o.Log, o.ConnectTimeout = log.logger(), time.Second
			pool, err := pg.Open(t.Context(), c.url, o)
			if err == nil {
				pool.Close()
				t.Fatal("connected")
			}
			wantSentence(t, err, c.kind, append(c.words, "--database-url")...)
			if text := fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)) + log.String(); strings.Contains(text, secret) {
				t.Errorf("the password is in %q", text)
			}
		})
	}
}

func TestOpenWaitsForTheServer(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	cfg.Port = lastingPort(t)
	s := start(t, cfg)
	stop(t, s)
	var log record
	type result struct {
		err  error
		name string
	}
	opened := make(chan result, 1)
	go func() {
		pool, err := pg.Open(t.Context(), s.URL(), pg.Options{Name: "early bird", RetryFor: time.Minute, Log: log.logger()})
		r := result{err: err}
		if err == nil {
			r.err = pool.QueryRow(t.Context(), "SHOW application_name").Scan(&r.name)
			pool.Close()
		}
		opened <- r
	}()
	eventually(t, "a warning that it waits", func() bool { return strings.Contains(log.String(), "waiting for the database") })
	start(t, cfg)
	if r := <-opened; r.err != nil || r.name != "early bird" {
		t.Fatalf("%v, application_name %q", r.err, r.name)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	var log record
	why := errors.New("shutting down")
	failed := make(chan error, 1)
	go func() {
		_, err := pg.Open(ctx, "postgres://weir@"+closedPort(t)+"/weir", pg.Options{RetryFor: time.Hour, Log: log.logger()})
		failed <- err
	}()
	eventually(t, "a warning that it waits", func() bool { return strings.Contains(log.String(), "waiting for the database") })
	cancel(why)
	if err := <-failed; !errors.Is(err, why) {
		t.Fatalf("error %v, want the context's cause", err)
	}
}

func TestPoolEndsSlowStatements(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	pool, err := pg.Open(t.Context(), db.URL, pg.Options{StatementTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	_, err = pool.Exec(t.Context(), "SELECT pg_sleep(600)")
	var pe *pgconn.PgError
	if !errors.As(err, &pe) || pe.Code != "57014" {
		t.Fatalf("error %v, want the server's timeout", err)
	}
}

func TestConnectionStringWins(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	raw := altered(t, db.URL, func(u *url.URL) {
		u.RawQuery += "&statement_timeout=7777&pool_max_conns=3&application_name=mine&timezone=Asia/Shanghai"
	})
	pool, err := pg.Open(t.Context(), raw, pg.Options{Name: "ours", MaxConns: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if n := pool.Config().MaxConns; n != 3 {
		t.Errorf("pool of %d", n)
	}
	for setting, want := range map[string]string{"statement_timeout": "7777ms", "application_name": "mine", "timezone": "Asia/Shanghai", "idle_in_transaction_session_timeout": "1min"} {
		var got string
		if err := pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", setting, got, err, want)
		}
	}
}

func TestPoolMetrics(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(pg.NewPoolCollector("gateway", pool))
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	want := `
# HELP weir_pg_pool_connections Connections by state: idle, in_use, connecting.
# TYPE weir_pg_pool_connections gauge
weir_pg_pool_connections{pool="gateway",state="connecting"} 0
weir_pg_pool_connections{pool="gateway",state="idle"} 0
weir_pg_pool_connections{pool="gateway",state="in_use"} 1
# HELP weir_pg_pool_max_connections Most connections the pool may hold.
# TYPE weir_pg_pool_max_connections gauge
weir_pg_pool_max_connections{pool="gateway"} 10
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "weir_pg_pool_connections", "weir_pg_pool_max_connections"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestMaskURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"postgres://weir:secret@db:5432/weir?sslmode=require": "postgres://weir:xxxxx@db:5432/weir?sslmode=require",
		"postgresql://weir:se%2Fcret@db/weir":                 "postgresql://weir:xxxxx@db/weir",
		"postgres://db/weir?user=weir&password=secret":        "postgres://db/weir?password=xxxxx&user=weir",
		"postgres://weir@db/weir":                             "postgres://weir@db/weir",
		"postgres://weir:secret%zz@db/weir":                   "(unreadable database URL)",
		"mysql://weir:secret@db/weir":                         "(unreadable database URL)",
		"host=db user=weir password=secret dbname=weir":       "host=db user=weir password=xxxxx dbname=weir",
		"host=db password = 'se cr\\'et' sslpassword=other":   "host=db password=xxxxx sslpassword=xxxxx",
		`host=db PASSWORD=se\ cret dbname=weir`:               `host=db PASSWORD=xxxxx dbname=weir`,
		"host=db password='unterminated secret dbname=weir":   "(unreadable database URL)",
		"weir:secret@db/weir":                                 "(unreadable database URL)",
		"":                                                    "",
	} {
		if got := pg.MaskURL(raw); got != want {
			t.Errorf("MaskURL(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzMaskURL(f *testing.F) {
	f.Add("postgres://weir:", "@db/weir")
	f.Add("host=db password=", " dbname=weir")
	f.Add("host=db password='", "' dbname=weir")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "hunter2secret"
		raw := before + secret + after
		cfg, err := pgconn.ParseConfig(raw)
		if err != nil || cfg.Password != secret {
			return // not where a password stands
		}
		if got := pg.MaskURL(raw); strings.Contains(got, secret) {
			t.Errorf("MaskURL(%q) = %q", raw, got)
		}
	})
}

func TestLazyPoolWaitsForNobody(t *testing.T) {
	// Nothing listens there, and nobody has to for the pool to be made.
	pool, err := pg.Open(t.Context(), "postgres://weir@127.0.0.1:1/weir", pg.Options{Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.Ping(t.Context()); err == nil {
		t.Error("something answers at port 1")
	}
	if _, err := pg.Open(t.Context(), "postgres://a b", pg.Options{Lazy: true}); !errors.Is(err, pg.ErrInvalidURL) {
		t.Errorf("got %v", err)
	}
}
