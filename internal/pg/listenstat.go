package pg

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// listenStat counts what a listener does.
type listenStat struct {
	connected                     atomic.Bool
	connects, failures, coalesced atomic.Int64
	lastContact                   atomic.Int64 // Unix nanoseconds; 0: never
	notifications                 map[string]*atomic.Int64

	descConnected, descConnects, descFailures, descCoalesced, descContact, descNotifications *prometheus.Desc
}

func (s *listenStat) init(cfg ListenerConfig) {
	s.notifications = make(map[string]*atomic.Int64, len(cfg.Channels))
	for _, c := range cfg.Channels {
		s.notifications[c] = new(atomic.Int64)
	}
	label := prometheus.Labels{"listener": cfg.Name}
	desc := func(metric, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weir_pg_listen_"+metric, help, labels, label)
	}
	s.descConnected = desc("connected", "1 while the connection listens.")
	s.descConnects = desc("connects_total", "Times the connection was established.")
	s.descFailures = desc("failures_total", "Connections lost and attempts to connect that failed.")
	s.descCoalesced = desc("coalesced_wakes_total", "Wake-ups merged into one that its subscriber had not taken yet.")
	s.descContact = desc("last_contact_timestamp_seconds", "When the server was last heard of; 0 if never.")
	s.descNotifications = desc("notifications_total", "Notifications received.", "channel")
}

func (s *listenStat) contact() { s.lastContact.Store(time.Now().UnixNano()) }

// notified counts; the server sends nothing for channels not listened on.
func (s *listenStat) notified(channel string) {
	if n, ok := s.notifications[channel]; ok {
		n.Add(1)
	}
}

// ListenerStats is a snapshot of a listener's counters.
type ListenerStats struct {
	Connected   bool
	Connects    int64     // times the connection was established
	Failures    int64     // losses, and attempts to connect that failed
	Coalesced   int64     // wake-ups merged into one not yet taken
	LastContact time.Time // zero if never
}

// Stats returns the listener's counters.
func (l *Listener) Stats() ListenerStats {
	s := ListenerStats{
		Connected: l.stat.connected.Load(), Connects: l.stat.connects.Load(),
		Failures: l.stat.failures.Load(), Coalesced: l.stat.coalesced.Load(),
	}
	if ns := l.stat.lastContact.Load(); ns != 0 {
		s.LastContact = time.Unix(0, ns)
	}
	return s
}

// Describe implements prometheus.Collector.
func (l *Listener) Describe(ch chan<- *prometheus.Desc) {
	s := &l.stat
	for _, d := range []*prometheus.Desc{s.descConnected, s.descConnects, s.descFailures, s.descCoalesced, s.descContact, s.descNotifications} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *Listener) Collect(ch chan<- prometheus.Metric) {
	s, d := l.Stats(), &l.stat
	up := 0.0
	if s.Connected {
		up = 1
	}
	contact := 0.0
	if !s.LastContact.IsZero() {
		contact = float64(s.LastContact.UnixMilli()) / 1000
	}
	ch <- prometheus.MustNewConstMetric(d.descConnected, prometheus.GaugeValue, up)
	ch <- prometheus.MustNewConstMetric(d.descContact, prometheus.GaugeValue, contact)
	ch <- prometheus.MustNewConstMetric(d.descConnects, prometheus.CounterValue, float64(s.Connects))
	ch <- prometheus.MustNewConstMetric(d.descFailures, prometheus.CounterValue, float64(s.Failures))
	ch <- prometheus.MustNewConstMetric(d.descCoalesced, prometheus.CounterValue, float64(s.Coalesced))
	for c, n := range d.notifications {
		ch <- prometheus.MustNewConstMetric(d.descNotifications, prometheus.CounterValue, float64(n.Load()), c)
	}
}
