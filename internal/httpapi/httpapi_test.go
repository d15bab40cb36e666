package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// people are who the fixture knows, by token; sessions are the same names.
var people = map[string]access.Principal{
	"viewer":   {Kind: access.KindUser, Name: "vera", Role: access.Viewer},
	"operator": {Kind: access.KindToken, Name: "deploy", Role: access.Operator},
	"shop":     {Kind: access.KindToken, Name: "shop", Role: access.Operator, Namespaces: []string{"shop"}},
	"pod":      {Kind: access.KindInstance, Name: "shop/orders", Instance: &access.Instance{Namespace: "shop"}},
}

type auth struct{}

func (auth) Authenticate(_ context.Context, c access.Credentials) (access.Principal, error) {
	key := c.Bearer + c.Session
	if key == "away" {
		return access.Principal{}, &access.Error{Code: access.Unavailable, Message: "the database does not answer", Err: errors.New("dial 10.0.0.1: refused")}
	}
	if p, ok := people[key]; ok {
		return p, nil
	}
	return access.Principal{}, &access.DeniedError{Unknown: true, Message: "nobody knows this token"}
}

// journal is an Auditor that remembers.
type journal struct {
	mu      sync.Mutex
	entries []access.Entry
	broken  error
}

func (j *journal) Begin(_ context.Context, e access.Entry) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return 0, j.broken
	}
	j.entries = append(j.entries, e)
	return int64(len(j.entries)), nil
}

func (j *journal) End(_ context.Context, id int64, outcome string, revision int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries[id-1].Outcome, j.entries[id-1].Revision = outcome, revision
	return nil
}

func (j *journal) last(t *testing.T) access.Entry {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 {
		t.Fatal("nothing was recorded")
	}
	return j.entries[len(j.entries)-1]
}

type putIn struct {
	Namespace string `path:"namespace"`
	httpapi.Precondition
	httpapi.Wait
	Body struct {
		Name    string           `json:"name"`
		Timeout gateway.Duration `json:"timeout,omitempty"`
		Hosts   gateway.Strings  `json:"hosts,omitempty"`
	}
}

type putOut struct {
	ETag string `header:"ETag"`
	Body struct {
		Name   string `json:"name"`
		Actor  string `json:"actor"`
		Reason string `json:"reason"`
		Expect int64  `json:"expect"`
		Wait   string `json:"wait"`
	}
}

type fixture struct {
	t       *testing.T
	srv     *httptest.Server
	journal *journal
	metrics *prometheus.Registry
	log     *bytes.Buffer
	// fails is what the handlers answer.
	fails error
	// panics is what they panic with.
	panics any
	calls  int
}

func setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, journal: &journal{}, metrics: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	api := httpapi.New(http.NewServeMux(), httpapi.Config{
		Title: "test", Version: "1", Auth: auth{}, Audit: f.journal, Log: slog.New(slog.NewTextHandler(f.log, nil)), MaxBody: 200, Metrics: f.metrics,
	})
	httpapi.Register(api, httpapi.Op[putIn]{
		Operation: huma.Operation{OperationID: "put-thing", Method: http.MethodPut, Path: "/api/v1/{namespace}/thing"},
		Role:      access.Operator, Write: true,
		Namespace: func(in *putIn) string { return in.Namespace },
		Object:    func(in *putIn) string { return "thing " + in.Namespace + "/" + in.Body.Name },
	}, func(ctx context.Context, in *putIn) (*putOut, error) {
		f.calls++
		if f.panics != nil {
			panic(f.panics)
		}
		if f.fails != nil {
			return nil, f.fails
		}
		expect, err := in.Expect()
		if err != nil {
			return nil, err
		}
		wait, err := in.Duration()
		if err != nil {
			return nil, err
		}
		httpapi.Wrote(ctx, 7)
		out := &putOut{ETag: httpapi.ETag(7)}
		out.Body.Name, out.Body.Actor, out.Body.Reason = in.Body.Name, httpapi.Actor(ctx), httpapi.Reason(ctx)
		out.Body.Expect, out.Body.Wait = expect, wait.String()
		return out, nil
	})
	type getIn struct {
		httpapi.Unmodified
		Limit int `query:"limit"`
	}
	type getOut struct {
		ETag string `header:"ETag"`
		Body governance.Version
	}
	httpapi.Register(api, httpapi.Op[getIn]{
		Operation: huma.Operation{OperationID: "get-thing", Method: http.MethodGet, Path: "/api/v1/thing"},
		Role:      access.Viewer, Scoped: true,
	}, func(_ context.Context, in *getIn) (*getOut, error) {
		if f.fails != nil {
			return nil, f.fails
		}
		return &getOut{ETag: httpapi.ETag(3)}, in.Check(httpapi.ETag(3))
	})
	httpapi.Register(api, httpapi.Op[struct{}]{
		Operation: huma.Operation{OperationID: "list-all", Method: http.MethodGet, Path: "/api/v1/all"},
		Role:      access.Viewer,
	}, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }) //nolint:nilnil // no content
	httpapi.Register(api, httpapi.Op[struct{}]{
		Operation: huma.Operation{OperationID: "hello", Method: http.MethodGet, Path: "/api/v1/hello"},
		Public:    true,
	}, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }) //nolint:nilnil // no content
	httpapi.Register(api, httpapi.Op[struct{}]{
		Operation: huma.Operation{OperationID: "greet", Method: http.MethodPost, Path: "/api/v1/hello"},
		Public:    true,
	}, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }) //nolint:nilnil // no content
	api.HandleInstance("POST /api/v1/reports", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := access.RequireInstance(r.Context(), r.URL.Query().Get("app")); err != nil {
			api.WriteProblem(w, r, err)
			return
		}
		var body struct{ Seq int }
		if err := httpapi.Decode(r.Body, &body); err != nil {
			api.WriteProblem(w, r, err)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}), httpapi.Documented(huma.Operation{OperationID: "report"}))
	api.Handle("GET /api/v1/stream", access.Viewer, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "data: 1\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		panic("broken in the middle")
	}))
	f.srv = httptest.NewServer(api.Handler())
	t.Cleanup(f.srv.Close)
	return f
}

type answer struct {
	*http.Response
	raw     string
	problem httpapi.Problem
}

func (f *fixture) do(method, path, body string, headers ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.srv.URL+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := f.srv.Client().Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	a := answer{Response: resp, raw: string(raw)}
	if err != nil && resp.StatusCode != http.StatusOK {
		f.t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(raw, &a.problem); err != nil {
			f.t.Fatalf("%s: %v", raw, err)
		}
	}
	return a
}

// wantProblem fails unless a problem was answered that has all of the words.
func (f *fixture) wantProblem(a answer, status int, words ...string) {
	f.t.Helper()
	if a.StatusCode != status || a.problem.Status != status || a.problem.Type == "" || a.problem.Title == "" {
		f.t.Errorf("got %s with %s, want a problem of status %d", a.Status, a.raw, status)
	}
	for _, w := range words {
		if !strings.Contains(a.raw, w) {
			f.t.Errorf("%q is not in %s", w, a.raw)
		}
	}
}

const put, good = "/api/v1/shop/thing", `{"name":"a"}`

func TestWriteIsKnownExplainedAndRecorded(t *testing.T) {
	f := setup(t)
	a := f.do("PUT", put+"?wait=2s", `{"name":"a","timeout":"5s","hosts":"x.example"}`, "Authorization", "Bearer operator", "Weir-Reason", "caf%C3%A9 is shut", "If-Match", `"12"`)
	if a.StatusCode != http.StatusOK || a.Header.Get("ETag") != `"7"` {
		t.Fatalf("got %s %s", a.Status, a.raw)
	}
	if want := `{"name":"a","actor":"token:deploy","reason":"café is shut","expect":12,"wait":"2s"}`; strings.TrimSpace(a.raw) != want {
		t.Errorf("got %s, want %s", a.raw, want)
	}
	e := f.journal.last(t)
	if e.Action != "put-thing" || e.Object != "thing shop/a" || e.Principal != "token:deploy" || e.Reason != "café is shut" ||
		e.Outcome != "ok" || e.Revision != 7 || e.Remote != "127.0.0.1" || time.Since(e.Time) > time.Hour {
		t.Errorf("recorded %+v", e)
	}
	a = f.do("PUT", put+"?reason=by+query", good, "Authorization", "Bearer shop", "If-None-Match", "*")
	if a.StatusCode != http.StatusOK || !strings.Contains(a.raw, `"expect":0`) || !strings.Contains(a.raw, "by query") {
		t.Errorf("got %s %s", a.Status, a.raw)
	}
}

