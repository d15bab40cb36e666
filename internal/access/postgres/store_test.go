package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/access/postgres"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func setup(t *testing.T) (*postgres.Store, *clock, *testdb.DB) {
	t.Helper()
	t.Parallel()
	db := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	c := &clock{t: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}
	return postgres.NewStore(db.Pool(), postgres.Clock(c.now)), c, db
}

func wantCode(t *testing.T, err error, want access.Code) {
	t.Helper()
	if got := access.CodeOf(err); got != want {
		t.Errorf("got %v (%s), want %s", err, got, want)
	}
}

func wantDenied(t *testing.T, err error) {
	t.Helper()
	var d *access.DeniedError
	if !errors.As(err, &d) || !d.Unknown {
		t.Errorf("got %v, want a denial", err)
	}
}

func TestEnsureShowsThePasswordOnce(t *testing.T) {
	s, _, db := setup(t)
	ctx := t.Context()
	// Several control planes start at once: one of them makes the account.
	passwords := make([]string, 4)
	var all sync.WaitGroup
	for i := range passwords {
		all.Go(func() {
			var err error
			if passwords[i], err = s.Ensure(ctx, "admin", access.Admin); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	password := strings.Join(passwords, "")
	if len(password) != 23 {
		t.Fatalf("the passwords told are %q", passwords)
	}
	if again, err := s.Ensure(ctx, "admin", access.Admin); err != nil || again != "" {
		t.Errorf("told again: %q, %v", again, err)
	}
	var stored string
	if err := db.Pool().QueryRow(ctx, "SELECT password FROM access.account WHERE name = 'admin'").Scan(&stored); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(stored, password) {
		t.Errorf("stored %q", stored)
	}
	_, account, err := s.Login(ctx, "admin", password, "127.0.0.1")
	if err != nil || account.Role != access.Admin {
		t.Errorf("got %+v, %v", account, err)
	}
}

func TestLoginWantsTheRightPassword(t *testing.T) {
	s, _, _ := setup(t)
	ctx := t.Context()
	password, err := s.Ensure(ctx, "admin", access.Admin)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"admin": password + "x", "Admin": password, "nobody": "", "": ""} {
		_, _, err := s.Login(ctx, name, bad, "")
		wantDenied(t, err)
	}
	_, _, err = s.Login(ctx, "admin", strings.Repeat("x", 1<<20), "")
	wantDenied(t, err)
}

func TestSessionsSlideAndEnd(t *testing.T) {
	s, c, _ := setup(t)
	ctx := t.Context()
	password, err := s.Ensure(ctx, "admin", access.Admin)
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := s.Login(ctx, "admin", password, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	alive := func() error {
		a, err := s.Session(ctx, access.HashSecret(secret))
		if err == nil && a.Account.Name != "admin" {
			t.Errorf("it is %+v", a)
		}
		return err
	}
	// Use keeps it alive, up to seven days.
	for range 15 {
		c.add(11 * time.Hour)
		if err := alive(); err != nil {
			t.Fatalf("after %s: %v", c.now(), err)
		}
	}
	c.add(11 * time.Hour) // 176 h: more than seven days
	wantCode(t, alive(), access.NotFound)

	if secret, _, err = s.Login(ctx, "admin", password, ""); err != nil {
		t.Fatal(err)
	}
	c.add(7 * time.Hour)
	if _, err := s.LookAtSession(ctx, access.HashSecret(secret)); err != nil {
		t.Error(err)
	}
	c.add(5 * time.Hour)
	wantCode(t, alive(), access.NotFound) // unused: to be looked at is no use

	if secret, _, err = s.Login(ctx, "admin", password, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Logout(ctx, secret); err != nil {
		t.Fatal(err)
	}
	wantCode(t, alive(), access.NotFound)
	if err := s.Logout(ctx, secret); err != nil {
		t.Errorf("twice: %v", err)
	}

	if secret, _, err = s.Login(ctx, "admin", password, ""); err != nil {
		t.Fatal(err)
	}
	now, err := s.SetPassword(ctx, "admin", "")
	if err != nil || now == password {
		t.Fatalf("%q, %v", now, err)
	}
	wantCode(t, alive(), access.NotFound) // a new password ends all sessions
	_, _, err = s.Login(ctx, "admin", password, "")
	wantDenied(t, err)
	if _, _, err = s.Login(ctx, "admin", now, ""); err != nil {
		t.Error(err)
	}
	_, err = s.SetPassword(ctx, "admin", "short")
	wantCode(t, err, access.Invalid)
	_, err = s.SetPassword(ctx, "nobody", "")
	wantCode(t, err, access.NotFound)
}

func TestTokens(t *testing.T) {
	s, c, db := setup(t)
	ctx := t.Context()
	people(t, s, access.Account{Name: "admin", Role: access.Admin})
	ask := access.Token{Name: "deploy", Role: access.Operator, Namespaces: []string{"shop"}, CreatedBy: "user:admin", Expires: c.now().Add(time.Hour)}
	secret, made, err := s.CreateToken(ctx, ask)
	if err != nil || !strings.HasPrefix(secret, "weir_") || len(secret) != 48 {
		t.Fatalf("%q, %v", secret, err)
	}
	if made.Kind != access.KindToken || !made.Created.Equal(c.now()) {
		t.Errorf("made %+v", made)
	}
	var text string
	if err := db.Pool().QueryRow(ctx, "SELECT row_to_json(t)::text FROM access.token t").Scan(&text); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, secret) || strings.Contains(text, strings.TrimPrefix(secret, access.TokenPrefix)) {
		t.Errorf("the secret is stored: %s", text)
	}
	_, _, err = s.CreateToken(ctx, ask)
	wantCode(t, err, access.Conflict)

	got, err := s.TokenOf(ctx, access.HashSecret(secret))
	if err != nil || got.Name != "deploy" || !got.LastUsed.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if p := got.Principal(); p.String() != "token:deploy" || !p.Can(access.Operator, "shop") || p.Can(access.Operator, "bank") || p.Can(access.Admin, "shop") {
		t.Errorf("may too much or little: %+v", p)
	}
	first := c.now()
	c.add(time.Minute)
	if got, err = s.TokenOf(ctx, access.HashSecret(secret)); err != nil || !got.LastUsed.Equal(first) {
		t.Errorf("%+v, %v", got, err)
	}
	c.add(time.Minute)
	if got, err = s.TokenOf(ctx, access.HashSecret(secret)); err != nil || !got.LastUsed.Equal(first) {
		t.Errorf("used at %s, want it coarse: %v", got.LastUsed, err)
	}
	c.add(time.Hour)
	_, err = s.TokenOf(ctx, access.HashSecret(secret))
	wantCode(t, err, access.NotFound) // expired
	if list, err := s.Tokens(ctx); err != nil || len(list) != 1 || list[0].Name != "deploy" {
		t.Errorf("%+v, %v", list, err)
	}

	if err := s.RevokeToken(ctx, "deploy"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.RevokeToken(ctx, "deploy"), access.NotFound)
	if list, err := s.Tokens(ctx); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}

	// The name is free again, and rotating keeps one of them.
	cli := access.Token{Name: "deploy", Role: access.Admin, CreatedBy: "weir up"}
	old, _, err := s.RotateToken(ctx, cli)
	if err != nil {
		t.Fatal(err)
	}
	now, _, err := s.RotateToken(ctx, cli)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.TokenOf(ctx, access.HashSecret(old))
	wantCode(t, err, access.NotFound)
	if got, err := s.TokenOf(ctx, access.HashSecret(now)); err != nil || got.Role != access.Admin {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	s, c, _ := setup(t)
	for field, bad := range map[string]access.Token{
		"name":       {Name: "Deploy CI", Role: access.Viewer},
		"role":       {Name: "a", Role: "root"},
		"kind":       {Name: "a", Kind: access.KindUser, Role: access.Viewer},
		"namespaces": {Name: "a", Role: access.Viewer, Namespaces: []string{"shop/x"}},
		"expires":    {Name: "a", Role: access.Viewer, Expires: c.now()},
	} {
		_, _, err := s.CreateToken(t.Context(), bad)
		var e *access.Error
		if !errors.As(err, &e) || e.Code != access.Invalid || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, _, err := s.CreateToken(t.Context(), access.Token{Name: "pods", Kind: access.KindInstance, Role: access.Admin})
	wantCode(t, err, access.Invalid)
	secret, _, err := s.CreateToken(t.Context(), access.Token{Name: "pods", Kind: access.KindInstance, Namespaces: []string{"shop", "bank"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.TokenOf(t.Context(), access.HashSecret(secret))
	if p := got.Principal(); err != nil || !p.SpeaksFor("bank") || p.SpeaksFor("kube-system") || p.Can(access.Viewer, "shop") {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestAudit(t *testing.T) {
	s, c, db := setup(t)
	ctx := t.Context()
	add := func(who, action, object string) int64 {
		t.Helper()
		c.add(time.Minute)
		id, err := s.Begin(ctx, access.Entry{Time: c.now(), Principal: who, Action: action, Object: object, Reason: "test", Remote: "10.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	began := c.now()
	one := add("user:admin", "put-route", "route shop/cart")
	two := add("token:ci", "put-policy", "policy shop/inventory")
	three := add("token:ci", "put-route", "route bank/pay")
	if err := s.End(ctx, one, "ok", 118); err != nil {
		t.Fatal(err)
	}
	if err := s.End(ctx, two, "failed: it is at version 4", 0); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.End(ctx, one, "forged", 1), access.NotFound) // an outcome is final
	ids := func(q access.AuditQuery) []int64 {
		t.Helper()
		list, err := s.Audit(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		var out []int64
		for _, e := range list {
			out = append(out, e.ID)
		}
		return out
	}
	for _, c := range []struct {
		q    access.AuditQuery
		want []int64
	}{
		{access.AuditQuery{}, []int64{three, two, one}},
		{access.AuditQuery{Principal: "token:ci"}, []int64{three, two}},
		{access.AuditQuery{Action: "put-route", Object: "route shop/"}, []int64{one}},
		{access.AuditQuery{Object: "route %"}, nil},
		{access.AuditQuery{Limit: 2}, []int64{three, two}},
		{access.AuditQuery{Limit: 2, Before: two}, []int64{one}},
		{access.AuditQuery{From: began, To: began.Add(2 * time.Minute)}, []int64{one}},
	} {
		if got := ids(c.q); len(got) != len(c.want) || len(got) > 0 && (got[0] != c.want[0] || got[len(got)-1] != c.want[len(got)-1]) {
			t.Errorf("%+v: got %v, want %v", c.q, got, c.want)
		}
	}
	list, err := s.Audit(ctx, access.AuditQuery{Limit: 3})
	if err != nil || list[2].Outcome != "ok" || list[2].Revision != 118 || list[2].Reason != "test" || list[1].Outcome != "failed: it is at version 4" || list[0].Outcome != "" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, bad := range []access.AuditQuery{{Limit: 1001}, {Limit: -1}, {From: c.now(), To: began}, {Before: -1}} {
		_, err := s.Audit(ctx, bad)
		wantCode(t, err, access.Invalid)
	}
	db.Pool().Close()
	_, err = s.Begin(ctx, access.Entry{Principal: "a", Action: "b"})
	wantCode(t, err, access.Unavailable)
	_, err = s.TokenOf(ctx, bytes.Repeat([]byte{1}, 32))
	wantCode(t, err, access.Unavailable)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.Session(gone, bytes.Repeat([]byte{1}, 32))
	wantCode(t, err, access.Unavailable)
}
