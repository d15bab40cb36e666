// Package postgres keeps accounts, sessions, API tokens and the audit in
// PostgreSQL, in the schema access.
package postgres

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/internal/access"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the schema that everything here lives in.
const Schema = "access"

// Migrations are those of the schema.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is embedded
	}
	return sub
}

// Store keeps who may act and what was done. It is an access.Secrets and an
// access.Auditor. It is safe for concurrent use. Its errors are *access.Error:
// NotFound, Conflict and Invalid as told, and Unavailable when the database
// does not answer.
type Store struct {
	pool      *pgxpool.Pool
	now       func() time.Time
	passwords *access.Passwords
}

var (
	_ access.Secrets = (*Store)(nil)
	_ access.Auditor = (*Store)(nil)
)

// Option changes a Store.
type Option func(*Store)

// Clock replaces time.Now.
func Clock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// NewStore returns a store on a pool whose database is migrated.
func NewStore(pool *pgxpool.Pool, opts ...Option) *Store {
	s := &Store{pool: pool, now: time.Now, passwords: access.NewPasswords(0)}
	for _, o := range opts {
		o(s)
	}
	return s
}

// fail gives an error of the database its code.
func fail(err error, message string) error {
	if err == nil {
		return nil
	}
	var coded *access.Error
	var server *pgconn.PgError
	switch {
	case errors.As(err, &coded):
		return err
	case errors.As(err, &server) && !away(server.Code):
		return &access.Error{Code: access.Internal, Message: message, Err: err}
	}
	return &access.Error{Code: access.Unavailable, Message: "the database of accounts and audit does not answer", Fix: "try again", Err: err}
}

// away tells whether the database is, by the class of an error: it is out of
// reach or of something, shuts down, or is a standby that has not taken over.
func away(code string) bool {
	switch code[:2] {
	case "08", "40", "53", "55", "57", "58":
		return true
	}
	return code == "25006"
}

// SQLSTATEs of constraints.
const (
	uniqueViolation     = "23505"
	foreignKeyViolation = "23503"
)

// is reports whether the database refused something for a reason.
func is(err error, sqlstate string) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == sqlstate
}

// stamp is a time as the database keeps it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Begin implements access.Auditor.
func (s *Store) Begin(ctx context.Context, e access.Entry) (int64, error) {
	if e.Time.IsZero() {
		e.Time = s.now()
	}
	var id int64
	err := s.pool.QueryRow(ctx, `INSERT INTO access.audit (time, principal, action, object, reason, remote, outcome, revision)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`,
		stamp(e.Time), e.Principal, e.Action, e.Object, e.Reason, e.Remote, e.Outcome, e.Revision).Scan(&id)
	return id, fail(err, "write the audit")
}

// End implements access.Auditor.
func (s *Store) End(ctx context.Context, id int64, outcome string, revision int64) error {
	tag, err := s.pool.Exec(ctx, `UPDATE access.audit SET outcome = $2, revision = $3 WHERE id = $1 AND outcome = ''`, id, outcome, revision)
	if err == nil && tag.RowsAffected() == 0 {
		return &access.Error{Code: access.NotFound, Message: "there is no entry of the audit that waits for its outcome"}
	}
	return fail(err, "write the audit")
}

// Audit returns entries of a range, the newest first.
func (s *Store) Audit(ctx context.Context, q access.AuditQuery) ([]access.Entry, error) {
	q, err := q.WithDefaults(s.now())
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, `SELECT id, time, principal, action, object, reason, remote, outcome, revision
		FROM access.audit
		WHERE time >= $1 AND time < $2
			AND ($3 = '' OR principal = $3)
			AND ($4 = '' OR action = $4)
			AND ($5 = '' OR starts_with(object, $5))
			AND ($6 = 0 OR id < $6)
		ORDER BY id DESC LIMIT $7`,
		stamp(q.From), stamp(q.To), q.Principal, q.Action, q.Object, q.Before, q.Limit)
	if err != nil {
		return nil, fail(err, "read the audit")
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (access.Entry, error) {
		var e access.Entry
		err := row.Scan(&e.ID, &e.Time, &e.Principal, &e.Action, &e.Object, &e.Reason, &e.Remote, &e.Outcome, &e.Revision)
		e.Time = e.Time.UTC()
		return e, err
	})
	return out, fail(err, "read the audit")
}
