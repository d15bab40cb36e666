package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pg"
)

// fleetChannel says that instances apply something else than before.
const fleetChannel = "weir_governance_fleet"

// PutInstances implements governance.Fleet. Single ones, as acknowledgements
// are, share transactions.
func (s *Store) PutInstances(ctx context.Context, in ...governance.Instance) error {
	if len(in) == 1 {
		return s.instances.submit(ctx, in[0])
	}
	for part := range slices.Chunk(in, maxBatch) {
		if err := s.putInstances(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func compareInstances(a, b governance.Instance) int {
	return cmp.Or(a.App.Compare(b.App), strings.Compare(a.ID, b.ID))
}

// instanceColumns are rows of instances as columns, for unnest.
type instanceColumns struct {
	ns, name, id, pod, sdk []string
	calls, lacks           []string // each a JSON array: unnest would flatten arrays
	joined, seen           []time.Time
	applied                []*string
	appliedAt              []*time.Time
}

func (c *instanceColumns) add(i governance.Instance) error {
	calls := make([]string, len(i.Calls))
	for n, a := range i.Calls {
		calls[n] = a.String()
	}
	callsJSON, err := json.Marshal(calls)
	if err != nil {
		return err
	}
	lacks := i.Lacks
	if lacks == nil {
		lacks = []string{}
	}
	lacksJSON, err := json.Marshal(lacks)
	if err != nil {
		return err
	}
	var applied *string
	var at *time.Time
	if i.Applied != nil {
		data, err := json.Marshal(i.Applied)
		if err != nil {
			return err
		}
		text, when := string(data), stamp(i.AppliedAt)
		applied, at = &text, &when
	}
	c.ns, c.name, c.id = append(c.ns, i.App.Namespace), append(c.name, i.App.Name), append(c.id, i.ID)
	c.pod, c.sdk, c.calls = append(c.pod, i.Name), append(c.sdk, i.SDK), append(c.calls, string(callsJSON))
	c.lacks = append(c.lacks, string(lacksJSON))
	c.joined, c.seen = append(c.joined, stamp(i.Joined)), append(c.seen, stamp(i.Seen))
	c.applied, c.appliedAt = append(c.applied, applied), append(c.appliedAt, at)
	return nil
}

const selectInstances = `SELECT app_namespace, app_name, id, name, sdk, calls, joined, seen, applied, applied_at, left_at IS NOT NULL, lacks FROM governance.instance `

type storedInstance struct {
	governance.Instance
	left bool
}

// scanInstance reads a row. What of it cannot be read, which no version of Weir is
// to write, is passed over: it is one instance's, and stands in nobody else's way.
func (s *Store) scanInstance(row pgx.CollectableRow) (storedInstance, error) {
	var i storedInstance
	var calls []string
	var applied []byte
	var at *time.Time
	err := row.Scan(&i.App.Namespace, &i.App.Name, &i.ID, &i.Name, &i.SDK, &calls, &i.Joined, &i.Seen, &applied, &at, &i.left, &i.Lacks)
	if err != nil {
		return i, err
	}
	for _, c := range calls {
		a, err := governance.ParseApp(c)
		if err != nil {
			s.unreadable(&i.Instance, err)
			continue
		}
		i.Calls = append(i.Calls, a)
	}
	i.Joined, i.Seen = i.Joined.UTC(), i.Seen.UTC()
	if applied != nil && at != nil {
		i.AppliedAt = at.UTC()
		if err := json.Unmarshal(applied, &i.Applied); err != nil {
			s.unreadable(&i.Instance, err)
			i.Applied, i.AppliedAt = nil, time.Time{}
		}
	}
	return i, nil
}

// unreadable logs, once in the life of a process, what of an instance's row cannot
// be read.
func (s *Store) unreadable(i *governance.Instance, err error) {
	s.unread.Do(func() {
		s.opts.Log.Warn("part of what is kept of an instance cannot be read and is passed over, as will be what else there is of the kind", "app", i.App.String(), "instance", i.ID, "error", err)
	})
}

func (s *Store) putInstances(ctx context.Context, in []governance.Instance) error {
	// All who write take rows in one order, so that nobody waits in a circle.
	in = slices.Clone(in)
	slices.SortStableFunc(in, compareInstances)
	said := func(i governance.Instance) []governance.Instance { // what in says of one, in its order
		from, _ := slices.BinarySearchFunc(in, i, compareInstances)
		to := from
		for to < len(in) && compareInstances(in[to], i) == 0 {
			to++
		}
		return in[from:to]
	}
	err := s.tx(ctx, func(tx pgx.Tx) error {
		have, err := s.lockInstances(ctx, tx, in)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		applies := false
		var changed instanceColumns
		for _, old := range have {
			now := old.Instance
			left := old.left
			for _, i := range said(now) {
				var events []governance.Event
				var moved bool
				now, events, moved = governance.Renew(now, left, i)
				left, applies = false, applies || moved
				queueEvents(b, events...)
			}
			if err := changed.add(now); err != nil {
				return err
			}
		}
		b.Queue(`UPDATE governance.instance o SET name = t.pod, sdk = t.sdk, joined = t.joined, seen = t.seen, left_at = NULL,
				calls = (SELECT coalesce(array_agg(c), '{}') FROM json_array_elements_text(t.calls::json) c),
				lacks = (SELECT coalesce(array_agg(c), '{}') FROM json_array_elements_text(t.lacks::json) c),
				applied = t.applied::json, applied_at = t.applied_at
			FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::text[], $10::timestamptz[], $11::text[])
				AS t (ns, name, id, pod, sdk, calls, joined, seen, applied, applied_at, lacks)
			WHERE o.app_namespace = t.ns AND o.app_name = t.name AND o.id = t.id`,
			changed.ns, changed.name, changed.id, changed.pod, changed.sdk, changed.calls, changed.joined, changed.seen, changed.applied, changed.appliedAt, changed.lacks)
		if applies {
			b.Queue("SELECT pg_notify($1, '')", fleetChannel)
		}
		return tx.SendBatch(ctx, b).Close()
	})
	return fail(ctx, err, "write what instances said")
}

// lockInstances returns the rows of instances, locked, and makes those that are
// not there, as ones that have left: whoever finds one so under its lock is the
// one who sees the instance join.
func (s *Store) lockInstances(ctx context.Context, tx pgx.Tx, in []governance.Instance) ([]storedInstance, error) {
	var ns, name, id []string
	var seen []time.Time
	for n, i := range in {
		if n == 0 || compareInstances(i, in[n-1]) != 0 {
			ns, name, id, seen = append(ns, i.App.Namespace), append(name, i.App.Name), append(id, i.ID), append(seen, stamp(i.Seen))
		}
	}
	for {
		rows, err := tx.Query(ctx, selectInstances+`
			WHERE (app_namespace, app_name, id) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))
			ORDER BY app_namespace COLLATE "C", app_name COLLATE "C", id COLLATE "C" FOR UPDATE`, ns, name, id)
		if err != nil {
			return nil, err
		}
		have, err := pgx.CollectRows(rows, s.scanInstance)
		if err != nil || len(have) == len(id) {
			return have, err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO governance.instance (app_namespace, app_name, id, joined, seen, left_at)
			SELECT ns, name, id, seen AS joined, seen AS seen_at, seen AS left_at FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS t (ns, name, id, seen)
			ON CONFLICT DO NOTHING`, ns, name, id, seen); err != nil {
			return nil, err
		}
	}
}

// Instances implements governance.Fleet.
func (s *Store) Instances(ctx context.Context, app governance.App) ([]governance.Instance, error) {
	rows, err := s.pool.Query(ctx, selectInstances+`
		WHERE left_at IS NULL AND seen > $1 AND ($2 = '' OR (app_namespace = $2 AND app_name = $3))
		ORDER BY app_namespace COLLATE "C", app_name COLLATE "C", name COLLATE "C", id COLLATE "C" LIMIT $4`,
		s.now().Add(-governance.InstanceGone), app.Namespace, app.Name, maxInstances)
	if err != nil {
		return nil, fail(ctx, err, "list instances")
	}
	all, err := pgx.CollectRows(rows, s.scanInstance)
	out := make([]governance.Instance, len(all))
	for i := range all {
		out[i] = all[i].Instance
	}
	return out, fail(ctx, err, "list instances")
}

// maxInstances is how many instances are listed at most.
const maxInstances = 100_000

// SweepInstances implements governance.Fleet.
func (s *Store) SweepInstances(ctx context.Context) error {
	now := s.now()
	err := s.tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `WITH gone AS (
				SELECT app_namespace, app_name, id FROM governance.instance
				WHERE left_at IS NULL AND seen <= $1 LIMIT 1000 FOR UPDATE SKIP LOCKED)
			UPDATE governance.instance i SET left_at = $2, applied = NULL, applied_at = NULL FROM gone g
			WHERE i.app_namespace = g.app_namespace AND i.app_name = g.app_name AND i.id = g.id
			RETURNING i.app_namespace, i.app_name, i.id, i.name, i.sdk, i.calls, i.joined, i.seen, i.applied, i.applied_at, true, i.lacks`,
			now.Add(-governance.InstanceGone), now)
		if err != nil {
			return err
		}
		gone, err := pgx.CollectRows(rows, s.scanInstance)
		if err != nil || len(gone) == 0 {
			return err
		}
		b := &pgx.Batch{}
		for _, i := range gone {
			queueEvents(b, governance.Event{Time: now, Kind: governance.EventLeft, App: i.App, Instance: i.ID, Reason: i.Name})
		}
		b.Queue("DELETE FROM governance.instance WHERE left_at < $1", now.Add(-24*time.Hour))
		b.Queue("SELECT pg_notify($1, '')", fleetChannel)
		return tx.SendBatch(ctx, b).Close()
	})
	return fail(ctx, err, "sweep instances")
}

// Confirm implements governance.Fleet.
func (s *Store) Confirm(ctx context.Context, v governance.Version, instances int) (bool, error) {
	first := false
	err := s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "INSERT INTO governance.confirmation VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", v.Version, s.now(), instances)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		first = true
		b := &pgx.Batch{}
		queueEvents(b, governance.Event{
			Time: s.now(), Kind: governance.EventConfirmed, App: v.Policy.Target.App, Command: v.Policy.Target.Command,
			Policy: v.Policy.Key().String(), Version: v.Version, Reason: governance.ConfirmedBy(instances),
		})
		return tx.SendBatch(ctx, b).Close()
	})
	return first && err == nil, fail(ctx, err, "record a confirmation")
}

// WatchInstances implements governance.Fleet.
func (s *Store) WatchInstances(ctx context.Context, changed func()) error {
	return s.watch(ctx, fleetChannel, func(pg.Wake) { changed() }, changed)
}
