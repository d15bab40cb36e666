package reference

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry/clusters"
	dubboregistry "github.com/weirmesh/weir/registry/dubbo"
	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/sdk"
)

// metric is what a page tells of one.
type metric struct {
	name, kind, help string
	labels           []string
	by               []string // who registers it
}

// metricsPage tells every metric, by who registers it.
func metricsPage(ctx context.Context) (string, error) {
	all := map[string]*metric{}
	for name, read := range map[string]func(context.Context, *recorder) error{
		role.ControlName: readRole(role.ControlName),
		role.GatewayName: readRole(role.GatewayName),
		role.TracingName: readRole(role.TracingName),
		"registry":       readRegistry,
		"dubbo":          readDubbo,
	} {
		r := &recorder{found: map[string]*metric{}}
		if err := read(ctx, r); err != nil {
			return "", err
		}
		if len(r.unread) > 0 {
			return "", fmt.Errorf("%s: %w", name, errors.Join(r.unread...))
		}
		add(all, name, r.found)
	}
	kit, err := readKit(ctx)
	if err != nil {
		return "", err
	}
	add(all, "sdk", kit)

	p := newPage("Metrics", `Every role serves Prometheus's text format at `+"`/metrics`"+` of its `+"`--admin-listen`"+` address:
`+"`:9001`"+` for control, `+"`:8081`"+` for gateways and `+"`:9412`"+` for tracing, where one runs by itself, and
`+"`127.0.0.1:9001`"+` with `+"`weir up`"+`; beside the metrics below there are those of the Go runtime and of the process
(`+"`go_…`, `process_…`"+`). A service serves those of the SDK by `+"`kit.MetricsHandler()`"+`, and those of the registry
where it hands over a Prometheus registerer.`)
	for _, section := range []struct{ by, title, intro string }{
		{role.ControlName, "Control plane", ""},
		{role.GatewayName, "Gateway", ""},
		{role.TracingName, "Tracing", "Those named `zipkin_…` are the ones that dashboards for Zipkin know."},
		{"registry", "Registry", "In every process that follows the registry of a cluster: the control plane, gateways, and Dubbo services. Where it follows several, all of these have the label `cluster` as well."},
		{"dubbo", "Dubbo services", "Of the adapter to dubbo-go, in services."},
		{"sdk", "Services with the SDK", ""},
	} {
		p.heading(2, section.title)
		p.text(section.intro)
		var rows [][]string
		for _, name := range slices.Sorted(maps.Keys(all)) {
			m := all[name]
			if m.by[0] != section.by {
				continue
			}
			help := m.help
			if len(m.by) > 1 {
				help += " Also by: " + strings.Join(m.by[1:], ", ") + "."
			}
			labels := make([]string, 0, len(m.labels))
			for _, l := range m.labels {
				labels = append(labels, word(l))
			}
			rows = append(rows, []string{word(m.name), m.kind, strings.Join(labels, ", "), cell(help)})
		}
		p.table([]string{"Metric", "Type", "Labels", ""}, rows)
	}
	return p.String(), nil
}

// add joins what one registers to the others'.
func add(all map[string]*metric, by string, found map[string]*metric) {
	order := []string{role.ControlName, role.GatewayName, role.TracingName, "registry", "dubbo", "sdk"}
	for name, m := range found {
		known := all[name]
		if known == nil {
			known = m
			all[name] = m
		}
		known.by = append(known.by, by)
		slices.SortFunc(known.by, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	}
}

// readRole reads a role that was put together, and is not run.
func readRole(name string) func(context.Context, *recorder) error {
	return func(ctx context.Context, r *recorder) (err error) {
		dir, err := os.MkdirTemp("", "weir-reference-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		done, err := role.Instruments(ctx, name, r, dir)
		if err != nil {
			return err
		}
		r.read()
		return done()
	}
}

// unasked is a cluster that is known by its address, and asked nothing.
var unasked = kube.Config{REST: &rest.Config{Host: "http://127.0.0.1:1"}, Namespaces: []string{kube.AllNamespaces}, Lazy: true}

// readRegistry reads a hub that asks nothing.
func readRegistry(ctx context.Context, r *recorder) error {
	cfg := unasked
	cfg.Metrics = r
	hub, err := kube.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer hub.Close()
	several, err := clusters.New(clusters.Config{
		Members: []clusters.Member{{Name: "home", Discoverer: hub}, {Name: "other", Discoverer: hub}}, ProbeEvery: -1, Metrics: r,
	})
	if err != nil {
		return err
	}
	r.read()
	several.Close()
	return nil
}

// readDubbo reads the adapter with a registry of which nothing is asked.
func readDubbo(ctx context.Context, r *recorder) error {
	hub, err := kube.Open(ctx, unasked)
	if err != nil {
		return err
	}
	defer hub.Close()
	backend := dubboregistry.Backend{Discoverer: hub, Mapping: hub, Metadata: hub}
	binding, err := dubboregistry.Use("reference", backend, dubboregistry.Config{Namespace: "default", Metrics: r})
	if err != nil {
		return err
	}
	r.read()
	binding.Close()
	return nil
}

// nowhere is a network without anybody in it.
type nowhere struct{}

// RoundTrip implements http.RoundTripper.
func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("there is no network")
}

// readKit reads the text that a service's kit writes.
func readKit(ctx context.Context) (map[string]*metric, error) {
	kit, err := sdk.Start(ctx, sdk.Config{
		App: "shop/inventory", ControlURL: "http://control.invalid", TracingURL: "http://tracing.invalid", StateDir: sdk.Off,
		HTTPClient: &http.Client{Transport: nowhere{}},
		Getenv:     func(string) string { return "" },
	})
	if err != nil {
		return nil, err
	}
	kit.Breakers().Circuit(governance.Series{Command: "reserve", At: governance.Provider})
	var text bytes.Buffer
	err = kit.Metrics(&text)
	ended, end := context.WithCancel(ctx)
	end() // nobody is there to be told of the end
	_ = kit.Close(ended)
	if err != nil {
		return nil, err
	}
	return parseText(&text)
}

// sampleLine is a sample in Prometheus's text format.
var (
	sampleLine = regexp.MustCompile(`^([a-z_0-9]+)(?:\{(.*)\})? `)
	labelName  = regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
)

// parseText reads Prometheus's text format.
func parseText(text *bytes.Buffer) (map[string]*metric, error) {
	found := map[string]*metric{}
	at := func(name string) *metric {
		if found[name] == nil {
			found[name] = &metric{name: name}
		}
		return found[name]
	}
	for lines := bufio.NewScanner(text); lines.Scan(); {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			at(name).help = help
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			at(name).kind = kind
			continue
		}
		sample := sampleLine.FindStringSubmatch(line)
		if sample == nil {
			return nil, fmt.Errorf("a line of metrics cannot be read: %s", line)
		}
		m := at(sample[1])
		if m.labels == nil {
			for _, l := range labelName.FindAllStringSubmatch(sample[2], -1) {
				m.labels = append(m.labels, l[1])
			}
		}
	}
	return found, nil
}