func TestBadInputIsNamedAndChangesNothing(t *testing.T) {
	f := setup(t)
	who := []string{"Authorization", "Bearer operator"}
	why := []string{"Authorization", "Bearer operator", "Weir-Reason", "test"}
	f.wantProblem(f.do("PUT", put, good, who...), http.StatusBadRequest, "needs a reason", "Weir-Reason")
	f.wantProblem(f.do("PUT", put, good, append(who, "Weir-Reason", "  ")...), http.StatusBadRequest, "needs a reason")
	f.wantProblem(f.do("PUT", put, good, append(who, "Weir-Reason", strings.Repeat("x", 501))...), http.StatusBadRequest, "at most 500")
	f.wantProblem(f.do("PUT", put, good, append(who, "Weir-Reason", "a%0Ab")...), http.StatusBadRequest, "one line")
	f.wantProblem(f.do("PUT", put, good, append(who, "Weir-Reason", "caf\xe9")...), http.StatusBadRequest, "UTF-8")
	f.wantProblem(f.do("PUT", put+"?wiat=5s", good, why...), http.StatusBadRequest, "query.wiat", "there are reason, wait")
	f.wantProblem(f.do("PUT", put+"?wait=5", good, why...), http.StatusUnprocessableEntity, "query.wait", "no duration")
	f.wantProblem(f.do("PUT", put, `{"name":"a","title":"b"}`, why...), http.StatusUnprocessableEntity, "body.title: there is no such field")
	a := f.do("PUT", put, `{"name":7,"timeout":"secret"}`, why...)
	f.wantProblem(a, http.StatusUnprocessableEntity, "body.name", "expected string")
	if strings.Contains(a.raw, "secret") || strings.Contains(a.raw, "value") {
		t.Errorf("what was sent comes back: %s", a.raw)
	}
	f.wantProblem(f.do("PUT", put, `{}`, why...), http.StatusUnprocessableEntity, "name")
	f.wantProblem(f.do("PUT", put, ``, why...), http.StatusBadRequest, "body is required")
	f.wantProblem(f.do("PUT", put, `{"name":`, why...), http.StatusBadRequest, "body")
	f.wantProblem(f.do("PUT", put, `name=a`, append(why, "Content-Type", "application/x-www-form-urlencoded")...), http.StatusUnsupportedMediaType)
	f.wantProblem(f.do("PUT", put, `{"name":"`+strings.Repeat("x", 300)+`"}`, why...), http.StatusRequestEntityTooLarge, "at most 200 bytes")
	f.wantProblem(f.do("POST", "/api/v1/reports?app=shop", `{"seq":`+strings.Repeat("1", 300)+`}`, who...), http.StatusRequestEntityTooLarge, "at most 200 bytes")
	f.wantProblem(f.do("PATCH", put, good, why...), http.StatusMethodNotAllowed, "it takes PUT")
	f.wantProblem(f.do("GET", "/api/v2/thing", "", who...), http.StatusNotFound, "/api/v2/thing")
	if f.calls != 0 || len(f.journal.entries) != 0 {
		t.Errorf("the handler ran %d times, %d were recorded", f.calls, len(f.journal.entries))
	}
	f.wantProblem(f.do("PUT", put+"?wait=1h", good, why...), http.StatusBadRequest, "query.wait")
	f.wantProblem(f.do("PUT", put, good, append(why, "If-Match", "12")...), http.StatusBadRequest, "If-Match")
	if e := f.journal.last(t); !strings.HasPrefix(e.Outcome, "failed: ") {
		t.Errorf("recorded %+v", e)
	}
}

