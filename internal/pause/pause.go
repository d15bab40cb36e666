// Package pause waits without outliving the one who waits.
package pause

import (
	"context"
	"time"
)

// For waits for d and returns true, or false as soon as ctx has ended; false
// also where both have come to pass. A d of zero or less asks for ctx alone.
func For(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}
