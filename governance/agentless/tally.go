package agentless

import (
	"io"

	dto "github.com/prometheus/client_model/go"

	"github.com/weirmesh/weir/governance"
)

// What is read of Micrometer's metrics, by their names in Prometheus' text.
const (
	callsFamily        = "resilience4j_circuitbreaker_calls_seconds"
	longestFamily      = callsFamily + "_max"
	notPermittedFamily = "resilience4j_circuitbreaker_not_permitted_calls_total"
	limitedFamily      = "resilience4j_timelimiter_calls_total"
	freeFamily         = "resilience4j_bulkhead_available_concurrent_calls"
	roomFamily         = "resilience4j_bulkhead_max_allowed_concurrent_calls"
	startFamily        = "process_start_time_seconds"
)

// tallyNames asks for those families alone. How they are named in the question has
// changed from one version of Spring Boot to the next: with or without what stands
// behind a metric's name.
var tallyNames = []string{
	callsFamily, callsFamily + "_count", callsFamily + "_sum", callsFamily + "_bucket", longestFamily,
	notPermittedFamily, "resilience4j_circuitbreaker_not_permitted_calls", limitedFamily, "resilience4j_timelimiter_calls",
	freeFamily, roomFamily, startFamily,
}

// parseTallies reads Prometheus' text. Names that are of no use are passed over.
func parseTallies(r io.Reader) (*tallies, error) {
	all, err := families(r)
	if err != nil {
		return nil, err
	}
	out := &tallies{all: map[governance.Series]*tally{}}
	each := func(family string, take func(t *tally, kind string, m *dto.Metric)) {
		for _, m := range all[family].GetMetric() {
			name, kind := "", ""
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "name":
					name = l.GetValue()
				case "kind":
					kind = l.GetValue()
				}
			}
			if !usable(name) {
				continue
			}
			if t := out.of(atProvider(name)); t != nil {
				take(t, kind, m)
			}
		}
	}
	each(callsFamily, func(t *tally, kind string, m *dto.Metric) {
		out.told = true
		n := float64(max(m.GetHistogram().GetSampleCount(), m.GetSummary().GetSampleCount()))
		switch kind {
		case "successful":
			t.success += n
		case "failed":
			t.failed += n
		case "ignored":
			t.ignored += n
		default:
			return
		}
		t.histogram(m)
	})
	each(longestFamily, func(t *tally, _ string, m *dto.Metric) { t.longest = max(t.longest, value(m)) })
	each(notPermittedFamily, func(t *tally, _ string, m *dto.Metric) { t.notPermitted += value(m) })
	each(limitedFamily, func(t *tally, kind string, m *dto.Metric) {
		if kind == "timeout" {
			t.timeouts += value(m)
		}
	})
	each(roomFamily, func(t *tally, _ string, m *dto.Metric) { t.inFlight += value(m) })
	each(freeFamily, func(t *tally, _ string, m *dto.Metric) { t.inFlight -= value(m) })
	for _, m := range all[startFamily].GetMetric() {
		out.started = value(m)
	}
	return out, nil
}
