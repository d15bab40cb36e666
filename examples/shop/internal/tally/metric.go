package tally

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the Prometheus metrics of one process of the shop.
type Metrics struct {
	calls     *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	providers *prometheus.GaugeVec
}

// Kinds of calls that a process counts.
const (
	Served  = "served"  // answered by this process
	Made    = "made"    // made by this process, repeats counted once
	Attempt = "attempt" // made by this process, each repeat counted
)

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shop_calls_total",
			Help: "Finished calls by kind (served, made, attempt), method, peer address and class of failure (empty: none).",
		}, []string{"kind", "method", "peer", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "shop_call_duration_seconds",
			Help:    "How long finished calls took, by kind and method.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"kind", "method"}),
		providers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shop_providers",
			Help: "Addresses that this process would call now, by interface.",
		}, []string{"interface"}),
	}
	reg.MustRegister(m.calls, m.seconds, m.providers)
	return m
}

// Observe returns an observer for Calls of one kind.
func (m *Metrics) Observe(kind string) func(Outcome) {
	return func(o Outcome) {
		m.calls.WithLabelValues(kind, o.Method, o.Address, o.Class).Inc()
		m.seconds.WithLabelValues(kind, o.Method).Observe(o.Elapsed.Seconds())
	}
}

// Providers sets how many addresses of an interface there are.
func (m *Metrics) Providers(iface string, n int) {
	m.providers.WithLabelValues(iface).Set(float64(n))
}
