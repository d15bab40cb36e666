// Package postgres keeps spans in the schema "tracing" of a PostgreSQL database.
//
// Three paths through it: spans of many requests are grouped into one transaction
// (batch.go), as one row for each trace and service (fragment.go), which is
// committed before any of the requests is answered; a search walks those rows by
// one condition that it finds to be rare, reads the traces they belong to, and
// looks at the spans themselves (search.go); and each trace that a transaction
// touched is linked again once it is quiet, what it adds to or takes from
// tracing.dep_minute being the difference to what it was before (linker.go).
package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/tracing"
)

// Schema is the schema that Migrations are for.
const Schema = "tracing"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the goose migrations of the schema, for pg.Migrate.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return sub
}

// Config tunes a Store. The zero value is sane.
type Config struct {
	// Retention is how long spans are kept, by the time they bear; whole days are
	// dropped. Default 7 days.
	Retention time.Duration
	// LinkRetention is how long dependency links are kept. Default 90 days.
	LinkRetention time.Duration
	// Lenient takes ids of 64 and 128 bits with the same lower half for one trace,
	// as Zipkin's STRICT_TRACE_ID=false does.
	Lenient bool
	// TagKeys are the tags whose values TagValues lists.
	TagKeys []string

	// MaxBatch is how many spans are written in one transaction, give or take a
	// request. Default 4000.
	MaxBatch int
	// Linger is the least time between the begins of two transactions while batches
	// are smaller: the first span after a pause is written at once, and more than
	// one in this time share a transaction. Negative for none. Default 5 ms.
	Linger time.Duration
	// Writers is how many transactions run at once. Default 2.
	Writers int

	// Quiet is how long nothing new of a trace has to come before links are made
	// of it, and Cap how long that may put it off. Defaults 30 s and 5 min.
	Quiet, Cap time.Duration
	// LinkEvery is how often the linker looks. Default 1 s.
	LinkEvery time.Duration
	// SearchTimeout is after how long a search returns what it has found. Default
	// 10 s.
	SearchTimeout time.Duration

	// Now tells the time. Default time.Now.
	Now func() time.Time
	// Log receives what goes wrong in the background. Default: discarded.
	Log *slog.Logger
	// Metrics receives the store's metrics. Default: none.
	Metrics prometheus.Registerer
}

const day = 24 * time.Hour

func (c Config) withDefaults() Config {
	for d, def := range map[*time.Duration]time.Duration{
		&c.Retention: 7 * day, &c.LinkRetention: 90 * day, &c.Linger: 5 * time.Millisecond, &c.Quiet: 30 * time.Second,
		&c.Cap: 5 * time.Minute, &c.LinkEvery: time.Second, &c.SearchTimeout: 10 * time.Second,
	} {
		if *d == 0 {
			*d = def
		}
	}
	if c.MaxBatch <= 0 {
		c.MaxBatch = 4000
	}
	if c.Writers <= 0 {
		c.Writers = 2
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Store implements tracing.Writer, Replayer, Reader and Checker. It is safe for
// concurrent use, and any number of processes may use one database.
type Store struct {
	pool    *pgxpool.Pool
	cfg     Config
	metrics *metrics

	queue  queue
	names  names
	dicts  atomic.Pointer[dictionaries]
	train  trainer
	blocks blocks
	link   *linker
	reads  chan struct{} // held by each reading of traces

	encoders sync.Pool
}

var (
	_ tracing.Writer   = (*Store)(nil)
	_ tracing.Replayer = (*Store)(nil)
	_ tracing.Reader   = (*Store)(nil)
	_ tracing.Checker  = (*Store)(nil)
)

// Open returns a store on a pool whose database was migrated; the pool remains the
// caller's, who closes it after Run and Shutdown have returned. It does no I/O:
// spans can be written at once, while partitions, links and dictionaries are
// looked after by Run.
func Open(pool *pgxpool.Pool, c Config) (*Store, error) {
	c = c.withDefaults()
	if c.Retention < day {
		return nil, fmt.Errorf("tracing: a retention of %s is too short: spans are dropped by the day, so give at least 24h", c.Retention)
	}
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("tracing: register metrics: %w", err)
	}
	// Readings of traces have half of the connections at most, and as many traces in
	// memory: those who only ask must not keep spans from being written.
	s := &Store{pool: pool, cfg: c, metrics: m, reads: make(chan struct{}, max(1, pool.Config().MaxConns/2))}
	s.train.wanted = sampleWanted
	s.queue.init()
	s.link = newLinker(s)
	return s, nil
}

// now is in microseconds since 1970.
func (s *Store) now() int64 { return s.cfg.Now().UnixMicro() }

// Check returns nil if the database answers and is migrated.
func (s *Store) Check(ctx context.Context) error {
	var one int
	if err := s.pool.QueryRow(ctx, "SELECT 1 FROM tracing.linker").Scan(&one); err != nil {
		return s.fail(ctx, err, "reach the store of spans")
	}
	return nil
}

// Run makes partitions ahead of time and drops old ones, trains dictionaries, and
// keeps links up to date, until ctx ends. A database that is away is waited for.
func (s *Store) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { s.every(ctx, "look after partitions", time.Minute, s.Maintain) })
	all.Go(func() { s.every(ctx, "link traces", s.cfg.LinkEvery, s.LinkDue) })
	all.Go(func() { s.every(ctx, "train a dictionary", time.Second, s.trainIfDue) })
	all.Wait()
	return nil
}

// every calls f again and again, at once after it says that there is more to do.
func (s *Store) every(ctx context.Context, what string, pause time.Duration, f func(context.Context) (more bool, err error)) {
	failed := false
	for ctx.Err() == nil {
		more, err := f(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			s.cfg.Log.WarnContext(ctx, "background work failed, and will be tried again", "work", what, "error", err)
		}
		failed = err != nil
		if more && err == nil {
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// Shutdown refuses further spans and waits until those that were taken are
// written.
func (s *Store) Shutdown(ctx context.Context) error { return s.queue.close(ctx) }

// fail gives a failure of the database the code that callers branch on.
func (s *Store) fail(ctx context.Context, err error, doing string) error {
	var known *tracing.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Cause(ctx)
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		if pe.Code == "42P01" || pe.Code == "3F000" {
			// One that has just come up, and soon will be.
			return &tracing.Error{Code: tracing.Unavailable, Message: "cannot " + doing + " before the database is migrated", Err: err}
		}
		switch pe.Code[:2] {
		case "21", "22", "23", "54", "XX":
			// The database will not have it, now or later. Everything else, down to a
			// password that was changed and a grant that was taken away, is mended by
			// somebody, and what was asked for is as good then.
			return &tracing.Error{Code: tracing.Internal, Message: "cannot " + doing, Err: err}
		}
	}
	return &tracing.Error{Code: tracing.Unavailable, Message: "cannot " + doing + " now", Err: err}
}
