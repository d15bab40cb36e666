package query_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/memory"
	"github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/query"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// people are who may log in, by their token.
var people = map[string]access.Principal{
	"viewer": {Kind: access.KindUser, Name: "vera", Role: access.Viewer},
	"shop":   {Kind: access.KindUser, Name: "sam", Role: access.Viewer, Namespaces: []string{"shop"}},
	"bank":   {Kind: access.KindUser, Name: "bob", Role: access.Viewer, Namespaces: []string{"bank", "mint"}},
	"pod":    {Kind: access.KindInstance, Name: "shop/orders"},
}

type auth struct{}

func (auth) Authenticate(_ context.Context, c access.Credentials) (access.Principal, error) {
	if p, ok := people[c.Bearer]; ok {
		return p, nil
	}
	return access.Principal{}, &access.DeniedError{Unknown: true, Message: "nobody knows this token"}
}

type store interface {
	tracing.Writer
	tracing.Reader
}

// console is the API of the console on a store.
type console struct {
	t     testing.TB
	h     http.Handler
	store store
	now   time.Time
	link  func()
}

// onStores runs a test on each kind of store there is.
func onStores(t *testing.T, test func(*testing.T, *console)) {
	t.Run("memory", func(t *testing.T) { test(t, serveConsole(t, memory.New(memory.Config{}), func() {})) })
	t.Run("postgres", func(t *testing.T) {
		s := onPostgres(t)
		test(t, serveConsole(t, s, func() {
			for more := true; more; {
				var err error
				if more, err = s.LinkDue(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}))
	})
}

func onPostgres(t testing.TB) *postgres.Store {
	t.Helper()
	pool := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations())).Pool()
	s, err := postgres.Open(pool, postgres.Config{Linger: -1, Quiet: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return s
}

func serveConsole(t testing.TB, s store, link func()) *console {
	t.Helper()
	k := &console{t: t, store: s, now: time.Now().Truncate(time.Second), link: link}
	api := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1", Auth: auth{}})
	query.Register(api, query.ViewConfig{Store: s, Now: func() time.Time { return k.now }})
	k.h = api.Handler()
	return k
}

// do asks as somebody, and reads the answer unless it is nil.
func (k *console) do(who, target string, want int, into any) *httptest.ResponseRecorder {
	k.t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Authorization", "Bearer "+who)
	w := httptest.NewRecorder()
	k.h.ServeHTTP(w, r)
	if w.Code != want {
		k.t.Fatalf("%s asks %s: %d %s", who, target, w.Code, w.Body)
	}
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			k.t.Fatalf("%s: %v", w.Body, err)
		}
	}
	return w
}

func (k *console) write(spans ...tracing.Span) {
	k.t.Helper()
	for i := range spans {
		if err := spans[i].Normalize(); err != nil {
			k.t.Fatal(err)
		}
	}
	if err := k.store.Write(k.t.Context(), spans); err != nil {
		k.t.Fatal(err)
	}
}

// span makes one that begins milliseconds after ten minutes ago.
func (k *console) span(trace uint64, id, parent tracing.ID, kind tracing.Kind, app string, at, duration int64, tags ...string) tracing.Span {
	namespace, service, named := strings.Cut(app, "/")
	if !named {
		service = app
	}
	s := tracing.Span{
		TraceID: tracing.TraceID{High: 1, Low: trace}, ID: id, ParentID: parent, Kind: kind, Name: fmt.Sprintf("span %x", uint64(id)),
		Timestamp: k.now.Add(-10*time.Minute).UnixMicro() + at*1000, Duration: duration * 1000, Local: tracing.Endpoint{Service: service},
	}
	if named {
		tags = append(tags, tracing.TagNamespace, namespace)
	}
	for i := 0; i < len(tags); i += 2 {
		s.Tags = append(s.Tags, tracing.Tag{Key: tags[i], Value: tags[i+1]})
	}
	return s
}

