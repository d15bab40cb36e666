package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ahead is how many days before they begin partitions are made.
const ahead = 2

// maintainLock lets one process at a time look after partitions.
const maintainLock = 0x77656972_7472 // "weirtr"

// partitionName is that of a day since 1970.
func partitionName(d int64) string {
	return "fragment_" + time.Unix(d*86400, 0).UTC().Format("20060102")
}

var partitionPattern = regexp.MustCompile(`^fragment_(\d{8})$`)

func partitionDay(name string) (int64, bool) {
	m := partitionPattern.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	t, err := time.Parse("20060102", m[1])
	return t.Unix() / 86400, err == nil
}

// Maintain makes partitions from the oldest day that is kept to two days ahead,
// drops those that are older, and forgets names, links and dictionaries that have
// had their time. Run calls it every minute; a process that only writes for a
// moment, such as a test, calls it once.
func (s *Store) Maintain(ctx context.Context) (more bool, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, s.fail(ctx, err, "look after partitions")
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", maintainLock).Scan(&mine); err != nil || !mine {
		return false, s.fail(ctx, err, "look after partitions")
	}
	err = s.maintain(ctx, conn.Conn())
	if _, unlock := conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", maintainLock); unlock != nil {
		err = errors.Join(err, unlock, conn.Conn().Close(context.WithoutCancel(ctx)))
	}
	return false, s.fail(ctx, err, "look after partitions")
}

func (s *Store) maintain(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'tracing.fragment'::regclass`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	now := s.now()
	oldest, newest := (now-s.cfg.Retention.Microseconds())/microsPerDay, now/microsPerDay+ahead
	for d := newest; d >= oldest; d-- { // today's before those of the past
		if !slices.Contains(names, partitionName(d)) {
			if err := s.makePartition(ctx, conn, d); err != nil {
				return fmt.Errorf("make partition %s: %w", partitionName(d), err)
			}
		}
	}
	first := oldest
	for _, name := range names {
		d, ok := partitionDay(name)
		if !ok {
			continue
		}
		if d >= oldest {
			continue
		}
		if err := s.dropPartition(ctx, conn, name); err != nil {
			s.cfg.Log.WarnContext(ctx, "cannot drop a partition now, and will try again", "partition", name, "error", err)
			first = min(first, d)
			continue
		}
		s.cfg.Log.InfoContext(ctx, "dropped a partition", "partition", name)
	}
	return s.forget(ctx, conn, first)
}

// makePartition makes and attaches the partition of a day, with what the default
// one holds of it. Attaching does not hold up those who write.
func (s *Store) makePartition(ctx context.Context, conn *pgx.Conn, d int64) error {
	name := pgx.Identifier{"tracing", partitionName(d)}.Sanitize()
	from, to := strconv.FormatInt(d*microsPerDay, 10), strconv.FormatInt((d+1)*microsPerDay, 10)
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"SET LOCAL lock_timeout = '5s'",
			"CREATE TABLE " + name + " (LIKE tracing.fragment INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS)",
			"ALTER TABLE " + name + " ADD CONSTRAINT day CHECK (at >= " + from + " AND at < " + to + ")",
			"WITH moved AS (DELETE FROM tracing.fragment_default WHERE at >= " + from + " AND at < " + to + " RETURNING *) INSERT INTO " + name + " SELECT * FROM moved",
			"ALTER TABLE tracing.fragment ATTACH PARTITION " + name + " FOR VALUES FROM (" + from + ") TO (" + to + ")",
			"ALTER TABLE " + name + " DROP CONSTRAINT day",
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "42P07" {
		return nil // another process was first
	}
	return err
}

// dropPartition detaches and drops. It waits for a moment without searches rather
// than holding them up.
func (s *Store) dropPartition(ctx context.Context, conn *pgx.Conn, name string) error {
	table := pgx.Identifier{"tracing", name}.Sanitize()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"SET LOCAL lock_timeout = '2s'",
			"ALTER TABLE tracing.fragment DETACH PARTITION " + table,
			"DROP TABLE " + table,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget deletes what belongs to days before the first that is kept.
func (s *Store) forget(ctx context.Context, conn *pgx.Conn, first int64) error {
	begins := time.Unix(first*86400, 0).UTC()
	for _, e := range []struct {
		sql string
		arg any
	}{
		{"DELETE FROM tracing.fragment_default WHERE at < $1", first * microsPerDay},
		{"DELETE FROM tracing.name WHERE seen < $1", begins},
		{"DELETE FROM tracing.reach WHERE day < $1", first},
		{"DELETE FROM tracing.dep_minute WHERE minute < $1", (s.now() - s.cfg.LinkRetention.Microseconds()) / microsPerMinute},
		// What was written with a dictionary before it was retired, or up to an hour
		// after by a process that had not noticed, is at most an hour ahead of that.
		{"DELETE FROM tracing.dictionary WHERE retired < $1 AND NOT EXISTS (SELECT FROM tracing.fragment_default)", begins.Add(-3 * time.Hour)},
	} {
		if _, err := conn.Exec(ctx, e.sql, e.arg); err != nil {
			return err
		}
	}
	return nil
}
