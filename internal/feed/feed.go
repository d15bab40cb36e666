// Package feed hands the newest value of something to those who follow it. A
// follower that is slow misses values in between, never the last one; nobody
// waits for anybody else; and nothing runs, not even a goroutine, for a topic
// or a follower with nothing to do.
package feed

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed is what Wait returns once the topic is closed.
var ErrClosed = errors.New("closed")

// Topic holds one value, unknown at first, and its followers. It is safe for
// concurrent use. Values are shared with all receivers and must be immutable.
type Topic[T any] struct {
	equal func(a, b T) bool

	mu      sync.Mutex
	closed  bool
	value   T
	version uint64 // 0 while the value is unknown
	changed chan struct{}
	subs    map[*follower[T]]struct{}
}

type follower[T any] struct {
	notify func(T)

	// Guarded by the topic's mutex.
	idle    chan struct{} // closed when the running delivery ends; nil while none runs
	stopped bool
	seen    uint64
	last    T
	any     bool
}

// NewTopic returns a topic whose value is unknown. Values for which equal
// reports true are the same to a follower: they are not sent twice in a row.
func NewTopic[T any](equal func(a, b T) bool) *Topic[T] {
	return &Topic[T]{equal: equal, subs: map[*follower[T]]struct{}{}}
}

// Set makes v the newest value and reports whether it differs from the one
// before. It never blocks on a follower. After Close it does nothing.
func (t *Topic[T]) Set(v T) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.version > 0 && t.equal(t.value, v) {
		return false
	}
	t.value = v
	t.version++
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
	for f := range t.subs {
		t.wake(f)
	}
	return true
}

// Value returns the newest value; ok is false while it is unknown.
func (t *Topic[T]) Value() (v T, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.value, t.version > 0
}

// Wait returns the newest value as soon as one is known. It fails with the
// cause of ctx, or with ErrClosed.
func (t *Topic[T]) Wait(ctx context.Context) (T, error) {
	for {
		t.mu.Lock()
		if t.version > 0 {
			defer t.mu.Unlock()
			return t.value, nil
		}
		if t.closed {
			defer t.mu.Unlock()
			return t.value, ErrClosed
		}
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}

// Subscribe calls notify with the newest value once it is known and whenever it
// changes, on a goroutine that lives only while there is something to say.
// Calls do not overlap. Once stop has returned there are no more; stop waits for
// a call under way and must therefore not be called from inside notify.
func (t *Topic[T]) Subscribe(notify func(T)) (stop func()) {
	f := &follower[T]{notify: notify}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return func() {}
	}
	t.subs[f] = struct{}{}
	if t.version > 0 {
		t.wake(f)
	}
	return func() {
		t.mu.Lock()
		f.stopped = true
		delete(t.subs, f)
		idle := f.idle
		t.mu.Unlock()
		if idle != nil {
			<-idle
		}
	}
}

// Subscribers returns how many follow the topic.
func (t *Topic[T]) Subscribers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subs)
}

// Close stops all followers, waits for the calls under way, and lets waiters go.
// It may be called more than once.
func (t *Topic[T]) Close() {
	t.mu.Lock()
	t.closed = true
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
	var running []chan struct{}
	for f := range t.subs {
		f.stopped = true
		if f.idle != nil {
			running = append(running, f.idle)
		}
	}
	clear(t.subs)
	t.mu.Unlock()
	for _, idle := range running {
		<-idle
	}
}

// wake starts f's delivery unless it runs already. t.mu is held.
func (t *Topic[T]) wake(f *follower[T]) {
	if f.idle == nil {
		f.idle = make(chan struct{})
		go t.deliver(f)
	}
}

func (t *Topic[T]) deliver(f *follower[T]) {
	for {
		t.mu.Lock()
		if f.stopped || f.seen == t.version {
			close(f.idle)
			f.idle = nil
			t.mu.Unlock()
			return
		}
		v := t.value
		f.seen = t.version
		// A value that went away and came back while notify ran is no news.
		send := !f.any || !t.equal(f.last, v)
		f.last, f.any = v, true
		t.mu.Unlock()
		if send {
			f.notify(v)
		}
	}
}
