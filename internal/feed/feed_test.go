package feed_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTopic() *feed.Topic[int] {
	return feed.NewTopic(func(a, b int) bool { return a == b })
}

func TestUnknownIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := newTopic()
		var got []int
		stop := topic.Subscribe(func(v int) { got = append(got, v) })
		defer stop()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("an unknown value was sent: %v", got)
		}
		if _, ok := topic.Value(); ok {
			t.Fatal("a new topic claims to know its value")
		}
		topic.Set(0)
		synctest.Wait()
		if len(got) != 1 || got[0] != 0 {
			t.Fatalf("got %v, want [0]", got)
		}
	})
}

func TestLatestWinsAndNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := newTopic()
		release := make(chan struct{})
		var slow, fast []int
		var once sync.Once
		stopSlow := topic.Subscribe(func(v int) {
			slow = append(slow, v)
			once.Do(func() { <-release })
		})
		stopFast := topic.Subscribe(func(v int) { fast = append(fast, v) })
		for v := 1; v <= 5; v++ {
			topic.Set(v)
			synctest.Wait()
		}
		if len(fast) != 5 {
			t.Fatalf("the fast follower got %v, want all five", fast)
		}
		close(release)
		synctest.Wait()
		if len(slow) != 2 || slow[0] != 1 || slow[1] != 5 {
			t.Fatalf("the slow follower got %v, want [1 5]", slow)
		}
		stopSlow()
		stopFast()
	})
}

func TestThereAndBackIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := newTopic()
		release := make(chan struct{})
		var got []int
		stop := topic.Subscribe(func(v int) {
			got = append(got, v)
			<-release
		})
		topic.Set(1)
		synctest.Wait()
		topic.Set(2)
		topic.Set(1)
		close(release)
		synctest.Wait()
		stop()
		if len(got) != 1 {
			t.Fatalf("got %v, want [1]: a change undone before it was sent is none", got)
		}
		if topic.Set(1) {
			t.Fatal("Set reports a change for an equal value")
		}
	})
}

func TestStopWaitsAndIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := newTopic()
		release := make(chan struct{})
		var calls atomic.Int32
		stop := topic.Subscribe(func(int) {
			calls.Add(1)
			<-release
		})
		topic.Set(1)
		synctest.Wait()
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		synctest.Wait()
		select {
		case <-stopped:
			t.Fatal("stop returned while notify ran")
		default:
		}
		topic.Set(2)
		close(release)
		<-stopped
		stop()
		topic.Set(3)
		synctest.Wait()
		if n := calls.Load(); n != 1 {
			t.Fatalf("notify ran %d times, want once", n)
		}
		if topic.Subscribers() != 0 {
			t.Fatal("a stopped follower is still held")
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := newTopic()
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if _, err := topic.Wait(ctx); !errors.Is(err, cause) {
			t.Fatalf("Wait: %v, want the context's cause", err)
		}
		got := make(chan int)
		go func() {
			v, _ := topic.Wait(t.Context())
			got <- v
		}()
		synctest.Wait()
		topic.Set(7)
		if v := <-got; v != 7 {
			t.Fatalf("Wait returned %d, want 7", v)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := newTopic()
		failed := make(chan error)
		go func() {
			_, err := topic.Wait(t.Context())
			failed <- err
		}()
		var calls atomic.Int32
		topic.Subscribe(func(int) { calls.Add(1) })
		synctest.Wait()
		topic.Close()
		if err := <-failed; !errors.Is(err, feed.ErrClosed) {
			t.Fatalf("Wait after Close: %v", err)
		}
		topic.Set(1)
		topic.Subscribe(func(int) { calls.Add(1) })()
		topic.Close()
		synctest.Wait()
		if calls.Load() != 0 {
			t.Fatal("a closed topic called a follower")
		}
	})
}

// Many setters, followers that come and go: each sees values in order, without
// overlap, and the last one at the end. Meant for the race detector.
func TestStress(t *testing.T) {
	topic := feed.NewTopic(func(a, b int) bool { return a == b })
	const last = 2000
	var followers sync.WaitGroup
	for range 8 {
		followers.Go(func() {
			for range 50 {
				var inside atomic.Int32
				seen := -1
				done := make(chan struct{})
				stop := topic.Subscribe(func(v int) {
					if inside.Add(1) != 1 {
						t.Error("calls overlap")
					}
					if v <= seen {
						t.Errorf("%d after %d", v, seen)
					}
					if seen < 0 {
						close(done)
					}
					seen = v
					inside.Add(-1)
				})
				<-done
				stop()
			}
		})
	}
	for v := range last + 1 {
		topic.Set(v)
	}
	followers.Wait()
	end := make(chan int, 1)
	stop := topic.Subscribe(func(v int) { end <- v })
	defer stop()
	if v := <-end; v != last {
		t.Fatalf("the newest value is %d, want %d", v, last)
	}
}

func BenchmarkSetToOneFollower(b *testing.B) {
	topic := newTopic()
	got := make(chan int)
	stop := topic.Subscribe(func(v int) { got <- v })
	defer stop()
	b.ReportAllocs()
	for v := range b.N {
		topic.Set(v)
		<-got
	}
}
