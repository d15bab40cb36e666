package kube

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/weirmesh/weir/registry"
)

// syncedHub is a quiet hub whose sources count as heard.
func syncedHub(cfg Config) *Hub {
	h := quietHub(cfg)
	s := h.spaceOf("")
	for _, at := range []**source{&s.sliceSource, &s.podSource, &s.serviceSource, &s.policySource, &s.mappingSource} {
		*at = &source{hub: h, synced: true}
	}
	return h
}

// tell feeds a slice of n ready endpoints of an application to the hub, as a
// watch event does.
func (h *Hub) tell(app string, n int) {
	s := bigSlice(0, n)
	s.Name, s.Labels[discoveryv1.LabelServiceName] = app+"-abc", app
	h.mu.Lock()
	defer h.mu.Unlock()
	h.feed(s, false, time.Now())
}

// advance lets time pass in a test whose clock is its own: nobody waits.
func advance(d time.Duration) { <-time.After(d) }

type call struct {
	at        time.Duration
	instances int
}

// calls records when a follower was called, and with how much.
func calls(t *testing.T, h *Hub, app string) func() []call {
	t.Helper()
	began := time.Now()
	var all []call
	stop, err := h.Subscribe(registry.App{Namespace: "shop", Name: app}, func(s registry.Snapshot) {
		all = append(all, call{time.Since(began), len(s.Instances)})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return func() []call {
		synctest.Wait()
		return all
	}
}

func TestFirstChangeAtOnceFollowersTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{})
		got := calls(t, h, "inventory")
		advance(time.Second)
		h.tell("inventory", 1)
		got()
		for n := 2; n <= 5; n++ {
			advance(10 * time.Millisecond)
			h.tell("inventory", n)
		}
		advance(time.Second)
		h.tell("inventory", 6)
		want := fmt.Sprint([]call{{0, 0}, {time.Second, 1}, {time.Second + h.cfg.Coalesce, 5}, {2*time.Second + 40*time.Millisecond, 6}})
		if all := fmt.Sprint(got()); all != want {
			t.Fatalf("calls %v, want %v", all, want)
		}
	})
}

func TestABlockedFollowerDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{})
		stop, err := h.Subscribe(registry.App{Namespace: "shop", Name: "inventory"}, func(registry.Snapshot) { advance(5 * time.Second) })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		same, other := calls(t, h, "inventory"), calls(t, h, "orders")
		synctest.Wait()
		advance(time.Second)
		h.tell("inventory", 1)
		h.tell("orders", 1)
		want := fmt.Sprint([]call{{0, 0}, {time.Second, 1}})
		if all := fmt.Sprint(same()); all != want {
			t.Errorf("the other follower of the application: %v, want %v", all, want)
		}
		if all := fmt.Sprint(other()); all != want {
			t.Errorf("the follower of another application: %v, want %v", all, want)
		}
	})
}

func TestChangesOfNothingAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{Coalesce: -1})
		got := calls(t, h, "inventory")
		got()
		h.tell("inventory", 2)
		got()
		for range 5 {
			h.tell("inventory", 2)
			h.mu.Lock()
			h.spaceOf("").apps[registry.App{Namespace: "shop", Name: "inventory"}].touch(time.Now())
			h.mu.Unlock()
			synctest.Wait()
		}
		if all := got(); len(all) != 2 {
			t.Fatalf("calls %v, want two", all)
		}
	})
}

func TestGraceEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{Protection: Protection{Disabled: true}})
		h.mu.Lock()
		h.feed(serviceNamed("inventory"), false, time.Now())
		h.feed(bigPod(0), false, time.Now())
		h.mu.Unlock()
		h.tell("inventory", 1)
		got := calls(t, h, "inventory")
		got()
		advance(time.Second)
		h.tell("inventory", 0)
		advance(10 * time.Second)
		want := fmt.Sprint([]call{{0, 1}, {time.Second + h.cfg.Grace, 0}})
		if all := fmt.Sprint(got()); all != want {
			t.Fatalf("calls %v, want %v", all, want)
		}
	})
}

