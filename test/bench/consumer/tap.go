//go:build linux

package consumer

import (
	"bytes"
	"sync"

	"github.com/weirmesh/weir/test/bench/clock"
)

// tap sits where bytes from the registry's server enter the process and notes
// when the first message of a change arrives. It is safe for concurrent use.
type tap struct {
	mu       sync.Mutex
	needle   []byte
	at       int64
	messages int64
	bytes    int64
}

// arm forgets the last change and waits for a message that holds needle.
func (t *tap) arm(needle string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.needle, t.at = []byte(needle), 0
}

// message is told of bytes that came from the server, just read.
func (t *tap) message(data []byte, notification bool) {
	now := clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages++
	t.bytes += int64(len(data))
	if notification && t.at == 0 && t.needle != nil && bytes.Contains(data, t.needle) {
		t.at = now
	}
}

// arrived returns when the armed change's first message came, 0 if it has not.
func (t *tap) arrived() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

// traffic returns how many messages and bytes have come so far.
func (t *tap) traffic() (messages, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.messages, t.bytes
}
