package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// Defaults of Config.
const (
	DefaultVia          = "weir"
	DefaultDialTimeout  = defaultDialTimeout
	DefaultDrainTimeout = 10 * time.Second
	DefaultCoalesce     = 20 * time.Millisecond
	DefaultHeartbeat    = gateway.NodeGone / 3
	DefaultSweep        = 2 * time.Minute
)

// Dubbo makes handlers of routes with a Dubbo upstream. gateway/dubbo does.
type Dubbo interface {
	// Compile returns the handler of a route. Requests reach it after the route's
	// filters, with gateway.VarsOf in their context, which ends with the route's
	// total timeout and when the client goes away; their body is bounded. An
	// answer of 502, 503 or 504 means that the provider did not answer, and gives
	// way to the route's fallback. Compile is called again for each new version
	// of the route; a handler that is an io.Closer is closed once its last request
	// has ended after it was replaced.
	Compile(route gateway.Route) (http.Handler, error)
}

// Config says what a Proxy serves and with what. Node and Source are required.
type Config struct {
	// Node names this gateway to operators, such as its pod's name; Version is
	// the program's.
	Node    string
	Version string
	// Source is where routes come from.
	Source gateway.Source
	// Registry knows the endpoints of applications. Without it routes to
	// applications cannot be served and are quarantined.
	Registry registry.Discoverer
	// Dubbo serves routes to Dubbo; without it they are quarantined.
	Dubbo Dubbo
	// Breakers holds the circuits of routes, named by route key ("shop/cart"), on
	// the caller's side, with the application as peer. Policies that are applied
	// to it hold for routes at once. Without it nothing breaks.
	Breakers *breaker.Set
	// Tracer makes spans of requests and attempts. Without it trace headers
	// travel as they came.
	Tracer *trace.Tracer
	// Metrics, Log and AccessLog may be nil. AccessShare, above 0 and up to 1, is
	// the share of requests that AccessLog is told of; zero for all.
	Metrics     prometheus.Registerer
	Log         *slog.Logger
	AccessLog   *slog.Logger
	AccessShare float64
	// TrustedPeers are the networks whose X-Forwarded-* and Forwarded headers are
	// believed, such as that of a load balancer before the gateway.
	TrustedPeers []netip.Prefix
	// Via is the gateways' common name in the Via header, by which they notice
	// requests that go in circles; DefaultVia.
	Via string
	// DialTimeout bounds a connect to an upstream; DefaultDialTimeout.
	DialTimeout time.Duration
	// DrainTimeout is how long event streams and upgraded connections may go on
	// once the gateway is stopping; DefaultDrainTimeout.
	DrainTimeout time.Duration
	// TLS is used with https upstreams; nil for the system's roots. Its ServerName, if
	// any, is that of all routes that have none of their own.
	TLS *tls.Config
	// Coalesce is the least time between two changes of the table, so that many
	// changes in a row become few; the first is applied at once. Heartbeat is how
	// often the source is told what is served, Sweep how often it is read without
	// having changed. Zero for the defaults.
	Coalesce, Heartbeat, Sweep time.Duration
	// Now is the clock, for tests; nil for time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Via == "" {
		c.Via = DefaultVia
	}
	for _, d := range []struct {
		value   *time.Duration
		instead time.Duration
	}{
		{&c.DialTimeout, DefaultDialTimeout},
		{&c.DrainTimeout, DefaultDrainTimeout},
		{&c.Coalesce, DefaultCoalesce},
		{&c.Heartbeat, DefaultHeartbeat},
		{&c.Sweep, DefaultSweep},
	} {
		if *d.value == 0 {
			*d.value = d.instead
		}
	}
	if c.AccessShare == 0 {
		c.AccessShare = 1
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Proxy serves requests by routes. It is an http.Handler and safe for concurrent
// use.
type Proxy struct {
	config   Config
	now      func() time.Time
	table    atomic.Pointer[table] // nil until routes were read
	follower *follower
	metrics  *metrics
	failures failures
	dial     *dialer

	active   atomic.Int64 // exchanges under way
	upgraded atomic.Int64
	draining chan struct{}
	drain    func()
	cutoff   chan struct{}
	cut      func()

	waiting atomic.Bool // somebody waits for idleness
	idleMu  sync.Mutex
	idlers  []chan struct{}
}

// New returns a proxy that has no routes yet: Run gets them.
func New(config Config) (*Proxy, error) {
	if config.Node == "" || config.Source == nil {
		return nil, errors.New("proxy: Config.Node and Config.Source are required")
	}
	config = config.withDefaults()
	p := &Proxy{config: config, now: config.Now, draining: make(chan struct{}), cutoff: make(chan struct{})}
	p.drain = sync.OnceFunc(func() { close(p.draining) })
	p.cut = sync.OnceFunc(func() { close(p.cutoff) })
	p.dial = &dialer{Dialer: net.Dialer{Timeout: config.DialTimeout, KeepAlive: keepAliveOfUpstreams}, tls: config.TLS}
	p.follower = newFollower(p)
	var err error
	p.metrics, err = newMetrics(p)
	return p, err
}

// Run follows the source until ctx ends, and returns nil then. Requests may be
// served meanwhile, and afterwards with the last routes that were read.
func (p *Proxy) Run(ctx context.Context) error { return p.follower.run(ctx) }

// Ready returns nil once routes were read, and for as long as the proxy is not
// told to stop. A source that goes away later does not make it unready: it serves
// what it has.
func (p *Proxy) Ready() error {
	select {
	case <-p.draining:
		return errors.New("the gateway is stopping")
	default:
	}
	if p.table.Load() != nil {
		return nil
	}
	if err := p.follower.failure(); err != nil {
		return err
	}
	return errors.New("the routes have not been read yet")
}

// exits notes the end of an exchange.
func (p *Proxy) exits() {
	if p.active.Add(-1) > 0 || !p.waiting.Load() {
		return
	}
	p.idleMu.Lock()
	defer p.idleMu.Unlock()
	for _, c := range p.idlers {
		close(c)
	}
	p.idlers = nil
}

// idle returns a channel that is closed once no exchange is under way.
func (p *Proxy) idle() <-chan struct{} {
	c := make(chan struct{})
	p.waiting.Store(true)
	p.idleMu.Lock()
	defer p.idleMu.Unlock()
	if p.active.Load() == 0 {
		close(c)
	} else {
		p.idlers = append(p.idlers, c)
	}
	return c
}
