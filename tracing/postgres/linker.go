package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/weirmesh/weir/tracing"
)

const (
	microsPerMinute = 60 * 1_000_000
	linkAtOnce      = 500       // traces in one transaction
	maxDirty        = 1_000_000 // known at once; beyond, the oldest are linked unasked
	maxDirtyRows    = 20_000    // of tracing.dirty, known at once
	lease           = 30 * time.Second
)

// linker keeps tracing.dep_minute equal to what Links says of every trace, in the
// minute in which the trace began.
//
// Each batch left a row in tracing.dirty with the traces it brought something of.
// A trace that has been quiet for a while is linked: its fragments are read, and
// the table gets the links of all of them, less those of the fragments that were
// linked before. Which ones those are, tracing.dirty tells: the fragments of a
// batch are new to a trace for as long as the batch's row names the trace. Links
// and row change in one transaction, in one snapshot with the reading; and one
// process at a time does all this, which a token proves within the transaction.
// So the table is at every commit the sum over all that was linked, whatever
// came late, twice, or while a linker died.
type linker struct {
	store *Store
	token int64
	most  int // rows of tracing.dirty that are known at once

	mu     sync.Mutex
	rows   map[int64]*dirtyRow
	traces map[int64]*dirtyTrace
	ready  []int64 // traces whose time has come, the longest waiting first
	beyond bool    // there may be rows that were not known for want of room
}

// dirtyRow is a row of tracing.dirty: a batch, and what is left of its traces.
type dirtyRow struct{ left map[int64]struct{} }

// dirtyTrace is a trace that waits to be linked.
type dirtyTrace struct {
	first, last time.Time
	batches     []int64
}

func newLinker(s *Store) *linker {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	l := &linker{store: s, most: maxDirtyRows, token: int64(binary.LittleEndian.Uint64(raw[:])>>2) + 1}
	l.reset()
	return l
}

func (l *linker) reset() {
	l.rows, l.traces, l.ready = make(map[int64]*dirtyRow), make(map[int64]*dirtyTrace), nil
	l.store.metrics.dirty.Set(0)
}

// LinkDue links the traces that are due, up to some hundred, and says whether
// there may be more. Run calls it; it does nothing while another process links.
func (s *Store) LinkDue(ctx context.Context) (more bool, err error) {
	l := s.link
	l.mu.Lock()
	defer l.mu.Unlock()
	mine, err := l.claim(ctx)
	if err != nil || !mine {
		l.reset()
		return false, s.fail(ctx, err, "link traces")
	}
	n, err := l.round(ctx)
	if err != nil {
		// Whatever this process believed may be wrong now: it reads it again.
		l.reset()
		s.metrics.linkFailures.Inc()
		return false, s.fail(ctx, err, "link traces")
	}
	s.metrics.linked.Add(float64(n))
	s.metrics.dirty.Set(float64(len(l.traces)))
	return len(l.ready) > 0 || l.beyond && n > 0, nil
}

// claim takes or renews the token.
func (l *linker) claim(ctx context.Context) (bool, error) {
	tag, err := l.store.pool.Exec(ctx, `UPDATE tracing.linker SET token = $1, until = clock_timestamp() + $2::interval
		WHERE (token = $1 AND until < clock_timestamp() + $2::interval / 2) OR (token <> $1 AND until < clock_timestamp())`, l.token, lease)
	if err != nil || tag.RowsAffected() == 1 {
		return err == nil, err
	}
	var mine bool
	err = l.store.pool.QueryRow(ctx, "SELECT token = $1 FROM tracing.linker", l.token).Scan(&mine)
	return mine, err
}

var errNotMine = errors.New("another process links now")

