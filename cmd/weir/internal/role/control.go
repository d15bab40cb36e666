package role

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	gatewaypg "github.com/weirmesh/weir/gateway/postgres"
	"github.com/weirmesh/weir/governance/agentless"
	governanceapi "github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/console"
	"github.com/weirmesh/weir/governance/dubboconfig"
	governancepg "github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/access"
	accessapi "github.com/weirmesh/weir/internal/access/api"
	accesspg "github.com/weirmesh/weir/internal/access/postgres"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/registry/zookeeper"
	tracingpg "github.com/weirmesh/weir/tracing/postgres"
)

// AdminAccount is the account that is made at the first start.
const AdminAccount = "admin"

// ControlConfig are the settings of `weir control`.
type ControlConfig struct {
	Base
	Database
	Cluster
	// Listen is host:port of the APIs and the console.
	Listen string
	// Node names this control plane among its like; the host's name when empty.
	Node string
	// History says how long what instances reported is kept.
	History governancepg.Retention
	// Grace is how long sessions and tokens count on for reading while the database
	// does not answer.
	Grace time.Duration
	// Agentless is whether applications that ask for it are governed without code of
	// Weir's in them, AgentlessPods how many pods of theirs at most.
	Agentless     bool
	AgentlessPods int
	// DubboConfigListen is host:port of the configuration centre of Dubbo Java
	// applications, empty for none, and DubboConfigClients how many connections it
	// holds at most.
	DubboConfigListen  string
	DubboConfigClients int
	// Upkeep is whether Weir's own objects in the cluster are kept in order, and
	// RevisionGrace how long the metadata of a revision is kept that no pod runs any
	// more; 0 for ever.
	Upkeep        bool
	RevisionGrace time.Duration
	// Bridge is what is written into ZooKeeper.
	Bridge Bridge
	// Several are other clusters, whose applications are shown beside those of the
	// first. Each is governed and kept in order by a control plane of its own.
	Several cluster.Several
}

// DefaultRevisionGrace is how long the metadata of a revision outlives its last pod.
const DefaultRevisionGrace = 24 * time.Hour

// minRevisionGrace is far above what passes between an instance's finding of the
// metadata of its revision and its registration.
const minRevisionGrace = 10 * time.Minute

// dubboConfigListen sets where Dubbo Java applications read their configuration.
const dubboConfigListen = "dubbo-config-listen"

// DubboConfigPort is the usual port of it: 1000 more than the one that
// applications name.
const DubboConfigPort = 9848

// defaultAgentlessPods is how many pods one control plane governs from outside.
const defaultAgentlessPods = 2000

// ControlDefaults returns the settings that hold when nothing is said.
func ControlDefaults() *ControlConfig {
	return &ControlConfig{
		Base: baseDefaults(":9001"), Cluster: clusterDefaults(), Listen: fmt.Sprintf(":%d", ControlPort), History: governancepg.Retention{}.WithDefaults(),
		Grace: access.DefaultGrace, Agentless: true, AgentlessPods: defaultAgentlessPods, DubboConfigClients: dubboconfig.DefaultMaxClients,
		Upkeep: true, RevisionGrace: DefaultRevisionGrace,
		Bridge: bridgeDefaults(),
	}
}

