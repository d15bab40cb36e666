package agentless

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	pods, streaming, members prometheus.Gauge
	events, garbage, scrapes prometheus.Counter
	samples, dropped         prometheus.Counter
	gaps, drifts             prometheus.Counter
	writes                   *prometheus.CounterVec
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weir", Subsystem: "control", Name: "agentless_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "control", Name: "agentless_" + name, Help: help})
	}
	return &metrics{
		pods:      gauge("pods", "Pods without code of Weir's that this control plane governs."),
		streaming: gauge("streams", "Hystrix streams that this control plane reads."),
		members:   gauge("members", "Control planes that share out pods without code of Weir's, as this one sees it."),
		events:    counter("events_total", "Events read from Hystrix streams."),
		garbage:   counter("garbage_total", "Lines of Hystrix streams that are no events, and were passed over."),
		scrapes:   counter("scrapes_total", "Answers of Prometheus endpoints with what Resilience4j or Dubbo counts."),
		samples:   counter("samples_total", "Samples stored of pods without code of Weir's."),
		dropped:   counter("dropped_samples_total", "Samples given up for lack of room while the database was away."),
		gaps:      counter("gap_seconds_total", "Seconds of pods of which nothing was collected, since they did not answer."),
		drifts:    counter("drifts_total", "Times that a pod's settings became other than was applied, by somebody else or a new process."),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "weir", Subsystem: "control", Name: "agentless_writes_total", Help: "Properties and states of circuit breakers written to pods, by what came of it.",
		}, []string{"outcome"}),
	}
}

func (m *metrics) register(r prometheus.Registerer, log *slog.Logger) {
	for _, c := range []prometheus.Collector{
		m.pods, m.streaming, m.members, m.events, m.garbage, m.scrapes, m.samples, m.dropped, m.gaps, m.drifts, m.writes,
	} {
		if err := r.Register(c); err != nil {
			log.Error("a metric is not registered", "error", err)
		}
	}
}
