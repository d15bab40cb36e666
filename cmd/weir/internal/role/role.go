// Package role puts together the three roles of Weir that scale apart: control,
// gateway and tracing. Each is a Service that the command of its name runs
// alone, and `weir up` beside the others.
package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// Names of the roles.
const (
	ControlName = "control"
	GatewayName = "gateway"
	TracingName = "tracing"
)

// Ports that the roles serve on unless told otherwise.
const (
	ControlPort = 9000
	GatewayPort = 8080
	TracingPort = 9411
)

// Flags that set where the roles serve.
const (
	ControlListen = "control-listen"
	GatewayListen = "gateway-listen"
	TracingListen = "tracing-listen"
)

// Service is one role, without the listeners that its handler is served on.
type Service interface {
	// Open makes it ready to serve. What it leaves behind when it fails is
	// cleaned up by Close.
	Open(ctx context.Context) error
	// Handler serves requests; it is there once Open has succeeded.
	Handler() http.Handler
	// Run works in the background until ctx ends, or fails.
	Run(ctx context.Context) error
	// Close lets go, after the listeners have ended. It may be called without
	// Open.
	Close(ctx context.Context) error
}

// Env is what every role gets from who runs it.
type Env struct {
	Version string
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Health  *run.Health
}

// Base are the settings that all roles have.
type Base struct {
	// AdminListen is host:port of /livez, /readyz and /metrics; empty for none.
	AdminListen string
	LogLevel    slog.Level
	LogFormat   string
	// DrainDelay is how long a role goes on accepting after it turned unready.
	DrainDelay  time.Duration
	StopTimeout time.Duration
}

// Formats of the log.
const (
	LogText = "text"
	LogJSON = "json"
)

func baseDefaults(admin string) Base {
	return Base{AdminListen: admin, LogFormat: LogText, StopTimeout: 30 * time.Second}
}

func (b *Base) flags(fs *pflag.FlagSet) {
	fs.StringVar(&b.AdminListen, "admin-listen", b.AdminListen, "address of /livez, /readyz and /metrics; empty for none")
	fs.TextVar(&b.LogLevel, "log-level", b.LogLevel, "DEBUG, INFO, WARN or ERROR")
	config.Choice(fs, &b.LogFormat, "log-format", "", []string{LogText, LogJSON}, "how to write the log, which goes to standard error")
	fs.DurationVar(&b.DrainDelay, "drain-delay", b.DrainDelay, "how long to go on accepting after turning unready at the end, so that those who send here move on")
	fs.DurationVar(&b.StopTimeout, "stop-timeout", b.StopTimeout, "how long an orderly end may take")
}

func (b *Base) validate() error {
	var errs []error
	if b.AdminListen != "" {
		errs = append(errs, CheckListen("admin-listen", b.AdminListen))
	}
	if b.StopTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--stop-timeout %s leaves no time to end: give a duration such as 30s", b.StopTimeout))
	}
	if b.DrainDelay < 0 || b.DrainDelay >= b.StopTimeout && b.DrainDelay > 0 {
		errs = append(errs, fmt.Errorf("--drain-delay %s does not fit into --stop-timeout %s: make it shorter", b.DrainDelay, b.StopTimeout))
	}
	return errors.Join(errs...)
}

// CheckListen checks a setting that is an address to listen on.
func CheckListen(flag, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("--%s %q is no host:port: write it like 127.0.0.1:9000", flag, address)
	}
	return nil
}

// Database are the settings of roles that use PostgreSQL.
type Database struct {
	DatabaseURL string
}

func (d *Database) flags(fs *pflag.FlagSet) {
	fs.StringVar(&d.DatabaseURL, "database-url", d.DatabaseURL, "PostgreSQL, postgres://user:password@host:5432/database (required)")
	config.Secret(fs, "database-url")
}

func (d *Database) validate() error {
	if d.DatabaseURL == "" {
		return errors.New("no database is named: give postgres://user:password@host:5432/database with --database-url (or WEIR_DATABASE_URL)")
	}
	return nil
}

// Cluster are the settings of roles that look at Kubernetes.
type Cluster struct {
	Kubeconfig string
	Context    string
	Namespaces []string
	// SnapshotDir is kube.Config.SnapshotDir.
	SnapshotDir string
}

func clusterDefaults() Cluster { return Cluster{Namespaces: []string{kube.AllNamespaces}} }

