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
	// endedAtOnce is how many that ended a login clears away.
	endedAtOnce = 1000
	// slideEvery is how coarsely use is noted.
	slideEvery = time.Minute
)

// Ensure makes a first account with a random password, unless there is any: one
// that was deleted since does not come back. The password is returned only when
// the account was made; it is kept nowhere else.
func (s *Store) Ensure(ctx context.Context, name string, role access.Role) (password string, err error) {
	var there bool
	if err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM access.account)`).Scan(&there); err != nil || there {
		return "", fail(err, "look for accounts")
	}
	password = s.passwords.Random()
	hash, err := s.passwords.Hash(ctx, password)
	if err != nil {
		return "", err
	}
	tag, err := s.pool.Exec(ctx, `INSERT INTO access.account (name, role, password, created)
		SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM access.account) ON CONFLICT DO NOTHING`,
		name, role, hash, stamp(s.now()))
	if err != nil || tag.RowsAffected() == 0 { // another was faster
		return "", fail(err, "make the account "+name)
	}
	return password, nil
}

// SetPassword gives an account a new password, a random one when it is empty,
// ends all its sessions, and returns the password. A disabled account stays so.
// Errors: NotFound, Invalid.
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
			return noAccount(name)
		}
		return endSessions(ctx, tx, name)
	})
	return password, fail(err, "change the password of "+name)
}

// Login checks a password and begins a session; the secret is for the person's
// cookie. Errors: a *access.DeniedError with Unknown for a wrong name or
// password, and for an account that is disabled, which only those are told who
// know its password.
func (s *Store) Login(ctx context.Context, name, password, remote string) (secret string, a access.Account, err error) {
	var hash string
	err = s.pool.QueryRow(ctx, `SELECT password, disabled FROM access.account WHERE name = $1`, name).Scan(&hash, &a.Disabled)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", access.Account{}, fail(err, "look for the account")
	}
	ok, err := s.passwords.Check(ctx, password, hash)
	switch {
	case err != nil:
		return "", access.Account{}, err
	case !ok:
		return "", access.Account{}, wrongPassword
	case a.Disabled:
		return "", access.Account{}, &access.DeniedError{Unknown: true, Message: "the account is disabled: ask an admin to enable it"}
	}
	now := stamp(s.now())
	// Those that ended are in nobody's way here, and a lock on one is no reason
	// to wait.
	if _, err := s.pool.Exec(ctx, `DELETE FROM access.session WHERE hash IN (
		SELECT hash FROM access.session WHERE expires <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`, now, endedAtOnce); err != nil {
		return "", access.Account{}, fail(err, "end sessions")
	}
	secret = access.NewSession()
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// The account may have changed since its password was read. By its row this
		// stands in one order with what ends its sessions: either it fails here, or
		// the session is there to be ended.
		rows, err := tx.Query(ctx, `UPDATE access.account SET last_login = $3
			WHERE name = $1 AND password = $2 AND NOT disabled RETURNING `+accountColumns, name, hash, now)
		if err != nil {
			return err
		}
		if a, err = pgx.CollectExactlyOneRow(rows, scanAccount); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO access.session (hash, account, created, expires, ends, remote) VALUES ($1, $2, $3, $4, $5, $6)`,
			access.HashSecret(secret), name, now, now.Add(SessionFor), now.Add(SessionAtMost), remote)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", access.Account{}, wrongPassword
	}
	if err != nil {
		return "", access.Account{}, fail(err, "begin a session")
	}
	return secret, a, nil
}

var wrongPassword = &access.DeniedError{Unknown: true, Message: "name or password is wrong"} //nolint:errname // it is a value of a type that says so

func endSessions(ctx context.Context, tx pgx.Tx, name string) error {
	_, err := tx.Exec(ctx, `DELETE FROM access.session WHERE account = $1`, name)
	return err
}

// Logout ends a session; one that is not there is no error.
func (s *Store) Logout(ctx context.Context, secret string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM access.session WHERE hash = $1`, access.HashSecret(secret))
	return fail(err, "end the session")
}

// Session implements access.Secrets.
func (s *Store) Session(ctx context.Context, hash []byte) (access.Session, error) {
	found, ends, err := s.session(ctx, hash)
	if err != nil {
		return access.Session{}, err
	}
	slid := stamp(s.now()).Add(SessionFor)
	if slid.After(ends) {
		slid = ends
	}
	if slid.Sub(found.Expires) >= slideEvery {
		// A session that cannot be made longer is still one.
		if _, err := s.pool.Exec(ctx, `UPDATE access.session SET expires = $2 WHERE hash = $1`, hash, slid); err == nil {
			found.Expires = slid
		}
	}
	return found, nil
}

// LookAtSession implements access.Secrets.
func (s *Store) LookAtSession(ctx context.Context, hash []byte) (access.Session, error) {
	found, _, err := s.session(ctx, hash)
	return found, err
}

// session returns a session that lives, and how long it may at most.
func (s *Store) session(ctx context.Context, hash []byte) (found access.Session, ends time.Time, err error) {
	a := &found.Account
	err = s.pool.QueryRow(ctx, `SELECT a.name, a.role, a.namespaces, a.created, s.expires, s.ends
		FROM access.session s JOIN access.account a ON a.name = s.account WHERE s.hash = $1 AND s.expires > $2 AND NOT a.disabled`, hash, stamp(s.now())).
		Scan(&a.Name, &a.Role, &a.Namespaces, &a.Created, &found.Expires, &ends)
	if errors.Is(err, pgx.ErrNoRows) {
		return access.Session{}, ends, &access.Error{Code: access.NotFound, Message: "there is no such session"}
	}
	if err != nil {
		return access.Session{}, ends, fail(err, "look for the session")
	}
	a.Created = a.Created.UTC()
	return found, ends, nil
}
