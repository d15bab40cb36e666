package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/api"
	"github.com/weirmesh/weir/gateway/gatewaytest"
	"github.com/weirmesh/weir/gateway/postgres"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

// people are who the fixture knows, by token.
var people = map[string]access.Principal{
	"viewer":   {Kind: access.KindUser, Name: "vera", Role: access.Viewer},
	"operator": {Kind: access.KindToken, Name: "deploy", Role: access.Operator},
	"bank":     {Kind: access.KindToken, Name: "bank", Role: access.Operator, Namespaces: []string{"bank"}},
}

type auth struct{}

func (auth) Authenticate(_ context.Context, c access.Credentials) (access.Principal, error) {
	if p, ok := people[c.Bearer]; ok {
		return p, nil
	}
	return access.Principal{}, &access.DeniedError{Unknown: true, Message: "nobody knows this token"}
}

type journal struct {
	mu      sync.Mutex
	entries []access.Entry
}

func (j *journal) Begin(_ context.Context, e access.Entry) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return int64(len(j.entries)), nil
}

func (j *journal) End(_ context.Context, id int64, outcome string, revision int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries[id-1].Outcome, j.entries[id-1].Revision = outcome, revision
	return nil
}

func (j *journal) last() access.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[len(j.entries)-1]
}

// checker knows the application shop/storefront alone.
type checker struct{}

func (checker) Check(_ context.Context, routes []gateway.Route) (out []gateway.Warning) {
	for _, r := range routes {
		if r.Upstream.App != "" && r.Upstream.App != "shop/storefront" {
			out = append(out, gateway.Warning{Key: r.Key(), Field: "upstream.app", Message: "no application " + r.Upstream.App + " is known; did you mean shop/storefront?", Unknown: true})
		}
	}
	return out
}

// explainer says what it was asked; how routes match is tested where they are
// matched.
type explainer struct{}

func (explainer) Explain(_ context.Context, routes []gateway.Version, s gateway.Sample) (gateway.Explanation, error) {
	if s.URL == "" {
		return gateway.Explanation{}, &gateway.Error{Code: gateway.Invalid, Field: "url", Message: "is missing"}
	}
	e := gateway.Explanation{Routes: len(routes), Losers: []gateway.Candidate{}}
	for _, v := range routes {
		c := gateway.Candidate{Key: v.Route.Key(), Revision: v.Revision, Why: s.Method + " " + s.URL, Upstream: v.Route.Upstream.App}
		if e.Winner == nil {
			e.Winner = &c
		} else {
			e.Losers = append(e.Losers, c)
		}
	}
	return e, nil
}

type fixture struct {
	t       *testing.T
	store   *postgres.Store
	journal *journal
	server  *httptest.Server
	client  *http.Client
}

func start(t *testing.T) *fixture {
	t.Helper()
	pool := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations())).Pool()
	f := &fixture{t: t, store: postgres.New(pool, postgres.Options{}), journal: &journal{}}
	t.Cleanup(f.store.Close)
	a := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Auth: auth{}, Audit: f.journal})
	api.Register(a, f.store, api.Options{Explainer: explainer{}, Checker: checker{}})
	f.server = httptest.NewServer(a.Handler())
	t.Cleanup(f.server.Close)
	f.client = f.server.Client()
	return f
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

// do sends a request as operator, with a reason; header is name, value, ….
func (f *fixture) do(method, path, body string, header ...string) answer {
	f.t.Helper()
	return f.send(method, path, strings.NewReader(body), header...)
}

func (f *fixture) send(method, path string, body io.Reader, header ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.server.URL+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer operator")
	req.Header.Set("Weir-Reason", "test")
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := f.client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, raw}
}

type problem struct {
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Errors []struct {
		Location, Message string
	} `json:"errors"`
}

