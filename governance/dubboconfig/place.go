package dubboconfig

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

// place is who a client is.
type place struct {
	app    governance.App
	tenant string // as it writes its namespace
	id     string // the pod's UID, or an address
	name   string // the pod's, or the address again
	// elsewhere is set where the pod is governed by its management port, and told of
	// there.
	elsewhere bool
	proven    bool // by the cluster
	lacks     []string
}

// lookPatience bounds a question to the cluster, which a client waits for.
const lookPatience = 3 * time.Second

// placeOf says who a client is that has named its application. What the cluster
// proves comes first: the pod at the client's address, and its namespace. Of others,
// the namespace is what they say.
func (s *Service) placeOf(ctx context.Context, c *client, app, tenant string) (place, error) {
	s.mu.Lock()
	known := c.place
	s.mu.Unlock()
	if known.app.Name == app && known.tenant == tenant && known.id != "" && (known.proven || s.cfg.Registry == nil) {
		return known, nil
	}
	// Before anybody is asked: names become parts of addresses.
	if err := checkNames(cmp.Or(tenant, "default"), app); err != nil {
		return place{}, fmt.Errorf("the application's name has to be that of a Service: %w", err)
	}
	addr := c.remote.Addr().Unmap()
	p := place{tenant: tenant, id: "dubbo@" + addr.String(), name: addr.String()}
	p.app = governance.App{Namespace: tenant, Name: app}
	if s.cfg.Registry != nil {
		look, done := context.WithTimeout(ctx, lookPatience)
		defer done()
		select {
		case s.lookups <- struct{}{}:
		case <-look.Done():
			return place{}, fmt.Errorf("whose address %s is could not be asked: too many ask. Ask again", addr)
		}
		defer func() { <-s.lookups }()
		pod, err := s.cfg.Registry.PodAt(look, tenant, addr)
		switch {
		case err == nil:
			p.app.Namespace, p.id, p.name, p.proven = pod.Namespace, pod.ID, pod.Name, true
		case registry.CodeOf(err) != registry.NotFound:
			return place{}, fmt.Errorf("whose address %s is could not be asked: %w", addr, err)
		}
		if snapshot, err := s.cfg.Registry.Snapshot(look, registry.App{Namespace: p.app.Namespace, Name: app}); err == nil {
			p.elsewhere = snapshot.Service.Govern != nil
		}
	}
	if p.app.Namespace == "" {
		s.warn(c, app)
		return place{}, fmt.Errorf("%s is no pod's address that is known here, so name the namespace of %s: nacos://HOST:PORT?namespace=NAMESPACE", addr, app)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.listens || c.app == app {
		c.app, c.place = app, p
	}
	return p, nil
}

// maxWarned bounds the addresses that are remembered as warned of.
const maxWarned = 1000

// warn logs, once for each address, that nobody knows where it belongs.
func (s *Service) warn(c *client, app string) {
	addr := c.remote.Addr()
	s.mu.Lock()
	said := s.warned[addr] || len(s.warned) >= maxWarned
	s.warned[addr] = true
	s.mu.Unlock()
	if !said {
		s.log.Warn("a Dubbo application is neither a pod that is known nor names its namespace, and gets no policies", "app", app, "address", addr.String())
	}
}

// maxName is how long the name of a Service or a namespace may be.
const maxName = 63

// checkName reports a name that no Service can have.
func checkName(name string) error { return checkNames("default", name) }

// checkNames reports a namespace or a name that there cannot be. The error holds
// no more of what a client sent than names may have.
func checkNames(namespace, name string) error {
	if len(namespace) > maxName || len(name) > maxName {
		return fmt.Errorf("a namespace or a name has more than %d characters", maxName)
	}
	return registry.App{Namespace: namespace, Name: name}.Validate()
}
