package kube

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/internal/feed"
	"github.com/weirmesh/weir/registry"
)

// Hub is one process's view of one cluster, and its voice in it. It implements
// registry.Discoverer, Registrar, Mapping and MetadataStore, and is safe for
// concurrent use. A process needs one per cluster, however many subscribe.
type Hub struct {
	cfg     Config
	client  *client
	log     *slog.Logger
	clock   clock
	metrics *metrics
	origin  string
	own     string   // the namespace of this process; empty when it has none
	base    []string // namespaces watched from the start; {""} for all

	ctx    context.Context //nolint:containedctx // the hub's own lifetime, which Close ends
	cancel context.CancelFunc
	wg     sync.WaitGroup

	registrar *registrar
	records   *records
	keeper    *keeper // nil where nothing is kept on disk
	refusals  refusals

	// dial reaches an instance and lets go of it; probes bounds how often at once.
	dial   func(ctx context.Context, address string) error
	probes chan struct{}
	// linger is lingerFor unless a test says otherwise.
	linger time.Duration
	// ended returns the UIDs of a namespace's pods that have run to their end.
	ended func(ctx context.Context, namespace string) ([]string, error)

	mu         sync.Mutex
	closed     bool
	spaces     map[string]*space
	statements statements
	interfaces map[registry.Interface]*followedInterface
	endedOf    map[string]*endedQuestion // by namespace
	generation uint64
	failures   map[string]int // how many sources fail, by what is wrong
	signal     chan struct{}  // closed when a source's state changes
	linked     chan struct{}  // closed when a source finds the server
}

type followedInterface struct {
	topic     *feed.Topic[[]registry.App]
	followers int
}

var (
	_ registry.Discoverer    = (*Hub)(nil)
	_ registry.Registrar     = (*Hub)(nil)
	_ registry.Mapping       = (*Hub)(nil)
	_ registry.MetadataStore = (*Hub)(nil)
)

