package pg

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// poolCollector reads a pool's counters when scraped.
type poolCollector struct {
	pool                                                   *pgxpool.Pool
	conns, limit, acquires, waits, cancelled, waited, news *prometheus.Desc
}

// NewPoolCollector reports a pool as weir_pg_pool_… under the label pool=name.
// Register it for as long as the pool lives.
func NewPoolCollector(name string, pool *pgxpool.Pool) prometheus.Collector {
	label := prometheus.Labels{"pool": name}
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weir_pg_pool_"+metric, help, labels, label)
	}
	return &poolCollector{
		pool:      pool,
		conns:     desc("connections", "Connections by state: idle, in_use, connecting.", "state"),
		limit:     desc("max_connections", "Most connections the pool may hold."),
		acquires:  desc("acquires_total", "Connections handed out."),
		waits:     desc("waited_acquires_total", "Connections handed out only after waiting because none was idle."),
		cancelled: desc("cancelled_acquires_total", "Requests for a connection given up before one was free."),
		waited:    desc("acquire_wait_seconds_total", "Time spent waiting for a free connection."),
		news:      desc("opened_connections_total", "Connections opened to the server."),
	}
}

func (c *poolCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.conns, c.limit, c.acquires, c.waits, c.cancelled, c.waited, c.news} {
		ch <- d
	}
}

func (c *poolCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.pool.Stat()
	gauge := func(d *prometheus.Desc, v float64, l ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, l...)
	}
	count := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(c.conns, float64(s.IdleConns()), "idle")
	gauge(c.conns, float64(s.AcquiredConns()), "in_use")
	gauge(c.conns, float64(s.ConstructingConns()), "connecting")
	gauge(c.limit, float64(s.MaxConns()))
	count(c.acquires, float64(s.AcquireCount()))
	count(c.waits, float64(s.EmptyAcquireCount()))
	count(c.cancelled, float64(s.CanceledAcquireCount()))
	count(c.waited, s.EmptyAcquireWaitTime().Seconds())
	count(c.news, float64(s.NewConnsCount()))
}
