package breaker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/governance"
)

func TestASwitchHoldsFromTheNextCallOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newSet(t, governance.Rules{})
		c := s.Circuit(reserve)
		under, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, pulled(7, time.Time{}, &governance.Fallback{Value: json.RawMessage("5")}))
		if v, err := Do(t.Context(), c, func(context.Context) (int, error) { t.Error("called"); return 0, nil }); v != 5 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
		_, err = c.Begin(t.Context())
		r := refusedBy(t, err, ReasonSwitched)
		if r.Fallback == nil || string(r.Fallback.Value) != "5" || r.Version != 7 {
			t.Errorf("%+v", r)
		}
		if want := "breaker: InventoryService.reserve is switched off by switch shop/inventory.InventoryService.reserve.switch, version 7: warehouse down"; r.Error() != want {
			t.Errorf("%v", r)
		}
		under.End(Success)
		wantState(t, c, governance.StateForcedOpen)
		apply(t, s)
		if err := run(t, c, 1, nil); err != nil {
			t.Fatal(err)
		}
		got := l.take()
		if len(got) != 2 || got[0].To != governance.StateForcedOpen || got[0].Version != 7 ||
			got[0].Cause != "by switch shop/inventory.InventoryService.reserve.switch, version 7 of ann: warehouse down" ||
			got[1].To != governance.StateClosed || got[1].Version != 7 ||
			got[1].Cause != "shop/inventory.InventoryService.reserve.switch, version 7, was released" {
			t.Errorf("%+v", got)
		}
		pass(time.Second)
		if got, want := total(s, time.Now()), (governance.Counts{Success: 2, Switched: 2, FallbackSuccess: 1}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}

// Policies hold for circuits that are made after them, too.
func TestPoliciesHoldForNewCircuits(t *testing.T) {
	s, l := newSet(t, governance.Rules{})
	apply(t, s, pulled(1, time.Time{}, nil))
	refusedBy(t, run(t, s.Circuit(reserve), 1, nil), ReasonSwitched)
	if got := l.states(); !slices.Equal(got, []governance.State{governance.StateForcedOpen}) {
		t.Errorf("states %v", got)
	}
	if err := run(t, s.Circuit(governance.Series{Command: "other", At: governance.Provider}), 1, nil); err != nil {
		t.Error(err)
	}
	if err := run(t, s.Circuit(governance.Series{Command: reserve.Command, At: governance.Caller, Peer: orders}), 1, nil); err != nil {
		t.Error(err)
	}
}

func TestCallerSide(t *testing.T) {
	s := NewSet(Config{App: orders})
	defer s.Close()
	at := func(n int64, from ...governance.App) governance.Version {
		return version(n, governance.Policy{
			Target: governance.Target{App: inventory, Command: "org.example.shop." + reserve.Command, At: governance.Caller, From: from},
			Rules:  settings(governance.Breaker{Mode: governance.ModeForcedOpen}),
		})
	}
	c := s.Circuit(governance.Series{Command: reserve.Command, At: governance.Caller, Peer: inventory})
	apply(t, s, at(1, inventory)) // another caller's
	wantState(t, c, governance.StateClosed)
	apply(t, s, at(2, orders))
	wantState(t, c, governance.StateForcedOpen)
	apply(t, s, at(3))
	wantState(t, c, governance.StateForcedOpen)
}

// Expiry needs neither a timer nor a control plane: the first call after it sees
// it, by the control plane's clock.
func TestExpiryIsSeenByTheNextCall(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	s := NewSet(Config{App: inventory, Now: func() time.Time { return at }})
	s.Close() // no timer from here on
	var l log
	defer s.Listen(l.add)()
	c := s.Circuit(reserve)
	ahead := 30 * time.Second // the control plane's clock
	if err := s.Apply([]governance.Version{pulled(1, at.Add(2*time.Minute), nil)}, ahead); err != nil {
		t.Fatal(err)
	}
	at = at.Add(90*time.Second - 1)
	refusedBy(t, run(t, c, 1, nil), ReasonSwitched)
	l.take()
	at = at.Add(1)
	if err := run(t, c, 1, nil); err != nil {
		t.Fatal(err)
	}
	if got := l.take(); len(got) != 1 || got[0].To != governance.StateClosed ||
		got[0].Cause != "shop/inventory.InventoryService.reserve.switch, version 1, expired at 2026-11-20T12:02:00Z" {
		t.Errorf("%+v", got)
	}
}