func (c *Cluster) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "the cluster (default: the one that this process is a pod of, else none; $KUBECONFIG is not used)")
	fs.StringVar(&c.Context, "context", c.Context, "context of --kubeconfig (default: its current one)")
	fs.StringSliceVar(&c.Namespaces, "namespaces", c.Namespaces, "namespaces to look after, or *")
	fs.StringVar(&c.SnapshotDir, "registry-snapshot-dir", c.SnapshotDir, "directory to keep what was last known of the applications that are called, for a start while the API server is away; it has to outlive the container (default: nothing is kept)")
}

func (c *Cluster) validate() error {
	if c.Context != "" && c.Kubeconfig == "" {
		return errors.New("--context needs --kubeconfig")
	}
	if len(c.Namespaces) == 0 {
		return errors.New("--namespaces is empty: name some, or * for all")
	}
	for _, ns := range c.Namespaces {
		if ns == kube.AllNamespaces {
			continue
		}
		if err := (registry.App{Namespace: ns, Name: "any"}).Validate(); err != nil {
			return fmt.Errorf("--namespaces: %w", err)
		}
	}
	return nil
}

// base is what the hubs of all clusters have in common.
func (c *Cluster) base(env Env) kube.Config {
	return kube.Config{Namespaces: c.Namespaces, Logger: env.Log.With("part", "registry"), Metrics: env.Metrics, SnapshotDir: c.SnapshotDir}
}

// open opens the registry of the cluster; both are nil where there is none. several
// tells whether there are others beside it.
func (c *Cluster) open(ctx context.Context, lookup func(string) (string, bool), env Env, several *cluster.Several) (*kube.Hub, *cluster.Target, error) {
	target, err := cluster.Named(cluster.Query{Kubeconfig: c.Kubeconfig, Context: c.Context, Env: lookup})
	if err != nil || target == nil {
		return nil, nil, err
	}
	cfg := c.base(env)
	cfg.REST, cfg.Metrics = target.REST, several.Measure(env.Metrics)
	if len(target.Kubeconfig) == 1 {
		cfg.REST, cfg.Kubeconfig, cfg.Context = nil, target.Kubeconfig[0], target.Context
	}
	hub, err := kube.Open(ctx, cfg)
	return hub, target, err
}

// Host runs one role as a process of its own.
type Host struct {
	Name    string
	Base    Base
	Listen  string // host:port
	Flag    string // that sets Listen
	H2C     bool   // as in run.ServerConfig
	Version string
	Stderr  io.Writer
	Force   context.Context //nolint:containedctx // the second, harder end of the same life as Run's context
	// Make puts the service together.
	Make func(ctx context.Context, env Env) (Service, error)
	// More are listeners of other protocols, beside the main one.
	More []More
}

// More is a listener with a handler of its own.
type More struct {
	Listen string // host:port
	Flag   string // that sets Listen
	H2C    bool   // as in run.ServerConfig
	// Handler returns it once the service is open.
	Handler func(Service) http.Handler
}

// LackError says that the machine lacks what a start needs.
type LackError struct{ Err error }

// Error returns the cause's sentence.
func (e *LackError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LackError) Unwrap() error { return e.Err }

// Run runs the role until ctx ends or it fails; by then all that it started has
// ended.
func (h *Host) Run(ctx context.Context) error {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var health run.Health
	env := Env{Version: h.Version, Log: h.logger(), Metrics: metrics, Health: &health}
	group := &run.Group{StopTimeout: h.Base.StopTimeout, Force: h.Force, Observe: func(e run.Event) {
		if e.Err != nil {
			env.Log.ErrorContext(ctx, "part failed", "part", e.Part, "state", string(e.State), "error", e.Err)
		}
	}}
	var needs []string
	if h.Base.AdminListen != "" {
		admin := run.NewServer(run.ServerConfig{Address: h.Base.AdminListen, Flag: "--admin-listen", Handler: run.AdminHandler(&health, metrics), Log: env.Log})
		group.Add(run.Part{Name: "admin", Start: admin.Start, Watch: admin.Watch, Stop: admin.Stop})
		needs = []string{"admin"} // it tells of the other's beginning and end
	}
	s := &Served{
		Ready: health.Check(h.Name, "starting"),
		Servers: []run.ServerConfig{{
			Address: h.Listen, Flag: "--" + h.Flag, Delay: h.Base.DrainDelay, H2C: h.H2C, Log: env.Log,
			OnListen: func(ctx context.Context, addr net.Addr) error {
				env.Log.InfoContext(ctx, "serving", "address", addr.String(), "version", h.Version)
				return nil
			},
		}},
	}
	for _, more := range h.More {
		s.Servers = append(s.Servers, run.ServerConfig{Address: more.Listen, Flag: "--" + more.Flag, Delay: h.Base.DrainDelay, H2C: more.H2C, Log: env.Log})
		s.Handlers = append(s.Handlers, more.Handler)
	}
	group.Add(run.Part{
		Name: h.Name, Needs: needs, Watch: s.Watch, Stop: s.Stop,
		Start: func(ctx context.Context) error {
			var err error
			if s.Service, err = h.Make(ctx, env); err != nil {
				return err
			}
			return s.Start(ctx)
		},
	})
	err := group.Run(ctx)
	var part *run.PartError
	if errors.As(err, &part) && part.Op == "start" {
		return &LackError{Err: err}
	}
	return err
}

