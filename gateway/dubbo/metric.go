package dubbo

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
)

// metrics are the counters of all routes.
type metrics struct {
	d        *Dubbo
	mu       sync.Mutex
	users    map[series]int // handlers that count under these labels
	requests *prometheus.CounterVec
	attempts *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	pending  *prometheus.Desc
	peers    *prometheus.Desc
}

func newMetrics(d *Dubbo) *metrics {
	route := []string{"namespace", "route", "command", "peer"}
	return &metrics{
		d: d, users: map[series]int{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_gateway_dubbo_requests_total",
			Help: "Requests served by Dubbo methods, by how they ended: ok, or the kind of the problem.",
		}, append(route, "outcome")),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_gateway_dubbo_retries_total",
			Help: "Calls made again on another endpoint.",
		}, route),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "weir_gateway_dubbo_request_seconds",
			Help:    "Time from a request's arguments to the provider's answer, retries included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, route),
		pending: prometheus.NewDesc("weir_gateway_dubbo_calls_pending", "Calls under way.", []string{"app"}, nil),
		peers:   prometheus.NewDesc("weir_gateway_dubbo_endpoints", "Endpoints of providers that may be called.", []string{"app", "protocol"}, nil),
	}
}

// register registers all of it, or nothing.
func (m *metrics) register(r prometheus.Registerer) error {
	for i, c := range m.collectors() {
		if err := r.Register(c); err != nil {
			for _, done := range m.collectors()[:i] {
				r.Unregister(done)
			}
			return err
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	for _, c := range m.collectors() {
		r.Unregister(c)
	}
}

// collectors are the counters, and m itself, which looks at the endpoints.
func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.attempts, m.seconds, m}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.pending
	ch <- m.peers
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.d.mu.Lock()
	apps := make([]*application, 0, len(m.d.apps))
	for _, a := range m.d.apps {
		apps = append(apps, a)
	}
	m.d.mu.Unlock()
	for _, a := range apps {
		count := map[string]int{protocolDubbo: 0, protocolTriple: 0}
		a.mu.Lock()
		for _, e := range a.have {
			count[e.protocol]++
		}
		a.mu.Unlock()
		ch <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(a.underWay.Load()), a.name.String())
		for protocol, n := range count {
			ch <- prometheus.MustNewConstMetric(m.peers, prometheus.GaugeValue, float64(n), a.name.String(), protocol)
		}
	}
}

// series are the labels of a route.
type series struct{ namespace, route, command, peer string }

func (s series) labels() prometheus.Labels {
	return prometheus.Labels{"namespace": s.namespace, "route": s.route, "command": s.command, "peer": s.peer}
}

// counts are the counters of one route, looked up once.
type counts struct {
	of      *metrics
	series  series
	vec     *prometheus.CounterVec
	ok      prometheus.Counter
	retries prometheus.Counter
	seconds prometheus.Observer

	mu   sync.Mutex
	kind map[failureKind]prometheus.Counter
}

func (m *metrics) of(key gateway.Key, command string, app registry.App) *counts {
	s := series{key.Namespace, key.Name, command, app.String()}
	labels := s.labels()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users[s]++
	c := &counts{of: m, series: s, vec: m.requests.MustCurryWith(labels), kind: map[failureKind]prometheus.Counter{}}
	c.ok = c.vec.WithLabelValues("ok")
	c.retries = m.attempts.With(labels)
	c.seconds = m.seconds.With(labels)
	return c
}

// close forgets the numbers once no handler counts under their labels, so that
// routes which come and go leave none.
func (c *counts) close() {
	m := c.of
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users[c.series]--; m.users[c.series] > 0 {
		return
	}
	delete(m.users, c.series)
	m.requests.DeletePartialMatch(c.series.labels())
	m.attempts.Delete(c.series.labels())
	m.seconds.Delete(c.series.labels())
}

func (c *counts) failed(k failureKind) {
	c.mu.Lock()
	counter := c.kind[k]
	if counter == nil {
		counter = c.vec.WithLabelValues(string(k))
		c.kind[k] = counter
	}
	c.mu.Unlock()
	counter.Inc()
}
