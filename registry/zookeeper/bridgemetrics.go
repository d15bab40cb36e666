package zookeeper

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type bridgeMetrics struct {
	leads, nodes prometheus.Gauge
	writes       *prometheus.CounterVec
	failures     prometheus.Counter
}

func newBridgeMetrics(r prometheus.Registerer, unknown unknownCollector, failing failingCollector) (*bridgeMetrics, error) {
	m := &bridgeMetrics{
		leads: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_registry_bridge_writes", Help: "1 in the one replica that writes applications into ZooKeeper.",
		}),
		nodes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_registry_bridge_nodes", Help: "Providers in ZooKeeper that the bridge wrote; 0 in replicas that do not write.",
		}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_bridge_changes_total", Help: "Providers that the bridge wrote into ZooKeeper, or removed.",
		}, []string{"change"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_registry_bridge_failures_total", Help: "Attempts to write into ZooKeeper that failed.",
		}),
	}
	for _, change := range []string{"written", "removed"} {
		m.writes.WithLabelValues(change)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.leads, m.nodes, m.writes, m.failures, unknown, failing} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of the bridge: %w", err)
		}
	}
	return m, nil
}

var unknownDesc = prometheus.NewDesc("weir_registry_bridge_unknown_instances",
	"Instances that Kubernetes calls and the bridge does not write, since it is not known what they offer, by application.", []string{"app"}, nil)

// unknownCollector reads what the bridge does not write when Prometheus asks: the list
// of applications is replaced as a whole, and no scrape may come upon half of it.
type unknownCollector struct{ b *Bridge }

// Describe implements prometheus.Collector.
func (c unknownCollector) Describe(ch chan<- *prometheus.Desc) { ch <- unknownDesc }

// Collect implements prometheus.Collector.
func (c unknownCollector) Collect(ch chan<- prometheus.Metric) {
	for _, u := range c.b.Status().Unknown {
		ch <- prometheus.MustNewConstMetric(unknownDesc, prometheus.GaugeValue, float64(u.Instances), u.App.String())
	}
}

var failingDesc = prometheus.NewDesc("weir_registry_bridge_failing_interfaces",
	"1 for each interface whose providers ZooKeeper does not let the bridge read or write, as for want of credentials; others go on.", []string{"interface"}, nil)

// failingCollector reads which interfaces cannot be written, as unknownCollector does.
type failingCollector struct{ b *Bridge }

// Describe implements prometheus.Collector.
func (c failingCollector) Describe(ch chan<- *prometheus.Desc) { ch <- failingDesc }

// Collect implements prometheus.Collector.
func (c failingCollector) Collect(ch chan<- prometheus.Metric) {
	for _, f := range c.b.Status().Failing {
		ch <- prometheus.MustNewConstMetric(failingDesc, prometheus.GaugeValue, 1, f.Interface)
	}
}