// recorder is a Registerer that remembers what is registered, to read it before
// whoever registered it ends.
type recorder struct {
	collectors []prometheus.Collector
	found      map[string]*metric
	unread     []error
}

var _ prometheus.Registerer = (*recorder)(nil)

// Register implements prometheus.Registerer.
func (r *recorder) Register(c prometheus.Collector) error {
	r.collectors = append(r.collectors, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *recorder) MustRegister(cs ...prometheus.Collector) {
	r.collectors = append(r.collectors, cs...)
}

// Unregister implements prometheus.Registerer.
func (r *recorder) Unregister(prometheus.Collector) bool { return true }

func (r *recorder) read() {
	for _, c := range r.collectors {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		kinds := kindsOf(c)
		for d := range descs {
			m, err := parseDesc(d)
			if err != nil {
				r.unread = append(r.unread, err)
				continue
			}
			if m.help == "" {
				r.unread = append(r.unread, fmt.Errorf("metric %s has no help", m.name))
			}
			if m.kind = kinds[d.String()]; m.kind == "" {
				m.kind = vectorKind(c, m.name)
			}
			r.found[m.name] = m
		}
	}
}

// kindsOf asks a collector for its samples, and returns the kinds by description.
// A collector without samples has none.
func kindsOf(c prometheus.Collector) map[string]string {
	samples := make(chan prometheus.Metric)
	go func() {
		c.Collect(samples)
		close(samples)
	}()
	kinds := map[string]string{}
	for s := range samples {
		var raw dto.Metric
		if s.Write(&raw) != nil {
			continue
		}
		kind := ""
		switch {
		case raw.Counter != nil:
			kind = "counter"
		case raw.Gauge != nil:
			kind = "gauge"
		case raw.Histogram != nil:
			kind = "histogram"
		}
		kinds[s.Desc().String()] = kind
	}
	return kinds
}

// vectorKind is the kind of what has no sample yet: it is that of a vector, and
// with collectors of our own, which have no histograms, the name tells.
func vectorKind(c prometheus.Collector, name string) string {
	switch c.(type) {
	case *prometheus.CounterVec:
		return "counter"
	case *prometheus.GaugeVec:
		return "gauge"
	case *prometheus.HistogramVec:
		return "histogram"
	}
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}

// descLine is how a description writes itself, the one way to read it.
var descLine = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

func parseDesc(d *prometheus.Desc) (*metric, error) {
	parts := descLine.FindStringSubmatch(d.String())
	if parts == nil {
		return nil, fmt.Errorf("a metric's description cannot be read: %s", d)
	}
	name, err := strconv.Unquote(parts[1])
	if err != nil {
		return nil, err
	}
	help, err := strconv.Unquote(parts[2])
	if err != nil {
		return nil, err
	}
	m := &metric{name: name, help: help}
	for _, l := range labelName.FindAllStringSubmatch(parts[3], -1) {
		m.labels = append(m.labels, l[1])
	}
	if parts[4] != "" {
		m.labels = append(m.labels, strings.Split(parts[4], ",")...)
	}
	return m, nil
}
