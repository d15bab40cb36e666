package agentless

import (
	"io"
	"maps"
	"math"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/weirmesh/weir/governance"
)

// What is read of Dubbo's metrics, by their names in Prometheus' text behind
// "dubbo_provider_" and "dubbo_consumer_". Newer clients of Prometheus leave the
// "_total" of gauges out, which these are by Dubbo's word.
const (
	dubboSucceeded   = "requests_succeed"
	dubboLimited     = "requests_limit"
	dubboTimedOut    = "requests_timeout"
	dubboUnavailable = "requests_failed_service_unavailable"
	dubboProcessing  = "requests_processing"
	dubboLongest     = "rt_milliseconds_max"
	dubboHistogram   = "rt_milliseconds_histogram_seconds"
	dubboInfo        = "dubbo_application_info"
)

// dubboFailures are those that are told apart from each other, but not from here on.
var dubboFailures = []string{"requests_business_failed", "requests_unknown_failed", "requests_failed_network", "requests_failed_codec"}

// dubboSides are the sides on which Dubbo counts, by the names of its metrics.
var dubboSides = map[string]governance.At{"dubbo_provider_": governance.Provider, "dubbo_consumer_": governance.Caller}

// recently is how old a word of Dubbo's about the longest call of late may be at least:
// Micrometer forgets in steps of a third of a minute, and holds two to three.
const recently = 40 * time.Second

// dubboTallies is what an answer says of the methods of a process with Dubbo.
type dubboTallies struct {
	tallies
	// info is whether Dubbo told anything at all, version its own, and unnamed whether it
	// counted calls by interface alone.
	info, unnamed bool
	version       string
	recent        map[governance.Series]float64 // the longest call of late, in seconds
}

// parseDubbo reads Prometheus' text. Methods of Dubbo's own interfaces, and names that
// are of no use, are passed over; those of one interface in several groups and versions
// are one command, as they are for Go.
func parseDubbo(r io.Reader) (*dubboTallies, error) {
	all, err := families(r)
	if err != nil {
		return nil, err
	}
	out := &dubboTallies{tallies: tallies{all: map[governance.Series]*tally{}}, recent: map[governance.Series]float64{}}
	for _, name := range []string{dubboInfo, dubboInfo + "_total"} {
		for _, m := range all[name].GetMetric() {
			out.info, out.version = true, label(m, "application_version")
		}
	}
	for prefix, at := range dubboSides {
		each := func(name string, take func(t *tally, m *dto.Metric)) {
			for _, family := range []string{prefix + name, prefix + name + "_total"} {
				for _, m := range all[family].GetMetric() {
					command, ok := out.command(m)
					if !ok {
						continue
					}
					if t := out.of(governance.Series{Command: command, At: at}); t != nil {
						out.info, out.told = true, true
						take(t, m)
					}
				}
			}
		}
		each(dubboSucceeded, func(t *tally, m *dto.Metric) { t.success += number64(m) })
		each(dubboLimited, func(t *tally, m *dto.Metric) { t.limited += number64(m) })
		each(dubboTimedOut, func(t *tally, m *dto.Metric) { t.failed, t.timeouts = t.failed+number64(m), t.timeouts+number64(m) })
		each(dubboUnavailable, func(t *tally, m *dto.Metric) { t.ignored += number64(m) })
		for _, failure := range dubboFailures {
			each(failure, func(t *tally, m *dto.Metric) { t.failed += number64(m) })
		}
		each(dubboProcessing, func(t *tally, m *dto.Metric) { t.inFlight += value(m) })
		// It counts whole milliseconds, rounded off, and tells every method the longest call
		// of all methods.
		each(dubboLongest, func(t *tally, m *dto.Metric) { t.most = max(t.most, (value(m)+1)/1000) })
		each(dubboHistogram, func(t *tally, m *dto.Metric) { t.histogram(m) })
		for _, m := range all[prefix+dubboHistogram+"_max"].GetMetric() {
			if command, ok := out.command(m); ok && value(m) > 0 {
				s := governance.Series{Command: command, At: at}
				out.recent[s] = max(out.recent[s], value(m)+0.001)
			}
		}
	}
	return out, nil
}

// number64 is a counter's; not a number where Dubbo says that it is none, which it
// does of what it has forgotten.
func number64(m *dto.Metric) float64 {
	v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
	if v < 0 || math.IsInf(v, 0) {
		return math.NaN()
	}
	return v
}

// command is the one that a metric is of; false for none of the application's own.
func (t *dubboTallies) command(m *dto.Metric) (string, bool) {
	iface, method := label(m, "interface"), label(m, "method")
	if iface == "" || strings.HasPrefix(iface, "org.apache.dubbo.") {
		return "", false
	}
	if method == "" {
		t.unnamed, t.info = true, true
		return "", false
	}
	command := governance.ShortCommand(iface + "." + method)
	return command, usable(command)
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// after keeps of the answer before what this one does not say: what Dubbo has
// forgotten for now would come back as if all of it had happened since.
func (t *dubboTallies) after(before *tallies, between time.Duration) {
	for s, one := range t.all {
		if between < recently && t.recent[s] > 0 && (one.most == 0 || t.recent[s] < one.most) {
			one.most = t.recent[s]
		}
	}
	if before == nil {
		return // what is not a number now begins with the next answer that is one
	}
	for s, was := range before.all {
		if now := t.all[s]; now == nil || now.broken() {
			t.all[s] = was
		}
	}
	maps.DeleteFunc(t.all, func(_ governance.Series, one *tally) bool { return one.broken() })
}

// broken reports whether a counter is none.
func (t *tally) broken() bool {
	return math.IsNaN(t.success + t.failed + t.ignored + t.limited + t.timeouts)
}
