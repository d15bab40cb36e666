// Package postgres keeps policies, what instances said of them, and what they
// reported, in the schema "governance" of a PostgreSQL database.
//
// Three paths through it: a policy is written in one transaction that takes the
// next version from a one-row counter (policy.go); a report is durable in a
// staging table before it is answered, many reports to a transaction
// (append.go); and closed minutes are folded from there into chunks of instances
// and roll-ups of applications (fold.go), which series are read from (series.go).
package postgres

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/governance"
)

// Schema is the schema that Migrations are for.
const Schema = "governance"

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

// Options tunes a Store. The zero value is sane.
type Options struct {
	// Poll is about how often Watch looks for what a lost notification did not
	// tell. Default 1.5 s.
	Poll time.Duration
	// Now tells the time. Default time.Now.
	Now func() time.Time
	// Log receives what goes wrong in the background. Default: discarded.
	Log *slog.Logger
	// Retention says how long history is kept.
	Retention Retention
	// Metrics gets the collectors of this package; nil for none.
	Metrics prometheus.Registerer
}

// Retention is how long each kind of history is kept; it goes by whole
// partitions. Zero fields have the defaults.
type Retention struct {
	Instances time.Duration // of instances by the second; default 24 h, at least 26 h in effect
	Apps10s   time.Duration // of applications by 10 s; default 7 d
	Apps1m    time.Duration // of applications by the minute; default 90 d
	Events    time.Duration // default 365 d
}

// WithDefaults fills in what is zero.
func (r Retention) WithDefaults() Retention {
	const day = 24 * time.Hour
	for d, def := range map[*time.Duration]time.Duration{&r.Instances: day, &r.Apps10s: 7 * day, &r.Apps1m: 90 * day, &r.Events: 365 * day} {
		if *d <= 0 {
			*d = def
		}
	}
	return r
}

// Store implements governance.Store. It is safe for concurrent use, and any
// number of processes may use one database.
type Store struct {
	pool *pgxpool.Pool
	opts Options

	appends   *batcher[governance.Report]
	instances *batcher[governance.Instance]
	ids       *seriesIDs
	// foldSamples and most are what tests make smaller.
	foldSamples int
	most        most
	// wallClock says that the clock is the machine's, and to be held against that
	// of the database before anything is dropped by it.
	wallClock bool
	unread    sync.Once // the log's word of rows that cannot be read

	foldCount prometheus.Counter
	foldTime  prometheus.Histogram
	failures  *prometheus.CounterVec
}

var _ governance.Store = (*Store)(nil)

// New returns a store on a pool whose database was migrated. It does no I/O; the
// pool remains the caller's, who closes it after Run has returned.
func New(pool *pgxpool.Pool, o Options) *Store {
	if o.Poll <= 0 {
		o.Poll = 1500 * time.Millisecond
	}
	wallClock := o.Now == nil
	if wallClock {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Retention = o.Retention.WithDefaults()
	s := &Store{pool: pool, opts: o, ids: newSeriesIDs(), foldSamples: foldSamples, most: most{maxSeriesRead, maxStagedRows, maxCircuits}, wallClock: wallClock}
	s.measure()
	s.appends = newBatcher(s.appendAll)
	s.instances = newBatcher(s.putInstances)
	return s
}

func (s *Store) measure() {
	s.foldCount = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "weir", Subsystem: "control", Name: "history_folded_reports_total", Help: "Reports folded from staging into chunks and roll-ups.",
	})
	s.foldTime = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "weir", Subsystem: "control", Name: "history_fold_seconds", Help: "Time of one folding transaction that had reports to fold.",
		Buckets: []float64{.01, .05, .1, .5, 1, 2, 5, 10, 30},
	})
	s.failures = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "weir", Subsystem: "control", Name: "history_failures_total", Help: "Folding and keeping of history that failed and is tried again, by task.",
	}, []string{"task"})
	if s.opts.Metrics == nil {
		return
	}
	for _, c := range []prometheus.Collector{s.foldCount, s.foldTime, s.failures} {
		if err := s.opts.Metrics.Register(c); err != nil {
			s.opts.Log.Error("a metric is not registered", "error", err)
		}
	}
}

// now is the time as the database keeps it.
func (s *Store) now() time.Time { return s.opts.Now().UTC().Truncate(time.Microsecond) }

// fail gives a failure of the database the code that callers branch on. What
// this package itself found out is left as it is.
func fail(ctx context.Context, err error, doing string) error {
	if err == nil {
		return nil
	}
	var known *governance.Error
	if errors.As(err, &known) {
		return err
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Cause(ctx)
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch {
		case slices.Contains([]string{"08", "53", "57", "58", "40", "55"}, pe.Code[:2]), pe.Code == "25006":
			// Away, out of something, shutting down, in one another's way, or a
			// standby that has not taken over yet.
		default:
			return &governance.Error{Code: governance.Internal, Message: "cannot " + doing, Err: err}
		}
	}
	return &governance.Error{
		Code: governance.Unavailable, Message: "cannot " + doing + " now", Err: err,
		Fix: "try again; if it stays so, see whether PostgreSQL answers, and takes writes",
	}
}

// tx runs f in a transaction, and once more when the first was the victim of a
// deadlock, or found no partition for what it wrote, which is then made.
func (s *Store) tx(ctx context.Context, f func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.pool, f)
	var pe *pgconn.PgError
	switch {
	case !errors.As(err, &pe):
		return err
	case pe.Code == "40P01":
	case pe.Code == "23514" && pe.ConstraintName == "":
		if err := s.makePartitions(ctx); err != nil {
			return err
		}
	default:
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, f)
}
