// Package api is the governance half of the control plane: the stream by which
// instances learn their policies, the reports by which they tell what they
// enforce and what happened, and the HTTP API of policies, switches, history and
// events.
//
// The way of a policy: policies.go writes it, the hub (hub.go) hears of it by the
// store's Watch, computes what each group of equal instances has to enforce and
// wakes their streams (stream.go); their acknowledgements arrive with reports
// (report.go), are kept in the store for all control planes (fleet.go), and are
// held against what is wanted (confirm.go).
//
// Wiring:
//
//	control := api.New(api.Config{Store: store, Log: log, Metrics: registerer, Known: known})
//	control.Register(httpAPI)     // once, before it serves
//	go control.Run(ctx)           // until the process stops; store.Run beside it
//	control.Shutdown(ctx)         // before the server stops: ends the streams in their own time
//
// A handler also ends its stream when its run.Server drains, so that Shutdown
// may be left out; the streams then go within Config.DrainOver all the same.
package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/pause"
)

// Config are the settings of an API. Zero values, but for Store, are sane.
type Config struct {
	// Store keeps policies, instances and history; required.
	Store governance.Store
	// Known reports whether an application exists though no instance of it holds a
	// stream, such as by the registry; nil knows none.
	Known func(ctx context.Context, app governance.App) (bool, error)
	// Routes returns a number that is another one when routes have changed, so that
	// those who watch are told; nil tells them nothing.
	Routes func(ctx context.Context) (int64, error)
	// Version is that of weir, which those who watch are told.
	Version string
	Log     *slog.Logger
	// Metrics gets the collectors of this package; nil for none.
	Metrics prometheus.Registerer
	// Now tells the time. Default time.Now.
	Now func() time.Time

	// MaxStreams bounds streams, 20,000 when zero; more are told to come again.
	MaxStreams int
	// Coalesce is how long changes that follow another are gathered, 50 ms when
	// zero. The first one, and switches, go at once.
	Coalesce time.Duration
	// Heartbeat is about how often a silent stream is heard from, at most
	// governance.HeartbeatInterval, which stands for zero.
	Heartbeat time.Duration
	// MaxAge is about how long a stream lives before it is ended, so that streams
	// spread over control planes that were added; 30 min when zero.
	MaxAge time.Duration
	// DrainOver is the time over which streams end when the server stops, 5 s when
	// zero.
	DrainOver time.Duration
	// WriteTimeout bounds one write to one stream, 10 s when zero.
	WriteTimeout time.Duration
	// MaxReports bounds reports under way, 256 when zero; more are told to come
	// again.
	MaxReports int
	// MaxWatchers bounds live streams of people, 500 when zero; more are told to come
	// again.
	MaxWatchers int
	// LiveTick is how often events are read while somebody watches, 500 ms when zero;
	// samples go with every second tick, health with every fourth.
	LiveTick time.Duration
	// AskAgain is how often it is asked whether who watches still may, 30 s when zero.
	AskAgain time.Duration
}

func (c Config) withDefaults() Config {
	c.MaxStreams = cmp.Or(c.MaxStreams, 20_000)
	c.Coalesce = cmp.Or(c.Coalesce, 50*time.Millisecond)
	c.Heartbeat = min(cmp.Or(c.Heartbeat, governance.HeartbeatInterval), governance.HeartbeatInterval)
	c.MaxAge = cmp.Or(c.MaxAge, 30*time.Minute)
	c.DrainOver = cmp.Or(c.DrainOver, 5*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 10*time.Second)
	c.MaxReports = cmp.Or(c.MaxReports, 256)
	c.MaxWatchers = cmp.Or(c.MaxWatchers, 500)
	c.AskAgain = cmp.Or(c.AskAgain, 30*time.Second)
	c.LiveTick = cmp.Or(c.LiveTick, 500*time.Millisecond)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// API serves instances and operators. It is safe for concurrent use.
type API struct {
	cfg     Config
	log     *slog.Logger
	store   governance.Store
	hub     *hub
	fleet   *fleet
	live    *live
	metrics *metrics
	http    *httpapi.API // whose problems are answered; set by Register

	reports  *places // of reports under way
	draining chan struct{}
	drain    func()
}

// New returns an API. It does no I/O.
func New(c Config) *API {
	c = c.withDefaults()
	a := &API{cfg: c, log: c.Log, store: c.Store, reports: newPlaces(c.MaxReports), draining: make(chan struct{})}
	a.drain = sync.OnceFunc(func() { close(a.draining) })
	a.metrics = newMetrics()
	a.hub = newHub(c, a.metrics)
	a.fleet = newFleet(c, a.hub, a.metrics)
	a.live = newLive(a)
	if c.Metrics != nil {
		a.metrics.register(c.Metrics, a)
	}
	return a
}

// Register adds everything to an HTTP API. It is called once.
func (a *API) Register(h *httpapi.API) {
	a.http = h
	a.registerInstances(h)
	a.registerPolicies(h)
	a.registerSwitches(h)
	a.registerHistory(h)
	a.registerHealth(h)
	a.registerLive(h)
}

// Ready reports, for a readiness check, whether the policies have been read.
func (a *API) Ready() error {
	if !a.hub.loaded() {
		return errors.New("the policies have not been read yet")
	}
	return nil
}

// Run follows the store until ctx ends: it reads policies as they change, says
// which instances hold streams here, ends instances that are gone, notes
// confirmations and puts expired policies away. A store that is away is tried
// again.
func (a *API) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { a.again(ctx, "follow policies", a.hub.run) })
	wg.Go(func() { a.again(ctx, "follow instances", a.fleet.watch) })
	wg.Go(func() { a.fleet.flushAll(ctx) })
	wg.Go(func() { a.fleet.confirmAll(ctx) })
	wg.Go(func() { a.putAway(ctx) })
	wg.Go(func() { a.live.run(ctx) })
	wg.Wait()
	return nil
}

// again runs f for as long as ctx lives.
func (a *API) again(ctx context.Context, what string, f func(context.Context) error) {
	for ctx.Err() == nil {
		err := f(ctx)
		if ctx.Err() != nil {
			return
		}
		a.log.WarnContext(ctx, "trying again", "task", what, "error", err)
		pause.For(ctx, jitter(time.Second))
	}
}

// Shutdown ends all streams, those of instances spread over DrainOver, and returns
// when the last has ended, or with the cause of ctx.
func (a *API) Shutdown(ctx context.Context) error {
	a.drain()
	return errors.Join(a.live.wait(ctx), a.hub.wait(ctx))
}

// putAwayAfter is how long after its expiry a policy is deleted. Until then, that
// what instances have to enforce is told by the version alone: an expiry changes
// no set.
const putAwayAfter = 10 * time.Minute

func (a *API) putAway(ctx context.Context) {
	for pause.For(ctx, jitter(time.Minute)) {
		a.putAwayExpired(ctx)
	}
}

func (a *API) putAwayExpired(ctx context.Context) {
	for _, v := range a.hub.expired(a.cfg.Now().Add(-putAwayAfter)) {
		_, err := a.store.Delete(ctx, v.Policy.Key(), v.Version, governance.Change{
			Actor: "weir", Reason: "it expired at " + v.Policy.Expires.UTC().Format(time.RFC3339),
		})
		switch governance.CodeOf(err) {
		case "", governance.Conflict, governance.NotFound: // another control plane, or a person, was first
		default:
			a.log.WarnContext(ctx, "an expired policy was not put away", "policy", v.Policy.Key().String(), "error", err)
		}
	}
}
