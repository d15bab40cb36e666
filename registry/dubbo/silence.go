package dubbo

import (
	"sync"
	"time"
)

// silence tells whether a registry has said anything at all while somebody waited for
// it. dubbo-go makes its references one by one: were each to wait in its turn for a
// registry that is away, a process with a hundred of them would take minutes to start,
// which no liveness probe gives it.
type silence struct {
	mu     sync.Mutex
	lasts  bool      // somebody waited in vain, and nothing was heard since
	spoken time.Time // when it last said something
}

// leastPatience is the share of Config.SyncTimeout for which a silent registry is
// waited for still: what is known already is handed on in that time.
const leastPatience = 100

// waitFor gives wait the time for which it makes sense to wait for the registry. wait
// reports whether that had said by then what it was asked.
func (b *Binding) waitFor(wait func(time.Duration) bool) {
	began, patience := time.Now(), b.cfg.SyncTimeout
	b.silence.mu.Lock()
	if b.silence.lasts {
		patience /= leastPatience
	}
	b.silence.mu.Unlock()
	if wait(patience) {
		return
	}
	b.silence.mu.Lock()
	defer b.silence.mu.Unlock()
	if b.silence.spoken.Before(began) {
		b.silence.lasts = true
	}
}

// heard notes that the registry has said something. What is asked of it from now on is
// waited for anew.
func (b *Binding) heard() {
	b.silence.mu.Lock()
	defer b.silence.mu.Unlock()
	b.silence.lasts, b.silence.spoken = false, time.Now()
}
