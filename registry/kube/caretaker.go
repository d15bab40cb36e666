package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	policies  shelf[discoveryPolicy]
	mappings  shelf[interfaceMapping]
	metadatas shelf[storedMetadata]
	sources   map[sourceKey]*source

	// Of the goroutine that runs.
	unused map[string]time.Time // since when this process sees a revision unused, by the object's UID
	told   map[string]time.Time // when an event is to be told again
	later  map[laterKey]*later  // what was tried in vain
	// lacking are fields of a status that the cluster's definitions do not know.
	lacking map[task]map[string]bool
	round   *round // what has come of the present look so far

	complaints complaints
}

// sourceKey says what a watch is for.
type sourceKey struct {
	resource  *resource
	namespace string
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
	c := &Caretaker{
		cfg: cfg, log: cfg.Logger, unused: map[string]time.Time{}, told: map[string]time.Time{}, later: map[laterKey]*later{},
		lacking: map[task]map[string]bool{},
		sources: map[sourceKey]*source{}, complaints: complaints{all: map[trouble]complaint{}},
	}
	c.policies = newShelf(func(o *discoveryPolicy) *discoveryPolicy {
		o.ManagedFields = nil
		return o
	}, func(o *discoveryPolicy) string { return o.Namespace })
	c.mappings = newShelf(func(o *interfaceMapping) *interfaceMapping {
		o.ManagedFields = nil
		return o
	}, func(o *interfaceMapping) string { return o.Namespace })
	c.metadatas = newShelf(newStoredMetadata, func(m *storedMetadata) string { return m.app.Namespace })
	var err error
	c.metrics, err = newCaretakerMetrics(cfg.Metrics)
	return c, err
}

// Run looks after the namespaces that the hub covers until ctx ends or the hub is
// closed. What it cannot do in a namespace is logged, once, and told by Problems until
// it works; the rest goes on. It runs once.
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
	start := func(r *resource, namespace string, t table) {
		s := &source{hub: h, resource: r, namespace: namespace, role: r.role, table: t}
		c.sources[sourceKey{r, namespace}] = s
		if !h.closed {
			h.wg.Go(func() { s.run(ctx) })
		}
	}
	for _, namespace := range h.base {
		h.needInstances(namespace)
		start(tendedPolicies, namespace, section[discoveryPolicy]{c.policies, namespace})
		start(tendedMappings, namespace, section[interfaceMapping]{c.mappings, namespace})
		start(tendedMetadatas, namespace, section[storedMetadata]{c.metadatas, namespace})
	}
}

// look looks at everything once, and does what there is to do.
func (c *Caretaker) look(ctx context.Context) {
	c.round = newRound()
	work, known := c.examine()
	if known {
		c.conclude(ctx, c.do(ctx, work))
	}
}

// do does what a look has found. It reports whether the server was there for all of it.
func (c *Caretaker) do(ctx context.Context, work work) bool {
	most := mostStatuses
	for _, s := range work.statuses {
		ready := c.ready(trouble{s.task, s.namespace}, string(s.uid))
		s, news := c.fit(s)
		if !ready || !news || most == 0 {
			continue
		}
		most--
		if !c.writeStatus(ctx, s) {
			return false
		}
	}
	return c.tell(ctx, work.notices) && c.collect(ctx, work.dead)
}

// work is what a look finds to do.
type work struct {
	statuses []statusWrite
	notices  []notice
	dead     []deadRevision
}

// statusWrite is one status that is not what it should be.
type statusWrite struct {
	task            task
	kind            string
	namespace, name string
	uid             types.UID
	status, old     any
}

// inTouch reports whether what the sources know is whole and present. hub.mu is held.
func inTouch(sources []*source) bool {
	synced, _ := heard(sources)
	return synced && stale(sources).IsZero()
}

// sees is where a caretaker knows what there is of a kind; "" for all namespaces.
type sees map[string]bool

