package role

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/dubbo"
	gatewaypg "github.com/weirmesh/weir/gateway/postgres"
	"github.com/weirmesh/weir/gateway/proxy"
	"github.com/weirmesh/weir/gateway/snapshot"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/sdk"
)

// SystemNamespace is the namespace of Weir's own applications.
const SystemNamespace = "weir-system"

// gatewayCircuits is how many routes and Dubbo methods a gateway counts apart, at
// some 3 kB each. Those beyond share a circuit that never opens by itself, so a
// service's 1,000 are too few here.
const gatewayCircuits = 10_000

// GatewayConfig are the settings of `weir gateway`.
type GatewayConfig struct {
	Base
	Database
	Cluster
	// Listen is host:port of the gateway.
	Listen string
	// DataDir holds the last routes that were read, to start with when the
	// database is away.
	DataDir string
	// Node names this gateway among its like; the host's name when empty.
	Node string
	// TrustedPeers are networks whose X-Forwarded-* headers are believed.
	TrustedPeers []string
	// UpstreamCAFile holds certificates, in PEM, of authorities that are believed of
	// https upstreams besides the system's.
	UpstreamCAFile string
	// AccessLog logs each request.
	AccessLog bool
	// ControlURL and TracingURL are where policies come from and spans go to;
	// empty for the Services of the cluster, "off" for none.
	ControlURL string
	TracingURL string
	// TokenFile holds the token by which the control plane knows this gateway;
	// empty for the pod's.
	TokenFile string
	// Several are other clusters, that stand in for the first. SameZone is the share
	// that the gateway's own zone has to have to be called alone, in percent; 0 where
	// zones do not matter. Zone names it; that of the gateway's pod when empty.
	Several  cluster.Several
	SameZone int
	Zone     string
}

// GatewayDefaults returns the settings that hold when nothing is said.
func GatewayDefaults() *GatewayConfig {
	return &GatewayConfig{
		Base: baseDefaults(":8081"), Cluster: clusterDefaults(), Listen: fmt.Sprintf(":%d", GatewayPort), DataDir: "data",
	}
}

// Flags binds the settings to flags.
func (c *GatewayConfig) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Listen, GatewayListen, c.Listen, "address of the gateway")
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory for the last routes that were read, to start with when the database is away")
	fs.StringVar(&c.Node, "node-name", c.Node, "name of this gateway among its like (default: the host's)")
	fs.StringSliceVar(&c.TrustedPeers, "trusted-peers", c.TrustedPeers, "networks whose X-Forwarded-* headers are believed, such as that of a load balancer")
	fs.StringVar(&c.UpstreamCAFile, "upstream-ca-file", c.UpstreamCAFile, "file with certificates, in PEM, of authorities that are believed of https upstreams besides the system's")
	fs.BoolVar(&c.AccessLog, "access-log", c.AccessLog, "log each request")
	fs.StringVar(&c.ControlURL, "control-url", c.ControlURL, "control plane that policies come from, or off (default: the cluster's Service)")
	fs.StringVar(&c.TracingURL, "tracing-url", c.TracingURL, "collector that spans go to, or off (default: the cluster's Service)")
	fs.StringVar(&c.TokenFile, "token-file", c.TokenFile, "file with the token for the control plane (default: the pod's)")
	c.Database.flags(fs)
	c.Cluster.flags(fs)
	c.Several.Flags(fs)
	fs.IntVar(&c.SameZone, "same-zone", c.SameZone, "call instances of the gateway's own zone alone while it has this percentage of an even share over the zones (0: zones do not matter; 50 is a good one)")
	fs.StringVar(&c.Zone, "zone", c.Zone, "the gateway's own zone (default: that of its pod)")
	c.Base.flags(fs)
}