// Listeners hear of expiry though nobody calls.
func TestExpiryIsToldWithoutACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newSet(t, governance.Rules{})
		s.Circuit(reserve)
		apply(t, s, pulled(1, time.Now().Add(time.Minute), nil),
			version(2, governance.Policy{Name: "later", Expires: time.Now().Add(2 * time.Minute), Rules: settings(governance.Breaker{Mode: governance.ModeDisabled})}))
		pass(time.Minute)
		synctest.Wait()
		pass(time.Minute)
		synctest.Wait()
		got := l.take()
		want := []governance.State{governance.StateForcedOpen, governance.StateDisabled, governance.StateClosed}
		for i, tr := range got {
			if i >= len(want) || tr.To != want[i] {
				t.Fatalf("%+v", got)
			}
		}
		if len(got) != len(want) || got[2].Time.Sub(got[1].Time) != time.Minute {
			t.Errorf("%+v", got)
		}
	})
}

func TestAnInvalidSetChangesNothing(t *testing.T) {
	s, l := newSet(t, governance.Rules{})
	c := s.Circuit(reserve)
	apply(t, s, pulled(1, time.Time{}, nil))
	l.take()
	bad := version(3, governance.Policy{Name: "bad", Rules: settings(governance.Breaker{ErrorPercent: 101})})
	err := s.Apply([]governance.Version{version(2, governance.Policy{Rules: governance.Rules{Timeout: 1}}), bad}, 0)
	if governance.CodeOf(err) != governance.Invalid || !strings.Contains(err.Error(), "shop/bad, version 3") {
		t.Errorf("%v", err)
	}
	wantState(t, c, governance.StateForcedOpen)
	if e := c.Effective(); e.Timeout != 0 || len(l.take()) != 0 {
		t.Errorf("%+v", e)
	}
	bad.Deleted = true // the end of a policy needs not be valid by today's rules
	if err := s.Apply([]governance.Version{bad}, 0); err != nil {
		t.Error(err)
	}
}

func TestEffectiveIsComplete(t *testing.T) {
	s, _ := newSet(t, settings(governance.Breaker{MinCalls: 7}))
	c := s.Circuit(reserve, WithSettings(governance.Rules{Timeout: governance.Duration(time.Second), Breaker: &governance.Breaker{Probes: 4}}))
	apply(t, s, version(9, governance.Policy{Name: "p", Rules: settings(governance.Breaker{OpenFor: governance.Duration(time.Minute)})}))
	e := c.Effective()
	want := governance.Breaker{
		Mode: governance.ModeAuto, Window: governance.Duration(DefaultWindow), MinCalls: 7,
		ErrorPercent: DefaultErrorPercent, OpenFor: governance.Duration(time.Minute), Probes: 4,
	}
	if *e.Breaker != want || e.Timeout != governance.Duration(time.Second) || e.Sources["breaker.openFor"].Version != 9 || len(e.Sources) != 1 {
		t.Errorf("%+v, %+v", e, *e.Breaker)
	}
	apply(t, s)
	if got := c.Effective().Breaker.OpenFor; got != governance.Duration(DefaultOpenFor) {
		t.Errorf("open for %s without the policy", got)
	}
}

func TestForcedClosedAndDisabled(t *testing.T) {
	mode := func(m governance.Mode) governance.Version {
		return version(1, governance.Policy{Name: "mode", Rules: settings(governance.Breaker{Mode: m})})
	}
	for m, counted := range map[governance.Mode]int64{governance.ModeForcedClosed: 100, governance.ModeDisabled: 0} {
		t.Run(string(m), func(t *testing.T) {
			s, l := newSet(t, settings(governance.Breaker{MinCalls: 10}))
			c := s.Circuit(reserve)
			run(t, c, 10, errBroken)
			wantState(t, c, governance.StateOpen)
			apply(t, s, mode(m))
			if err := run(t, c, 100, errBroken); !errors.Is(err, errBroken) {
				t.Fatal(err)
			}
			if got := c.Status().Window.Failure; m == governance.ModeForcedClosed && got < counted || m == governance.ModeDisabled && got > 10 {
				t.Errorf("the window holds %d failures", got)
			}
			apply(t, s)
			wantState(t, c, governance.StateClosed)
			run(t, c, 1, errBroken)
			if want := m == governance.ModeForcedClosed; (c.State() == governance.StateOpen) != want {
				t.Errorf("%s after one failure more", c.State())
			}
			l.take()
		})
	}
}

