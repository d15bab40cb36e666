package dubbo

import (
	"context"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

func TestStreams(t *testing.T) {
	const watch = "OrderCounter.Watch"
	m := newMesh(t)
	// A timeout is for calls that answer once.
	short := governance.Rules{Timeout: governance.Duration(20 * time.Millisecond)}
	m.orders.apply(t, governance.Policy{Target: governance.Target{App: app("orders")}, Rules: short})
	m.storefront.apply(t, governance.Policy{Target: governance.Target{App: app("orders"), At: governance.Caller}, Rules: short})
	m.ordersDo.set(func(context.Context) error { <-time.After(15 * time.Millisecond); return nil })
	if n, err := m.watch(t.Context()); n != 3 || err != nil {
		t.Fatalf("%d messages, %v", n, err)
	}
	m.orders.take(t, 1) // the handler has returned
	if got := m.orders.counts(governance.Provider, watch); got != (governance.Counts{Success: 1}) {
		t.Errorf("%+v", got)
	}
	if got := m.storefront.counts(governance.Caller, watch); got != (governance.Counts{Success: 1}) {
		t.Errorf("%+v", got)
	}
	for at, kit := range map[governance.At]*testKit{governance.Provider: m.orders, governance.Caller: m.storefront} {
		kit.apply(t, pulled("orders", watch, at, value(`"3"`)))
		n, err := m.watch(t.Context())
		if reason, _ := Refused(err); n != 0 || reason != breaker.ReasonSwitched {
			t.Errorf("switched off at the %s: %d messages, %v", at, n, err)
		}
		kit.apply(t)
	}
	m.ordersDo.set(func(context.Context) error { return errBroken })
	m.orders.spans.Flush()
	if _, err := m.watch(t.Context()); err == nil {
		t.Error("no error")
	}
	m.orders.take(t, 1)
	if got := m.orders.counts(governance.Provider, watch); got != (governance.Counts{Failure: 1, Switched: 1}) {
		t.Errorf("%+v", got)
	}
}