// round links what is due in one transaction.
func (l *linker) round(ctx context.Context) (linked int, err error) {
	s := l.store
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing after a commit
	var mine bool
	var now time.Time
	if err := tx.QueryRow(ctx, "SELECT token = $1, clock_timestamp() FROM tracing.linker FOR UPDATE", l.token).Scan(&mine, &now); err != nil {
		return 0, err
	}
	if !mine {
		return 0, errNotMine
	}
	if err := l.load(ctx, tx); err != nil {
		return 0, err
	}
	due := l.due(now)
	if len(due) == 0 {
		return 0, tx.Commit(ctx)
	}
	sum, reach, err := l.difference(ctx, tx, due)
	for (errors.Is(err, errTooLarge) || errors.Is(err, errUnreadable)) && len(due) > 1 {
		due = due[:len(due)/2]
		sum, reach, err = l.difference(ctx, tx, due)
	}
	switch {
	case errors.Is(err, errTooLarge):
		s.cfg.Log.WarnContext(ctx, "a trace is too large to be linked", "trace", tracing.ID(due[0]), "fragments", maxFragments, "bytes", maxInflated)
	case errors.Is(err, errUnreadable):
		// The others must not wait for it for ever.
		s.metrics.unreadable.Inc()
		s.cfg.Log.ErrorContext(ctx, "a trace cannot be read and was not linked", "trace", tracing.ID(due[0]), "error", err)
	case err != nil:
		return 0, err
	}
	b := &pgx.Batch{}
	sum.queue(b)
	for d, micros := range reach {
		b.Queue(`INSERT INTO tracing.reach AS r (day, micros) VALUES ($1, $2) ON CONFLICT (day) DO UPDATE SET micros = excluded.micros WHERE r.micros < excluded.micros`, d, micros)
	}
	l.settle(b, due)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return 0, err
	}
	return len(due), tx.Commit(ctx)
}

// load reads the rows of tracing.dirty that are not known yet, the oldest first
// and no more than fit into memory.
func (l *linker) load(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "SELECT id FROM tracing.dirty ORDER BY id LIMIT $1", l.most)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	l.beyond = len(ids) == l.most
	var news []int64
	for _, id := range ids {
		if l.rows[id] == nil && len(l.rows)+len(news) < l.most {
			news = append(news, id)
		}
	}
	return l.know(ctx, tx, news)
}

// know reads rows of tracing.dirty by their ids.
func (l *linker) know(ctx context.Context, tx pgx.Tx, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, "SELECT id, seen, traces FROM tracing.dirty WHERE id = ANY($1) ORDER BY seen, id", ids)
	if err != nil {
		return err
	}
	var id int64
	var seen time.Time
	var traces []int64
	_, err = pgx.ForEachRow(rows, []any{&id, &seen, &traces}, func() error {
		row := &dirtyRow{left: make(map[int64]struct{}, len(traces))}
		l.rows[id] = row
		for _, t := range traces {
			row.left[t] = struct{}{}
			d := l.traces[t]
			if d == nil {
				d = &dirtyTrace{first: seen, last: seen}
				l.traces[t] = d
			}
			if seen.After(d.last) {
				d.last = seen
			}
			if seen.Before(d.first) {
				d.first = seen
			}
			d.batches = append(d.batches, id)
		}
		traces = nil
		return nil
	})
	return err
}

// due returns the next traces whose time has come. They are taken in the order in
// which they came, so that few rows of tracing.dirty change at a time.
func (l *linker) due(now time.Time) []int64 {
	if len(l.ready) == 0 {
		l.ready = l.sorted(now)
	}
	n := min(len(l.ready), linkAtOnce)
	return l.ready[:n]
}

func (l *linker) sorted(now time.Time) []int64 {
	var out []int64
	cfg := l.store.cfg
	for t, d := range l.traces {
		if now.Sub(d.last) >= cfg.Quiet || now.Sub(d.first) >= cfg.Cap || len(l.traces) > maxDirty {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b int64) int {
		return cmp.Or(l.traces[a].first.Compare(l.traces[b].first), cmp.Compare(a, b))
	})
	return out
}

// minuteLink is where a link is counted.
type minuteLink struct {
	minute        int64
	parent, child string
}

// sums is what to add to tracing.dep_minute.
type sums map[minuteLink]tracing.Link

// add counts the links of a trace, unless it began before the time given or belongs
// to no minute at all.
func (s sums) add(spans []tracing.Span, sign, kept int64) {
	t := tracing.TraceTime(spans)
	if t == 0 || t < kept {
		return
	}
	for _, l := range tracing.Links(spans) {
		key := minuteLink{t / microsPerMinute, storable(l.Parent), storable(l.Child)}
		sum := s[key]
		sum.Calls += sign * l.Calls
		sum.Errors += sign * l.Errors
		s[key] = sum
	}
}

