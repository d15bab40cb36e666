package dubbo

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	gxset "github.com/dubbogo/gost/container/set"
	gxpage "github.com/dubbogo/gost/hash/page"

	"github.com/weirmesh/weir/registry"
)

// discovery is the ServiceDiscovery for configurations that ask dubbo-go for one
// by name (registry-type: service). dubbo-go makes one for each subscription and
// never ends them, so it owns nothing; what its listeners follow lives as long as
// the binding.
type discovery struct {
	name string
	url  *common.URL
}

var _ goregistry.ServiceDiscovery = (*discovery)(nil)

// String names the registry.
func (d *discovery) String() string { return d.name }

// Destroy does nothing: dubbo-go forgets most of these without a call.
func (d *discovery) Destroy() error { return nil }

// Register publishes the instance. dubbo-go calls it for each exported service
// with the same instance; the first call publishes all, and the others find that
// nothing changed. Its error is what Serve returns.
func (d *discovery) Register(instance goregistry.ServiceInstance) error {
	b, err := lookup(d.name)
	if err != nil {
		return err
	}
	m := instance.GetServiceMetadata()
	if m == nil {
		return &registry.Error{Code: registry.Invalid, Message: instance.GetServiceName() + " is registered without services"}
	}
	exported := m.GetExportedServiceURLs()
	for _, u := range exported {
		if err := b.export(u); err != nil {
			return err
		}
	}
	return b.publish(b.starting())
}

// Update publishes the instance again.
func (d *discovery) Update(instance goregistry.ServiceInstance) error { return d.Register(instance) }

// Unregister says that the instance is going: it drains, and is withdrawn when
// dubbo-go has stopped.
func (d *discovery) Unregister(instance goregistry.ServiceInstance) error {
	if b, err := lookup(d.name); err == nil {
		return b.drainApp(registry.App{Namespace: b.cfg.Namespace, Name: instance.GetServiceName()})
	}
	return nil
}

// GetDefaultPageSize returns dubbo-go's.
func (d *discovery) GetDefaultPageSize() int { return goregistry.DefaultPageSize }

