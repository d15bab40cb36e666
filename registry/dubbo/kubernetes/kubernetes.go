package kubernetes

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	dubbogo "dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/global"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/dubbo"
	"github.com/weirmesh/weir/registry/kube"
)

// WithKubernetes makes Kubernetes the registry of the instance, for its servers
// and its clients. Give it after dubbo.WithName. Several instances of a process
// share what it opens, which is closed when dubbo-go shuts down gracefully.
func WithKubernetes(opts ...Option) dubbogo.InstanceOption {
	cfg := newConfig(opts)
	return func(ins *dubbogo.InstanceOptions) {
		binding, err := join(cfg, applicationName(ins))
		if err != nil {
			refuse(ins, cfg, err)
			return
		}
		dubbogo.WithRegistry(append(binding.Options(), cfg.registry...)...)(ins)
		adopt(ins, cfg)
	}
}

// adopt sets what goes with the registry, where the user did not.
func adopt(ins *dubbogo.InstanceOptions, cfg config) {
	if ins.Application != nil && ins.Application.MetadataServicePort == "" {
		// dubbo-go would export its metadata service on a port of its own, at
		// random for a Triple application. The registry exports one on the port of
		// the services instead; see dubbo.MetadataService. Another registry beside it
		// makes no difference, whichever of them is given first.
		ins.Application.MetadataType = constant.RemoteMetadataStorageType
	}
	if cfg.withoutSignals && ins.Shutdown != nil {
		no := false
		ins.Shutdown.InternalSignal = &no
	}
	// For a second registry: the first address dubbo-go finds need not be the
	// pod's, and this registry takes it from the pod itself.
	if ip := os.Getenv("POD_IP"); ip != "" && os.Getenv(constant.DubboIpToRegistryKey) == "" {
		_ = os.Setenv(constant.DubboIpToRegistryKey, ip)
	}
}

// applicationName is the name of the instance as far as it is known, for the
// cluster's policies about consumers; a bad one is a provider's error, later.
func applicationName(ins *dubbogo.InstanceOptions) string {
	if ins.Application == nil || (registry.App{Namespace: "any", Name: ins.Application.Name}).Validate() != nil {
		return ""
	}
	return ins.Application.Name
}

// refuse makes dubbo.NewInstance fail. An option cannot return an error, so it
// leaves a registry address that cannot be parsed, and that says why.
func refuse(ins *dubbogo.InstanceOptions, cfg config, err error) {
	cfg.logger.Error("the registry on Kubernetes cannot be used", slog.Any("error", err))
	if ins.Registries == nil {
		ins.Registries = map[string]*global.RegistryConfig{}
	}
	ins.Registries[cfg.id] = &global.RegistryConfig{
		Protocol: cfg.id, Address: "kubernetes://" + err.Error(), UseAsMetaReport: "false", UseAsConfigCenter: "false",
	}
}

// joined is a registry in use by this process.
type joined struct {
	target   target
	others   []Cluster
	binding  *dubbo.Binding
	clusters *clusters.Registry
	hubs     []target // that it holds
}

// hub is a hub shared by all registries of its target.
type hub struct {
	*kube.Hub
	refs int
}

var (
	mu     sync.Mutex
	inUse  = map[string]*joined{} // by id
	opened = map[target]*hub{}
)

// join returns the registry with this id, opening it and its hub unless they are
// there.
func join(cfg config, app string) (*dubbo.Binding, error) {
	mu.Lock()
	defer mu.Unlock()
	if j := inUse[cfg.id]; j != nil {
		if j.target != cfg.target || !slices.Equal(j.others, cfg.others) {
			return nil, &registry.Error{
				Code:    registry.Conflict,
				Message: fmt.Sprintf("this process uses a registry %q with another cluster or namespace already", cfg.id),
				Fix:     "tell them apart by WithID",
			}
		}
		return j.binding, nil
	}
	j := &joined{target: cfg.target, others: cfg.others}
	if err := j.begin(cfg, app); err != nil {
		j.end()
		return nil, err
	}
	inUse[cfg.id] = j
	// Runs after the binding's own, which withdraws the instance.
	extension.AddCustomShutdownCallback(func() { leave(cfg.id) })
	return j.binding, nil
}

