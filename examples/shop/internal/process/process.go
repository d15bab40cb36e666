// Package process is what the shop's programs have in common: settings, a log,
// an admin port, signals, and an orderly end.
package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/httpmw"

	"shop.example/internal/admin"
	"shop.example/internal/knob"
	"shop.example/internal/rpc"
	"shop.example/internal/setting"
	"shop.example/internal/tally"
	"shop.example/internal/web"
)

// Process is one running program of the shop.
type Process struct {
	App      string
	Instance string
	Registry string // rpc.Kubernetes or rpc.Direct
	Log      *slog.Logger
	Metrics  *prometheus.Registry
	Observer *rpc.Observer
	// Kit is the process's part in the mesh: its circuits, policies and spans.
	Kit *sdk.Kit
	// Knobs make the process slow or faulty on request; nil for a program
	// without any. It is set before the process turns ready.
	Knobs *knob.Board
	// Made counts the calls this process makes, repeats of a call not apart.
	Made *tally.Calls
	// Drain and Finish bound the two halves of leaving: calls still taken, and
	// calls under way.
	Drain, Finish time.Duration
	LogLevelDubbo slog.Level

	started time.Time
	leaving atomic.Bool
	ready   atomic.Pointer[func(context.Context) error]
	extra   atomic.Pointer[func() map[string]any]
}

// Main runs a program until it ends or is told to, and exits. define adds the
// program's own flags and returns what it does with them; that must return once
// its context ends.
func Main(app, summary string, define func(*flag.FlagSet) func(context.Context, *Process) error) {
	os.Exit(run(app, summary, define, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

func run(app, summary string, define func(*flag.FlagSet) func(context.Context, *Process) error,
	args []string, lookup func(string) (string, bool), stdout, stderr io.Writer,
) int {
	p := &Process{App: app, started: time.Now()}
	fs := flag.NewFlagSet(app, flag.ContinueOnError)
	adminAddress := fs.String("admin-address", ":8081", "`host:port` of /livez, /readyz, /metrics and /stats")
	instance := fs.String("instance", defaultInstance(lookup), "`name` of this instance in answers and counts")
	fs.StringVar(&p.Registry, "registry", rpc.Kubernetes, "how to find others: `"+rpc.Kubernetes+"`, or "+rpc.Direct+" with addresses given by flags")
	fs.DurationVar(&p.Drain, "drain", 5*time.Second, "`how long` to take calls after being told to end, so that callers move on first")
	fs.DurationVar(&p.Finish, "finish", 10*time.Second, "`how long` calls under way may take after that")
	var level, dubboLevel slog.Level
	fs.TextVar(&level, "log-level", slog.LevelInfo, "`level` of messages: DEBUG, INFO, WARN or ERROR")
	fs.TextVar(&dubboLevel, "log-level-dubbo", slog.LevelWarn, "`level` of dubbo-go's own messages")
	work := define(fs)

	if err := setting.Parse(fs, args, lookup, stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(stdout, "\n%s\nFlags come before the environment variables in brackets, those before defaults.\n", summary)
			return 0
		}
		fmt.Fprintf(stderr, "%s: %v\n", app, err)
		return 2
	}
	p.Instance = *instance
	p.LogLevelDubbo = dubboLevel
	p.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})).With("instance", p.Instance)
	p.Metrics = prometheus.NewRegistry()
	p.Metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics := tally.NewMetrics(p.Metrics)
	p.Made = tally.NewCalls(time.Now, metrics.Observe(tally.Made))
	p.Observer = &rpc.Observer{
		Served:    tally.NewCalls(time.Now, metrics.Observe(tally.Served)),
		Attempts:  tally.NewCalls(time.Now, metrics.Observe(tally.Attempt)),
		Providers: tally.NewProviders(time.Now),
		Metrics:   metrics,
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := p.live(ctx, *adminAddress, work); err != nil {
		p.Log.Error("ended", "error", err)
		return 1
	}
	p.Log.Info("ended in order")
	return 0
}

