// Package postgres keeps routes in the schema "gateway" of a PostgreSQL
// database.
//
// A write (write.go) takes the next revision from a one-row counter in its
// transaction, whose row it holds until it commits: the order of revisions is
// the order of commits. A reader (read.go) asks for what came after the revision
// that it has, in one snapshot of the database. NOTIFY only wakes (watch.go); it
// carries no data, may be lost, and is backed by a look every few seconds.
package postgres

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/pg"
)

// Schema is the schema that Migrations are for.
const Schema = "gateway"

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
	// Poll is about how often Watch calls whatever happens; each pause is between
	// half and one and a half of it. Default 3 s.
	Poll time.Duration
	// Horizon is for how many revisions, at least, tombstones are kept: a reader
	// that is further behind reads everything. Default 10,000.
	Horizon int64
	// Page is how many rows one query of a read returns at most. Default 1,000.
	Page int
	// Log receives losses and returns of the notification connection. Default:
	// discarded.
	Log *slog.Logger
}

// Store implements gateway.Store. It is safe for concurrent use, and any number
// of processes may use one database.
type Store struct {
	pool     *pgxpool.Pool
	opts     Options
	listener *pg.Listener
	listen   sync.Once
}

var _ gateway.Store = (*Store)(nil)

// New returns a store on a pool whose database was migrated. It does no I/O; the
// pool remains the caller's, who closes it after the store.
func New(pool *pgxpool.Pool, o Options) *Store {
	if o.Poll <= 0 {
		o.Poll = 3 * time.Second
	}
	if o.Horizon <= 0 {
		o.Horizon = 10_000
	}
	if o.Page <= 0 {
		o.Page = 1000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l, err := pg.NewListener(pool, pg.ListenerConfig{
		Name: "weir gateway listen", Channels: []string{routesChannel, nodesChannel}, Log: o.Log,
	})
	if err != nil {
		panic(err) // it refuses channel names alone, which are constants
	}
	return &Store{pool: pool, opts: o, listener: l}
}

// Close ends the connection for notifications, which the first Watch or
// WaitApplied began. Both should have returned before.
func (s *Store) Close() {
	s.listen.Do(func() {}) // whoever comes later listens no more
	s.listener.Stop()
}

// Listener tells of the connection for notifications; it is a
// prometheus.Collector.
func (s *Store) Listener() *pg.Listener { return s.listener }

// subscribe returns a subscription, on a listener that runs from the first one
// until Close.
func (s *Store) subscribe(ctx context.Context, channel string) *pg.Subscription {
	s.listen.Do(func() { s.listener.Start(context.WithoutCancel(ctx)) })
	return s.listener.Subscribe(channel)
}

// fail gives a failure of the database the code that callers branch on; what was
// found out here is left as it is.
func fail(err error, doing string) error {
	if err == nil {
		return nil
	}
	var known *gateway.Error
	if errors.As(err, &known) {
		return err
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code[:min(2, len(pe.Code))] {
		case "08", "25", "40", "53", "55", "57":
			// Away, a replica, out of something, shutting down, or in one another's way.
		default:
			return &gateway.Error{Code: gateway.Internal, Message: "cannot " + doing, Err: err}
		}
	}
	return &gateway.Error{
		Code: gateway.Unavailable, Message: "cannot " + doing + " now", Err: err,
		Fix: "try again; if it stays so, see whether PostgreSQL answers",
	}
}