// refused checks that an answer is a problem about places.
func (f *fixture) refused(a answer, status int, places ...string) problem {
	f.t.Helper()
	var p problem
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		f.t.Fatalf("status %d, %s: %s", a.status, ct, a.body)
	}
	a.into(f.t, &p)
	var have []string
	for _, e := range p.Errors {
		have = append(have, e.Location)
	}
	if a.status != status || p.Detail == "" || len(places) > 0 && !slices.Equal(have, places) {
		f.t.Errorf("got %d %s at %v; want %d at %v", a.status, p.Detail, have, status, places)
	}
	return p
}

func route(name, more string) string {
	return fmt.Sprintf(`{"namespace":"shop","name":%q,"match":{"path":"/%s/{id}","method":"GET"},"upstream":{"app":"shop/storefront"}%s}`, name, name, more)
}

func (f *fixture) result(a answer, status int) api.Result {
	f.t.Helper()
	if a.status != status {
		f.t.Fatalf("got %d: %s", a.status, a.body)
	}
	var r api.Result
	a.into(f.t, &r)
	return r
}

func (f *fixture) revision() gateway.Revision {
	f.t.Helper()
	_, rev, err := f.store.List(f.t.Context(), "")
	if err != nil {
		f.t.Fatal(err)
	}
	return rev
}

func TestLifeOfARoute(t *testing.T) {
	t.Parallel()
	f := start(t)
	const at = "/api/v1/routes/shop/cart"
	f.refused(f.do("GET", at, ""), 404)
	f.refused(f.do("GET", at+"/history", ""), 404)

	a := f.do("PUT", at, route("cart", ""), "If-None-Match", "*")
	if r := f.result(a, 201); r.Revision != 1 || len(r.Changes) != 1 || r.Changes[0].Action != api.Create || a.header.Get("ETag") != `"1"` || r.Served != nil {
		t.Errorf("created: %s, %v", a.body, a.header)
	}
	if e := f.journal.last(); e.Principal != "token:deploy" || e.Action != "put-route" || e.Object != "route shop/cart" || e.Reason != "test" || e.Outcome != "ok" || e.Revision != 1 {
		t.Errorf("the audit has %+v", e)
	}
	f.refused(f.do("PUT", at, route("cart", ""), "If-None-Match", "*"), 412)

	a = f.do("GET", at, "", "Authorization", "Bearer viewer")
	var v gateway.Version
	a.into(t, &v)
	if a.status != 200 || a.header.Get("ETag") != `"1"` || v.Actor != "token:deploy" || v.Reason != "test" || v.Route.Match.Path != "/cart/{id}" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := f.do("GET", at, "", "If-None-Match", `"1"`); a.status != 304 || len(a.body) != 0 {
		t.Errorf("got %d %s", a.status, a.body)
	}

	a = f.do("PUT", at, route("cart", `,"priority":7`), "If-Match", `"1"`)
	r := f.result(a, 200)
	if r.Revision != 2 || r.Changes[0].Action != api.Update || r.Changes[0].Before != 1 || len(r.Changes[0].Fields) != 1 || a.header.Get("ETag") != `"2"` {
		t.Errorf("got %s", a.body)
	}
	if d := r.Changes[0].Fields[0]; d.Field != "priority" || d.Before != nil || string(d.After) != "7" {
		t.Errorf("got %+v", d)
	}
	a = f.do("PUT", at, route("cart", `,"priority":7`))
	if r := f.result(a, 200); r.Revision != 2 || r.Changes[0].Action != api.None || a.header.Get("ETag") != `"2"` {
		t.Errorf("unchanged: %s", a.body)
	}
	p := f.refused(f.do("PUT", at, route("cart", `,"priority":8`), "If-Match", `"1"`), 412)
	if !strings.Contains(p.Detail, "revision 2") || !strings.Contains(p.Detail, "token:deploy") {
		t.Errorf("the conflict says %s", p.Detail)
	}
	f.refused(f.do("DELETE", at, "", "If-Match", `"1"`), 412)
	if r := f.result(f.do("DELETE", at, "", "If-Match", `"2"`), 200); r.Revision != 3 || r.Changes[0].Action != api.Remove {
		t.Errorf("got %+v", r)
	}
	f.refused(f.do("DELETE", at, ""), 404)

	var h api.History
	f.do("GET", at+"/history", "").into(t, &h)
	if len(h.Items) != 3 || !h.Items[0].Deleted || h.Items[0].Revision != 3 || h.Items[2].Revision != 1 {
		t.Errorf("history %+v", h)
	}
	f.do("GET", at+"/history?limit=1", "").into(t, &h)
	if len(h.Items) != 1 {
		t.Errorf("history %+v", h)
	}
}

