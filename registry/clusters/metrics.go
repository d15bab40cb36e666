package clusters

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/registry"
)

// Clusters implements registry.Clustered.
func (r *Registry) Clusters() []string {
	if len(r.members) == 1 {
		return nil
	}
	names := make([]string, len(r.members))
	for i := range r.members {
		names[i] = r.members[i].Name
	}
	return names
}

// ClusterStates implements registry.Clustered. All are asked at once.
func (r *Registry) ClusterStates(ctx context.Context) []registry.ClusterState {
	names := r.Clusters()
	states := make([]registry.ClusterState, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			stale, err := staleSince(ctx, r.members[i].Discoverer)
			if err == nil {
				r.missed[i].Store(false)
			}
			states[i] = registry.ClusterState{Cluster: name, Stale: stale, Err: r.at(&r.members[i], err)}
		})
	}
	all.Wait()
	return states
}

// staleSince asks a member how its link is; one that cannot say is in touch if it
// answers at all.
func staleSince(ctx context.Context, d registry.Discoverer) (time.Time, error) {
	if l, ok := d.(registry.Linked); ok {
		return l.StaleSince(ctx)
	}
	_, err := d.Apps(ctx, "")
	return time.Time{}, err
}

type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector
	failovers  *prometheus.CounterVec
	returns    *prometheus.CounterVec
}

// newMetrics registers what is measured. There is nothing to measure of a single
// cluster but what its own registry measures.
func newMetrics(r *Registry) (*metrics, error) {
	m := &metrics{
		registerer: r.cfg.Metrics,
		failovers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_failovers_total", Help: "Times that a cluster began to be called for an application of which those before it had too few instances.",
		}, []string{"cluster"}),
		returns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_returns_total", Help: "Times that a cluster was called no more for an application of which those before it had enough instances again.",
		}, []string{"cluster"}),
	}
	for i := range r.members {
		m.failovers.WithLabelValues(r.members[i].Name)
		m.returns.WithLabelValues(r.members[i].Name)
	}
	if m.registerer == nil || len(r.members) == 1 {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.failovers, m.returns, &stateCollector{r}} {
		if err := m.registerer.Register(c); err != nil {
			m.unregister()
			return nil, &registry.Error{
				Code: registry.Invalid, Message: "metrics cannot be registered", Err: err, Fix: "give each registry a Prometheus registerer of its own",
			}
		}
		m.collectors = append(m.collectors, c)
	}
	return m, nil
}

func (m *metrics) unregister() {
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}

// moved counts that another beginning of the clusters' order is called.
func (m *metrics) moved(r *Registry, levels [][]int, from, to int) {
	count := m.failovers
	if to < from {
		from, to, count = to, from, m.returns
	}
	for _, level := range levels[from+1 : to+1] {
		for _, at := range level {
			count.WithLabelValues(r.members[at].Name).Inc()
		}
	}
}

var (
	calledDesc = prometheus.NewDesc("weir_registry_called_instances",
		"Instances that are called, of the applications that this process follows.", []string{"cluster"}, nil)
	standbyDesc = prometheus.NewDesc("weir_registry_standby_instances",
		"Instances that stand by, since better ones are called, of the applications that this process follows.", []string{"cluster"}, nil)
	deadDesc = prometheus.NewDesc("weir_registry_unreachable_instances",
		"Instances that take no connection from here while their cluster's API server does not answer.", []string{"cluster"}, nil)
	silentDesc = prometheus.NewDesc("weir_registry_cluster_unheard",
		"1 while a cluster has not answered this process yet, and the others are called without it.", []string{"cluster"}, nil)
)

// stateCollector reads the state when Prometheus asks.
type stateCollector struct{ r *Registry }

func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- calledDesc
	ch <- standbyDesc
	ch <- deadDesc
	ch <- silentDesc
}

func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	r := c.r
	called, standby, dead := make([]int, len(r.members)), make([]int, len(r.members)), make([]int, len(r.members))
	names := r.Clusters()
	r.mu.Lock()
	apps := make([]*app, 0, len(r.apps))
	for _, a := range r.apps {
		apps = append(apps, a)
	}
	r.mu.Unlock()
	for _, a := range apps {
		a.mu.Lock()
		for n := range a.last.Instances {
			i := &a.last.Instances[n]
			at := slices.Index(names, i.Cluster)
			switch {
			case at < 0:
			case i.Callable():
				called[at]++
			case i.StandsBy():
				standby[at]++
			}
		}
		for at := range a.parts {
			dead[at] += len(a.parts[at].dead)
		}
		a.mu.Unlock()
	}
	for at, name := range names {
		unheard := 0.0
		if r.missed[at].Load() {
			unheard = 1
		}
		for d, v := range map[*prometheus.Desc]float64{calledDesc: float64(called[at]), standbyDesc: float64(standby[at]), deadDesc: float64(dead[at]), silentDesc: unheard} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
	}
}