// Open makes a hub. It fails, with code Invalid, if cfg or the kubeconfig it
// names cannot be used; it does not wait for the cluster, nor need it to be
// there: what an unreachable or refusing cluster means for a question, the
// answer to the question says. ctx bounds Open only; Close ends the hub.
func Open(ctx context.Context, cfg Config) (*Hub, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	conn, err := cfg.connect()
	if err != nil {
		return nil, err
	}
	client, err := newClient(conn, cfg)
	if err != nil {
		return nil, err
	}
	h := &Hub{
		cfg:        cfg,
		client:     client,
		log:        cfg.Logger,
		clock:      newClock(),
		dial:       dialTCP,
		ended:      client.endedPods,
		probes:     make(chan struct{}, probesAtOnce),
		origin:     conn.origin,
		own:        cfg.Identity.Namespace,
		base:       cfg.Namespaces,
		spaces:     map[string]*space{},
		statements: statements{},
		interfaces: map[registry.Interface]*followedInterface{},
		endedOf:    map[string]*endedQuestion{},
		failures:   map[string]int{},
		signal:     make(chan struct{}),
		linked:     make(chan struct{}),
	}
	switch {
	case len(h.base) == 0:
		h.base = []string{cmp.Or(h.own, conn.namespace, "default")}
	case h.base[0] == AllNamespaces:
		h.base = []string{""}
	}
	if h.metrics, err = newMetrics(h, cfg.Metrics); err != nil {
		return nil, err
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.registrar, h.records = newRegistrar(h), newRecords(h)
	if cfg.SnapshotDir != "" {
		h.keeper = newKeeper(h, cfg.SnapshotDir)
		h.wg.Go(h.keeper.confirm)
	}
	if !cfg.Lazy {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, namespace := range h.base {
			h.needInstances(namespace)
		}
	}
	return h, nil
}

// Close ends all watches and subscriptions and waits for the calls under way.
// What was registered stays until the pod goes; see Unregister. Close may be
// called more than once.
func (h *Hub) Close() {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	var topics []interface{ Close() }
	for _, s := range h.spaces {
		for _, a := range s.apps {
			if a.topic != nil {
				topics = append(topics, a.topic)
			}
			a.stopTimers()
		}
		if l := s.lingering.timer; l != nil {
			l.Stop()
		}
	}
	for _, f := range h.interfaces {
		topics = append(topics, f.topic)
	}
	for _, q := range h.endedOf {
		if q.timer != nil {
			q.timer.Stop()
		}
	}
	if first {
		h.wakeLocked()
	}
	h.mu.Unlock()
	h.cancel()
	for _, t := range topics {
		t.Close()
	}
	h.wg.Wait()
	h.keeper.end()
	h.client.close()
	h.metrics.unregister()
}

// Identity returns who this process is in the cluster.
func (h *Hub) Identity() Identity { return h.cfg.Identity }

// Namespaces returns the namespaces that the hub covers from the start; empty
// for all.
func (h *Hub) Namespaces() []string {
	if h.base[0] == "" {
		return nil
	}
	return slices.Clone(h.base)
}

// WaitSynced waits until all that instances of the covered namespaces depend on
// has been heard once. It fails with Forbidden as soon as a watch is refused, by a
// server that does not seem to be in trouble itself, and with Unavailable, saying what
// stands in the way, when ctx ends first.
func (h *Hub) WaitSynced(ctx context.Context) error {
	return h.await(ctx, "the cluster", func() []*source {
		var all []*source
		for _, namespace := range h.base {
			all = append(all, h.needInstances(namespace)...)
		}
		return all
	}, func() {})
}

// await runs then, under the lock, as soon as all sources that need returns have
// been heard in full once.
func (h *Hub) await(ctx context.Context, what string, need func() []*source, then func()) error {
	return h.awaitOr(ctx, what, need, then, func() bool { return false })
}

// awaitOr is await that ends as well once instead, while they have not been heard,
// has another answer.
func (h *Hub) awaitOr(ctx context.Context, what string, need func() []*source, then func(), instead func() bool) error {
	for {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			return errClosed()
		}
		synced, why := heard(need())
		if synced {
			then()
			h.mu.Unlock()
			return nil
		}
		signal := h.signal
		if why != nil && why.Code == registry.Forbidden {
			h.mu.Unlock()
			return why
		}
		if instead() {
			h.mu.Unlock()
			return nil
		}
		h.mu.Unlock()
		select {
		case <-signal:
		case <-ctx.Done():
			return h.unknown(ctx, what, why)
		}
	}
}

// heard reports whether all sources are synced, and if not, the most telling
// reason.
func heard(sources []*source) (synced bool, why *registry.Error) {
	synced = true
	for _, s := range sources {
		if s.synced {
			continue
		}
		synced = false
		if s.failure != nil && (why == nil || why.Code != registry.Forbidden) {
			why = s.failure
		}
	}
	return synced, why
}

// stale returns since when one of the sources has been lost.
func stale(sources []*source) time.Time {
	var since time.Time
	for _, s := range sources {
		if !s.lostAt.IsZero() && (since.IsZero() || s.lostAt.Before(since)) {
			since = s.lostAt
		}
	}
	return since
}

// somebody reports whether the API server can be heard of any namespace, or none is
// asked about. One may be refused for good while others are heard. mu is held.
func (h *Hub) somebody() bool {
	for _, s := range h.spaces {
		if sources := s.sources(); len(sources) > 0 && inTouch(sources) {
			return true
		}
	}
	return len(h.spaces) == 0
}

// unheard returns the namespaces that are lost, or refused, and since when. mu is held.
func (h *Hub) unheard() map[string]time.Time {
	lost := map[string]time.Time{}
	for name, s := range h.spaces {
		if since := stale(s.sources()); !since.IsZero() {
			lost[name] = since
		}
	}
	return lost
}

// reachable reports whether the API server can be heard, as far as is known, of a
// namespace; where that is not followed, of any. mu is held.
func (h *Hub) reachable(namespace string) bool {
	if s := h.spaces[h.spaceName(namespace)]; s != nil && len(s.sources()) > 0 {
		return inTouch(s.sources())
	}
	return h.somebody()
}

