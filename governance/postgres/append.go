package postgres

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/flate"

	"github.com/weirmesh/weir/governance"
)

// oldest is the age of the oldest samples that may still be appended; partitions
// for them are there.
const oldest = governance.MaxSampleAge

// Append implements governance.History.
func (s *Store) Append(ctx context.Context, r governance.Report) error {
	return s.appends.submit(ctx, r)
}

type reporterKey struct{ instance, boot string }

func (s *Store) appendAll(ctx context.Context, reports []governance.Report) error {
	staged := make([][]byte, len(reports))
	for i, r := range reports {
		var err error
		if staged[i], err = pack(r.Samples); err != nil {
			return err
		}
	}
	err := s.tx(ctx, func(tx pgx.Tx) error {
		fresh, began, err := s.take(ctx, tx, reports)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		var moving []governance.Report
		var ns, name, instance []string
		var first, last []int64
		var data [][]byte
		for i, r := range reports {
			if !fresh[i] {
				continue
			}
			queueEvents(b, governance.TransitionEvents(r)...)
			if len(r.Transitions) > 0 {
				moving = append(moving, r)
			}
			if len(r.Samples) == 0 {
				continue
			}
			from, to := span(r.Samples)
			ns, name, instance = append(ns, r.App.Namespace), append(name, r.App.Name), append(instance, r.Instance)
			first, last, data = append(first, from), append(last, to), append(data, staged[i])
		}
		if len(ns) > 0 {
			b.Queue(`INSERT INTO governance.staging (app_namespace, app_name, instance, first, last, samples)
				SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[])`,
				ns, name, instance, first, last, data)
		}
		queueCircuits(b, moving, began)
		return tx.SendBatch(ctx, b).Close()
	})
	return fail(ctx, err, "store a report")
}

// take tells for each report whether it is new, and remembers it; and which are of
// processes that had not reported before. The rows it locks keep another process
// from taking the same report meanwhile.
func (s *Store) take(ctx context.Context, tx pgx.Tx, reports []governance.Report) (fresh []bool, began []governance.Report, err error) {
	windows := map[reporterKey]*governance.SeqWindow{}
	for _, r := range reports {
		windows[reporterKey{r.Instance, r.Boot}] = &governance.SeqWindow{}
	}
	keys := make([]reporterKey, 0, len(windows))
	for k := range windows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b reporterKey) int {
		return cmp.Or(strings.Compare(a.instance, b.instance), strings.Compare(a.boot, b.boot))
	})
	instances, boots := make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		instances[i], boots[i] = k.instance, k.boot
	}
	now := s.now()
	rows, err := tx.Query(ctx, `INSERT INTO governance.reporter SELECT i, b, 0, 0, $3 FROM unnest($1::text[], $2::text[]) AS t (i, b)
		ON CONFLICT DO NOTHING RETURNING instance, boot`, instances, boots, now)
	if err != nil {
		return nil, nil, err
	}
	var k reporterKey
	added := map[reporterKey]bool{}
	if _, err := pgx.ForEachRow(rows, []any{&k.instance, &k.boot}, func() error {
		added[k] = true
		return nil
	}); err != nil {
		return nil, nil, err
	}
	rows, err = tx.Query(ctx, `SELECT instance, boot, high, mask FROM governance.reporter
		WHERE (instance, boot) IN (SELECT * FROM unnest($1::text[], $2::text[]))
		ORDER BY instance COLLATE "C", boot COLLATE "C" FOR UPDATE`, instances, boots)
	if err != nil {
		return nil, nil, err
	}
	var high, mask int64
	if _, err := pgx.ForEachRow(rows, []any{&k.instance, &k.boot, &high, &mask}, func() error {
		if w := windows[k]; w != nil {
			w.High, w.Mask = high, uint64(mask)
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	fresh = make([]bool, len(reports))
	for i, r := range reports {
		k := reporterKey{r.Instance, r.Boot}
		fresh[i] = windows[k].Take(r.Seq)
		if added[k] {
			began = append(began, r)
		}
	}
	highs, masks := make([]int64, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		highs[i], masks[i] = windows[k].High, int64(windows[k].Mask)
	}
	_, err = tx.Exec(ctx, `UPDATE governance.reporter r SET high = t.high, mask = t.mask, seen = $5
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS t (instance, boot, high, mask)
		WHERE r.instance = t.instance AND r.boot = t.boot`, instances, boots, highs, masks, now)
	return fresh, began, err
}

func span(samples []governance.Sample) (first, last int64) {
	first, last = samples[0].Second, samples[0].Second
	for _, s := range samples[1:] {
		first, last = min(first, s.Second), max(last, s.Second)
	}
	return first, last
}

// maxStaged is more than a valid report's samples inflate to.
const maxStaged = 64 << 20

// pack encodes samples for staging.
func pack(samples []governance.Sample) ([]byte, error) {
	if len(samples) == 0 {
		return nil, nil
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(w).Encode(samples); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

type inflater interface {
	io.Reader
	flate.Resetter
}

// inflaters are used again: each has tables that are larger than most reports.
var inflaters = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}

func unpack(data []byte) ([]governance.Sample, error) {
	var out []governance.Sample
	r := inflaters.Get().(inflater) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer inflaters.Put(r)
	if err := r.Reset(bytes.NewReader(data), nil); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(io.LimitReader(r, maxStaged)).Decode(&out); err != nil {
		return nil, fmt.Errorf("read a staged report: %w", err)
	}
	return out, nil
}

// pruneReporters forgets processes that have not reported for longer than any
// client keeps a report to repeat it.
func (s *Store) pruneReporters(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, "DELETE FROM governance.reporter WHERE seen < $1", s.now().Add(-2*24*time.Hour))
	return err
}