// Flags binds the settings to flags.
func (c *ControlConfig) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Listen, ControlListen, c.Listen, "address of the APIs and the console")
	fs.StringVar(&c.Node, "node-name", c.Node, "name of this control plane among its like (default: the host's)")
	fs.DurationVar(&c.History.Instances, "history-seconds", c.History.Instances, "how long metrics of instances are kept by the second, at least 26h")
	fs.DurationVar(&c.History.Apps10s, "history-10s", c.History.Apps10s, "how long metrics of applications are kept by 10 s")
	fs.DurationVar(&c.History.Apps1m, "history-minutes", c.History.Apps1m, "how long metrics of applications are kept by the minute")
	fs.DurationVar(&c.History.Events, "history-events", c.History.Events, "how long events of circuits, policies and instances are kept")
	fs.DurationVar(&c.Grace, GraceFlag, c.Grace, "how long sessions and API tokens that were proven go on counting for reading while the database does not answer, 0 to 24h")
	fs.BoolVar(&c.Agentless, "agentless", c.Agentless, "govern pods without code of Weir's, of Services annotated weirmesh.io/govern=true, by their management ports")
	fs.IntVar(&c.AgentlessPods, "agentless-pods", c.AgentlessPods, "how many of those pods this control plane holds at most")
	fs.StringVar(&c.DubboConfigListen, dubboConfigListen, c.DubboConfigListen, "address of the configuration centre of Dubbo Java applications, such as :9848, which they name as nacos://HOST:8848 (a port less by 1000); it asks for no credentials; empty for none")
	fs.IntVar(&c.DubboConfigClients, "dubbo-config-clients", c.DubboConfigClients, "how many connections of Dubbo Java applications it holds at most")
	fs.BoolVar(&c.Upkeep, "upkeep", c.Upkeep, "keep Weir's objects in the cluster in order: write their status, tell owners by events what is wrong with their pods and Services, and delete the metadata of revisions that no pod runs any more")
	fs.DurationVar(&c.RevisionGrace, "revision-grace", c.RevisionGrace, "how long the metadata (AppMetadata) of a revision is kept that no pod runs any more, at least 10m; 0 for ever")
	c.Bridge.flags(fs)
	c.Database.flags(fs)
	c.Cluster.flags(fs)
	c.Several.Flags(fs)
	c.Base.flags(fs)
}

// Validate reports everything that is wrong with the settings by themselves.
func (c *ControlConfig) Validate() error {
	return errors.Join(CheckListen(ControlListen, c.Listen), checkHistory(c.History), CheckGrace(c.Grace), c.checkAgentless(), c.checkDubboConfig(), c.checkUpkeep(), c.Bridge.validate(), c.Several.Validate(c.Kubeconfig), c.Database.validate(), c.Cluster.validate(), c.Base.validate())
}

func (c *ControlConfig) checkAgentless() error {
	if c.AgentlessPods < 1 {
		return fmt.Errorf("--agentless-pods %d holds none: give a number such as %d, or --agentless=false", c.AgentlessPods, defaultAgentlessPods)
	}
	return nil
}

func (c *ControlConfig) checkDubboConfig() error {
	var errs []error
	if c.DubboConfigListen != "" {
		errs = append(errs, CheckListen(dubboConfigListen, c.DubboConfigListen))
	}
	if c.DubboConfigClients < 1 {
		errs = append(errs, fmt.Errorf("--dubbo-config-clients %d holds none: give a number such as %d, or leave --%s empty", c.DubboConfigClients, dubboconfig.DefaultMaxClients, dubboConfigListen))
	}
	return errors.Join(errs...)
}

func (c *ControlConfig) checkUpkeep() error {
	if c.RevisionGrace != 0 && c.RevisionGrace < minRevisionGrace {
		return fmt.Errorf("--revision-grace %s is too short for a rollout: give at least %s, such as %s, or 0 to delete nothing", c.RevisionGrace, minRevisionGrace, DefaultRevisionGrace)
	}
	return nil
}

// checkHistory wants each kind kept for an hour at least: less is a mistyped unit.
func checkHistory(r governancepg.Retention) error {
	for _, d := range []struct {
		flag string
		keep time.Duration
	}{{"history-seconds", r.Instances}, {"history-10s", r.Apps10s}, {"history-minutes", r.Apps1m}, {"history-events", r.Events}} {
		if d.keep < time.Hour {
			return fmt.Errorf("--%s %s keeps next to nothing: give at least 1h, such as 168h for a week", d.flag, d.keep)
		}
	}
	return nil
}

// GraceFlag sets how long what was proven counts on without the database.
const GraceFlag = "login-grace"

// CheckGrace checks a setting that is a grace.
func CheckGrace(d time.Duration) error {
	if d < 0 || d > access.MaxGrace {
		return fmt.Errorf("--%s %s is not from 0 to %s: give a time such as 15m, or 0 for not at all", GraceFlag, d, access.MaxGrace)
	}
	return nil
}

