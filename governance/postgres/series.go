package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/series"
)

// maxChunks bounds how many chunks one query of seconds over all instances reads.
const maxChunks = 50_000

// Series implements governance.History. Points of one instance, and short ranges
// by the second, come from chunks; others from the roll-ups that fit the step and
// still hold the range. What is not folded yet is added from staging.
func (s *Store) Series(ctx context.Context, q governance.SeriesQuery) (governance.SeriesResult, error) {
	now := s.now()
	q, err := q.WithDefaults(now)
	if err == nil {
		q, err = s.choose(q, now)
	}
	if err != nil {
		return governance.SeriesResult{}, err
	}
	m := series.NewMerger(q.From, q.To, q.Step)
	var cut bool
	// One snapshot: between two, a report may move from staging to its chunk.
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := s.folded(ctx, tx, q, m); err != nil {
			return err
		}
		cut, err = s.unfolded(ctx, tx, q, m)
		return err
	})
	if err != nil {
		return governance.SeriesResult{}, fail(ctx, err, "read a series")
	}
	return governance.SeriesResult{Step: governance.Duration(q.Step), Points: m.Points(), Cut: cut}, nil
}

// bySecond is the longest range over all instances that is answered by seconds.
const bySecond = 15 * time.Minute

// choose makes the step one that is kept for the range.
func (s *Store) choose(q governance.SeriesQuery, now time.Time) (governance.SeriesQuery, error) {
	age := now.Sub(q.From)
	step := q.Step
	switch {
	case q.Instance != "":
	case age > s.opts.Retention.Apps10s:
		step = max(step, time.Minute)
	case step < 10*time.Second && (q.To.Sub(q.From) > bySecond || age > s.opts.Retention.Instances):
		step = 10 * time.Second
	}
	// What roll-ups join must not be cut: 10 s do not fit into 5, nor 60 into 20.
	return q.Coarsen(step)
}

func (s *Store) folded(ctx context.Context, tx pgx.Tx, q governance.SeriesQuery, m *series.Merger) error {
	const seriesOf = `(SELECT id FROM governance.series WHERE app_namespace = $1 AND app_name = $2
		AND command = $3 AND at = $4 AND peer_namespace = $5 AND peer_name = $6)`
	args := []any{
		q.App.Namespace, q.App.Name, q.Series.Command, string(q.Series.At), q.Series.Peer.Namespace, q.Series.Peer.Name,
		q.From, q.To,
	}
	if q.Instance == "" && q.Step%(10*time.Second) == 0 {
		table := "rollup10"
		if q.Step%time.Minute == 0 {
			table = "rollup60"
		}
		rows, err := tx.Query(ctx, `SELECT start, data FROM governance.`+table+` WHERE series = `+seriesOf+` AND start >= $7 AND start < $8`, args...)
		if err != nil {
			return err
		}
		var start time.Time
		var data []byte
		_, err = pgx.ForEachRow(rows, []any{&start, &data}, func() error {
			b, err := series.DecodeBucket(start.Unix(), data)
			if err == nil {
				m.AddBucket(b)
			}
			return err
		})
		return err
	}
	args[6] = q.From.Truncate(time.Minute)
	rows, err := tx.Query(ctx, `SELECT minute, instance, data FROM governance.chunk WHERE series = `+seriesOf+`
		AND minute >= $7 AND minute < $8 AND ($9 = '' OR instance = $9) ORDER BY minute DESC LIMIT $10`, append(args, q.Instance, maxChunks+1)...)
	if err != nil {
		return err
	}
	var minute time.Time
	var instance string
	var data []byte
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&minute, &instance, &data}, func() error {
		if n++; n > maxChunks {
			return &governance.Error{
				Code: governance.Invalid, Field: "step", Message: fmt.Sprintf("this range by %s has more than %d minutes of instances", q.Step, maxChunks),
				Fix: "ask for a shorter range, one instance, or a step of 10s or more",
			}
		}
		samples, err := series.DecodeChunk(minute.Unix(), q.Series, data)
		for _, sample := range samples {
			m.Add(instance, sample)
		}
		return err
	})
	return err
}

// maxStagedRows bounds how many reports one query reads beyond what is folded.
const maxStagedRows = 200_000

func (s *Store) unfolded(ctx context.Context, tx pgx.Tx, q governance.SeriesQuery, m *series.Merger) (cut bool, err error) {
	return s.eachStaged(ctx, tx, q.App, q.From, q.To, q.Instance, func(instance string, sample governance.Sample) {
		if sample.Series == q.Series {
			m.Add(instance, sample)
		}
	})
}

func (s *Store) eachStaged(ctx context.Context, tx pgx.Tx, app governance.App, from, to time.Time, instance string, each func(string, governance.Sample)) (cut bool, err error) {
	rows, err := tx.Query(ctx, `SELECT instance, samples FROM governance.staging
		WHERE app_namespace = $1 AND app_name = $2 AND last >= $3 AND first < $4 AND ($5 = '' OR instance = $5) LIMIT $6`,
		app.Namespace, app.Name, from.Unix(), to.Unix(), instance, s.most.staged+1)
	if err != nil {
		return false, err
	}
	var of string
	var data []byte
	return within(rows, s.most.staged, []any{&of, &data}, func() error {
		samples, err := unpack(data)
		for _, sample := range samples {
			each(of, sample)
		}
		return err
	})
}

// Commands implements governance.History.
func (s *Store) Commands(ctx context.Context, app governance.App, from, to time.Time) ([]governance.Series, error) {
	seen := map[governance.Series]bool{}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT command, at, peer_namespace, peer_name FROM governance.series s
			WHERE app_namespace = $1 AND app_name = $2
				AND EXISTS (SELECT FROM governance.rollup60 r WHERE r.series = s.id AND r.start >= $3 AND r.start < $4)
			LIMIT 10000`, app.Namespace, app.Name, from.Truncate(time.Minute), to)
		if err != nil {
			return err
		}
		var sr governance.Series
		if _, err := pgx.ForEachRow(rows, []any{&sr.Command, &sr.At, &sr.Peer.Namespace, &sr.Peer.Name}, func() error {
			seen[sr] = true
			return nil
		}); err != nil {
			return err
		}
		_, err = s.eachStaged(ctx, tx, app, from, to, "", func(_ string, sample governance.Sample) {
			if sample.Second >= from.Unix() && sample.Second < to.Unix() {
				seen[sample.Series] = true
			}
		})
		return err
	})
	out := make([]governance.Series, 0, len(seen))
	for sr := range seen {
		out = append(out, sr)
	}
	slices.SortFunc(out, governance.Series.Compare)
	return out, fail(ctx, err, "list commands")
}

// Apps implements governance.History.
func (s *Store) Apps(ctx context.Context, from, to time.Time) ([]governance.App, error) {
	rows, err := s.pool.Query(ctx, `SELECT app_namespace, app_name FROM governance.series s
			WHERE EXISTS (SELECT FROM governance.rollup60 r WHERE r.series = s.id AND r.start >= $1 AND r.start < $2)
		UNION SELECT app_namespace, app_name FROM governance.staging WHERE last >= $3 AND first < $4
		LIMIT 100000`, from.Truncate(time.Minute), to, from.Unix(), to.Unix())
	if err != nil {
		return nil, fail(ctx, err, "list applications")
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (governance.App, error) {
		var a governance.App
		return a, row.Scan(&a.Namespace, &a.Name)
	})
	slices.SortFunc(out, governance.App.Compare)
	return out, fail(ctx, err, "list applications")
}