// GetServices returns the applications this process follows or provides, and
// never nothing: dubbo-go takes nothing for a registry that is down, and asks
// often.
func (d *discovery) GetServices() *gxset.HashSet {
	set := gxset.NewSet()
	b, err := lookup(d.name)
	if err != nil {
		return set
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for app := range b.watches {
		set.Add(b.spell(app))
	}
	for app := range b.providers {
		set.Add(b.spell(app))
	}
	if set.Empty() {
		set.Add(d.name)
	}
	return set
}

// GetInstances returns the callable instances of an application whose metadata
// is at hand. It waits for them until Config.SyncTimeout.
func (d *discovery) GetInstances(name string) []goregistry.ServiceInstance {
	b, err := lookup(d.name)
	if err != nil {
		return nil
	}
	app, err := registry.ParseApp(name, b.cfg.Namespace)
	if err != nil {
		b.log.Warn("an application cannot be looked up", slog.String("app", name), slog.Any("error", err))
		return nil
	}
	f := &instanceFollower{changed: make(chan struct{}, 1)}
	w, err := b.follow(app, f)
	if err != nil {
		return nil
	}
	defer w.leave(f)
	var list []*serviceInstance
	b.waitFor(func(patience time.Duration) (complete bool) {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		for {
			if list, complete = readable(name, w.view()); complete {
				return true
			}
			select {
			case <-f.changed:
			case <-ctx.Done():
				if list, _ = readable(name, w.view()); len(list) == 0 {
					b.log.Warn("instances are not known yet", slog.String("app", app.String()))
				}
				return w.view().known
			}
		}
	})
	return shown(list)
}

func shown(list []*serviceInstance) []goregistry.ServiceInstance {
	out := make([]goregistry.ServiceInstance, len(list))
	for i, instance := range list {
		out[i] = instance
	}
	return out
}

// spell writes an application the way dubbo-go's names are read.
func (b *Binding) spell(app registry.App) string {
	if app.Namespace == b.cfg.Namespace {
		return app.Name
	}
	return app.String()
}

// readable returns the callable instances whose metadata is here; complete is
// unset while there are others, or nothing is known.
func readable(name string, v view) (list []*serviceInstance, complete bool) {
	complete = v.known
	for i := range v.snapshot.Instances {
		instance := &v.snapshot.Instances[i]
		if !instance.Callable() {
			continue
		}
		if r := instance.Revision; r != "" && r != noServices && v.documents[r].doc == nil {
			complete = false
			continue
		}
		list = append(list, newServiceInstance(name, instance).stored())
	}
	return list, complete
}

// GetInstancesByPage returns a page of GetInstances.
func (d *discovery) GetInstancesByPage(name string, offset, size int) gxpage.Pager {
	return page(d.GetInstances(name), offset, size)
}

// GetHealthyInstancesByPage returns a page of GetInstances, which are healthy
// all, or an empty one where the unhealthy are asked for.
func (d *discovery) GetHealthyInstancesByPage(name string, offset, size int, healthy bool) gxpage.Pager {
	all := d.GetInstances(name)
	all = slices.DeleteFunc(all, func(i goregistry.ServiceInstance) bool { return i.IsHealthy() != healthy })
	return page(all, offset, size)
}

// GetRequestInstances returns the first page of each application.
func (d *discovery) GetRequestInstances(names []string, offset, size int) map[string]gxpage.Pager {
	out := make(map[string]gxpage.Pager, len(names))
	for _, name := range names {
		out[name] = d.GetInstancesByPage(name, offset, size)
	}
	return out
}

func page(all []goregistry.ServiceInstance, offset, size int) gxpage.Pager {
	from := min(max(offset, 0), len(all))
	to := min(from+max(size, 0), len(all))
	data := make([]any, 0, to-from)
	for _, i := range all[from:to] {
		data = append(data, i)
	}
	return gxpage.NewPage(offset, size, data, len(all))
}

// AddListener makes the listener follow its applications until the binding is
// closed. dubbo-go adds one listener many times, and has no way to take it back.
func (d *discovery) AddListener(listener goregistry.ServiceInstancesChangedListener) error {
	b, err := lookup(d.name)
	if err != nil {
		return err
	}
	for _, v := range listener.GetServiceNames().Values() {
		name, ok := v.(string)
		if !ok {
			continue
		}
		app, err := registry.ParseApp(name, b.cfg.Namespace)
		if err != nil {
			return err
		}
		if err := b.listen(listener, name, app); err != nil {
			return err
		}
	}
	return nil
}

// instanceFollower is woken by a watch.
type instanceFollower struct{ changed chan struct{} }

func (f *instanceFollower) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

type listening struct {
	listener goregistry.ServiceInstancesChangedListener
	name     string
}

// listen tells the listener of every change, one at a time and the newest only.
func (b *Binding) listen(listener goregistry.ServiceInstancesChangedListener, name string, app registry.App) error {
	key := listening{listener: listener, name: name}
	b.mu.Lock()
	_, here := b.listeners[key]
	b.listeners[key] = struct{}{}
	b.mu.Unlock()
	if here {
		return nil
	}
	f := &instanceFollower{changed: make(chan struct{}, 1)}
	w, err := b.follow(app, f)
	if err != nil {
		b.mu.Lock()
		delete(b.listeners, key)
		b.mu.Unlock()
		return err
	}
	started := b.goWork(func() {
		defer w.leave(f)
		var sent []*serviceInstance
		var at []string
		first := true
		for {
			select {
			case <-f.changed:
			case <-b.ctx.Done():
				return
			}
			list, complete := readable(name, w.view())
			if len(list) == 0 && !complete || !first && sameInstances(list, sent) {
				continue
			}
			next, added, gone := differ(at, dubboURLs(list))
			b.held.renew(added)
			if err := listener.OnEvent(goregistry.NewServiceInstancesChangedEvent(name, shown(list))); err != nil {
				b.log.Warn("dubbo-go refused a list of instances", slog.String("app", app.String()), slog.Any("error", err))
			}
			b.held.take(added)
			b.held.drop(gone, b.cfg.Linger)
			sent, at, first = list, next, false
		}
	})
	if !started {
		w.leave(f)
		return errClosed
	}
	return nil
}

// dubboURLs returns where the instances are called over the Dubbo protocol.
func dubboURLs(list []*serviceInstance) []*common.URL {
	var out []*common.URL
	for _, i := range list {
		out = append(out, urls(i.instance, &service{name: constant.MetadataServiceName, protocol: constant.DubboProtocol})...)
	}
	return out
}

func sameInstances(a, b []*serviceInstance) bool {
	return slices.EqualFunc(a, b, func(x, y *serviceInstance) bool { return x.instance.Equal(y.instance) })
}
