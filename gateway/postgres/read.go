package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/gateway"
)

// columns are those that scan reads.
const columns = `namespace, name, revision, created, actor, reason, deleted, document`

// scanStored reads a row. A document that this program does not understand is
// told by Unreadable and is no error: one such route must not hide the others.
func scanStored(row pgx.CollectableRow) (stored, error) {
	var (
		v   stored
		key gateway.Key
	)
	err := row.Scan(&key.Namespace, &key.Name, &v.Revision, &v.Created, &v.Actor, &v.Reason, &v.Deleted, &v.document)
	if err != nil {
		return v, err
	}
	v.Created = v.Created.UTC()
	v.Route, v.Unreadable = gateway.DecodeStored(key, []byte(v.document))
	return v, nil
}

func scan(row pgx.CollectableRow) (gateway.Version, error) {
	v, err := scanStored(row)
	return v.Version, err
}

// snapshot runs f on one unchanging state of the database.
func (s *Store) snapshot(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, f)
}

// state is the row of gateway.state.
type state struct {
	revision, horizon gateway.Revision
	sum               gateway.Sum
}

func readState(ctx context.Context, tx pgx.Tx) (state, error) {
	var st state
	var sum []byte
	err := tx.QueryRow(ctx, `SELECT revision, horizon, checksum FROM gateway.state`).Scan(&st.revision, &st.horizon, &sum)
	if err == nil && copy(st.sum[:], sum) != len(st.sum) {
		err = fmt.Errorf("the checksum of the table has %d bytes", len(sum))
	}
	return st, err
}

// Since implements gateway.Source.
func (s *Store) Since(ctx context.Context, rev gateway.Revision) (gateway.Delta, error) {
	var d gateway.Delta
	err := s.snapshot(ctx, func(tx pgx.Tx) error {
		st, err := readState(ctx, tx)
		if err != nil {
			return err
		}
		d = gateway.Delta{Revision: st.revision, Checksum: st.sum.String()}
		d.Full = rev <= 0 || rev > st.revision || rev < st.horizon
		switch {
		case d.Full:
			d.Routes, err = s.live(ctx, tx, "")
		case rev < st.revision:
			d.Routes, err = s.after(ctx, tx, rev)
		}
		return err
	})
	if err != nil {
		return gateway.Delta{}, fail(err, "read routes")
	}
	return d, nil
}

// live reads all that live, of a namespace or of all, sorted by key, a page at a
// time.
func (s *Store) live(ctx context.Context, tx pgx.Tx, namespace string) ([]gateway.Version, error) {
	var out []gateway.Version
	last := gateway.Key{Namespace: namespace} // no name is empty
	for {
		rows, err := tx.Query(ctx, `SELECT `+columns+` FROM gateway.route
			WHERE NOT deleted AND (namespace, name) > ($1, $2) AND ($3 = '' OR namespace = $3)
			ORDER BY namespace, name LIMIT $4`, last.Namespace, last.Name, namespace, s.opts.Page)
		if err != nil {
			return nil, err
		}
		page, err := pgx.CollectRows(rows, scan)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if len(page) < s.opts.Page {
			return out, nil
		}
		last = page[len(page)-1].Route.Key()
	}
}

// after reads what was written after a revision, tombstones included, a page at
// a time.
func (s *Store) after(ctx context.Context, tx pgx.Tx, rev gateway.Revision) ([]gateway.Version, error) {
	var out []gateway.Version
	var last gateway.Key
	rev++
	for {
		rows, err := tx.Query(ctx, `SELECT `+columns+` FROM gateway.route
			WHERE (revision, namespace, name) > ($1, $2, $3)
			ORDER BY revision, namespace, name LIMIT $4`, rev, last.Namespace, last.Name, s.opts.Page)
		if err != nil {
			return nil, err
		}
		page, err := pgx.CollectRows(rows, scan)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if len(page) < s.opts.Page {
			return out, nil
		}
		end := page[len(page)-1]
		rev, last = end.Revision, end.Route.Key()
	}
}

// Get implements gateway.Store.
func (s *Store) Get(ctx context.Context, key gateway.Key) (gateway.Version, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM gateway.route
		WHERE namespace = $1 AND name = $2 AND NOT deleted`, key.Namespace, key.Name)
	if err != nil {
		return gateway.Version{}, fail(err, "read a route")
	}
	found, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return gateway.Version{}, fail(err, "read a route")
	}
	if len(found) == 0 {
		return gateway.Version{}, &gateway.Error{Code: gateway.NotFound, Message: "there is no route " + key.String()}
	}
	return found[0], nil
}

// List implements gateway.Store.
func (s *Store) List(ctx context.Context, namespace string) (routes []gateway.Version, rev gateway.Revision, err error) {
	err = s.snapshot(ctx, func(tx pgx.Tx) error {
		st, err := readState(ctx, tx)
		if err != nil {
			return err
		}
		rev = st.revision
		routes, err = s.live(ctx, tx, namespace)
		return err
	})
	if err != nil {
		return nil, 0, fail(err, "read routes")
	}
	return routes, rev, nil
}

// written are the columns of a version in the history.
const written = `namespace, name, revision, created, actor, reason, after IS NULL, coalesce(after, before)`

// Version implements gateway.Store.
func (s *Store) Version(ctx context.Context, key gateway.Key, rev gateway.Revision) (gateway.Version, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+written+` FROM gateway.change WHERE namespace = $1 AND name = $2 AND revision = $3`, key.Namespace, key.Name, rev)
	if err != nil {
		return gateway.Version{}, fail(err, "read a version of a route")
	}
	v, err := pgx.CollectOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, gateway.NoVersion(key, rev)
	}
	return v, fail(err, "read a version of a route")
}

// History implements gateway.Store.
func (s *Store) History(ctx context.Context, key gateway.Key, limit int) ([]gateway.Version, error) {
	limit = min(limit, gateway.MaxHistory)
	if limit <= 0 {
		limit = 100
	}
	rows, err := s.pool.Query(ctx, `SELECT `+written+` FROM gateway.change WHERE namespace = $1 AND name = $2 ORDER BY revision DESC LIMIT $3`, key.Namespace, key.Name, limit)
	if err != nil {
		return nil, fail(err, "read the history of a route")
	}
	out, err := pgx.CollectRows(rows, scan)
	return out, fail(err, "read the history of a route")
}

// nodeForgotten is after how long a gateway's row is deleted.
const nodeForgotten = 24 * time.Hour

// Revision returns the revision of the whole table.
func (s *Store) Revision(ctx context.Context) (rev gateway.Revision, err error) {
	err = s.pool.QueryRow(ctx, `SELECT revision FROM gateway.state`).Scan(&rev)
	return rev, fail(err, "read the revision of the routes")
}
