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

// dubboCounters are all that are read.
var dubboCounters = append([]string{dubboSucceeded, dubboLimited, dubboTimedOut, dubboUnavailable}, dubboFailures...)

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
		for _, name := range dubboCounters {
			each(name, func(t *tally, m *dto.Metric) { t.part(name, number64(m)) })
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
	for _, t := range out.all {
		t.add()
	}
	return out, nil
}

// part takes a counter in.
func (t *tally) part(name string, v float64) {
	if t.parts == nil {
		t.parts = map[string]float64{}
	}
	t.parts[name] += v
}

// add makes up from the counters what there is.
func (t *tally) add() {
	t.success, t.limited, t.timeouts, t.ignored = t.parts[dubboSucceeded], t.parts[dubboLimited], t.parts[dubboTimedOut], t.parts[dubboUnavailable]
	t.failed = t.timeouts
	for _, name := range dubboFailures {
		t.failed += t.parts[name]
	}
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
// forgotten for now would come back as if all of it had happened since. That is done of
// series that are collected, of each for so long, and while there is room: an answer may
// have ever new ones.
func (t *dubboTallies) after(before *tallies, between time.Duration, collected map[governance.Series]bool) {
	for s, one := range t.all {
		if between < recently && t.recent[s] > 0 && (one.most == 0 || t.recent[s] < one.most) {
			one.most = t.recent[s]
		}
	}
	if before == nil {
		return // what is not a number now begins with the next answer that is one
	}
	for s, was := range before.all {
		now := t.all[s]
		if now == nil {
			if len(t.all) >= maxCommands || !collected[s] {
				continue
			}
			now = &tally{buckets: was.buckets}
		}
		if now.keep(was); len(now.old) < len(now.parts) || now.recent() {
			t.all[s] = now
		}
	}
	maps.DeleteFunc(t.all, func(_ governance.Series, one *tally) bool { return one.broken() })
}

// maxOld is for how many answers in a row a series is kept that is in none.
const maxOld = 120

// keep takes the counters over that are in the answer before alone.
func (t *tally) keep(was *tally) {
	for name, v := range was.parts {
		if now, ok := t.parts[name]; ok && !math.IsNaN(now) {
			continue
		}
		delete(t.parts, name)
		t.part(name, v)
		if t.old == nil {
			t.old = map[string]int{}
		}
		t.old[name] = was.old[name] + 1
	}
	t.add()
}

// recent reports whether any of the counters that are kept was told of late.
func (t *tally) recent() bool {
	for _, answers := range t.old {
		if answers <= maxOld {
			return true
		}
	}
	return false
}

// base is what to count from after an answer: nothing, and false, if all counters of
// this one are behind it, as after a begin. A single one that is begins where it is.
func (t *tally) base(before *tally) (*tally, bool) {
	from := *before
	from.parts = maps.Clone(before.parts)
	behind, ahead := 0, 0
	for name, v := range t.parts {
		switch was, ok := before.parts[name]; {
		case t.old[name] > 0 || !ok || was == 0:
		case v < was:
			behind++
			from.parts[name] = v
		default:
			ahead++
		}
	}
	if behind > 0 && ahead == 0 {
		for name := range t.old {
			delete(t.parts, name) // it was the process's before
		}
		t.old = nil
		t.add()
		return &tally{}, false
	}
	from.add()
	return &from, behind == 0
}

// broken reports whether a counter is none.
func (t *tally) broken() bool {
	return math.IsNaN(t.success + t.failed + t.ignored + t.limited + t.timeouts)
}
