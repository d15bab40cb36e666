package postgres_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/access/postgres"
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

func TestAccountsTellOfTheTokensThatTheyMade(t *testing.T) {
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