func (h *Host) logger() *slog.Logger {
	opts := &slog.HandlerOptions{Level: h.Base.LogLevel}
	var handler slog.Handler = slog.NewTextHandler(h.Stderr, opts)
	if h.Base.LogFormat == LogJSON {
		handler = slog.NewJSONHandler(h.Stderr, opts)
	}
	return slog.New(handler).With("role", h.Name)
}

// Served is a Service with its listeners, as one part of a group.
type Served struct {
	Service Service
	Servers []run.ServerConfig // their handlers are the service's
	// Handlers are those of the servers after the first, where they have others.
	Handlers []func(Service) http.Handler
	Ready    *run.Check

	servers []*run.Server
}

// Start opens the service and serves it.
func (s *Served) Start(ctx context.Context) error {
	if err := s.Service.Open(ctx); err != nil {
		return err
	}
	for i, cfg := range s.Servers {
		cfg.Handler = s.Service.Handler()
		if i > 0 && i <= len(s.Handlers) {
			cfg.Handler = s.Handlers[i-1](s.Service)
		}
		server := run.NewServer(cfg)
		s.servers = append(s.servers, server)
		if err := server.Start(ctx); err != nil {
			return err
		}
	}
	s.Ready.OK()
	return nil
}

// Addr is the address of the first listener, nil before Start.
func (s *Served) Addr() net.Addr {
	if len(s.servers) == 0 {
		return nil
	}
	return s.servers[0].Addr()
}

// Watch blocks until the service or a listener fails, or ctx ends.
func (s *Served) Watch(ctx context.Context) error { return WatchAll(ctx, s.Service.Run, s.servers) }

// Stop turns unready, ends the listeners, and closes the service.
func (s *Served) Stop(ctx context.Context) error {
	s.Ready.Fail("stopping")
	err := StopAll(ctx, s.servers)
	if s.Service != nil {
		err = errors.Join(err, s.Service.Close(ctx))
	}
	return err
}

// WatchAll blocks until a listener, or what else works (which may be nil),
// fails, or ctx ends.
func WatchAll(ctx context.Context, also func(context.Context) error, servers []*run.Server) error {
	works := []func(context.Context) error{also}
	for _, server := range servers {
		works = append(works, server.Watch)
	}
	return work(ctx, works...)
}

// StopAll ends listeners side by side.
func StopAll(ctx context.Context, servers []*run.Server) error {
	errs := make([]error, len(servers))
	var all sync.WaitGroup
	for i, server := range servers {
		all.Go(func() { errs[i] = server.Stop(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// hostname names this process among its like.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "weir"
	}
	return strings.ToLower(name)
}

// work runs functions side by side until ctx ends or one fails. One that
// returns nil early has done its work.
func work(ctx context.Context, functions ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	functions = slices.DeleteFunc(functions, func(f func(context.Context) error) bool { return f == nil })
	ended := make(chan error, len(functions))
	for _, f := range functions {
		go func() { ended <- f(ctx) }()
	}
	var first error
	for range functions {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel(err)
		}
	}
	if first == nil {
		<-ctx.Done()
		first = context.Cause(ctx)
	}
	return first
}

// poolOptions are those of a role's pool.
func poolOptions(env Env, name string, lazy bool) pg.Options {
	return pg.Options{Name: "weir " + name, Log: env.Log, Lazy: lazy}
}

// roleMetrics are for what several roles of one process have each of their own.
func roleMetrics(env Env, name string) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"role": name}, env.Metrics)
}
