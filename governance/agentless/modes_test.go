package agentless

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/governance"
)

// expiring is a version that holds for so long from now.
func expiring(t *testing.T, n int64, command string, rules governance.Rules, after time.Duration) governance.Version {
	t.Helper()
	v := version(t, n, command, rules, governance.KindSwitch)
	v.Policy.Expires = time.Now().Add(after)
	return v
}

func TestASwitchThatCannotBeHeldIsNeverConfirmed(t *testing.T) {
	t.Parallel()
	for name, called := range map[string]bool{"with a circuit breaker": true, "before the first call": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				g := newGifts(w, "1")
				g.readonly = true
				if called {
					g.call(price, 1)
				}
				w.policies.publish(expiring(w.T, 1, "", switched, time.Minute))
				_, end := w.control()
				defer end()
				// It is met anew every ten seconds, as somebody may have mended it.
				for range 300 {
					w.after(100 * time.Millisecond)
					if a := w.instance("1").Applied; a != nil && (a.Hash != "" || a.Version != 0) {
						w.Fatalf("it is confirmed: %+v, %+v", a, a.Refused)
					}
				}
				g.call(price, 1)
				w.after(10 * time.Second)
				a := w.instance("1").Applied
				if a.Version != 0 || a.Refused == nil || !strings.Contains(a.Refused.Reason, "circuitbreakers.access=unrestricted") {
					w.Fatalf("it applies %+v, %+v", a, a.Refused)
				}
				w.after(time.Minute)
				if !w.current("1") {
					w.Errorf("once the switch has expired, it applies %+v", w.instance("1").Applied)
				}
			})
		})
	}
}

func TestASwitchThatCannotBeHeldAnyMoreIsNotConfirmedAnyMore(t *testing.T) {
	bubble(t, func(w *world) {
		g := newGifts(w, "1")
		g.call(price, 1)
		w.policies.publish(version(w.T, 1, price, switched, governance.KindSwitch))
		_, end := w.control()
		w.after(5 * time.Second)
		if !w.current("1") {
			w.Fatalf("it applies %+v", w.instance("1").Applied)
		}
		end()
		s := New(Config{Policies: w.policies})
		n := newSession(s, deliveryApp, w.cluster.snapshot().Service, w.cluster.snapshot().Instances[0], func() {})
		set, _ := w.policies.Policies(delivery)
		n.confirm(set, nil)
		n.refuse(set, "it cannot be written")
		if a := n.applied; a.Version != 0 || a.Hash != "" || a.Refused == nil {
			w.Errorf("it applies %+v", a)
		}
		n.confirm(set, nil)
		n.refuse(governance.PolicySet{Version: set.Version + 1, Hash: "another"}, "it cannot be written")
		if a := n.applied; a.Version != set.Version || a.Hash != set.Hash {
			w.Errorf("of the set before it applies %+v", a)
		}
	})
}

// While a process reads its ConfigMap again, a circuit breaker may come.
func TestWhatComesWhileAConfigMapIsReadIsHeldBeforeItIsConfirmed(t *testing.T) {
	bubble(t, func(w *world) {
		w.cluster.reads, w.cluster.config = true, map[string]string{}
		g := newGifts(w, "1")
		g.config = func() map[string]string { return nil }
		g.slow = func() time.Duration { return time.Second }
		g.refreshing = func() {
			g.call(price, 1)
			time.Sleep(7 * time.Second) //nolint:forbidigo // it is the time of the bubble
		}
		w.policies.publish(version(w.T, 1, "", switched, governance.KindSwitch))
		_, end := w.control()
		defer end()
		for range 300 {
			w.after(50 * time.Millisecond)
			if w.current("1") && g.state(price) != circuitForcedOpen {
				w.Fatalf("it is %q, and confirmed: %+v", g.state(price), w.instance("1").Applied)
			}
		}
		if !w.current("1") {
			w.Errorf("it applies %+v", w.instance("1").Applied)
		}
	})
}

