package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/internal/access"
)

// useEvery is how coarsely the use of a token is noted.
const useEvery = 5 * time.Minute

// maxTokens bounds the tokens of an installation.
const maxTokens = 10_000

// CreateToken makes a token and returns its secret, which is kept nowhere.
// Name, Kind, Role, Namespaces, Expires and CreatedBy of t count: its owner is the
// account that made it, or that of the token that did. Errors: Invalid; Conflict
// when there is one of that name, or no such account any more.
func (s *Store) CreateToken(ctx context.Context, t access.Token) (secret string, made access.Token, err error) {
	t, secret, err = s.prepare(t)
	if err != nil {
		return "", access.Token{}, err
	}
	err = insertToken(ctx, s.pool, &t, secret)
	switch {
	case is(err, uniqueViolation):
		err = &access.Error{Code: access.Conflict, Message: "there is a token " + t.Name + " already", Fix: "revoke it first, or choose another name"}
	case is(err, foreignKeyViolation):
		err = &access.Error{Code: access.Conflict, Message: "the account that makes the token was deleted"}
	}
	if err != nil {
		return "", access.Token{}, fail(err, "make the token "+t.Name)
	}
	return secret, t, nil
}

// RotateToken makes a token in place of the one of its name, if there is one,
// which is revoked.
func (s *Store) RotateToken(ctx context.Context, t access.Token) (secret string, made access.Token, err error) {
	t, secret, err = s.prepare(t)
	if err != nil {
		return "", access.Token{}, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE access.token SET revoked = $2 WHERE name = $1 AND revoked IS NULL`, t.Name, t.Created); err != nil {
			return err
		}
		return insertToken(ctx, tx, &t, secret)
	})
	if err != nil {
		return "", access.Token{}, fail(err, "make the token "+t.Name)
	}
	return secret, t, nil
}

func (s *Store) prepare(t access.Token) (access.Token, string, error) {
	t.Created, t.LastUsed, t.Owner, t.Suspended = stamp(s.now()), time.Time{}, "", false
	if t.Kind == "" {
		t.Kind = access.KindToken
	}
	if !t.Expires.IsZero() {
		t.Expires = stamp(t.Expires)
	}
	if t.Namespaces == nil {
		t.Namespaces = []string{}
	}
	return t, access.NewToken(), t.Validate(t.Created)
}

// execer is a pool or a transaction.
type execer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// insertToken keeps a token, and says whose it is.
func insertToken(ctx context.Context, db execer, t *access.Token, secret string) error {
	var expires *time.Time
	if !t.Expires.IsZero() {
		expires = &t.Expires
	}
	var err error
	if t.Owner, err = ownerOf(ctx, db, t.CreatedBy); err != nil {
		return err
	}
	var id int64
	err = db.QueryRow(ctx, `INSERT INTO access.token (name, hash, kind, role, namespaces, created, created_by, expires, owner)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, nullif($10, '') WHERE (SELECT count(*) FROM access.token WHERE revoked IS NULL) < $9 RETURNING id`,
		t.Name, access.HashSecret(secret), t.Kind, t.Role, t.Namespaces, t.Created, t.CreatedBy, expires, maxTokens, t.Owner).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return &access.Error{Code: access.Invalid, Message: "there are too many tokens", Fix: "revoke those that nobody uses"}
	}
	return err
}

// ownerOf returns the account behind the one who makes a token, empty for none.
// Should it be deleted meanwhile, it is no longer there to be referred to.
func ownerOf(ctx context.Context, db execer, maker string) (owner string, err error) {
	kind, name, _ := strings.Cut(maker, ":")
	switch access.Kind(kind) {
	case access.KindUser:
		return name, nil
	case access.KindToken:
		err = db.QueryRow(ctx, `SELECT coalesce(owner, '') FROM access.token WHERE name = $1 AND revoked IS NULL`, name).Scan(&owner)
		if errors.Is(err, pgx.ErrNoRows) {
			return "", &access.Error{Code: access.Conflict, Message: "the token that makes it was revoked"}
		}
	}
	return owner, err
}

const (
	tokenColumns = `t.name, t.kind, t.role, t.namespaces, t.created, t.created_by, coalesce(t.owner, ''), coalesce(a.disabled, false), t.expires, t.last_used`
	// ownedTokens are the tokens with their owners, where they have any.
	ownedTokens = `access.token t LEFT JOIN access.account a ON a.name = t.owner`
)

func scanToken(row pgx.CollectableRow) (access.Token, error) {
	var t access.Token
	var expires, used *time.Time
	err := row.Scan(&t.Name, &t.Kind, &t.Role, &t.Namespaces, &t.Created, &t.CreatedBy, &t.Owner, &t.Suspended, &expires, &used)
	t.Created = t.Created.UTC()
	if expires != nil {
		t.Expires = expires.UTC()
	}
	if used != nil {
		t.LastUsed = used.UTC()
	}
	return t, err
}

// Tokens lists the tokens that are not revoked, expired and suspended ones included,
// sorted by name.
func (s *Store) Tokens(ctx context.Context) ([]access.Token, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+tokenColumns+` FROM `+ownedTokens+` WHERE t.revoked IS NULL ORDER BY t.name LIMIT $1`, maxTokens)
	if err != nil {
		return nil, fail(err, "list tokens")
	}
	out, err := pgx.CollectRows(rows, scanToken)
	return out, fail(err, "list tokens")
}

// RevokeToken ends a token. Errors: NotFound.
func (s *Store) RevokeToken(ctx context.Context, name string) error {
	tag, err := s.pool.Exec(ctx, `UPDATE access.token SET revoked = $2 WHERE name = $1 AND revoked IS NULL`, name, stamp(s.now()))
	if err == nil && tag.RowsAffected() == 0 {
		return &access.Error{Code: access.NotFound, Message: "there is no token " + name, Fix: "`weir token list` shows those there are"}
	}
	return fail(err, "revoke the token "+name)
}

// TokenOf implements access.Secrets.
func (s *Store) TokenOf(ctx context.Context, hash []byte) (access.Token, error) {
	now := stamp(s.now())
	rows, err := s.pool.Query(ctx, `SELECT `+tokenColumns+` FROM `+ownedTokens+`
		WHERE t.hash = $1 AND t.revoked IS NULL AND (t.expires IS NULL OR t.expires > $2) AND a.disabled IS NOT TRUE`, hash, now)
	if err != nil {
		return access.Token{}, fail(err, "look for the token")
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanToken)
	if errors.Is(err, pgx.ErrNoRows) {
		return access.Token{}, &access.Error{Code: access.NotFound, Message: "there is no such token"}
	}
	if err != nil {
		return access.Token{}, fail(err, "look for the token")
	}
	if now.Sub(t.LastUsed) >= useEvery {
		// When it was last used is for people to look at: a failure harms nobody.
		_, _ = s.pool.Exec(ctx, `UPDATE access.token SET last_used = $2 WHERE hash = $1 AND (last_used IS NULL OR last_used < $2)`, hash, now)
	}
	return t, nil
}