func (s sees) in(namespace string) bool { return s[""] || s[namespace] }

// sees finds out where all that the sources of a namespace tell is known, and says what
// stands in the way elsewhere. hub.mu is held.
func (c *Caretaker) sees(of func(namespace string) []*source) sees {
	seen := sees{}
	for _, namespace := range c.hub.base {
		all := of(namespace)
		if inTouch(all) {
			seen[namespace] = true
			continue
		}
		for _, s := range all {
			if inTouch([]*source{s}) {
				continue
			}
			t := trouble{watching(s.resource), s.namespace}
			c.round.needed[laterKey{t, ""}] = true
			if s.failure != nil && (s.failure.Code != registry.Unavailable || unknownKind(s.failure)) {
				c.round.failed[t] = s.failure
			}
		}
	}
	return seen
}

// examine compares what is with what should be. It finds nothing where the state of
// a namespace is not known: what is not seen is not missing.
func (c *Caretaker) examine() (w work, known bool) {
	h := c.hub
	now := c.cfg.Now().UTC()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return work{}, false
	}
	services := c.sees(func(namespace string) []*source { return h.needInstances(namespace)[:3] }) // slices, pods, Services
	with := func(r *resource) sees {
		seen := c.sees(func(namespace string) []*source { return []*source{c.sources[sourceKey{r, namespace}]} })
		maps.DeleteFunc(seen, func(namespace string, _ bool) bool { return !services[namespace] })
		return seen
	}
	l := c.landscape(services)
	policies := with(tendedPolicies)
	byNamespace := map[string][]*discoveryPolicy{}
	for _, p := range c.policies.all {
		byNamespace[p.Namespace] = append(byNamespace[p.Namespace], p)
	}
	for namespace, all := range byNamespace {
		if !policies.in(namespace) {
			continue
		}
		for _, p := range all {
			if s := policyStatusOf(p, all, l, now); !s.same(&p.Status) {
				w.statuses = append(w.statuses, statusWrite{taskPolicies, "DiscoveryPolicy", p.Namespace, p.Name, p.UID, s, p.Status})
			}
		}
	}
	mappings := with(tendedMappings)
	for _, m := range c.mappings.all {
		if !mappings.in(m.Namespace) {
			continue
		}
		if s := mappingStatusOf(m, l, now); !s.same(&m.Status) {
			w.statuses = append(w.statuses, statusWrite{taskMappings, kindMapping, m.Namespace, m.Name, m.UID, s, m.Status})
		}
	}
	c.examineRevisions(&w, now, with(tendedMetadatas))
	w.notices = c.notices(services)
	return w, true
}

// landscape is what the hub knows of Services. hub.mu is held.
func (c *Caretaker) landscape(seen sees) *landscape {
	h := c.hub
	l := &landscape{services: map[string]int{}}
	for namespace := range seen {
		for name, a := range h.spaceOf(namespace).apps {
			if a.service != nil {
				l.services[name.Namespace]++
			}
		}
	}
	l.covered = seen.in
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
	r := s.task.resource
	try := attempt{verb: "patch", resource: r, namespace: s.namespace, name: s.name + "/status", role: roleControl}
	err = c.hub.client.applyStatus(ctx, r, s.namespace, s.name, controlManager, body)
	switch {
	case err == nil:
		c.metrics.writes.WithLabelValues(writeStatus).Inc()
	case apierrors.IsNotFound(err) && c.stands(ctx, s):
		err = noSubresource(r)
	}
	return c.outcome(ctx, s.task, string(s.uid), err, try)
}

