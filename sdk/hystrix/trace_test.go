package hystrix_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/hystrix"
	"github.com/weirmesh/weir/sdk/sdktest"
	"github.com/weirmesh/weir/sdk/trace"
)

// A command called within a trace has a span, by which its metrics find the trace.
func TestCommandsHaveSpans(t *testing.T) {
	mesh, kit, _ := adopt(t)
	hystrix.ConfigureCommand("SpanQuote", hystrix.CommandConfig{Timeout: 60_000, MaxConcurrentRequests: 5})
	pull := sdktest.Switch("shop/pricing", "SpanPulled")
	empty := sdktest.Switch("shop/pricing", "SpanEmpty")
	empty.Fallback = &governance.Fallback{Empty: true}
	mesh.Publish(t, pull)
	mesh.Publish(t, empty)
	mesh.Publish(t, policyFor("SpanSlow", governance.Rules{Timeout: governance.Duration(time.Millisecond)}))
	mesh.WaitApplied(t, kit)

	server, ctx := kit.Tracer().StartServer(t.Context(), "get /price", trace.Strings{})
	inside := false
	run := func(err error) func(context.Context) error {
		return func(ctx context.Context) error {
			inside = zipkin.SpanFromContext(ctx) != server
			return err
		}
	}
	instead := func(context.Context, error) error { return nil }
	for _, c := range []struct {
		name     string
		run      error
		fallback func(context.Context, error) error
		fails    bool
	}{
		{"SpanQuote", nil, nil, false}, {"SpanBroken", errBoom, nil, true}, {"SpanSaved", errBoom, instead, false},
		{"SpanIgnored", breaker.Ignore(errBoom), nil, true}, {"SpanPulled", nil, nil, true}, {"SpanEmpty", nil, nil, false},
	} {
		if err := hystrix.DoC(ctx, c.name, run(c.run), c.fallback); (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if !inside {
		t.Error("what a function calls is no part of its command's span")
	}
	slow := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	if err := hystrix.DoC(ctx, "SpanSlow", slow, nil); !errors.Is(err, hystrix.ErrTimeout) {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = hystrix.DoC(ctx, "SpanPanics", func(context.Context) error { panic("boom") }, nil)
	}()
	if err := hystrix.Do("SpanAlone", ok, nil); err != nil { // without a trace
		t.Error(err)
	}
	server.Finish()
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := map[string]model.SpanModel{}
	for _, s := range mesh.Spans() {
		spans[s.Tags["weir.command"]] = s
	}
	for command, want := range map[string]map[string]string{
		"SpanQuote":   {},
		"SpanBroken":  {"error": errBoom.Error()},
		"SpanSaved":   {"error": errBoom.Error(), "weir.fallback": "code"},
		"SpanIgnored": {},
		"SpanPulled":  {"error": hystrix.ErrCircuitOpen.Error(), "weir.refused": "switched", "weir.policy": "shop/pricing.SpanPulled.switch"},
		"SpanEmpty":   {"weir.refused": "switched", "weir.fallback": "empty", "weir.policy": "shop/pricing.SpanEmpty.switch"},
		"SpanSlow":    {"error": hystrix.ErrTimeout.Error()},
		"SpanPanics":  {"error": "hystrix: the function panicked: boom"},
	} {
		s, ok := spans[command]
		if !ok || s.ParentID == nil || *s.ParentID != server.Context().ID || s.Kind != "" {
			t.Errorf("%s: %v", command, s)
			continue
		}
		for _, key := range []string{"error", "weir.refused", "weir.fallback", "weir.policy"} {
			if s.Tags[key] != want[key] {
				t.Errorf("%s: %s is %q, want %q", command, key, s.Tags[key], want[key])
			}
		}
	}
	if len(spans) != 9 { // with the server's own, which no circuit guards here
		t.Errorf("%d spans: %v", len(spans), spans)
	}
}