// shop writes three traces: an order that a switch refuses to reserve and a bank
// fails, one that goes well, and one of a service that Weir's SDK is not in.
func (k *console) shop() {
	k.write(
		k.span(1, 1, 0, tracing.Server, "shop/orders", 0, 100, tracing.TagInstance, "pod-1", tracing.TagCommand, "POST /orders", "http.path", "/orders"),
		k.span(1, 2, 1, tracing.Client, "shop/orders", 10, 5, tracing.TagCommand, "StockService.reserve", tracing.TagPeer, "shop/inventory",
			tracing.TagRefused, "switched", tracing.TagPolicy, "shop/inventory.all.switch", tracing.TagPolicyVersion, "7", tracing.TagFallback, "value"),
		k.span(1, 3, 1, tracing.Client, "shop/orders", 20, 60, tracing.TagCommand, "POST *", tracing.TagPeer, "bank/payment", tracing.TagRetries, "1", tracing.TagError, "503"),
		k.span(1, 4, 3, tracing.Server, "bank/payment", 25, 50, tracing.TagCommand, "POST /pay", tracing.TagError, "503", "card", "4111"),
		k.span(1, 6, 5, tracing.Client, "bank/payment", 30, 10, "sql.query", "SELECT"),
	)
	k.write(
		k.span(2, 1, 0, tracing.Server, "shop/orders", 1000, 40, tracing.TagCommand, "POST /orders"),
		k.span(2, 2, 1, tracing.Client, "shop/orders", 1010, 20, tracing.TagCommand, "StockService.reserve", tracing.TagPeer, "shop/inventory"),
		k.span(2, 3, 2, tracing.Server, "shop/inventory", 1012, 15, tracing.TagCommand, "StockService.reserve"),
	)
	k.write(k.span(3, 1, 0, tracing.Server, "orders", 2000, 10))
}

const one = "00000000000000010000000000000001"

func TestSearches(t *testing.T) {
	onStores(t, func(t *testing.T, k *console) {
		k.shop()
		for _, c := range []struct{ who, params, want string }{
			{"viewer", "", "3 2 1"},
			{"viewer", "limit=2", "3 2"},
			{"viewer", "app=shop/orders", "3 2 1"}, // those that name no namespace may be of any
			{"viewer", "app=bank/orders", "3"},
			{"viewer", "app=bank/payment", "1"},
			{"viewer", "app=shop/Orders", "3 2 1"},
			{"viewer", "service=Payment", "1"},
			{"viewer", "app=shop/orders&service=orders", "3 2 1"},
			{"viewer", "command=StockService.reserve", "2 1"},
			{"viewer", "app=shop/inventory&command=StockService.reserve", "2"},
			{"viewer", "app=shop/orders&command=StockService.reserve", "2 1"},
			{"viewer", "app=shop/orders&command=StockService.reserve&minDuration=10ms", "2"},
			{"viewer", "app=shop/orders&command=StockService.reserve&maxDuration=10ms", "1"},
			{"viewer", "app=shop/orders&command=StockService.reserve&error=true", ""},
			{"viewer", "app=shop/orders&command=POST+*&peer=bank/payment&error=true", "1"},
			{"viewer", "app=shop/orders&peer=shop/inventory", "2 1"},
			{"viewer", "error=true", "1"},
			{"viewer", "error=false", "3 2 1"},
			{"viewer", "tags=" + url.QueryEscape("http.path=/orders and error"), "1"},
			{"viewer", "tags=weir.refused", "1"},
			{"viewer", "span=SPAN+6", "1"},
			{"viewer", "remote=nobody", ""},
			{"viewer", "minDuration=50ms&maxDuration=50ms", "1"},
			{"viewer", "from=-9m59500ms", "3 2"},
			{"viewer", "from=-1h&to=-9m59500ms", "1"},
			{"shop", "", "2 1"},
			{"shop", "app=shop/orders", "2 1"},
			{"shop", "error=true", "1"},
			{"bank", "", "1"},
			{"bank", "service=orders", ""},
			{"bank", "command=POST+/pay", "1"},
			{"bank", "tags=http.path", ""},
		} {
			var got struct {
				Items []query.TraceSummary `json:"items"`
				Cut   string               `json:"cut"`
			}
			k.do(c.who, "/api/v1/traces?"+c.params, http.StatusOK, &got)
			var ids []string
			for _, s := range got.Items {
				ids = append(ids, strings.TrimLeft(s.TraceID[16:], "0"))
			}
			if strings.Join(ids, " ") != c.want || got.Cut != "" || got.Items == nil {
				t.Errorf("%s %q: got %q, want %q", c.who, c.params, strings.Join(ids, " "), c.want)
			}
		}
		k.do("bank", "/api/v1/traces?app=shop/orders", http.StatusForbidden, nil)
		for _, wrong := range []string{
			"app=shop", "app=shop/orders&service=cart", "peer=x", "minDuration=5", "minDuration=-1s", "maxDuration=-1s", "minDuration=2s&maxDuration=1s",
			"limit=0", "limit=1001", "from=tomorrow", "error=perhaps", "tag=orders",
		} {
			w := k.do("viewer", "/api/v1/traces?"+wrong, map[bool]int{true: http.StatusUnprocessableEntity, false: http.StatusBadRequest}[slices.Contains([]string{"minDuration=5", "limit=0", "limit=1001", "error=perhaps"}, wrong)], nil)
			if w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %v", wrong, w.Header())
			}
		}
	})
}

