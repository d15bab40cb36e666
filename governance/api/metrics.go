package api

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	version, unconfirmed                    prometheus.Gauge
	sent, turnedAway, samples, acknowledged prometheus.Counter
	reports, dropped                        *prometheus.CounterVec
	publish                                 prometheus.Histogram
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weir", Subsystem: "control", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "control", Name: name, Help: help})
	}
	return &metrics{
		version:      gauge("policy_version", "Version of the policies that this control plane tells instances."),
		unconfirmed:  gauge("unconfirmed_policies", "Changes of the last ten minutes that not all instances have confirmed."),
		sent:         counter("stream_messages_total", "Policy sets sent to instances."),
		turnedAway:   counter("streams_refused_total", "Streams turned away for lack of room, or because policies were not read yet."),
		samples:      counter("report_samples_total", "Samples stored from reports."),
		acknowledged: counter("acknowledgements_total", "Times that an instance said it enforces, or refuses, another policy set than before."),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "weir", Subsystem: "control", Name: "reports_total", Help: "Reports of instances, by what became of them.",
		}, []string{"outcome"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "weir", Subsystem: "control", Name: "dropped_by_instances_total", Help: "What instances said that they could not report for lack of room, by kind.",
		}, []string{"kind"}),
		publish: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "weir", Subsystem: "control", Name: "publish_seconds", Help: "Time to compute what instances have to enforce after a change, and to wake their streams.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1},
		}),
	}
}

func (m *metrics) register(r prometheus.Registerer, a *API) {
	streams := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "weir", Subsystem: "control", Name: "streams", Help: "Instances that hold a stream of policies here.",
	}, func() float64 {
		a.hub.mu.Lock()
		defer a.hub.mu.Unlock()
		return float64(a.hub.streams)
	})
	for _, c := range []prometheus.Collector{streams, m.version, m.unconfirmed, m.sent, m.turnedAway, m.samples, m.acknowledged, m.reports, m.dropped, m.publish} {
		if err := r.Register(c); err != nil {
			a.log.Error("a metric is not registered", "error", err)
		}
	}
}
