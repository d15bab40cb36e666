package dubbo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/invocation"
	"github.com/openzipkin/zipkin-go/model"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

func TestASwitchAtTheCaller(t *testing.T) {
	m := newMesh(t)
	for name, one := range map[string]struct {
		kit      *testKit
		peer     string
		command  string
		fallback string
		call     func() (int64, error)
		want     int64
		made     *behaviour
	}{
		"dubbo": {m.orders, "inventory", "StockService.stock", `{"sku":"none","left":3}`,
			func() (int64, error) { s, err := m.ask(t.Context(), "apple"); return int64(s.Left), err }, 3, m.inventoryDo},
		"triple": {m.storefront, "orders", "OrderCounter.Count", `"3"`,
			func() (int64, error) { return m.count(t.Context(), "local") }, 3, m.ordersDo},
	} {
		t.Run(name, func(t *testing.T) {
			one.kit.apply(t, pulled(one.peer, one.command, governance.Caller, nil))
			_, err := one.call()
			var refused *breaker.Refused
			if !errors.As(err, &refused) || refused.Reason != breaker.ReasonSwitched || refused.Version != 40 {
				t.Fatalf("%v", err)
			}
			one.kit.apply(t, pulled(one.peer, one.command, governance.Caller, value(one.fallback)))
			if n, err := one.call(); n != one.want || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if n := one.made.made(); n != 0 {
				t.Errorf("the provider was called %d times", n)
			}
			one.kit.apply(t)
			if n, err := one.call(); n == one.want || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if got := one.kit.counts(governance.Caller, one.command); got != (governance.Counts{Success: 1, Switched: 2, FallbackSuccess: 1}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// The last good answer is per arguments, and a copy.
func TestCachedAnswersOfTheCaller(t *testing.T) {
	m := newMesh(t)
	cached := &governance.Fallback{Cached: &governance.Cached{MaxAge: governance.Duration(time.Minute)}, Else: value(`{"left":-1}`)}
	policy := governance.Policy{Target: governance.Target{App: app("inventory"), At: governance.Caller}, Rules: governance.Rules{Fallback: cached}}
	m.orders.apply(t, policy)
	if s, err := m.ask(t.Context(), "apple"); err != nil || s.Left != 7 {
		t.Fatalf("%+v, %v", s, err)
	}
	m.orders.apply(t, policy, pulled("inventory", "", governance.Caller, nil))
	for range 2 {
		if s, err := m.ask(t.Context(), "apple"); err != nil || s.Left != 7 || s.Sku != "apple" {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if s, err := m.ask(t.Context(), "pear"); err != nil || s.Left != -1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// A timeout at the caller ends calls by both protocols, retries included, and says
// which it is.
func TestTheTimeoutOfTheCaller(t *testing.T) {
	// Never answered: dubbo-go's client of the Dubbo protocol closes its session, and
	// fails all calls on it, when an answer comes too late.
	hang := make(chan struct{})
	for name, command := range map[string]string{"orders": "StockService.stock", "storefront": "OrderCounter.Count"} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			kit, do := m.orders, m.inventoryDo
			call := func(ctx context.Context) error { _, err := m.ask(ctx, "apple"); return err }
			peer := "inventory"
			if name == "storefront" {
				kit, do, peer = m.storefront, m.ordersDo, "orders"
				call = func(ctx context.Context) error { _, err := m.count(ctx, "local"); return err }
			}
			do.set(func(context.Context) error { <-hang; return nil })
			kit.apply(t, governance.Policy{
				Target: governance.Target{App: app(peer), At: governance.Caller},
				Rules:  governance.Rules{Timeout: governance.Duration(50 * time.Millisecond)},
			})
			began := time.Now()
			if err := call(t.Context()); err == nil {
				t.Error("no error")
			}
			// A default of dubbo-go would be three seconds, three times.
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %s", took)
			}
			if got := kit.counts(governance.Caller, command); got != (governance.Counts{Timeout: 1}) {
				t.Errorf("%+v", got)
			}
			if n := do.made(); n != 1 {
				t.Errorf("%d attempts", n)
			}
			// The caller's own deadline is one as well, without any policy.
			kit.apply(t)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := call(ctx); err == nil {
				t.Error("no error")
			}
			if got := kit.counts(governance.Caller, command); got != (governance.Counts{Timeout: 1}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What the program configured for the Dubbo protocol holds beside its own deadline
// and gives way to a policy's.
func TestConfiguredTimeouts(t *testing.T) {
	url := found("org.example.A", "inventory", "orders", constant.TimeoutKey, "2s", "methods.slow.timeout", "8s")
	for name, test := range map[string]struct {
		method string
		left   time.Duration
		rule   rule
		want   time.Duration
		whole  bool
	}{
		"the reference's":   {"stock", time.Minute, rule{}, 2 * time.Second, false},
		"the method's":      {"slow", time.Minute, rule{}, 8 * time.Second, false},
		"the call's":        {"slow", time.Minute, rule{option: 3 * time.Second}, 3 * time.Second, false},
		"the context's":     {"slow", time.Second, rule{}, time.Second + grace, true},
		"a policy's":        {"stock", 4 * time.Second, rule{byPolicy: true}, 4*time.Second + grace, true},
		"over the option's": {"stock", 4 * time.Second, rule{byPolicy: true, option: time.Second}, 4*time.Second + grace, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.left)
				defer cancel()
				inv := invocation.NewRPCInvocation(test.method, nil, nil)
				inv.SetAttribute(ruling, test.rule)
				whole := setTimeout(ctx, url, inv)
				got, _ := inv.GetAttachment(constant.TimeoutKey)
				if got != test.want.String() || whole != test.whole {
					t.Errorf("%s, %v; want %s, %v", got, whole, test.want, test.whole)
				}
			})
		})
	}
}

// The breaker of a caller counts what the program sees, after the retries.
func TestTheBreakerOfTheCaller(t *testing.T) {
	m := newMesh(t)
	m.orders.apply(t, governance.Policy{
		Target: governance.Target{App: app("inventory"), At: governance.Caller},
		Rules:  governance.Rules{Breaker: &governance.Breaker{MinCalls: 4}},
	})
	m.inventoryDo.set(func(context.Context) error { return errBroken })
	for range 4 {
		if _, err := m.ask(t.Context(), "apple"); err == nil || !strings.Contains(err.Error(), errBroken.Error()) {
			t.Fatal(err)
		}
	}
	made := m.inventoryDo.made()
	_, err := m.ask(t.Context(), "apple")
	if reason, _ := Refused(err); reason != breaker.ReasonOpen {
		t.Errorf("%v", err)
	}
	if n := m.inventoryDo.made(); n != made {
		t.Errorf("%d calls more", n-made)
	}
	if got := m.orders.counts(governance.Caller, "StockService.stock"); got != (governance.Counts{Failure: 4, ShortCircuited: 1}) {
		t.Errorf("%+v", got)
	}
}

// A switch at the provider is no fault that a caller's circuit opens for, though
// the caller's fallback answers.
func TestAProvidersSwitchDoesNotOpenCallers(t *testing.T) {
	m := newMesh(t)
	m.inventory.apply(t, pulled("inventory", "", governance.Provider, nil))
	m.orders.apply(t, governance.Policy{
		Target: governance.Target{App: app("inventory"), At: governance.Caller},
		Rules:  governance.Rules{Breaker: &governance.Breaker{MinCalls: 2}, Fallback: value(`{"left":3}`)},
	})
	for range 10 {
		if s, err := m.ask(t.Context(), "apple"); err != nil || s.Left != 3 {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	m.inventory.apply(t)
	if s, err := m.ask(t.Context(), "apple"); err != nil || s.Left != 7 {
		t.Errorf("%+v, %v", s, err)
	}
	if got := m.orders.counts(governance.Caller, "StockService.stock"); got != (governance.Counts{Success: 1, Ignored: 10, FallbackSuccess: 10}) {
		t.Errorf("%+v", got)
	}
}

// What a served call was told about its own time and retries is not handed on.
func TestServedCallsDoNotLimitTheCallsTheyMake(t *testing.T) {
	m := newMesh(t)
	m.storefront.apply(t, governance.Policy{
		Target: governance.Target{App: app("orders"), At: governance.Caller},
		Rules:  governance.Rules{Timeout: governance.Duration(20 * time.Second)},
	})
	if n, err := m.count(t.Context(), "apple"); n != 7 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	m.inventoryDo.set(func(context.Context) error { return errBroken })
	if _, err := m.count(t.Context(), "apple"); err == nil {
		t.Error("no error")
	}
	if n := m.inventoryDo.made(); n != 3 {
		t.Errorf("%d attempts, want dubbo-go's own three", n)
	}
}

func TestOneTraceOverBothProtocols(t *testing.T) {
	m := newMesh(t)
	if n, err := m.count(t.Context(), "apple"); n != 7 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	var all []model.SpanModel
	all = append(all, m.storefront.take(t, 1)...)
	all = append(all, m.orders.take(t, 2)...)
	all = append(all, m.inventory.take(t, 1)...)
	byParent := map[model.ID]model.SpanModel{}
	var root model.SpanModel
	for _, s := range all {
		if s.ParentID == nil {
			root = s
		} else {
			byParent[*s.ParentID] = s
		}
	}
	var way []string
	for s, ok := root, true; ok; s, ok = byParent[s.ID] {
		if s.TraceID != root.TraceID || s.TraceID.High == 0 {
			t.Errorf("%+v is of another trace than %+v", s, root)
		}
		way = append(way, s.LocalEndpoint.ServiceName+" "+string(s.Kind)+" "+s.Name)
		if s.Kind == model.Client && s.RemoteEndpoint == nil {
			t.Errorf("%s does not name its peer", s.Name)
		}
	}
	want := []string{
		"storefront CLIENT OrderCounter.Count", "orders SERVER OrderCounter.Count",
		"orders CLIENT StockService.stock", "inventory SERVER StockService.stock",
	}
	if !slices.Equal(way, want) {
		t.Errorf("%q", way)
	}
}

// Refusals and fallbacks stand on the trace.
func TestSpansTellOfRefusals(t *testing.T) {
	m := newMesh(t)
	m.inventory.apply(t, pulled("inventory", "StockService.stock", governance.Provider, value(`{"left":3}`)))
	if s, err := m.ask(t.Context(), "apple"); err != nil || s.Left != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	span := m.inventory.take(t, 1)[0]
	if span.Tags["weir.refused"] != "switched" || span.Tags["weir.policy"] != "shop/inventory.StockService.stock.switch" || span.Tags["weir.policy.version"] != "40" ||
		span.Tags["weir.fallback"] != "value" || span.Tags["weir.command"] != "StockService.stock" || span.Tags["error"] != "" {
		t.Errorf("%v", span.Tags)
	}
	if made := m.orders.take(t, 1)[0]; made.Tags["weir.command"] != "StockService.stock" || made.Tags["weir.peer"] != "shop/inventory" || made.Tags["weir.refused"] != "" {
		t.Errorf("%v", made.Tags)
	}
	var told []string
	for _, a := range span.Annotations {
		told = append(told, a.Value)
	}
	if len(told) != 2 || !strings.HasPrefix(told[0], "refused: StockService.stock is switched off by switch") || told[1] != "answered by the policy's fallback" {
		t.Errorf("%q", told)
	}
	m.inventory.apply(t)
	m.inventoryDo.set(func(context.Context) error { return errBroken })
	m.orders.spans.Flush()
	if _, err := m.ask(t.Context(), "apple"); err == nil {
		t.Fatal("no error")
	}
	for _, s := range append(m.inventory.take(t, 1), m.orders.take(t, 1)...) {
		if !strings.Contains(s.Tags["error"], errBroken.Error()) || s.Tags["weir.outcome"] != "failure" {
			t.Errorf("%s: %v", s.Kind, s.Tags)
		}
	}
}

// A refusal that nothing answers for is an error of the one who refuses.
func TestSpansOfRefusalsWithoutAnAnswer(t *testing.T) {
	m := newMesh(t)
	m.inventory.apply(t, pulled("inventory", "StockService.stock", governance.Provider, nil))
	m.orders.spans.Flush()
	if _, err := m.ask(t.Context(), "apple"); err == nil {
		t.Fatal("no error")
	}
	if s := m.inventory.take(t, 1)[0]; s.Tags["error"] == "" || s.Tags["weir.refused"] != "switched" {
		t.Errorf("%v", s.Tags)
	}
	if s := m.orders.take(t, 1)[0]; s.Tags["weir.outcome"] != "ignored" || s.Tags["weir.refused"] != "" {
		t.Errorf("%v", s.Tags)
	}
	m.inventory.apply(t)
	m.orders.apply(t, pulled("inventory", "StockService.stock", governance.Caller, &governance.Fallback{Error: "later"}))
	if _, err := m.ask(t.Context(), "apple"); err == nil {
		t.Fatal("no error")
	}
	s := m.orders.take(t, 1)[0]
	if s.Tags["error"] != "later" || s.Tags["weir.refused"] != "switched" || s.Tags["weir.fallback"] != "error" || s.Tags["weir.policy"] == "" {
		t.Errorf("%v", s.Tags)
	}
}

// The kit is told whom the service calls before it calls.
func TestPeersAreDeclared(t *testing.T) {
	m := newMesh(t)
	if _, err := m.count(t.Context(), "apple"); err != nil {
		t.Fatal(err)
	}
	m.orders.mu.Lock()
	defer m.orders.mu.Unlock()
	if !slices.Contains(m.orders.calls, app("inventory")) {
		t.Errorf("%v", m.orders.calls)
	}
}
