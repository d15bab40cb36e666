package java

import (
	"os"
	"sync"
	"testing"
)

// The tests of Dubbo and those of Spring touch different applications, so that two
// of them run at a time where WEIR_TEST_JAVA_TURNS says so: much of either is
// waiting. A test that touches what all have, such as Weir's own process, takes no
// turn and runs by itself, before the others.
var (
	dubboTurns  turns
	springTurns turns
)

// turns lets tests that share applications run one after another, in the order in
// which they took their turn, beside those of others. go test has to allow as many
// parallel tests as there are turns (-parallel): those that wait count.
type turns struct {
	mu   sync.Mutex
	last <-chan struct{} // closed when the test before has ended
}

// take makes the test wait for its turn.
func (q *turns) take(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_TEST_JAVA_TURNS") == "" {
		return
	}
	over := make(chan struct{})
	q.mu.Lock()
	before := q.last
	q.last = over
	q.mu.Unlock()
	// The first to be noted and so the last to run: the test has cleaned up by then.
	t.Cleanup(func() { close(over) })
	t.Parallel()
	if before != nil {
		<-before
	}
}
