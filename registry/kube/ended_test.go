package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/weirmesh/weir/registry"
)

// When the slices of a whole namespace vanish, one question does for all applications
// in it, of those that somebody follows or asks for; and it is repeated until it is
// answered.
func TestOneQuestionForANamespace(t *testing.T) {
	const apps, followed = 100, 50
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{})
		ctx, cancel := context.WithCancel(t.Context())
		h.ctx = ctx
		var mu sync.Mutex
		asked := 0
		h.ended = func(_ context.Context, namespace string) ([]string, error) {
			mu.Lock()
			defer mu.Unlock()
			if asked++; namespace != "shop" {
				t.Errorf("asked about %q", namespace)
			}
			if asked <= 2 {
				return nil, errors.New("too much to do")
			}
			var ended []string
			for i := range apps {
				ended = append(ended, bigPodUID(i*100))
			}
			return ended, nil
		}
		questions := func() int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return asked
		}
		name := func(i int) registry.App { return registry.App{Namespace: "shop", Name: fmt.Sprintf("app-%d", i)} }
		feed := func(i, size int) {
			s := bigSlice(i, size)
			s.Name, s.Labels = name(i).Name, map[string]string{discoveryv1.LabelServiceName: name(i).Name}
			h.feed(s, false, h.clock.now())
		}
		h.mu.Lock()
		for i := range apps {
			h.feed(serviceNamed(name(i).Name), false, h.clock.now())
			h.feed(bigPod(i*100), false, h.clock.now())
			h.feed(bigPod(i*100+1), false, h.clock.now())
			feed(i, 2)
		}
		h.mu.Unlock()
		var last sync.Map
		for i := range followed {
			stop, err := h.Subscribe(name(i), func(s registry.Snapshot) { last.Store(i, len(s.Callable())) })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
		}
		advance(time.Minute)
		for i := range apps { // one by one, as a controller works
			h.mu.Lock()
			feed(i, 0)
			h.mu.Unlock()
			synctest.Wait()
		}
		if n := questions(); n != 0 {
			t.Errorf("%d questions at the very moment", n)
		}
		advance(10 * time.Minute / 2)
		if n := questions(); n != 3 {
			t.Errorf("%d questions, of which two failed", n)
		}
		for i := range followed {
			if n, _ := last.Load(i); n != 1 {
				t.Errorf("of %s %v instances are called, and one of two has ended", name(i), n)
			}
		}
		if _, err := h.Snapshot(t.Context(), name(apps-1)); err != nil {
			t.Fatal(err)
		}
		advance(soon)
		if s, err := h.Snapshot(t.Context(), name(apps-1)); err != nil || len(s.Callable()) != 1 {
			t.Errorf("who asks is told of %d instances (%v), and one of two has ended", len(s.Callable()), err)
		}
		if n := questions(); n > 4 {
			t.Errorf("%d questions", n)
		}
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		cancel()
	})
}
