package access

import (
	"sync"
	"time"
)

// Limiter bounds how often something may be tried, by key. It is safe for
// concurrent use.
type Limiter struct {
	burst float64
	every time.Duration
	most  int
	now   func() time.Time

	mu   sync.Mutex
	keys map[string]*tries
}

// tries is a token bucket.
type tries struct {
	left float64
	at   time.Time
}

// NewLimiter allows burst tries at once and then one for each time every, for
// each key, of which it remembers as many as most says; now is the clock,
// time.Now when nil.
func NewLimiter(burst int, every time.Duration, most int, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{burst: float64(burst), every: every, most: most, now: now, keys: make(map[string]*tries)}
}

// Take takes one try for a key, or says how long to wait for the next.
func (l *Limiter) Take(key string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	t := l.keys[key]
	if t == nil {
		l.makeRoom(now)
		t = &tries{left: l.burst, at: now}
		l.keys[key] = t
	}
	l.refill(t, now)
	if t.left < 1 {
		return time.Duration((1 - t.left) * float64(l.every)), false
	}
	t.left--
	return 0, true
}

// Forget gives a key all its tries back: for one who has succeeded.
func (l *Limiter) Forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keys, key)
}

func (l *Limiter) refill(t *tries, now time.Time) {
	if gone := now.Sub(t.at); gone > 0 {
		t.left = min(l.burst, t.left+float64(gone)/float64(l.every))
		t.at = now
	}
}

// makeRoom forgets keys that have all their tries again, and when there are
// none, the one with the most.
func (l *Limiter) makeRoom(now time.Time) {
	if len(l.keys) < l.most {
		return
	}
	var best string
	var bestLeft float64 = -1
	for key, t := range l.keys {
		l.refill(t, now)
		if t.left >= l.burst {
			delete(l.keys, key)
		} else if t.left > bestLeft {
			best, bestLeft = key, t.left
		}
	}
	if len(l.keys) >= l.most {
		delete(l.keys, best)
	}
}
