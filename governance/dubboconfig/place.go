package dubboconfig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
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
	// beside is set where the pod is looked at by its own ports too, and told of there:
	// what it lacks, and of an engine that obeys policies all else.
	beside bool
	proven bool // by the cluster
}

// lookPatience bounds a question to the cluster, which a client waits for.
const lookPatience = 3 * time.Second

// strangerFor is how long an address counts as no pod's before it is looked up
// anew for a connection.
const strangerFor = 5 * time.Second

// placeOf says who a client is that has named its application. What the cluster
// proves comes first: the pod at the client's address, and its namespace, of which
// it can name no other. Where no pod has the address, the namespace is what the
// client says.
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
		pod, err := s.podAt(look, c, addr)
		switch {
		case err == nil && tenant != "" && tenant != pod.Namespace:
			return place{}, fmt.Errorf("%s is the address of a pod of namespace %s, which cannot be of %s: leave the namespace out, or name that one", addr, pod.Namespace, tenant)
		case err == nil:
			p.app.Namespace, p.id, p.name, p.proven = pod.Namespace, pod.ID, pod.Name, true
			if snapshot, err := s.cfg.Registry.Snapshot(look, registry.App{Namespace: p.app.Namespace, Name: app}); err == nil {
				p.beside = snapshot.Service.Govern != nil
			}
		case registry.CodeOf(err) != registry.NotFound:
			return place{}, fmt.Errorf("whose address %s is could not be asked: %w", addr, err)
		}
	}
	if p.app.Namespace == "" {
		s.warn(c, app)
		return place{}, fmt.Errorf("%s is no pod's address that is known here, so name the namespace of %s: nacos://HOST:PORT?namespace=NAMESPACE", addr, app)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.mayBe(app, tenant) {
		return place{}, fmt.Errorf("this connection is that of %s: open another for %s", c.place.app, p.app)
	}
	c.app, c.place = app, p
	return p, nil
}

// mayBe reports whether a connection may name an application and a namespace: the
// first ones for which it has a place are its own for as long as it lives. s.mu is
// held.
func (c *client) mayBe(app, tenant string) bool {
	return c.app == "" || c.app == app && c.place.tenant == tenant
}

// podAt returns the pod at a client's address, of all namespaces that are covered.
// A connection has one lookup at a time; a pod that was found stays its own, and an
// answer that there is none, or none to be had, holds for a while.
func (s *Service) podAt(ctx context.Context, c *client, addr netip.Addr) (registry.PodName, error) {
	busy := errors.New("too many ask: ask again")
	select {
	case c.looking <- struct{}{}:
		defer func() { <-c.looking }()
	case <-ctx.Done():
		return registry.PodName{}, busy
	}
	now := s.cfg.Now()
	if c.pod.ID != "" || now.Before(c.strange) {
		return c.pod, c.podErr
	}
	select {
	case s.lookups <- struct{}{}:
		defer func() { <-s.lookups }()
	case <-ctx.Done():
		return registry.PodName{}, busy
	}
	pod, err := s.cfg.Registry.PodAt(ctx, "", addr)
	if err == nil || ctx.Err() == nil { // what was broken off is no answer
		c.pod, c.podErr, c.strange = pod, err, now.Add(strangerFor)
	}
	return pod, err
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
