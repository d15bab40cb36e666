package zookeeper

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

// BridgeConfig says what a Bridge writes, and where.
type BridgeConfig struct {
	ZooKeeper Config
	// Name tells the bridges of several clusters apart, which may write into one
	// ZooKeeper: bridges of one name are replicas of one another. Required.
	Name string
	// Apps are the applications to write, "namespace/name" or "namespace/*".
	// Required.
	Apps []string
	// Protocols are those to write; "dubbo" if empty, the only one that consumers
	// older than Dubbo 3 speak.
	Protocols []string
	// Node names this process in ZooKeeper, for people.
	Node string
	// Ask has an instance tell what it offers, a metadata document, where no document
	// of its revision is stored, as of Dubbo Java with local metadata. Such instances
	// are not written if it is nil.
	Ask func(ctx context.Context, app registry.App, i *registry.Instance) ([]byte, error)
	// Resync is how often all is compared though nothing is known to have changed;
	// 10 s if 0.
	Resync  time.Duration
	Logger  *slog.Logger          // slog.Default() if nil
	Metrics prometheus.Registerer // nowhere if nil
}

const (
	defaultResync = 10 * time.Second
	// lookForApps is how often new applications are looked for.
	lookForApps = 2 * time.Second
	// settle gathers changes that come together.
	settle = 50 * time.Millisecond
	// retry is between attempts that failed.
	retry = time.Second
	// readPatience bounds the wait for a document.
	readPatience = 5 * time.Second
	// askPatience bounds the wait for an instance's own word, and maxAsked how many of
	// a revision are asked, one after another.
	askPatience = 3 * time.Second
	maxAsked    = 3
	// lastRelearn bounds what is between two attempts to have a document, which begin
	// with lookForApps.
	lastRelearn = 30 * time.Second
	// relearners is for how many applications that is done at a time.
	relearners = 8
)

// Validate reports, as an Error with code Invalid, what cannot work.
func (c BridgeConfig) Validate() error {
	if err := c.ZooKeeper.Validate(); err != nil {
		return err
	}
	if c.Name == "" || strings.ContainsAny(c.Name, "/&=?%") {
		return &registry.Error{Code: registry.Invalid, Message: fmt.Sprintf("%q is no name of a bridge", c.Name), Fix: "take letters, digits and '-', another for each cluster"}
	}
	if len(c.Apps) == 0 {
		return &registry.Error{Code: registry.Invalid, Message: "no application is named to write into ZooKeeper", Fix: "name some, such as shop/inventory or shop/*"}
	}
	for _, app := range c.Apps {
		namespace, name, ok := strings.Cut(app, "/")
		if name == "*" {
			name = "any"
		}
		if err := (registry.App{Namespace: namespace, Name: name}).Validate(); !ok || err != nil {
			return &registry.Error{Code: registry.Invalid, Message: fmt.Sprintf("%q names no applications", app), Err: err, Fix: "write shop/inventory, or shop/* for all of a namespace"}
		}
	}
	return nil
}

// selects reports whether an application is to be written.
func (c BridgeConfig) selects(app registry.App) bool {
	return slices.Contains(c.Apps, app.String()) || slices.Contains(c.Apps, app.Namespace+"/*")
}

// Bridge writes what Kubernetes knows of applications into ZooKeeper, for consumers
// that can look there only. Any number of bridges of one name may run: one of them
// writes, and another goes on where it ended.
//
// Nodes are not tied to the session of the one that wrote them. They outlive it, so
// that its end, or the loss of its session, takes nothing from consumers; and they
// are removed on proof only: an instance that is gone or asks for no more calls. See
// docs/adr/028-zookeeper-bridge.md.
type Bridge struct {
	cfg     BridgeConfig
	from    registry.Discoverer
	store   registry.MetadataStore
	log     *slog.Logger
	metrics *bridgeMetrics
	dirty   chan struct{} // capacity 1: something may have changed

	mu        sync.Mutex
	followed  map[registry.App]*followed
	written   map[registry.App]bool // applications that ZooKeeper has nodes of
	documents map[documentKey]*offers
	refused   map[registry.App]string // applications that cannot be followed, and why
	status    BridgeStatus
}

