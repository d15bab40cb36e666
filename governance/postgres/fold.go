package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/series"
)

const (
	// foldLate is how long after its end a minute waits for reports that are on
	// their way; what comes later still counts, at the price of writing again.
	foldLate = 10 * time.Second
	// foldRows bounds one transaction. Rows come by application and instance, so
	// that a chunk is written once, whatever the bound.
	foldRows = 10_000
	// foldSamples bounds what one transaction holds in memory: reports may be large.
	foldSamples = 400_000
	// foldLock is held, to the end of its transaction, by the one process that
	// folds.
	foldLock = 0x77656972_666f6c64
)

// Fold turns staged reports of minutes that are over into chunks and roll-ups. It
// is what Run does every few seconds; any number of processes may call it, one
// does the work. A fold that is cut off anywhere leaves everything as it was, and
// one that is repeated changes nothing.
func (s *Store) Fold(ctx context.Context) error { return s.fold(ctx, s.now().Add(-foldLate)) }

func (s *Store) fold(ctx context.Context, now time.Time) error {
	for {
		more, err := s.foldSome(ctx, now.Truncate(time.Minute).Unix())
		if err != nil {
			return fail(ctx, err, "fold reports")
		}
		if !more {
			return nil
		}
	}
}

// minuteOf is one series in one minute.
type minuteOf struct {
	series int32
	minute int64
}

type foldedMinute struct {
	id      governance.Series
	samples map[string][]governance.Sample // by instance
	changed map[string]bool
}

// foldSome folds some of the reports whose newest sample is before a second, and
// tells whether there may be more.
func (s *Store) foldSome(ctx context.Context, before int64) (more bool, err error) {
	staged, begin := 0, time.Now()
	// One at a time in this process too: the numbers of series are shared.
	s.ids.mu.Lock()
	defer s.ids.mu.Unlock()
	err = s.tx(ctx, func(tx pgx.Tx) (err error) {
		staged, more = 0, false
		defer func() {
			if err != nil {
				s.ids.forget() // those it gave are gone with the transaction
			}
		}()
		var mine bool
		if err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", int64(foldLock)).Scan(&mine); err != nil || !mine {
			return err
		}
		ids, minutes, rest, err := s.staged(ctx, tx, before)
		if err != nil || len(ids) == 0 {
			return err
		}
		staged, more = len(ids), rest
		if err := s.joinChunks(ctx, tx, minutes); err != nil {
			return err
		}
		if err := writeChunks(ctx, tx, minutes); err != nil {
			return err
		}
		if err := writeRollups(ctx, tx, minutes); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM governance.staging WHERE id = ANY ($1)", ids)
		return err
	})
	if err != nil {
		s.ids.forget() // the commit may be what failed
		return false, err
	}
	if staged > 0 {
		s.foldCount.Add(float64(staged))
		s.foldTime.Observe(time.Since(begin).Seconds())
	}
	return more, nil
}

// errEnough ends the reading of reports before their end.
var errEnough = errors.New("enough for one transaction")

