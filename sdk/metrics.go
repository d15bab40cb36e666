package sdk

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weirmesh/weir/governance"
)

// Metrics writes how the kit and its circuits stand, in the text format of
// Prometheus. It needs no client library; who has one serves this beside its own.
func (k *Kit) Metrics(w io.Writer) error {
	var m metrics
	s := k.Status()
	m.family("weir_sdk_info", "gauge", "What this instance is; always 1.")
	m.sample("weir_sdk_info", 1, "app", k.cfg.app.String(), "instance", k.cfg.instance, "sdk", "go/"+Version)
	if !s.Alone {
		m.one("weir_sdk_stream_connected", "gauge", "Whether the stream of policies is open.", b2i(s.Policy.Connected))
		m.one("weir_sdk_stream_connects_total", "counter", "Streams of policies that were opened.", s.Policy.Connects)
		m.one("weir_sdk_stream_failures_total", "counter", "Attempts at a stream that failed, and streams that broke.", s.Policy.Failures)
		m.one("weir_sdk_policy_version", "gauge", "Version of the policies in force.", s.Policy.Applied.Version)
		m.one("weir_sdk_policy_acknowledged_version", "gauge", "Version that the control plane was told to be in force.", s.Report.Acknowledged)
		m.one("weir_sdk_policy_refused", "gauge", "Whether a newer set of policies was refused.", b2i(s.Policy.Applied.Refused != nil))
		m.one("weir_sdk_policy_refusals_total", "counter", "Sets of policies that were refused.", s.Policy.Refusals)
		m.family("weir_sdk_policy_clock_offset_seconds", "gauge", "How far the control plane's clock is ahead.")
		m.printf("weir_sdk_policy_clock_offset_seconds %g\n", s.Policy.Offset.Seconds())
		m.one("weir_sdk_reports_sent_total", "counter", "Reports that the control plane accepted.", s.Report.Sent)
		m.one("weir_sdk_reports_failures_total", "counter", "Attempts at reports that failed.", s.Report.Failures)
		m.one("weir_sdk_reports_waiting", "gauge", "Samples and transitions that wait to be told.", int64(s.Report.Waiting))
		m.family("weir_sdk_dropped_total", "counter", "What was never told to the control plane, for lack of room or time.")
		for _, kind := range []string{"samples", "transitions"} {
			m.sample("weir_sdk_dropped_total", s.Report.Dropped[kind], "kind", kind)
		}
	}
	if k.spans != nil {
		m.one("weir_sdk_spans_sent_total", "counter", "Spans that the collector took.", s.Spans.Sent)
		m.family("weir_sdk_spans_dropped_total", "counter", "Spans that were not delivered.")
		m.sample("weir_sdk_spans_dropped_total", s.Spans.Full, "reason", "full")
		m.sample("weir_sdk_spans_dropped_total", s.Spans.Refused, "reason", "refused")
		m.sample("weir_sdk_spans_dropped_total", s.Spans.Lost, "reason", "lost")
		m.sample("weir_sdk_spans_dropped_total", s.Spans.Late, "reason", "late")
		m.one("weir_sdk_spans_queued", "gauge", "Spans that wait to be sent.", int64(s.Spans.Queued))
	}
	circuits := k.breakers.Status()
	for i := range circuits {
		k.mu.Lock()
		state := k.observed[circuits[i].Series]
		k.mu.Unlock()
		if state != nil {
			circuits[i].State = state()
		}
	}
	m.family("weir_sdk_circuit_state", "gauge", "Which state a circuit is in; 1 for that, 0 for the others.")
	for i := range circuits {
		c := &circuits[i]
		for _, state := range []governance.State{
			governance.StateClosed, governance.StateOpen, governance.StateHalfOpen,
			governance.StateForcedOpen, governance.StateForcedClosed, governance.StateDisabled,
		} {
			m.sample("weir_sdk_circuit_state", b2i(c.State == state), labels(c.Series, "state", string(state))...)
		}
	}
	m.family("weir_sdk_circuit_in_flight", "gauge", "Calls under way.")
	for i := range circuits {
		m.sample("weir_sdk_circuit_in_flight", int64(circuits[i].InFlight), labels(circuits[i].Series)...)
	}
	_, err := w.Write(m.b.Bytes())
	return err
}

// MetricsHandler serves what Metrics writes.
func (k *Kit) MetricsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = k.Metrics(w) // a client that has gone
	})
}

func labels(s governance.Series, more ...string) []string {
	return append([]string{"command", s.Command, "at", string(s.At), "peer", s.Peer.String()}, more...)
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// metrics builds a text.
type metrics struct{ b bytes.Buffer }

func (m *metrics) printf(format string, args ...any) { fmt.Fprintf(&m.b, format, args...) }

func (m *metrics) family(name, kind, help string) {
	m.printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (m *metrics) one(name, kind, help string, value int64) {
	m.family(name, kind, help)
	m.printf("%s %d\n", name, value)
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes a value with labels, given as names and values in turn.
func (m *metrics) sample(name string, value int64, labels ...string) {
	m.b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		m.b.WriteByte(sep)
		value := labels[i+1]
		if !utf8.ValidString(value) { // one would spoil the whole answer
			value = strconv.Quote(value)
			value = value[1 : len(value)-1]
		}
		m.b.WriteString(labels[i] + `="` + escape.Replace(value) + `"`)
	}
	m.printf("} %d\n", value)
}