// BridgeStatus is how a bridge does.
type BridgeStatus struct {
	Servers string `json:"servers"`
	// Writes is set in the one of its replicas that writes.
	Writes bool `json:"writes"`
	Apps   int  `json:"apps"`  // that it follows
	Nodes  int  `json:"nodes"` // of its own in ZooKeeper, as it saw them last
	// Unknown are applications of which instances are called by Kubernetes, and not
	// written, since nobody says what they offer; in the replica that writes.
	Unknown []Unknown `json:"unknown,omitempty"`
	// Failing are interfaces whose providers cannot be read or written, of those that
	// are to be written, or were; in the replica that writes.
	Failing []Failing `json:"failing,omitempty"`
	// Problem is what keeps it from its work; empty when nothing does.
	Problem string    `json:"problem,omitempty"`
	Since   time.Time `json:"since,omitzero"` // of the problem
}

// Unknown is an application of which not all that can be called is written.
type Unknown struct {
	App       registry.App `json:"app"`
	Instances int          `json:"instances"` // that are not written
	Why       string       `json:"why"`
}

// Failing is an interface that ZooKeeper does not let the bridge keep.
type Failing struct {
	Interface string    `json:"interface"`
	Why       string    `json:"why"`
	Since     time.Time `json:"since"`
}

type documentKey struct {
	app      registry.App
	revision string
}

// followed is an application that is written.
type followed struct {
	stop  func()
	known bool // a snapshot was had

	learning sync.Mutex // one snapshot at a time, so that an older one forgets nothing newer
}

// NewBridge returns a bridge that does not run yet.
func NewBridge(from registry.Discoverer, store registry.MetadataStore, cfg BridgeConfig) (*Bridge, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(cfg.Protocols) == 0 {
		cfg.Protocols = []string{"dubbo"}
	}
	if cfg.Resync == 0 {
		cfg.Resync = defaultResync
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	zk, err := cfg.ZooKeeper.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg.ZooKeeper = zk
	b := &Bridge{
		cfg: cfg, from: from, store: store, log: cfg.Logger.With(slog.String("bridge", cfg.Name)), dirty: make(chan struct{}, 1),
		followed: map[registry.App]*followed{}, written: map[registry.App]bool{}, documents: map[documentKey]*offers{}, refused: map[registry.App]string{}, status: BridgeStatus{Servers: zk.Servers},
	}
	b.metrics, err = newBridgeMetrics(cfg.Metrics, unknownCollector{b}, failingCollector{b})
	return b, err
}

// Status returns how the bridge does now.
func (b *Bridge) Status() BridgeStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.status
	s.Apps = len(b.followed)
	return s
}

// Run writes until ctx ends. What it wrote stays. ZooKeeper or the cluster being away
// is told by Status and in the log, and is no end.
func (b *Bridge) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { b.follow(ctx) })
	work.Go(func() {
		for pause.For(ctx, lookForApps) {
			b.relearn(ctx)
		}
	})
	for {
		err := b.session(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.fails(err)
		if !pause.For(ctx, retry) {
			return context.Cause(ctx)
		}
	}
}

// wake has the bridge look again.
func (b *Bridge) wake() {
	select {
	case b.dirty <- struct{}{}:
	default:
	}
}

// fails tells of a problem, once for as long as it is the same.
func (b *Bridge) fails(err error) {
	b.metrics.failures.Inc()
	text := registry.Text(err)
	b.mu.Lock()
	same := b.status.Problem == text
	if b.status.Problem == "" {
		b.status.Since = time.Now()
	}
	b.status.Problem, b.status.Writes = text, false
	b.mu.Unlock()
	b.metrics.leads.Set(0)
	if !same {
		b.log.Warn("applications cannot be written into ZooKeeper; what is there stays, trying again", slog.Any("error", err))
	}
}

// works tells that nothing is in the way.
func (b *Bridge) works() {
	b.mu.Lock()
	mended := b.status.Problem != ""
	b.status.Problem, b.status.Since = "", time.Time{}
	b.mu.Unlock()
	if mended {
		b.log.Info("applications are written into ZooKeeper again")
	}
}

// waits tells that another replica writes, which knows what there is.
func (b *Bridge) waits() {
	b.works()
	b.fallsShort(nil)
	b.mu.Lock()
	b.status.Writes, b.status.Nodes, b.status.Unknown = false, 0, nil
	clear(b.written) // whoever writes knows
	b.mu.Unlock()
	b.metrics.leads.Set(0)
	b.metrics.nodes.Set(0)
}

