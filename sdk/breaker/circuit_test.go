package breaker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/governance"
)

func TestErrorsOpenAndProbesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newSet(t, settings(governance.Breaker{MinCalls: 10, ErrorPercent: 50, OpenFor: governance.Duration(5 * time.Second), Probes: 2}))
		c := s.Circuit(reserve)
		run(t, c, 5, nil)
		run(t, c, 4, errBroken)
		wantState(t, c, governance.StateClosed) // nine calls are too few
		if err := run(t, c, 1, errBroken); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		wantState(t, c, governance.StateOpen)
		opened := l.take()
		if len(opened) != 1 || opened[0].Cause != "50 % of 10 calls failed in 10s, less than 50 % allowed" ||
			opened[0].Window != (governance.Counts{Success: 5, Failure: 5}) || opened[0].From != governance.StateClosed || opened[0].Policy != "" {
			t.Errorf("%+v", opened)
		}
		r := refusedBy(t, run(t, c, 1, nil), ReasonOpen)
		if want := time.Now().Add(5 * time.Second); !r.Until.Equal(want) {
			t.Errorf("until %s, want %s", r.Until, want)
		}
		pass(5*time.Second - 1)
		refusedBy(t, run(t, c, 1, nil), ReasonOpen)
		pass(1)

		// Two probes may be under way, and no third.
		one, err := c.Begin(t.Context())
		if err != nil || !one.Probe() {
			t.Fatal(err)
		}
		wantState(t, c, governance.StateHalfOpen)
		two, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Begin(t.Context())
		if r := refusedBy(t, err, ReasonOpen); !r.Until.IsZero() {
			t.Errorf("half-open, but open until %s", r.Until)
		}
		one.End(Success)
		wantState(t, c, governance.StateHalfOpen)
		two.End(Ignored) // an answer all the same
		wantState(t, c, governance.StateClosed)
		if got := l.states(); !slices.Equal(got, []governance.State{governance.StateHalfOpen, governance.StateClosed}) {
			t.Errorf("states %v", got)
		}
		// What was counted before is forgotten.
		run(t, c, 9, errBroken)
		wantState(t, c, governance.StateClosed)
		run(t, c, 1, errBroken)
		wantState(t, c, governance.StateOpen)
	})
}

// A success may be the call that makes enough of them.
func TestTheLastOfMinCallsMayBeASuccess(t *testing.T) {
	s, _ := newSet(t, settings(governance.Breaker{MinCalls: 10}))
	c := s.Circuit(reserve)
	run(t, c, 9, errBroken)
	wantState(t, c, governance.StateClosed)
	run(t, c, 1, nil)
	wantState(t, c, governance.StateOpen)
}

func TestAFailingProbeOpensAgain(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(*Call)
		cause string
	}{
		"failure": {func(c *Call) { c.End(Failure) }, "a call that tried it failed"},
		"timeout": {func(c *Call) { c.End(Timeout) }, "a call that tried it ran into its deadline"},
		"slow": {func(c *Call) {
			pass(time.Second)
			c.End(Success)
		}, "a call that tried it took 1s, less than 500ms allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, l := newSet(t, settings(governance.Breaker{MinCalls: 1, Probes: 3, SlowCall: governance.Duration(500 * time.Millisecond), SlowPercent: 80}))
				c := s.Circuit(reserve)
				run(t, c, 1, errBroken)
				pass(DefaultOpenFor)
				run(t, c, 2, nil)
				call, err := c.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				l.take()
				test.end(call)
				if got := l.take(); len(got) != 1 || got[0].To != governance.StateOpen || got[0].Cause != test.cause {
					t.Errorf("%+v", got)
				}
				refusedBy(t, run(t, c, 1, nil), ReasonOpen)
			})
		})
	}
}

func TestSlowCallsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newSet(t, settings(governance.Breaker{MinCalls: 5, SlowCall: governance.Duration(100 * time.Millisecond), SlowPercent: 40}))
		c := s.Circuit(reserve)
		run(t, c, 3, nil)
		for range 2 {
			_, err := Do(t.Context(), c, func(context.Context) (int, error) {
				pass(100 * time.Millisecond)
				return 1, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		wantState(t, c, governance.StateOpen)
		if got := l.take(); len(got) != 1 || got[0].Cause != "40 % of 5 calls took 100ms or longer in 10s, less than 40 % allowed" || got[0].Window.Slow != 2 {
			t.Errorf("%+v", got)
		}
	})
}

// Results that belong to an earlier state change nothing, good or bad.
func TestStaleResultsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, settings(governance.Breaker{MinCalls: 2}))
		c := s.Circuit(reserve)
		begin := func() *Call {
			call, err := c.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return call
		}
		good, bad := begin(), begin()
		run(t, c, 2, errBroken)
		good.End(Success) // began before the circuit opened
		wantState(t, c, governance.StateOpen)
		pass(DefaultOpenFor)
		probe := begin()
		bad.End(Failure)
		wantState(t, c, governance.StateHalfOpen)
		probe.End(Success)
		probe.End(Failure) // a second end is none
		wantState(t, c, governance.StateClosed)
		if st := c.Status(); st.Window != (governance.Counts{}) || st.InFlight != 0 {
			t.Errorf("%+v", st)
		}
		pass(time.Second)
		if got, want := total(s, time.Now()), (governance.Counts{Success: 2, Failure: 3}); got != want {
			t.Errorf("counted %+v, want %+v", got, want) // in samples they do count
		}
	})
}

func TestCanceledProbesGiveTheirPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, settings(governance.Breaker{MinCalls: 1}))
		c := s.Circuit(reserve)
		run(t, c, 1, errBroken)
		pass(DefaultOpenFor)
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := Do(ctx, c, func(ctx context.Context) (int, error) {
				cancel()
				return 0, ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			wantState(t, c, governance.StateHalfOpen)
		}
		run(t, c, 1, nil)
		wantState(t, c, governance.StateClosed)
	})
}

// A probe that hangs for ever does not keep the circuit half-open for ever.
func TestHangingProbesAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, settings(governance.Breaker{MinCalls: 1}))
		c := s.Circuit(reserve)
		run(t, c, 1, errBroken)
		pass(DefaultOpenFor)
		hangs, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pass(DefaultOpenFor)
		refusedBy(t, run(t, c, 1, nil), ReasonOpen)
		pass(1)
		run(t, c, 1, nil)
		wantState(t, c, governance.StateClosed)
		hangs.End(Failure)
		wantState(t, c, governance.StateClosed)
	})
}

func TestTheWindowRolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, settings(governance.Breaker{MinCalls: 10, ErrorPercent: 50}))
		c := s.Circuit(reserve)
		run(t, c, 9, errBroken)
		pass(9 * time.Second)
		if w := c.Status().Window; w.Failure != 9 {
			t.Errorf("after 9s: %+v", w)
		}
		pass(time.Second)
		run(t, c, 1, errBroken)
		wantState(t, c, governance.StateClosed)
		if w := c.Status().Window; w != (governance.Counts{Failure: 1}) {
			t.Errorf("after 10s: %+v", w)
		}
	})
}

// A window that gets another size keeps what it holds of it.
func TestTheWindowIsResizedLive(t *testing.T) {
	window := func(d time.Duration) governance.Version {
		return version(int64(d), governance.Policy{Name: "window", Rules: settings(governance.Breaker{Window: governance.Duration(d), MinCalls: 1000})})
	}
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, governance.Rules{})
		c := s.Circuit(reserve)
		apply(t, s, window(10*time.Second))
		for range 10 { // one failure in each second
			run(t, c, 1, errBroken)
			pass(time.Second)
		}
		for _, step := range []struct {
			to       time.Duration
			min, max int64 // by rounding to buckets
		}{
			{60 * time.Second, 9, 10}, {5 * time.Second, 4, 10}, {time.Second, 0, 7}, {time.Minute, 0, 7},
		} {
			apply(t, s, window(step.to))
			if got := c.Status().Window.Failure; got < step.min || got > step.max {
				t.Errorf("a window of %s holds %d, want %d to %d", step.to, got, step.min, step.max)
			}
		}
		run(t, c, 3, errBroken)
		before := c.Status().Window.Failure
		apply(t, s, window(5*time.Minute))
		if got := c.Status().Window.Failure; got != before {
			t.Errorf("%d after growing, want %d", got, before)
		}
		pass(5*time.Minute + 30*time.Second)
		if got := c.Status().Window; got != (governance.Counts{}) {
			t.Errorf("%+v at the end", got)
		}
	})
}

