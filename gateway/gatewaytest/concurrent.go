package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
)

// following: many write at once; revisions are given without a gap and in the
// order in which they can be seen, and readers who follow have the store's table
// after every step.
func following(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{Horizon: 7, Poll: long}).Store
	const writers, each, readers = 4, 25, 2
	ctx, cancel := until(t)
	defer cancel()

	var wg sync.WaitGroup
	revs := make([][]gateway.Revision, writers)
	final := atomic.Int64{}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				// Half of it is contended, half the writer's own; every fifth goes away.
				writes := []gateway.Write{Put("n", "shared", fmt.Sprint(w, " ", i)), Put("n", fmt.Sprintf("w%d", w), fmt.Sprint(i))}
				if i%5 == 4 {
					writes[1] = Delete("n", fmt.Sprintf("w%d", w))
				}
				rev, err := s.Apply(ctx, writes, Because("load"))
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				revs[w] = append(revs[w], rev)
			}
		})
	}
	var readerWG sync.WaitGroup
	for r := range readers {
		readerWG.Go(func() {
			ctx, stop := context.WithCancelCause(ctx)
			defer stop(nil)
			var state gateway.State
			err := s.Watch(ctx, func() {
				d, err := s.Since(ctx, state.Revision)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("reader %d: %v", r, err)
					}
					stop(errDone)
					return
				}
				if d.Revision < state.Revision {
					t.Errorf("reader %d went back from %d to %d", r, state.Revision, d.Revision)
				}
				if from := state.Revision; !state.Apply(d) {
					t.Errorf("reader %d is not where the store was at %d, after %d (full %t)", r, d.Revision, from, d.Full)
					stop(errDone)
				}
				if state.Revision == writers*each {
					final.Add(1)
					stop(errDone)
				}
			})
			if !errors.Is(err, errDone) {
				t.Errorf("reader %d: Watch ended with %v at revision %d", r, err, state.Revision)
			}
		})
	}
	wg.Wait()
	readerWG.Wait()
	if final.Load() != readers {
		t.Errorf("%d of %d readers came to the end", final.Load(), readers)
	}
	var all []gateway.Revision
	for w := range revs {
		if !slices.IsSorted(revs[w]) {
			t.Errorf("writer %d saw revisions out of order: %v", w, revs[w])
		}
		all = append(all, revs[w]...)
	}
	slices.Sort(all)
	for i, rev := range all {
		if rev != gateway.Revision(i+1) {
			t.Fatalf("revisions have a gap, or one twice, at %d: %v", i+1, all)
		}
	}
}