// begin opens what the registry is made of. What it opened, end closes. mu is held.
func (j *joined) begin(cfg config, app string) error {
	kc := kube.Config{
		Kubeconfig: cfg.kubeconfig,
		Context:    cfg.context,
		Lazy:       true, // a process that only provides needs no watches
		App:        app,
		Logger:     cfg.logger,

		SnapshotDir: cfg.snapshotDir, SnapshotTrust: cfg.snapshotTrust,
	}
	if cfg.namespace != "" {
		kc.Namespaces = []string{cfg.namespace}
	}
	measure := func(cluster string) prometheus.Registerer {
		if len(cfg.others) == 0 {
			return cfg.metrics
		}
		return clusters.Measure(cfg.metrics, cluster)
	}
	kc.Metrics = measure(cfg.home)
	home, err := j.open(cfg.target, kc)
	if err != nil {
		return err
	}
	namespace := namespaceOf(cfg, home)
	own := home.Identity()
	several := clusters.Config{
		ZonePercent: cfg.zonePercent, Self: registry.App{Namespace: own.Namespace, Name: app}, Instance: own.UID,
		Logger:  cfg.logger.With(slog.String("registry", cfg.id)),
		Metrics: cfg.metrics,
		Members: []clusters.Member{{Name: cfg.home, Discoverer: home, Mapping: home, Metadata: home, Registrar: home}},
	}
	if len(cfg.others) == 0 {
		several.ProbeEvery = -1 // the hub has its own ways to doubt
	}
	for n, o := range cfg.others {
		kc.Kubeconfig, kc.Context, kc.Namespaces = o.Kubeconfig, o.Context, []string{namespace}
		kc.Identity = kube.Identity{Namespace: namespace}
		kc.Metrics, kc.SnapshotDir = measure(o.Name), clusters.SnapshotDir(cfg.snapshotDir, o.Name)
		h, err := j.open(target{o.Kubeconfig, o.Context, namespace}, kc)
		if err != nil {
			return fmt.Errorf("cluster %s: %w", o.Name, err)
		}
		several.Members = append(several.Members, clusters.Member{
			Name: o.Name, Discoverer: h, Mapping: h, Metadata: h, Priority: n + 1, ServiceDomain: o.ServiceDomain,
		})
	}
	if j.clusters, err = clusters.New(several); err != nil {
		return err
	}
	r := j.clusters
	j.binding, err = dubbo.Use(cfg.id, dubbo.Backend{Discoverer: r, Registrar: r, Mapping: r, Metadata: r}, dubbo.Config{
		Namespace:   namespace,
		Logger:      cfg.logger,
		Metrics:     cfg.metrics,
		SyncTimeout: cfg.syncTimeout,

		RegisterTimeout: cfg.registerWait,
	})
	return err
}

// end closes what the registry is made of, as far as it came. mu is held.
func (j *joined) end() {
	if j.binding != nil {
		j.binding.Close()
	}
	if j.clusters != nil {
		j.clusters.Close()
	}
	for _, t := range j.hubs {
		release(t)
	}
}

// open returns the hub of a target. mu is held.
func (j *joined) open(t target, kc kube.Config) (*kube.Hub, error) {
	if h := opened[t]; h != nil {
		h.refs++
		j.hubs = append(j.hubs, t)
		return h.Hub, nil
	}
	opening, err := kube.Open(context.Background(), kc)
	if err != nil {
		return nil, err
	}
	opened[t] = &hub{Hub: opening, refs: 1}
	j.hubs = append(j.hubs, t)
	return opening, nil
}

// namespaceOf returns where this application lives.
func namespaceOf(cfg config, h *kube.Hub) string {
	if cfg.namespace != "" {
		return cfg.namespace
	}
	if own := h.Identity().Namespace; own != "" {
		return own
	}
	if covered := h.Namespaces(); len(covered) > 0 {
		return covered[0]
	}
	return ""
}

// leave closes the registry with this id, and its hubs with the last of their
// targets.
func leave(id string) {
	mu.Lock()
	defer mu.Unlock()
	j := inUse[id]
	if j == nil {
		return
	}
	delete(inUse, id)
	j.end()
}

// release gives a hub back. mu is held.
func release(t target) {
	h := opened[t]
	if h.refs--; h.refs == 0 {
		delete(opened, t)
		h.Close()
	}
}
