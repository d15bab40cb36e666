// Package memory is a registry inside one process: for tests, and for trying
// things without a cluster. It behaves as registry/kube does and passes the same
// conformance kit.
//
// A Registry stands for the world: the applications, their Services and
// instances, and what was written into them. A Client stands for one process
// that looks at it, with an identity of its own and a link that a test can cut.
package memory

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Registry is the shared state. The zero value is not usable; see New. It is
// safe for concurrent use. Its methods are drivers: they do what a cluster and
// its users would do.
type Registry struct {
	now func() time.Time

	mu        sync.Mutex
	apps      map[registry.App]*app
	mappings  map[mappingKey]map[string]struct{} // to names of applications
	documents map[documentKey]document
	clients   map[*Client]struct{}
}

type app struct {
	mode      registry.Mode
	service   registry.Service
	instances map[string]registry.Instance
}

// New returns an empty registry.
func New() *Registry {
	return &Registry{
		now:       time.Now,
		apps:      map[registry.App]*app{},
		mappings:  map[mappingKey]map[string]struct{}{},
		documents: map[documentKey]document{},
		clients:   map[*Client]struct{}{},
	}
}

// PutService makes the application exist with this Service, instances or none.
// An empty Host becomes "name.namespace.svc".
func (r *Registry) PutService(name registry.App, service registry.Service) {
	r.change(name, func(a *app) {
		service.Host = cmp.Or(service.Host, host(name))
		service.Ports = slices.Clone(service.Ports)
		a.service = service
	})
}

// SetMode changes how the application asks to be called.
func (r *Registry) SetMode(name registry.App, mode registry.Mode) {
	r.change(name, func(a *app) { a.mode = mode })
}

// PutInstance adds an instance or replaces the one with the same ID. An empty
// Health means Ready, a Weight of 0 the default, and endpoints and revision are
// read from the Dubbo keys of Metadata when they are not given.
func (r *Registry) PutInstance(name registry.App, instance registry.Instance) {
	if instance.ID == "" {
		panic(fmt.Sprintf("memory: an instance of %s has no ID", name))
	}
	instance.Metadata = maps.Clone(instance.Metadata)
	instance.Endpoints = slices.Clone(instance.Endpoints)
	if instance.Endpoints == nil {
		instance.Endpoints, _ = registry.DubboEndpoints(instance.Metadata)
	}
	instance.Revision = cmp.Or(instance.Revision, instance.Metadata[registry.KeyRevision])
	instance.Health = cmp.Or(instance.Health, registry.Ready)
	instance.Details.Weight = cmp.Or(instance.Details.Weight, registry.DefaultWeight)
	instance.Details.State = cmp.Or(instance.Details.State, registry.Up)
	r.change(name, func(a *app) { a.instances[instance.ID] = instance })
}

// SetHealth changes the health of an instance, if it is there.
func (r *Registry) SetHealth(name registry.App, id string, health registry.Health) {
	r.change(name, func(a *app) {
		if instance, ok := a.instances[id]; ok {
			instance.Health = health
			a.instances[id] = instance
		}
	})
}

// RemoveInstance removes an instance, if it is there.
func (r *Registry) RemoveInstance(name registry.App, id string) {
	r.change(name, func(a *app) { delete(a.instances, id) })
}

// Forget loses what an instance registered, as somebody with kubectl might. A
// client that registered it writes it again, at once or when its link is back.
func (r *Registry) Forget(name registry.App, id string) {
	r.change(name, func(a *app) { a.forget(id) })
}

func (a *app) forget(id string) {
	if instance, ok := a.instances[id]; ok {
		instance.Metadata, instance.Endpoints, instance.Revision = nil, nil, ""
		instance.Details = registry.Details{Weight: registry.DefaultWeight, State: registry.Up}
		instance.Problem, instance.Warning = "", ""
		a.instances[id] = instance
	}
}

// RemoveApp removes the application with all its instances.
func (r *Registry) RemoveApp(name registry.App) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.apps, name)
	r.tell(name)
}

func (r *Registry) change(name registry.App, f func(*app)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changeLocked(name, f)
}

func (r *Registry) changeLocked(name registry.App, f func(*app)) {
	a := r.apps[name]
	if a == nil {
		a = &app{mode: registry.ModePod, instances: map[string]registry.Instance{}}
		r.apps[name] = a
	}
	f(a)
	r.tell(name)
}

// tell hands the application's state to every client in touch. r.mu is held.
func (r *Registry) tell(name registry.App) {
	for c := range r.clients {
		c.reassert(name)
	}
	for c := range r.clients {
		c.refresh(name)
	}
}

// snapshot returns the present state of an application. r.mu is held.
func (r *Registry) snapshot(name registry.App) registry.Snapshot {
	s := registry.Snapshot{App: name, Mode: registry.ModePod, Observed: r.now()}
	if a := r.apps[name]; a != nil {
		s.Mode, s.Service = a.mode, a.service
		s.Instances = slices.SortedFunc(maps.Values(a.instances), func(x, y registry.Instance) int {
			return cmp.Compare(x.ID, y.ID)
		})
	}
	return s
}

func host(name registry.App) string { return name.Name + "." + name.Namespace + ".svc" }

// Address returns the n-th address of a range that is no real host's
// (198.18.0.0/15), for instances that nobody calls.
func Address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16)&1, byte(n >> 8), byte(n)})
}