// Validate reports everything that is wrong with the settings by themselves.
func (c *GatewayConfig) Validate() error {
	var errs []error
	if c.SameZone < 0 || c.SameZone > 100 {
		errs = append(errs, fmt.Errorf("--same-zone %d is no percentage: give a number from 0 to 100", c.SameZone))
	}
	errs = append(errs, c.Several.Validate(c.Kubeconfig))
	if c.DataDir == "" {
		errs = append(errs, errors.New("--data-dir is empty: name a directory"))
	}
	_, err := c.peers()
	return errors.Join(append(errs, err, CheckListen(GatewayListen, c.Listen), c.Database.validate(), c.Cluster.validate(), c.Base.validate())...)
}

func (c *GatewayConfig) peers() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range c.TrustedPeers {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--trusted-peers %q is no network: write it like 10.0.0.0/8", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// upstreamTLS is how https upstreams are spoken to; nil where nothing was said.
func (c *GatewayConfig) upstreamTLS() (*tls.Config, error) {
	if c.UpstreamCAFile == "" {
		return nil, nil //nolint:nilnil // there is nothing to say
	}
	data, err := os.ReadFile(c.UpstreamCAFile)
	if err != nil {
		return nil, fmt.Errorf("--upstream-ca-file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system that has none
	}
	certificates, err := gateway.ReadCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("--upstream-ca-file %s %w", c.UpstreamCAFile, err)
	}
	for _, certificate := range certificates {
		roots.AddCert(certificate)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}

// Host returns what runs the role alone.
func (c *GatewayConfig) Host(lookup func(string) (string, bool)) *Host {
	return &Host{Name: GatewayName, Base: c.Base, Listen: c.Listen, Flag: GatewayListen, H2C: true, Make: func(ctx context.Context, env Env) (Service, error) {
		peers, err := c.peers()
		if err != nil {
			return nil, err
		}
		secure, err := c.upstreamTLS()
		if err != nil {
			return nil, err
		}
		deps := GatewayDeps{
			Env: env, UpstreamTLS: secure, DatabaseURL: c.DatabaseURL, Dir: filepath.Join(c.DataDir, "gateway"), Node: c.Node, TrustedPeers: peers, AccessLog: c.AccessLog,
			Kit: sdk.Config{ControlURL: c.ControlURL, TracingURL: c.TracingURL, TokenFile: c.TokenFile},
		}
		hub, _, err := c.Cluster.open(ctx, lookup, env, &c.Several)
		if err != nil {
			return nil, err
		}
		if hub == nil {
			env.Log.InfoContext(ctx, "no cluster is named: routes to applications cannot be served, those to URLs can")
			return NewGateway(deps), nil
		}
		several, closing, err := c.Several.Open(ctx, hub, c.Cluster.base(env), c.Kubeconfig, clusters.Config{
			ZonePercent: c.SameZone, Zone: c.Zone, Self: registry.App{Namespace: cmp.Or(hub.Identity().Namespace, SystemNamespace), Name: GatewayName}, Instance: hub.Identity().UID,
			Logger: env.Log.With("part", "registry"),
		})
		if err != nil {
			hub.Close()
			return nil, err
		}
		deps.Registry, deps.closing = several, func() { closing(); hub.Close() }
		return NewGateway(deps), nil
	}}
}

// GatewayDeps is what a gateway is put together from.
type GatewayDeps struct {
	Env
	DatabaseURL string
	// Registry knows the endpoints of applications; nil where there is no cluster.
	Registry registry.Discoverer
	// Dir holds the last routes that were read, and the last policies.
	Dir          string
	Node         string
	TrustedPeers []netip.Prefix
	AccessLog    bool
	// UpstreamTLS is how https upstreams are spoken to; nil for the system's roots.
	UpstreamTLS *tls.Config
	// Kit is the gateway's link to the control plane and the collector. App,
	// StateDir and Logger are filled in.
	Kit sdk.Config

	closing func()
}

// Gateway is the data plane. It starts and serves without the database, by the
// last routes that it read.
type Gateway struct {
	background
	deps     GatewayDeps
	pool     *pgxpool.Pool
	kit      *sdk.Kit
	store    *gatewaypg.Store
	snapshot *snapshot.Source
	dubbo    *dubbo.Dubbo
	proxy    *proxy.Proxy
}

// NewGateway returns a gateway that is not open yet.
func NewGateway(deps GatewayDeps) *Gateway { return &Gateway{deps: deps} }

// Open puts the gateway together. It waits a moment for its routes, but needs
// nobody.
func (g *Gateway) Open(ctx context.Context) error {
	if err := g.assemble(ctx); err != nil {
		return err
	}
	g.begin(ctx)
	return nil
}

// assemble puts the gateway together without asking anybody anything.
func (g *Gateway) assemble(ctx context.Context) error {
	d := g.deps
	var err error
	if g.pool, err = pg.Open(ctx, d.DatabaseURL, poolOptions(d.Env, GatewayName, true)); err != nil {
		return err
	}
	d.Metrics.MustRegister(pg.NewPoolCollector(GatewayName, g.pool))

	d.Kit.App, d.Kit.Logger, d.Kit.StateDir = SystemNamespace+"/"+GatewayName, d.Log, d.Dir
	if d.Node == "" {
		d.Node = hostname()
	}
	d.Kit.Name = d.Node
	if d.Kit.MaxCircuits == 0 {
		d.Kit.MaxCircuits = gatewayCircuits
	}
	if g.kit, err = sdk.Start(ctx, d.Kit); err != nil {
		return err
	}
	cfg := proxy.Config{
		Node: d.Node, Version: d.Version, Breakers: g.kit.Breakers(), Tracer: g.kit.Tracer(),
		Metrics: d.Metrics, Log: d.Log, TrustedPeers: d.TrustedPeers, TLS: d.UpstreamTLS,
	}
	if d.AccessLog {
		cfg.AccessLog = d.Log.With("log", "access")
	}
	g.store = gatewaypg.New(g.pool, gatewaypg.Options{Log: d.Log})
	roleMetrics(d.Env, GatewayName).MustRegister(g.store.Listener())
	g.snapshot = snapshot.New(g.store, filepath.Join(d.Dir, "routes.snapshot"), snapshot.Options{Log: d.Log})
	cfg.Source = g.snapshot
	if d.Registry != nil {
		known := declaring{Discoverer: d.Registry, kit: g.kit}
		cfg.Registry = known
		g.dubbo, err = dubbo.New(dubbo.Config{
			Discoverer: known, Log: d.Log, Metrics: d.Metrics, Breakers: g.kit.Breakers(), Tracer: g.kit.Tracer(),
		})
		if err != nil {
			return err
		}
		cfg.Dubbo = g.dubbo
	}
	if g.proxy, err = proxy.New(cfg); err != nil {
		return err
	}
	g.works, g.ready = append(g.works, g.proxy.Run), append(g.ready, g.proxy.Ready)
	d.Health.Ask("routes", g.proxy.Ready)
	return nil
}

// Handler implements Service.
func (g *Gateway) Handler() http.Handler { return g.proxy }

// Run implements Service.
func (g *Gateway) Run(ctx context.Context) error { return g.watch(ctx) }

// Close implements Service.
func (g *Gateway) Close(ctx context.Context) error {
	var errs []error
	g.stop()
	if g.proxy != nil {
		errs = append(errs, g.proxy.Shutdown(ctx))
	}
	if g.dubbo != nil {
		g.dubbo.Close()
	}
	if g.snapshot != nil {
		errs = append(errs, g.snapshot.Close())
		g.store.Close()
	}
	if g.kit != nil {
		errs = append(errs, g.kit.Close(ctx))
	}
	if g.pool != nil {
		g.pool.Close()
	}
	if g.deps.closing != nil {
		g.deps.closing()
	}
	return errors.Join(errs...)
}

// declaring tells the control plane which applications the gateway calls, so
// that policies about those calls reach it.
type declaring struct {
	registry.Discoverer
	kit *sdk.Kit
}

// Subscribe implements registry.Discoverer.
func (d declaring) Subscribe(app registry.App, notify func(registry.Snapshot)) (func(), error) {
	d.kit.Calls(governance.App{Namespace: app.Namespace, Name: app.Name})
	return d.Discoverer.Subscribe(app, notify)
}
