package fault

import (
	"context"
	"fmt"
	"time"
)

// Again makes a call that must not happen twice: it repeats the call only while
// each failure proves that the service did not run it, pausing a little longer
// each time, until ctx ends. It returns how often the call was tried, and the
// error of the last try, nil when that succeeded.
func Again(ctx context.Context, pause time.Duration, call func(context.Context) error) (tries int, err error) {
	const longest = 400 * time.Millisecond
	for {
		tries++
		if err = call(ctx); !Of(err).Untouched() {
			return tries, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return tries, fmt.Errorf("%w (tried %d times)", err, tries)
		}
		if pause *= 2; pause > longest {
			pause = longest
		}
	}
}