// measureGrace counts who is let in while the database does not answer.
func measureGrace(metrics prometheus.Registerer, auth *access.Auth) {
	metrics.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "weir_control_grace_requests_total", Help: "Requests that were let in by what was proven before, since the database of accounts did not answer.",
		}, func() float64 { return float64(auth.Admitted()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_control_accounts_away", Help: "1 while the database of accounts does not answer, as far as the last request that asked it knows.",
		}, func() float64 {
			if auth.AwaySince().IsZero() {
				return 0
			}
			return 1
		}),
	)
}

// Host returns what runs the role alone.
func (c *ControlConfig) Host(lookup func(string) (string, bool)) *Host {
	h := &Host{Name: ControlName, Base: c.Base, Listen: c.Listen, Flag: ControlListen}
	if c.DubboConfigListen != "" {
		h.More = []More{{Listen: c.DubboConfigListen, Flag: dubboConfigListen, H2C: true, Handler: DubboConfig}}
	}
	h.Make = func(ctx context.Context, env Env) (Service, error) {
		hub, target, err := c.Cluster.open(ctx, lookup, env, &c.Several)
		if err != nil {
			return nil, err
		}
		deps := ControlDeps{Env: env, DatabaseURL: c.DatabaseURL, Node: c.Node, History: c.History, Grace: c.Grace, DubboConfigClients: c.DubboConfigClients, Password: func(password string) {
			env.Log.WarnContext(ctx, "made the first account: change its password", "account", AdminAccount, "password", password)
		}}
		if hub == nil && c.Bridge.ZooKeeper != "" {
			return nil, errNoCluster
		}
		if hub == nil {
			env.Log.InfoContext(ctx, "no cluster is named: pods cannot prove who they are, and applications are not known")
			return NewControl(deps), nil
		}
		wide, closing, err := Wide(ctx, &c.Several, hub, c.Cluster.base(env), c.Kubeconfig)
		if err != nil {
			hub.Close()
			return nil, err
		}
		deps.Registry, deps.Home, deps.closing = wide, hub, func() { closing(); hub.Close() }
		if c.Agentless {
			deps.AgentlessPods = c.AgentlessPods
		}
		deps.Upkeep, deps.RevisionGrace = c.Upkeep, c.RevisionGrace
		if deps.Reviewer, err = cluster.NewReviewer(target); err != nil {
			deps.closing()
			return nil, err
		}
		if c.Bridge.ZooKeeper != "" {
			if deps.Bridge, err = c.Bridge.named(ctx, target); err != nil {
				deps.closing()
				return nil, err
			}
		}
		return NewControl(deps), nil
	}
	return h
}

// Registry is what roles ask of a cluster's applications.
type Registry interface {
	registry.Discoverer
	registry.Inspector
	registry.Locator
	registry.MetadataStore
}

// ControlDeps is what a control plane is put together from.
type ControlDeps struct {
	Env
	DatabaseURL string
	// Node names this control plane among its like; the host's name when empty.
	Node string
	// History says how long what instances reported is kept; zero fields have the
	// defaults.
	History governancepg.Retention
	// Grace is how long sessions and tokens count on for reading while the database
	// does not answer; zero for not at all.
	Grace time.Duration
	// Registry tells the applications; nil where there is no cluster. Home tells those
	// of the control plane's own cluster, which it governs; Registry when nil.
	Registry Registry
	Home     Registry
	// Reviewer tells whose the tokens of pods are; nil where there is no cluster.
	Reviewer access.TokenReviewer
	// AgentlessPods is how many pods without code of Weir's are governed at most; 0
	// for none.
	AgentlessPods int
	// DubboConfigClients is how many connections of Dubbo Java applications are held
	// at most; 0 for none.
	DubboConfigClients int
	// Upkeep is whether Weir's own objects in the cluster are kept in order, and
	// RevisionGrace how long the metadata of a revision is kept that no pod runs any
	// more; 0 for ever.
	Upkeep        bool
	RevisionGrace time.Duration
	// Bridge is what is written into ZooKeeper; nil for nothing.
	Bridge *zookeeper.BridgeConfig
	// Password is told the admin's password when the account was made just now.
	Password func(password string)

	closing func()
}

