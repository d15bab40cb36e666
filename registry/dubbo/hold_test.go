package dubbo

import (
	"slices"
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
}

func (c *connections) Refer(u *common.URL) base.Invoker {
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

func TestHolds(t *testing.T) {
	actual := extension.GetProtocol(constant.DubboProtocol)
	c := &connections{refs: make(chan int, 1), up: true}
	c.refs <- 0
	extension.SetProtocol(constant.DubboProtocol, func() base.Protocol { return c })
	t.Cleanup(func() { extension.SetProtocol(constant.DubboProtocol, func() base.Protocol { return actual }) })

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