// live serves the admin port around the program's work: it is up before and
// down after it, so that the end can be watched.
func (p *Process) live(ctx context.Context, adminAddress string, work func(context.Context, *Process) error) error {
	srv, err := admin.Start(admin.Config{
		Address: adminAddress, Log: p.Log, Metrics: p.Metrics, Ready: p.readiness, Stats: p.stats, Knobs: http.HandlerFunc(p.turn),
	})
	if err != nil {
		return err
	}
	p.Log.Info("started", "admin", srv.Addr().String(), "registry", p.Registry)
	kit, err := sdk.Start(ctx, sdk.Config{App: p.App, Logger: p.Log.With("part", "weir")})
	if err != nil {
		return errors.Join(err, srv.Close(ctx))
	}
	p.Kit = kit
	unhook := context.AfterFunc(ctx, func() {
		p.leaving.Store(true)
		p.Log.Info("told to end: not ready any more, leaving in order")
	})
	err = work(ctx, p)
	unhook() // the program may have ended by itself
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil // told to end before it had begun
	}
	closing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if cerr := kit.Close(closing); cerr != nil {
		p.Log.Warn("the last counts and spans may not have been told", "error", cerr)
	}
	if cerr := srv.Close(closing); cerr != nil {
		p.Log.Warn("admin port did not close in time", "error", cerr)
	}
	return err
}

// RPC returns what every program of the shop gives rpc.New; servers add what
// they serve.
func (p *Process) RPC() rpc.Config {
	return rpc.Config{
		App: p.App, Registry: p.Registry, Log: p.Log, LogLevel: p.LogLevelDubbo,
		Observer: p.Observer, Metrics: p.Metrics, Kit: p.Kit, Drain: p.Drain, Finish: p.Finish,
	}
}

// ServeHTTP serves an HTTP program until ctx ends and all requests are answered.
func (p *Process) ServeHTTP(ctx context.Context, listen string, mux *http.ServeMux) error {
	s := &web.Server{Listen: listen, Handler: httpmw.Server(p.Kit)(mux), Log: p.Log, Drain: p.Drain, Finish: p.Finish}
	return s.Serve(ctx, func() { p.ReadyWhen(func(context.Context) error { return nil }) })
}

// turn serves the process's knobs, once it has some.
func (p *Process) turn(w http.ResponseWriter, r *http.Request) {
	if p.Knobs == nil || p.ready.Load() == nil {
		http.Error(w, p.App+" has no knobs, or is starting", http.StatusNotFound)
		return
	}
	p.Knobs.Handler().ServeHTTP(w, r)
}

// ReadyWhen gives the check behind /readyz; before it is given the process is
// not ready, and after being told to end it is not ready any more.
func (p *Process) ReadyWhen(check func(context.Context) error) { p.ready.Store(&check) }

func (p *Process) readiness(ctx context.Context) error {
	if p.leaving.Load() {
		return errors.New("leaving")
	}
	check := p.ready.Load()
	if check == nil {
		return errors.New("starting")
	}
	return (*check)(ctx)
}

// Show adds a program's own numbers to /stats.
func (p *Process) Show(extra func() map[string]any) { p.extra.Store(&extra) }

func (p *Process) stats() any {
	now := time.Now()
	s := map[string]any{
		"app":           p.App,
		"instance":      p.Instance,
		"started":       p.started,
		"now":           now,
		"uptimeSeconds": now.Sub(p.started).Seconds(),
		"leaving":       p.leaving.Load(),
		"registry":      p.Registry,
		"served":        p.Observer.Served.Stats(),
		"made":          p.Made.Stats(),
		"attempts":      p.Observer.Attempts.Stats(),
		"providers":     p.Observer.Providers.Lists(),
	}
	if extra := p.extra.Load(); extra != nil {
		maps.Copy(s, (*extra)())
	}
	return s
}

// defaultInstance is the pod's name, or the host's.
func defaultInstance(lookup func(string) (string, bool)) string {
	if name, ok := lookup("POD_NAME"); ok && name != "" {
		return name
	}
	if host, err := os.Hostname(); err == nil {
		return host
	}
	return "unnamed"
}
