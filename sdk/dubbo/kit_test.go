package dubbo

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/sdktest"
)

// With real kits: a switch that is published reaches the provider, the policy of
// the callers reaches those who call it, which they told by calling, and both tell
// what they counted.
func TestWithAControlPlane(t *testing.T) {
	m := newMesh(t)
	control := sdktest.Start(t)
	inventory, orders := control.Kit(t, "shop/inventory"), control.Kit(t, "shop/orders")
	t.Cleanup(func() { // for the other tests
		WithGovernance(m.inventory)
		WithGovernance(m.orders)
	})
	WithGovernance(inventory)
	WithGovernance(orders)
	if _, err := m.ask(t.Context(), "apple"); err != nil {
		t.Fatal(err)
	}

	pull := sdktest.Switch("shop/inventory", "StockService.stock")
	control.Publish(t, pull)
	control.WaitApplied(t, inventory)
	_, err := m.ask(t.Context(), "apple")
	if reason, _ := Refused(err); reason != breaker.ReasonSwitched || !strings.Contains(err.Error(), "shop/inventory.StockService.stock.switch") {
		t.Fatalf("%v", err)
	}

	callers := governance.Policy{
		Target: governance.Target{App: app("inventory"), At: governance.Caller},
		Rules:  governance.Rules{Fallback: &governance.Fallback{Value: json.RawMessage(`{"left":3}`)}},
	}
	control.Publish(t, callers)
	control.WaitApplied(t, orders)
	control.Wait(t, "the fallback at the caller", func() bool {
		// What orders calls is told by another stream than the one it began with.
		s, err := m.ask(t.Context(), "apple")
		return err == nil && s.Left == 3
	})

	control.Delete(pull)
	control.WaitApplied(t, inventory)
	if s, err := m.ask(t.Context(), "apple"); err != nil || s.Left != 7 {
		t.Fatalf("%+v, %v", s, err)
	}
	control.Wait(t, "counts of both sides", func() bool {
		served, made := control.Counts("shop/inventory", "StockService.stock"), control.Counts("shop/orders", "StockService.stock")
		return served.Success == 2 && served.Switched > 1 && made.Success == 2 && made.Ignored == served.Switched && made.FallbackSuccess > 0
	})
	if got := control.Transitions("shop/inventory", "StockService.stock"); len(got) != 2 || got[0].To != governance.StateForcedOpen || got[1].To != governance.StateClosed {
		t.Errorf("%+v", got)
	}
	control.Wait(t, "spans of both sides", func() bool {
		kinds := map[string]bool{}
		for _, s := range control.Spans() {
			kinds[s.LocalEndpoint.ServiceName+" "+string(s.Kind)] = true
		}
		return kinds["orders CLIENT"] && kinds["inventory SERVER"]
	})
}
