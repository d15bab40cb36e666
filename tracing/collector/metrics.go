package collector

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSenders bounds the values of the label sender.
const maxSenders = 200

type metrics struct {
	messages, messagesDropped, bytes, spans, spansDropped prometheus.Counter
	messageSpans, messageBytes                            prometheus.Gauge
	spooled, replayed, lost, aside                        prometheus.Counter
	refusals                                              *prometheus.CounterVec

	mu      sync.Mutex
	senders map[string]struct{}
}

func newMetrics(r prometheus.Registerer, c *Collector) (*metrics, error) {
	// By the names that dashboards for Zipkin know.
	transport := prometheus.Labels{"transport": "http"}
	zipkin := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "zipkin_collector_" + name, Help: help, ConstLabels: transport})
	}
	last := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "zipkin_collector_" + name, Help: help, ConstLabels: transport})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_tracing_" + name, Help: help})
	}
	m := &metrics{
		messages:        zipkin("messages_total", "Requests that brought spans, or tried to."),
		messagesDropped: zipkin("messages_dropped_total", "Requests that were refused."),
		bytes:           zipkin("bytes_total", "Bytes of bodies, inflated."),
		spans:           zipkin("spans_total", "Spans that were decoded."),
		spansDropped:    zipkin("spans_dropped_total", "Spans that were decoded and could not be stored; their senders were told."),
		messageSpans:    last("message_spans", "Spans of the last request."),
		messageBytes:    last("message_bytes", "Bytes of the last body, inflated."),
		spooled:         counter("spooled_spans_total", "Spans that went to the spool."),
		replayed:        counter("replayed_spans_total", "Spans that were stored from the spool."),
		lost:            counter("lost_records_total", "Records of the spool that were damaged and left out."),
		aside:           counter("set_aside_records_total", "Records of the spool that the database refused again and again, and that were set aside in files."),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_tracing_refused_requests_total", Help: "Requests that were refused, by reason and by the sender's address; \"other\" for senders beyond the first 200.",
		}, []string{"reason", "sender"}),
		senders: make(map[string]struct{}),
	}
	if r == nil {
		return m, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_tracing_spool_bytes", Help: "Bytes in the spool."}, func() float64 {
		_, n := c.Waiting()
		return float64(n)
	})
	var err error
	for _, col := range []prometheus.Collector{
		m.messages, m.messagesDropped, m.bytes, m.spans, m.spansDropped, m.messageSpans, m.messageBytes, m.spooled, m.replayed, m.lost, m.aside, m.refusals, waiting,
	} {
		err = errors.Join(err, r.Register(col))
	}
	return m, err
}

func (m *metrics) refused(reason, sender string) {
	m.mu.Lock()
	if _, known := m.senders[sender]; !known {
		if len(m.senders) >= maxSenders {
			sender = "other"
		} else {
			m.senders[sender] = struct{}{}
		}
	}
	m.mu.Unlock()
	m.refusals.WithLabelValues(reason, sender).Inc()
}
