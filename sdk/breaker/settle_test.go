package breaker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

func TestSettleCountsNowAndLeavesLater(t *testing.T) {
	set := breaker.NewSet(breaker.Config{Settings: governance.Rules{Bulkhead: &governance.Bulkhead{Concurrent: 1}}})
	defer set.Close()
	c := set.Circuit(governance.Series{Command: "hang", At: governance.Provider})
	call, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leave := call.Settle(breaker.Timeout)
	call.End(breaker.Success) // too late
	call.Settle(breaker.Success)()
	if s := c.Status(); s.Window.Timeout != 1 || s.Window.Success != 0 || s.InFlight != 1 {
		t.Errorf("settled, with its work going on: %+v", s)
	}
	var refused *breaker.Refused
	if _, err := c.Begin(t.Context()); !errors.As(err, &refused) || refused.Reason != breaker.ReasonFull {
		t.Errorf("its place was given to %v", err)
	}
	leave()
	call, err = c.Begin(t.Context())
	if err != nil {
		t.Fatalf("its place was not given back: %v", err)
	}
	call.End(breaker.Success)
	if got := set.Collect(time.Now().Add(time.Second)); len(got) != 1 || got[0].Counts.Ran() != 2 || c.Status().InFlight != 0 {
		t.Errorf("collected %+v", got)
	}
}