func TestWhatIsWrongIsSaidAtItsPlaceAndChangesNothing(t *testing.T) { //nolint:tparallel // the cases share a store, which must not change
	t.Parallel()
	f := start(t)
	const at = "/api/v1/routes/shop/cart"
	f.result(f.do("PUT", at, route("cart", "")), 201)
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		places                   []string
	}{
		{"garbage", "PUT", at, `{"na`, nil, 422, []string{"body"}},
		{"other type", "PUT", at, `"x"`, nil, 422, []string{"body"}},
		{"nothing", "PUT", at, ``, nil, 400, nil},
		{"unknown fields", "PUT", at, route("cart", `,"prioritee":1,"filters":[{"retry":{"attempts":2,"budget":10}}]`), nil, 422, []string{"body.prioritee", "body.filters[0].retry.budget"}},
		{"everything wrong", "PUT", at, `{"namespace":"shop","name":"cart","match":{"path":"x"},"filters":[{"retry":{"attempts":11}}],"upstream":{}}`, nil, 422, []string{"body.match.path", "body.filters[0].retry.attempts", "body.upstream"}},
		{"another name", "PUT", at, route("other", ""), nil, 422, []string{"body.name"}},
		{"wrong argument type", "PUT", at, `{"namespace":"shop","name":"cart","match":{},"upstream":{"dubbo":{"app":"shop/inventory","interface":"a.B","method":"c","args":[{"type":"not a type","from":"body"}]}}}`, nil, 422, []string{"body.upstream.dubbo.args[0].type"}},
		{"app unknown", "PUT", at, strings.Replace(route("cart", ""), "shop/storefront", "shop/storfront", 1), nil, 422, []string{"body.upstream.app"}},
		{"no reason", "PUT", at, route("cart", ""), []string{"Weir-Reason", ""}, 400, []string{"header.Weir-Reason"}},
		{"no token", "PUT", at, route("cart", ""), []string{"Authorization", ""}, 401, nil},
		{"a viewer writes", "PUT", at, route("cart", ""), []string{"Authorization", "Bearer viewer"}, 403, nil},
		{"another namespace", "PUT", at, route("cart", ""), []string{"Authorization", "Bearer bank"}, 403, nil},
		{"another namespace in a list", "POST", "/api/v1/routes:apply", `{"items":[{"route":` + strings.Replace(route("x", ""), `"shop"`, `"bank"`, 1) + `},{"route":` + route("y", "") + `}]}`, []string{"Authorization", "Bearer bank"}, 403, nil},
		{"reading another namespace", "GET", at, "", []string{"Authorization", "Bearer bank"}, 403, nil},
		{"bad precondition", "PUT", at, route("cart", ""), []string{"If-Match", "1"}, 400, []string{"header.If-Match"}},
		{"bad wait", "PUT", at + "?wait=5", route("cart", ""), nil, 422, nil},
		{"unknown parameter", "PUT", at + "?dryrun=true", route("cart", ""), nil, 400, []string{"query.dryrun"}},
		{"bad limit", "GET", "/api/v1/routes?limit=0", "", nil, 422, nil},
		{"empty list", "POST", "/api/v1/routes:apply", `{"items":[]}`, nil, 400, []string{"body.items"}},
		{"bad list", "POST", "/api/v1/routes:apply", `{"items":[{"route":` + route("a", "") + `},{"route":{"name":"A","namespace":"shop","match":{},"upstream":{}}},{"route":{"namespace":"shop","name":"a"},"delete":true,"expect":-1}]}`, nil, 422,
			[]string{"body.items[1].route.name", "body.items[1].route.upstream", "body.items[2].expect", "body.items[2].route"}},
		{"stale list", "POST", "/api/v1/routes:apply", `{"items":[{"route":` + route("a", "") + `},{"route":` + route("cart", `,"priority":1`) + `,"expect":9}]}`, nil, 409, nil},
		{"sample without a URL", "POST", "/api/v1/routes:explain", `{}`, nil, 422, []string{"body.url"}},
		{"sample with unknown field", "POST", "/api/v1/routes:explain", `{"uri":"/"}`, nil, 422, []string{"body.uri"}},
		{"other method", "PATCH", at, "", nil, 405, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := *f
			sub.t = t
			sub.refused(sub.do(c.method, c.path, c.body, c.header...), c.status, c.places...)
		})
	}
	if rev := f.revision(); rev != 1 {
		t.Errorf("the table is at revision %d: something was written", rev)
	}
}

