package breaker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

func TestSettingsCanChange(t *testing.T) {
	set := breaker.NewSet(breaker.Config{MaxCircuits: 1})
	defer set.Close()
	disabled := governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeDisabled}}
	c := set.Circuit(governance.Series{Command: "a", At: governance.Caller}, breaker.WithSettings(disabled))
	fail := func() error {
		_, err := breaker.Do(context.Background(), c, func(context.Context) (int, error) { return 0, errors.New("no") })
		return err
	}
	for range 10 {
		_ = fail()
	}
	if c.State() != governance.StateDisabled {
		t.Fatalf("state %s", c.State())
	}
	c.Configure(governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeAuto, MinCalls: 3}, Bulkhead: &governance.Bulkhead{Concurrent: 2}})
	if e := c.Effective(); e.Breaker.MinCalls != 3 || e.Breaker.ErrorPercent != breaker.DefaultErrorPercent || e.Bulkhead.Concurrent != 2 {
		t.Errorf("effective %+v", e.Breaker)
	}
	for range 3 {
		if err := fail(); errors.As(err, new(*breaker.Refused)) {
			t.Fatalf("refused early: %v", err)
		}
	}
	if c.State() != governance.StateOpen {
		t.Errorf("state %s after three failures of three", c.State())
	}
	c.Configure(governance.Rules{Breaker: &governance.Breaker{MinCalls: 5}})
	if c.State() != governance.StateOpen || c.Effective().Bulkhead != nil {
		t.Errorf("a change of thresholds reset the circuit: %s", c.State())
	}
	// What stands for many is nobody's to configure.
	others := set.Circuit(governance.Series{Command: "b", At: governance.Caller})
	before := others.Effective().Breaker.MinCalls
	others.Configure(governance.Rules{Breaker: &governance.Breaker{MinCalls: 7}})
	if got := others.Effective().Breaker.MinCalls; got != before {
		t.Errorf("the circuit of others has %d", got)
	}
}
