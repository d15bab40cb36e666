package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/gateway"
)

// Apply implements gateway.Store.
func (s *Store) Apply(ctx context.Context, writes []gateway.Write, c gateway.Change) (gateway.Revision, error) {
	if err := gateway.CheckWrites(writes, c); err != nil {
		return 0, err
	}
	var rev gateway.Revision
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		w, err := s.begin(ctx, tx)
		if err != nil {
			return err
		}
		if rev, err = w.apply(ctx, writes, c); err != nil {
			return err
		}
		if rev != w.revision {
			return errUnchanged // gives the revision back
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return 0, fail(err, "write routes")
	}
	return rev, nil
}

// writing is one write transaction, which holds the counter.
type writing struct {
	tx       pgx.Tx
	keep     int64 // Options.Horizon
	revision gateway.Revision
	horizon  int64
	sum      gateway.Sum
	now      time.Time
}

// errUnchanged rolls back a transaction that has nothing to write.
var errUnchanged = errors.New("nothing to write")

// begin takes the next revision. Every other writer waits from here on until the
// transaction ends.
func (s *Store) begin(ctx context.Context, tx pgx.Tx) (*writing, error) {
	w := &writing{tx: tx, keep: s.opts.Horizon}
	var sum []byte
	// The clock is read after the row is locked, so that later revisions are
	// later, as far as the clock allows.
	err := tx.QueryRow(ctx, `UPDATE gateway.state SET revision = revision + 1
		RETURNING revision, horizon, checksum, clock_timestamp()`).Scan(&w.revision, &w.horizon, &sum, &w.now)
	if err != nil {
		return nil, err
	}
	if copy(w.sum[:], sum) != len(w.sum) {
		return nil, fmt.Errorf("the checksum of the table has %d bytes", len(sum))
	}
	return w, nil
}

// apply writes what changes anything, and returns the revision of the table.
func (w *writing) apply(ctx context.Context, writes []gateway.Write, c gateway.Change) (gateway.Revision, error) {
	current, err := w.current(ctx, writes)
	if err != nil {
		return 0, err
	}
	pending, err := gateway.Pending(writes, func(k gateway.Key) (gateway.Version, bool) {
		v, ok := current[k]
		return v.Version, ok
	})
	if err != nil {
		return 0, err
	}
	if len(pending) == 0 {
		return w.revision - 1, nil
	}
	rows := newRows(len(pending))
	for _, p := range pending {
		key := p.Route.Key()
		old, there := current[key]
		lives := there && !old.Deleted
		if lives {
			w.sum.Toggle(old.Version)
		}
		var before *string
		if lives {
			before = &old.document
		}
		document := old.document // of a deletion: what it was
		if !p.Delete {
			raw, err := json.Marshal(p.Route)
			if err != nil {
				return 0, &gateway.Error{Code: gateway.Invalid, Message: "route " + key.String() + " cannot be written as JSON", Err: err}
			}
			document = string(raw)
			w.sum.Toggle(gateway.Version{Route: gateway.Route{Namespace: key.Namespace, Name: key.Name}, Revision: w.revision, Created: w.now})
		}
		rows.add(key, p.Delete, document, before)
	}
	return w.revision, w.write(ctx, rows, c)
}

// stored is a version with its document as it is stored.
type stored struct {
	gateway.Version
	document string
}

// current reads the newest version of each of the routes to be written.
func (w *writing) current(ctx context.Context, writes []gateway.Write) (map[gateway.Key]stored, error) {
	namespaces, names := make([]string, len(writes)), make([]string, len(writes))
	for i, x := range writes {
		namespaces[i], names[i] = x.Route.Namespace, x.Route.Name
	}
	rows, err := w.tx.Query(ctx, `SELECT r.namespace, r.name, r.revision, r.created, r.actor, r.reason, r.deleted, r.document
		FROM gateway.route r JOIN unnest($1::text[], $2::text[]) AS k (namespace, name) USING (namespace, name)`, namespaces, names)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, scanStored)
	if err != nil {
		return nil, err
	}
	out := make(map[gateway.Key]stored, len(found))
	for _, f := range found {
		out[f.Route.Key()] = f
	}
	return out, nil
}

// rows are the columns of what is written.
type rows struct {
	namespaces, names []string
	deleted           []bool
	documents         []string
	before, after     []*string
}

func newRows(n int) *rows {
	return &rows{
		make([]string, 0, n), make([]string, 0, n), make([]bool, 0, n), make([]string, 0, n), make([]*string, 0, n), make([]*string, 0, n),
	}
}

func (r *rows) add(key gateway.Key, deleted bool, document string, before *string) {
	r.namespaces, r.names = append(r.namespaces, key.Namespace), append(r.names, key.Name)
	r.deleted, r.documents, r.before = append(r.deleted, deleted), append(r.documents, document), append(r.before, before)
	after := &document
	if deleted {
		after = nil
	}
	r.after = append(r.after, after)
}

func (w *writing) write(ctx context.Context, r *rows, c gateway.Change) error {
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO gateway.change (namespace, name, before, after, revision, created, actor, reason)
		SELECT *, $5::bigint, $6::timestamptz, $7::text, $8::text
		FROM unnest($1::text[], $2::text[], $3::json[], $4::json[])`,
		r.namespaces, r.names, r.before, r.after, w.revision, w.now, c.Actor, c.Reason)
	b.Queue(`INSERT INTO gateway.route (namespace, name, deleted, document, revision, created, actor, reason)
		SELECT *, $5::bigint, $6::timestamptz, $7::text, $8::text
		FROM unnest($1::text[], $2::text[], $3::boolean[], $4::json[])
		ON CONFLICT (namespace, name) DO UPDATE SET
			revision = excluded.revision, created = excluded.created, actor = excluded.actor,
			reason = excluded.reason, deleted = excluded.deleted, document = excluded.document`,
		r.namespaces, r.names, r.deleted, r.documents, w.revision, w.now, c.Actor, c.Reason)
	// Twice the horizon may lie behind before it moves, so that most writes have
	// nothing to sweep.
	if behind := int64(w.revision) - w.keep; behind-w.horizon >= w.keep {
		w.horizon = behind
		b.Queue(`DELETE FROM gateway.route WHERE deleted AND revision <= $1`, w.horizon)
	}
	b.Queue(`UPDATE gateway.state SET checksum = $1, horizon = $2`, w.sum[:], w.horizon)
	b.Queue(`SELECT pg_notify($1, $2)`, routesChannel, strconv.FormatInt(int64(w.revision), 10))
	return w.tx.SendBatch(ctx, b).Close()
}