func TestIdleFollowersCostNoGoroutine(t *testing.T) {
	h := syncedHub(Config{})
	before := runtime.NumGoroutine()
	told := make(chan struct{})
	for i := range 500 {
		stop, err := h.Subscribe(registry.App{Namespace: "shop", Name: fmt.Sprintf("app-%d", i)}, func(registry.Snapshot) { told <- struct{}{} })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	for range 500 {
		<-told
	}
	for runtime.NumGoroutine() > before {
		runtime.Gosched() // deliveries end after notify has returned
	}
}

func TestOneWarningForEachChange(t *testing.T) {
	var log bytes.Buffer
	h := syncedHub(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	pod := bigPod(0)
	for _, text := range []string{"{", "{", "{", "[", "{}", "["} {
		pod.Annotations[AnnotationMetadata] = text
		h.feed(pod, false, time.Now())
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Fatalf("%d lines, want one for each change to something unreadable:\n%s", n, log.String())
	}
}

// link loses or finds the watches of slices, pods and Services.
func (h *Hub) link(lost bool, sources ...*source) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range sources {
		if lost {
			s.lostAt, s.failure = time.Now(), &registry.Error{Code: registry.Unavailable, Message: "lost"}
			h.failed(s.failure)
		} else {
			s.foundLocked()
		}
	}
}

// While a lost link comes back watch by watch, what is known does not fit
// together: a pod is gone already, the slice with its successor not yet here.
func TestCatchingUpEmptiesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{})
		s := h.spaceOf("")
		h.feed(serviceNamed("inventory"), false, time.Now())
		h.feed(bigPod(0), false, time.Now())
		h.tell("inventory", 1)
		got := calls(t, h, "inventory")
		got()
		h.link(true, s.sliceSource, s.podSource, s.serviceSource)
		advance(time.Second)
		h.link(false, s.podSource)
		h.mu.Lock()
		h.feed(bigPod(0), true, time.Now())
		h.mu.Unlock()
		snapshot, err := h.Snapshot(t.Context(), registry.App{Namespace: "shop", Name: "inventory"})
		if err != nil || len(snapshot.Instances) != 1 || snapshot.StaleSince.IsZero() {
			t.Fatalf("half caught up, the snapshot is %+v (%v)", snapshot, err)
		}
		advance(time.Second)
		h.link(false, s.sliceSource)
		advance(10 * time.Millisecond)
		successor := bigSlice(0, 2)
		successor.Name, successor.Endpoints = "inventory-abc", successor.Endpoints[1:]
		h.mu.Lock()
		h.feed(bigPod(1), false, time.Now())
		h.feed(successor, false, time.Now())
		h.mu.Unlock()
		h.link(false, s.serviceSource)
		advance(time.Minute)
		// The last source was found after 2.01 s, and is given the window to catch up.
		want := fmt.Sprint([]call{{0, 1}, {2010*time.Millisecond + h.cfg.Coalesce, 1}})
		if all := fmt.Sprint(got()); all != want {
			t.Fatalf("calls %v, want %v", all, want)
		}
	})
}

// A watch that stays away does not hold up what the slices say for long.
func TestALostWatchHoldsNobodyUpForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{})
		s := h.spaceOf("")
		h.tell("inventory", 1)
		got := calls(t, h, "inventory")
		got()
		h.link(true, s.podSource)
		h.tell("inventory", 2)
		advance(time.Minute)
		h.tell("inventory", 3)
		want := fmt.Sprint([]call{{0, 1}, {holdLimit, 2}, {time.Minute, 3}})
		if all := fmt.Sprint(got()); all != want {
			t.Fatalf("calls %v, want %v", all, want)
		}
	})
}

// Who asks or begins to follow while a lost link comes back is not told of a
// state that does not fit together.
func TestCatchingUpEmptiesNoNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{})
		s := h.spaceOf("")
		h.feed(serviceNamed("inventory"), false, time.Now())
		h.feed(bigPod(0), false, time.Now())
		h.tell("inventory", 1)
		h.link(true, s.sliceSource, s.podSource, s.serviceSource)
		advance(time.Second)
		if snapshot, err := h.Snapshot(t.Context(), registry.App{Namespace: "shop", Name: "inventory"}); err != nil || len(snapshot.Instances) != 1 {
			t.Fatalf("during the outage the snapshot is %+v (%v)", snapshot, err)
		}
		h.link(false, s.podSource, s.serviceSource)
		h.mu.Lock()
		h.feed(bigPod(0), true, time.Now())
		h.mu.Unlock()
		got := calls(t, h, "inventory")
		asked := make(chan int, 1)
		go func() {
			snapshot, err := h.Snapshot(t.Context(), registry.App{Namespace: "shop", Name: "inventory"})
			if err != nil {
				t.Error(err)
			}
			asked <- len(snapshot.Callable())
		}()
		synctest.Wait()
		h.link(false, s.sliceSource)
		successor := bigSlice(0, 2)
		successor.Name, successor.Endpoints = "inventory-abc", successor.Endpoints[1:]
		h.mu.Lock()
		h.feed(bigPod(1), false, time.Now())
		h.feed(successor, false, time.Now())
		h.mu.Unlock()
		if n := <-asked; n != 1 {
			t.Errorf("the question was answered with %d callable instances", n)
		}
		advance(time.Minute)
		want := fmt.Sprint([]call{{h.cfg.Coalesce, 1}})
		if all := fmt.Sprint(got()); all != want {
			t.Fatalf("calls %v, want %v", all, want)
		}
	})
}

func TestLeavingEndsThoughNobodyFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{Protection: Protection{Disabled: true}})
		h.mu.Lock()
		h.feed(serviceNamed("inventory"), false, time.Now())
		h.feed(bigPod(0), false, time.Now())
		h.mu.Unlock()
		h.tell("inventory", 1)
		h.tell("inventory", 0)
		advance(time.Minute)
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if n := len(h.spaceOf("").apps[registry.App{Namespace: "shop", Name: "inventory"}].lost); n != 0 {
			t.Fatalf("%d endpoints linger for ever", n)
		}
	})
}

// The watch may still be on its way to what was just written.
func TestEventsFromBeforeAWriteAreNoLoss(t *testing.T) {
	h := quietHub(Config{})
	r := newRegistrar(h)
	r.uid, r.version, r.written, r.wanted = "u", "100", true, map[string]string{AnnotationMetadata: "{}"}
	ownPodTable{r}.put("u", &ownPod{version: "99"}, time.Now())
	if !r.written {
		t.Fatal("an old event was taken for a loss")
	}
}
