package role

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/spool"
	"github.com/weirmesh/weir/tracing/collector"
	tracingpg "github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/query"
)

// TracingConfig are the settings of `weir tracing`.
type TracingConfig struct {
	Base
	Database
	// Listen is host:port of the collector and its queries.
	Listen string
	// Node names this collector among its like; the host's name when empty.
	Node string
	// DataDir holds the spool of spans that came while the database was away.
	DataDir string
	// SpoolMB bounds the spool, in MiB.
	SpoolMB int
	// Retention is how long spans are kept.
	Retention time.Duration
}

// Defaults of TracingConfig.
const (
	DefaultSpoolMB       = 1024
	DefaultSpanRetention = 7 * 24 * time.Hour
	leastSpanRetention   = 24 * time.Hour
)

// TracingDefaults returns the settings that hold when nothing is said.
func TracingDefaults() *TracingConfig {
	return &TracingConfig{
		Base: baseDefaults(":9412"), Listen: fmt.Sprintf(":%d", TracingPort), DataDir: "data", SpoolMB: DefaultSpoolMB, Retention: DefaultSpanRetention,
	}
}

// Flags binds the settings to flags.
func (c *TracingConfig) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Listen, TracingListen, c.Listen, "address of the collector and its queries")
	fs.StringVar(&c.Node, "node-name", c.Node, "name of this collector among its like (default: the host's)")
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory of the spool, which takes spans while the database is away")
	fs.IntVar(&c.SpoolMB, "spool-mb", c.SpoolMB, "most of the spool, in MiB; what comes beyond is refused")
	fs.DurationVar(&c.Retention, "span-retention", c.Retention, "how long spans are kept, by whole days")
	c.Database.flags(fs)
	c.Base.flags(fs)
}

// Validate reports everything that is wrong with the settings by themselves.
func (c *TracingConfig) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("--data-dir is empty: name a directory"))
	}
	if c.SpoolMB < 1 {
		errs = append(errs, fmt.Errorf("--spool-mb %d leaves no room: give 1 or more", c.SpoolMB))
	}
	if c.Retention < leastSpanRetention {
		errs = append(errs, fmt.Errorf("--span-retention %s is too short: spans are dropped by the day, so give at least 24h", c.Retention))
	}
	return errors.Join(append(errs, CheckListen(TracingListen, c.Listen), c.Database.validate(), c.Base.validate())...)
}

// Host returns what runs the role alone.
func (c *TracingConfig) Host(func(string) (string, bool)) *Host {
	return &Host{Name: TracingName, Base: c.Base, Listen: c.Listen, Flag: TracingListen, Make: func(_ context.Context, env Env) (Service, error) {
		return NewTracing(TracingDeps{
			Env: env, DatabaseURL: c.DatabaseURL, Node: c.Node, Dir: filepath.Join(c.DataDir, "tracing"), SpoolMB: c.SpoolMB, Retention: c.Retention,
		}), nil
	}}
}

// TracingDeps is what a collector is put together from.
type TracingDeps struct {
	Env
	DatabaseURL string
	// Node names this collector among its like; the host's name when empty.
	Node string
	// Dir holds the spool, of at most SpoolMB MiB.
	Dir       string
	SpoolMB   int
	Retention time.Duration
}

// Tracing takes spans in and answers queries. It starts and takes spans without
// the database.
type Tracing struct {
	background
	deps    TracingDeps
	pool    *pgxpool.Pool
	store   *tracingpg.Store
	spool   *spool.Spool
	handler http.Handler
}

// NewTracing returns a collector that is not open yet.
func NewTracing(deps TracingDeps) *Tracing { return &Tracing{deps: deps} }

// Open puts the collector together. It waits for nobody.
func (t *Tracing) Open(ctx context.Context) error {
	if err := t.assemble(ctx); err != nil {
		return err
	}
	t.begin(ctx)
	return nil
}

// assemble puts the collector together without asking anybody anything.
func (t *Tracing) assemble(ctx context.Context) error {
	d := t.deps
	var err error
	opts := poolOptions(d.Env, TracingName, true)
	opts.MaxConns = 16 // writers, queries and the linker, side by side
	if t.pool, err = pg.Open(ctx, d.DatabaseURL, opts); err != nil {
		return err
	}
	d.Metrics.MustRegister(pg.NewPoolCollector(TracingName, t.pool))
	t.store, err = tracingpg.Open(t.pool, tracingpg.Config{Retention: d.Retention, Log: d.Log, Metrics: d.Metrics})
	if err != nil {
		return err
	}
	if t.spool, err = spool.Open(filepath.Join(d.Dir, "spool"), int64(d.SpoolMB)<<20); err != nil {
		return err
	}
	intake, err := collector.New(collector.Config{Store: t.store, Spool: t.spool, Log: d.Log, Metrics: d.Metrics})
	if err != nil {
		return err
	}
	queries, err := query.New(query.Config{Store: t.store, StoreName: "postgres", Version: d.Version, Log: d.Log})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+collector.Path, intake) // GET lists the names of spans
	mux.Handle("/", queries)
	t.handler = mux
	self := selfOf(d.Env, TracingName, d.Node, intake.Facts)
	t.works = append(t.works, intake.Run, func(ctx context.Context) error { return t.keep(ctx, self) })
	d.Health.Ask("spans", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return intake.Ready(ctx)
	})
	return nil
}

// keep brings the schema up to date as soon as the database answers, and then
// looks after what is stored, and says that this collector lives.
func (t *Tracing) keep(ctx context.Context, self func() node.Node) error {
	const most = 5 * time.Second
	told := false
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, most) {
		err := pg.Migrate(ctx, t.pool, tracingpg.Schema, tracingpg.Migrations(), t.deps.Log)
		if err == nil {
			return work(ctx, t.store.Run, func(ctx context.Context) error { return node.Keep(ctx, t.store, self, t.deps.Log) })
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, pg.ErrNewerSchema) {
			return err
		}
		if !told {
			t.deps.Log.WarnContext(ctx, "the database is away: spans go to the spool until it is back", "error", err)
			told = true
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// Handler implements Service.
func (t *Tracing) Handler() http.Handler { return t.handler }

// Run implements Service.
func (t *Tracing) Run(ctx context.Context) error { return t.watch(ctx) }

// Close implements Service.
func (t *Tracing) Close(ctx context.Context) error {
	var errs []error
	if t.store != nil {
		errs = append(errs, t.store.Shutdown(ctx))
	}
	t.stop()
	if t.spool != nil {
		errs = append(errs, t.spool.Close())
	}
	if t.pool != nil {
		t.pool.Close()
	}
	return errors.Join(errs...)
}