// queue writes the sums, in one order everywhere.
func (s sums) queue(b *pgx.Batch) {
	var keys []minuteLink
	for k, l := range s {
		if l.Calls != 0 || l.Errors != 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b minuteLink) int {
		return cmp.Or(cmp.Compare(a.minute, b.minute), strings.Compare(a.parent, b.parent), strings.Compare(a.child, b.child))
	})
	if len(keys) == 0 {
		return
	}
	minutes, calls, errs := make([]int64, len(keys)), make([]int64, len(keys)), make([]int64, len(keys))
	parents, children := make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		minutes[i], parents[i], children[i], calls[i], errs[i] = k.minute, k.parent, k.child, s[k].Calls, s[k].Errors
	}
	b.Queue(`INSERT INTO tracing.dep_minute AS d (minute, parent, child, calls, errors)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
		ON CONFLICT (minute, parent, child) DO UPDATE SET calls = d.calls + excluded.calls, errors = d.errors + excluded.errors`,
		minutes, parents, children, calls, errs)
	b.Queue("DELETE FROM tracing.dep_minute WHERE minute = ANY($1) AND calls = 0 AND errors = 0", slices.Compact(slices.Clone(minutes)))
}

// difference reads the traces and returns what to add for them, and by day how far
// behind the beginning of its trace a fragment was.
func (l *linker) difference(ctx context.Context, tx pgx.Tx, due []int64) (sums, map[int64]int64, error) {
	p, err := l.store.payloads(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows, err := tx.Query(ctx, "SELECT at, trace, batch, payload FROM tracing.fragment WHERE trace = ANY($1) LIMIT $2", due, maxFragments)
	if err != nil {
		return nil, nil, err
	}
	type part struct {
		batch int64
		spans []tracing.Span
	}
	type parts struct {
		parts []part
		last  int64
	}
	traces := make(map[int64]*parts, len(due))
	unknown := make(map[int64]struct{})
	n := 0
	var at, trace, batch int64
	var raw pgtype.DriverBytes
	_, err = pgx.ForEachRow(rows, []any{&at, &trace, &batch, &raw}, func() error {
		n++
		payload, err := p.inflate(ctx, raw)
		if err != nil {
			return err
		}
		spans, err := tracing.DecodeProtoForLinks(payload)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
		t := traces[trace]
		if t == nil {
			t = &parts{}
			traces[trace] = t
		}
		t.parts = append(t.parts, part{batch, spans})
		t.last = max(t.last, at)
		if l.rows[batch] == nil {
			unknown[batch] = struct{}{}
		}
		return nil
	})
	if err == nil && n == maxFragments {
		err = errTooLarge
	}
	if err != nil {
		return nil, nil, err
	}
	// Batches whose rows are gone were linked; but a row may be there and unknown,
	// when there are very many.
	if err := l.know(ctx, tx, slices.Sorted(maps.Keys(unknown))); err != nil {
		return nil, nil, err
	}
	// Of a trace that began before, parts may have been dropped: what comes of it now
	// was counted when it was whole.
	kept := (l.store.now()-l.store.cfg.Retention.Microseconds())/microsPerDay*microsPerDay + reachCeiling
	sum, reach := make(sums), make(map[int64]int64)
	for trace, t := range traces {
		var all, before []tracing.Span
		for _, part := range t.parts {
			all = append(all, part.spans...)
			if row := l.rows[part.batch]; row == nil || !row.has(trace) {
				before = append(before, part.spans...)
			}
		}
		sum.add(before, -1, kept)
		sum.add(all, +1, kept)
		if began := tracing.TraceTime(all); began != 0 && t.last-began > reachFloor {
			d := began / microsPerDay
			reach[d] = max(reach[d], t.last-began)
		}
	}
	return sum, reach, nil
}

func (r *dirtyRow) has(trace int64) bool {
	_, ok := r.left[trace]
	return ok
}

// settle takes the traces off the rows that name them, in memory and, by b, in the
// database; memory is thrown away if that fails.
func (l *linker) settle(b *pgx.Batch, due []int64) {
	changed := make(map[int64]struct{})
	l.ready = l.ready[len(due):]
	for _, t := range due {
		for _, id := range l.traces[t].batches {
			delete(l.rows[id].left, t)
			changed[id] = struct{}{}
		}
		delete(l.traces, t)
	}
	var done []int64
	for id := range changed {
		left := l.rows[id].left
		if len(left) == 0 {
			done = append(done, id)
			delete(l.rows, id)
			continue
		}
		traces := make([]int64, 0, len(left))
		for t := range left {
			traces = append(traces, t)
		}
		b.Queue("UPDATE tracing.dirty SET traces = $2 WHERE id = $1", id, traces)
	}
	if len(done) > 0 {
		b.Queue("DELETE FROM tracing.dirty WHERE id = ANY($1)", done)
	}
}
