package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
)

// Bounds of a batcher.
const (
	maxBatch      = 512
	maxWaiting    = 16_384
	flushPatience = 20 * time.Second
)

// batcher writes what many callers hand in with few transactions: while one
// batch is being written, the next one gathers. Nobody waits for a timer, and no
// goroutine runs while there is nothing to write.
type batcher[T any] struct {
	do func(context.Context, []T) error

	mu      sync.Mutex
	waiting []*handed[T]
	busy    bool
}

type handed[T any] struct {
	value T
	done  chan error
}

func newBatcher[T any](do func(context.Context, []T) error) *batcher[T] {
	return &batcher[T]{do: do}
}

// submit returns once v is written, or was not. When ctx ends first, v may be
// written all the same.
func (b *batcher[T]) submit(ctx context.Context, v T) error {
	h := &handed[T]{value: v, done: make(chan error, 1)}
	b.mu.Lock()
	if len(b.waiting) >= maxWaiting {
		b.mu.Unlock()
		return &governance.Error{Code: governance.Unavailable, Message: "too much waits to be written", Fix: "try again in a moment"}
	}
	b.waiting = append(b.waiting, h)
	if !b.busy {
		b.busy = true
		go b.flush(context.WithoutCancel(ctx))
	}
	b.mu.Unlock()
	select {
	case err := <-h.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *batcher[T]) flush(ctx context.Context) {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), maxBatch)
		if n == 0 {
			b.busy, b.waiting = false, nil
			b.mu.Unlock()
			return
		}
		batch := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		b.mu.Unlock()
		b.write(ctx, batch)
	}
}

func (b *batcher[T]) write(ctx context.Context, batch []*handed[T]) {
	ctx, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	values := make([]T, len(batch))
	for i, h := range batch {
		values[i] = h.value
	}
	err := b.do(ctx, values)
	if err != nil && len(batch) > 1 && governance.CodeOf(err) == governance.Internal {
		// One of them is at fault: the others shall not pay for it.
		for _, h := range batch {
			h.done <- b.do(ctx, []T{h.value})
		}
		return
	}
	for _, h := range batch {
		h.done <- err
	}
}
