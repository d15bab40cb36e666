package proxy

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/weirmesh/weir/gateway"
)

// state is what belongs to a route by its key, whatever its form: edits reset
// nothing of it.
type state struct {
	budget  budget
	metrics *routeMetrics

	mu         sync.Mutex
	configured gateway.Revision // the form of the route whose breaker holds
}

// budget allows as many retries as are a share of the requests, and a few more
// so that a route with little traffic may retry at all. It counts in hundredths.
type budget struct{ tokens atomic.Int64 }

const (
	retryCost     = 100
	budgetReserve = 10 * retryCost // at first
	budgetMost    = 50 * retryCost // saved up while nothing failed
)

func newState(m *routeMetrics) *state {
	s := &state{metrics: m}
	s.budget.tokens.Store(budgetReserve)
	return s
}

// earn adds a request's share, in percent.
func (b *budget) earn(percent int) {
	if b.tokens.Load() < budgetMost {
		b.tokens.Add(int64(percent))
	}
}

// spend takes what a retry costs, if it is there.
func (b *budget) spend() bool {
	for {
		t := b.tokens.Load()
		if t < retryCost {
			return false
		}
		if b.tokens.CompareAndSwap(t, t-retryCost) {
			return true
		}
	}
}

// users counts who uses a handler: the table and the requests under way. The last
// one closes it.
type users struct{ n atomic.Int64 }

// enter reports false when the handler is closed: its route was replaced.
func (u *users) enter() bool {
	for {
		n := u.n.Load()
		if n == 0 {
			return false
		}
		if u.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (u *users) leave(h http.Handler) {
	if h == nil || u.n.Add(-1) > 0 {
		return
	}
	if c, ok := h.(io.Closer); ok {
		_ = c.Close() // a handler that cannot close has told its own log
	}
}
