package agentless

import (
	"cmp"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

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

// tally is what a process has counted of one circuit breaker since its start.
type tally struct {
	success, failed, ignored float64
	notPermitted             float64 // by a circuit that had opened; of one that is held open nothing is counted here
	timeouts                 float64 // among failed, by the time limiter of the same name
	buckets                  map[float64]float64
	longest                  float64 // seconds, of the last minutes
	inFlight                 float64
}

// tallies is what one answer says, by circuit breaker.
type tallies struct {
	all map[string]*tally
	// told is whether calls are counted at all, started when the process began, as it
	// says; 0 for not said.
	told    bool
	started float64
}

// parseTallies reads Prometheus' text. Names that are of no use are passed over.
func parseTallies(r io.Reader) (*tallies, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, err
	}
	out := &tallies{all: map[string]*tally{}}
	each := func(family string, take func(t *tally, kind string, m *dto.Metric)) {
		for _, m := range families[family].GetMetric() {
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
			t := out.all[name]
			if t == nil {
				if len(out.all) >= maxCommands {
					continue
				}
				t = &tally{}
				out.all[name] = t
			}
			take(t, kind, m)
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
		for _, b := range m.GetHistogram().GetBucket() {
			if t.buckets == nil {
				t.buckets = map[float64]float64{}
			}
			if bound := b.GetUpperBound(); !math.IsNaN(bound) {
				t.buckets[bound] += float64(b.GetCumulativeCount())
			}
		}
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
	for _, m := range families[startFamily].GetMetric() {
		out.started = value(m)
	}
	return out, nil
}

// value is that of a counter, a gauge, or what has no type; what cannot be one is 0.
func value(m *dto.Metric) float64 {
	v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
	if !(v > 0) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// since is what was counted after before; all of it, and false, if the counters
// have begun anew.
func (t *tally) since(before *tally) (counts governance.Counts, above func(rank float64) time.Duration, ok bool) {
	if t.success < before.success || t.failed < before.failed || t.ignored < before.ignored ||
		t.notPermitted < before.notPermitted || t.timeouts < before.timeouts {
		counts, above, _ = t.since(&tally{})
		return counts, above, false
	}
	counts = governance.Counts{
		Success: whole(t.success - before.success), Failure: whole(t.failed - before.failed), Ignored: whole(t.ignored - before.ignored),
		ShortCircuited: whole(t.notPermitted - before.notPermitted),
	}
	counts.Timeout = min(whole(t.timeouts-before.timeouts), counts.Failure)
	counts.Failure -= counts.Timeout
	return counts, t.measure(before), true
}

// measure tells how long the calls since before lasted, as far as buckets tell: the
// bound of the bucket that a rank, in percent, is in. It is nil where they do not.
func (t *tally) measure(before *tally) func(rank float64) time.Duration {
	bounds := slices.SortedFunc(maps.Keys(t.buckets), cmp.Compare[float64])
	sums := make([]float64, len(bounds))
	longest, most := t.longest, 0.0
	for i, bound := range bounds {
		most = max(most, t.buckets[bound]-before.buckets[bound])
		sums[i] = most
		if !math.IsInf(bound, 1) {
			longest = max(longest, bound)
		}
	}
	if most <= 0 {
		return nil
	}
	return func(rank float64) time.Duration {
		i, _ := slices.BinarySearch(sums, rank/100*most)
		bound := bounds[min(i, len(bounds)-1)]
		if math.IsInf(bound, 1) {
			bound = longest
		}
		const longestCall = float64(time.Hour / time.Second)
		return time.Duration(min(max(bound, 0), longestCall) * float64(time.Second))
	}
}
