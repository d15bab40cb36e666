package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/collector"
	"github.com/weirmesh/weir/tracing/memory"
	"github.com/weirmesh/weir/tracing/query"
)

// tracingServer serves Zipkin's API over a store in memory.
func tracingServer(t *testing.T) string {
	t.Helper()
	s := memory.New(memory.Config{})
	intake, err := collector.New(collector.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	queries, err := query.New(query.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+collector.Path, intake)
	mux.Handle("/", queries)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

const traceID = "463ac35c9f6413ad48485a3953bb6124"

func postTrace(t *testing.T, server string) {
	t.Helper()
	at := time.Now().Add(-time.Minute).UnixMicro()
	id, err := tracing.ParseTraceID(traceID)
	if err != nil {
		t.Fatal(err)
	}
	span := func(id2, parent tracing.ID, kind tracing.Kind, service, name string, offset, took int64) tracing.Span {
		return tracing.Span{TraceID: id, ID: id2, ParentID: parent, Kind: kind, Name: name, Timestamp: at + offset, Duration: took, Local: tracing.Endpoint{Service: service}}
	}
	spans := []tracing.Span{
		span(1, 0, tracing.Server, "storefront", "get /cart/{id}", 0, 50_000),
		span(2, 1, tracing.Client, "storefront", "orders", 2_000, 40_000),
		span(3, 2, tracing.Server, "orders", "get /orders", 5_000, 30_000),
		span(4, 1, tracing.Client, "storefront", "query", 45_000, 3_250),
	}
	spans[1].Annotations = []tracing.Annotation{{Timestamp: at + 3_000, Value: "retry\n1"}}
	spans[2].Tags = []tracing.Tag{{Key: "error", Value: "sold out"}}
	spans[3].Remote.Service = "cart-db"
	resp, err := http.DefaultClient.Post(server+collector.Path, "application/json", strings.NewReader(string(tracing.AppendJSONList(nil, spans))))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatal(resp.Status)
	}
}

func TestTraceGetShowsATree(t *testing.T) {
	server := tracingServer(t)
	postTrace(t, server)
	env := map[string]string{"WEIR_TRACING_SERVER": server}
	code, out, errs := do(t, env, "trace", "get", traceID)
	if code != 0 || errs != "" {
		t.Fatalf("%d %s", code, errs)
	}
	head, tree, _ := strings.Cut(out, "\n\n")
	if !strings.HasPrefix(head, "trace "+traceID+"   50ms, 4 spans of 2 services, began ") {
		t.Error(head)
	}
	want := `SPAN                              KIND     AT      TOOK     ERROR
storefront  get /cart/{id}        server   +0s     50ms
├─ storefront  orders             client   +2ms    40ms
│  │  · retry 1                            +3ms
│  └─ orders  get /orders         server   +5ms    30ms     sold out
└─ storefront  query → cart-db   client   +45ms   3.25ms
`
	if squeeze(tree) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", tree, want)
	}
	code, out, _ = do(t, env, "trace", "get", traceID, "-o", "json")
	var spans []map[string]any
	if err := json.Unmarshal([]byte(out), &spans); code != 0 || err != nil || len(spans) != 4 {
		t.Errorf("%d %v\n%s", code, err, out)
	}
}

// squeeze makes the width of columns no matter.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

func TestTraceSearch(t *testing.T) {
	server := tracingServer(t)
	postTrace(t, server)
	for _, c := range []struct {
		want string
		args []string
	}{
		{traceID, nil},
		{traceID, []string{"--service", "orders", "--tag", "error=sold out"}},
		{traceID, []string{"--span", "query", "--tag", "error", "--min-duration", "50ms"}},
		{"no trace matches", []string{"--service", "cart-db"}},
		{"no trace matches", []string{"--min-duration", "51ms"}},
		{"no trace matches", []string{"--lookback", "1s"}},
	} {
		args := append([]string{"trace", "search", "--tracing-server", server}, c.args...)
		code, out, errs := do(t, nil, args...)
		if code != 0 || errs != "" || !strings.Contains(out, c.want) {
			t.Errorf("%v: %d %s%s", c.args, code, out, errs)
		}
	}
	code, out, _ := do(t, nil, "trace", "search", "--tracing-server", server, "-o", "json")
	var traces [][]map[string]any
	if err := json.Unmarshal([]byte(out), &traces); code != 0 || err != nil || len(traces) != 1 || len(traces[0]) != 4 {
		t.Errorf("%d %v\n%s", code, err, out)
	}
	_, out, _ = do(t, nil, "trace", "search", "--tracing-server", server)
	if !strings.Contains(squeeze(out), " 50ms 4 1 storefront get /cart/{id} orders, storefront") {
		t.Error(out)
	}
}