// Nothing can be held before there is a circuit breaker, and that is said.
func TestASwitchOfAnApplicationThatHasNotBeenCalledYetIsNotConfirmed(t *testing.T) {
	bubble(t, func(w *world) {
		g := newGifts(w, "1")
		w.policies.publish(version(w.T, 1, "", switched, governance.KindSwitch))
		_, end := w.control()
		defer end()
		w.after(20 * time.Second)
		if a := w.instance("1").Applied; a == nil || len(a.Unmet) != 1 || a.Unmet[0].Version != 1 || !strings.Contains(a.Unmet[0].Reason, "it waits for its first call") {
			w.Fatalf("before the first call it applies %+v", a)
		}
		g.call(price, 1)
		w.after(3 * time.Second)
		if a := w.instance("1").Applied; !w.current("1") || len(a.Unmet) != 0 || g.state(price) != circuitForcedOpen {
			w.Errorf("after it, it is %s, and applies %+v", g.state(price), a)
		}
	})
}

func TestAnExpiryIsNobodysDrift(t *testing.T) {
	t.Parallel()
	check := func(w *world, s *Service) {
		w.Helper()
		events, err := w.store.Events(w.Context(), governance.EventQuery{App: delivery, Kinds: []string{governance.EventDrifted}})
		if drifts := testutil.ToFloat64(s.metrics.drifts); err != nil || drifts != 0 || len(events) != 0 || !w.current("1") {
			w.Errorf("%g drifts, %+v, %v; %+v", drifts, events, err, w.instance("1"))
		}
	}
	below := governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeDisabled}}
	t.Run("Resilience4j", func(t *testing.T) {
		for name, c := range map[string]struct {
			more []governance.Version
			then string
		}{
			"nothing else holds": {nil, "CLOSED"},
			"another takes over": {[]governance.Version{version(t, 2, "", below, "")}, circuitDisabled},
		} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(w *world) {
					g := newGifts(w, "1")
					g.call(price, 1)
					w.policies.publish(append(c.more, expiring(w.T, 1, price, switched, 20*time.Second))...)
					s, end := w.control()
					defer end()
					w.after(10 * time.Second)
					if g.state(price) != circuitForcedOpen {
						w.Fatalf("pulled: %s", g.state(price))
					}
					w.after(20 * time.Second)
					if g.state(price) != c.then {
						w.Errorf("expired: %s", g.state(price))
					}
					check(w, s)
				})
			})
		}
	})
	t.Run("Hystrix", func(t *testing.T) {
		bubble(t, func(w *world) {
			j := newJVM(w.T)
			w.cluster.pods["1"] = j
			w.policies.publish(version(w.T, 2, "", below, ""), expiring(w.T, 1, quote, switched, 20*time.Second))
			s, end := w.control()
			defer end()
			w.after(10 * time.Second)
			if got := j.shown(quote, forceOpen.suffix); got != "true" {
				w.Fatalf("pulled: %v", j.written())
			}
			w.after(20 * time.Second)
			if got := j.shown(quote, enabled.suffix); got != "false" {
				w.Errorf("expired: %v", j.written())
			}
			check(w, s)
		})
	})
}

// Answers with circuit breakers are asked for in two places, and one may be under way
// for longer than the next.
func TestAnswersCountInTheOrderTheyWereGiven(t *testing.T) {
	bubble(t, func(w *world) {
		g := newGifts(w, "1")
		g.call(price, 1)
		begin := time.Now()
		w.policies.publish(version(w.T, 1, price, switched, governance.KindSwitch))
		var asked atomic.Int64
		g.slow = func() time.Duration { return time.Duration(asked.Add(1)%2) * 2500 * time.Millisecond }
		s, end := w.control()
		defer end()
		w.after(15 * time.Second)
		for range 30 {
			g.call(price, 10)
			w.after(time.Second)
		}
		w.after(15 * time.Second)
		g.put(price, "CLOSED")
		w.after(30 * time.Second)
		if got := w.total(begin); got.Switched != 300 {
			w.Errorf("of 300 calls %d were refused", got.Switched)
		}
		events, err := w.store.Events(w.Context(), governance.EventQuery{App: delivery, Kinds: []string{governance.EventTransition}})
		if err != nil {
			w.Fatal(err)
		}
		var told []string
		for _, e := range slices.Backward(events) {
			told = append(told, fmt.Sprint(e.Transition.To))
		}
		if drifts := testutil.ToFloat64(s.metrics.drifts); drifts != 1 || !slices.Equal(told, []string{"forcedOpen", "closed", "forcedOpen"}) {
			w.Errorf("%g drifts, and %q", drifts, told)
		}
	})
}
