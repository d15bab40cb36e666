package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/internal/pause"
)

// minMajor is the oldest PostgreSQL the adapters' SQL is written for: Open
// refuses older servers, the private server older programs.
const minMajor = 14

// Options tunes [Open]. Zero values are sane; what the connection string
// itself sets wins over them.
type Options struct {
	// Name is the application_name the server shows. Default "weir".
	Name string
	// MaxConns bounds the pool. Default 10.
	MaxConns int32
	// StatementTimeout ends any statement that runs longer, on the server.
	// Default 30 s; negative: none.
	StatementTimeout time.Duration
	// IdleInTransactionTimeout ends sessions that forget a transaction.
	// Default 60 s; negative: none.
	IdleInTransactionTimeout time.Duration
	// ConnectTimeout bounds one attempt to connect. Default 5 s.
	ConnectTimeout time.Duration
	// RetryFor is how long Open keeps trying while nothing answers or the
	// server is still coming up. Default 30 s; negative: one attempt. A
	// refused login or a missing database is never retried.
	RetryFor time.Duration
	// Lazy returns the pool at once, whether anything answers or not: for those
	// who work on without the database. Only what is wrong with the connection
	// string itself is an error then.
	Lazy bool
	// Log receives a warning for the first failed attempt of a wait. Default: discarded.
	Log *slog.Logger
	// Heard is told of each answer; it may be nil.
	Heard *Heard
	// Configure may change the pool's settings last, for example to register types.
	Configure func(*pgxpool.Config)
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "weir"
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 10
	}
	for d, def := range map[*time.Duration]time.Duration{
		&o.StatementTimeout:         30 * time.Second,
		&o.IdleInTransactionTimeout: time.Minute,
		&o.RetryFor:                 30 * time.Second,
	} {
		if *d == 0 {
			*d = def
		}
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Open connects to the database that url names and returns a pool that has
// answered once. It retries with growing, jittered pauses while the server
// cannot be reached, for RetryFor at most. Its errors are sentences that name
// --database-url, hold no password, and match ErrUnreachable, ErrAuth,
// ErrNoDatabase, ErrInvalidURL, ErrUnsupported or ErrPermission; when ctx ends
// first, the error is its cause. With Lazy it does none of this.
func Open(ctx context.Context, url string, o Options) (*pgxpool.Pool, error) {
	o = o.withDefaults()
	cfg, err := poolConfig(url, o)
	if err != nil {
		return nil, err
	}
	if !o.Lazy {
		if err := await(ctx, cfg.ConnConfig, o); err != nil {
			return nil, err
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, describe(err, cfg.ConnConfig)
	}
	return pool, nil
}

func poolConfig(url string, o Options) (*pgxpool.Config, error) {
	if strings.TrimSpace(url) == "" {
		return nil, say(ErrInvalidURL, nil, "postgres: no database named: give postgres://user:password@host:5432/database with --database-url (or WEIR_DATABASE_URL)")
	}
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The parser's own words may quote the password: they are not passed on.
		return nil, say(ErrInvalidURL, nil, fmt.Sprintf(
			"postgres: cannot understand the database URL %s: write it as postgres://user:password@host:5432/database, special characters percent-encoded, in --database-url (or WEIR_DATABASE_URL)", MaskURL(url)))
	}
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = max(o.MaxConns, cfg.MinConns)
	}
	if !strings.Contains(url, "pool_max_conn_lifetime_jitter") {
		cfg.MaxConnLifetimeJitter = cfg.MaxConnLifetime / 10 // not all at once
	}
	if !strings.Contains(url, "connect_timeout") {
		cfg.ConnConfig.ConnectTimeout = o.ConnectTimeout
	}
	set := cfg.ConnConfig.RuntimeParams
	fill := func(name, value string) {
		if _, given := set[name]; !given {
			set[name] = value
		}
	}
	fill("application_name", o.Name)
	fill("timezone", "UTC")
	if o.StatementTimeout > 0 {
		fill("statement_timeout", milliseconds(o.StatementTimeout))
	}
	if o.IdleInTransactionTimeout > 0 {
		fill("idle_in_transaction_session_timeout", milliseconds(o.IdleInTransactionTimeout))
	}
	if o.Heard != nil {
		cfg.ConnConfig.Tracer = o.Heard
	}
	if o.Configure != nil {
		o.Configure(cfg)
	}
	return cfg, nil
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}

// await connects once, trying again while that may help.
func await(ctx context.Context, cfg *pgx.ConnConfig, o Options) error {
	deadline := time.Now().Add(max(0, o.RetryFor))
	for attempt := 1; ; attempt++ {
		err := check(ctx, cfg)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = describe(err, cfg)
		wait := backoff(attempt, 100*time.Millisecond, 3*time.Second)
		if !errors.Is(err, ErrUnreachable) || time.Now().Add(wait).After(deadline) {
			return err
		}
		if attempt == 1 {
			o.Log.WarnContext(ctx, "waiting for the database", "error", err, "for_at_most", o.RetryFor)
		}
		if !pause.For(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// check makes one connection and looks at what kind of server answers.
func check(ctx context.Context, cfg *pgx.ConnConfig) (err error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var version int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return err
	}
	if version/10000 < minMajor {
		return say(ErrUnsupported, nil, fmt.Sprintf(
			"postgres: the server at %s is version %d; weir needs %d or newer: upgrade it, or name another with --database-url",
			address(cfg), version/10000, minMajor))
	}
	return nil
}

// backoff returns the pause before try attempt+1: doubling from low up to
// high, of which a random half is taken, so that many clients do not return
// at once.
func backoff(attempt int, low, high time.Duration) time.Duration {
	d := high
	if attempt < 30 {
		d = min(high, low<<(attempt-1))
	}
	return d/2 + rand.N(d/2+1)
}
