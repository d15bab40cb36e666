package console

import (
	"context"
	"time"
)

// shared finds something out once for all who ask within a moment.
type shared[T any] struct {
	fresh time.Duration
	now   func() time.Time
	turn  chan struct{} // held by the one who finds out
	last  *T            // guarded by turn, as is at
	at    time.Time
}

func newShared[T any](fresh time.Duration, now func() time.Time) *shared[T] {
	return &shared[T]{fresh: fresh, now: now, turn: make(chan struct{}, 1)}
}

// read returns what is known now, or was a moment ago. find is given what was
// known before, nil for nothing, and returns something new that nobody changes
// any more. Errors: that of ctx, when it ends before its turn.
func (s *shared[T]) read(ctx context.Context, find func(ctx context.Context, last *T) *T) (*T, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.last != nil && s.now().Sub(s.at).Abs() < s.fresh {
		return s.last, nil
	}
	// Whoever waits has a use for it, though the one who began may have gone.
	s.last = find(context.WithoutCancel(ctx), s.last)
	s.at = s.now()
	return s.last, nil
}
