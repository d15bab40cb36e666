// Package governancetest holds what every implementation of governance.Store has
// to do. An implementation's tests call Run.
package governancetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

// Clock is a clock that tests turn. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at the begin of a minute of the present.
func NewClock() *Clock { return &Clock{now: time.Now().UTC().Truncate(time.Minute)} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance turns the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Subject is a fresh store under test.
type Subject struct {
	Store governance.Store
	// Settle does what the store does in the background with what was appended.
	// It may be nil.
	Settle func(ctx context.Context) error
}

// Run runs the kit. open returns a fresh, empty store that tells time by clock.
func Run(t *testing.T, open func(t *testing.T, clock *Clock) Subject) {
	for _, group := range []map[string]func(*world){policyTests, fleetTests, historyTests, totalTests, tailTests} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				clock := NewClock()
				test(&world{T: t, Clock: clock, Subject: open(t, clock)})
			})
		}
	}
}

type world struct {
	*testing.T
	*Clock
	Subject
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) wantCode(what string, err error, code governance.Code) {
	w.Helper()
	if governance.CodeOf(err) != code {
		w.Fatalf("%s: got %v, want an error with code %q", what, err, code)
	}
}

func (w *world) settle() {
	w.Helper()
	if w.Settle != nil {
		w.must(w.Settle(w.Context()))
	}
}

var (
	inventory = governance.App{Namespace: "shop", Name: "inventory"}
	orders    = governance.App{Namespace: "shop", Name: "orders"}
	why       = governance.Change{Actor: "user:admin", Reason: "INC-1"}
)

func policyOf(command string, timeout time.Duration) governance.Policy {
	return governance.Policy{
		Target: governance.Target{App: inventory, Command: command},
		Rules:  governance.Rules{Timeout: governance.Duration(timeout)},
	}
}

func switchOf(command string) governance.Policy {
	return governance.Policy{
		Kind: governance.KindSwitch, Target: governance.Target{App: inventory, Command: command},
		Rules: governance.Rules{
			Breaker:  &governance.Breaker{Mode: governance.ModeForcedOpen},
			Fallback: &governance.Fallback{Value: []byte(`{ "b": 1, "a": "<&>" }`)},
		},
	}
}

func (w *world) put(p governance.Policy, expect int64) governance.Version {
	w.Helper()
	v, err := w.Store.Put(w.Context(), p, expect, why)
	w.must(err)
	return v
}

func (w *world) events(kinds ...string) []governance.Event {
	w.Helper()
	out, err := w.Store.Events(w.Context(), governance.EventQuery{Kinds: kinds})
	w.must(err)
	return out
}

func latency(d ...time.Duration) []byte {
	var s sketch.Sketch
	for _, v := range d {
		s.Add(v)
	}
	out, err := s.MarshalBinary()
	if err != nil {
		panic(err) // it says that it never fails
	}
	return out
}

// eventually calls f until it reports true; the test's own deadline is the end.
func (w *world) eventually(what string, moved <-chan struct{}, f func() bool) {
	w.Helper()
	for !f() {
		select {
		case <-moved:
		case <-w.Context().Done():
			w.Fatal("the test ended before " + what)
		case <-time.After(30 * time.Second):
			w.Fatal("never: " + what)
		}
	}
}

// watch runs one of the store's watches until the test ends and returns a channel
// that holds a value whenever it called since the last look.
func (w *world) watch(f func(ctx context.Context, changed func()) error) <-chan struct{} {
	moved := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() {
		done <- f(ctx, func() {
			select {
			case moved <- struct{}{}:
			default:
			}
		})
	}()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			w.Errorf("the watch ended with %v", err)
		}
	})
	return moved
}

func ids(in []governance.Version) string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = fmt.Sprintf("%s@%d", v.Policy.Key(), v.Version)
	}
	return strings.Join(out, " ")
}
