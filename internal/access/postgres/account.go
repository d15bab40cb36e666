package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/internal/access"
)

// How long sessions live.
const (
	// SessionFor is how long an unused session lives on.
	SessionFor = 12 * time.Hour
	// SessionAtMost is how long one lives that is used all the time.
	SessionAtMost = 7 * 24 * time.Hour
	// slideEvery is how coarsely use is noted.
	slideEvery = time.Minute
)

// Ensure makes an account with a random password unless there is one of that
// name. The password is returned only when the account was made; it is kept
// nowhere else.
func (s *Store) Ensure(ctx context.Context, name string, role access.Role) (password string, err error) {
	var there bool
	if err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM access.account WHERE name = $1)`, name).Scan(&there); err != nil || there {
		return "", fail(err, "look for the account "+name)
	}
	password = s.passwords.Random()
	hash, err := s.passwords.Hash(ctx, password)
	if err != nil {
		return "", err
	}
	tag, err := s.pool.Exec(ctx, `INSERT INTO access.account (name, role, password, created) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		name, role, hash, stamp(s.now()))
	if err != nil || tag.RowsAffected() == 0 { // another was faster
		return "", fail(err, "make the account "+name)
	}
	return password, nil
}

// SetPassword gives an account a new password, a random one when it is empty,
// ends all its sessions, and returns the password. Errors: NotFound, Invalid.
func (s *Store) SetPassword(ctx context.Context, name, password string) (string, error) {
	if password == "" {
		password = s.passwords.Random()
	} else if err := access.ValidatePassword(password); err != nil {
		return "", err
	}
	hash, err := s.passwords.Hash(ctx, password)
	if err != nil {
		return "", err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE access.account SET password = $2 WHERE name = $1`, name, hash)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return &access.Error{Code: access.NotFound, Message: "there is no account " + name}
		}
		_, err = tx.Exec(ctx, `DELETE FROM access.session WHERE account = $1`, name)
		return err
	})
	return password, fail(err, "change the password of "+name)
}

// Login checks a password and begins a session; the secret is for the person's
// cookie. Errors: a *access.DeniedError with Unknown for a wrong name or
// password.
func (s *Store) Login(ctx context.Context, name, password, remote string) (secret string, a access.Account, err error) {
	a.Name = name
	var hash string
	err = s.pool.QueryRow(ctx, `SELECT role, namespaces, created, password FROM access.account WHERE name = $1`, name).
		Scan(&a.Role, &a.Namespaces, &a.Created, &hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", access.Account{}, fail(err, "look for the account")
	}
	ok, err := s.passwords.Check(ctx, password, hash)
	if err != nil {
		return "", access.Account{}, err
	}
	if !ok {
		return "", access.Account{}, &access.DeniedError{Unknown: true, Message: "name or password is wrong"}
	}
	a.Created = a.Created.UTC()
	secret = access.NewSession()
	now := stamp(s.now())
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM access.session WHERE expires <= $1`, now); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO access.session (hash, account, created, expires, ends, remote) VALUES ($1, $2, $3, $4, $5, $6)`,
			access.HashSecret(secret), name, now, now.Add(SessionFor), now.Add(SessionAtMost), remote)
		return err
	})
	if err != nil {
		return "", access.Account{}, fail(err, "begin a session")
	}
	return secret, a, nil
}

// Logout ends a session; one that is not there is no error.
func (s *Store) Logout(ctx context.Context, secret string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM access.session WHERE hash = $1`, access.HashSecret(secret))
	return fail(err, "end the session")
}

// Session implements access.Secrets.
func (s *Store) Session(ctx context.Context, hash []byte) (access.Account, error) {
	var a access.Account
	var expires, ends time.Time
	now := stamp(s.now())
	err := s.pool.QueryRow(ctx, `SELECT a.name, a.role, a.namespaces, a.created, s.expires, s.ends
		FROM access.session s JOIN access.account a ON a.name = s.account WHERE s.hash = $1 AND s.expires > $2`, hash, now).
		Scan(&a.Name, &a.Role, &a.Namespaces, &a.Created, &expires, &ends)
	if errors.Is(err, pgx.ErrNoRows) {
		return access.Account{}, &access.Error{Code: access.NotFound, Message: "there is no such session"}
	}
	if err != nil {
		return access.Account{}, fail(err, "look for the session")
	}
	a.Created = a.Created.UTC()
	slid := now.Add(SessionFor)
	if slid.After(ends) {
		slid = ends
	}
	if slid.Sub(expires) >= slideEvery {
		// A session that cannot be made longer is still one.
		_, _ = s.pool.Exec(ctx, `UPDATE access.session SET expires = $2 WHERE hash = $1`, hash, slid)
	}
	return a, nil
}
