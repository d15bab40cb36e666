package api_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/access/api"
	"github.com/weirmesh/weir/internal/access/postgres"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

type fixture struct {
	t        *testing.T
	srv      *httptest.Server
	store    *postgres.Store
	auth     *access.Auth
	password string

	mu  sync.Mutex
	now time.Time
}

func setup(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	return setupOn(t, testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations())).Pool())
}

func setupOn(t *testing.T, pool *pgxpool.Pool) *fixture {
	t.Helper()
	f := &fixture{t: t, now: time.Now()}
	clock := func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now }
	f.store = postgres.NewStore(pool, postgres.Clock(clock))
	var err error
	if f.password, err = f.store.Ensure(t.Context(), "admin", access.Admin); err != nil {
		t.Fatal(err)
	}
	f.auth = access.NewAuth(access.AuthConfig{Secrets: f.store, Grace: access.DefaultGrace, Now: clock})
	a := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1", Auth: f.auth, Audit: f.store, Log: slog.New(slog.DiscardHandler)})
	api.Register(a, api.Deps{Store: f.store, Proven: f.auth, Now: clock})
	f.srv = httptest.NewServer(a.Handler())
	t.Cleanup(f.srv.Close)
	return f
}

// do sends a request and decodes the answer into out.
func (f *fixture) do(client *http.Client, method, path, body string, out any, headers ...string) *http.Response {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.srv.URL+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if out != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(raw, out); err != nil {
			f.t.Errorf("%s: %v", raw, err)
		}
	}
	resp.Body = io.NopCloser(strings.NewReader(string(raw)))
	return resp
}

func (f *fixture) want(resp *http.Response, status int, words ...string) {
	f.t.Helper()
	raw, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != status {
		f.t.Errorf("got %s %s, want %d", resp.Status, raw, status)
	}
	for _, w := range words {
		if !strings.Contains(string(raw), w) {
			f.t.Errorf("%q is not in %s", w, raw)
		}
	}
}

func (f *fixture) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	c := *f.srv.Client()
	c.Jar = jar
	return &c
}

func (f *fixture) login(c *http.Client, user, password string) *http.Response {
	f.t.Helper()
	body, err := json.Marshal(map[string]string{"user": user, "password": password})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.do(c, "POST", "/api/v1/login", string(body), nil)
}