// wrote tells what is written, and of which applications.
func (b *Bridge) wrote(nodes int, apps map[registry.App]bool, unknown []Unknown) {
	b.works()
	b.mu.Lock()
	b.written = apps
	b.status.Writes, b.status.Nodes, b.status.Unknown = true, nodes, unknown
	b.mu.Unlock()
	b.metrics.leads.Set(1)
	b.metrics.nodes.Set(float64(nodes))
}

// fallsShort tells which interfaces cannot be written.
func (b *Bridge) fallsShort(failing []Failing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Failing = failing
}

// follow keeps a subscription for each application that is to be written.
func (b *Bridge) follow(ctx context.Context) {
	var ending sync.WaitGroup // a document that is asked for just then holds up nobody else
	defer ending.Wait()
	defer func() {
		b.mu.Lock()
		all := b.followed
		b.followed = map[registry.App]*followed{}
		b.mu.Unlock()
		for _, f := range all {
			f.stop()
		}
	}()
	for {
		wanted := b.wanted(ctx)
		for app := range wanted {
			b.followApp(ctx, app)
		}
		for _, f := range b.unfollow(ctx, wanted) {
			ending.Go(f.stop)
		}
		if !pause.For(ctx, lookForApps) {
			return
		}
	}
}

// unfollow lets go of applications that are gone, and returns what is to be ended of
// them: they are in no list, ZooKeeper has no nodes of them, and the registry, which is
// in touch, knows neither a Service nor an instance of them.
func (b *Bridge) unfollow(ctx context.Context, wanted map[registry.App]bool) (ended []*followed) {
	b.mu.Lock()
	all := maps.Clone(b.followed)
	b.mu.Unlock()
	for app, f := range all {
		if wanted[app] {
			continue
		}
		if s, known := b.snapshot(ctx, app); !known || s.Known() || !s.StaleSince.IsZero() {
			continue
		}
		b.mu.Lock()
		if !b.written[app] { // it may have been, meanwhile
			delete(b.followed, app)
			for key := range b.documents {
				if key.app == app {
					delete(b.documents, key)
				}
			}
			ended = append(ended, f)
		}
		b.mu.Unlock()
	}
	return ended
}

// found notes that ZooKeeper has nodes of an application.
func (b *Bridge) found(app registry.App) {
	if app.Validate() != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.written[app] = true
}

