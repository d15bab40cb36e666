package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/run"
)

// Names of the parts.
const (
	partAdmin      = "admin"
	partPostgres   = "postgres"
	partKubernetes = "kubernetes"
	partRegistry   = "registry"
	partGateway    = "gateway"
	partConsole    = "console"
	partTracing    = "tracing"
	partReach      = "reach" // of the roles by pods
	partShop       = "shop"
)

// Up is one run of `weir up`.
type Up struct {
	Config  Config
	Version string
	// Out takes what the user is to see.
	Out io.Writer
	// Width returns the columns of the terminal that Out is; nil if it is none.
	Width func() int
	// Env looks up environment variables.
	Env func(string) (string, bool)
	// Executable is where weir lies, beside which other programs are looked for.
	Executable string
	// Force, when it ends, cuts an orderly end short.
	Force context.Context //nolint:containedctx // the second, harder end of the same life as Run's context

	target  *cluster.Target // the user's cluster; nil for our own
	board   *board
	log     *slog.Logger
	metrics *prometheus.Registry
	health  run.Health
	began   time.Time
	noShop  string // why the shop is left out
	admin   *run.Server

	hints func() []string

	mu      sync.Mutex
	waiting map[string]bool // parts that are not ready yet
	settled bool            // the hints were given
	ended   bool            // the end has begun
}

// LackError says that the machine or the cluster lacks what a start needs.
type LackError struct{ Err error }

// Error returns the cause's sentence.
func (e *LackError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LackError) Unwrap() error { return e.Err }

// Run starts everything and blocks until ctx ends or a part fails; by then all
// that it started has ended. It returns nil after an orderly end, a *LackError
// when something could not be started, and any other error for what failed
// later.
func (u *Up) Run(ctx context.Context) error {
	u.began = time.Now()
	if err := u.prepare(); err != nil {
		return &LackError{Err: err}
	}
	unlock, err := u.lock()
	if err != nil {
		return &LackError{Err: err}
	}
	defer unlock()
	file, err := run.OpenLog(u.Config.data("log", "weir.log"))
	if err != nil {
		return &LackError{Err: fmt.Errorf("%w; choose another directory with --data-dir", err)}
	}
	defer file.Close()

	group := &run.Group{StopTimeout: u.Config.StopTimeout, Force: u.Force}
	if err := u.assemble(group); err != nil {
		return &LackError{Err: err}
	}
	level := &slog.HandlerOptions{Level: u.Config.LogLevel}
	u.log = slog.New(&tee{Handler: slog.NewTextHandler(file, level), board: u.board})
	group.Observe = u.observe

	drawing, stopDrawing := context.WithCancel(context.Background())
	var draws sync.WaitGroup
	draws.Go(func() { u.board.run(drawing) })
	err = group.Run(ctx)
	stopDrawing()
	draws.Wait()
	return classify(err)
}

// classify tells what was lacking at the start from what failed later.
func classify(err error) error {
	var part *run.PartError
	if errors.As(err, &part) && part.Op == "start" {
		return &LackError{Err: err}
	}
	return err
}

