package breaker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	inventory = governance.App{Namespace: "shop", Name: "inventory"}
	orders    = governance.App{Namespace: "shop", Name: "orders"}
	reserve   = governance.Series{Command: "InventoryService.reserve", At: governance.Provider}
	errBroken = errors.New("broken")
)

// log records transitions.
type log struct {
	mu  sync.Mutex
	all []governance.Transition
}

func (l *log) add(t governance.Transition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, t)
}

// take returns what was recorded since the last take.
func (l *log) take() []governance.Transition {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.all
	l.all = nil
	return out
}

func (l *log) states() (s []governance.State) {
	for _, t := range l.take() {
		s = append(s, t.To)
	}
	return s
}

// pass moves the clock of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func newSet(t testing.TB, settings governance.Rules) (*Set, *log) {
	t.Helper()
	s := NewSet(Config{App: inventory, Settings: settings})
	t.Cleanup(s.Close)
	l := new(log)
	t.Cleanup(s.Listen(l.add))
	return s, l
}

// settings are rules with a breaker.
func settings(b governance.Breaker) governance.Rules { return governance.Rules{Breaker: &b} }

// run makes n calls with one result and returns the last error of Do.
func run(t testing.TB, c *Circuit, n int, result error) (last error) {
	t.Helper()
	for range n {
		_, last = Do(t.Context(), c, func(context.Context) (int, error) { return 0, result })
	}
	return last
}

// refusedBy asserts that err is a refusal and returns it.
func refusedBy(t testing.TB, err error, want Reason) *Refused {
	t.Helper()
	var r *Refused
	if !errors.As(err, &r) {
		t.Fatalf("not refused: %v", err)
	}
	if r.Reason != want {
		t.Fatalf("refused as %s, want %s: %v", r.Reason, want, err)
	}
	return r
}

func wantState(t testing.TB, c *Circuit, want governance.State) {
	t.Helper()
	if got := c.State(); got != want {
		t.Fatalf("the circuit is %s, want %s", got, want)
	}
}

// total adds up what Collect returns.
func total(s *Set, now time.Time) governance.Counts {
	var sum governance.Counts
	for _, one := range s.Collect(now) {
		sum = sum.Add(one.Counts)
	}
	return sum
}

// version makes a version of a policy for the whole of inventory.
func version(n int64, p governance.Policy) governance.Version {
	if p.Target.App == (governance.App{}) {
		p.Target.App = inventory
	}
	return governance.Version{Policy: p.WithDefaults(), Version: n, Actor: "ann", Reason: "warehouse down"}
}

// pulled is a switch for reserve.
func pulled(n int64, expires time.Time, f *governance.Fallback) governance.Version {
	return version(n, governance.Policy{
		Kind: governance.KindSwitch, Target: governance.Target{App: inventory, Command: reserve.Command}, Expires: expires,
		Rules: governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}, Fallback: f},
	})
}

func apply(t testing.TB, s *Set, policies ...governance.Version) {
	t.Helper()
	if err := s.Apply(policies, 0); err != nil {
		t.Fatal(err)
	}
}
