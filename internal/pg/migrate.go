package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"path"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/weirmesh/weir/internal/pause"
)

// versionTable is where each schema records its migrations: goose's own name,
// so that its command line works on it too.
const versionTable = "goose_db_version"

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Migrate brings one schema of the pool's database up to the newest migration
// in fsys (goose SQL files in its root, whose statements name the schema),
// making the schema if it is missing. Each migration runs in a transaction of
// its own, unless its file says otherwise, and without a statement timeout.
//
// Any number of processes may call it at once: one works, under a session
// advisory lock per schema, the others wait until it is done or ctx ends. It
// changes nothing and returns an error matching ErrNewerSchema if the schema
// was migrated by a newer program. After a failure the migrations before the
// failed one stay applied, and a further call goes on from there.
func Migrate(ctx context.Context, pool *pgxpool.Pool, schema string, fsys fs.FS, log *slog.Logger) error {
	if !schemaName.MatchString(schema) {
		return fmt.Errorf("postgres: migrate: %q is no schema name", schema)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("schema", schema)

	// Connections of its own: an index on a large table takes longer than the
	// pool lets a statement run.
	cfg := pool.Config().ConnConfig.Copy()
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }() // everything is committed or failed by then

	locker := &migrationLock{schema: schema, id: lockID("weir migrate " + schema), log: log}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys,
		goose.WithTableName(schema+"."+versionTable),
		goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("postgres: read the migrations of schema %s: %w", schema, err)
	}
	sources := provider.ListSources()
	locker.newest = sources[len(sources)-1].Version // NewProvider refuses an empty set

	started := time.Now()
	// The version first: it is read under the lock, which makes schema and
	// version table. Applying starts with a look without the lock, which would
	// stumble over a missing schema and over others making the table.
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return describeMigration(ctx, err, schema, cfg)
	}
	if have < locker.newest {
		log.InfoContext(ctx, "migrating the schema", "from", have, "to", locker.newest)
	}
	// One at a time, each under the lock, so that each is reported when done.
	applied := 0
	for ; ; applied++ {
		m, err := provider.UpByOne(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			break
		}
		if err != nil {
			return describeMigration(ctx, err, schema, cfg)
		}
		log.InfoContext(ctx, "migration applied", "file", path.Base(m.Source.Path), "version", m.Source.Version, "duration", m.Duration)
	}
	// Once more under the lock, in case a newer program came by meanwhile.
	if have, err = provider.GetDBVersion(ctx); err != nil {
		return describeMigration(ctx, err, schema, cfg)
	}
	log.InfoContext(ctx, "schema is up to date", "version", have, "applied", applied, "duration", time.Since(started))
	return nil
}

func describeMigration(ctx context.Context, err error, schema string, cfg *pgx.ConnConfig) error {
	var known *sentence
	if errors.As(err, &known) {
		return known
	}
	if ctx.Err() != nil {
		return fmt.Errorf("postgres: migrate schema %s: %w", schema, context.Cause(ctx))
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return describe(err, cfg)
	}
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		return fmt.Errorf("postgres: migration %s of schema %s failed and was rolled back: %w", path.Base(partial.Failed.Source.Path), schema, partial.Err)
	}
	return fmt.Errorf("postgres: migrate schema %s: %w", schema, err)
}

// lockPoll is how often a process that waits for another's migration asks
// again. It asks instead of waiting inside the server because a session that
// waits there holds a snapshot, for which CREATE INDEX CONCURRENTLY in the
// other process would wait in turn.
const lockPoll = 100 * time.Millisecond

// migrationLock is goose's session locker: it also makes the schema and checks
// its version whenever it has the lock.
type migrationLock struct {
	schema string
	id     int64
	newest int64
	log    *slog.Logger
}

// lockID hashes a name into the key space of advisory locks.
func lockID(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return int64(h.Sum64())
}

// SessionLock waits for the lock, then makes the schema and checks its version.
func (l *migrationLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	for waited := false; ; waited = true {
		var got bool
		if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", l.id).Scan(&got); err != nil {
			return fmt.Errorf("lock schema %s: %w", l.schema, err)
		}
		if got {
			break
		}
		if !waited {
			l.log.InfoContext(ctx, "waiting for another process to migrate the schema")
		}
		if !pause.For(ctx, lockPoll) {
			return context.Cause(ctx)
		}
	}
	if err := l.prepare(ctx, conn); err != nil {
		return errors.Join(err, l.SessionUnlock(context.WithoutCancel(ctx), conn))
	}
	return nil
}

// SessionUnlock gives the lock back. A broken connection has given it back already.
func (l *migrationLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	var held bool
	err := conn.QueryRowContext(ctx, "SELECT pg_advisory_unlock($1)", l.id).Scan(&held)
	switch {
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, pgconn.ErrConnClosed):
		return nil
	case err != nil:
		return fmt.Errorf("unlock schema %s: %w", l.schema, err)
	case !held:
		return fmt.Errorf("unlock schema %s: the lock was lost; is a pooler in transaction mode in between?", l.schema)
	}
	return nil
}

func (l *migrationLock) prepare(ctx context.Context, conn *sql.Conn) error {
	var exists, versioned bool
	err := conn.QueryRowContext(ctx, `SELECT
		EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
		EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = $2)`, l.schema, versionTable).Scan(&exists, &versioned)
	if err != nil {
		return fmt.Errorf("look for schema %s: %w", l.schema, err)
	}
	// Not "IF NOT EXISTS": it asks for the right to create even when there is
	// nothing to create, which an administrator may have withheld on purpose.
	if !exists {
		if _, err := conn.ExecContext(ctx, "CREATE SCHEMA "+l.schema); err != nil {
			var pe *pgconn.PgError
			if errors.As(err, &pe) && pe.Code == "42501" {
				return say(ErrPermission, err, fmt.Sprintf(
					"postgres: the user of the database URL may not create schema %s: run GRANT CREATE ON DATABASE for it, or create the schema and make it its owner (CREATE SCHEMA %[1]s AUTHORIZATION the user), or name another in %s", l.schema, urlFlag))
			}
			return fmt.Errorf("create schema %s: %w", l.schema, err)
		}
	}
	if !versioned {
		return nil
	}
	var have int64
	err = conn.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+l.schema+"."+versionTable).Scan(&have)
	if err != nil {
		return fmt.Errorf("read the version of schema %s: %w", l.schema, err)
	}
	if have <= l.newest {
		return nil
	}
	return say(ErrNewerSchema, nil, fmt.Sprintf(
		"postgres: schema %s is at version %d and this weir knows versions up to %d: start the newer weir that migrated it, restore an older backup, or name another database in %s",
		l.schema, have, l.newest, urlFlag))
}
