package dubbo

import (
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
)

// holds keeps connections of the Dubbo protocol open for a while after their
// instance left the list. dubbo-go closes the connection with the last reference
// to it, which fails the calls under way; one more reference postpones that.
// Triple needs none: its invokers wait for their calls.
type holds struct {
	mu     sync.Mutex
	closed bool
	held   map[*time.Timer]base.Invoker
}

// referPatience is how long taking references may delay a list. It takes no
// time where a connection exists; where there is none, there is nothing to keep,
// and dubbo-go would dial for seconds.
const referPatience = 20 * time.Millisecond

// keep keeps the connections behind the URLs for d, at most.
func (h *holds) keep(leaving []*common.URL, d time.Duration) {
	var taking sync.WaitGroup
	for _, u := range leaving {
		if u.Protocol != constant.DubboProtocol {
			continue
		}
		taking.Go(func() {
			if invoker := refer(u); invoker != nil {
				h.add(invoker, d)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		taking.Wait()
		close(done)
	}()
	patience := time.NewTimer(referPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

func refer(u *common.URL) (invoker base.Invoker) {
	defer func() {
		if recover() != nil {
			invoker = nil // the protocol is not linked in: nothing is connected
		}
	}()
	return extension.GetProtocol(u.Protocol).Refer(u)
}

func (h *holds) add(invoker base.Invoker, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		go invoker.Destroy()
		return
	}
	if h.held == nil {
		h.held = map[*time.Timer]base.Invoker{}
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		h.mu.Lock()
		_, ours := h.held[t]
		delete(h.held, t)
		h.mu.Unlock()
		if ours {
			invoker.Destroy()
		}
	})
	h.held[t] = invoker
}

// release lets go of all connections and keeps none from now on.
func (h *holds) release() {
	h.mu.Lock()
	held := h.held
	h.held, h.closed = nil, true
	h.mu.Unlock()
	for t, invoker := range held {
		t.Stop()
		invoker.Destroy()
	}
}