// A policy that changes while a circuit is open lets it be open.
func TestThresholdsChangeLiveWithoutLosingState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newSet(t, settings(governance.Breaker{MinCalls: 4}))
		c := s.Circuit(reserve)
		run(t, c, 4, errBroken)
		apply(t, s, version(1, governance.Policy{Rules: settings(governance.Breaker{MinCalls: 100, OpenFor: governance.Duration(time.Minute), Probes: 2, Window: governance.Duration(time.Minute)})}))
		wantState(t, c, governance.StateOpen)
		pass(DefaultOpenFor)
		run(t, c, 1, nil)
		wantState(t, c, governance.StateHalfOpen) // two are asked for now
		apply(t, s)
		run(t, c, 1, nil)
		wantState(t, c, governance.StateClosed)
		if got := l.states(); !slices.Equal(got, []governance.State{governance.StateOpen, governance.StateHalfOpen, governance.StateClosed}) {
			t.Errorf("states %v", got)
		}
	})
}

// A listener may call back, and what that causes comes after.
func TestListenersMayCallBack(t *testing.T) {
	s, _ := newSet(t, settings(governance.Breaker{MinCalls: 1}))
	c := s.Circuit(reserve)
	var got []governance.State
	stop := s.Listen(func(tr governance.Transition) {
		got = append(got, tr.To)
		s.Status()
		if tr.To == governance.StateOpen {
			apply(t, s, pulled(1, time.Time{}, nil))
		}
	})
	run(t, c, 1, errBroken)
	if !slices.Equal(got, []governance.State{governance.StateOpen, governance.StateForcedOpen}) {
		t.Errorf("%v", got)
	}
	stop()
	apply(t, s)
	if len(got) != 2 {
		t.Errorf("%v after stop", got)
	}
}

// A call that began under stricter thresholds must not open a circuit for those
// that begin under looser ones.
func TestCallsUnderWayAreJudgedByPresentThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, settings(governance.Breaker{MinCalls: 4, ErrorPercent: 50}))
		c := s.Circuit(reserve)
		run(t, c, 3, nil)
		run(t, c, 2, errBroken)
		call, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, version(1, governance.Policy{Rules: governance.Rules{Breaker: &governance.Breaker{ErrorPercent: 90}}}))
		call.End(Failure)
		wantState(t, c, governance.StateClosed)
	})
}

// Who has given a circuit an hour to be open by mistake can take it back.
func TestOpenForIsLiveWhileACircuitIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newSet(t, settings(governance.Breaker{MinCalls: 1, OpenFor: governance.Duration(time.Hour)}))
		c := s.Circuit(reserve)
		run(t, c, 1, errBroken)
		wantState(t, c, governance.StateOpen)
		pass(10 * time.Second)
		refusedBy(t, run(t, c, 1, nil), ReasonOpen)
		apply(t, s, version(1, governance.Policy{Rules: governance.Rules{Breaker: &governance.Breaker{OpenFor: governance.Duration(20 * time.Second)}}}))
		if r := refusedBy(t, run(t, c, 1, nil), ReasonOpen); !r.Until.Equal(time.Now().Add(10 * time.Second)) {
			t.Errorf("it says it is open until %s, and it is %s", r.Until, time.Now())
		}
		pass(11 * time.Second)
		if err := run(t, c, 1, nil); err != nil {
			t.Fatalf("still refused: %v", err)
		}
		wantState(t, c, governance.StateClosed)
		if got := l.states(); len(got) != 3 {
			t.Errorf("transitions to %v", got)
		}
	})
}