func TestTheBulkheadIsResizedLive(t *testing.T) {
	limit := func(n int) governance.Version {
		return version(int64(n), governance.Policy{Name: "limit", Rules: governance.Rules{Bulkhead: &governance.Bulkhead{Concurrent: n}}})
	}
	s, _ := newSet(t, governance.Rules{})
	c := s.Circuit(reserve)
	apply(t, s, limit(2))
	var calls []*Call
	begin := func() error {
		call, err := c.Begin(t.Context())
		if err == nil {
			calls = append(calls, call)
		}
		return err
	}
	if err := errors.Join(begin(), begin()); err != nil {
		t.Fatal(err)
	}
	r := refusedBy(t, begin(), ReasonFull)
	if want := "breaker: InventoryService.reserve has all 2 calls under way that are allowed by policy shop/limit, version 2"; r.Error() != want {
		t.Errorf("%v", r)
	}
	apply(t, s, limit(4))
	if err := errors.Join(begin(), begin()); err != nil {
		t.Fatal(err)
	}
	refusedBy(t, begin(), ReasonFull)
	apply(t, s, limit(1))
	for _, call := range calls[:3] {
		call.End(Success)
		refusedBy(t, begin(), ReasonFull)
	}
	calls[3].End(Success)
	calls = nil
	if err := begin(); err != nil {
		t.Fatal(err)
	}
	refusedBy(t, begin(), ReasonFull)
	apply(t, s)
	if err := begin(); err != nil {
		t.Fatal("without a policy there is no bulkhead:", err)
	}
}

func TestCircuitsAreBounded(t *testing.T) {
	s := NewSet(Config{App: inventory, MaxCircuits: 3, Settings: settings(governance.Breaker{MinCalls: 1})})
	defer s.Close()
	named := governance.Series{Command: "late", At: governance.Provider}
	apply(t, s, version(1, governance.Policy{
		Target: governance.Target{App: inventory, Command: "late"}, Rules: settings(governance.Breaker{Mode: governance.ModeForcedOpen}),
	}))
	for i := range 100 {
		c := s.Circuit(governance.Series{Command: fmt.Sprint("c", i), At: governance.Provider})
		if others := c.Series().Command == Others; others != (i >= 3) {
			t.Fatalf("the circuit of c%d is %s", i, c.Series().Command)
		}
		run(t, c, 1, errBroken)
	}
	if n := len(s.Status()); n != 4 {
		t.Errorf("%d circuits", n)
	}
	// Commands that have nothing to do with each other do not open for each other.
	wantState(t, s.Circuit(governance.Series{Command: "c50", At: governance.Provider}), governance.StateClosed)
	// What a policy names is governed whatever there is.
	wantState(t, s.Circuit(named), governance.StateForcedOpen)
	if first := s.Circuit(named); s.Circuit(named) != first {
		t.Error("two circuits of one series")
	}
}

// Settings come from code, where nobody validates them.
func TestOddSettings(t *testing.T) {
	for name, odd := range map[string]governance.Rules{
		"a tiny window": settings(governance.Breaker{Window: 1}),
		"less than no":  settings(governance.Breaker{Window: -1, MinCalls: -1, OpenFor: -1, Probes: -1, ErrorPercent: -1}),
		"no mode":       settings(governance.Breaker{Mode: "none"}),
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSet(t, odd)
			c := s.Circuit(reserve)
			run(t, c, 3, errBroken)
			run(t, c, 3, nil)
			s.Status()
		})
	}
}