// A body whose length nobody told is cut off as well.
func TestBodyOfUnknownLengthIsBounded(t *testing.T) {
	f := setup(t)
	for _, path := range []string{put, "/api/v1/reports?app=shop"} {
		method := http.MethodPut
		if path != put {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(t.Context(), method, f.srv.URL+path, io.MultiReader(strings.NewReader(`{"name":"`), strings.NewReader(strings.Repeat("x", 1000))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer operator")
		req.Header.Set("Weir-Reason", "test")
		resp, err := f.srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

func TestErrorsBecomeProblems(t *testing.T) {
	f := setup(t)
	cause := errors.New("secret cause")
	for name, c := range map[string]struct {
		err     error
		match   string
		status  int
		says    string
		unsaid  string
		logged  string
		problem string
	}{
		"invalid":      {err: &gateway.Error{Code: gateway.Invalid, Field: "upstream.app", Message: "no such app", Fix: "name one of `weir registry list`"}, status: 422, says: `"location":"body.upstream.app"`},
		"invalid why":  {err: &gateway.Error{Code: gateway.Invalid, Message: "bad pattern", Err: errors.New("missing )")}, status: 422, says: "bad pattern: missing )"},
		"not found":    {err: &governance.Error{Code: governance.NotFound, Message: "there is no policy a"}, status: 404, says: "there is no policy a"},
		"conflict":     {err: &governance.Error{Code: governance.Conflict, Message: "it is at version 4"}, status: 409, says: "it is at version 4"},
		"precondition": {err: &gateway.Error{Code: gateway.Conflict, Message: "it is at revision 4"}, match: `"3"`, status: 412, says: "it is at revision 4"},
		"forbidden":    {err: &registry.Error{Code: registry.Forbidden, Message: "may not list"}, status: 403, says: "may not list"},
		"unavailable":  {err: &gateway.Error{Code: gateway.Unavailable, Message: "the database does not answer", Err: cause}, status: 503, says: "does not answer", unsaid: "secret", logged: "secret cause"},
		"too many":     {err: &access.Error{Code: access.TooMany, Message: "too many tries"}, status: 429, says: "too many tries"},
		"internal":     {err: &gateway.Error{Code: gateway.Internal, Message: "odd row", Err: cause}, status: 500, says: "under id ", unsaid: "odd row", logged: "odd row"},
		"plain":        {err: cause, status: 500, says: "under id ", unsaid: "secret", logged: "secret cause"},
		"problem":      {err: httpapi.BadRequest("query.from", "it is after to"), status: 400, says: "it is after to"},
	} {
		f.fails = c.err
		headers := []string{"Authorization", "Bearer operator", "Weir-Reason", "test"}
		if c.match != "" {
			headers = append(headers, "If-Match", c.match)
		}
		f.log.Reset()
		a := f.do("PUT", put, good, headers...)
		f.wantProblem(a, c.status, c.says)
		if c.unsaid != "" && strings.Contains(a.raw, c.unsaid) {
			t.Errorf("%s: %q leaked in %s", name, c.unsaid, a.raw)
		}
		if !strings.Contains(f.log.String(), c.logged) {
			t.Errorf("%s: logged %q", name, f.log)
		}
		if c.status == http.StatusInternalServerError {
			id := strings.TrimSuffix(a.problem.Detail[strings.LastIndex(a.problem.Detail, " ")+1:], `"`)
			if len(id) < 8 || !strings.Contains(f.log.String(), id) {
				t.Errorf("%s: id %q is not in the log %q", name, id, f.log)
			}
		}
		if e := f.journal.last(t); e.Outcome != "failed: "+a.problem.Detail {
			t.Errorf("%s: recorded %q", name, e.Outcome)
		}
	}
}

func TestPanicsAreContained(t *testing.T) {
	f := setup(t)
	f.panics = "index out of range in secret"
	a := f.do("PUT", put, good, "Authorization", "Bearer operator", "Weir-Reason", "test")
	f.wantProblem(a, http.StatusInternalServerError, "under id ")
	if strings.Contains(a.raw, "secret") || !strings.Contains(f.log.String(), "index out of range in secret") {
		t.Errorf("answered %s, logged %s", a.raw, f.log)
	}
	if e := f.journal.last(t); e.Outcome != "failed: it did not come to its end" {
		t.Errorf("recorded %+v", e)
	}
	// An answer that has begun is cut off, so that nobody takes it for whole.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.srv.URL+"/api/v1/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer viewer")
	resp, err := f.srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, err := io.ReadAll(resp.Body); err == nil || string(raw) != "data: 1\n\n" {
		t.Errorf("got %q and %v", raw, err)
	}
}

func TestWithoutAuditNothingIsWritten(t *testing.T) {
	f := setup(t)
	f.journal.broken = &access.Error{Code: access.Unavailable, Message: "the audit cannot be written"}
	f.wantProblem(f.do("PUT", put, good, "Authorization", "Bearer operator", "Weir-Reason", "test"), http.StatusServiceUnavailable, "nothing was done")
	if f.calls != 0 {
		t.Error("the handler ran")
	}
}

func TestMetrics(t *testing.T) {
	f := setup(t)
	f.do("GET", "/api/v1/hello", "")
	f.do("GET", "/api/v1/hello", "")
	f.do("GET", "/api/v1/thing", "")
	f.do("GET", "/nothing/of/that/name", "")
	want := `
# HELP weir_control_requests_total Requests by the pattern that took them and the status of the answer.
# TYPE weir_control_requests_total counter
weir_control_requests_total{pattern="GET /api/v1/hello",status="204"} 2
weir_control_requests_total{pattern="GET /api/v1/thing",status="401"} 1
`
	// What is counted is counted after the answer was sent.
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := testutil.GatherAndCompare(f.metrics, strings.NewReader(want), "weir_control_requests_total")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestNotModified(t *testing.T) {
	f := setup(t)
	who := []string{"Authorization", "Bearer viewer"}
	if a := f.do("GET", "/api/v1/thing", "", append(who, "If-None-Match", `"1", W/"3"`)...); a.StatusCode != http.StatusNotModified || a.Header.Get("ETag") != `"3"` || a.raw != "" {
		t.Errorf("got %s %q", a.Status, a.raw)
	}
	if a := f.do("GET", "/api/v1/thing?limit=3", "", append(who, "If-None-Match", `"2"`)...); a.StatusCode != http.StatusOK || a.Header.Get("ETag") != `"3"` {
		t.Errorf("got %s %q", a.Status, a.raw)
	}
}

func TestDescription(t *testing.T) {
	f := setup(t)
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	a := f.do("GET", "/openapi.json", "")
	if err := json.Unmarshal([]byte(a.raw), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Paths["/api/v1/{namespace}/thing"]["put"] == nil || doc.Paths["/api/v1/reports"]["post"] == nil {
		t.Errorf("got %s", a.raw)
	}
	for _, want := range []string{"Weir-Reason", "GovernanceVersion", `"bearer"`, "Needs the role operator."} {
		if !strings.Contains(a.raw, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if a := f.do("GET", "/openapi.yaml", ""); a.StatusCode != http.StatusOK || !strings.Contains(a.raw, "openapi: 3.1.0") {
		t.Errorf("got %s %.100s", a.Status, a.raw)
	}
}

func TestIncompleteOperationsPanic(t *testing.T) {
	api := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "t", Version: "1"})
	for name, op := range map[string]httpapi.Op[struct{}]{
		"no id":    {Role: access.Viewer},
		"no role":  {Operation: huma.Operation{OperationID: "a"}},
		"both":     {Operation: huma.Operation{OperationID: "a"}, Role: access.Viewer, Public: true},
		"no audit": {Operation: huma.Operation{OperationID: "a"}, Role: access.Operator, Write: true, Object: func(*struct{}) string { return "" }},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was taken")
				}
			}()
			httpapi.Register(api, op, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }) //nolint:nilnil // never called
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"a":1}`, `{"a":{"b":[1,2,"x"]}}`, `{"a":1}{}`, `{"c":1}`, `[`, `null`, `{"a":1e999}`, "{\"a\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var into struct {
			A any
			D time.Duration
		}
		err := httpapi.DecodeBytes(body, &into)
		var p *httpapi.Problem
		if err != nil && (!errors.As(err, &p) || p.Status != http.StatusBadRequest || len(p.Errors) != 1) {
			t.Errorf("%q: %v", body, err)
		}
		if err == nil && !json.Valid(body) {
			t.Errorf("%q was taken for JSON", body)
		}
	})
}

func FuzzPrecondition(f *testing.F) {
	for _, seed := range []string{``, `"1"`, `12"`, `"12`, `W/"1"`, `*`, `"-1"`, `"9223372036854775807"`, `"9223372036854775808"`, `"`, `""`, `"1", "2"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, match string) {
		version, err := httpapi.Precondition{IfMatch: match}.Expect()
		switch {
		case err != nil, match == "":
		case version < 0, !strings.HasPrefix(strings.TrimSpace(match), `"`):
			t.Errorf("%q expects version %d", match, version)
		case strings.TrimLeft(strings.Trim(strings.TrimSpace(match), `"`), "0") != strings.TrimLeft(strings.Trim(httpapi.ETag(version), `"`), "0"):
			t.Errorf("%q expects version %d", match, version)
		}
	})
}

func TestNoAnswerIsTakenForAPage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, path := range []string{"/openapi.json", "/api/v1/nowhere", "/%00"} {
		if got := f.do("GET", path, "").Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: %q", path, got)
		}
	}
}
