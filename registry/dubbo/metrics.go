package dubbo

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector

	references prometheus.Gauge
	lists      *prometheus.CounterVec // by result: sent, unchanged, held
	documents  *prometheus.CounterVec // by source and result
	writes     *prometheus.CounterVec // by result
	lanes      *prometheus.CounterVec // by reason: closing, growth, unready
}

func newMetrics(r prometheus.Registerer, name string) (*metrics, error) {
	labels := prometheus.Labels{"registry": name}
	m := &metrics{
		registerer: r,
		references: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_registry_dubbo_references", ConstLabels: labels,
			Help: "References of this process that follow the registry.",
		}),
		lists: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_dubbo_lists_total", ConstLabels: labels,
			Help: "Provider lists by what became of them: sent to dubbo-go, unchanged, or held back because they were empty without proof.",
		}, []string{"result"}),
		documents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_dubbo_metadata_documents_total", ConstLabels: labels,
			Help: "Metadata documents fetched, by source (store, instance) and result (ok, failed).",
		}, []string{"source", "result"}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_dubbo_failed_writes_total", ConstLabels: labels,
			Help: "Writes to the registry that failed, by result: retried or refused.",
		}, []string{"result"}),
		lanes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_dubbo_renewed_lanes_total", ConstLabels: labels,
			Help: "Lanes to a Service that gave way to new ones, by reason: closing (their instance ends), growth (there are new instances), unready (one is not ready, and others are).",
		}, []string{"reason"}),
	}
	m.collectors = []prometheus.Collector{m.references, m.lists, m.documents, m.writes, m.lanes}
	if r == nil {
		return m, nil
	}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			for _, done := range m.collectors[:i] {
				r.Unregister(done)
			}
			return nil, fmt.Errorf("register metrics of dubbo registry %s: %w", name, err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}
