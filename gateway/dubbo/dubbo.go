package dubbo

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// Config is what a Dubbo needs and may have.
type Config struct {
	// Discoverer knows the providers. Required.
	Discoverer registry.Discoverer
	// Log takes what an operator should hear; nil for nothing.
	Log *slog.Logger
	// Metrics takes weir_gateway_dubbo_…; nil for none.
	Metrics prometheus.Registerer
	// Breakers guards each method by the circuit of the series (interface's short
	// name and method, at caller, the provider's application); nil for none.
	Breakers *breaker.Set
	// Tracer makes a client span of each call; nil for none.
	Tracer *trace.Tracer
	// MaxPending bounds the calls under way at one endpoint; 0 for 4,096.
	MaxPending int
	// MaxAnswer bounds the bytes of one answer; 0 for 16 MiB.
	MaxAnswer int
	// Dial connects to a provider, host:port; nil for TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Dubbo makes handlers of routes, and keeps connections to providers, which all
// routes share. It is safe for concurrent use.
type Dubbo struct {
	cfg     Config
	client  clientConfig
	metrics *metrics

	mu     sync.Mutex
	closed bool
	apps   map[registry.App]*application
}

// New returns a Dubbo. The error is that of registering the metrics, or that of a
// Config without Discoverer.
func New(cfg Config) (*Dubbo, error) {
	if cfg.Discoverer == nil {
		return nil, errors.New("gateway/dubbo: no Discoverer: Dubbo upstreams are found by the registry")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dubbo{
		cfg: cfg, apps: map[registry.App]*application{},
		client: clientConfig{dial: cfg.Dial, maxPending: cfg.MaxPending, maxAnswer: cfg.MaxAnswer}.withDefaults(),
	}
	d.metrics = newMetrics(d)
	if cfg.Metrics != nil {
		if err := d.metrics.register(cfg.Metrics); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Close breaks all connections, failing the calls under way, and lets go of the
// registry. Handlers answer 503 from then on. It may be called more than once.
func (d *Dubbo) Close() {
	d.mu.Lock()
	d.closed = true
	apps := d.apps
	d.apps = map[registry.App]*application{}
	d.mu.Unlock()
	for _, a := range apps {
		a.close()
	}
	if d.cfg.Metrics != nil {
		d.metrics.unregister(d.cfg.Metrics)
	}
}

// follow returns an application, which release gives back.
func (d *Dubbo) follow(name registry.App) (*application, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, &gateway.Error{Code: gateway.Unavailable, Message: "the gateway is stopping"}
	}
	a := d.apps[name]
	if a == nil {
		var err error
		if a, err = newApplication(name, d.cfg.Discoverer, d.client); err != nil {
			return nil, err
		}
		d.apps[name] = a
	}
	a.refs++
	return a, nil
}

func (d *Dubbo) release(a *application) {
	d.mu.Lock()
	a.refs--
	last := a.refs == 0 && d.apps[a.name] == a
	if last {
		delete(d.apps, a.name)
	}
	d.mu.Unlock()
	if last {
		a.close()
	}
}

// Defaults of what a route does not say.
const (
	defaultTotal    = 30 * time.Second
	defaultAttempts = 3 // of calls that did not run
	defaultBudget   = 20
)

// Compile checks the Dubbo upstream of a route and makes its handler. Errors are
// a gateway.Error with code Invalid that names the field.
//
// The handler reads path variables by gateway.VarsOf and ends with the request's
// context, whose deadline it passes on to the provider; it answers JSON, or a
// problem document. Of the route's filters it does Retry, Timeout and BodyLimit
// (1 MiB without one); all others are its caller's. It may be closed, being an
// io.Closer, when it is of no more use; one that is not is closed when it is
// collected.
func (d *Dubbo) Compile(route gateway.Route) (http.Handler, error) {
	u := route.Upstream.Dubbo
	if u == nil {
		return nil, invalid("upstream.dubbo", "is missing")
	}
	app, err := registry.ParseApp(u.App, route.Namespace)
	if err != nil {
		return nil, &gateway.Error{Code: gateway.Invalid, Field: "upstream.dubbo.app", Message: "is no application", Err: err}
	}
	if err := (registry.Interface{Name: u.Interface, Group: u.Group, Version: u.Version}).Validate(); err != nil {
		return nil, &gateway.Error{Code: gateway.Invalid, Field: "upstream.dubbo.interface", Message: "is no interface", Err: err}
	}
	if u.Method == "" || strings.HasPrefix(u.Method, "$") || strings.ContainsAny(u.Method, " /?#%.:") {
		return nil, invalid("upstream.dubbo.method", "%q is no name of a method", u.Method)
	}
	h := &handler{
		d: d, app: app, total: defaultTotal, attempts: defaultAttempts, bigAsStrings: u.BigNumbersAsStrings,
		command: governance.ShortCommand(u.Interface + "." + u.Method),
		budget:  budget{percent: defaultBudget},
	}
	limit := int64(defaultBodyLimit)
	for _, f := range route.Filters {
		switch {
		case f.BodyLimit != nil:
			limit = *f.BodyLimit
		case f.Timeout != nil:
			if f.Timeout.Total > 0 {
				h.total = time.Duration(f.Timeout.Total)
			}
			h.perTry = time.Duration(f.Timeout.PerTry)
		case f.Retry != nil:
			h.attempts = max(1, f.Retry.Attempts)
			h.retryOn, h.retryMethods = f.Retry.On, f.Retry.Methods
			if f.Retry.Budget > 0 {
				h.budget.percent = int64(f.Retry.Budget)
			}
		}
	}
	if h.mapping, err = newMapping(u, route.Match.Path, limit); err != nil {
		return nil, err
	}
	if h.attachments, err = newAttachments(u.Attachments); err != nil {
		return nil, err
	}
	h.target = target{iface: u.Interface, group: u.Group, version: u.Version, method: u.Method, types: h.mapping.types}
	h.budget.tokens.Store(maxTokens)
	h.prefix, h.attached = h.target.requestPrefix(), h.target.attachmentsPrefix()
	if h.following, err = d.follow(app); err != nil {
		return nil, err
	}
	h.counts = d.metrics.of(route.Key(), h.command, app)
	h.hold = &hold{d: d, app: h.following, counts: h.counts}
	runtime.AddCleanup(h, func(l *hold) { l.close() }, h.hold)
	return h, nil
}

var _ io.Closer = (*handler)(nil)

// attachment is a header that travels on.
type attachment struct {
	name, header string
}

// reserved are attachments that the call itself has.
var reserved = []string{"path", "interface", "version", "group", "generic", "timeout", "method", "token", "async"}

func newAttachments(m map[string]string) ([]attachment, error) {
	var out []attachment
	for name, from := range m {
		at := "upstream.dubbo.attachments." + name
		s, err := parseSource(from, at, nil)
		if err != nil {
			return nil, err
		}
		switch {
		case s.place != fromHeader:
			return nil, invalid(at, "%q is no header: write header.NAME", from)
		case !isToken(name):
			return nil, invalid(at, "is no name of an attachment: use letters, digits, '.', '-' and '_'")
		case slices.Contains(reserved, strings.ToLower(name)):
			return nil, invalid(at, "is set by the call itself")
		}
		out = append(out, attachment{name, s.name})
	}
	slices.SortFunc(out, func(a, b attachment) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// hold is a handler's claim on an application, and on its numbers.
type hold struct {
	d      *Dubbo
	app    *application
	counts *counts
	once   sync.Once
}

func (l *hold) close() {
	l.once.Do(func() {
		l.counts.close()
		l.d.release(l.app)
	})
}
