package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/registry"
)

// controlManager is the field manager of what control planes write. They all have
// the same: what one has written, another finds done.
const controlManager = "weir-control"

// CaretakerConfig says how a Caretaker works. The zero value is usable.
type CaretakerConfig struct {
	// Grace is how long the AppMetadata of a revision is kept that no pod names any
	// more. 24 h when zero; negative for ever.
	Grace time.Duration
	// Settle is how long the process itself must have seen, by its own monotonic
	// clock, that no pod names a revision before it deletes the AppMetadata: neither a
	// start nor a clock that was set makes it hurry. 10 min when zero.
	Settle time.Duration
	// Every is about how often it looks. 10 s when zero.
	Every time.Duration
	// Now tells the time; time.Now when nil.
	Now func() time.Time
	// Logger takes what an operator should know. Discarded when nil.
	Logger *slog.Logger
	// Metrics takes the caretaker's metrics; none when nil.
	Metrics prometheus.Registerer
}

// What bounds one look: the rest comes with the next.
const (
	mostStatuses  = 100
	mostEvents    = 20
	mostDeletions = 10
)

// Caretaker keeps Weir's objects of a cluster in order, on behalf of a control
// plane: it writes their status, tells owners by Kubernetes events what is wrong with
// their pods and Services, and deletes the AppMetadata of revisions that nobody runs
// any more. Any number may be at work on a cluster: all that they remember is in the
// objects, and what one has written the others find done.
type Caretaker struct {
	cfg     CaretakerConfig
	log     *slog.Logger
	metrics *caretakerMetrics
	hub     *Hub // while it runs

	// Guarded by hub.mu.
	policies                                    shelf[discoveryPolicy]
	mappings                                    shelf[interfaceMapping]
	metadatas                                   shelf[storedMetadata]
	policySource, mappingSource, metadataSource []*source

	// Of the goroutine that runs.
	unused     map[string]time.Time // since when this process sees a revision unused, by the object's UID
	told       map[string]time.Time // when an event is to be told again
	complaints map[string]bool      // what was logged, until it works again
}

