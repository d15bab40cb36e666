package agentless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weirmesh/weir/registry"
)

// spot is where on a pod its management may be: a port and a path.
type spot struct {
	port uint16
	path string
	// why says what names it, for people.
	why string
	qos bool // it is Dubbo's QoS in place of an actuator
}

const (
	defaultPath = "/actuator"
	// prometheusPort names a place by the annotation.
	prometheusPort = "annotation prometheus.io/port"
)

// spots lists where a pod's management may be, the likeliest first: the Service's
// annotation boot.spring.io/actuator, the annotations prometheus.io/port and
// prometheus.io/path of the Service and of the pod, a port named "management", and
// then every port there is. Of an address in an annotation, the port and the path
// count alone: nobody is sent anywhere but to the pod.
func spots(g registry.Govern, service registry.Service, pod registry.Pod) []spot {
	var out []spot
	add := func(port uint16, path, why string) {
		if port != 0 && !slices.ContainsFunc(out, func(s spot) bool { return s.port == port && s.path == path }) {
			out = append(out, spot{port: port, path: path, why: why})
		}
	}
	if port, path, ok := parseActuator(g.Actuator); ok {
		if port == 0 {
			for _, p := range service.Ports {
				add(p.Target, path, "annotation boot.spring.io/actuator")
			}
		}
		add(port, path, "annotation boot.spring.io/actuator")
	}
	for _, p := range [][2]string{{g.PrometheusPort, g.PrometheusPath}, {pod.PrometheusPort, pod.PrometheusPath}} {
		port, err := strconv.ParseUint(p[0], 10, 16)
		if err != nil {
			continue
		}
		path := defaultPath
		if base, ok := strings.CutSuffix(p[1], "/prometheus"); ok && cleanPath(base) {
			path = base
		}
		add(uint16(port), path, prometheusPort)
	}
	named := func(name string) bool { return name == "management" || name == "actuator" }
	for _, p := range service.Ports {
		if named(p.Name) {
			add(p.Target, defaultPath, "port "+p.Name)
		}
	}
	for _, c := range pod.Containers {
		for _, p := range c.Ports {
			if named(p.Name) {
				add(p.Target, defaultPath, "port "+p.Name)
			}
		}
	}
	for _, p := range service.Ports {
		add(p.Target, defaultPath, "a port of the Service")
	}
	for _, c := range pod.Containers {
		for _, p := range c.Ports {
			add(p.Target, defaultPath, "a port of the pod")
		}
	}
	return out[:min(len(out), maxSpots)]
}

// maxSpots bounds how many places are tried.
const maxSpots = 12

// parseActuator reads the annotation boot.spring.io/actuator, such as
// "http://:9090/manage" or "/manage".
func parseActuator(text string) (port uint16, path string, ok bool) {
	if text == "" {
		return 0, "", false
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" && u.Scheme != "http" {
		return 0, "", false
	}
	path = strings.TrimSuffix(u.Path, "/")
	if !cleanPath(path) {
		return 0, "", false
	}
	if u.Port() != "" {
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return 0, "", false
		}
		port = uint16(n)
	}
	return port, path, true
}

// cleanPath is one that stays what it is in an address.
func cleanPath(p string) bool {
	return len(p) <= 256 && (p == "" || p[0] == '/') && !strings.ContainsAny(p, "?#%\\ ") && !strings.Contains(p, "//") &&
		!strings.Contains(p, "..")
}

// places remembers by image where management was found, so that a pod of an image
// that is known is asked once.
type places struct {
	mu    sync.Mutex
	known map[string]spot
}

// maxPlaces bounds what is remembered.
const maxPlaces = 1000

func (p *places) get(image string) (spot, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.known[image]
	return s, ok
}

func (p *places) put(image string, s spot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= maxPlaces {
		p.known = map[string]spot{}
	}
	p.known[image] = s
}

func (p *places) forget(image string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, image)
}

// images names what a pod runs.
func images(pod registry.Pod) string {
	var b strings.Builder
	for _, c := range pod.Containers {
		b.WriteString(c.Image)
		b.WriteByte(' ')
	}
	return b.String()
}

// process names what runs in the containers of a pod now: another one after a
// restart of any of them.
func process(pod registry.Pod) string {
	var b strings.Builder
	for _, c := range pod.Containers {
		if c.Process == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(c.Process[strings.LastIndexByte(c.Process, '/')+1:])
	}
	return b.String()
}

// short says in a few words why a place is not the one.
func short(err error) string {
	var timeout net.Error
	switch {
	case status(err) != 0:
		return fmt.Sprintf("answers %d", status(err))
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case refused(err):
		return "nobody listens"
	}
	return "no answer"
}

