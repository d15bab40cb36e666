package agentless

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmesh/weir/registry"
)

// Dubbo's QoS, where it tells its metrics, and the port that it has unless told
// otherwise.
const (
	qosPort     = 22222
	qosMetrics  = "/metrics"
	qosStartup  = "/startup"
	qosPortName = "qos"
)

// qosSpots lists where a pod's QoS may be, the likeliest first: a port named "qos", the
// annotations prometheus.io/port and prometheus.io/path where they name these metrics,
// and Dubbo's own port.
func qosSpots(g registry.Govern, service registry.Service, pod registry.Pod) []spot {
	var out []spot
	add := func(port uint16, why string) {
		if port != 0 && !slices.ContainsFunc(out, func(s spot) bool { return s.port == port }) {
			out = append(out, spot{port: port, why: why, qos: true})
		}
	}
	for _, p := range service.Ports {
		if p.Name == qosPortName {
			add(p.Target, "port qos")
		}
	}
	for _, c := range pod.Containers {
		for _, p := range c.Ports {
			if p.Name == qosPortName {
				add(p.Target, "port qos")
			}
		}
	}
	for _, p := range [][2]string{{g.PrometheusPort, g.PrometheusPath}, {pod.PrometheusPort, pod.PrometheusPath}} {
		if port, err := strconv.ParseUint(p[0], 10, 16); err == nil && (p[1] == "" || p[1] == qosMetrics) {
			add(uint16(port), prometheusPort)
		}
	}
	add(qosPort, "Dubbo's own")
	return out
}

// lookQoS finds out whether a port is that of Dubbo's QoS, and what of its metrics it
// lets be read. It fails if it is not.
func (m *management) lookQoS(ctx context.Context, at spot) error {
	m.metrics = m.base + qosMetrics
	err := m.exposition(ctx, m.metrics, func(text io.Reader) error {
		if at.why == prometheusPort && at.port != qosPort {
			// Whatever tells metrics is named so.
			all, err := io.ReadAll(text)
			if err != nil {
				return err
			}
			if !bytes.Contains(all, []byte("\ndubbo_")) && !m.probed(ctx, true) {
				return &refusalError{http.StatusOK, fmt.Sprintf("GET %s tells nothing of Dubbo's", path(m.metrics))}
			}
			text = bytes.NewReader(all)
		}
		head := make([]byte, 512)
		n, err := io.ReadFull(text, head)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return err
		}
		if said := string(head[:n]); !strings.Contains(said, "\n#") && !strings.HasPrefix(said, "#") {
			m.mute = fmt.Sprintf("%s says %q: %s", path(m.metrics), firstLine(said), dubboNeeds)
		}
		return nil
	})
	switch status(err) {
	case http.StatusForbidden:
		if at.why == prometheusPort && !m.probed(ctx, true) {
			return err
		}
		m.mute = fmt.Sprintf("%s is not for others than the pod itself: set dubbo.application.qos-anonymous-allow-commands=metrics, which opens this alone of QoS; until then calls are not counted", path(m.metrics))
		return nil
	case http.StatusNotFound:
		// Everything else has none either: whether it is QoS is known by a probe of its.
		if m.probed(ctx, at.why == prometheusPort) {
			m.mute = fmt.Sprintf("%s is not there: %s", path(m.metrics), dubboNeeds)
			return nil
		}
	case 0:
		if err != nil && foreign(err) && (at.why != prometheusPort || at.port == qosPort) {
			m.mute = fmt.Sprintf("%s lets nobody in but the pod itself: take dubbo.application.qos-anonymous-access-permission-level=NONE out, and set dubbo.application.qos-anonymous-allow-commands=metrics, which opens this alone of QoS; until then calls are not counted", path(m.base))
			return nil
		}
	}
	return err
}

// probed reports whether QoS answers a probe, which it does to anybody; surely, if it is
// not known to be QoS's port: others too say that they are not there yet.
func (m *management) probed(ctx context.Context, surely bool) bool {
	var up bool
	_, err := m.do(ctx, http.MethodGet, m.base+qosStartup, nil, &up)
	return err == nil || !surely && status(err) == http.StatusServiceUnavailable
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line[:min(len(line), 100)]
}