func TestSession(t *testing.T) {
	f := setup(t)
	b := f.browser()
	f.want(f.do(b, "GET", "/api/v1/me", "", nil), http.StatusUnauthorized, "log in")
	resp := f.login(b, "admin", f.password)
	f.want(resp, http.StatusOK, `"name":"admin"`)
	set := resp.Header.Get("Set-Cookie")
	for _, want := range []string{"weir_session=", "HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(set, want) {
			t.Errorf("the cookie lacks %s: %s", want, set)
		}
	}
	f.want(f.do(b, "GET", "/api/v1/me", "", nil), http.StatusOK, `{"kind":"user","name":"admin","role":"admin","namespaces":[]}`)
	f.want(f.do(b, "POST", "/api/v1/logout", "", nil, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
	stolen := b.Jar.Cookies(must(url.Parse(f.srv.URL)))[0].Value
	f.want(f.do(b, "POST", "/api/v1/logout", "", nil, "Sec-Fetch-Site", "same-origin"), http.StatusNoContent)
	f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, "Cookie", access.SessionCookie+"="+stolen), http.StatusUnauthorized, "log in again")
	// The password is nowhere in an answer, even to a bad request.
	f.want(f.do(b, "POST", "/api/v1/login", `{"user":"admin","password":["hunter2"]}`, nil), http.StatusUnprocessableEntity, "body.password")
	if raw, _ := io.ReadAll(f.do(b, "POST", "/api/v1/login", `{"user":"admin","password":["hunter2"]}`, nil).Body); strings.Contains(string(raw), "hunter2") {
		t.Errorf("it is in %s", raw)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestGuessingIsSlowedDown(t *testing.T) {
	f := setup(t)
	for range 5 {
		f.want(f.login(f.srv.Client(), "admin", "wrong"), http.StatusUnauthorized, "name or password is wrong")
	}
	resp := f.login(f.srv.Client(), "admin", f.password)
	f.want(resp, http.StatusTooManyRequests, "wait 10 s")
	if resp.Header.Get("Retry-After") != "10" {
		t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
	}
	f.mu.Lock()
	f.now = f.now.Add(10 * time.Second)
	f.mu.Unlock()
	f.want(f.login(f.srv.Client(), "admin", f.password), http.StatusOK)
	for i := 0; ; i++ {
		if resp := f.login(f.srv.Client(), "nobody"+strings.Repeat("x", i), "x"); resp.StatusCode == http.StatusTooManyRequests {
			break // one peer may not try many names either
		}
		if i > 40 {
			t.Fatal("nothing slows this peer down")
		}
	}
	list, err := f.store.Audit(t.Context(), access.AuditQuery{Action: "login", Principal: "user:admin"})
	if err != nil || len(list) != 6 || list[0].Outcome != "ok" || !strings.HasPrefix(list[1].Outcome, "denied: ") {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestTokensAndAudit(t *testing.T) {
	f := setup(t)
	b := f.browser()
	f.want(f.login(b, "admin", f.password), http.StatusOK)
	why := []string{"Weir-Reason", "for the pipeline"}
	f.want(f.do(b, "POST", "/api/v1/tokens", `{"name":"ci","role":"operator"}`, nil), http.StatusBadRequest, "needs a reason")
	f.want(f.do(b, "POST", "/api/v1/tokens", `{"name":"CI 1","role":"operator"}`, nil, why...), http.StatusUnprocessableEntity, "body.name", "choose one such as")
	f.want(f.do(b, "POST", "/api/v1/tokens", `{"name":"ci","role":"root"}`, nil, why...), http.StatusUnprocessableEntity, "body.role")
	var made api.MadeToken
	f.want(f.do(b, "POST", "/api/v1/tokens", `{"name":"ci","role":"operator","namespaces":["shop"]}`, &made, why...), http.StatusCreated)
	f.want(f.do(b, "POST", "/api/v1/tokens", `{"name":"ci","role":"operator"}`, nil, why...), http.StatusConflict, "revoke it first")
	bearer := []string{"Authorization", "Bearer " + made.Secret}
	f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, bearer...), http.StatusOK, `{"kind":"token","name":"ci","role":"operator","namespaces":["shop"]}`)
	f.want(f.do(f.srv.Client(), "GET", "/api/v1/tokens", "", nil, bearer...), http.StatusForbidden, "needs the role admin")
	f.want(f.do(b, "GET", "/api/v1/tokens", "", nil), http.StatusOK, `"createdBy":"user:admin"`)
	f.want(f.do(b, "DELETE", "/api/v1/tokens/ci", "", nil, why...), http.StatusNoContent)
	f.want(f.do(f.srv.Client(), "GET", "/api/v1/me", "", nil, bearer...), http.StatusUnauthorized, "revoked")
	f.want(f.do(b, "DELETE", "/api/v1/tokens/ci", "", nil, why...), http.StatusNotFound, "weir token list")

	var page api.Audit
	f.want(f.do(b, "GET", "/api/v1/audit?limit=2&object=token+ci", "", &page), http.StatusOK)
	if len(page.Items) != 2 || page.Next == 0 || page.Items[0].Action != "revoke-token" || !strings.HasPrefix(page.Items[0].Outcome, "failed: there is no token ci") ||
		page.Items[1].Outcome != "ok" || page.Items[1].Reason != "for the pipeline" || page.Items[1].Principal != "user:admin" {
		t.Errorf("%+v", page)
	}
	f.want(f.do(b, "GET", "/api/v1/audit?limit=0&before=x", "", nil), http.StatusUnprocessableEntity, "query.before")
	f.want(f.do(b, "GET", "/api/v1/audit?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", nil), http.StatusUnprocessableEntity, "query.from")
	f.want(f.do(b, "GET", "/api/v1/audit?form=x", "", nil), http.StatusBadRequest, "query.form")
}

func TestPasswordsChange(t *testing.T) {
	f := setup(t)
	b := f.browser()
	f.want(f.login(b, "admin", f.password), http.StatusOK)
	f.want(f.do(b, "POST", "/api/v1/me/password", `{"current":"wrong","new":"a new long password"}`, nil), http.StatusBadRequest, "current password is wrong")
	f.want(f.do(b, "POST", "/api/v1/me/password", `{"current":"`+f.password+`","new":"short"}`, nil), http.StatusUnprocessableEntity, "body.new")
	f.want(f.do(b, "POST", "/api/v1/me/password", `{"current":"`+f.password+`","new":"a new long password"}`, nil), http.StatusNoContent)
	f.want(f.do(b, "GET", "/api/v1/me", "", nil), http.StatusUnauthorized)
	f.want(f.login(b, "admin", "a new long password"), http.StatusOK)
	var reset struct{ Password string }
	f.want(f.do(b, "POST", "/api/v1/accounts/admin/reset-password", "", &reset, "Weir-Reason", "lost"), http.StatusOK)
	f.want(f.login(b, "admin", reset.Password), http.StatusOK)
	f.want(f.do(b, "POST", "/api/v1/accounts/nobody/reset-password", "", nil, "Weir-Reason", "lost"), http.StatusNotFound)
}

func TestAccounts(t *testing.T) {
	f := setup(t)
	b := f.browser()
	f.want(f.login(b, "admin", f.password), http.StatusOK)
	why := []string{"Weir-Reason", "joined the team"}
	f.want(f.do(b, "POST", "/api/v1/accounts", `{"name":"mei","role":"viewer"}`, nil), http.StatusBadRequest, "needs a reason")
	f.want(f.do(b, "POST", "/api/v1/accounts", `{"name":"Mei Chen","role":"viewer"}`, nil, why...), http.StatusUnprocessableEntity, "body.name")
	f.want(f.do(b, "POST", "/api/v1/accounts", `{"name":"mei","role":"root"}`, nil, why...), http.StatusUnprocessableEntity, "body.role")
	f.want(f.do(b, "POST", "/api/v1/accounts", `{"name":"mei","role":"viewer","password":"short"}`, nil, why...), http.StatusUnprocessableEntity, "body.password")
	var made api.MadeAccount
	resp := f.do(b, "POST", "/api/v1/accounts", `{"name":"mei","role":"operator","namespaces":["shop"]}`, &made, why...)
	f.want(resp, http.StatusCreated, `"namespaces":["shop"]`)
	if resp.Header.Get("Cache-Control") != "no-store" || made.Password == "" {
		t.Errorf("%+v, %v", made, resp.Header)
	}
	f.want(f.do(b, "POST", "/api/v1/accounts", `{"name":"mei","role":"viewer"}`, nil, why...), http.StatusConflict, "choose another name")
	chosen := f.do(b, "POST", "/api/v1/accounts", `{"name":"lee","role":"viewer","password":"a long password"}`, nil, why...)
	if raw := string(must(io.ReadAll(chosen.Body))); strings.Contains(raw, "password") || !strings.Contains(raw, `"namespaces":[]`) {
		t.Errorf("answered %s", raw)
	}

	mei := f.browser()
	f.want(f.login(mei, "mei", made.Password), http.StatusOK, `"role":"operator"`)
	f.want(f.do(mei, "GET", "/api/v1/accounts", "", nil), http.StatusForbidden, "needs the role admin")
	f.want(f.do(mei, "PATCH", "/api/v1/accounts/mei", `{"role":"admin"}`, nil, why...), http.StatusForbidden)
	f.want(f.do(b, "GET", "/api/v1/accounts", "", nil), http.StatusOK, `"lastLogin":`)

	// An admin of a namespace manages nobody.
	f.want(f.do(b, "PATCH", "/api/v1/accounts/mei", `{"role":"admin"}`, nil, why...), http.StatusOK, `"role":"admin"`, `"namespaces":["shop"]`)
	f.want(f.do(mei, "GET", "/api/v1/me", "", nil), http.StatusUnauthorized)
	f.want(f.login(mei, "mei", made.Password), http.StatusOK)
	f.want(f.do(mei, "GET", "/api/v1/accounts", "", nil), http.StatusForbidden)
	f.want(f.do(mei, "DELETE", "/api/v1/accounts/lee", "", nil, why...), http.StatusForbidden)

	for _, body := range []string{`{"role":"viewer"}`, `{"namespaces":["shop"]}`} {
		f.want(f.do(b, "PATCH", "/api/v1/accounts/admin", body, nil, why...), http.StatusConflict, "last account that may manage people")
	}
	f.want(f.do(b, "PATCH", "/api/v1/accounts/mei", `{"namespaces":[]}`, nil, why...), http.StatusOK, `"namespaces":[]`)
	f.want(f.login(mei, "mei", made.Password), http.StatusOK)
	f.want(f.do(mei, "PATCH", "/api/v1/accounts/mei", `{"disabled":true}`, nil, why...), http.StatusConflict, "ask another admin")
	f.want(f.do(mei, "DELETE", "/api/v1/accounts/mei", "", nil, why...), http.StatusConflict, "ask another admin")
	f.want(f.do(mei, "DELETE", "/api/v1/accounts/admin", "", nil, why...), http.StatusNoContent)
	f.want(f.do(b, "GET", "/api/v1/me", "", nil), http.StatusUnauthorized)
	f.want(f.do(mei, "PATCH", "/api/v1/accounts/lee", `{"disabled":true}`, nil, why...), http.StatusOK, `"disabled":true`)
	f.want(f.login(f.browser(), "lee", "a long password"), http.StatusUnauthorized, "is disabled")
	f.want(f.do(mei, "PATCH", "/api/v1/accounts/nobody", `{"disabled":true}`, nil, why...), http.StatusNotFound, "weir account list")

	list, err := f.store.Audit(t.Context(), access.AuditQuery{Object: "account lee"})
	if err != nil || len(list) != 3 || list[0].Action != "change-account" || list[0].Principal != "user:mei" || list[0].Reason != "joined the team" || !strings.HasPrefix(list[1].Outcome, "denied: ") {
		t.Errorf("%+v, %v", list, err)
	}
}

// Garbage as a name is the sender's fault, and nobody is logged in from elsewhere.
func TestLoginTakesNoGarbage(t *testing.T) {
	f := setup(t)
	for body, want := range map[string]int{
		`{"user":"ad\u0000min","password":"x"}`: http.StatusBadRequest,
		`{"user":"ad\nmin","password":"x"}`:     http.StatusBadRequest,
		`{"user":"adm\ud800in","password":"x"}`: http.StatusUnauthorized,
		`{"user":"admin","password":"\u0000"}`:  http.StatusUnauthorized,
	} {
		if resp := f.do(http.DefaultClient, http.MethodPost, "/api/v1/login", body, nil, "Content-Type", "application/json"); resp.StatusCode != want {
			t.Errorf("%s: got %s, want %d", body, resp.Status, want)
		}
	}
	good := `{"user":"admin","password":"` + f.password + `"}`
	resp := f.do(http.DefaultClient, http.MethodPost, "/api/v1/login", good, nil, "Content-Type", "application/json", "Sec-Fetch-Site", "cross-site")
	if resp.StatusCode != http.StatusForbidden || len(resp.Cookies()) != 0 {
		t.Errorf("from another site: %s", resp.Status)
	}
}
