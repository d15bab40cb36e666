package breaker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

func TestCountOnlyOpensOnceAPolicySpeaksOfTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := governance.App{Namespace: "shop", Name: "inventory"}
		set := breaker.NewSet(breaker.Config{App: app})
		defer set.Close()
		c := set.Circuit(governance.Series{Command: "reserve", At: governance.Provider}, breaker.CountOnly())
		boom := errors.New("boom")
		fail := func(n int) {
			for range n {
				_, err := breaker.Do(t.Context(), c, func(context.Context) (int, error) { return 0, boom })
				if !errors.Is(err, boom) {
					t.Fatalf("a call was refused: %v", err)
				}
			}
		}
		fail(100)
		if s := c.State(); s != governance.StateClosed {
			t.Fatalf("it is %s, though nobody asked for a breaker", s)
		}
		policy := func(r governance.Rules) []governance.Version {
			return []governance.Version{{Version: 1, Policy: governance.Policy{
				Target: governance.Target{App: app}, Rules: r,
			}.WithDefaults()}}
		}
		if err := set.Apply(policy(governance.Rules{Timeout: governance.Duration(1e9)}), 0); err != nil {
			t.Fatal(err)
		}
		fail(50)
		if err := set.Apply(policy(governance.Rules{Breaker: &governance.Breaker{MinCalls: 5}}), 0); err != nil {
			t.Fatal(err)
		}
		var refused *breaker.Refused
		for range 200 {
			if _, err := breaker.Do(t.Context(), c, func(context.Context) (int, error) { return 0, boom }); errors.As(err, &refused) {
				return
			}
		}
		t.Errorf("it never opened under a policy, and is %s", c.State())
	})
}

// What opened by a policy's word closes when no policy speaks of it any more: its
// probes would open it again and again, by thresholds that nobody asked for.
func TestCountOnlyClosesWhenThePolicyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := governance.App{Namespace: "shop", Name: "inventory"}
		set := breaker.NewSet(breaker.Config{App: app})
		defer set.Close()
		c := set.Circuit(governance.Series{Command: "reserve", At: governance.Provider}, breaker.CountOnly())
		boom := errors.New("boom")
		fail := func() error {
			_, err := breaker.Do(t.Context(), c, func(context.Context) (int, error) { return 0, boom })
			return err
		}
		if err := set.Apply([]governance.Version{{Version: 1, Policy: governance.Policy{
			Target: governance.Target{App: app}, Rules: governance.Rules{Breaker: &governance.Breaker{MinCalls: 1}},
		}.WithDefaults()}}, 0); err != nil {
			t.Fatal(err)
		}
		_ = fail()
		if s := c.State(); s != governance.StateOpen {
			t.Fatalf("it is %s", s)
		}
		if err := set.Apply(nil, 0); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if err := fail(); !errors.Is(err, boom) {
				t.Fatalf("refused, though nobody asks for a breaker: %v", err)
			}
		}
	})
}

// A circuit's own settings are asking, too.
func TestCountOnlyHeedsItsOwnSettings(t *testing.T) {
	own := governance.Rules{Breaker: &governance.Breaker{MinCalls: 1}}
	for name, make := range map[string]func(*breaker.Set, governance.Series) *breaker.Circuit{
		"by option": func(set *breaker.Set, s governance.Series) *breaker.Circuit {
			return set.Circuit(s, breaker.CountOnly(), breaker.WithSettings(own))
		},
		"by Configure": func(set *breaker.Set, s governance.Series) *breaker.Circuit {
			c := set.Circuit(s, breaker.CountOnly())
			c.Configure(own)
			return c
		},
	} {
		set := breaker.NewSet(breaker.Config{})
		defer set.Close()
		c := make(set, governance.Series{Command: name, At: governance.Provider})
		_, _ = breaker.Do(t.Context(), c, func(context.Context) (int, error) { return 0, errors.New("boom") })
		if s := c.State(); s != governance.StateOpen {
			t.Errorf("%s: it is %s", name, s)
		}
	}
}
