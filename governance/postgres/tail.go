package postgres

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
)

// How far below the newest id a row may be that is not visible yet: what is written
// meanwhile, at the largest rates there are, by others than one whose transaction is
// about to be given up.
const (
	reportsUnderWay = 20_000
	eventsUnderWay  = 2_000
	// maxRecent bounds how many chunks a follower begins with.
	maxRecent = 500_000
)

// RecentSamples implements governance.Tail.
func (s *Store) RecentSamples(ctx context.Context, q governance.RecentQuery, each func(governance.Staged)) (governance.Seen, error) {
	var seen governance.Seen
	// One snapshot: between two, a report may move from staging to its chunk.
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		far := time.Unix(math.MaxInt32, 0)
		ids, _, err := s.seriesOf(ctx, tx, q.App, nil)
		if err != nil {
			return err
		}
		one := make([]governance.Sample, 1)
		err = s.eachChunk(ctx, tx, ids, q.From, far, q.Instance, maxRecent, func(n seriesName, instance string, sample governance.Sample) {
			one[0] = sample
			each(governance.Staged{App: n.app, Instance: instance, Samples: one})
		})
		if err != nil {
			return err
		}
		// Reports beyond what one query reads are not seen, and come as new ones.
		_, err = s.eachReport(ctx, tx, q.App, nil, q.From, far, func(r governance.Staged) {
			if q.Instance == "" || r.Instance == q.Instance {
				each(r)
			}
		})
		if err != nil {
			return err
		}
		seen, err = seenNow(ctx, tx, "governance.staging", reportsUnderWay)
		return err
	})
	return seen, fail(ctx, err, "read what was reported lately")
}

// seenNow returns which rows of a table are visible in a snapshot that has been
// taken. Ids that were given out after that, or whose rows are gone, are missing.
func seenNow(ctx context.Context, tx pgx.Tx, table string, underWay int64) (governance.Seen, error) {
	var seen governance.Seen
	var last int64
	var called bool
	if err := tx.QueryRow(ctx, `SELECT last_value, is_called FROM `+table+`_id_seq`).Scan(&last, &called); err != nil || !called {
		return seen, err
	}
	seen.GiveUp(max(0, last-underWay))
	rows, err := tx.Query(ctx, `SELECT id FROM `+table+` WHERE id > $1 ORDER BY id`, seen.High)
	if err != nil {
		return seen, err
	}
	var id int64
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error {
		seen.Add(id)
		return nil
	}); err != nil {
		return seen, err
	}
	if last > seen.High {
		seen.Missing = append(seen.Missing, governance.Span{First: seen.High + 1, Last: last})
		seen.High = last
	}
	return seen, nil
}

// after are the ids that are not in seen, as arguments of a query.
func after(seen governance.Seen) (high int64, first, last []int64) {
	for _, m := range seen.Missing {
		first, last = append(first, m.First), append(last, m.Last)
	}
	return seen.High, first, last
}

// ReportsAfter implements governance.Tail.
func (s *Store) ReportsAfter(ctx context.Context, seen governance.Seen, limit int) ([]governance.Staged, error) {
	high, first, last := after(seen)
	rows, err := s.pool.Query(ctx, `SELECT id, app_namespace, app_name, instance, samples FROM governance.staging WHERE id > $1
		UNION ALL SELECT s.id, s.app_namespace, s.app_name, s.instance, s.samples FROM unnest($2::bigint[], $3::bigint[]) AS m (f, l)
			JOIN governance.staging s ON s.id BETWEEN m.f AND m.l
		ORDER BY id LIMIT $4`, high, first, last, limit)
	if err != nil {
		return nil, fail(ctx, err, "follow reports")
	}
	var out []governance.Staged
	_, err = scanReports(rows, limit, func(r governance.Staged) { out = append(out, r) })
	return out, fail(ctx, err, "follow reports")
}

// EventsNow implements governance.Tail.
func (s *Store) EventsNow(ctx context.Context) (seen governance.Seen, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		seen, err = seenNow(ctx, tx, "governance.event", eventsUnderWay)
		return err
	})
	return seen, fail(ctx, err, "follow events")
}

// EventsAfter implements governance.Tail.
func (s *Store) EventsAfter(ctx context.Context, seen governance.Seen, namespaces []string, limit int) ([]governance.Event, error) {
	if len(namespaces) == 0 {
		namespaces = nil
	}
	high, first, last := after(seen)
	rows, err := s.pool.Query(ctx, `SELECT `+eventColumns+` FROM (
			SELECT * FROM governance.event WHERE id > $1
			UNION ALL SELECT e.* FROM unnest($2::bigint[], $3::bigint[]) AS m (f, l) JOIN governance.event e ON e.id BETWEEN m.f AND m.l
		) e WHERE $4::text[] IS NULL OR app_namespace = ANY ($4) ORDER BY id LIMIT $5`, high, first, last, namespaces, limit)
	if err != nil {
		return nil, fail(ctx, err, "follow events")
	}
	out, err := pgx.CollectRows(rows, scanEvent)
	return out, fail(ctx, err, "follow events")
}
