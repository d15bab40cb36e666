package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/internal/pause"
)

// How long a provider waits for ZooKeeper before it goes on without, and what is
// between two attempts.
const (
	patience   = 3 * time.Second
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// late is made of something in ZooKeeper that takes its time: it is there once
// ZooKeeper answers.
type late[T any] struct {
	make func() (T, error)

	attempts sync.Mutex // held during an attempt, which may take seconds
	it       atomic.Pointer[T]
}

// get makes it unless it is there. Whoever asks meanwhile waits for this attempt.
func (l *late[T]) get() (T, error) {
	if it, ok := l.there(); ok {
		return it, nil
	}
	l.attempts.Lock()
	defer l.attempts.Unlock()
	if it, ok := l.there(); ok {
		return it, nil
	}
	it, err := l.attempt()
	if err == nil {
		l.it.Store(&it)
	}
	return it, err
}

// attempt makes it. dubbo-go panics over an address that does not resolve.
func (l *late[T]) attempt() (it T, err error) {
	err = recovered(func() (err error) {
		it, err = l.make()
		return err
	})
	return it, err
}

// there returns it if it was made, and never waits.
func (l *late[T]) there() (it T, ok bool) {
	if made := l.it.Load(); made != nil {
		return *made, true
	}
	return it, false
}

// settled returns it if it was made, after an attempt under way has ended.
func (l *late[T]) settled() (T, bool) {
	l.attempts.Lock()
	defer l.attempts.Unlock()
	return l.there()
}

// insisting is what has to be done in ZooKeeper, however long it takes.
type insisting struct {
	link   *link
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended, one way or the other
	wrote  bool          // it was done, or one that it replaces was; valid once done is closed

	stopped bool          // nobody wants it any more; under the lock of whom it is of
	undone  chan struct{} // closed when nothing of it can come any more, after it was stopped
}

// insist does something until it succeeds or is cancelled.
func (l *link) insist(life context.Context, what string, do func() error) *insisting {
	return l.insistAfter(life, nil, what, do)
}

// insistAfter is insist for what must not come before an earlier one has ended, and,
// if that is stopped, is undone.
func (l *link) insistAfter(life context.Context, earlier *insisting, what string, do func() error) *insisting {
	ctx, cancel := context.WithCancel(life)
	i := &insisting{link: l, cancel: cancel, done: make(chan struct{}), undone: make(chan struct{})}
	replaces := earlier != nil && !earlier.stopped
	go func() {
		defer close(i.done)
		switch {
		case replaces:
			<-earlier.done // an attempt under way would write the older over the newer
			i.wrote = earlier.wrote
		case earlier != nil:
			<-earlier.undone // which removes the newer where both are the same node
		}
		delay := firstRetry
		for attempt := 1; ctx.Err() == nil; attempt++ {
			err := do()
			if err == nil {
				i.wrote = true
				l.away.Store(false)
				if attempt > 1 {
					l.log.Info("it is done in ZooKeeper now", slog.String("step", what))
				}
				return
			}
			wait := delay/2 + rand.N(delay) // around the delay, so that a fleet spreads out
			l.log.Warn("it cannot be done in ZooKeeper yet; trying again, and going on without meanwhile",
				slog.String("step", what), slog.Any("error", err), slog.Int("attempt", attempt), slog.Duration("retry", wait.Round(time.Millisecond)))
			if !pause.For(ctx, wait) {
				return
			}
			delay = min(2*delay, lastRetry)
		}
	}()
	return i
}

// wait returns once it was done, or after a while without; at once where ZooKeeper is
// known to be away.
func (i *insisting) wait() {
	if i.link.away.Load() {
		return
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-i.done:
	case <-t.C:
		i.link.away.Store(true)
	}
}

// stop ends it, and has what was done undone. An attempt under way is waited for, a
// while; one that takes longer is undone when it has succeeded after all.
func (i *insisting) stop(undo func() error) error {
	i.cancel()
	i.wait()
	select {
	case <-i.done:
		return i.link.bounded(func() error { return i.takeBack(undo) })
	default:
	}
	go func() {
		<-i.done
		if err := recovered(func() error { return i.takeBack(undo) }); err != nil {
			i.link.log.Warn("what was written into ZooKeeper late could not be taken back; it goes with the session", slog.Any("error", err))
		}
	}()
	return nil
}

func (i *insisting) takeBack(undo func() error) error {
	defer close(i.undone)
	if !i.wrote {
		return nil
	}
	return undo()
}

// registrations are what a process has registered, or is to. Its methods may be called
// at the same time.
type registrations struct {
	link *link

	mu sync.Mutex
	by map[string]*insisting
}

// add has something registered, unless that is under way. replace is for what takes the
// place of what is there.
func (r *registrations) add(life context.Context, key, what string, replace bool, do func() error) *insisting {
	r.mu.Lock()
	defer r.mu.Unlock()
	earlier := r.by[key]
	if earlier != nil && !earlier.stopped {
		if !replace {
			return earlier
		}
		earlier.cancel() // what it would write is in the new one
	}
	i := r.link.insistAfter(life, earlier, what, do)
	if r.by == nil {
		r.by = map[string]*insisting{}
	}
	r.by[key] = i
	return i
}

// remove takes a registration back, now or later. It is kept until it is undone, for
// the next one to wait for.
func (r *registrations) remove(key string, undo func() error) error {
	r.mu.Lock()
	i := r.by[key]
	if i == nil || i.stopped {
		r.mu.Unlock()
		return nil
	}
	i.stopped = true
	r.mu.Unlock()
	go func() {
		<-i.undone
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.by[key] == i {
			delete(r.by, key)
		}
	}()
	return i.stop(undo)
}

// cancel ends all that is still to be registered.
func (r *registrations) cancel() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.by {
		i.cancel()
	}
}

// recovered does something, and makes a panic of dubbo-go's, as over what it does not
// know, an error.
func recovered(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return do()
}

// bounded does something that ZooKeeper may hold up, and gives up waiting for it after
// a while; at once where ZooKeeper is known to be away.
func (l *link) bounded(do func() error) error {
	done := make(chan error, 1)
	go func() { done <- recovered(do) }()
	wait := patience
	if l.away.Load() {
		wait = 0
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		l.away.Store(true)
		return errors.New("ZooKeeper does not answer")
	}
}
