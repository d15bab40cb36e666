package zookeeper

import (
	"cmp"
	"log/slog"
	"strings"
	"sync"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/cluster/cluster"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/zoneaware" // chooses between registries
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/metadata/report"
	_ "dubbo.apache.org/dubbo-go/v3/metadata/report/zookeeper" // does the work
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
	_ "dubbo.apache.org/dubbo-go/v3/registry/directory"        // every list ends in one of its directories
	_ "dubbo.apache.org/dubbo-go/v3/registry/protocol"         // what exports to and refers from a registry
	_ "dubbo.apache.org/dubbo-go/v3/registry/servicediscovery" // for registrations by application
	_ "dubbo.apache.org/dubbo-go/v3/registry/zookeeper"        // does the work
)

// DefaultID is the id of the registry in dubbo-go's configuration.
const DefaultID = "zookeeper"

// outer is what dubbo-go calls a registry of this package, and inner what does the
// work behind it.
const (
	outer = "weir-zookeeper"
	inner = "zookeeper"
)

// Option changes what WithZooKeeper does.
type Option func(*config)

type config struct {
	id       string
	logger   *slog.Logger
	registry []goregistry.Option
}

// WithID gives the registry another id than DefaultID. It has to sort after the one
// of the registry on Kubernetes where both are used as metadata report: dubbo-go
// takes changes of the mapping from the first alone.
func WithID(id string) Option { return func(c *config) { c.id = id } }

// WithLogger takes what an operator should know; slog.Default() without.
func WithLogger(logger *slog.Logger) Option { return func(c *config) { c.logger = logger } }

// WithRegistryOptions adds dubbo-go's own options for the registry, those that the
// application had: registry.WithRegisterInterface(), registry.WithGroup, credentials.
func WithRegistryOptions(opts ...goregistry.Option) Option {
	return func(c *config) { c.registry = append(c.registry, opts...) }
}

// WithZooKeeper makes ZooKeeper a registry of the instance that holds up no other.
// The address is that of dubbo-go, "host:2181,host:2181".
func WithZooKeeper(address string, opts ...Option) dubbogo.InstanceOption {
	var cfg config
	for _, opt := range opts {
		opt(&cfg)
	}
	cfg.id = cmp.Or(cfg.id, DefaultID)
	if cfg.logger == nil {
		cfg.logger = slog.Default()
	}
	use(cfg.logger.With(slog.String("registry", cfg.id)))
	return dubbogo.WithRegistry(append([]goregistry.Option{
		goregistry.WithID(cfg.id),
		goregistry.WithRegistry(outer),
		goregistry.WithAddress(strings.TrimPrefix(address, inner+"://")),
		goregistry.WithoutUseAsConfigCenter(),
	}, cfg.registry...)...)
}

var used sync.Once

// use makes dubbo-go know the registry, once for all instances of the process, as they
// share what dubbo-go keeps.
func use(log *slog.Logger) {
	used.Do(func() {
		l := newLink(log)
		extension.SetRegistry(outer, func(u *common.URL) (goregistry.Registry, error) { return newBeside(u, l), nil })
		extension.SetDirectory(outer, extension.GetDefaultRegistryDirectory)
		extension.SetServiceDiscovery(outer, func(u *common.URL) (goregistry.ServiceDiscovery, error) { return newDiscovery(u, l), nil })
		extension.SetMetadataReportFactory(outer, func() report.MetadataReportFactory { return reportFactory{l} })
		if between, err := extension.GetCluster(constant.ClusterKeyZoneAware); err == nil {
			extension.SetCluster(constant.ClusterKeyZoneAware, func() cluster.Cluster { return chooser{between, l} })
		}
		extension.AddCustomShutdownCallback(l.close)
	})
}

// innerURL is what the registry behind this one is made from.
func innerURL(u *common.URL) *common.URL {
	u = u.Clone()
	u.Protocol = inner
	if u.GetParam(constant.RegistryKey, "") == outer {
		u.SetParam(constant.RegistryKey, inner)
	}
	return u
}