// find looks for the pod's management: an actuator that has something to govern or to
// tell, or Dubbo's QoS, or at least an actuator. QoS comes last, and only where no
// actuator can be: one that is slow now governs the process all the same, and whoever
// answered in its place would be kept. With withQoS unset it is not looked for. Where
// none of the places answers, the error says so of all of them.
func (s *Service) find(ctx context.Context, service registry.Service, pod registry.Pod, in registry.Instance, withQoS bool) (*management, error) {
	image := images(pod)
	qos := qosSpots(*service.Govern, service, pod)
	// What Dubbo serves is no actuator, and QoS logs what it is asked for in vain.
	list := slices.DeleteFunc(spots(*service.Govern, service, pod), func(at spot) bool {
		return slices.ContainsFunc(in.Endpoints, func(e registry.Endpoint) bool { return e.Port == at.port }) ||
			slices.ContainsFunc(qos, func(q spot) bool { return q.port == at.port && q.why != prometheusPort })
	})
	if known, ok := s.places.get(image); ok {
		if i := slices.Index(list, known); i >= 0 {
			list = slices.Insert(slices.Delete(list, i, i+1), 0, known)
		}
	}
	open := func(at spot) *management {
		return &management{client: s.client, base: "http://" + net.JoinHostPort(in.Host.String(), strconv.Itoa(int(at.port))) + at.path}
	}
	tried := tried{dubbo: len(in.Endpoints) > 0}
	var bare *management // an actuator without anything to govern
	var bareAt spot
	for _, spot := range list {
		m := open(spot)
		err := m.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err == nil && m.governs():
			s.places.put(image, spot)
			return m, nil
		case err == nil && bare == nil:
			bare, bareAt = m, spot
		case err != nil:
			tried.add(spot, err)
		}
	}
	if !withQoS || tried.unsure {
		qos = nil
	}
	for _, spot := range qos {
		m := open(spot)
		err := m.lookQoS(ctx, spot)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err == nil:
			m.early = tried.early && begun(pod, s.cfg.Now())
			return m, nil
		}
		tried.add(spot, err)
	}
	if bare != nil {
		s.places.put(image, bareAt)
		return bare, nil
	}
	if !tried.unsure {
		s.places.forget(image)
	}
	return nil, tried.sum()
}

// beginning is how long a process may take until its actuator listens: QoS does so
// before.
const beginning = 5 * time.Minute

// begun reports whether what runs in a pod has begun so lately.
func begun(pod registry.Pod, now time.Time) bool {
	return slices.ContainsFunc(pod.Containers, func(c registry.Container) bool { return now.Sub(c.Started) < beginning })
}

// noActuator reports whether an answer, or that there is none, means that no actuator is
// there that could be read: neither one that is slow nor one that fails for now.
func noActuator(err error) bool {
	switch st := status(err); {
	case st == http.StatusRequestTimeout, st == http.StatusTooEarly, st == http.StatusTooManyRequests, st >= http.StatusInternalServerError:
		return false
	case st != 0:
		return true
	}
	return refused(err) || errors.Is(err, io.EOF) || foreign(err)
}

// foreign reports whether what answered speaks no HTTP.
func foreign(err error) bool { return strings.Contains(err.Error(), "malformed HTTP response") }

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// tried is where there was nothing.
type tried struct {
	dubbo          bool // the pod serves by Dubbo
	actuators, qos []string
	asks           error // for credentials
	unsure         bool  // an actuator may be there all the same
	early          bool  // one may be there once the process has begun
}

func (t *tried) add(at spot, err error) {
	text := fmt.Sprintf(":%d%s (%s: %s)", at.port, at.path, at.why, short(err))
	if at.qos {
		t.qos = append(t.qos, text)
		return
	}
	if st := status(err); (st == http.StatusUnauthorized || st == http.StatusForbidden) && t.asks == nil {
		t.asks = err
	}
	t.unsure = t.unsure || !noActuator(err)
	t.early = t.early || refused(err)
	t.actuators = append(t.actuators, text)
}

// sum says what to do.
func (t *tried) sum() error {
	qos := fmt.Sprintf("no QoS of Dubbo's answers at %s: leave dubbo.application.qos-enable on, and where its port is another one, name that \"qos\" in the pod", strings.Join(t.qos, ", "))
	switch {
	case t.asks != nil && (t.unsure || !t.dubbo):
		return t.asks
	case t.unsure:
		return fmt.Errorf("no actuator answers at %s: expose it there, or say where it is with the Service's annotation boot.spring.io/actuator; Dubbo's QoS is not asked while one may be there that is slow or fails: take ports that never answer out of the Service and the pod", strings.Join(t.actuators, ", "))
	case len(t.qos) == 0:
		return fmt.Errorf("no actuator answers at %s any more: expose it there, or say where it is with the Service's annotation boot.spring.io/actuator", strings.Join(t.actuators, ", "))
	case t.dubbo:
		return errors.New(qos)
	case len(t.actuators) == 0:
		return fmt.Errorf("it has no port that is known: name its management port \"management\", or say where it is with the Service's annotation boot.spring.io/actuator; for Dubbo: %s", qos)
	}
	return fmt.Errorf("no actuator answers at %s: expose it there, or say where it is with the Service's annotation boot.spring.io/actuator; for Dubbo: %s", strings.Join(t.actuators, ", "), qos)
}
