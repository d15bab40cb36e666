package proxy

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxLabels bounds how many routes have numbers of their own; those beyond share
// the label below.
const (
	maxLabels   = 2000
	otherRoutes = "(others)"
	noRouteName = "(none)"
)

// metrics are the gateway's numbers. The nil metrics count nothing.
type metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	retries   *prometheus.CounterVec
	exhausted *prometheus.CounterVec
	fallbacks *prometheus.CounterVec
	ejections prometheus.Counter

	none *routeMetrics

	mu    sync.Mutex
	named map[string]*routeMetrics
	other *routeMetrics
}

// routeMetrics are those of one route, looked up once.
type routeMetrics struct {
	classes   [6]prometheus.Counter // by the first digit; 0 for none
	seconds   prometheus.Observer
	retries   prometheus.Counter
	exhausted prometheus.Counter
	fallbacks prometheus.Counter
}

var classNames = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func newMetrics(p *Proxy) (*metrics, error) {
	reg := p.config.Metrics
	if reg == nil {
		return nil, nil //nolint:nilnil // the nil metrics count nothing
	}
	route := []string{"route"}
	m := &metrics{
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_gateway_requests_total", Help: "Requests that ended, by route and class of the answer's status; none for clients that went away before an answer."}, []string{"route", "code_class"}),
		seconds:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "weir_gateway_request_seconds", Help: "Time from a request's headers to the end of its answer; for event streams and upgraded connections to the answer's headers.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, route),
		retries:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_gateway_upstream_retries_total", Help: "Attempts after the first."}, route),
		exhausted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_gateway_upstream_retries_refused_total", Help: "Attempts that were wanted, but not made because the route's retry budget was spent."}, route),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_gateway_fallbacks_total", Help: "Requests that a fallback answered."}, route),
		ejections: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_gateway_upstream_ejections_total", Help: "Times that an endpoint was left alone for a while because it refused a connection."}),
		named:     map[string]*routeMetrics{},
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.seconds, m.retries, m.exhausted, m.fallbacks, m.ejections,
		gauge("weir_gateway_active_requests", "Requests under way, upgraded connections included.", func() float64 { return float64(p.active.Load()) }),
		gauge("weir_gateway_upgraded_connections", "WebSockets that are open.", func() float64 { return float64(p.upgraded.Load()) }),
		gauge("weir_gateway_table_routes", "Routes that are served.", func() float64 { return float64(p.follower.stats().routes) }),
		gauge("weir_gateway_table_quarantined_routes", "Routes that cannot be served as written.", func() float64 { return float64(p.follower.stats().quarantined) }),
		gauge("weir_gateway_table_revision", "The revision of the routes that are served.", func() float64 { return float64(p.follower.stats().revision) }),
		gauge("weir_gateway_table_compile_seconds", "How long the last change of the table took to compile.", func() float64 { return p.follower.stats().compile.Seconds() }),
		gauge("weir_gateway_table_unread_seconds", "How long ago the source of the routes was last read: minutes where nothing changes, more while the source is away.", func() float64 { return p.follower.unread().Seconds() }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	m.none, m.other = m.make(noRouteName), m.make(otherRoutes)
	return m, nil
}

func (m *metrics) make(name string) *routeMetrics {
	r := &routeMetrics{
		seconds: m.seconds.WithLabelValues(name), retries: m.retries.WithLabelValues(name),
		exhausted: m.exhausted.WithLabelValues(name), fallbacks: m.fallbacks.WithLabelValues(name),
	}
	for i, class := range classNames {
		r.classes[i] = m.requests.WithLabelValues(name, class)
	}
	return r
}

// enter returns the numbers of a route.
func (m *metrics) enter(name string) *routeMetrics {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.named[name]; r != nil {
		return r
	}
	if len(m.named) >= maxLabels {
		return m.other
	}
	r := m.make(name)
	m.named[name] = r
	return r
}

// leave forgets a route that was deleted.
func (m *metrics) leave(name string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.named[name] == nil {
		return
	}
	delete(m.named, name)
	for _, class := range classNames {
		m.requests.DeleteLabelValues(name, class)
	}
	for _, v := range []*prometheus.CounterVec{m.retries, m.exhausted, m.fallbacks} {
		v.DeleteLabelValues(name)
	}
	m.seconds.DeleteLabelValues(name)
}

func (m *metrics) of(r *route) *routeMetrics {
	if r == nil {
		return m.none
	}
	return r.action.state.metrics
}

func (m *metrics) observe(r *route, status int, took time.Duration) {
	if m == nil {
		return
	}
	of := m.of(r)
	class := status / 100
	if status == statusClientGone || class < 0 || class >= len(of.classes) {
		class = 0
	}
	of.classes[class].Inc()
	of.seconds.Observe(took.Seconds())
}

func (m *metrics) retry(r *route) {
	if m != nil {
		m.of(r).retries.Inc()
	}
}

func (m *metrics) budgetSpent(r *route) {
	if m != nil {
		m.of(r).exhausted.Inc()
	}
}

func (m *metrics) fallback(r *route) {
	if m != nil {
		m.of(r).fallbacks.Inc()
	}
}

func (m *metrics) ejected() {
	if m != nil {
		m.ejections.Inc()
	}
}
