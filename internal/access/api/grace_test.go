package api_test

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/access/postgres"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

// mortal is a PostgreSQL that a test ends and starts again at one address.
type mortal struct {
	t      *testing.T
	dir    string
	port   int
	server *pg.Server
}

func newMortal(t *testing.T) (*mortal, *pgxpool.Pool) {
	t.Helper()
	m := &mortal{t: t, dir: filepath.Join(testdb.Dir(t), "data")}
	m.start()
	t.Cleanup(m.stop)
	m.port = m.server.Port()
	pool, err := pg.Open(t.Context(), m.server.URL(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := pg.Migrate(t.Context(), pool, postgres.Schema, postgres.Migrations(), nil); err != nil {
		t.Fatal(err)
	}
	return m, pool
}

func (m *mortal) start() {
	m.t.Helper()
	var err error
	if m.server, err = pg.StartServer(m.t.Context(), pg.ServerConfig{Dir: m.dir, Port: m.port, NoFsync: true}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mortal) stop() {
	if m.server == nil {
		return
	}
	if err := m.server.Close(context.Background()); err != nil {
		m.t.Error(err)
	}
	m.server = nil
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

var because = []string{"Weir-Reason", "a test", "Sec-Fetch-Site", "same-origin"}

// Who was logged in goes on reading while the database is away, and nothing more.
func TestReadingGoesOnWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	db, pool := newMortal(t)
	f := setupOn(t, pool)
	admin, mei, left, gone := f.browser(), f.browser(), f.browser(), f.browser()
	f.want(f.login(admin, "admin", f.password), http.StatusOK)
	var ci, old struct{ Secret string }
	f.want(f.do(admin, "POST", "/api/v1/tokens", `{"name":"ci","role":"viewer"}`, &ci, because...), http.StatusCreated)
	f.want(f.do(admin, "POST", "/api/v1/tokens", `{"name":"old","role":"viewer"}`, &old, because...), http.StatusCreated)
	for _, name := range []string{"mei", "left", "gone"} {
		f.want(f.do(admin, "POST", "/api/v1/accounts", `{"name":"`+name+`","role":"viewer","password":"correct horse battery"}`, nil, because...), http.StatusCreated)
	}
	f.want(f.login(mei, "mei", "correct horse battery"), http.StatusOK)
	f.want(f.login(left, "left", "correct horse battery"), http.StatusOK)
	f.want(f.login(gone, "gone", "correct horse battery"), http.StatusOK)
	bearer := func(secret string) []string { return []string{"Authorization", "Bearer " + secret} }
	prove := func() {
		for _, b := range []*http.Client{admin, mei, left, gone} {
			f.want(f.do(b, "GET", "/api/v1/me", "", nil), http.StatusOK)
		}
		f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, bearer(ci.Secret)...), http.StatusOK)
		f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, bearer(old.Secret)...), http.StatusOK)
	}
	prove()
	// What changes is forgotten at once; the others are proven again.
	f.want(f.do(admin, "PATCH", "/api/v1/accounts/left", `{"disabled":true}`, nil, because...), http.StatusOK)
	f.want(f.do(admin, "DELETE", "/api/v1/tokens/old", "", nil, because...), http.StatusNoContent)
	f.want(f.do(admin, "DELETE", "/api/v1/accounts/gone", "", nil, because...), http.StatusNoContent)
	f.want(f.do(admin, "GET", "/api/v1/me", "", nil), http.StatusOK)
	f.want(f.do(mei, "GET", "/api/v1/me", "", nil), http.StatusOK)
	f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, bearer(ci.Secret)...), http.StatusOK)

	db.stop()
	f.pass(access.TokenFor)
	f.want(f.do(admin, "GET", "/api/v1/me", "", nil), http.StatusOK, `"name":"admin"`)
	f.want(f.do(mei, "GET", "/api/v1/me", "", nil), http.StatusOK, `"name":"mei"`)
	f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, bearer(ci.Secret)...), http.StatusOK, `"name":"ci"`)
	for _, b := range []*http.Client{left, gone} {
		f.want(f.do(b, "GET", "/api/v1/me", "", nil), http.StatusServiceUnavailable, "does not answer")
	}
	f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, bearer(old.Secret)...), http.StatusServiceUnavailable, "does not answer")
	// A read that needs the database says so by itself, and a write is refused.
	f.want(f.do(admin, "GET", "/api/v1/audit", "", nil), http.StatusServiceUnavailable, "the database of accounts and audit does not answer")
	f.want(f.do(mei, "GET", "/api/v1/audit", "", nil), http.StatusServiceUnavailable)
	f.want(f.do(admin, "DELETE", "/api/v1/tokens/ci", "", nil, because...), http.StatusServiceUnavailable, "nothing was done: the database does not answer")
	f.want(f.login(f.browser(), "admin", f.password), http.StatusServiceUnavailable, "does not answer")
	// A logout counts here at once, also in the browser.
	stolen := mei.Jar.Cookies(must(url.Parse(f.srv.URL)))[0].Value
	f.want(f.do(mei, "POST", "/api/v1/logout", "", nil, because...), http.StatusServiceUnavailable, "this browser is logged out")
	if left := mei.Jar.Cookies(must(url.Parse(f.srv.URL))); len(left) != 0 {
		t.Errorf("the browser keeps %v", left)
	}
	cookie := []string{"Cookie", access.SessionCookie + "=" + stolen}
	f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, cookie...), http.StatusServiceUnavailable)

	// The database is back, and its word counts: another control plane has ended all.
	db.start()
	other := postgres.NewStore(pool)
	await(t, func() error { return other.RevokeToken(t.Context(), "ci") })
	if _, err := other.SetPassword(t.Context(), "admin", ""); err != nil {
		t.Fatal(err)
	}
	refused := func(when string, status int) {
		t.Helper()
		if got := f.do(admin, "GET", "/api/v1/me", "", nil).StatusCode; got != status {
			t.Errorf("%s a session is answered %d", when, got)
		}
		if got := f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, bearer(ci.Secret)...).StatusCode; got != status {
			t.Errorf("%s a token is answered %d", when, got)
		}
	}
	f.pass(access.TokenFor)
	refused("once the database has said so", http.StatusUnauthorized)
	db.stop()
	refused("away again", http.StatusServiceUnavailable)
}

// await tries again until something succeeds, or the test's time is over.
func await(t *testing.T, try func() error) {
	t.Helper()
	for {
		err := try()
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "does not answer") {
			t.Fatal(err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
