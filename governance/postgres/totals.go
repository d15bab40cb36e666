package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/series"
)

const (
	// maxBuckets bounds how many roll-ups one query of totals reads.
	maxBuckets = 500_000
	// maxSeriesRead bounds how many series one query is about.
	maxSeriesRead = 200_000
)

// most bounds what one query reads; one that finds more says that it is cut.
type most struct{ series, staged, circuits int }

// within hands rows to each, up to most, and reports whether there are more: who
// calls it asks for one more than most.
func within(rows pgx.Rows, most int, into []any, each func() error) (cut bool, err error) {
	n := 0
	_, err = pgx.ForEachRow(rows, into, func() error {
		if n++; n > most {
			cut = true
			return nil
		}
		return each()
	})
	return cut, err
}

// Totals implements governance.History. Merged totals come from roll-ups, whole
// minutes from those of minutes; those of instances come from chunks. What is not
// folded yet is added from staging.
func (s *Store) Totals(ctx context.Context, q governance.TotalsQuery) (governance.Totals, error) {
	now := s.now()
	q, err := q.WithDefaults(now)
	if err != nil {
		return governance.Totals{}, err
	}
	if !q.ByInstance && now.Sub(q.From) > s.opts.Retention.Apps10s {
		q = q.Rounded(time.Minute)
	}
	sums := series.NewTotals(q.ByInstance)
	var cut [3]bool
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		ids, more, err := s.seriesOf(ctx, tx, q.App, q.Namespaces)
		if err != nil {
			return err
		}
		cut[0] = more
		if q.ByInstance {
			err = s.eachChunk(ctx, tx, ids, q.From, q.To, "", maxChunks, func(n seriesName, instance string, sample governance.Sample) {
				sums.Sum(n.app, instance, n.sr).Add(instance, sample)
			})
		} else {
			err = eachRollup(ctx, tx, ids, q.From, q.To, func(n seriesName, b series.Bucket) { sums.Sum(n.app, "", n.sr).AddBucket(b) })
		}
		if err != nil {
			return err
		}
		if cut[1], err = s.eachReport(ctx, tx, q.App, q.Namespaces, q.From, q.To, func(r governance.Staged) {
			for _, sample := range r.Samples {
				if q.Holds(sample.Second) {
					sums.Sum(r.App, r.Instance, sample.Series).Add(r.Instance, sample)
				}
			}
		}); err != nil || !q.Current(now) {
			return err
		}
		if cut[2], err = s.eachCircuit(ctx, tx, q.App, q.Namespaces, sums.Circuit); err != nil {
			return err
		}
		return s.eachLeft(ctx, tx, q.App, q.From.Add(-governance.InstanceGone), sums.Left)
	})
	if err != nil {
		return governance.Totals{}, fail(ctx, err, "read totals")
	}
	return governance.Totals{Items: sums.All(), Cut: cut[0] || cut[1] || cut[2]}, nil
}

// seriesOf returns the names of series by their numbers, and whether there are more.
func (s *Store) seriesOf(ctx context.Context, tx pgx.Tx, app governance.App, namespaces []string) (out map[int32]seriesName, cut bool, err error) {
	rows, err := tx.Query(ctx, `SELECT id, app_namespace, app_name, command, at, peer_namespace, peer_name FROM governance.series
		WHERE ($1 = '' OR (app_namespace = $1 AND app_name = $2)) AND ($3::text[] IS NULL OR app_namespace = ANY ($3)) ORDER BY id DESC LIMIT $4`,
		app.Namespace, app.Name, namespaces, s.most.series+1)
	if err != nil {
		return nil, false, err
	}
	out = map[int32]seriesName{}
	var id int32
	var n seriesName
	cut, err = within(rows, s.most.series, []any{&id, &n.app.Namespace, &n.app.Name, &n.sr.Command, &n.sr.At, &n.sr.Peer.Namespace, &n.sr.Peer.Name}, func() error {
		out[id] = n
		return nil
	})
	return out, cut, err
}

func numbers(of map[int32]seriesName) []int32 {
	out := make([]int32, 0, len(of))
	for id := range of {
		out = append(out, id)
	}
	return out
}

