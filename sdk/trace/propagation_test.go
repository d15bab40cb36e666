package trace_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/trace"
)

const (
	traceID  = "463ac35c9f6413ad48485a3953bb6124"
	spanID   = "a2fb4a1d1a96d312"
	parentID = "0020000000000001"
	childID  = "0030000000000007"
)

// describe writes a context as b3 does, plus what b3 cannot say.
func describe(sc model.SpanContext) string {
	s := "none"
	if !sc.TraceID.Empty() {
		s = sc.TraceID.String() + "-" + sc.ID.String()
	}
	switch {
	case sc.Debug:
		s += "-d"
	case sc.Sampled != nil && *sc.Sampled:
		s += "-1"
	case sc.Sampled != nil:
		s += "-0"
	}
	if sc.ParentID != nil {
		s += "-" + sc.ParentID.String()
	}
	if sc.Baggage != nil {
		s += " " + strings.Join(sc.Baggage.Get("tracestate"), ",")
	}
	return s
}

func TestExtract(t *testing.T) {
	w3c := "00-" + traceID + "-" + spanID + "-01"
	whole := traceID + "-" + spanID
	for _, tt := range []struct {
		name string
		in   trace.Carrier
		want string
	}{
		{"nothing", trace.Strings{}, "none"},
		{"nil header", trace.Header(nil), "none"},
		{"traceparent", trace.Header{"Traceparent": {w3c}}, whole + "-1"},
		{"traceparent, not sampled", trace.Strings{"traceparent": "00-" + traceID + "-" + spanID + "-00"}, whole + "-0"},
		{"tracestate comes along", trace.Header{"Traceparent": {w3c}, "Tracestate": {"a=1", "b=2"}}, whole + "-1 a=1,b=2"},
		{"tracestate alone", trace.Strings{"tracestate": "a=1"}, "none"},
		{"later version", trace.Strings{"traceparent": "cc-" + traceID + "-" + spanID + "-01-more"}, whole + "-1"},
		{"version 0 with more", trace.Strings{"traceparent": w3c + "-more"}, "none"},
		{"forbidden version", trace.Strings{"traceparent": "ff" + w3c[2:]}, "none"},
		{"upper case is no traceparent", trace.Strings{"traceparent": strings.ToUpper(w3c)}, "none"},
		{"zero trace", trace.Strings{"traceparent": "00-" + strings.Repeat("0", 32) + "-" + spanID + "-01"}, "none"},
		{"zero span", trace.Strings{"traceparent": "00-" + traceID + "-0000000000000000-01"}, "none"},
		{"b3", trace.Header{"B3": {whole + "-1-" + parentID}}, whole + "-1-" + parentID},
		{"b3, short", trace.Strings{"b3": "48485a3953bb6124-" + spanID}, "48485a3953bb6124-" + spanID},
		{"b3, decision only", trace.Strings{"b3": "0"}, "none-0"},
		{"b3, debug", trace.Strings{"b3": whole + "-d"}, whole + "-d"},
		{"b3 truncated, on which zipkin-go panics", trace.Strings{"b3": whole[:40]}, traceID + "-000000000a2fb4a1"},
		{"b3 of 40 digits", trace.Strings{"b3": strings.Repeat("a", 40)}, "none"},
		{"b3 of 33 digits and a sign", trace.Strings{"b3": "463ac35c9f6413ad-48485a3953bb61241"}, "none"},
		{"b3 garbage", trace.Strings{"b3": "x-y-z"}, "none"},
		{"multi in canonical case", trace.Header{"X-B3-Traceid": {traceID}, "X-B3-Spanid": {spanID}, "X-B3-Parentspanid": {parentID}, "X-B3-Sampled": {"1"}}, whole + "-1-" + parentID},
		{"multi in Java's case", trace.Attachments{"X-B3-TraceId": traceID, "X-B3-SpanId": spanID, "X-B3-Sampled": "true"}, whole + "-1"},
		{"multi in lower case, as slices", trace.Attachments{"x-b3-traceid": []string{traceID}, "x-b3-spanid": []string{spanID}, "x-b3-flags": []string{"1"}}, whole + "-d"},
		{"multi, decision only", trace.Strings{"X-B3-Sampled": "0"}, "none-0"},
		{"multi without a span, decision kept", trace.Strings{"X-B3-TraceId": traceID, "X-B3-Sampled": "0"}, "none-0"},
		{"trace id too long", trace.Strings{"X-B3-TraceId": traceID + "0", "X-B3-SpanId": spanID}, "none"},
		{"other types in attachments", trace.Attachments{"b3": 7, "traceparent": []any{w3c}, "X-B3-TraceId": nil}, "none"},
		{"traceparent before b3", trace.Strings{"traceparent": w3c, "b3": "48485a3953bb6124-" + spanID + "-0"}, whole + "-1"},
		{"b3 of the same span adds", trace.Strings{"traceparent": w3c, "b3": whole + "-d-" + parentID}, whole + "-d-" + parentID},
		{"b3 stands in for a bad traceparent", trace.Strings{"traceparent": "00-junk", "b3": whole + "-1"}, whole + "-1"},
		{"multi stands in for a bad b3", trace.Strings{"b3": "junk", "X-B3-TraceId": traceID, "X-B3-SpanId": spanID}, whole},
		// What Dubbo Java 3.3.6 sends, as it was recorded: it passes on what it was called with.
		{"Brave, called and calling over Dubbo", trace.Attachments{
			"traceparent": w3c, "b3": whole + "-1-" + parentID,
			"X-B3-TraceId": traceID, "X-B3-SpanId": childID, "X-B3-ParentSpanId": spanID, "X-B3-Sampled": "1",
		}, traceID + "-" + childID + "-1-" + spanID},
		{"Brave, called over Triple and calling over Dubbo", trace.Attachments{
			"traceparent": w3c, "b3": whole + "-1-" + parentID,
			"x-b3-traceid": traceID, "x-b3-spanid": spanID, "x-b3-parentspanid": parentID, "x-b3-sampled": "1",
			"X-B3-TraceId": traceID, "X-B3-SpanId": childID, "X-B3-ParentSpanId": spanID, "X-B3-Sampled": "1",
		}, traceID + "-" + childID + "-1-" + spanID},
		{"Dubbo's own tracing", trace.Attachments{
			"traceparent": w3c, "b3": traceID + "-" + childID + "-1",
			"X-B3-TraceId": traceID, "X-B3-SpanId": spanID, "X-B3-ParentSpanId": parentID, "X-B3-Sampled": "1",
		}, traceID + "-" + childID + "-1"},
		{"Dubbo's own tracing by W3C", trace.Attachments{
			"traceparent": "00-" + traceID + "-" + childID + "-01", "b3": whole + "-1-" + parentID,
			"X-B3-TraceId": traceID, "X-B3-SpanId": spanID, "X-B3-ParentSpanId": parentID, "X-B3-Sampled": "1",
		}, traceID + "-" + childID + "-1"},
		{"two of a trace, of which none is the other's child", trace.Strings{"traceparent": w3c, "b3": traceID + "-" + childID + "-1"}, whole + "-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(trace.Extract(tt.in)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestInjectEverySpelling holds that each spelling alone leads back to the same
// context, whoever reads.
func TestInjectEverySpelling(t *testing.T) {
	for _, in := range []string{
		traceID + "-" + spanID + "-1",
		traceID + "-" + spanID + "-0-" + parentID,
		traceID + "-" + spanID + "-d",
		"48485a3953bb6124-" + spanID + "-1",
	} {
		sc := trace.Extract(trace.Strings{"b3": in})
		out := trace.Strings{"B3": "stale", "x-b3-parentspanid": "stale", "TraceState": "stale", "other": "kept"}
		trace.Inject(sc, out)
		if out["other"] != "kept" {
			t.Errorf("%s: the entry of somebody else is gone: %v", in, out)
		}
		for _, v := range out {
			if v == "stale" {
				t.Errorf("%s: a stale entry is left: %v", in, out)
			}
		}
		if got := describe(trace.Extract(trace.Strings{"b3": out["b3"]})); got != in {
			t.Errorf("by b3: got %s, want %s", got, in)
		}
		multi := maps.Clone(out)
		delete(multi, "b3")
		delete(multi, "traceparent")
		if got := describe(trace.Extract(multi)); got != in {
			t.Errorf("by X-B3-*: got %s, want %s", got, in)
		}
		w3c := trace.Extract(trace.Strings{"traceparent": out["traceparent"]})
		want := sc.Debug || *sc.Sampled
		if w3c.TraceID != sc.TraceID || w3c.ID != sc.ID || *w3c.Sampled != want {
			t.Errorf("by traceparent %q: got %s, want %s", out["traceparent"], describe(w3c), in)
		}
	}
}

func TestInjectIntoHeadersAndAttachments(t *testing.T) {
	sc := trace.Extract(trace.Strings{"b3": traceID + "-" + spanID + "-1"})
	h := http.Header{"B3": {"1", "2"}, "X-B3-Flags": {"1"}}
	trace.Inject(sc, trace.Header(h))
	if got := h.Values("b3"); len(got) != 1 || got[0] != traceID+"-"+spanID+"-1" || h.Get("X-B3-Flags") != "" {
		t.Errorf("headers are %v", h)
	}
	a := map[string]any{"x-b3-traceid": []string{"old"}, "path": "org.example.Shop"}
	trace.Inject(sc, trace.Attachments(a))
	for _, key := range []string{"traceparent", "b3", "X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled"} {
		if _, ok := a[key].(string); !ok {
			t.Errorf("%s is %T, and Java's Dubbo reads strings only", key, a[key])
		}
	}
	if _, left := a["x-b3-traceid"]; left || a["path"] != "org.example.Shop" {
		t.Errorf("attachments are %v", a)
	}
}

func TestInjectUndecided(t *testing.T) {
	out := trace.Strings{}
	trace.Inject(trace.Extract(trace.Strings{"b3": traceID + "-" + spanID}), out)
	want := []string{"X-B3-SpanId", "X-B3-TraceId", "b3"}
	if got := slices.Sorted(maps.Keys(out)); !slices.Equal(got, want) {
		t.Errorf("an open decision is written under %v, want %v: a traceparent would decide", got, want)
	}
	out = trace.Strings{"b3": "stale"}
	trace.Inject(model.SpanContext{}, out)
	if len(out) != 0 {
		t.Errorf("no context left %v", out)
	}
	trace.Inject(trace.Extract(trace.Strings{"b3": "0"}), out)
	if out["b3"] != "0" || out["X-B3-Sampled"] != "0" || len(out) != 2 {
		t.Errorf("a decision alone left %v", out)
	}
}

func TestTracestateReachesGrandchildren(t *testing.T) {
	sink := new(recorder)
	tracer, err := trace.New(trace.Config{App: governance.App{Namespace: "shop", Name: "orders"}, Instance: "u1", Reporter: sink})
	if err != nil {
		t.Fatal(err)
	}
	in := http.Header{"Traceparent": {"00-" + traceID + "-" + spanID + "-01"}, "Tracestate": {"vendor=1"}}
	server, ctx := tracer.StartServer(t.Context(), "GET /orders", trace.Header(in))
	client, _ := tracer.StartClient(ctx, "reserve", governance.App{Namespace: "shop", Name: "inventory"})
	out := http.Header{}
	trace.Inject(client.Context(), trace.Header(out))
	client.Finish()
	server.Finish()

	if got := out.Get("tracestate"); got != "vendor=1" {
		t.Errorf("tracestate is %q", got)
	}
	if len(sink.spans) != 2 {
		t.Fatalf("%d spans finished, want 2", len(sink.spans))
	}
	c, s := sink.spans[0], sink.spans[1]
	if c.TraceID.String() != traceID || s.TraceID != c.TraceID || *s.ParentID != mustID(t, spanID) || *c.ParentID != s.ID {
		t.Errorf("the spans do not hang together: server %s, client %s", describe(s.SpanContext), describe(c.SpanContext))
	}
	if s.Shared || s.ID == mustID(t, spanID) {
		t.Error("the server joined the caller's span; Spring Boot 3 would not")
	}
	if c.RemoteEndpoint.ServiceName != "inventory" || c.Tags[trace.TagNamespace] != "shop" || c.Tags[trace.TagInstance] != "u1" {
		t.Errorf("the client span is %+v", c)
	}
}

func mustID(t *testing.T, s string) model.ID {
	t.Helper()
	return trace.Extract(trace.Strings{"b3": traceID + "-" + s}).ID
}

func TestNewTracesHave128Bits(t *testing.T) {
	tracer, err := trace.New(trace.Config{App: governance.App{Namespace: "shop", Name: "orders"}})
	if err != nil {
		t.Fatal(err)
	}
	span, ctx := tracer.StartServer(t.Context(), "root", trace.Strings{})
	sc := span.Context()
	if sc.TraceID.High == 0 || sc.TraceID.Low == 0 || sc.ParentID != nil || uint64(sc.ID) != sc.TraceID.Low {
		t.Errorf("root context is %s", describe(sc))
	}
	trace.Annotate(ctx, "policy 7")
	trace.Annotate(t.Context(), "nobody listens")
	if zipkin.SpanFromContext(ctx) != span {
		t.Error("the context does not hold the span")
	}
	if _, err := trace.New(trace.Config{}); err == nil {
		t.Error("a tracer without an application was made")
	}
}

// FuzzExtract holds that no carrier makes Extract panic, and that what it reads
// survives being written and read again.
func FuzzExtract(f *testing.F) {
	f.Add("00-"+traceID+"-"+spanID+"-01", "a=1", traceID+"-"+spanID+"-1-"+parentID, traceID, spanID, parentID, "1", "1")
	f.Add("cc-"+traceID+"-"+spanID+"-01-x", "", "d", "1", "1", "", "true", "")
	f.Add("", "", strings.Repeat("a", 40), "", "", "", "", "")
	f.Add("00-", "", "0-0-0-0", "+1", "-1", "0", "2", "0")
	f.Add("0", "0", "2", "1", "1", "1", "2", "")
	f.Fuzz(func(t *testing.T, traceparent, tracestate, b3, id, span, parent, sampled, flags string) {
		in := trace.Strings{}
		for k, v := range map[string]string{
			"TraceParent": traceparent, "tracestate": tracestate, "B3": b3, "x-b3-traceid": id,
			"X-B3-SPANID": span, "X-B3-ParentSpanId": parent, "x-b3-sampled": sampled, "x-b3-flags": flags,
		} {
			if v != "" {
				in[k] = v
			}
		}
		sc := trace.Extract(in)
		if sc.TraceID.Empty() != (sc.ID == 0) {
			t.Fatalf("half a context: %s", describe(sc))
		}
		out := trace.Strings{}
		trace.Inject(sc, out)
		again := trace.Extract(out)
		if sc.Sampled == nil && !sc.Debug {
			again.Baggage, sc.Baggage = nil, nil // no traceparent, so no tracestate
		}
		if got, want := describe(again), describe(sc); got != want {
			t.Fatalf("written and read again\ngot  %s\nwant %s", got, want)
		}
	})
}
