package dubbo

import (
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
)

// connections stands for the Dubbo protocol: it counts references to addresses.
type connections struct {
	base.BaseProtocol
	refs chan int // one value: how many there are
	up   bool
	gate chan struct{} // Refer waits here, if set
	in   atomic.Int64  // how many have waited
}

func (c *connections) Refer(u *common.URL) base.Invoker {
	if c.gate != nil {
		c.in.Add(1)
		<-c.gate
	}
	c.refs <- <-c.refs + 1
	return &connection{BaseInvoker: *base.NewBaseInvoker(u), of: c}
}

func (c *connections) count() int {
	n := <-c.refs
	c.refs <- n
	return n
}

type connection struct {
	base.BaseInvoker
	of *connections
}

func (c *connection) IsAvailable() bool { return c.of.up }
func (c *connection) Destroy()          { c.of.refs <- <-c.of.refs - 1 }

// counted puts connections in the place of the Dubbo protocol.
func counted(t *testing.T) *connections {
	t.Helper()
	actual := extension.GetProtocol(constant.DubboProtocol)
	c := &connections{refs: make(chan int, 1), up: true}
	c.refs <- 0
	extension.SetProtocol(constant.DubboProtocol, func() base.Protocol { return c })
	t.Cleanup(func() { extension.SetProtocol(constant.DubboProtocol, func() base.Protocol { return actual }) })
	return c
}

// A host that is silent takes its time. Few of them are waited for at once, and those
// by whoever closes the registry; the others are given up then.
func TestHoldsReferToAFewAtOnce(t *testing.T) {
	c := counted(t)
	c.gate = make(chan struct{})
	var urls []*common.URL
	for n := range 3 * maxRefers {
		u := common.NewURLWithOptions(common.WithProtocol(constant.DubboProtocol))
		u.Location = strconv.Itoa(n)
		urls = append(urls, u)
	}
	var h holds
	h.take(urls)
	eventually(t, "some are referred to", func() bool { return c.in.Load() == maxRefers })
	released := make(chan struct{})
	go func() {
		defer close(released)
		h.release()
	}()
	eventually(t, "it is closed", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.closed
	})
	select {
	case <-released:
		t.Error("what is under way was not waited for")
	default:
	}
	close(c.gate)
	<-released
	if in, refs := c.in.Load(), c.count(); in != maxRefers || refs != 0 {
		t.Errorf("%d were referred to, and %d are left", in, refs)
	}
}

func TestHolds(t *testing.T) {
	c := counted(t)
	has := func(want int) {
		t.Helper()
		eventually(t, "the references", func() bool { return c.count() == want })
	}
	at := func(address string) []*common.URL {
		u := common.NewURLWithOptions(common.WithProtocol(constant.DubboProtocol))
		u.Location = address
		return []*common.URL{u}
	}
	var h holds
	// Two references list one address: one more connection reference.
	h.take(at("a"))
	h.take(at("a"))
	has(1)
	h.drop([]string{"a"}, time.Hour)
	h.drop([]string{"a"}, time.Hour) // lingers
	h.drop([]string{"never"}, time.Hour)
	has(1)

	// It comes back: what lingers is used again while it works.
	h.renew(at("a"))
	h.take(at("a"))
	has(1)
	h.drop([]string{"a"}, time.Hour)
	// It comes back broken: dubbo-go must not be given this one.
	c.up = false
	h.renew(at("a"))
	has(0)
	c.up = true
	h.take(at("a"))
	has(1)

	// The end of the linger.
	h.drop([]string{"a"}, 0)
	has(0)

	h.take(at("a"))
	h.take(at("b"))
	has(2)
	h.drop([]string{"a"}, time.Hour)
	h.release()
	has(0)
	h.take(at("c"))
	h.drop([]string{"c"}, 0)
	has(0)
}

func TestDiffer(t *testing.T) {
	var urls []*common.URL
	for _, address := range []string{"b", "c", "c"} {
		u := common.NewURLWithOptions()
		u.Location = address
		urls = append(urls, u)
	}
	addresses, added, gone := differ([]string{"a", "b"}, urls)
	if !slices.Equal(addresses, []string{"b", "c"}) || len(added) != 1 || added[0] != urls[1] || !slices.Equal(gone, []string{"a"}) {
		t.Errorf("addresses %v, added %v, gone %v", addresses, added, gone)
	}
}
