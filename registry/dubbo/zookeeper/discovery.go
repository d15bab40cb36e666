package zookeeper

import (
	"context"
	"errors"
	"log/slog"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"
	"dubbo.apache.org/dubbo-go/v3/metadata/mapping"
	"dubbo.apache.org/dubbo-go/v3/metadata/report"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/dubbogo/go-zookeeper/zk"
	gxset "github.com/dubbogo/gost/container/set"
	gxpage "github.com/dubbogo/gost/hash/page"
)

// discovery is the registry by application.
type discovery struct {
	link   *link
	behind late[goregistry.ServiceDiscovery]

	life context.Context //nolint:containedctx // the registry's own lifetime
	end  context.CancelFunc

	registered registrations // by the instance's id
}

var _ goregistry.ServiceDiscovery = (*discovery)(nil)

func newDiscovery(u *common.URL, l *link) *discovery {
	d := &discovery{link: l, registered: registrations{link: l}}
	d.life, d.end = context.WithCancel(context.Background())
	d.behind.make = func() (goregistry.ServiceDiscovery, error) {
		if d.life.Err() != nil {
			return nil, errDestroyed
		}
		behind, err := extension.GetServiceDiscovery(innerURL(u))
		l.watch(behind)
		return behind, err
	}
	return d
}

// String names the registry.
func (d *discovery) String() string { return outer }

// Destroy ends the session, and with it all that was registered.
func (d *discovery) Destroy() error {
	d.end()
	err := d.link.bounded(func() error {
		behind, ok := d.behind.settled()
		if !ok {
			return nil
		}
		d.link.unwatch(behind)
		return behind.Destroy()
	})
	if _, ok := d.behind.there(); ok {
		return err
	}
	return nil // a session that is being opened is ended once it is
}

// Register registers an instance, now or later.
func (d *discovery) Register(instance goregistry.ServiceInstance) error {
	return d.write(instance, "register "+instance.GetServiceName(), goregistry.ServiceDiscovery.Register)
}

// Update writes an instance again, now or later.
func (d *discovery) Update(instance goregistry.ServiceInstance) error {
	return d.write(instance, "update "+instance.GetServiceName(), goregistry.ServiceDiscovery.Update)
}

func (d *discovery) write(instance goregistry.ServiceInstance, what string, write func(goregistry.ServiceDiscovery, goregistry.ServiceInstance) error) error {
	// The id is of an address, of which an instance may have several.
	d.registered.add(d.life, instance.GetID(), what, true, func() error {
		behind, err := d.behind.get()
		if err != nil {
			return err
		}
		return write(behind, instance)
	}).wait()
	return nil
}

// Unregister takes the registration back.
func (d *discovery) Unregister(instance goregistry.ServiceInstance) error {
	return d.registered.remove(instance.GetID(), func() error {
		behind, err := d.behind.get()
		if err != nil {
			return err
		}
		return behind.Unregister(instance)
	})
}

// GetDefaultPageSize returns dubbo-go's.
func (d *discovery) GetDefaultPageSize() int { return goregistry.DefaultPageSize }

// GetServices returns what ZooKeeper has, and never nothing: dubbo-go takes nothing
// for a registry that is down.
func (d *discovery) GetServices() *gxset.HashSet {
	set := gxset.NewSet()
	if behind, ok := d.behind.there(); ok {
		set = behind.GetServices()
	}
	if set.Empty() {
		set.Add(outer)
	}
	return set
}

// GetInstances returns the instances of an application, none while ZooKeeper is away.
func (d *discovery) GetInstances(name string) []goregistry.ServiceInstance {
	behind, err := d.behind.get()
	if err != nil {
		d.link.log.Warn("instances cannot be had of ZooKeeper", slog.String("app", name), slog.Any("error", err))
		return nil
	}
	return behind.GetInstances(name)
}

// GetInstancesByPage returns a page of GetInstances.
func (d *discovery) GetInstancesByPage(name string, offset, size int) gxpage.Pager {
	if behind, err := d.behind.get(); err == nil {
		return behind.GetInstancesByPage(name, offset, size)
	}
	return gxpage.NewPage(offset, size, nil, 0)
}

// GetHealthyInstancesByPage returns a page of GetInstances.
func (d *discovery) GetHealthyInstancesByPage(name string, offset, size int, healthy bool) gxpage.Pager {
	if behind, err := d.behind.get(); err == nil {
		return behind.GetHealthyInstancesByPage(name, offset, size, healthy)
	}
	return gxpage.NewPage(offset, size, nil, 0)
}