func TestTraceMistakes(t *testing.T) {
	server := tracingServer(t)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{1, "there is no trace 00000000000000aa at " + server + ": it may not have been sampled", []string{"get", "aa", "--tracing-server", server}},
		{2, `"XYZ" is no trace id (XYZ should be lower-hex encoded with no prefix): give 1 to 32 lower-case hex digits`, []string{"get", "XYZ"}},
		{2, "--tracing-server nowhere is no address", []string{"get", "aa", "--tracing-server", "nowhere"}},
		{2, "--limit 0: give 1 or more", []string{"search", "--limit", "0"}},
		{2, "--lookback 0s leaves nothing to look at", []string{"search", "--lookback", "0"}},
		{2, "give --tag twice", []string{"search", "--tag", "a and b"}},
		{3, "there is no tracing server at http://127.0.0.1:1: nothing listens there; start one with `weir up`, or name yours with --tracing-server", []string{"search", "--tracing-server", "http://127.0.0.1:1"}},
		{1, "refused (400 Bad Request): limit > 10000", []string{"search", "--limit", "99999", "--tracing-server", server}},
	} {
		code, out, errs := do(t, nil, append([]string{"trace"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%v: %d %q, want %d %q", c.args, code, errs, c.code, c.want)
		}
	}
}

// A trace whose spans are still on their way, with names in Chinese and a chain that
// is deeper than any screen.
func TestTraceGetOfStrangeTraces(t *testing.T) {
	server := tracingServer(t)
	env := map[string]string{"WEIR_TRACING_SERVER": server}
	post := func(spans ...tracing.Span) {
		t.Helper()
		resp, err := http.DefaultClient.Post(server+collector.Path, "application/json", strings.NewReader(string(tracing.AppendJSONList(nil, spans))))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			t.Fatal(resp.Status)
		}
	}
	span := func(trace uint64, id, parent tracing.ID, service, name string) tracing.Span {
		return tracing.Span{TraceID: tracing.TraceID{Low: trace}, ID: id, ParentID: parent, Kind: tracing.Server, Name: name, Timestamp: 1e15, Duration: 1000, Local: tracing.Endpoint{Service: service}}
	}
	post(span(1, 3, 2, "库存", "预留"), span(1, 4, 3, "orders", "get\u202e/x"))
	code, out, errs := do(t, env, "trace", "get", "1")
	if code != 0 || errs != "" {
		t.Fatalf("%d %s", code, errs)
	}
	_, tree, _ := strings.Cut(out, "\n\n")
	want := `SPAN                                      KIND     AT    TOOK   ERROR
(the span that began this was not sent)
└─ 库存  预留                             server   +0s   1ms
   └─ orders  get /x                      server   +0s   1ms
`
	if tree != want {
		t.Errorf("got\n%s\nwant\n%s", tree, want)
	}

	var chain []tracing.Span
	for i := range tracing.ID(3000) {
		chain = append(chain, span(2, i+1, i, "web", "x"))
	}
	post(chain...)
	code, out, errs = do(t, env, "trace", "get", "2")
	if lines := strings.Count(out, "\n"); code != 0 || errs != "" || lines != 3003 || len(out) > 3003*1000 {
		t.Errorf("%d: %d lines, %d bytes, %s", code, lines, len(out), errs)
	}

	post(span(3, 1, 0, "web", "x"), span(3, 2, 3, "web", "x"), span(3, 3, 2, "web", "x"))
	if _, out, _ = do(t, env, "trace", "get", "3"); !strings.Contains(out, "2 spans have no place in the tree") {
		t.Error(out)
	}
}
