package role

import (
	"context"
	"slices"
	"time"
)

// background is what works behind a service, from its opening until its end:
// longer than its listeners, whose last requests still need it.
type background struct {
	works []func(context.Context) error
	ready []func() error

	end   context.CancelFunc
	ended chan error // what came of them
}

// beginPatience bounds the wait at the beginning.
const beginPatience = 5 * time.Second

// begin starts the works, and gives them a moment to read what the first
// requests ask for: nobody is to come again for that.
func (b *background) begin(ctx context.Context) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	b.end, b.ended = end, make(chan error, 1)
	go func() { b.ended <- work(life, b.works...) }()
	patience := time.NewTimer(beginPatience)
	defer patience.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(b.ready, func(ready func() error) bool { return ready() != nil }) {
		select {
		case <-tick.C:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// watch blocks until a work fails or ctx ends.
func (b *background) watch(ctx context.Context) error {
	select {
	case err := <-b.ended:
		b.ended <- err
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the works and waits for them. It may be called without begin.
func (b *background) stop() {
	if b.end != nil {
		b.end()
		<-b.ended
	}
}
