package dubbo

import (
	"sync"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/registry"
)

// Capture makes dubbo-go use, under the name as, the service discovery named of,
// and keeps what is registered through it, so that the very same instance can be
// withdrawn and put back later.
func Capture(as, of string) *Captured {
	c := &Captured{registered: make(map[string]Registered)}
	extension.SetServiceDiscovery(as, func(u *common.URL) (registry.ServiceDiscovery, error) {
		inner := u.Clone()
		inner.SetParam("registry", of)
		sd, err := extension.GetServiceDiscovery(inner)
		if err != nil {
			return nil, err
		}
		return &capturing{ServiceDiscovery: sd, into: c}, nil
	})
	return c
}

// Captured holds what was registered, by the instance's host. It is safe for
// concurrent use.
type Captured struct {
	mu         sync.Mutex
	registered map[string]Registered
}

// Registered is one instance and where it is registered.
type Registered struct {
	Instance  registry.ServiceInstance
	Discovery registry.ServiceDiscovery
}

// Of returns what was registered for a host.
func (c *Captured) Of(host string) (Registered, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.registered[host]
	return r, ok
}

// Put keeps one more.
func (c *Captured) Put(r Registered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.registered[r.Instance.GetHost()] = r
}

type capturing struct {
	registry.ServiceDiscovery
	into *Captured
}

func (d *capturing) Register(instance registry.ServiceInstance) error {
	if err := d.ServiceDiscovery.Register(instance); err != nil {
		return err
	}
	d.into.Put(Registered{Instance: instance, Discovery: d.ServiceDiscovery})
	return nil
}