// staged reads reports, sorted into minutes, and tells whether there may be more.
func (s *Store) staged(ctx context.Context, tx pgx.Tx, before int64) (ids []int64, minutes map[minuteOf]*foldedMinute, more bool, err error) {
	rows, err := tx.Query(ctx, `SELECT id, app_namespace, app_name, instance, samples FROM governance.staging
		WHERE id IN (SELECT id FROM governance.staging WHERE last < $1 ORDER BY app_namespace, app_name, instance, id LIMIT $2)
		ORDER BY id`, before, foldRows)
	if err != nil {
		return nil, nil, false, err
	}
	type report struct {
		app      governance.App
		instance string
		samples  []governance.Sample
	}
	var reports []report
	var id int64
	var r report
	var data []byte
	held := 0
	_, err = pgx.ForEachRow(rows, []any{&id, &r.app.Namespace, &r.app.Name, &r.instance, &data}, func() error {
		if held >= s.foldSamples {
			return errEnough
		}
		ids = append(ids, id)
		samples, err := unpack(data)
		if err != nil {
			// It was written by something else, and would stop all folding.
			s.opts.Log.ErrorContext(ctx, "dropped a staged report that cannot be read", "id", id, "error", err)
			return nil
		}
		held += len(samples)
		reports = append(reports, report{r.app, r.instance, samples})
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, nil, false, err
	}
	more = err != nil || len(ids) == foldRows
	minutes = map[minuteOf]*foldedMinute{}
	for _, r := range reports {
		for _, sample := range r.samples {
			id, err := s.ids.of(ctx, tx, r.app, sample.Series)
			if errors.Is(err, errTooManySeries) {
				sample.Series = Overflow(sample.Series)
				id, err = s.ids.of(ctx, tx, r.app, sample.Series)
			}
			if err != nil {
				return nil, nil, false, err
			}
			key := minuteOf{id, sample.Second - sample.Second%60}
			m := minutes[key]
			if m == nil {
				m = &foldedMinute{id: sample.Series, samples: map[string][]governance.Sample{}, changed: map[string]bool{}}
				minutes[key] = m
			}
			m.samples[r.instance] = append(m.samples[r.instance], sample)
			m.changed[r.instance] = true
		}
	}
	return ids, minutes, more, nil
}

// joinChunks adds what is there already of these minutes: reports that came late
// join theirs, and roll-ups are always those of all chunks.
func (s *Store) joinChunks(ctx context.Context, tx pgx.Tx, minutes map[minuteOf]*foldedMinute) error {
	if len(minutes) == 0 {
		return nil // of all that was staged nothing could be read
	}
	var ids []int32
	var starts []time.Time
	for k := range minutes {
		ids, starts = append(ids, k.series), append(starts, time.Unix(k.minute, 0))
	}
	rows, err := tx.Query(ctx, `SELECT c.series, c.minute, c.instance, c.data FROM governance.chunk c
		JOIN unnest($1::integer[], $2::timestamptz[]) AS t (series, minute) ON c.series = t.series AND c.minute = t.minute
		WHERE c.minute >= $3 AND c.minute <= $4`, ids, starts, slices.MinFunc(starts, time.Time.Compare), slices.MaxFunc(starts, time.Time.Compare))
	if err != nil {
		return err
	}
	var id int32
	var minute time.Time
	var instance string
	var data []byte
	if _, err := pgx.ForEachRow(rows, []any{&id, &minute, &instance, &data}, func() error {
		m := minutes[minuteOf{id, minute.Unix()}]
		old, err := series.DecodeChunk(minute.Unix(), m.id, data)
		if err != nil {
			// It would stop all folding; what comes now takes its place.
			s.opts.Log.ErrorContext(ctx, "dropped a chunk that cannot be read", "series", id, "instance", instance, "minute", minute.UTC(), "error", err)
			return nil
		}
		m.samples[instance] = append(old, m.samples[instance]...)
		return nil
	}); err != nil {
		return err
	}
	for _, m := range minutes {
		for instance, samples := range m.samples {
			m.samples[instance] = series.Join(samples)
		}
	}
	return nil
}

func writeChunks(ctx context.Context, tx pgx.Tx, minutes map[minuteOf]*foldedMinute) error {
	var ids []int32
	var starts []time.Time
	var instances []string
	var data [][]byte
	for k, m := range minutes {
		for instance := range m.changed {
			chunk, err := series.EncodeChunk(k.minute, m.samples[instance])
			if err != nil {
				return err
			}
			ids, starts = append(ids, k.series), append(starts, time.Unix(k.minute, 0))
			instances, data = append(instances, instance), append(data, chunk)
		}
	}
	_, err := tx.Exec(ctx, `INSERT INTO governance.chunk (series, minute, instance, data)
		SELECT * FROM unnest($1::integer[], $2::timestamptz[], $3::text[], $4::bytea[])
		ON CONFLICT (series, minute, instance) DO UPDATE SET data = excluded.data`, ids, starts, instances, data)
	return err
}

func writeRollups(ctx context.Context, tx pgx.Tx, minutes map[minuteOf]*foldedMinute) error {
	for _, r := range []struct {
		table string
		step  time.Duration
	}{{"rollup10", 10 * time.Second}, {"rollup60", time.Minute}} {
		var ids []int32
		var starts []time.Time
		var data [][]byte
		for k, m := range minutes {
			from := time.Unix(k.minute, 0)
			merge := series.NewMerger(from, from.Add(time.Minute), r.step)
			for instance, samples := range m.samples {
				for _, sample := range samples {
					merge.Add(instance, sample)
				}
			}
			for _, b := range merge.Buckets() {
				ids, starts, data = append(ids, k.series), append(starts, time.Unix(b.Start, 0)), append(data, series.EncodeBucket(b))
			}
		}
		if _, err := tx.Exec(ctx, `INSERT INTO governance.`+r.table+` (series, start, data)
			SELECT * FROM unnest($1::integer[], $2::timestamptz[], $3::bytea[])
			ON CONFLICT (series, start) DO UPDATE SET data = excluded.data`, ids, starts, data); err != nil {
			return err
		}
	}
	return nil
}

// Run folds reports, makes and drops partitions and forgets what is no longer
// needed, until ctx ends. Every process that appends runs it.
func (s *Store) Run(ctx context.Context) error {
	const foldEvery, keepEvery = 5 * time.Second, 10 * time.Minute
	fold, keep := time.NewTimer(0), time.NewTimer(0)
	defer fold.Stop()
	defer keep.Stop()
	failing := ""
	for {
		var err error
		var doing string
		select {
		case <-ctx.Done():
			return nil
		case <-fold.C:
			doing, err = "fold", s.Fold(ctx)
			fold.Reset(jitter(foldEvery))
		case <-keep.C:
			doing, err = "keep", s.keep(ctx)
			keep.Reset(jitter(keepEvery))
		}
		if err != nil && ctx.Err() == nil {
			s.failures.WithLabelValues(doing).Inc()
		}
		switch {
		case err != nil && failing != doing && ctx.Err() == nil:
			s.opts.Log.WarnContext(ctx, "history is not kept up; trying again", "task", doing, "error", err)
			failing = doing
		case err == nil && failing == doing:
			s.opts.Log.InfoContext(ctx, "history is kept up again", "task", doing)
			failing = ""
		}
	}
}

func (s *Store) keep(ctx context.Context) error {
	if err := s.makePartitions(ctx); err != nil {
		return err
	}
	if err := s.dropPartitions(ctx); err != nil {
		return err
	}
	if err := s.pruneCircuits(ctx); err != nil {
		return err
	}
	return s.pruneReporters(ctx)
}

// seriesIDs knows the numbers of series that this process has met. A number
// never changes, so it need not ask again.
type seriesIDs struct {
	mu    sync.Mutex
	known map[seriesName]int32
	// full are applications that have as many as they may, all of which are known:
	// nobody is asked about their others again.
	full map[governance.App]bool
}

type seriesName struct {
	app governance.App
	sr  governance.Series
}

func newSeriesIDs() *seriesIDs {
	return &seriesIDs{known: map[seriesName]int32{}, full: map[governance.App]bool{}}
}

func (k *seriesIDs) forget() {
	clear(k.known)
	clear(k.full)
}

const (
	// maxKnown bounds the memory that names take.
	maxKnown = 200_000
	// MaxSeries is how many series one application may have. What it counts in
	// others is counted together, as Overflow.
	MaxSeries = 5_000
)

var errTooManySeries = errors.New("too many series")

// Overflow is the series in which those are counted together that are too many.
func Overflow(s governance.Series) governance.Series {
	return governance.Series{Command: "(other commands)", At: s.At}
}

// of returns the number of a series, giving it one if it has none. It is called
// with mu held.
func (k *seriesIDs) of(ctx context.Context, tx pgx.Tx, app governance.App, sr governance.Series) (int32, error) {
	name := seriesName{app, sr}
	if id, ok := k.known[name]; ok {
		return id, nil
	}
	name.app.Name, name.sr.Command = strings.Clone(app.Name), strings.Clone(sr.Command)
	if sr != Overflow(sr) {
		if k.full[app] {
			return 0, errTooManySeries
		}
		if err := k.room(ctx, tx, app, sr); err != nil {
			return 0, err
		}
	}
	var id int32
	err := tx.QueryRow(ctx, `WITH new AS (
			INSERT INTO governance.series (app_namespace, app_name, command, at, peer_namespace, peer_name)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING id)
		SELECT id FROM new UNION ALL
		SELECT id FROM governance.series WHERE app_namespace = $1 AND app_name = $2 AND command = $3 AND at = $4 AND peer_namespace = $5 AND peer_name = $6
		LIMIT 1`, app.Namespace, app.Name, sr.Command, string(sr.At), sr.Peer.Namespace, sr.Peer.Name).Scan(&id)
	if err != nil {
		return 0, err
	}
	k.know(name, id)
	return id, nil
}

func (k *seriesIDs) know(name seriesName, id int32) {
	if len(k.known) >= maxKnown {
		k.forget()
	}
	k.known[name] = id
}

// room returns errTooManySeries for a new series of an application that has as
// many as it may.
func (k *seriesIDs) room(ctx context.Context, tx pgx.Tx, app governance.App, sr governance.Series) error {
	var exists bool
	var have int
	err := tx.QueryRow(ctx, `SELECT
			EXISTS (SELECT FROM governance.series WHERE app_namespace = $1 AND app_name = $2 AND command = $3 AND at = $4 AND peer_namespace = $5 AND peer_name = $6),
			(SELECT count(*) FROM governance.series WHERE app_namespace = $1 AND app_name = $2)`,
		app.Namespace, app.Name, sr.Command, string(sr.At), sr.Peer.Namespace, sr.Peer.Name).Scan(&exists, &have)
	if err != nil || exists || have < MaxSeries {
		return err
	}
	if err := k.knowAll(ctx, tx, app); err != nil {
		return err
	}
	return errTooManySeries
}

// knowAll learns all series of an application that is to get no more.
func (k *seriesIDs) knowAll(ctx context.Context, tx pgx.Tx, app governance.App) error {
	rows, err := tx.Query(ctx, `SELECT id, command, at, peer_namespace, peer_name FROM governance.series
		WHERE app_namespace = $1 AND app_name = $2 LIMIT $3`, app.Namespace, app.Name, 2*MaxSeries)
	if err != nil {
		return err
	}
	if len(k.known)+2*MaxSeries > maxKnown {
		k.forget() // so that all of these stay
	}
	var id int32
	name := seriesName{app: governance.App{Namespace: strings.Clone(app.Namespace), Name: strings.Clone(app.Name)}}
	_, err = pgx.ForEachRow(rows, []any{&id, &name.sr.Command, &name.sr.At, &name.sr.Peer.Namespace, &name.sr.Peer.Name}, func() error {
		k.know(name, id)
		return nil
	})
	if err == nil {
		k.full[name.app] = true
	}
	return err
}