// prepare looks at what was asked for and at the machine, before anything starts.
func (u *Up) prepare() error {
	target, err := cluster.Named(cluster.Query{Kubeconfig: u.Config.Kubeconfig, Context: u.Config.Context, Env: u.Env})
	if err != nil {
		return err
	}
	u.target = target
	if u.own() {
		if u.Config.Node && os.Geteuid() != 0 {
			return errors.New("a Kubernetes node needs root for its namespaces: run `sudo weir up`, name your own cluster with --kubeconfig, or run the API server alone, without pods, with --node=false")
		}
		if _, err := u.devcluster(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(u.Config.data("log"), 0o755); err != nil {
		return fmt.Errorf("the data directory cannot be made: %w; choose another with --data-dir", err)
	}
	return nil
}

// lock keeps a second run out of the data directory.
func (u *Up) lock() (unlock func(), err error) {
	path := u.Config.data("weir.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory cannot be used: %w; choose another with --data-dir", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another weir up runs in %s: end it, or choose another directory with --data-dir", u.Config.DataDir)
	}
	return func() { f.Close() }, nil
}

// assemble puts the parts together.
func (u *Up) assemble(group *run.Group) error {
	u.metrics = prometheus.NewRegistry()
	u.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	db := &database{up: u}
	kubernetes := &kubernetes{up: u}
	late, home := role.NewLate(), role.NewLate()
	registrar := &registrar{up: u, kubernetes: kubernetes, late: late, home: home}
	shop, err := u.findShop()
	if err != nil {
		return err
	}
	roles := make(map[string]*hosted) // by the names of their Services
	roles[role.ControlName] = u.hostConsole(db, late, home)
	roles[role.GatewayName] = u.hostGateway(db, late, roles)
	roles[role.TracingName] = u.hostTracing(db)
	parts := []run.Part{
		db.part(), kubernetes.part(), registrar.part(),
		roles[role.GatewayName].part(), roles[role.ControlName].part(), roles[role.TracingName].part(),
	}
	names := []string{partPostgres, partKubernetes, partRegistry, partGateway, partConsole, partTracing}
	if u.own() && u.Config.Node {
		reach := &reach{up: u, kubernetes: kubernetes, roles: []reached{
			{role.ControlName, role.ControlPort, roles[role.ControlName], []reachedMore{{"dubbo-config", role.DubboConfigPort, true, role.DubboConfig}}},
			{role.GatewayName, role.GatewayPort, roles[role.GatewayName], nil},
			{role.TracingName, role.TracingPort, roles[role.TracingName], nil},
		}}
		parts = append(parts, reach.part())
		if shop != nil {
			shop.needs = append(shop.needs, partReach)
		}
	}
	if shop != nil {
		shop.kubernetes, shop.registrar, shop.console = kubernetes, registrar, roles[role.ControlName]
		kubernetes.images = shop.images()
		parts = append(parts, shop.part())
		names = append(names, partShop)
	}
	if u.Config.AdminListen != "" {
		u.admin = run.NewServer(run.ServerConfig{
			Address: u.Config.AdminListen, Flag: "--admin-listen", Handler: run.AdminHandler(&u.health, u.metrics),
		})
		group.Add(run.Part{Name: partAdmin, Start: u.admin.Start, Watch: u.admin.Watch, Stop: u.admin.Stop})
	}
	u.board = newBoard(u.Out, u.Width, names...)
	u.waiting = make(map[string]bool)
	for _, p := range parts {
		u.waiting[p.Name] = true
		if u.admin != nil {
			// It tells of the others' beginning and end.
			p.Needs = append(p.Needs, partAdmin)
		}
		group.Add(p)
	}
	u.hints = func() []string { return u.hintsFor(kubernetes, shop, roles) }
	return nil
}

// set shows a part's state, until the end has begun: what happens then is
// shown by observe.
func (u *Up) set(name, state, detail string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ended {
		u.board.set(name, state, detail)
	}
}

// ready shows that a part is, and once all are, tells what can be done now.
func (u *Up) ready(name, detail string) {
	u.set(name, "ready", detail)
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.waiting, name)
	if len(u.waiting) > 0 || u.settled || u.ended {
		return
	}
	u.settled = true
	u.board.settle()
	u.board.say(strings.Join(u.hints(), "\n"))
}

// hintsFor is what is said once all is ready.
func (u *Up) hintsFor(k *kubernetes, shop *shop, roles map[string]*hosted) []string {
	lines := []string{"", fmt.Sprintf("Ready after %.0f s. Ctrl-C ends it; the data stay in %s.", time.Since(u.began).Seconds(), u.Config.DataDir)}
	if u.admin != nil {
		lines = append(lines, fmt.Sprintf("Health and metrics: http://%s/readyz, /metrics. Logs: %s", u.admin.Addr(), u.Config.data("log")))
	}
	if u.noShop != "" {
		lines = append(lines, "The example shop was left out: "+u.noShop)
	}
	if env, ok := u.Env("KUBECONFIG"); ok && env != "" && u.own() {
		lines = append(lines, "$KUBECONFIG is set, but not used by weir up: name your cluster with --kubeconfig.")
	}
	weir := u.short(u.Executable)
	flag := ""
	if u.Config.DataDir != DefaultDataDir {
		flag = " --data-dir " + u.Config.DataDir
	}
	ask := flag // of commands that ask the control plane
	if console := roles[role.ControlName].url(); console != client.DefaultServer {
		ask += " --server " + console
	}
	if !u.own() {
		flag = " --kubeconfig " + u.Config.Kubeconfig
		if u.Config.Kubeconfig == "" {
			flag = ""
		}
	}
	lines = append(lines, "", fmt.Sprintf("Try:  %s registry list%s", weir, flag))
	if shop != nil {
		lines = append(lines,
			fmt.Sprintf("      curl %s/shop/cart/42", roles[role.GatewayName].url()),
			fmt.Sprintf("      %s switch pull shop/inventory/InventoryService.reserve --reason demo --for 2m%s", weir, ask),
			fmt.Sprintf("      %s registry watch shop/inventory%s", weir, flag))
		if u.own() {
			kubectl := "kubectl"
			if _, err := exec.LookPath(kubectl); err != nil {
				if program, err := u.devcluster(); err == nil {
					kubectl = u.short(program) + " kubectl" // which has one built in
				}
			}
			lines = append(lines, fmt.Sprintf("      %s --kubeconfig %s -n shop scale deployment inventory --replicas 3", kubectl, k.kubeconfig()))
		}
	}
	return append(lines, "")
}

// observe shows the group's events.
func (u *Up) observe(e run.Event) {
	switch e.State {
	case run.Starting:
		u.board.set(e.Part, "starting", "")
	case run.Failed:
		u.board.set(e.Part, "failed", firstLine(e.Err.Error()))
	case run.Stopping:
		u.ending()
	case run.Stopped:
		if e.Err != nil {
			u.board.say(fmt.Sprintf("  %s  %s", e.Part, firstLine(e.Err.Error())))
		} else if e.Took >= time.Second {
			u.board.say(fmt.Sprintf("  %s ended in %.1f s", e.Part, e.Took.Seconds()))
		}
	case run.Waiting, run.Ready, run.Done:
	}
	attrs := []any{"part", e.Part, "state", string(e.State), "took", e.Took}
	if e.Err != nil {
		attrs = append(attrs, "error", e.Err)
	}
	u.log.Info("part changed", attrs...)
}

// ending says once that everything is being ended.
func (u *Up) ending() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	u.ended = true
	u.board.end()
	u.board.say("ending; a second Ctrl-C forces it")
}

// short is a path as a user in the working directory would write it.
func (u *Up) short(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return rel
}

// followEvery is how often the state of what runs is looked at.
const followEvery = 2 * time.Second

// follow calls look at once and then again and again, until ctx ends.
func follow(ctx context.Context, look func(context.Context)) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		look(ctx)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// tee shows warnings to the user besides logging them.
type tee struct {
	slog.Handler
	board *board
}

func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		var b strings.Builder
		fmt.Fprintf(&b, "  %s: %s", strings.ToLower(r.Level.String()), r.Message)
		r.Attrs(func(a slog.Attr) bool {
			fmt.Fprintf(&b, " %s=%s", a.Key, firstLine(a.Value.String()))
			return true
		})
		t.board.say(b.String())
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tee{Handler: t.Handler.WithAttrs(attrs), board: t.board}
}

// WithGroup implements slog.Handler.
func (t *tee) WithGroup(name string) slog.Handler {
	return &tee{Handler: t.Handler.WithGroup(name), board: t.board}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