// tooMuch refuses what would read more than one query may.
func tooMuch(what string, most int) error {
	return &governance.Error{
		Code: governance.Invalid, Field: "from", Message: fmt.Sprintf("this range has more than %d %s", most, what),
		Fix: "ask for a shorter range, or for one application",
	}
}

// eachRollup reads buckets of a range of whole ten seconds: its whole minutes from
// those of minutes, what is left at its ends from those of ten seconds.
func eachRollup(ctx context.Context, tx pgx.Tx, of map[int32]seriesName, from, to time.Time, each func(seriesName, series.Bucket)) error {
	if len(of) == 0 {
		return nil
	}
	first, last := from.Truncate(time.Minute), to.Truncate(time.Minute)
	if first.Before(from) {
		first = first.Add(time.Minute)
	}
	if !first.Before(last) { // no whole minute lies within
		first, last = to, to
	}
	rows, err := tx.Query(ctx, `SELECT series, start, data FROM governance.rollup60 WHERE series = ANY ($1) AND start >= $4 AND start < $5
		UNION ALL SELECT series, start, data FROM governance.rollup10 WHERE series = ANY ($1) AND start >= $2 AND start < $4
		UNION ALL SELECT series, start, data FROM governance.rollup10 WHERE series = ANY ($1) AND start >= $5 AND start < $3
		LIMIT $6`, numbers(of), from, to, first, last, maxBuckets+1)
	if err != nil {
		return err
	}
	var id int32
	var start time.Time
	var data []byte
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&id, &start, &data}, func() error {
		if n++; n > maxBuckets {
			return tooMuch("roll-ups", maxBuckets)
		}
		b, err := series.DecodeBucket(start.Unix(), data)
		if err == nil {
			each(of[id], b)
		}
		return err
	})
	return err
}

// eachChunk reads the samples of a range that are folded, of one instance or of all,
// out of a bounded number of chunks.
func (s *Store) eachChunk(ctx context.Context, tx pgx.Tx, of map[int32]seriesName, from, to time.Time, instance string, most int, each func(seriesName, string, governance.Sample)) error {
	if len(of) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT series, minute, instance, data FROM governance.chunk
		WHERE series = ANY ($1) AND minute >= $2 AND minute < $3 AND ($4 = '' OR instance = $4) LIMIT $5`,
		numbers(of), from.Truncate(time.Minute), to, instance, most+1)
	if err != nil {
		return err
	}
	var id int32
	var minute time.Time
	var holder string
	var data []byte
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&id, &minute, &holder, &data}, func() error {
		if n++; n > most {
			return tooMuch("minutes of instances", most)
		}
		name := of[id]
		samples, err := series.DecodeChunk(minute.Unix(), name.sr, data)
		for _, sample := range samples {
			if sample.Second >= from.Unix() && sample.Second < to.Unix() {
				each(name, holder, sample)
			}
		}
		return err
	})
	return err
}

// eachReport reads staged reports with samples of a range, and returns whether there
// are more. A Staged is only good until each returns.
func (s *Store) eachReport(ctx context.Context, tx pgx.Tx, app governance.App, namespaces []string, from, to time.Time, each func(governance.Staged)) (cut bool, err error) {
	rows, err := tx.Query(ctx, `SELECT id, app_namespace, app_name, instance, samples FROM governance.staging
		WHERE last >= $1 AND first < $2 AND ($3 = '' OR (app_namespace = $3 AND app_name = $4)) AND ($5::text[] IS NULL OR app_namespace = ANY ($5)) LIMIT $6`,
		from.Unix(), to.Unix(), app.Namespace, app.Name, namespaces, s.most.staged+1)
	if err != nil {
		return false, err
	}
	return scanReports(rows, s.most.staged, each)
}

func scanReports(rows pgx.Rows, most int, each func(governance.Staged)) (cut bool, err error) {
	var r governance.Staged
	var data []byte
	return within(rows, most, []any{&r.ID, &r.App.Namespace, &r.App.Name, &r.Instance, &data}, func() (err error) {
		if r.Samples, err = unpack(data); err == nil {
			each(r)
		}
		return err
	})
}
