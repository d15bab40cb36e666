package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
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

	mu   sync.Mutex
	made bool
	it   T
}

// get makes it unless it is there. Whoever asks meanwhile waits for this attempt.
func (l *late[T]) get() (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made {
		return l.it, nil
	}
	it, err := l.attempt()
	l.it, l.made = it, err == nil
	return it, err
}

// attempt makes it. dubbo-go panics over an address that does not resolve.
func (l *late[T]) attempt() (it T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return l.make()
}

// there returns it if it was made.
func (l *late[T]) there() (T, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.it, l.made
}

// insisting is what has to be done in ZooKeeper, however long it takes.
type insisting struct {
	link   *link
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended, one way or the other
	ok     bool          // it was done; valid once done is closed
}

// insist does something until it succeeds or is cancelled.
func (l *link) insist(life context.Context, what string, do func() error) *insisting {
	ctx, cancel := context.WithCancel(life)
	i := &insisting{link: l, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(i.done)
		delay := firstRetry
		for attempt := 1; ctx.Err() == nil; attempt++ {
			err := do()
			if err == nil {
				i.ok = true
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
		if !i.ok {
			return nil
		}
		return i.link.bounded(undo)
	default:
	}
	go func() {
		<-i.done
		if !i.ok {
			return
		}
		if err := undo(); err != nil {
			i.link.log.Warn("what was written into ZooKeeper late could not be taken back; it goes with the session", slog.Any("error", err))
		}
	}()
	return nil
}

// bounded does something that ZooKeeper may hold up, and gives up waiting for it after
// a while; at once where ZooKeeper is known to be away.
func (l *link) bounded(do func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil { // as dubbo-go does over what it does not know
				done <- fmt.Errorf("%v", r)
			}
		}()
		done <- do()
	}()
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