// endless is a body that is as long as it is let.
type endless struct{ left atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	n := min(int64(len(p)), e.left.Load())
	if n <= 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = ' '
	}
	e.left.Add(-n)
	return int(n), nil
}

func TestABodyOf100MegabytesIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, c := range []struct{ method, path string }{
		{"PUT", "/api/v1/routes/shop/cart"}, {"POST", "/api/v1/routes:apply"}, {"POST", "/api/v1/routes:plan"}, {"POST", "/api/v1/routes:explain"},
	} {
		for _, known := range []bool{true, false} {
			body := &endless{}
			body.left.Store(100 << 20)
			req, err := http.NewRequestWithContext(t.Context(), c.method, f.server.URL+c.path, body)
			if err != nil {
				t.Fatal(err)
			}
			if known {
				req.ContentLength = 100 << 20
			}
			req.Header.Set("Authorization", "Bearer operator")
			req.Header.Set("Weir-Reason", "test")
			req.Header.Set("Content-Type", "application/json")
			resp, err := f.client.Do(req)
			if err != nil {
				// The server answered and closed while the client was still sending.
				if body.left.Load() < 50<<20 {
					t.Errorf("%s %s: %v, after %d bytes were left", c.method, c.path, err, body.left.Load())
				}
				continue
			}
			raw, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge || body.left.Load() < 50<<20 {
				t.Errorf("%s %s: %d %s, %d bytes left", c.method, c.path, resp.StatusCode, raw, body.left.Load())
			}
		}
	}
	if rev := f.revision(); rev != 0 {
		t.Errorf("the table is at revision %d", rev)
	}
}

func TestOneOfManyWritersWins(t *testing.T) {
	t.Parallel()
	f := start(t)
	const at = "/api/v1/routes/shop/cart"
	f.result(f.do("PUT", at, route("cart", "")), 201)
	for round := range 3 {
		etag := f.do("GET", at, "").header.Get("ETag")
		var wg sync.WaitGroup
		statuses := make([]int, 6)
		for i := range statuses {
			wg.Go(func() {
				statuses[i] = f.do("PUT", at, route("cart", fmt.Sprintf(`,"priority":%d`, 100*round+i+1)), "If-Match", etag).status
			})
		}
		wg.Wait()
		slices.Sort(statuses)
		if !slices.Equal(statuses, []int{200, 412, 412, 412, 412, 412}) {
			t.Fatalf("round %d: %v", round, statuses)
		}
	}
}

func TestApplyWritesAllOrNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.result(f.do("PUT", "/api/v1/routes/shop/old", route("old", "")), 201)
	body := `{"items":[{"route":` + route("a", "") + `,"expect":0},{"route":` + route("b", "") + `},{"route":{"namespace":"shop","name":"old"},"delete":true,"expect":1}]}`
	a := f.do("POST", "/api/v1/routes:apply", body)
	r := f.result(a, 200)
	if r.Revision != 2 || len(r.Changes) != 3 || r.Changes[0].Action != api.Create || r.Changes[2].Action != api.Remove || a.header.Get("ETag") != "" {
		t.Errorf("got %s", a.body)
	}
	if e := f.journal.last(); e.Object != "routes shop/a, shop/b, shop/old" || e.Revision != 2 {
		t.Errorf("the audit has %+v", e)
	}
	p := f.refused(f.do("POST", "/api/v1/routes:apply", body), 409)
	if !strings.Contains(p.Detail, "shop/a exists already") || !strings.Contains(p.Detail, "no route shop/old") {
		t.Errorf("not everything is said: %s", p.Detail)
	}
	if rev := f.revision(); rev != 2 {
		t.Errorf("the table is at revision %d", rev)
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.result(f.do("PUT", "/api/v1/routes/shop/cart", route("cart", "")), 201)
	plan := `{"items":[
		{"route":` + route("cart", `,"filters":[{"timeout":{"total":"2s"}},{"retry":{"attempts":3}}]`) + `},
		{"route":{"namespace":"shop","name":"legacy","match":{"path":"/cart/{x}","method":"GET"},"upstream":{"app":"shop/storfront"}}}
	]}`
	for _, c := range []struct {
		path string
		as   string
	}{{"/api/v1/routes:plan", "viewer"}, {"/api/v1/routes:apply?dryRun=true", "operator"}} {
		reason := "rehearsal"
		if c.as == "viewer" {
			reason = ""
		}
		a := f.do("POST", c.path, plan, "Authorization", "Bearer "+c.as, "Weir-Reason", reason)
		r := f.result(a, 200)
		if !r.DryRun || r.Revision != 1 || len(r.Changes) != 2 || r.Changes[0].Action != api.Update || r.Changes[1].Action != api.Create {
			t.Errorf("got %s", a.body)
		}
		if len(r.Warnings) != 1 || r.Warnings[0].Key.Name != "legacy" || !strings.Contains(r.Warnings[0].Message, "did you mean shop/storefront") {
			t.Errorf("warnings %+v", r.Warnings)
		}
		if len(r.Findings) != 1 || r.Findings[0].Key.Name != "legacy" || r.Findings[0].Kind != api.Duplicate || r.Findings[0].Message != "the same match as shop/cart for GET /cart/{x}: it will never match" {
			t.Errorf("findings %+v", r.Findings)
		}
	}
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/api/v1/routes/shop/new?dryRun=true", route("new", "")},
		{"PUT", "/api/v1/routes/shop/cart?dryRun=true", route("cart", `,"priority":1`)},
		{"DELETE", "/api/v1/routes/shop/cart?dryRun=true", ""},
	} {
		if r := f.result(f.do(c.method, c.path, c.body), 200); !r.DryRun || r.Revision != 1 || r.Changes[0].Action == api.None {
			t.Errorf("%s %s: %+v", c.method, c.path, r)
		}
	}
	if e := f.journal.last(); !strings.HasPrefix(e.Object, "dry run: ") || e.Revision != 0 {
		t.Errorf("the audit has %+v", e)
	}
	f.refused(f.do("PUT", "/api/v1/routes/shop/cart?dryRun=true", route("cart", `,"priority":1`), "If-Match", `"9"`), 412)
	f.refused(f.do("DELETE", "/api/v1/routes/shop/none?dryRun=true", ""), 404)
	if rev := f.revision(); rev != 1 {
		t.Errorf("the table is at revision %d", rev)
	}
}