// spaceOf returns the space that holds a namespace. mu is held.
func (h *Hub) spaceOf(namespace string) *space {
	namespace = h.spaceName(namespace)
	s := h.spaces[namespace]
	if s == nil {
		s = newSpace(h, namespace)
		h.spaces[namespace] = s
	}
	return s
}

// needInstances returns the sources on which snapshots of a namespace's
// applications depend, starting those that do not run. mu is held.
func (h *Hub) needInstances(namespace string) []*source {
	s := h.spaceOf(namespace)
	s.use()
	sources := make([]*source, 0, 5)
	sources = append(sources,
		s.start(&s.sliceSource, slicesResource, sliceTable{s}),
		s.start(&s.podSource, podsResource, podTable{s}),
		s.start(&s.serviceSource, servicesResource, serviceTable{s}),
		s.start(&s.policySource, policiesResource, policyTable{s}),
	)
	if own := h.ownSpace(); own != nil && own != s {
		// The consumer's own policies come first, wherever the provider lives.
		sources = append(sources, own.start(&own.policySource, policiesResource, policyTable{own}))
	}
	return sources
}

// spaceName is that namespace, or none where one space holds all.
func (h *Hub) spaceName(namespace string) string {
	if h.base[0] == "" {
		return ""
	}
	return namespace
}

// ownSpace holds this process's own namespace; nil when it has none. mu is held.
func (h *Hub) ownSpace() *space {
	if h.own == "" {
		return nil
	}
	return h.spaceOf(h.own)
}

// needMappings is needInstances for interface mappings. mu is held.
func (h *Hub) needMappings() []*source {
	var sources []*source
	for _, namespace := range h.base {
		s := h.spaceOf(namespace)
		sources = append(sources, s.start(&s.mappingSource, mappingsResource, mappingTable{s}))
	}
	return sources
}

// start returns a source of the space, which runs from then on. mu is held.
func (s *space) start(at **source, r *resource, t table) *source {
	if *at == nil {
		h := s.hub
		*at = &source{hub: h, resource: r, namespace: s.namespace, role: r.role, table: t}
		h.keeper.wait(*at)
		h.run(s.lifetime(), *at)
	}
	return *at
}

// run starts a source, until ctx ends, unless the hub is closed. mu is held.
func (h *Hub) run(ctx context.Context, s *source) {
	if !h.closed {
		h.wg.Go(func() { s.run(ctx) })
	}
}

// wakeLocked wakes all who wait for a source. mu is held.
func (h *Hub) wakeLocked() {
	close(h.signal)
	h.signal = make(chan struct{})
}

// failed and mended keep the log to one line for each thing that is wrong, how
// many watches ever it hits. mu is held.
func (h *Hub) failed(why *registry.Error) {
	wrong := wrongWith(why)
	if h.failures[wrong]++; h.failures[wrong] == 1 {
		h.log.Warn("registry watch lost or refused; what is known is kept", "reason", why.Error())
	}
}

func (h *Hub) mended(why *registry.Error) {
	if h.dropFailure(why) {
		h.log.Info("registry watch is back", "was", why.Error())
	}
}

// dropFailure takes a reason back, and reports whether it was the last watch's that
// failed for it.
func (h *Hub) dropFailure(why *registry.Error) bool {
	wrong := wrongWith(why)
	if h.failures[wrong]--; h.failures[wrong] > 0 {
		return false
	}
	delete(h.failures, wrong)
	return true
}

// wrongWith is what failures are told apart by: what is wrong, and not the network's
// words for it, of which one outage has several. One connection breaks, and the next
// is refused.
func wrongWith(why *registry.Error) string { return string(why.Code) + " " + why.Message }

// warnPod tells the owner of a pod what is wrong with it. mu is held.
func (h *Hub) warnPod(namespace, name, problem string) {
	h.log.Warn("a pod's registration has a fault", "pod", namespace+"/"+name, "fault", problem)
}
