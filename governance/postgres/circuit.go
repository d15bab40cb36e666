package postgres

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
)

type circuitKey struct {
	app      governance.App
	instance string
	sr       governance.Series
}

func (k circuitKey) compare(o circuitKey) int {
	return cmp.Or(k.app.Compare(o.app), strings.Compare(k.instance, o.instance), k.sr.Compare(o.sr))
}

type moved struct {
	boot string
	to   governance.State
	at   time.Time
}

// queueCircuits adds to a batch what the transitions in reports make of circuits.
// began are reports of processes that had not reported before: what their
// instances' earlier processes left is void.
func queueCircuits(b *pgx.Batch, reports, began []governance.Report) {
	if len(began) > 0 {
		var ns, name, instance, boot []string
		for _, r := range began {
			ns, name = append(ns, r.App.Namespace), append(name, r.App.Name)
			instance, boot = append(instance, r.Instance), append(boot, r.Boot)
		}
		b.Queue(`DELETE FROM governance.circuit c USING unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS t (ns, name, instance, boot)
			WHERE c.app_namespace = t.ns AND c.app_name = t.name AND c.instance = t.instance AND c.boot <> t.boot`, ns, name, instance, boot)
	}
	last := map[circuitKey]moved{}
	for _, r := range reports {
		for _, t := range r.Transitions {
			k := circuitKey{r.App, r.Instance, t.Series}
			if have, ok := last[k]; !ok || !t.Time.Before(have.at) {
				last[k] = moved{r.Boot, t.To, t.Time}
			}
		}
	}
	if len(last) == 0 {
		return
	}
	keys := make([]circuitKey, 0, len(last))
	for k := range last {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, circuitKey.compare) // all who write take rows in one order
	var c [9][]string
	at := make([]time.Time, 0, len(keys))
	for _, k := range keys {
		m := last[k]
		for i, v := range [9]string{
			k.app.Namespace, k.app.Name, k.instance, k.sr.Command, string(k.sr.At), k.sr.Peer.Namespace, k.sr.Peer.Name, m.boot, string(m.to),
		} {
			c[i] = append(c[i], v)
		}
		at = append(at, stamp(m.at))
	}
	b.Queue(`INSERT INTO governance.circuit AS c
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[])
		ON CONFLICT (app_namespace, app_name, instance, command, at, peer_namespace, peer_name)
		DO UPDATE SET boot = excluded.boot, state = excluded.state, time = excluded.time WHERE excluded.time >= c.time`,
		c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], at)
}

// maxCircuits bounds how many circuits one query reads.
const maxCircuits = 500_000

// Circuits implements governance.History.
func (s *Store) Circuits(ctx context.Context, app governance.App) (out []governance.Circuit, cut bool, err error) {
	cut, err = s.eachCircuit(ctx, s.pool, app, nil, func(c governance.Circuit) { out = append(out, c) })
	return out, cut, fail(ctx, err, "read circuits")
}

func (s *Store) eachCircuit(ctx context.Context, q querier, app governance.App, namespaces []string, each func(governance.Circuit)) (cut bool, err error) {
	rows, err := q.Query(ctx, `SELECT c.app_namespace, c.app_name, c.instance, c.command, c.at, c.peer_namespace, c.peer_name, c.state, c.time,
			EXISTS (SELECT FROM governance.instance i WHERE i.app_namespace = c.app_namespace AND i.app_name = c.app_name AND i.id = c.instance
				AND i.left_at IS NULL AND i.seen > $1)
		FROM governance.circuit c
		WHERE ($2 = '' OR (c.app_namespace = $2 AND c.app_name = $3)) AND ($4::text[] IS NULL OR c.app_namespace = ANY ($4)) LIMIT $5`,
		s.now().Add(-governance.InstanceGone), app.Namespace, app.Name, namespaces, s.most.circuits+1)
	if err != nil {
		return false, err
	}
	var c governance.Circuit
	return within(rows, s.most.circuits, []any{
		&c.App.Namespace, &c.App.Name, &c.Instance, &c.Command, &c.At, &c.Peer.Namespace, &c.Peer.Name, &c.State, &c.Time, &c.Live,
	}, func() error {
		each(c)
		return nil
	})
}

// eachLeft tells of instances that have gone not long ago.
func (s *Store) eachLeft(ctx context.Context, q querier, app governance.App, since time.Time, each func(governance.App, string)) error {
	rows, err := q.Query(ctx, `SELECT app_namespace, app_name, id FROM governance.instance
		WHERE (left_at IS NOT NULL OR seen <= $1) AND seen > $2 AND ($3 = '' OR (app_namespace = $3 AND app_name = $4)) LIMIT $5`,
		s.now().Add(-governance.InstanceGone), since, app.Namespace, app.Name, maxInstances)
	if err != nil {
		return err
	}
	var of governance.App
	var id string
	_, err = pgx.ForEachRow(rows, []any{&of.Namespace, &of.Name, &id}, func() error {
		each(of, id)
		return nil
	})
	return err
}

// pruneCircuits forgets those of instances that are gone.
func (s *Store) pruneCircuits(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM governance.circuit c WHERE time < $1 AND NOT EXISTS (
		SELECT FROM governance.instance i WHERE i.app_namespace = c.app_namespace AND i.app_name = c.app_name AND i.id = c.instance AND i.left_at IS NULL)`,
		s.now().Add(-time.Hour))
	return err
}