// Control is the role that serves every write API, the console, and the stream
// of the SDK.
type Control struct {
	background
	deps    ControlDeps
	pool    *pgxpool.Pool
	heard   pg.Heard
	access  *accesspg.Store
	handler http.Handler
	closes  []func()

	// What the APIs share: who serves one makes it, and who serves the system view
	// asks it.
	routes    *gatewaypg.Store
	policies  *governancepg.Store
	control   *governanceapi.API
	outside   *agentless.Service   // nil where nothing is governed from outside
	dubbo     *dubboconfig.Service // nil where no Dubbo Java applications are served
	traces    *tracingpg.Store
	bridge    *zookeeper.Bridge // nil where nothing is written into ZooKeeper
	caretaker *kube.Caretaker   // nil where nobody cares for the objects of a cluster
}

// NewControl returns a control plane that is not open yet.
func NewControl(deps ControlDeps) *Control {
	if deps.Home == nil {
		deps.Home = deps.Registry
	}
	return &Control{deps: deps}
}

// Open brings the database up to date, makes the first account, and puts the
// APIs together.
func (c *Control) Open(ctx context.Context) error {
	d := c.deps
	options := poolOptions(d.Env, ControlName, false)
	options.Heard = &c.heard
	pool, err := pg.Open(ctx, d.DatabaseURL, options)
	if err != nil {
		return err
	}
	c.pool = pool
	if err := Migrate(ctx, pool, d.Log); err != nil {
		return err
	}
	api, err := c.assemble(pool)
	if err != nil {
		return err
	}
	password, err := c.access.Ensure(ctx, AdminAccount, access.Admin)
	if err != nil {
		return err
	}
	if password != "" && c.deps.Password != nil {
		c.deps.Password(password)
	}
	api.Pages(console.Pages())
	c.handler = api.Handler()
	c.begin(ctx)
	return nil
}

// assemble puts the APIs together on a pool, which becomes the control plane's, and
// what works behind them. It does no I/O.
func (c *Control) assemble(pool *pgxpool.Pool) (*httpapi.API, error) {
	d := c.deps
	c.pool = pool
	d.Metrics.MustRegister(pg.NewPoolCollector(ControlName, pool))
	c.access = accesspg.NewStore(c.pool)
	auth := access.NewAuth(access.AuthConfig{Secrets: c.access, Reviewer: d.Reviewer, Grace: d.Grace, Log: d.Log})
	measureGrace(d.Metrics, auth)
	api := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "Weir", Version: d.Version, Auth: auth, Audit: c.access, Log: d.Log, Metrics: d.Metrics})
	accessapi.Register(api, accessapi.Deps{Store: c.access, Proven: auth})
	c.serveRoutes(api)
	c.serveGovernance(api)
	c.serveRegistry(api)
	if err := c.keepObjects(); err != nil {
		return nil, err
	}
	if err := c.serveBridge(); err != nil {
		return nil, err
	}
	if err := c.serveTraces(api); err != nil {
		return nil, err
	}
	c.serveConsole(api)
	return api, nil
}

// Handler implements Service.
func (c *Control) Handler() http.Handler { return c.handler }

// DubboConfig serves Dubbo Java applications their configuration, if s is a control
// plane that has one; it is there once s is open.
func DubboConfig(s Service) http.Handler {
	if c, ok := s.(*Control); ok && c.dubbo != nil {
		return c.dubbo.Handler()
	}
	return http.NotFoundHandler()
}

// Run implements Service.
func (c *Control) Run(ctx context.Context) error { return c.watch(ctx) }

// Close implements Service.
func (c *Control) Close(context.Context) error {
	c.stop()
	for _, f := range slices.Backward(c.closes) {
		f()
	}
	if c.pool != nil {
		c.pool.Close()
	}
	if c.deps.closing != nil {
		c.deps.closing()
	}
	return nil
}
