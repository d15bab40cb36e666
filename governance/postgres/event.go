package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
)

const insertEvent = `INSERT INTO governance.event
	(time, kind, app_namespace, app_name, instance, command, policy, version, actor, reason, transition)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

// queueEvents adds the writing of events to a batch.
func queueEvents(b *pgx.Batch, events ...governance.Event) {
	for _, e := range events {
		var transition []byte
		if e.Transition != nil {
			data, err := json.Marshal(e.Transition)
			if err != nil {
				continue // strings, numbers and times: it cannot fail
			}
			transition = data
		}
		b.Queue(insertEvent, e.Time, e.Kind, e.App.Namespace, e.App.Name, e.Instance, e.Command, e.Policy, e.Version, e.Actor, e.Reason, transition)
	}
}

// Record implements governance.History.
func (s *Store) Record(ctx context.Context, events ...governance.Event) error {
	if len(events) == 0 {
		return nil
	}
	err := s.tx(ctx, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		queueEvents(b, events...)
		return tx.SendBatch(ctx, b).Close()
	})
	return fail(ctx, err, "record events")
}

const eventColumns = `id, time, kind, app_namespace, app_name, instance, command, policy, version, actor, reason, transition`

func scanEvent(row pgx.CollectableRow) (governance.Event, error) {
	var e governance.Event
	var transition []byte
	err := row.Scan(&e.ID, &e.Time, &e.Kind, &e.App.Namespace, &e.App.Name, &e.Instance, &e.Command, &e.Policy, &e.Version, &e.Actor, &e.Reason, &transition)
	if err == nil && transition != nil {
		err = json.Unmarshal(transition, &e.Transition)
	}
	e.Time = e.Time.UTC()
	return e, err
}

// Events implements governance.History.
func (s *Store) Events(ctx context.Context, q governance.EventQuery) ([]governance.Event, error) {
	q = q.WithDefaults(s.now())
	rows, err := s.pool.Query(ctx, `SELECT `+eventColumns+` FROM governance.event
		WHERE time >= $1 AND time < $2
			AND ($3 = '' OR (app_namespace = $3 AND app_name = $4))
			AND ($5 = '' OR instance = $5)
			AND ($6 = '' OR command = $6)
			AND ($7::text[] IS NULL OR kind = ANY ($7))
			AND ($9::text[] IS NULL OR app_namespace = ANY ($9))
		ORDER BY time DESC, id DESC LIMIT $8`,
		q.From, q.To, q.App.Namespace, q.App.Name, q.Instance, q.Command, q.Kinds, q.Limit, q.Namespaces)
	if err != nil {
		return nil, fail(ctx, err, "read events")
	}
	out, err := pgx.CollectRows(rows, scanEvent)
	return out, fail(ctx, err, "read events")
}

// stamp is a time as the database keeps it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
