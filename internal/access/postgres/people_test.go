package postgres_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/access/postgres"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

// people makes accounts, all with the same password.
func people(t *testing.T, s *postgres.Store, accounts ...access.Account) {
	t.Helper()
	for _, a := range accounts {
		if _, _, err := s.CreateAccount(t.Context(), a, samePassword); err != nil {
			t.Fatal(err)
		}
	}
}

const samePassword = "a password for all"

func session(t *testing.T, s *postgres.Store, name string) (secret string) {
	t.Helper()
	secret, _, err := s.Login(t.Context(), name, samePassword, "10.0.0.1")
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return secret
}

func wantAlive(t *testing.T, s *postgres.Store, secret string, want bool) {
	t.Helper()
	if _, err := s.Session(t.Context(), access.HashSecret(secret)); (err == nil) != want {
		t.Errorf("the session: %v, want alive: %t", err, want)
	}
}

func TestAccounts(t *testing.T) {
	s, c, _ := setup(t)
	ctx := t.Context()
	made, password, err := s.CreateAccount(ctx, access.Account{Name: "mei.chen", Role: access.Operator, Namespaces: []string{"shop"}}, "")
	if err != nil || len(password) != 23 || !made.Created.Equal(c.now()) {
		t.Fatalf("%+v, %q, %v", made, password, err)
	}
	_, _, err = s.CreateAccount(ctx, access.Account{Name: "mei.chen", Role: access.Viewer}, "")
	wantCode(t, err, access.Conflict)
	people(t, s, access.Account{Name: "admin", Role: access.Admin})
	c.add(time.Minute)
	if _, a, err := s.Login(ctx, "mei.chen", password, ""); err != nil || a.Role != access.Operator || len(a.Namespaces) != 1 || !a.LastLogin.Equal(c.now()) {
		t.Errorf("%+v, %v", a, err)
	}
	list, err := s.Accounts(ctx)
	if err != nil || len(list) != 2 || list[0].Name != "admin" || !list[0].LastLogin.IsZero() || list[0].Namespaces == nil || !list[1].LastLogin.Equal(c.now()) {
		t.Errorf("%+v, %v", list, err)
	}
	for field, bad := range map[string]access.Account{
		"name":       {Name: "Mei Chen", Role: access.Viewer},
		"role":       {Name: "a", Role: "root"},
		"namespaces": {Name: "a", Role: access.Viewer, Namespaces: []string{"shop/x"}},
	} {
		_, _, err := s.CreateAccount(ctx, bad, "")
		var e *access.Error
		if !errors.As(err, &e) || e.Code != access.Invalid || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, _, err = s.CreateAccount(ctx, access.Account{Name: "a", Role: access.Viewer}, "short")
	wantCode(t, err, access.Invalid)

	if err := s.DeleteAccount(ctx, "mei.chen"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.DeleteAccount(ctx, "mei.chen"), access.NotFound)
	_, err = s.ChangeAccount(ctx, "mei.chen", access.AccountChange{})
	wantCode(t, err, access.NotFound)
}

// Whatever changes what somebody may do ends what they have open.
func TestSessionsEndWithWhatTheyWereBegunFor(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	people(t, s, access.Account{Name: "admin", Role: access.Admin}, access.Account{Name: "mei", Role: access.Operator})
	other := session(t, s, "admin")
	viewer, yes, no, shop := access.Viewer, true, false, []string{"shop"}
	for name, c := range map[string]access.AccountChange{
		"role":       {Role: &viewer},
		"namespaces": {Namespaces: &shop},
		"disabling":  {Disabled: &yes},
	} {
		if _, err := s.ChangeAccount(ctx, "mei", access.AccountChange{Role: new(access.Operator), Namespaces: &[]string{}, Disabled: &no}); err != nil {
			t.Fatal(err)
		}
		secret := session(t, s, "mei")
		if _, err := s.ChangeAccount(ctx, "mei", access.AccountChange{Disabled: &no}); err != nil {
			t.Fatal(err)
		}
		wantAlive(t, s, secret, true) // nothing has changed
		if _, err := s.ChangeAccount(ctx, "mei", c); err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		wantAlive(t, s, secret, false)
	}
	if _, err := s.ChangeAccount(ctx, "mei", access.AccountChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Login(ctx, "mei", samePassword, "")
	wantDenied(t, err)
	if err == nil || !strings.Contains(err.Error(), "is disabled") {
		t.Errorf("one who knows the password is told %v", err)
	}
	if _, _, err = s.Login(ctx, "mei", "wrong", ""); err == nil || strings.Contains(err.Error(), "disabled") {
		t.Errorf("one who guesses is told %v", err)
	}
	// A new password does not let a disabled account in.
	if _, err := s.SetPassword(ctx, "mei", samePassword); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Login(ctx, "mei", samePassword, "")
	wantDenied(t, err)
	if _, err := s.ChangeAccount(ctx, "mei", access.AccountChange{Disabled: &no}); err != nil {
		t.Fatal(err)
	}
	secret := session(t, s, "mei")
	if err := s.DeleteAccount(ctx, "mei"); err != nil {
		t.Fatal(err)
	}
	wantAlive(t, s, secret, false)
	wantAlive(t, s, other, true)
}

// A login that runs while the account is disabled ends without a session that
// counts, whichever comes first.
func TestNoSessionSlipsPastDisabling(t *testing.T) {
	s, _, db := setup(t)
	ctx := t.Context()
	people(t, s, access.Account{Name: "admin", Role: access.Admin}, access.Account{Name: "mei", Role: access.Viewer})
	yes, no := true, false
	for range 10 {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { _, _, _ = s.Login(ctx, "mei", samePassword, "") })
		}
		all.Go(func() {
			if _, err := s.ChangeAccount(ctx, "mei", access.AccountChange{Disabled: &yes}); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		var left int
		if err := db.Pool().QueryRow(ctx, "SELECT count(*) FROM access.session WHERE account = 'mei'").Scan(&left); err != nil || left != 0 {
			t.Fatalf("%d sessions of a disabled account, %v", left, err)
		}
		if _, err := s.ChangeAccount(ctx, "mei", access.AccountChange{Disabled: &no}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheLastAdminStays(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	operator, yes, shop := access.Operator, true, []string{"shop"}
	people(t, s, access.Account{Name: "admin", Role: access.Admin},
		access.Account{Name: "mei", Role: access.Admin, Namespaces: shop}) // who may not manage people
	for _, c := range []access.AccountChange{{Role: &operator}, {Disabled: &yes}, {Namespaces: &shop}} {
		_, err := s.ChangeAccount(ctx, "admin", c)
		wantCode(t, err, access.Conflict)
	}
	wantCode(t, s.DeleteAccount(ctx, "admin"), access.Conflict)
	if _, err := s.ChangeAccount(ctx, "mei", access.AccountChange{Namespaces: &[]string{}}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAccount(ctx, "admin"); err != nil {
		t.Fatal(err)
	}
	// The next start does not bring it back.
	if password, err := s.Ensure(ctx, "admin", access.Admin); err != nil || password != "" {
		t.Errorf("%q, %v", password, err)
	}
	if list, err := s.Accounts(ctx); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// Admins who take one another away at the same time do not all succeed.
func TestTheLastAdminStaysUnderConcurrency(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	names := []string{"a", "b", "c", "d", "e", "f"}
	viewer, yes := access.Viewer, true
	for _, name := range names {
		people(t, s, access.Account{Name: name, Role: access.Admin})
	}
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			var err error
			switch i % 3 {
			case 0:
				err = s.DeleteAccount(ctx, name)
			case 1:
				_, err = s.ChangeAccount(ctx, name, access.AccountChange{Role: &viewer})
			case 2:
				_, err = s.ChangeAccount(ctx, name, access.AccountChange{Disabled: &yes})
			}
			if err != nil {
				wantCode(t, err, access.Conflict)
			}
		})
	}
	all.Wait()
	list, err := s.Accounts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, a := range list {
		if a.Manages() {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d are left who may manage people: %+v", left, list)
	}
}

func TestAccountsTellOfTheTokensThatTheyOwn(t *testing.T) {
	s, c, _ := setup(t)
	ctx := t.Context()
	people(t, s, access.Account{Name: "mei", Role: access.Admin}, access.Account{Name: "wang", Role: access.Admin})
	for name, expires := range map[string]time.Time{"kept": {}, "revoked": {}, "expired": c.now().Add(time.Minute), "later": c.now().Add(time.Hour)} {
		if _, _, err := s.CreateToken(ctx, access.Token{Name: name, Role: access.Viewer, CreatedBy: "user:mei", Expires: expires}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.RevokeToken(ctx, "revoked"); err != nil {
		t.Fatal(err)
	}
	c.add(2 * time.Minute)
	list, err := s.Accounts(ctx)
	if err != nil || len(list) != 2 || list[0].Tokens != 2 || list[1].Tokens != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// What a person made counts no longer than they do, however they made it.
func TestTokensCountWhileTheirOwnerDoes(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	people(t, s, access.Account{Name: "mei", Role: access.Admin}, access.Account{Name: "wang", Role: access.Admin})
	secrets := map[string]string{}
	for _, made := range []struct{ name, by string }{{"own", "user:mei"}, {"second", "token:own"}, {"third", "token:second"}, {"other", "user:wang"}, {"cli", "weir up"}} {
		secret, token, err := s.CreateToken(ctx, access.Token{Name: made.name, Role: access.Admin, CreatedBy: made.by})
		if err != nil {
			t.Fatal(err)
		}
		secrets[made.name] = secret
		if want := map[string]string{"other": "wang", "cli": ""}; token.Owner != "mei" && token.Owner != want[made.name] {
			t.Errorf("%s is owned by %q", made.name, token.Owner)
		}
	}
	counts := func(when string, want map[string]bool) {
		t.Helper()
		for name, secret := range secrets {
			_, err := s.TokenOf(ctx, access.HashSecret(secret))
			if err != nil && access.CodeOf(err) != access.NotFound {
				t.Fatal(err)
			}
			if (err == nil) != want[name] {
				t.Errorf("%s, %s counts: %t", when, name, err == nil)
			}
		}
	}
	all := map[string]bool{"own": true, "second": true, "third": true, "other": true, "cli": true}
	rest := map[string]bool{"other": true, "cli": true}
	counts("at first", all)
	for _, disabled := range []bool{true, false, true} {
		if _, err := s.ChangeAccount(ctx, "mei", access.AccountChange{Disabled: &disabled}); err != nil {
			t.Fatal(err)
		}
		want := all
		if disabled {
			want = rest
		}
		counts(fmt.Sprintf("disabled: %t", disabled), want)
		list, err := s.Tokens(ctx)
		if err != nil || len(list) != len(all) {
			t.Fatalf("%+v, %v", list, err)
		}
		for _, token := range list {
			if token.Suspended == want[token.Name] {
				t.Errorf("disabled: %t, and the list says of %s that it is suspended: %t", disabled, token.Name, token.Suspended)
			}
		}
	}
	// Who comes after them by the same name owns nothing of it.
	if err := s.DeleteAccount(ctx, "mei"); err != nil {
		t.Fatal(err)
	}
	counts("deleted", rest)
	people(t, s, access.Account{Name: "mei", Role: access.Admin})
	counts("made again", rest)
	list, err := s.Tokens(ctx)
	if err != nil || len(list) != len(rest) {
		t.Errorf("%+v, %v", list, err)
	}
	// Nobody makes a token that is gone by then.
	for _, by := range []string{"user:gone", "token:own"} {
		_, _, err := s.CreateToken(ctx, access.Token{Name: "late", Role: access.Viewer, CreatedBy: by})
		wantCode(t, err, access.Conflict)
	}
}

// Tokens of before belong to who made them, directly or by another token.
func TestOwnersOfTokensAreFound(t *testing.T) {
	t.Parallel()
	before := fstest.MapFS{}
	for _, name := range []string{"0001_access.sql", "0002_accounts.sql"} {
		raw, err := fs.ReadFile(postgres.Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = &fstest.MapFile{Data: raw}
	}
	pool := testdb.New(t, testdb.Migrated(postgres.Schema, before)).Pool()
	ctx := t.Context()
	if _, err := pool.Exec(ctx, `INSERT INTO access.account (name, role, password, created) SELECT n, 'admin', '$argon2id$x', now() FROM unnest('{mei,wang}'::text[]) n`); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, by string
		revoked  bool
	}{
		{"ci", "user:mei", true}, {"old", "token:ci", false}, {"ci", "user:wang", false}, {"new", "token:ci", false}, {"newer", "token:new", false},
		{"cli", "weir up", false}, {"cli2", "token:cli", false}, {"left", "user:gone", false},
	} {
		if _, err := pool.Exec(ctx, `INSERT INTO access.token (name, hash, kind, role, created, created_by, revoked)
			VALUES ($1, sha256(random()::text::bytea), 'token', 'viewer', now(), $2, CASE WHEN $3 THEN now() END)`, row.name, row.by, row.revoked); err != nil {
			t.Fatal(err)
		}
	}
	if err := pg.Migrate(ctx, pool, postgres.Schema, postgres.Migrations(), nil); err != nil {
		t.Fatal(err)
	}
	list, err := postgres.NewStore(pool).Tokens(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, token := range list {
		got[token.Name] = token.Owner
	}
	want := map[string]string{"old": "mei", "ci": "wang", "new": "wang", "newer": "wang", "cli": "", "cli2": "", "left": ""}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