func TestListsAreNarrowedAndPaged(t *testing.T) {
	t.Parallel()
	f := start(t)
	var writes []gateway.Write
	for i := range 5 {
		writes = append(writes, gatewaytest.Put("shop", fmt.Sprint("r", i), "1"), gatewaytest.Put("bank", fmt.Sprint("r", i), "1"))
	}
	if _, err := f.store.Apply(t.Context(), writes, gatewaytest.Because("x")); err != nil {
		t.Fatal(err)
	}
	list := func(query string, header ...string) api.List {
		t.Helper()
		var l api.List
		a := f.do("GET", "/api/v1/routes"+query, "", header...)
		a.into(t, &l)
		return l
	}
	if l := list(""); len(l.Items) != 10 || l.Revision != 1 || l.Next != "" {
		t.Errorf("%d routes, %+v", len(l.Items), l)
	}
	if l := list("?namespace=bank"); len(l.Items) != 5 {
		t.Errorf("%d routes", len(l.Items))
	}
	if l := list("", "Authorization", "Bearer bank"); len(l.Items) != 5 || l.Items[0].Route.Namespace != "bank" {
		t.Errorf("%d routes", len(l.Items))
	}
	f.refused(f.do("GET", "/api/v1/routes?namespace=shop", "", "Authorization", "Bearer bank"), 403)
	var all []string
	for after, pages := "", 0; pages == 0 || after != ""; pages++ {
		l := list("?limit=4&after=" + after)
		for _, v := range l.Items {
			all = append(all, v.Route.Key().String())
		}
		if after = l.Next; pages > 3 {
			t.Fatal("the pages have no end")
		}
	}
	if len(all) != 10 || !slices.IsSorted(all) {
		t.Errorf("pages gave %v", all)
	}
}

func TestExplainAsksForEveryRoute(t *testing.T) {
	t.Parallel()
	f := start(t)
	if _, err := f.store.Apply(t.Context(), []gateway.Write{gatewaytest.Put("bank", "a", "1"), gatewaytest.Put("bank", "b", "1"), gatewaytest.Put("shop", "c", "1")}, gatewaytest.Because("x")); err != nil {
		t.Fatal(err)
	}
	var e gateway.Explanation
	f.do("POST", "/api/v1/routes:explain", `{"method":"GET","url":"/x"}`, "Authorization", "Bearer viewer", "Weir-Reason", "").into(t, &e)
	if e.Routes != 3 || e.Winner == nil || e.Winner.Key.Name != "a" || e.Winner.Why != "GET /x" || len(e.Losers) != 2 {
		t.Errorf("got %+v", e)
	}
	// A deletion is seen at once.
	f.result(f.do("DELETE", "/api/v1/routes/bank/a", ""), 200)
	f.do("POST", "/api/v1/routes:explain", `{"method":"GET","url":"/x"}`).into(t, &e)
	if e.Routes != 2 || e.Winner.Key.Name != "b" {
		t.Errorf("got %+v", e)
	}
}

func TestTheStoreIsAway(t *testing.T) {
	t.Parallel()
	a := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Auth: auth{}, Audit: &journal{}})
	api.Register(a, away{}, api.Options{})
	server := httptest.NewServer(a.Handler())
	defer server.Close()
	f := &fixture{t: t, server: server, client: server.Client()}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/api/v1/routes", ""}, {"GET", "/api/v1/routes/shop/a", ""}, {"PUT", "/api/v1/routes/shop/a", route("a", "")}, {"GET", "/api/v1/gateways", ""},
	} {
		answer := f.do(c.method, c.path, c.body)
		f.refused(answer, 503)
		if answer.header.Get("Retry-After") == "" || strings.Contains(string(answer.body), "10.0.0.1") {
			t.Errorf("%s %s: %s %v", c.method, c.path, answer.body, answer.header)
		}
	}
	f.refused(f.do("POST", "/api/v1/routes:explain", `{"url":"/"}`), 404)
}

// away is a store whose database does not answer.
type away struct{ gateway.Store }

var errAway = &gateway.Error{Code: gateway.Unavailable, Message: "cannot read routes now", Err: errors.New("dial 10.0.0.1: refused")}

func (away) List(context.Context, string) ([]gateway.Version, gateway.Revision, error) {
	return nil, 0, errAway
}

func (away) Get(context.Context, gateway.Key) (gateway.Version, error) {
	return gateway.Version{}, errAway
}

func (away) Nodes(context.Context) ([]gateway.Node, error) { return nil, errAway }

func (away) Since(context.Context, gateway.Revision) (gateway.Delta, error) {
	return gateway.Delta{}, errAway
}
