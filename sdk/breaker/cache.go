package breaker

import (
	"container/list"
	"sync"
	"time"
)

// maxKept is how many last good answers a circuit keeps, and maxKeyBytes how long
// the key of one may be.
const (
	maxKept     = 1000
	maxKeyBytes = 4 << 10
)

// cache keeps the last good answers of a circuit, the least recently used going
// first. The zero cache is empty.
type cache struct {
	mu    sync.Mutex
	byKey map[string]*list.Element
	used  list.List // most recently used first
}

type kept struct {
	key   string
	value any
	at    int64
}

func (c *cache) put(key string, value any, now int64) {
	if len(key) > maxKeyBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[key]; e != nil {
		e.Value = kept{key, value, now}
		c.used.MoveToFront(e)
		return
	}
	if c.byKey == nil {
		c.byKey = make(map[string]*list.Element)
	}
	c.byKey[key] = c.used.PushFront(kept{key, value, now})
	if c.used.Len() > maxKept {
		oldest := c.used.Back()
		c.used.Remove(oldest)
		if k, ok := oldest.Value.(kept); ok {
			delete(c.byKey, k.key)
		}
	}
}

func (c *cache) get(key string, oldest int64) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return nil, false
	}
	k, ok := e.Value.(kept)
	if !ok || k.at < oldest {
		return nil, false
	}
	c.used.MoveToFront(e)
	return k.value, true
}

// Keep remembers the last good answer to a call with the arguments that key stands
// for, for a fallback that is cached. A circuit keeps the 1,000 that were used
// last, and none whose key is longer than 4 KiB. The value must not be changed
// afterwards.
func (c *Circuit) Keep(key string, value any) { c.cache.put(key, value, c.set.mono()) }

// Kept returns what was kept for a key no longer than maxAge ago.
func (c *Circuit) Kept(key string, maxAge time.Duration) (any, bool) {
	return c.cache.get(key, c.set.mono()-int64(maxAge))
}

// Keeps reports whether a cached fallback holds now, so that answers are worth
// keeping.
func (c *Circuit) Keeps() bool { return c.current(c.set.mono()).caches }
