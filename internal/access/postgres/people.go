package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/internal/access"
)

// maxAccounts bounds the accounts of an installation.
const maxAccounts = 10_000

const accountColumns = `name, role, namespaces, created, disabled, last_login`

func scanAccount(row pgx.CollectableRow) (access.Account, error) {
	var a access.Account
	var login *time.Time
	err := row.Scan(&a.Name, &a.Role, &a.Namespaces, &a.Created, &a.Disabled, &login)
	a.Created = a.Created.UTC()
	if login != nil {
		a.LastLogin = login.UTC()
	}
	return a, err
}

func noAccount(name string) error {
	return &access.Error{Code: access.NotFound, Message: "there is no account " + name, Fix: "`weir account list` shows those there are"}
}

// Accounts lists the accounts, disabled ones included, sorted by name.
func (s *Store) Accounts(ctx context.Context) ([]access.Account, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+accountColumns+` FROM access.account ORDER BY name LIMIT $1`, maxAccounts)
	if err != nil {
		return nil, fail(err, "list accounts")
	}
	out, err := pgx.CollectRows(rows, scanAccount)
	if err != nil {
		return nil, fail(err, "list accounts")
	}
	owned, err := s.liveTokens(ctx)
	for i := range out {
		out[i].Tokens = owned[out[i].Name]
	}
	return out, err
}

// liveTokens counts the tokens that are neither revoked nor expired, by their owners.
func (s *Store) liveTokens(ctx context.Context) (map[string]int, error) {
	tokens, err := s.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	now, out := s.now(), map[string]int{}
	for i := range tokens {
		if t := &tokens[i]; t.Expires.IsZero() || t.Expires.After(now) {
			out[t.Owner]++
		}
	}
	return out, nil
}

// CreateAccount makes an account with a password, a random one when it is empty,
// and returns both. Name, Role and Namespaces of a count. Errors: Invalid;
// Conflict when there is one of that name.
func (s *Store) CreateAccount(ctx context.Context, a access.Account, password string) (made access.Account, set string, err error) {
	a = access.Account{Name: a.Name, Role: a.Role, Namespaces: append([]string{}, a.Namespaces...), Created: stamp(s.now())}
	if err := a.Validate(); err != nil {
		return access.Account{}, "", err
	}
	if password == "" {
		password = s.passwords.Random()
	} else if err := access.ValidatePassword(password); err != nil {
		return access.Account{}, "", err
	}
	hash, err := s.passwords.Hash(ctx, password)
	if err != nil {
		return access.Account{}, "", err
	}
	tag, err := s.pool.Exec(ctx, `INSERT INTO access.account (name, role, namespaces, password, created)
		SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM access.account) < $6`,
		a.Name, a.Role, a.Namespaces, hash, a.Created, maxAccounts)
	switch {
	case is(err, uniqueViolation):
		err = &access.Error{Code: access.Conflict, Message: "there is an account " + a.Name + " already", Fix: "choose another name"}
	case err == nil && tag.RowsAffected() == 0:
		err = &access.Error{Code: access.Invalid, Message: "there are too many accounts", Fix: "delete those that nobody uses"}
	}
	if err != nil {
		return access.Account{}, "", fail(err, "make the account "+a.Name)
	}
	return a, password, nil
}

// ChangeAccount changes what an account may do. If that makes a difference, all
// its sessions end; tokens that it owns do not count while it is disabled. Errors: NotFound, Invalid; Conflict when nobody would be left
// who may manage people.
func (s *Store) ChangeAccount(ctx context.Context, name string, c access.AccountChange) (access.Account, error) {
	var changed access.Account
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		was, others, err := lockAccount(ctx, tx, name)
		if err != nil {
			return err
		}
		if changed, err = c.Apply(was); err != nil {
			return err
		}
		if changed.Role == was.Role && changed.Disabled == was.Disabled && slices.Equal(changed.Namespaces, was.Namespaces) {
			return nil
		}
		if was.Manages() && !changed.Manages() && others == 0 {
			return lastAdmin(name)
		}
		if _, err := tx.Exec(ctx, `UPDATE access.account SET role = $2, namespaces = $3, disabled = $4 WHERE name = $1`,
			name, changed.Role, changed.Namespaces, changed.Disabled); err != nil {
			return err
		}
		return endSessions(ctx, tx, name)
	})
	if err != nil {
		return access.Account{}, fail(err, "change the account "+name)
	}
	return changed, nil
}

// DeleteAccount deletes an account with its sessions, and revokes the tokens that it
// owns. Errors: NotFound;
// Conflict when nobody would be left who may manage people.
func (s *Store) DeleteAccount(ctx context.Context, name string) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		was, others, err := lockAccount(ctx, tx, name)
		if err != nil {
			return err
		}
		if was.Manages() && others == 0 {
			return lastAdmin(name)
		}
		// Their rows stay, since audits name them. The account's is locked, so that no
		// other is made for it meanwhile.
		if _, err := tx.Exec(ctx, `UPDATE access.token SET revoked = coalesce(revoked, $2), owner = NULL WHERE owner = $1`, name, stamp(s.now())); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM access.account WHERE name = $1`, name)
		return err
	})
	return fail(err, "delete the account "+name)
}

// lockAccount returns an account and how many others may manage people. All of
// them are held until the transaction ends, so that two admins who take each
// other away come one after the other, and the second finds itself the last.
func lockAccount(ctx context.Context, tx pgx.Tx, name string) (a access.Account, others int, err error) {
	rows, err := tx.Query(ctx, `SELECT `+accountColumns+` FROM access.account
		WHERE name = $1 OR (role = 'admin' AND namespaces = '{}' AND NOT disabled) ORDER BY name FOR UPDATE`, name)
	if err != nil {
		return access.Account{}, 0, err
	}
	found, err := pgx.CollectRows(rows, scanAccount)
	if err != nil {
		return access.Account{}, 0, err
	}
	at := slices.IndexFunc(found, func(a access.Account) bool { return a.Name == name })
	if at < 0 {
		return access.Account{}, 0, noAccount(name)
	}
	return found[at], len(found) - 1, nil
}

func lastAdmin(name string) error {
	return &access.Error{
		Code: access.Conflict, Message: name + " is the last account that may manage people",
		Fix: "give another the role admin without namespaces first",
	}
}
