package dubbo

import (
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
)

// holds keeps one more reference to each connection of the Dubbo protocol than
// dubbo-go does, while its address is listed and for a while after. dubbo-go
// closes a connection with the last reference to it, under the calls that run:
// when its address leaves the list, and when the provider announces its end,
// which may come before the list. Triple needs none of this, since its invokers
// wait for their calls.
type holds struct {
	mu     sync.Mutex
	closed bool
	held   map[string]*hold // by address
	work   sync.WaitGroup
	turns  chan struct{} // of those that refer
}

// maxRefers bounds how many addresses a process refers to at once: each dials where
// dubbo-go could not, which takes a host that is silent some seconds.
const maxRefers = 64

type hold struct {
	listed  int // by how many references
	invoker base.Invoker
	linger  *time.Timer // runs while listed is 0
}

// renew lets go of connections to these addresses that are broken, before
// dubbo-go refers to them again: it would be given the broken one.
func (h *holds) renew(urls []*common.URL) {
	for _, u := range urls {
		if invoker := h.lingering(u.Location); invoker != nil && !invoker.IsAvailable() {
			h.end(u.Location, invoker)
		}
	}
}

// lingering returns what is held for an address that nothing lists.
func (h *holds) lingering(address string) base.Invoker {
	h.mu.Lock()
	defer h.mu.Unlock()
	if kept := h.held[address]; kept != nil && kept.listed == 0 {
		return kept.invoker
	}
	return nil
}

// end lets go of what is held for the address, unless it is listed again or held
// anew.
func (h *holds) end(address string, invoker base.Invoker) {
	h.mu.Lock()
	kept := h.held[address]
	over := kept != nil && kept.listed == 0 && kept.invoker == invoker
	if over {
		delete(h.held, address)
		kept.linger.Stop()
	}
	h.mu.Unlock()
	if over && invoker != nil {
		invoker.Destroy()
	}
}

// take takes references to what is listed now. dubbo-go has connected to these
// addresses already, or failed to.
func (h *holds) take(urls []*common.URL) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	if h.held == nil {
		h.held, h.turns = map[string]*hold{}, make(chan struct{}, maxRefers)
	}
	for _, u := range urls {
		kept := h.held[u.Location]
		if kept == nil {
			kept = &hold{}
			h.held[u.Location] = kept
			h.work.Go(func() { h.refer(u, kept) })
		}
		kept.listed++
		if kept.linger != nil {
			kept.linger.Stop()
			kept.linger = nil
		}
	}
}

func (h *holds) refer(u *common.URL, kept *hold) {
	h.turns <- struct{}{}
	defer func() { <-h.turns }()
	wanted := func() bool { return !h.closed && h.held[u.Location] == kept }
	h.mu.Lock()
	gone := !wanted()
	h.mu.Unlock()
	if gone {
		return
	}
	invoker := refer(u)
	h.mu.Lock()
	if gone = !wanted(); !gone {
		kept.invoker = invoker
	}
	h.mu.Unlock()
	if gone && invoker != nil {
		invoker.Destroy()
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

// drop gives back what take took; the last one is kept for d.
func (h *holds) drop(addresses []string, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, address := range addresses {
		kept := h.held[address]
		if kept == nil {
			continue
		}
		if kept.listed--; kept.listed > 0 {
			continue
		}
		kept.linger = time.AfterFunc(d, func() { h.end(address, h.lingering(address)) })
	}
}

// release lets go of everything and takes nothing from now on. It waits for what is
// being referred to.
func (h *holds) release() {
	h.mu.Lock()
	var invokers []base.Invoker
	for _, kept := range h.held {
		if kept.linger != nil {
			kept.linger.Stop()
		}
		if kept.invoker != nil {
			invokers = append(invokers, kept.invoker)
		}
	}
	h.held, h.closed = nil, true
	h.mu.Unlock()
	for _, invoker := range invokers {
		invoker.Destroy()
	}
	h.work.Wait()
}

// differ compares a list of addresses with that of the URLs, which it returns
// with one URL for each new address and with the addresses that are gone.
func differ(last []string, urls []*common.URL) (addresses []string, added []*common.URL, gone []string) {
	const was, is = 1, 2
	seen := make(map[string]int, len(last)+len(urls))
	for _, address := range last {
		seen[address] = was
	}
	addresses = make([]string, 0, len(urls))
	for _, u := range urls {
		if seen[u.Location]&is != 0 {
			continue
		}
		if seen[u.Location] == 0 {
			added = append(added, u)
		}
		seen[u.Location] |= is
		addresses = append(addresses, u.Location)
	}
	for _, address := range last {
		if seen[address] == was {
			gone = append(gone, address)
		}
	}
	return addresses, added, gone
}