// GetRequestInstances returns the first page of each application.
func (d *discovery) GetRequestInstances(names []string, offset, size int) map[string]gxpage.Pager {
	if behind, err := d.behind.get(); err == nil {
		return behind.GetRequestInstances(names, offset, size)
	}
	return map[string]gxpage.Pager{}
}

// AddListener has the listener hear of changes, as soon as ZooKeeper answers.
func (d *discovery) AddListener(listener goregistry.ServiceInstancesChangedListener) error {
	d.link.insist(d.life, "follow applications", func() error {
		behind, err := d.behind.get()
		if err != nil {
			return err
		}
		return behind.AddListener(listener)
	})
	return nil
}

type reportFactory struct{ link *link }

// CreateMetadataReport returns a report that opens its session when it is needed.
func (f reportFactory) CreateMetadataReport(u *common.URL) report.MetadataReport {
	m := &metadataReport{url: u, link: f.link}
	m.behind.make = func() (report.MetadataReport, error) {
		factory := extension.GetMetadataReportFactory(inner)
		if factory == nil {
			return nil, errors.New("dubbo-go's metadata report in ZooKeeper is not linked in")
		}
		return factory.CreateMetadataReport(innerURL(u)), nil
	}
	return m
}

// metadataReport is the metadata report and the mapping. What cannot be written now
// is written later: an error would keep the process from exporting to any registry.
type metadataReport struct {
	url    *common.URL
	link   *link
	behind late[report.MetadataReport]
}

var _ report.MetadataReport = (*metadataReport)(nil)

// URL returns the URL the report was made from.
func (m *metadataReport) URL() *common.URL { return m.url }

// GetAppMetadata returns the metadata of a revision.
func (m *metadataReport) GetAppMetadata(app, revision string) (*info.MetadataInfo, error) {
	behind, err := m.behind.get()
	if err != nil {
		return nil, err
	}
	return behind.GetAppMetadata(app, revision)
}

func (m *metadataReport) later(what string, do func(report.MetadataReport) error) error {
	i := m.link.insist(m.link.life, what, func() error {
		behind, err := m.behind.get()
		if err != nil {
			return err
		}
		return do(behind)
	})
	i.wait()
	return nil
}

// PublishAppMetadata stores the metadata of a revision, now or later.
func (m *metadataReport) PublishAppMetadata(app, revision string, metadata *info.MetadataInfo) error {
	return m.later("store the metadata of "+app, func(r report.MetadataReport) error { return r.PublishAppMetadata(app, revision, metadata) })
}

// UnPublishAppMetadata removes the metadata of a revision.
func (m *metadataReport) UnPublishAppMetadata(app, revision string) error {
	behind, err := m.behind.get()
	if err != nil {
		return err
	}
	return behind.UnPublishAppMetadata(app, revision)
}

// ListAppRevisions lists the stored revisions.
func (m *metadataReport) ListAppRevisions(app string) ([]report.AppRevision, error) {
	behind, err := m.behind.get()
	if err != nil {
		return nil, err
	}
	return behind.ListAppRevisions(app)
}

// RegisterServiceAppMapping records that an application provides an interface, now or
// later.
func (m *metadataReport) RegisterServiceAppMapping(iface, group, app string) error {
	return m.later("map "+iface, func(r report.MetadataReport) error { return r.RegisterServiceAppMapping(iface, group, app) })
}

// GetServiceAppMapping returns the applications that provide an interface. While
// ZooKeeper is away it fails, and the listener is told when it is back, where dubbo-go
// would leave the reference without for good.
func (m *metadataReport) GetServiceAppMapping(iface, group string, listener mapping.MappingListener) (*gxset.HashSet, error) {
	apps, err := m.apps(iface, group, listener)
	if err != nil && listener != nil && !errors.Is(err, zk.ErrNoNode) {
		m.link.insist(m.link.life, "ask who provides "+iface, func() error {
			apps, err := m.apps(iface, group, nil)
			if errors.Is(err, zk.ErrNoNode) {
				return nil // nobody yet, and the listener hears of the first
			}
			if err != nil {
				return err
			}
			return listener.OnEvent(goregistry.NewServiceMappingChangedEvent(iface, apps))
		})
	}
	return apps, err
}

func (m *metadataReport) apps(iface, group string, listener mapping.MappingListener) (*gxset.HashSet, error) {
	behind, err := m.behind.get()
	if err != nil {
		return nil, err
	}
	return behind.GetServiceAppMapping(iface, group, listener)
}

// RemoveServiceAppMappingListener ends what GetServiceAppMapping began.
func (m *metadataReport) RemoveServiceAppMappingListener(iface, group string) error {
	if behind, ok := m.behind.there(); ok {
		return behind.RemoveServiceAppMappingListener(iface, group)
	}
	return nil
}