func TestSummaries(t *testing.T) {
	onStores(t, func(t *testing.T, k *console) {
		k.shop()
		w := k.do("viewer", "/api/v1/traces?app=bank/payment", http.StatusOK, nil)
		start := k.now.Add(-10 * time.Minute).UnixMicro()
		want := fmt.Sprintf(`{"items":[{"traceId":"%s","start":%d,"duration":100000,"root":{"service":"orders","name":"span 1"},"spans":5,"errors":2,"depth":3,`+
			`"services":[{"name":"orders","spans":3,"errors":1,"duration":100000},{"name":"payment","spans":2,"errors":1,"duration":50000}],"refused":1,"policy":"shop/inventory.all.switch"}]}`, one, start)
		if got := strings.TrimSpace(w.Body.String()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		// What another namespace calls its spans and policies is its own.
		w = k.do("bank", "/api/v1/traces", http.StatusOK, nil)
		want = strings.NewReplacer(`"span 1"`, `""`, `,"policy":"shop/inventory.all.switch"`, "").Replace(want)
		if got := strings.TrimSpace(w.Body.String()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestATraceIsDrawn(t *testing.T) {
	onStores(t, func(t *testing.T, k *console) {
		k.shop()
		var got query.TraceView
		k.do("viewer", "/api/v1/traces/"+strings.ToUpper(one), http.StatusOK, &got)
		if got.TraceID != one || got.Start != k.now.Add(-10*time.Minute).UnixMicro() || got.Duration != 100_000 || got.Depth != 3 || got.Headless {
			t.Errorf("%+v", got)
		}
		if want := "[{payment 2 1 60000} {orders 3 1 50000}]"; fmt.Sprint(got.Services) != want {
			t.Errorf("got %v, want %s", got.Services, want)
		}
		if fmt.Sprint(got.Warnings) != "[a span was not sent, or is still on its way: what it called hangs below the first span]" {
			t.Errorf("%q", got.Warnings)
		}
		orders, inventory, payment := governance.App{Namespace: "shop", Name: "orders"}, governance.App{Namespace: "shop", Name: "inventory"}, governance.App{Namespace: "bank", Name: "payment"}
		for i, want := range []query.SpanRow{
			{ID: "0000000000000001", Parent: -1, Service: "orders", Kind: "SERVER", Start: 0, Duration: 100_000, App: orders, Instance: "pod-1", Command: "POST /orders", At: "provider"},
			{ID: "0000000000000002", Parent: 0, Depth: 1, Service: "orders", Kind: "CLIENT", Start: 10_000, Duration: 5000, App: orders, Command: "StockService.reserve", At: "caller", Peer: inventory, Refused: "switched", Policy: "shop/inventory.all.switch", PolicyVersion: 7, Fallback: "value"},
			{ID: "0000000000000003", Parent: 0, Depth: 1, Service: "orders", Kind: "CLIENT", Start: 20_000, Duration: 60_000, Error: true, App: orders, Command: "POST *", At: "caller", Peer: payment, Retries: 1},
			{ID: "0000000000000004", Parent: 2, Depth: 2, Service: "payment", Kind: "SERVER", Start: 25_000, Duration: 50_000, Error: true, App: payment, Command: "POST /pay", At: "provider"},
			{ID: "0000000000000006", Parent: 0, Depth: 1, Service: "payment", Kind: "CLIENT", Start: 30_000, Duration: 10_000, MissingParent: true, App: payment},
		} {
			row := got.Spans[i]
			if len(row.Tags) == 0 || row.Critical == nil || row.Annotations == nil || row.Name != "span "+strings.TrimLeft(row.ID, "0") {
				t.Errorf("%+v", row)
			}
			row.Name, row.Tags, row.Critical, row.Annotations, row.Self = "", nil, nil, nil, 0
			if fmt.Sprintf("%+v", row) != fmt.Sprintf("%+v", want) {
				t.Errorf("got  %+v\nwant %+v", row, want)
			}
		}
		var path []string
		for i, row := range got.Spans {
			for _, c := range row.Critical {
				path = append(path, fmt.Sprintf("%d:%d-%d", i, c[0]/1000, c[1]/1000))
			}
		}
		if want := "0:0-10 0:15-20 0:80-100 1:10-15 2:20-25 2:75-80 3:25-75"; strings.Join(path, " ") != want {
			t.Errorf("got %s, want %s", strings.Join(path, " "), want)
		}
		k.do("viewer", "/api/v1/traces/1f", http.StatusNotFound, nil)
		k.do("viewer", "/api/v1/traces/none", http.StatusBadRequest, nil)
		k.do("viewer", "/api/v1/traces/"+one+"?limit=0", http.StatusUnprocessableEntity, nil)
		k.do("pod", "/api/v1/traces/"+one, http.StatusForbidden, nil)
		k.do("nobody", "/api/v1/traces/"+one, http.StatusUnauthorized, nil)

		k.do("viewer", "/api/v1/traces/"+one+"?limit=2", http.StatusOK, &got)
		if len(got.Spans) != 2 || got.Spans[0].Below != 3 || !strings.Contains(fmt.Sprint(got.Warnings), "5 spans, of which the uppermost 2 are shown") {
			t.Errorf("%+v", got)
		}
	})
}

// Who is bounded to a namespace sees of the others' spans that they were there.
func TestSpansOfOtherNamespacesAreWithheld(t *testing.T) {
	onStores(t, func(t *testing.T, k *console) {
		k.shop()
		var got query.TraceView
		w := k.do("bank", "/api/v1/traces/"+one, http.StatusOK, &got)
		for i, row := range got.Spans {
			if theirs := row.Service == "payment"; row.Withheld == theirs || (row.Name != "") != theirs || (len(row.Tags) > 0) != theirs || (row.App.Name != "") != theirs {
				t.Errorf("%d: %+v", i, row)
			}
			if row.Duration == 0 {
				t.Errorf("%d: %+v", i, row)
			}
		}
		if !strings.Contains(fmt.Sprint(got.Warnings), "3 of the spans are of no namespace that you see") {
			t.Errorf("%q", got.Warnings)
		}
		d := k.do("bank", "/api/v1/traces/"+one+"/zipkin", http.StatusOK, nil)
		for _, secret := range []string{"span 1", "/orders", "StockService", "switch", "inventory", "pod-1"} {
			if strings.Contains(w.Body.String(), secret) || strings.Contains(d.Body.String(), secret) {
				t.Errorf("they see %s", secret)
			}
		}
		if !strings.Contains(d.Body.String(), "4111") {
			t.Errorf("%s", d.Body)
		}
		w = k.do("bank", "/api/v1/traces/00000000000000010000000000000002", http.StatusForbidden, nil)
		if !strings.Contains(w.Body.String(), "namespaces bank, mint") {
			t.Errorf("%s", w.Body)
		}
		for _, all := range []string{"/api/v1/trace-services", "/api/v1/trace-names?service=orders", "/api/v1/trace-links"} {
			k.do("bank", all, http.StatusForbidden, nil)
		}
	})
}

func TestDownloadsNamesAndLinks(t *testing.T) {
	onStores(t, func(t *testing.T, k *console) {
		k.shop()
		w := k.do("viewer", "/api/v1/traces/"+one+"/zipkin", http.StatusOK, nil)
		spans, err := tracing.DecodeJSON(w.Body.Bytes())
		if err != nil || len(spans) != 5 {
			t.Errorf("%v: %s", err, w.Body)
		}
		if h := w.Header(); h.Get("Content-Type") != "application/json" || h.Get("Content-Disposition") != `attachment; filename="trace-`+one+`.json"` {
			t.Errorf("%v", h)
		}
		k.link()
		for target, want := range map[string]string{
			"/api/v1/trace-services":               `{"services":["inventory","orders","payment"]}`,
			"/api/v1/trace-names?service=PAYMENT":  `{"spans":["span 4","span 6"],"remotes":[]}`,
			"/api/v1/trace-names?service=nobody":   `{"spans":[],"remotes":[]}`,
			"/api/v1/trace-links":                  `"items":[{"parent":"orders","child":"inventory","calls":1,"errors":0},{"parent":"orders","child":"payment","calls":2,"errors":1}]}`,
			"/api/v1/trace-links?from=-2h&to=-30m": `"items":[]}`,
		} {
			if got := strings.TrimSpace(k.do("viewer", target, http.StatusOK, nil).Body.String()); !strings.HasSuffix(got, want) {
				t.Errorf("%s: got %s, want %s", target, got, want)
			}
		}
		k.do("viewer", "/api/v1/trace-names", http.StatusUnprocessableEntity, nil)
		k.do("viewer", "/api/v1/trace-links?from=-1h&to=-2h", http.StatusBadRequest, nil)
	})
}

// Tags that are not as the SDK writes them lead nowhere, and long ones are cut.
func TestWhatSendersWriteIsBounded(t *testing.T) {
	k := serveConsole(t, memory.New(memory.Config{}), func() {})
	long := strings.Repeat("é", 20_000)
	s := k.span(1, 1, 0, tracing.Client, "shop/orders", 0, 5, tracing.TagCommand, long, tracing.TagPeer, "inventory", tracing.TagAt, "nowhere",
		tracing.TagRefused, "gone", tracing.TagPolicyVersion, "new", tracing.TagRetries, "many", "body", long)
	s.Remote = tracing.Endpoint{IPv6: netip.MustParseAddr("fd00::1"), Port: 80}
	s.Annotations = []tracing.Annotation{{Timestamp: s.Timestamp - 1000, Value: "early"}, {Timestamp: s.Timestamp + 2000, Value: long}}
	k.write(s)
	var got query.TraceView
	k.do("viewer", "/api/v1/traces/"+one, http.StatusOK, &got)
	row := got.Spans[0]
	if row.Command != "" || row.At != "" || row.Peer.Name != "" || row.Refused != "" || row.PolicyVersion != 0 || row.Retries != 0 || row.Remote != "[fd00::1]:80" {
		t.Errorf("%+v", row)
	}
	if row.Annotations[0] != (query.SpanEvent{At: -1000, Value: "early"}) || row.Annotations[1].At != 2000 || len(row.Annotations[1].Value) > 17<<10 {
		t.Errorf("%.200v", row.Annotations)
	}
	if fmt.Sprint(got.Warnings) != "[3 tags and events are too long to be shown whole: the download has them]" {
		t.Errorf("%q", got.Warnings)
	}
}

// A clock that is corrected moves the events with their span.
func TestEventsMoveWithTheirSpan(t *testing.T) {
	k := serveConsole(t, memory.New(memory.Config{}), func() {})
	client := k.span(1, 1, 0, tracing.Client, "shop/orders", 0, 50)
	server := k.span(1, 2, 1, tracing.Server, "shop/inventory", -500, 30)
	client.Local.IPv4, server.Local.IPv4 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	server.Annotations = []tracing.Annotation{{Timestamp: server.Timestamp + 5000, Value: "retry"}}
	k.write(client, server)
	var got query.TraceView
	k.do("viewer", "/api/v1/traces/"+one, http.StatusOK, &got)
	if row := got.Spans[1]; row.Start != 10_000 || row.Skewed != 510_000 || row.Annotations[0].At != 15_000 {
		t.Errorf("%+v", row)
	}
	if fmt.Sprint(got.Warnings) != "[clocks differ: a span of inventory was moved by 510 ms]" {
		t.Errorf("%q", got.Warnings)
	}
}

// away is a store that does not answer.
type away struct{ *memory.Store }

var errAway = &tracing.Error{Code: tracing.Unavailable, Message: "cannot read traces now", Err: io.ErrUnexpectedEOF}

func (away) Traces(context.Context, []tracing.TraceID) (tracing.Found, error) {
	return tracing.Found{}, errAway
}
func (away) Search(context.Context, tracing.Query) (tracing.Found, error) {
	return tracing.Found{}, errAway
}

func TestTheStoreIsAway(t *testing.T) {
	k := serveConsole(t, away{memory.New(memory.Config{})}, func() {})
	for _, target := range []string{"/api/v1/traces", "/api/v1/traces/1", "/api/v1/traces/1/zipkin"} {
		w := k.do("viewer", target, http.StatusServiceUnavailable, nil)
		if !strings.Contains(w.Body.String(), "cannot read traces now") || strings.Contains(w.Body.String(), "EOF") || w.Header().Get("Retry-After") == "" {
			t.Errorf("%v %s", w.Header(), w.Body)
		}
	}
}

// Types are made of the description: lists are never null, and pairs are pairs.
func TestTheDescriptionIsExact(t *testing.T) {
	k := serveConsole(t, memory.New(memory.Config{}), func() {})
	var got struct {
		Components struct{ Schemas map[string]json.RawMessage }
	}
	k.do("viewer", "/openapi.json", http.StatusOK, &got)
	for name, schema := range got.Components.Schemas {
		if strings.HasPrefix(name, "TracingQuery") && strings.Contains(string(schema), `"null"`) {
			t.Errorf("%s: %s", name, schema)
		}
	}
	if s := string(got.Components.Schemas["TracingQuerySpanRow"]); strings.Count(s, `"minItems":2`) != 2 {
		t.Errorf("%s", s)
	}
}

// large is one trace of n spans, as varied as real ones.
func large(n int) []tracing.Span {
	var out []tracing.Span
	for g := tracingtest.NewGenerator(9, time.Now().Add(-10*time.Minute)); len(out) < n; {
		trace := g.Trace()
		for i := range trace {
			if trace[i].TraceID = (tracing.TraceID{High: 1, Low: 1}); trace[i].ParentID == 0 && len(out) > 0 {
				trace[i].ParentID = out[len(out)/2].ID
			}
		}
		out = append(out, trace...)
	}
	return out[:n]
}

func TestALargeTrace(t *testing.T) {
	onStores(t, func(t *testing.T, k *console) {
		spans := large(10_000)
		for part := range slices.Chunk(spans, 2500) {
			k.write(part...)
		}
		var got query.TraceView
		k.do("viewer", "/api/v1/traces/"+one, http.StatusOK, &got)
		if len(got.Spans) != 10_000 {
			t.Errorf("%d spans", len(got.Spans))
		}
	})
}

// BenchmarkView measures what a browser waits for: the whole answer, compressed.
func BenchmarkView(b *testing.B) {
	for _, n := range []int{11, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k := serveConsole(b, onPostgres(b), func() {})
			for part := range slices.Chunk(large(n), 2500) {
				k.write(part...)
			}
			srv := httptest.NewServer(k.h)
			defer srv.Close()
			transport := &http.Transport{DisableCompression: true}
			defer transport.CloseIdleConnections()
			var wire, plain int64
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, srv.URL+"/api/v1/traces/"+one+"?limit=100000", http.NoBody)
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer viewer")
				r.Header.Set("Accept-Encoding", "gzip")
				resp, err := transport.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				raw, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(resp.Status, err)
				}
				b.StopTimer()
				if wire = int64(len(raw)); resp.Header.Get("Content-Encoding") == "gzip" {
					z, err := gzip.NewReader(strings.NewReader(string(raw)))
					if err != nil {
						b.Fatal(err)
					}
					plain, _ = io.Copy(io.Discard, z)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(wire), "wire-B")
			b.ReportMetric(float64(plain), "plain-B")
		})
	}
}
