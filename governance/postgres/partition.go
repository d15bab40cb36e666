package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A partitioned table, how long its partitions are and how long they are kept.
type partitioned struct {
	table string
	month bool // a partition is a calendar month; else a day
	keep  time.Duration
}

func (s *Store) partitioned() []partitioned {
	r := s.opts.Retention
	// Roll-ups are made of all chunks of their minute: those that a late report may
	// still join have to be there.
	chunks := max(r.Instances, oldest+2*time.Hour)
	return []partitioned{
		{"event", true, r.Events},
		{"chunk", false, chunks},
		{"rollup10", false, r.Apps10s},
		{"rollup60", false, r.Apps1m},
	}
}

// bounds returns the partition that a time belongs to.
func (p partitioned) bounds(t time.Time) (from, to time.Time) {
	y, m, d := t.UTC().Date()
	if p.month {
		from = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
		return from, from.AddDate(0, 1, 0)
	}
	from = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 0, 1)
}

func (p partitioned) suffix(from time.Time) string {
	if p.month {
		return from.Format("200601")
	}
	return from.Format("20060102")
}

// partitionLock is held, to the end of its transaction, by the one process that
// makes or drops partitions.
const partitionLock = 0x77656972_70617274

// makePartitions makes those for what may come in now: from the oldest time that
// a report may speak of to two partitions ahead.
func (s *Store) makePartitions(ctx context.Context) error {
	have, err := s.partitions(ctx)
	if err != nil {
		return err
	}
	var sql []string
	now := s.now()
	for _, p := range s.partitioned() {
		at, to := p.bounds(now.Add(-oldest))
		for ahead := 0; ahead < 3; {
			if name := p.table + "_" + p.suffix(at); !have[name] {
				sql = append(sql, fmt.Sprintf("CREATE TABLE IF NOT EXISTS governance.%s PARTITION OF governance.%s FOR VALUES FROM ('%s') TO ('%s')",
					name, p.table, at.Format(time.RFC3339), to.Format(time.RFC3339)))
			}
			if at.After(now) {
				ahead++
			}
			at, to = p.bounds(to)
		}
	}
	if len(sql) == 0 {
		return nil
	}
	// Each by itself, and none that waits long: whoever writes waits behind one who
	// waits for the end of a long read, such as a dump.
	var errs []error
	for _, q := range sql {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '2s'"); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(partitionLock)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, q)
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("make a partition: %w", err))
		}
	}
	return errors.Join(errs...)
}

// dropPartitions drops those whose whole content is older than it is kept. Each
// is dropped by itself, and one that somebody reads is left for the next time.
func (s *Store) dropPartitions(ctx context.Context) error {
	if err := s.checkClock(ctx); err != nil {
		return err
	}
	have, err := s.partitions(ctx)
	if err != nil {
		return err
	}
	var errs []error
	now := s.now()
	for _, p := range s.partitioned() {
		layout := "20060102"
		if p.month {
			layout = "200601"
		}
		for name := range have {
			if len(name) != len(p.table)+1+len(layout) || name[:len(p.table)+1] != p.table+"_" {
				continue
			}
			from, err := time.Parse(layout, name[len(p.table)+1:])
			if err != nil {
				continue // not one of ours
			}
			if _, to := p.bounds(from); to.After(now.Add(-p.keep)) {
				continue
			}
			err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '2s'")
				if err == nil {
					_, err = tx.Exec(ctx, "DROP TABLE IF EXISTS governance."+pgx.Identifier{name}.Sanitize())
				}
				return err
			})
			var pe *pgconn.PgError
			if err != nil && (!errors.As(err, &pe) || pe.Code != "55P03") {
				errs = append(errs, fmt.Errorf("drop partition %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// maxClockGap is how far the clock may be from the database's for history to be
// dropped by it.
const maxClockGap = time.Hour

// checkClock keeps a machine whose clock went wrong from dropping everybody's
// history.
func (s *Store) checkClock(ctx context.Context) error {
	if !s.wallClock {
		return nil
	}
	var theirs time.Time
	if err := s.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
		return err
	}
	if gap := s.now().Sub(theirs).Abs(); gap > maxClockGap {
		return fmt.Errorf("the clock of this machine is %s off that of PostgreSQL: no history is dropped until they agree; set the clock", gap.Round(time.Second))
	}
	return nil
}

// partitions returns the names of all there are.
func (s *Store) partitions(ctx context.Context) (map[string]bool, error) {
	rows, err := s.pool.Query(ctx, `SELECT c.relname::text FROM pg_inherits i
		JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
		WHERE p.relnamespace = 'governance'::regnamespace AND p.relkind = 'p'`)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	have := make(map[string]bool, len(names))
	for _, n := range names {
		have[n] = true
	}
	return have, err
}
