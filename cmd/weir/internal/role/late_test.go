package role_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

// shop is a registry that knows one application.
type shop struct {
	role.Registry // what is not asked here

	mu   sync.Mutex
	subs int
}

func (s *shop) Snapshot(_ context.Context, app registry.App) (registry.Snapshot, error) {
	return registry.Snapshot{App: app, Generation: 7}, nil
}

func (s *shop) Subscribe(app registry.App, notify func(registry.Snapshot)) (func(), error) {
	s.add(1)
	notify(registry.Snapshot{App: app, Generation: 7})
	return sync.OnceFunc(func() { s.add(-1) }), nil
}

func (s *shop) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs += n
}

type reviewer struct{}

func (reviewer) Review(context.Context, string) (access.Instance, error) {
	return access.Instance{Namespace: "shop"}, nil
}

// Before the cluster is known, nothing is known of any application, which is not
// the same as that there is none.
func TestLateIsUnknownAndThenKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := role.NewLate()
		app := registry.App{Namespace: "shop", Name: "cart"}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Snapshot(short, app); registry.CodeOf(err) != registry.Unavailable {
			t.Errorf("got %v", err)
		}
		if _, err := l.Review(t.Context(), "a"); access.CodeOf(err) != access.Unavailable {
			t.Errorf("got %v", err)
		}
		if _, err := l.Subscribe(registry.App{}, nil); registry.CodeOf(err) != registry.Invalid {
			t.Errorf("got %v", err)
		}
		var mu sync.Mutex
		heard := make(map[string]int)
		hear := func(name string) func(registry.Snapshot) {
			return func(s registry.Snapshot) {
				mu.Lock()
				defer mu.Unlock()
				heard[name] += int(s.Generation)
			}
		}
		early, err := l.Subscribe(app, hear("early"))
		if err != nil {
			t.Fatal(err)
		}
		gone, err := l.Subscribe(app, hear("gone"))
		if err != nil {
			t.Fatal(err)
		}
		gone()
		gone()
		waited := make(chan registry.Snapshot, 1)
		go func() {
			s, err := l.Snapshot(t.Context(), app)
			if err != nil {
				t.Error(err)
			}
			waited <- s
		}()
		synctest.Wait()
		if len(heard) != 0 {
			t.Errorf("heard %v of a cluster that is not known", heard)
		}

		s := &shop{}
		l.Set(s, reviewer{})
		if got := <-waited; got.Generation != 7 {
			t.Errorf("got %+v", got)
		}
		late, err := l.Subscribe(app, hear("late"))
		if err != nil {
			t.Fatal(err)
		}
		if heard["early"] != 7 || heard["late"] != 7 || heard["gone"] != 0 || s.subs != 2 {
			t.Errorf("heard %v by %d subscriptions", heard, s.subs)
		}
		early()
		early()
		late()
		gone()
		if s.subs != 0 {
			t.Errorf("%d subscriptions are left", s.subs)
		}
		if i, err := l.Review(t.Context(), "a"); err != nil || i.Namespace != "shop" {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

func TestLateWithoutAReviewer(t *testing.T) {
	l := role.NewLate()
	l.Set(&shop{}, nil)
	var e *access.Error
	if _, err := l.Review(t.Context(), "a"); !errors.As(err, &e) || e.Code != access.Unavailable {
		t.Errorf("got %v", err)
	}
}
