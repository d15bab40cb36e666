package tally

import "context"

// Trail tells who made a call where its attempts went. It is for one call,
// whose attempts follow one another.
type Trail struct {
	Address string // of the last attempt; empty when none was made
}

type trailKey struct{}

// WithTrail returns a context whose attempts are noted in the trail.
func WithTrail(ctx context.Context) (context.Context, *Trail) {
	t := &Trail{}
	return context.WithValue(ctx, trailKey{}, t), t
}

// Note writes down where an attempt under ctx goes.
func Note(ctx context.Context, address string) {
	if t, ok := ctx.Value(trailKey{}).(*Trail); ok {
		t.Address = address
	}
}
