package role

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/internal/access"
	accessapi "github.com/weirmesh/weir/internal/access/api"
	accesspg "github.com/weirmesh/weir/internal/access/postgres"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/registry"
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
}

// ControlDefaults returns the settings that hold when nothing is said.
func ControlDefaults() *ControlConfig {
	return &ControlConfig{Base: baseDefaults(":9001"), Cluster: clusterDefaults(), Listen: fmt.Sprintf(":%d", ControlPort)}
}

// Flags binds the settings to flags.
func (c *ControlConfig) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Listen, ControlListen, c.Listen, "address of the APIs and the console")
	c.Database.flags(fs)
	c.Cluster.flags(fs)
	c.Base.flags(fs)
}

// Validate reports everything that is wrong with the settings by themselves.
func (c *ControlConfig) Validate() error {
	return errors.Join(CheckListen(ControlListen, c.Listen), c.Database.validate(), c.Cluster.validate(), c.Base.validate())
}

// Host returns what runs the role alone.
func (c *ControlConfig) Host(lookup func(string) (string, bool)) *Host {
	return &Host{Name: ControlName, Base: c.Base, Listen: c.Listen, Flag: ControlListen, Make: func(ctx context.Context, env Env) (Service, error) {
		hub, target, err := c.Cluster.open(ctx, lookup, env)
		if err != nil {
			return nil, err
		}
		deps := ControlDeps{Env: env, DatabaseURL: c.DatabaseURL, Password: func(password string) {
			env.Log.WarnContext(ctx, "made the first account: change its password", "account", AdminAccount, "password", password)
		}}
		if hub == nil {
			env.Log.InfoContext(ctx, "no cluster is named: pods cannot prove who they are, and applications are not known")
			return NewControl(deps), nil
		}
		deps.Registry, deps.closing = hub, hub.Close
		if deps.Reviewer, err = cluster.NewReviewer(target); err != nil {
			hub.Close()
			return nil, err
		}
		return NewControl(deps), nil
	}}
}

// Registry is what roles ask of a cluster's applications.
type Registry interface {
	registry.Discoverer
	registry.MetadataStore
}

// ControlDeps is what a control plane is put together from.
type ControlDeps struct {
	Env
	DatabaseURL string
	// Registry tells the applications; nil where there is no cluster.
	Registry Registry
	// Reviewer tells whose the tokens of pods are; nil where there is no cluster.
	Reviewer access.TokenReviewer
	// Password is told the admin's password when the account was made just now.
	Password func(password string)
	// Tokens are files that get a token each, unless they hold one that counts:
	// for those on this machine who need no login.
	Tokens []TokenFile

	closing func()
}

// Control is the role that serves every write API, the console, and the stream
// of the SDK.
type Control struct {
	deps    ControlDeps
	pool    *pgxpool.Pool
	access  *accesspg.Store
	handler http.Handler
	works   []func(context.Context) error
	ready   []func() error
	closes  []func()

	end   context.CancelFunc // of the works
	ended chan error         // what came of them
}

// NewControl returns a control plane that is not open yet.
func NewControl(deps ControlDeps) *Control { return &Control{deps: deps} }

// Open brings the database up to date, makes the first account, and puts the
// APIs together.
func (c *Control) Open(ctx context.Context) error {
	d := c.deps
	pool, err := pg.Open(ctx, d.DatabaseURL, poolOptions(d.Env, ControlName, false))
	if err != nil {
		return err
	}
	c.pool = pool
	d.Metrics.MustRegister(pg.NewPoolCollector(ControlName, pool))
	if err := Migrate(ctx, pool, d.Log); err != nil {
		return err
	}
	c.access = accesspg.NewStore(pool)
	password, err := c.access.Ensure(ctx, AdminAccount, access.Admin)
	if err != nil {
		return err
	}
	if password != "" && d.Password != nil {
		d.Password(password)
	}
	for _, t := range d.Tokens {
		if err := c.keepToken(ctx, t); err != nil {
			return err
		}
	}
	auth := access.NewAuth(c.access, d.Reviewer, nil)
	api := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "Weir", Version: d.Version, Auth: auth, Audit: c.access, Log: d.Log})
	accessapi.Register(api, accessapi.Deps{Store: c.access, Revoked: auth.Forget})
	c.serveGovernance(api)
	c.handler = api.Handler()
	c.begin(ctx)
	return nil
}

// begin starts what works in the background, and gives it a moment to read what
// the first requests ask for: nobody is to come again for that.
func (c *Control) begin(ctx context.Context) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	c.end, c.ended = end, make(chan error, 1)
	go func() { c.ended <- work(life, c.works...) }()
	patience := time.NewTimer(beginPatience)
	defer patience.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(c.ready, func(ready func() error) bool { return ready() != nil }) {
		select {
		case <-tick.C:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

const beginPatience = 5 * time.Second

// TokenFile is a file that holds a token.
type TokenFile struct {
	Path  string
	Token access.Token
}

// CLIToken is the token of the command line on the machine of a `weir up`.
func CLIToken(dataDir string) TokenFile {
	return TokenFile{Path: client.TokenFile(dataDir), Token: access.Token{Name: "cli", Kind: access.KindToken, Role: access.Admin, CreatedBy: "weir up"}}
}

// GatewayToken is the token of the gateway within a `weir up`.
func GatewayToken(dataDir string) TokenFile {
	return TokenFile{Path: filepath.Join(dataDir, "access", "gateway.token"), Token: access.Token{
		Name: "gateway", Kind: access.KindInstance, Namespaces: []string{SystemNamespace}, CreatedBy: "weir up",
	}}
}

// keepToken makes sure that a file holds a token that counts.
func (c *Control) keepToken(ctx context.Context, t TokenFile) error {
	raw, err := os.ReadFile(t.Path)
	if err == nil {
		_, err := c.access.TokenOf(ctx, access.HashSecret(strings.TrimSpace(string(raw))))
		if err == nil {
			return nil
		}
		if access.CodeOf(err) != access.NotFound {
			return err
		}
	}
	secret, _, err := c.access.RotateToken(ctx, t.Token)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(t.Path), 0o700); err != nil {
		return fmt.Errorf("keep the token %s: %w", t.Token.Name, err)
	}
	// Whole or not at all, and readable by nobody else.
	next := t.Path + ".new"
	if err := errors.Join(ignoreMissing(os.Remove(next)), os.WriteFile(next, []byte(secret+"\n"), 0o600), os.Rename(next, t.Path)); err != nil {
		return fmt.Errorf("keep the token %s: %w", t.Token.Name, err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Handler implements Service.
func (c *Control) Handler() http.Handler { return c.handler }

// Run implements Service.
func (c *Control) Run(ctx context.Context) error {
	select {
	case err := <-c.ended:
		c.ended <- err
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close implements Service.
func (c *Control) Close(context.Context) error {
	if c.end != nil {
		c.end()
		<-c.ended
	}
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