// races: of many who have seen the same version, one writes.
func races(t *testing.T, open func(*testing.T, Settings) Subject) {
	s := open(t, Settings{}).Store
	ctx, cancel := until(t)
	defer cancel()
	rev := gateway.Revision(0)
	for round := range 5 {
		var won, lost atomic.Int64
		var next atomic.Int64
		var wg sync.WaitGroup
		for w := range 6 {
			wg.Go(func() {
				got, err := s.Apply(ctx, []gateway.Write{{Route: Route("n", "a", fmt.Sprint(round, " ", w)), Expect: rev}}, Because("race"))
				switch gateway.CodeOf(err) {
				case "":
					won.Add(1)
					next.Store(int64(got))
				case gateway.Conflict:
					lost.Add(1)
				default:
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 5 {
			t.Fatalf("round %d: %d won, %d lost", round, won.Load(), lost.Load())
		}
		rev = gateway.Revision(next.Load())
	}
}

func watch(t *testing.T, open func(*testing.T, Settings) Subject) {
	t.Run("at once and on change", func(t *testing.T) {
		s := open(t, Settings{Poll: long}).Store
		ctx, cancel := until(t)
		defer cancel()
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		calls := make(chan gateway.Revision)
		ended := make(chan error, 1)
		go func() {
			ended <- s.Watch(ctx, func() {
				d, err := s.Since(ctx, 0)
				if err != nil {
					return // the end of the test
				}
				select {
				case calls <- d.Revision:
				case <-ctx.Done():
				}
			})
		}()
		await := func(want gateway.Revision) {
			t.Helper()
			for {
				select {
				case rev := <-calls:
					if rev == want {
						return
					}
				case <-ctx.Done():
					t.Fatalf("nobody told of revision %d", want)
				}
			}
		}
		await(0)
		apply(t, s, Put("n", "a", "1"))
		await(1)
		apply(t, s, Delete("n", "a"))
		await(2)
		stop(errDone)
		if err := <-ended; !errors.Is(err, errDone) {
			t.Errorf("Watch ended with %v", err)
		}
	})
	t.Run("whatever happens", func(t *testing.T) {
		s := open(t, Settings{Poll: time.Millisecond}).Store
		ctx, cancel := until(t)
		defer cancel()
		calls := 0
		_ = s.Watch(ctx, func() {
			if calls++; calls == 5 {
				cancel()
			}
		})
		if calls != 5 {
			t.Errorf("%d calls while nothing changed", calls)
		}
	})
}

func node(name string, rev gateway.Revision) gateway.Node {
	return gateway.Node{Name: name, Revision: rev, Checksum: fmt.Sprint("sum ", rev), Version: "0.1.0"}
}

func set(t *testing.T, s gateway.Source, n gateway.Node) {
	t.Helper()
	if err := s.SetNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func names(nodes []gateway.Node) string {
	var out strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&out, "%s@%d ", n.Name, n.Revision)
	}
	return out.String()
}

func nodes(t *testing.T, open func(*testing.T, Settings) Subject) {
	sub := open(t, Settings{})
	s := sub.Store
	if got, err := s.Nodes(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	bad := node("b", 3)
	bad.Quarantined = []gateway.Quarantine{{Key: gateway.Key{Namespace: "n", Name: "x"}, Revision: 3, Serving: 2, Reason: "why"}}
	set(t, s, bad)
	set(t, s, node("c", 1))
	set(t, s, node("a", 3))
	set(t, s, node("c", 2))
	got, err := s.Nodes(t.Context())
	if err != nil || names(got) != "a@3 b@3 c@2 " {
		t.Fatalf("%s, %v", names(got), err)
	}
	if b := got[1]; b.Checksum != "sum 3" || b.Version != "0.1.0" || b.Seen.IsZero() || len(b.Quarantined) != 1 || b.Quarantined[0] != bad.Quarantined[0] {
		t.Errorf("got %+v", b)
	}
	if a := got[0]; len(a.Quarantined) != 0 {
		t.Errorf("got %+v", a)
	}
	sub.Age(t, "b", gateway.NodeGone+time.Second)
	sub.Age(t, "c", gateway.NodeGone/2)
	if got, err := s.Nodes(t.Context()); err != nil || names(got) != "a@3 c@2 " {
		t.Errorf("%s, %v", names(got), err)
	}
	set(t, s, node("b", 4))
	if got, err := s.Nodes(t.Context()); err != nil || names(got) != "a@3 b@4 c@2 " {
		t.Errorf("one that came back: %s, %v", names(got), err)
	}
}

func waitApplied(t *testing.T, open func(*testing.T, Settings) Subject) {
	sub := open(t, Settings{Poll: long})
	s := sub.Store
	ctx, cancel := until(t)
	defer cancel()
	if got, err := s.WaitApplied(ctx, 7); err != nil || len(got) != 0 || ctx.Err() != nil {
		t.Errorf("without a gateway there is nobody to wait for: %s, %v", names(got), err)
	}
	set(t, s, node("a", 1))
	set(t, s, node("b", 1))
	set(t, s, node("dead", 1))
	sub.Age(t, "dead", 2*gateway.NodeGone)

	done := make(chan string, 1)
	go func() {
		got, err := s.WaitApplied(ctx, 2)
		done <- fmt.Sprint(names(got), err)
	}()
	set(t, s, node("a", 2))
	set(t, s, node("b", 3))
	select {
	case got := <-done:
		if got != "a@2 b@3 <nil>" {
			t.Errorf("got %s", got)
		}
	case <-ctx.Done():
		t.Error("nobody woke who waited")
	}

	ended, end := context.WithCancel(t.Context())
	end()
	if got, err := s.WaitApplied(ended, 99); err != nil || names(got) != "a@2 b@3 " {
		t.Errorf("out of time: %s, %v; want what there is", names(got), err)
	}
}