// wanted returns the applications to follow. Those that are named are, there or not,
// and those that ZooKeeper has nodes of: that one is not there has to be known before
// its nodes go, and one that was deleted is in no list.
func (b *Bridge) wanted(ctx context.Context) map[registry.App]bool {
	out := map[registry.App]bool{}
	for _, pattern := range b.cfg.Apps {
		namespace, name, _ := strings.Cut(pattern, "/")
		if name != "*" {
			out[registry.App{Namespace: namespace, Name: name}] = true
			continue
		}
		look, cancel := context.WithTimeout(ctx, lookForApps)
		apps, err := b.from.Apps(look, namespace)
		cancel()
		if err != nil {
			b.log.Debug("the applications of a namespace are not known", slog.String("namespace", namespace), slog.Any("error", err))
			continue
		}
		for _, app := range apps {
			out[app] = true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.refused, func(app registry.App, _ string) bool { return !out[app] })
	for app := range b.written {
		if b.cfg.selects(app) {
			out[app] = true
		}
	}
	return out
}

func (b *Bridge) followApp(ctx context.Context, app registry.App) {
	b.mu.Lock()
	if b.followed[app] != nil {
		b.mu.Unlock()
		return
	}
	f := &followed{stop: func() {}}
	b.followed[app] = f
	b.mu.Unlock()
	stop, err := b.from.Subscribe(app, func(s registry.Snapshot) {
		b.mu.Lock()
		f.known = true
		b.mu.Unlock()
		b.wake() // what is known already, and who is gone, does not wait for a document
		f.learning.Lock()
		defer f.learning.Unlock()
		b.learn(ctx, s)
		b.wake()
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		delete(b.followed, app)
		if text := registry.Text(err); b.refused[app] != text {
			b.refused[app] = text
			b.log.Warn("an application cannot be followed", slog.String("app", app.String()), slog.Any("error", err))
		}
		return
	}
	delete(b.refused, app)
	f.stop = stop
}

// learn reads the documents of revisions that are new.
func (b *Bridge) learn(ctx context.Context, s registry.Snapshot) {
	current := map[string][]*registry.Instance{}
	for i := range s.Instances {
		if in := &s.Instances[i]; in.Callable() && in.Revision != "" && b.speaks(in) {
			current[in.Revision] = append(current[in.Revision], in)
		}
	}
	for revision, instances := range current {
		b.read(ctx, documentKey{s.App, revision}, instances)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for key := range b.documents {
		if key.app == s.App && current[key.revision] == nil && s.StaleSince.IsZero() {
			delete(b.documents, key)
		}
	}
}

// relearn reads again what could not be read before.
func (b *Bridge) relearn(ctx context.Context) {
	b.mu.Lock()
	all := maps.Clone(b.followed)
	b.mu.Unlock()
	var work errgroup.Group
	work.SetLimit(relearners)
	for app, f := range all {
		work.Go(func() error {
			f.learning.Lock()
			defer f.learning.Unlock()
			if s, known := b.snapshot(ctx, app); known && b.lacks(s) {
				b.learn(ctx, s)
				b.wake()
			}
			return nil
		})
	}
	_ = work.Wait()
}

// lacks reports whether a document of what can be called is not here.
func (b *Bridge) lacks(s registry.Snapshot) bool {
	for i := range s.Instances {
		if in := &s.Instances[i]; in.Callable() && in.Revision != "" && b.speaks(in) && !b.document(s.App, in).known() {
			return true
		}
	}
	return false
}

// speaks reports whether an instance serves a protocol that is written. Of one that
// does not, as those in Java that serve Triple alone, there is nothing to write
// whatever it offers. Of one that names no endpoints its document says.
func (b *Bridge) speaks(i *registry.Instance) bool {
	return len(i.Endpoints) == 0 && i.Registered() || slices.ContainsFunc(i.Endpoints, func(e registry.Endpoint) bool { return slices.Contains(b.cfg.Protocols, e.Protocol) })
}

// document returns what an instance offers, nil if that was not asked for yet.
func (b *Bridge) document(app registry.App, i *registry.Instance) *offers {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.documents[documentKey{app, i.Revision}]
}

// snapshot returns the newest snapshot of an application of which there is one.
func (b *Bridge) snapshot(ctx context.Context, app registry.App) (registry.Snapshot, bool) {
	b.mu.Lock()
	f := b.followed[app]
	known := f != nil && f.known
	b.mu.Unlock()
	if !known {
		return registry.Snapshot{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, retry)
	defer cancel()
	s, err := b.from.Snapshot(ctx, app)
	return s, err == nil
}

// read reads a document that is not here yet, and tells once why it cannot be had.
// instances are those of its revision that can be called.
func (b *Bridge) read(ctx context.Context, key documentKey, instances []*registry.Instance) {
	b.mu.Lock()
	o := b.documents[key]
	if o == nil {
		o = &offers{}
		b.documents[key] = o
	}
	b.mu.Unlock()
	if o.known() || !o.due(time.Now()) {
		return
	}
	err := b.find(ctx, key, instances, o)
	if err != nil && ctx.Err() == nil && o.complain(err) {
		b.log.Warn("an application's instances are not written into ZooKeeper: what they offer is not known",
			slog.String("app", key.app.String()), slog.String("revision", key.revision), slog.Any("error", err))
	}
}

// find looks for a document where it is stored, and asks instances where it is not.
func (b *Bridge) find(ctx context.Context, key documentKey, instances []*registry.Instance, o *offers) error {
	look, cancel := context.WithTimeout(ctx, readPatience)
	raw, err := b.store.Metadata(look, key.app, key.revision)
	cancel()
	if err == nil {
		return o.decode(raw)
	}
	if registry.CodeOf(err) != registry.NotFound || b.cfg.Ask == nil {
		return err
	}
	for n, i := range instances {
		if n == maxAsked || ctx.Err() != nil {
			break
		}
		ask, cancel := context.WithTimeout(ctx, askPatience)
		raw, asked := b.cfg.Ask(ask, key.app, i)
		cancel()
		if asked == nil {
			if asked = o.decode(raw); asked == nil {
				return nil
			}
		}
		err = fmt.Errorf("no document of its revision is stored, and %s, asked itself, does not tell: %w", i.Name, asked)
	}
	return err
}
