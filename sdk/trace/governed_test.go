package trace_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/openzipkin/zipkin-go"
	zipkinrecorder "github.com/openzipkin/zipkin-go/reporter/recorder"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

func TestWhatGovernsASpanStandsOnIt(t *testing.T) {
	rec := zipkinrecorder.NewReporter()
	defer rec.Close()
	tracer, err := trace.New(trace.Config{App: governance.App{Namespace: "shop", Name: "orders"}, Reporter: rec})
	if err != nil {
		t.Fatal(err)
	}
	inventory := governance.App{Namespace: "shop", Name: "inventory"}
	series := governance.Series{Command: "StockService.reserve", At: governance.Caller, Peer: inventory}
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "shop", Name: "orders"}})
	defer set.Close()
	err = set.Apply([]governance.Version{{Version: 9, Policy: governance.Policy{
		Target: governance.Target{App: inventory, Command: series.Command, At: governance.Caller},
		Rules:  governance.Rules{Fallback: &governance.Fallback{Value: json.RawMessage(`0`)}},
	}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	circuit := set.Circuit(series)
	open := &breaker.Refused{Reason: breaker.ReasonOpen}
	switched := &breaker.Refused{Reason: breaker.ReasonSwitched, Policy: "shop/inventory.all.switch", Version: 7}
	value := breaker.Answer{Value: json.RawMessage(`0`)}
	own := circuit.Effective().Sources["fallback"].Policy
	for name, c := range map[string]struct {
		mark func(zipkin.Span)
		want map[string]string
	}{
		"nothing":   {func(zipkin.Span) {}, nil},
		"a circuit": {func(s zipkin.Span) { trace.Governed(s, series) }, map[string]string{"weir.command": series.Command}},
		"a circuit of the caller on a server's span": {
			func(s zipkin.Span) { trace.GovernedAtCaller(s, series) },
			map[string]string{"weir.command": series.Command, "weir.at": "caller"},
		},
		"a refusal by the circuit itself": {func(s zipkin.Span) { trace.Refused(s, open) }, map[string]string{"weir.refused": "open"}},
		"a refusal by a switch, which answers too": {
			func(s zipkin.Span) { trace.Refused(s, switched); trace.Answered(s, circuit, value, switched) },
			map[string]string{"weir.refused": "switched", "weir.policy": switched.Policy, "weir.policy.version": "7", "weir.fallback": "value"},
		},
		"a refusal for which a policy answers": {
			func(s zipkin.Span) { trace.Refused(s, open); trace.Answered(s, circuit, value, open) },
			map[string]string{"weir.refused": "open", "weir.policy": own, "weir.policy.version": "9", "weir.fallback": "value"},
		},
		"a failure for which a policy answers": {
			func(s zipkin.Span) { trace.Answered(s, circuit, breaker.Answer{Empty: true}, nil) },
			map[string]string{"weir.policy": own, "weir.policy.version": "9", "weir.fallback": "empty"},
		},
		"a failure for which the code answers": {
			func(s zipkin.Span) { trace.Fallback(s, trace.FallbackCode, "", 0) },
			map[string]string{"weir.fallback": "code"},
		},
		"retries": {func(s zipkin.Span) { trace.Retried(s, 1); trace.Retried(s, 2) }, map[string]string{"weir.retries": "2"}},
	} {
		c.mark(nil) // there is no span without a tracer
		span, _ := tracer.StartClient(t.Context(), name, inventory)
		c.mark(span)
		span.Finish()
		got := rec.Flush()[0].Tags
		if c.want == nil {
			c.want = map[string]string{}
		}
		c.want["weir.namespace"], c.want["weir.peer"] = "shop", "shop/inventory"
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if own == "" {
		t.Error("the circuit's fallback is of no policy")
	}

	// Whom a name alone is known of is not said to be of a namespace.
	span, _ := tracer.StartClient(t.Context(), "call", governance.App{Name: "elsewhere"})
	span.Finish()
	if got := rec.Flush()[0]; got.Tags["weir.peer"] != "" || got.RemoteEndpoint.ServiceName != "elsewhere" {
		t.Errorf("%+v", got)
	}

	// Work is a part of what it is done for, and no trace of its own.
	if span, ctx := tracer.StartWithin(t.Context(), "price"); span != nil || ctx != t.Context() {
		t.Errorf("%v", span)
	}
	server, ctx := tracer.StartServer(t.Context(), "get", trace.Strings{})
	within, ctx := tracer.StartWithin(ctx, "price")
	if zipkin.SpanFromContext(ctx) != within {
		t.Error("the context does not hold the span")
	}
	within.Finish()
	server.Finish()
	if got := rec.Flush(); len(got) != 2 || got[0].Name != "price" || got[0].Kind != "" || *got[0].ParentID != got[1].ID {
		t.Errorf("%+v", got)
	}
}

// Most spans are read by nobody, and cost nothing to mark.
func TestUnsampledSpansAreNotMarked(t *testing.T) {
	tracer, err := trace.New(trace.Config{App: governance.App{Namespace: "shop", Name: "orders"}, SampleRate: -1})
	if err != nil {
		t.Fatal(err)
	}
	set := breaker.NewSet(breaker.Config{})
	defer set.Close()
	circuit := set.Circuit(governance.Series{Command: "get", At: governance.Provider})
	span, _ := tracer.StartServer(t.Context(), "get", trace.Strings{})
	refused := &breaker.Refused{Reason: breaker.ReasonSwitched, Policy: "a/b.c.switch", Version: 1234}
	series := governance.Series{Command: "get", At: governance.Caller, Peer: governance.App{Namespace: "shop", Name: "inventory"}}
	if n := testing.AllocsPerRun(100, func() {
		trace.GovernedAtCaller(span, series)
		trace.Refused(span, refused)
		trace.Answered(span, circuit, breaker.Answer{Empty: true}, refused)
		trace.Retried(span, 1234)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
