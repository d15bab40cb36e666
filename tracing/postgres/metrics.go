package postgres

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	stored, failed, bytes    prometheus.Counter
	batchSpans, batchSeconds prometheus.Histogram
	linked, linkFailures     prometheus.Counter
	dirty                    prometheus.Gauge
	cut, unreadable          prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_tracing_" + name, Help: help})
	}
	m := &metrics{
		stored: counter("stored_spans_total", "Spans that were committed."),
		failed: counter("failed_spans_total", "Spans whose transaction failed; their senders were told, or they went to the spool."),
		bytes:  counter("written_bytes_total", "Bytes of rows that were committed, as they were sent to the database."),
		batchSpans: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_tracing_batch_spans", Help: "Spans that share a transaction.", Buckets: []float64{1, 10, 100, 1000, 2000, 4000, 8000},
		}),
		batchSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_tracing_batch_duration_seconds", Help: "Time that a transaction took.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 12),
		}),
		linked:       counter("linked_traces_total", "Traces that links were made of, each time they were."),
		linkFailures: counter("link_failures_total", "Rounds of the linker that failed and are repeated."),
		dirty:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_tracing_unlinked_traces", Help: "Traces that links are yet to be made of, as the linker knows; 0 where another process links."}),
		cut:          counter("searches_cut_total", "Searches that ended before they had looked at everything."),
		unreadable:   counter("unreadable_fragments_total", "Readings of a fragment that is damaged or whose dictionary is gone, and that was left out."),
	}
	if r == nil {
		return m, nil
	}
	var err error
	for _, c := range []prometheus.Collector{m.stored, m.failed, m.bytes, m.batchSpans, m.batchSeconds, m.linked, m.linkFailures, m.dirty, m.cut, m.unreadable} {
		err = errors.Join(err, r.Register(c))
	}
	return m, err
}
