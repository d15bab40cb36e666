package kubernetes

import (
	"cmp"
	"log/slog"
	"os"
	"time"

	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultID is the id of the registry in dubbo-go's configuration, and the name
// of its protocol there.
const DefaultID = "kubernetes"

// Option changes what WithKubernetes does. The zero configuration is that of a
// pod.
type Option func(*config)

type config struct {
	target
	id             string
	logger         *slog.Logger
	metrics        prometheus.Registerer
	syncTimeout    time.Duration
	snapshotDir    string
	snapshotTrust  time.Duration
	registerWait   time.Duration
	withoutSignals bool
	registry       []goregistry.Option
	home           string
	others         []Cluster
	zonePercent    int
}

// target says which cluster is meant, and which part of it. Instances with the
// same target share one hub.
type target struct{ kubeconfig, context, namespace string }

func newConfig(opts []Option) config {
	c := config{snapshotDir: os.Getenv(EnvSnapshotDir)}
	for _, opt := range opts {
		opt(&c)
	}
	c.id = cmp.Or(c.id, DefaultID)
	if c.logger == nil {
		c.logger = slog.Default()
	}
	return c
}

// WithKubeconfig names a kubeconfig file. Without it $KUBECONFIG does, and
// without that the credentials of the pod are used.
func WithKubeconfig(file string) Option { return func(c *config) { c.kubeconfig = file } }

// WithContext chooses a context of the kubeconfig; its current one is used
// without.
func WithContext(name string) Option { return func(c *config) { c.context = name } }

// WithNamespace names the namespace whose applications are found without being
// named, and in which this one lives. Without it, it is the pod's own; outside a
// pod, that of the kubeconfig.
func WithNamespace(namespace string) Option { return func(c *config) { c.namespace = namespace } }

// Cluster is another cluster than the one that a process belongs to.
type Cluster struct {
	// Name is what it is called: in DiscoveryPolicies, logs, and on instances.
	Name string
	// Kubeconfig is a file that names it, Context one of its contexts, or its current
	// one if empty. Its account needs the rights of weir-consumer there.
	Kubeconfig, Context string
	// ServiceDomain is under which name its Services are reached from here, such as
	// "svc.west.example.com", for Service mode; its pods are called without.
	ServiceDomain string
}

// WithClusters has applications called in other clusters, in their order, where the
// process's own, whose name is home, has too few instances of them. Their pods have to
// be reachable from here. The process registers at home alone.
func WithClusters(home string, others ...Cluster) Option {
	return func(c *config) { c.home, c.others = home, others }
}

// WithSameZone has instances of the process's own zone called alone while that has at
// least a percentage of what an even spread over the zones would give it; 50 is a good
// one. A DiscoveryPolicy may say otherwise.
func WithSameZone(percent int) Option { return func(c *config) { c.zonePercent = percent } }

// WithID gives the registry another id than DefaultID, for processes that use
// several clusters or namespaces.
func WithID(id string) Option { return func(c *config) { c.id = id } }

// WithLogger takes what an operator should know; slog.Default() without.
// dubbo-go's own logger is not touched.
func WithLogger(logger *slog.Logger) Option { return func(c *config) { c.logger = logger } }

// WithMetricsRegisterer registers the registry's metrics, weir_registry_…, there;
// there are none without.
func WithMetricsRegisterer(r prometheus.Registerer) Option { return func(c *config) { c.metrics = r } }

// WithSyncTimeout bounds how long a new reference waits for its first list, and all
// together for a registry that says nothing at all; 3 s without.
func WithSyncTimeout(d time.Duration) Option { return func(c *config) { c.syncTimeout = d } }

// EnvSnapshotDir is the environment variable that WithSnapshotDir goes over.
const EnvSnapshotDir = "WEIR_REGISTRY_SNAPSHOT_DIR"

// WithSnapshotDir names a directory in which the process keeps what it last knew of
// what it calls, so that it can start and call while the API server cannot be heard.
// It has to outlive the container, as an emptyDir does. Without it, EnvSnapshotDir
// names one; without that, nothing is kept on disk.
func WithSnapshotDir(dir string) Option { return func(c *config) { c.snapshotDir = dir } }

// WithSnapshotTrust says how old what is kept there may be for its addresses to be
// called untried; 10 min without.
func WithSnapshotTrust(d time.Duration) Option { return func(c *config) { c.snapshotTrust = d } }

// WithRegisterTimeout bounds how long a provider waits to be registered on Kubernetes
// before it serves without, and goes on trying. It is for one that is found in another
// registry, too, such as ZooKeeper while it moves; without it, a provider is not ready
// until it is registered.
func WithRegisterTimeout(d time.Duration) Option { return func(c *config) { c.registerWait = d } }

// WithoutSignals keeps dubbo-go from trapping signals and ending the process by
// itself. The program then ends Serve, by ServeContext or by dubbo-go's
// graceful_shutdown.Shutdown.
func WithoutSignals() Option { return func(c *config) { c.withoutSignals = true } }

// WithRegistryOptions adds dubbo-go's own options for the registry, such as
// registry.WithPreferred() while it is used beside ZooKeeper.
func WithRegistryOptions(opts ...goregistry.Option) Option {
	return func(c *config) { c.registry = append(c.registry, opts...) }
}
