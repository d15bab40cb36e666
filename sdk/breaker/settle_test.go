package breaker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
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

func TestWithdrawnCallsAreNone(t *testing.T) {
	set := breaker.NewSet(breaker.Config{Settings: governance.Rules{
		Bulkhead: &governance.Bulkhead{Concurrent: 1}, Timeout: governance.Duration(time.Minute),
		Breaker: &governance.Breaker{MinCalls: 1, OpenFor: 1},
	}})
	defer set.Close()
	c := set.Circuit(governance.Series{Command: "ask", At: governance.Provider})
	for range 3 {
		call, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		call.Withdraw()
		call.Withdraw()
		call.End(breaker.Failure)
		if call.Context().Err() == nil {
			t.Error("its context goes on")
		}
	}
	call, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	call.EndAfter(breaker.Failure, time.Hour)
	call.EndAfter(breaker.Failure, time.Hour)
	for range 3 { // probes give their place back
		if call, err = c.Begin(t.Context()); err != nil || !call.Probe() {
			t.Fatalf("%v", err)
		}
		call.Withdraw()
	}
	if s := c.Status(); s.InFlight != 0 || s.State != governance.StateHalfOpen {
		t.Errorf("%+v", s)
	}
	got := set.Collect(time.Now().Add(time.Second))
	if len(got) != 1 || got[0].Counts != (governance.Counts{Failure: 1}) {
		t.Fatalf("collected %+v", got)
	}
	var took sketch.Sketch
	if err := took.UnmarshalBinary(got[0].Latency); err != nil || took.Max() != time.Hour || took.Count() != 1 {
		t.Errorf("took %s, of %d: %v", took.Max(), took.Count(), err)
	}
}
