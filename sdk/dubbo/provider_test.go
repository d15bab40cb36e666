package dubbo

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

var errBroken = errors.New("the shelf is broken")

// pulled is a switch.
func pulled(application, command string, at governance.At, f *governance.Fallback) governance.Policy {
	return governance.Policy{
		Kind: governance.KindSwitch, Target: governance.Target{App: app(application), Command: command, At: at},
		Rules: governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}, Fallback: f},
	}
}

func value(s string) *governance.Fallback { return &governance.Fallback{Value: json.RawMessage(s)} }

// A switch holds from the next call on; callers of both protocols are told which
// it is and why, and its release holds from the next call on as well.
func TestASwitchAtTheProvider(t *testing.T) {
	m := newMesh(t)
	for name, one := range map[string]struct {
		kit     *testKit
		command string
		call    func() error
		made    *behaviour
	}{
		"dubbo":  {m.inventory, "StockService.stock", func() error { _, err := m.ask(t.Context(), "apple"); return err }, m.inventoryDo},
		"triple": {m.orders, "OrderCounter.Count", func() error { _, err := m.count(t.Context(), "local"); return err }, m.ordersDo},
	} {
		t.Run(name, func(t *testing.T) {
			if err := one.call(); err != nil {
				t.Fatal(err)
			}
			// As people write it, with the whole name of the interface.
			one.kit.apply(t, pulled(one.kit.app.Name, "org.example.shop."+one.command, governance.Provider, nil))
			err := one.call()
			reason, ok := Refused(err)
			if !ok || reason != breaker.ReasonSwitched {
				t.Fatalf("%v", err)
			}
			for _, part := range []string{one.command + " is switched off by switch shop/" + one.kit.app.Name + "." + one.command + ".switch, version 40", "warehouse down"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if n := one.made.made(); n != 1 {
				t.Errorf("the method ran %d times", n)
			}
			one.kit.apply(t)
			if err := one.call(); err != nil {
				t.Fatal(err)
			}
			got := one.kit.counts(governance.Provider, one.command)
			if got.Success != 2 || got.Switched == 0 || got.Failure != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestFallbacksOfTheProvider(t *testing.T) {
	m := newMesh(t)
	type answer struct {
		sku  string
		left int64
	}
	ask := func() (answer, error) {
		s, err := m.ask(t.Context(), "apple")
		return answer{s.Sku, int64(s.Left)}, err
	}
	count := func() (answer, error) { n, err := m.count(t.Context(), "local"); return answer{left: n}, err }
	cached := &governance.Fallback{Cached: &governance.Cached{MaxAge: governance.Duration(time.Minute)}}
	for name, test := range map[string]struct {
		fallback *governance.Fallback
		call     func() (answer, error)
		want     answer
		err      string
	}{
		"hessian, as Java spells it": {value(`{"sku":"none","left":3}`), ask, answer{"none", 3}, ""},
		"hessian, as Go spells it":   {value(`{"Sku":"none","Left":3,"Checked":"2026-11-20T12:00:00Z"}`), ask, answer{"none", 3}, ""},
		"hessian, empty":             {&governance.Fallback{Empty: true}, ask, answer{}, ""},
		"hessian, error":             {&governance.Fallback{Error: "closed for stocktaking"}, ask, answer{}, "closed for stocktaking"},
		"hessian, cached":            {cached, ask, answer{"apple", 7}, ""},
		"hessian, misfit":            {value(`"three"`), ask, answer{}, "the policy's fallback is no *dubbo.Stock"},
		"protobuf":                   {value(`"9007199254740993"`), count, answer{left: 9007199254740993}, ""},
		"protobuf, empty":            {&governance.Fallback{Empty: true}, count, answer{}, ""},
		"protobuf, error":            {&governance.Fallback{Error: "closed for stocktaking"}, count, answer{}, "closed for stocktaking"},
		"protobuf, cached":           {cached, count, answer{left: 1}, ""},
		"protobuf, misfit":           {value(`{"sku":"none"}`), count, answer{}, "the policy's fallback is no *wrapperspb.Int64Value"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			kit, command := m.inventory, "StockService.stock"
			if strings.HasPrefix(name, "protobuf") {
				kit, command = m.orders, "OrderCounter.Count"
			}
			// Answers are kept from when a policy asks for them.
			kit.apply(t, governance.Policy{Target: governance.Target{App: kit.app, Command: command}, Rules: governance.Rules{Fallback: test.fallback}})
			if _, err := test.call(); err != nil {
				t.Fatal(err)
			}
			kit.apply(t, pulled(kit.app.Name, command, governance.Provider, test.fallback))
			for range 2 { // what is kept is not used up
				got, err := test.call()
				if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
}

// A method that fails is answered for, too, and what it throws on purpose is not.
func TestFailuresAtTheProvider(t *testing.T) {
	m := newMesh(t)
	m.inventory.apply(t, governance.Policy{
		Target: governance.Target{App: app("inventory")},
		Rules:  governance.Rules{Fallback: value(`{"left":3}`), Breaker: &governance.Breaker{MinCalls: 3}},
	})
	m.inventoryDo.set(func(context.Context) error { return &UnknownSku{DetailMessage: "no pears"} })
	for range 5 {
		if _, err := m.ask(t.Context(), "pear"); err == nil || !strings.Contains(err.Error(), "no pears") {
			t.Fatal(err)
		}
	}
	m.inventoryDo.set(func(context.Context) error { return errBroken })
	for range 10 {
		if s, err := m.ask(t.Context(), "apple"); err != nil || s.Left != 3 {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	if n := m.inventoryDo.made(); n != 5 {
		t.Errorf("the method ran %d times, then the circuit should have been open", n)
	}
	got := m.inventory.counts(governance.Provider, "StockService.stock")
	if got.Failure != 5 || got.ShortCircuited != 5 || got.FallbackSuccess != 10 || got.Ignored != 5 {
		t.Errorf("%+v", got)
	}
	// The caller saw answers only.
	if got := m.orders.counts(governance.Caller, "StockService.stock"); got != (governance.Counts{Success: 10, Ignored: 5}) {
		t.Errorf("%+v", got)
	}
}

func TestTheTimeoutOfTheProvider(t *testing.T) {
	for name, command := range map[string]string{"inventory": "StockService.stock", "orders": "OrderCounter.Count"} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			kit, do := m.inventory, m.inventoryDo
			call := func() error { _, err := m.ask(t.Context(), "apple", client.WithCallRetries(0)); return err }
			if name == "orders" {
				kit, do = m.orders, m.ordersDo
				call = func() error { _, err := m.count(t.Context(), "local", client.WithCallRetries(0)); return err }
			}
			kit.apply(t, governance.Policy{Target: governance.Target{App: kit.app}, Rules: governance.Rules{Timeout: governance.Duration(20 * time.Millisecond)}})
			do.set(func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
			if err := call(); err == nil || !strings.Contains(err.Error(), "took longer than the 20ms of policy") {
				t.Errorf("%v", err)
			}
			if got := kit.counts(governance.Provider, command); got != (governance.Counts{Timeout: 1}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Names that anybody can make up are no commands.
func TestUnknownMethodsAreNotCounted(t *testing.T) {
	m := newMesh(t)
	s := new(Stock)
	if err := m.stock.CallUnary(t.Context(), []any{"apple"}, s, "noSuchMethod"); err == nil {
		t.Fatal("no error")
	}
	if got := m.inventory.breakers.Status(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// What a program says of its own errors is not asked about a provider's refusal: an
// overloaded provider that everybody takes for well is called on and on.
func TestRefusalsAreNotAskedAbout(t *testing.T) {
	set := breaker.NewSet(breaker.Config{App: app("orders")})
	t.Cleanup(set.Close)
	g := &governed{classify: Classify}
	WithClassify(func(error) breaker.Outcome { return breaker.Ignored })(g)
	c := set.Circuit(governance.Series{Command: "a", At: governance.Caller}, breaker.WithClassify(g.classify))
	for reason, want := range map[breaker.Reason]breaker.Outcome{
		breaker.ReasonFull: breaker.Failure, breaker.ReasonOpen: breaker.Failure, breaker.ReasonSwitched: breaker.Ignored, "": breaker.Ignored,
	} {
		err := errBroken
		if reason != "" {
			err = wireError(true, &breaker.Refused{Reason: reason})
		}
		call, begun := c.Begin(t.Context())
		if begun != nil {
			t.Fatal(begun)
		}
		if got := g.done(call, err); got != want {
			t.Errorf("%q: %s, want %s", reason, got, want)
		}
	}
}

func TestOnlyTheCallersOwnLackOfProvidersIsIgnored(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nobody known":              {errors.New("Failed to invoke the method reserve. " + noProvider + " x"), true},
		"answered over Dubbo":       {&hessian2.GenericException{ExceptionClass: "java.lang.Throwable", ExceptionMessage: noProvider}, false},
		"answered over Triple":      {triple_protocol.NewError(triple_protocol.CodeUnavailable, errors.New(noProvider)), false},
		"answered with its own one": {&UnknownSku{}, false},
		"nothing":                   {nil, false},
	} {
		if got := unprovided(test.err); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

func TestClassify(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want breaker.Outcome
	}{
		"plain":           {errBroken, breaker.Failure},
		"own exception":   {&UnknownSku{}, breaker.Ignored},
		"within Triple's": {triple_protocol.NewError(triple_protocol.CodeBizError, &UnknownSku{}), breaker.Ignored},
		"plain within it": {triple_protocol.NewError(triple_protocol.CodeBizError, errBroken), breaker.Failure},
		"not found":       {triple_protocol.NewError(triple_protocol.CodeNotFound, errBroken), breaker.Ignored},
		"internal":        {triple_protocol.NewError(triple_protocol.CodeInternal, errBroken), breaker.Failure},
		// What a method, or a provider, says of its own calls is no excuse for it.
		"nobody known further on": {errors.New("reserve: " + noProvider + " x"), breaker.Failure},
		"the same over Triple":    {triple_protocol.NewError(triple_protocol.CodeUnavailable, errors.New(noProvider)), breaker.Failure},
		"deadline further on":     {triple_protocol.NewError(triple_protocol.CodeDeadlineExceeded, errBroken), breaker.Timeout},
	} {
		if got := Classify(test.err); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