// outcome takes note of what came of an attempt, for an object or, without a UID, for a
// namespace. It reports whether the server is there to be asked for the next.
func (c *Caretaker) outcome(ctx context.Context, what task, uid string, err error, try attempt) bool {
	t := trouble{what, try.namespace}
	why := c.hub.client.explain(err, try)
	switch {
	case why == nil:
		c.round.done[t] = true
		if c.lacking[what] == nil {
			c.round.done[trouble{task: what}] = true
			delete(c.later, laterKey{trouble{task: what}, lackingFields})
		}
		for _, key := range [...]laterKey{{trouble{task: what}, ""}, {t, ""}, {t, uid}} {
			delete(c.later, key)
		}
		return true
	case ctx.Err() != nil:
		return false
	case why.Code == registry.NotFound, why.Code == registry.Conflict:
		return true // it is gone, or another by now
	}
	c.hub.metrics.countError(why)
	if errors.Is(why, errOldDefinition) {
		c.outdated(what, why)
		return true
	}
	if c.hub.premature(err) || !aboutObject(err) {
		return false
	}
	c.round.failed[t] = why
	if missingRight(err) {
		uid = "" // no object of the namespace fares better
	}
	c.putOff(t, uid)
	return true
}

// aboutObject tells an answer that is about what was asked for, as where an admission
// webhook fails, from one that any question would get now, and from none.
func aboutObject(err error) bool {
	return isAnswer(err) && (webhookDenial.MatchString(err.Error()) || !apierrors.IsTooManyRequests(err) && !apierrors.IsServiceUnavailable(err))
}

// missingRight tells a right that is missing in a namespace from an object that
// admission guards.
func missingRight(err error) bool {
	return apierrors.IsForbidden(err) && !denialPattern.MatchString(err.Error()) && !webhookDenial.MatchString(err.Error()) || apierrors.IsUnauthorized(err)
}

// shelf holds the objects of one kind, by UID: one that takes the name of another is
// another.
type shelf[T any] struct {
	keep      func(runtime.Object) *T
	namespace func(*T) string
	all       map[string]*T
}

func newShelf[O runtime.Object, T any](keep func(O) *T, namespace func(*T) string) shelf[T] {
	return shelf[T]{all: map[string]*T{}, namespace: namespace, keep: func(o runtime.Object) *T {
		if object, ok := o.(O); ok {
			return keep(object)
		}
		return nil
	}}
}

// section is the part of a shelf that one source fills: that of its namespace, or all.
type section[T any] struct {
	shelf[T]
	only string
}

func (s section[T]) slim(o runtime.Object) (string, any) {
	object, ok := o.(interface{ GetUID() types.UID })
	kept := s.keep(o)
	if !ok || kept == nil {
		return "", nil
	}
	return string(object.GetUID()), kept
}

func (s section[T]) put(key string, kept any, _ time.Time) {
	if v, ok := kept.(*T); ok {
		s.all[key] = v
	}
}

func (s section[T]) remove(key string, _ time.Time) { delete(s.all, key) }

func (s section[T]) replace(all map[string]any, now time.Time) {
	maps.DeleteFunc(s.all, func(_ string, v *T) bool { return s.only == "" || s.namespace(v) == s.only })
	for key, kept := range all {
		s.put(key, kept, now)
	}
}

// Kinds of writes, in the metric.
const (
	writeStatus   = "status"
	writeEvent    = "event"
	writeDeletion = "deletion"
	needWatch     = "watch" // what has to be seen before anything is written
)

type caretakerMetrics struct {
	writes  *prometheus.CounterVec
	unused  prometheus.Gauge
	kept    prometheus.Gauge
	failing *prometheus.GaugeVec
}

func newCaretakerMetrics(registerer prometheus.Registerer) (*caretakerMetrics, error) {
	m := &caretakerMetrics{
		failing: newFailing(),
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
	if err := errors.Join(registerer.Register(m.writes), registerer.Register(m.unused), registerer.Register(m.kept), registerer.Register(m.failing)); err != nil {
		return nil, &registry.Error{Code: registry.Invalid, Message: "metrics cannot be registered", Err: err, Fix: "give each caretaker a Prometheus registerer of its own"}
	}
	return m, nil
}
