package dubboconfig

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	clients, instances prometheus.Gauge
	requests, refusals *prometheus.CounterVec
	notices, documents prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weir", Subsystem: "control", Name: "dubbo_config_" + name, Help: help})
	}
	vector := func(name, label, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "weir", Subsystem: "control", Name: "dubbo_config_" + name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "control", Name: "dubbo_config_" + name, Help: help})
	}
	return &metrics{
		clients:   gauge("clients", "Connections of Dubbo Java applications to this configuration centre."),
		instances: gauge("instances", "Instances of Dubbo Java applications that this control plane governs as callers."),
		requests:  vector("requests_total", "type", "Requests that were answered, by their type."),
		refusals:  vector("refusals_total", "reason", "Requests, messages and streams that were refused, by why."),
		notices:   counter("notices_total", "Times that a client was told that its document has changed."),
		documents: counter("documents_total", "Documents that were fetched and had something in them."),
	}
}

func (m *metrics) request(kind string) { m.requests.WithLabelValues(kind).Inc() }

func (m *metrics) refused(why string) { m.refusals.WithLabelValues(why).Inc() }

func (m *metrics) register(r prometheus.Registerer, log *slog.Logger) {
	for _, c := range []prometheus.Collector{m.clients, m.instances, m.requests, m.refusals, m.notices, m.documents} {
		if err := r.Register(c); err != nil {
			log.Error("a metric is not registered", "error", err)
		}
	}
}