// NewCaretaker makes a caretaker. It fails, with code Invalid, if its metrics cannot
// be registered.
func NewCaretaker(cfg CaretakerConfig) (*Caretaker, error) {
	cfg.Grace = cmp.Or(cfg.Grace, 24*time.Hour)
	cfg.Settle = cmp.Or(cfg.Settle, 10*time.Minute)
	cfg.Every = cmp.Or(cfg.Every, 10*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Caretaker{cfg: cfg, log: cfg.Logger, unused: map[string]time.Time{}, told: map[string]time.Time{}, complaints: map[string]bool{}}
	c.policies = newShelf(func(o *discoveryPolicy) *discoveryPolicy {
		o.ManagedFields = nil
		return o
	})
	c.mappings = newShelf(func(o *interfaceMapping) *interfaceMapping {
		o.ManagedFields = nil
		return o
	})
	c.metadatas = newShelf(newStoredMetadata)
	var err error
	c.metrics, err = newCaretakerMetrics(cfg.Metrics)
	return c, err
}

// Run looks after the namespaces that the hub covers until ctx ends or the hub is
// closed. A right that is missing is logged, once, and the rest goes on. It runs once.
func (c *Caretaker) Run(ctx context.Context, hub *Hub) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(hub.ctx, cancel)()
	c.hub = hub
	c.begin(ctx)
	for {
		c.look(ctx)
		pause := c.cfg.Every/2 + rand.N(c.cfg.Every)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// begin starts the watches. They end with ctx.
func (c *Caretaker) begin(ctx context.Context) {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	start := func(r *resource, namespace string, t table) *source {
		s := &source{hub: h, resource: r, namespace: namespace, role: r.role, table: t}
		if !h.closed {
			h.wg.Go(func() { s.run(ctx) })
		}
		return s
	}
	for _, namespace := range h.base {
		h.needInstances(namespace)
		c.policySource = append(c.policySource, start(tendedPolicies, namespace, c.policies))
		c.mappingSource = append(c.mappingSource, start(tendedMappings, namespace, c.mappings))
		c.metadataSource = append(c.metadataSource, start(tendedMetadatas, namespace, c.metadatas))
	}
}

// look looks at everything once, and does what there is to do.
func (c *Caretaker) look(ctx context.Context) {
	work, known := c.examine()
	if !known {
		return
	}
	for _, s := range work.statuses[:min(mostStatuses, len(work.statuses))] {
		if !c.writeStatus(ctx, s) {
			return
		}
	}
	c.tell(ctx, work.notices)
	c.collect(ctx, work.dead)
}

// work is what a look finds to do.
type work struct {
	statuses []statusWrite
	notices  []notice
	dead     []deadRevision
}

// statusWrite is one status that is not what it should be.
type statusWrite struct {
	resource        *resource
	kind            string
	namespace, name string
	uid             types.UID
	status          any
}

// inTouch reports whether what the sources know is whole and present. hub.mu is held.
func inTouch(sources []*source) bool {
	synced, _ := heard(sources)
	return synced && stale(sources).IsZero()
}

// examine compares what is with what should be. It finds nothing where the state of
// the cluster is not known: what is not seen is not missing.
func (c *Caretaker) examine() (w work, known bool) {
	h := c.hub
	now := c.cfg.Now().UTC()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return work{}, false
	}
	for _, namespace := range h.base {
		if !inTouch(h.needInstances(namespace)) {
			return work{}, false
		}
	}
	l := c.landscape()
	if inTouch(c.policySource) {
		byNamespace := map[string][]*discoveryPolicy{}
		for _, p := range c.policies.all {
			byNamespace[p.Namespace] = append(byNamespace[p.Namespace], p)
		}
		for _, p := range c.policies.all {
			if s := policyStatusOf(p, byNamespace[p.Namespace], l, now); !s.same(&p.Status) {
				w.statuses = append(w.statuses, statusWrite{tendedPolicies, "DiscoveryPolicy", p.Namespace, p.Name, p.UID, s})
			}
		}
	}
	if inTouch(c.mappingSource) {
		for _, m := range c.mappings.all {
			if s := mappingStatusOf(m, l, now); !s.same(&m.Status) {
				w.statuses = append(w.statuses, statusWrite{tendedMappings, kindMapping, m.Namespace, m.Name, m.UID, s})
			}
		}
	}
	if inTouch(c.metadataSource) {
		c.examineRevisions(&w, now)
	}
	w.notices = c.notices()
	return w, true
}

// landscape is what the hub knows of Services. hub.mu is held.
func (c *Caretaker) landscape() *landscape {
	h := c.hub
	l := &landscape{services: map[string]int{}}
	covered := map[string]bool{}
	for _, namespace := range h.base {
		covered[namespace] = true
		for name, a := range h.spaceOf(namespace).apps {
			if a.service != nil {
				l.services[name.Namespace]++
			}
		}
	}
	l.covered = func(namespace string) bool { return covered[""] || covered[namespace] }
	l.served = func(app registry.App) bool {
		a := h.spaceOf(app.Namespace).apps[app]
		return a != nil && a.service != nil
	}
	return l
}

// writeStatus writes one status. It reports whether it makes sense to go on.
func (c *Caretaker) writeStatus(ctx context.Context, s statusWrite) bool {
	body, err := json.Marshal(map[string]any{
		"apiVersion": groupVersion.String(), "kind": s.kind,
		"metadata": map[string]any{"name": s.name, "namespace": s.namespace, "uid": s.uid},
		"status":   s.status,
	})
	if err != nil {
		c.log.ErrorContext(ctx, "a status cannot be encoded", "kind", s.kind, "error", err.Error())
		return true
	}
	try := attempt{verb: "patch", resource: s.resource, namespace: s.namespace, name: s.name + "/status", role: roleControl}
	err = c.hub.client.applyStatus(ctx, s.resource, s.namespace, s.name, controlManager, body)
	return c.outcome(ctx, "write the status of "+s.resource.full(), err, try, writeStatus)
}

// outcome takes note of what came of a write. It reports whether the server is there
// to be asked for the next.
func (c *Caretaker) outcome(ctx context.Context, what string, err error, try attempt, kind string) bool {
	why := c.hub.client.explain(err, try)
	switch {
	case why == nil:
		c.metrics.writes.WithLabelValues(kind).Inc()
		delete(c.complaints, what)
		return true
	case ctx.Err() != nil:
		return false
	case why.Code == registry.NotFound, why.Code == registry.Conflict:
		return true // it is gone, or another by now
	}
	c.hub.metrics.countError(why)
	if why.Code != registry.Unavailable && !c.hub.premature(err) && !c.complaints[what] {
		c.complaints[what] = true
		c.log.WarnContext(ctx, "cannot do part of the upkeep; it is tried again and not told again", "task", what, "reason", why.Error())
	}
	return why.Code != registry.Unavailable
}

// shelf holds the objects of one kind, by UID: one that takes the name of another is
// another.
type shelf[T any] struct {
	keep func(runtime.Object) *T
	all  map[string]*T
}

func newShelf[O runtime.Object, T any](keep func(O) *T) shelf[T] {
	return shelf[T]{all: map[string]*T{}, keep: func(o runtime.Object) *T {
		if object, ok := o.(O); ok {
			return keep(object)
		}
		return nil
	}}
}

func (s shelf[T]) slim(o runtime.Object) (string, any) {
	object, ok := o.(interface{ GetUID() types.UID })
	kept := s.keep(o)
	if !ok || kept == nil {
		return "", nil
	}
	return string(object.GetUID()), kept
}

func (s shelf[T]) put(key string, kept any, _ time.Time) {
	if v, ok := kept.(*T); ok {
		s.all[key] = v
	}
}

func (s shelf[T]) remove(key string, _ time.Time) { delete(s.all, key) }

func (s shelf[T]) replace(all map[string]any, now time.Time) {
	clear(s.all)
	for key, kept := range all {
		s.put(key, kept, now)
	}
}

// Kinds of writes, in the metric.
const (
	writeStatus   = "status"
	writeEvent    = "event"
	writeDeletion = "deletion"
)

type caretakerMetrics struct {
	writes *prometheus.CounterVec
	unused prometheus.Gauge
	kept   prometheus.Gauge
}

func newCaretakerMetrics(registerer prometheus.Registerer) (*caretakerMetrics, error) {
	m := &caretakerMetrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_upkeep_writes_total", Help: "What was written to keep Weir's objects in order, by kind: status, event, deletion of the metadata of a revision.",
		}, []string{"kind"}),
		unused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_registry_unused_revisions", Help: "AppMetadata of revisions that no pod names.",
		}),
		kept: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_registry_revisions", Help: "AppMetadata there are.",
		}),
	}
	for _, kind := range []string{writeStatus, writeEvent, writeDeletion} {
		m.writes.WithLabelValues(kind)
	}
	if registerer == nil {
		return m, nil
	}
	if err := errors.Join(registerer.Register(m.writes), registerer.Register(m.unused), registerer.Register(m.kept)); err != nil {
		return nil, &registry.Error{Code: registry.Invalid, Message: "metrics cannot be registered", Err: err, Fix: "give each caretaker a Prometheus registerer of its own"}
	}
	return m, nil
}
