// Package clusters makes one registry of the registries of several clusters.
//
// Each cluster has a hub of its own and a name. The first is home: it is where the
// process registers, and whose DiscoveryPolicies it obeys. What others see is one
// application with the instances of all clusters, each of which names its cluster.
//
// Of these, the best cluster's are called: clusters have an order, and one that has
// no instance that can be called, or too few, is helped by the next. When it has
// enough again, its instances are called at once, and those of the others stop being
// called once that has lasted a while. Within that, instances of the caller's own
// zone come first while there are enough. Instances that are not called for such a
// reason stand by (Instance.Standby): they are on the list, and who finds that nobody
// else takes a connection may call them.
//
// Unknown is not empty here either. A cluster that does not answer empties nothing:
// its instances stay as they were known, and those of other clusters are not touched.
// While it does not answer, its instances are tried by TCP, and those that take no
// connection stand by behind those that do.
package clusters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/registry"
)

// Member is one cluster.
type Member struct {
	// Name is what the cluster is called; instances carry it. It may be empty for the
	// only one.
	Name string
	// Discoverer is its registry. Mapping and Metadata may be nil where nobody asks for
	// interfaces.
	Discoverer registry.Discoverer
	Mapping    registry.Mapping
	Metadata   registry.MetadataStore
	// Registrar is used of the first member alone; nil where nothing is registered.
	Registrar registry.Registrar
	// Priority orders the clusters, the lowest first. Those of one priority are called
	// as if they were one.
	Priority int
	// ServiceDomain is under which name the cluster's Services are reached from here:
	// with "svc.west.example.com", shop/cart at cart.shop.svc.west.example.com. Where it
	// is empty, Services of any but the first member cannot be called by name, and their
	// instances are.
	ServiceDomain string
}

// Config says which clusters there are, and which instances are preferred. What a
// DiscoveryPolicy of the first member says goes over the preferences here.
type Config struct {
	// Members are the clusters; the first is the process's own.
	Members []Member
	// ClusterPercent is the share of its instances that a cluster has to have callable
	// to be called alone; with 0 a single one will do.
	ClusterPercent int
	// ReturnAfter is how long a better cluster must have had enough before others are
	// called no more. 30 s when zero; negative for at once.
	ReturnAfter time.Duration
	// ZonePercent is how much of an even share over the zones the caller's own zone has
	// to have for its instances to be called alone; with 0 zones do not matter.
	ZonePercent int
	// Zone is the caller's. When empty, it is that of Instance, an instance of Self in
	// the first member.
	Zone     string
	Self     registry.App
	Instance string
	// FirstWait is how long a cluster that has not answered yet is waited for when
	// others have. 2 s when zero.
	FirstWait time.Duration
	// ProbeEvery is how often the instances of a cluster that does not answer are tried
	// by TCP. 5 s when zero; negative for never.
	ProbeEvery time.Duration
	// Logger takes what an operator should know. Discarded when nil.
	Logger *slog.Logger
	// Metrics takes what is measured of several clusters, weir_registry_…; nothing is
	// measured when nil. One Registry per Registerer.
	Metrics prometheus.Registerer
}

// Registry is the registry of several clusters. It implements registry.Discoverer,
// Registrar, Mapping and MetadataStore, and is safe for concurrent use.
type Registry struct {
	cfg     Config
	members []Member
	log     *slog.Logger

	ctx    context.Context //nolint:containedctx // the registry's own lifetime, which Close ends
	cancel context.CancelFunc
	work   sync.WaitGroup
	// missed are members that were waited for in vain, and have not answered since: they
	// are not waited for again.
	missed  []atomic.Bool
	metrics *metrics

	mu         sync.Mutex
	closed     bool
	apps       map[registry.App]*app
	alone      map[*alone]struct{}
	interfaces map[*followedInterface]struct{}
	generation uint64
	zone       string
	awaited    []bool // which members are asked, whoever waits for them
	sought     bool   // the zone of this process is looked for
	stopSelf   func()
	probing    bool
	leftOut    string // why the applications of a cluster are left out, as it was said last
}

// alone is a subscription to an application in one cluster alone.
type alone struct{ stop func() }

var (
	_ registry.Discoverer    = (*Registry)(nil)
	_ registry.Registrar     = (*Registry)(nil)
	_ registry.Mapping       = (*Registry)(nil)
	_ registry.MetadataStore = (*Registry)(nil)
	_ registry.Clustered     = (*Registry)(nil)
)

// New makes a registry. It fails with code Invalid, also where its metrics cannot be
// registered. The members go on to belong to the caller, who closes them after the
// registry.
func New(cfg Config) (*Registry, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.ReturnAfter = max(cmp.Or(cfg.ReturnAfter, 30*time.Second), 0)
	cfg.FirstWait = cmp.Or(cfg.FirstWait, 2*time.Second)
	cfg.ProbeEvery = cmp.Or(cfg.ProbeEvery, 5*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{
		cfg: cfg, members: slices.Clone(cfg.Members), log: cfg.Logger, zone: cfg.Zone, missed: make([]atomic.Bool, len(cfg.Members)), awaited: make([]bool, len(cfg.Members)),
		apps: map[registry.App]*app{}, alone: map[*alone]struct{}{}, interfaces: map[*followedInterface]struct{}{}, stopSelf: func() {},
	}
	var err error
	if r.metrics, err = newMetrics(r); err != nil {
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

func (c Config) validate() error {
	bad := func(format string, args ...any) error {
		return &registry.Error{Code: registry.Invalid, Message: fmt.Sprintf(format, args...)}
	}
	if len(c.Members) == 0 {
		return bad("no cluster is named")
	}
	seen := map[string]bool{}
	for _, m := range c.Members {
		switch {
		case m.Discoverer == nil:
			return bad("cluster %q has no Discoverer", m.Name)
		case m.Name == "" && len(c.Members) > 1:
			return bad("one of %d clusters has no name", len(c.Members))
		case seen[m.Name]:
			return bad("two clusters are called %q", m.Name)
		}
		seen[m.Name] = true
	}
	for what, n := range map[string]int{"ClusterPercent": c.ClusterPercent, "ZonePercent": c.ZonePercent} {
		if n < 0 || n > 100 {
			return bad("%s is %d, which is not between 0 and 100", what, n)
		}
	}
	return nil
}

// Close ends all subscriptions. It may be called more than once.
func (r *Registry) Close() {
	r.mu.Lock()
	r.closed = true
	var stops []func()
	for name, a := range r.apps {
		stops = append(stops, a.end)
		delete(r.apps, name)
	}
	for s := range r.alone {
		stops = append(stops, s.stop)
		delete(r.alone, s)
	}
	for f := range r.interfaces {
		stops = append(stops, f.end)
		delete(r.interfaces, f)
	}
	stops = append(stops, r.stopSelf)
	r.stopSelf = func() {}
	r.mu.Unlock()
	r.cancel()
	for _, stop := range stops {
		stop()
	}
	r.work.Wait()
	r.metrics.unregister()
}

func errClosed() error {
	return &registry.Error{Code: registry.Unavailable, Message: "the registry of the clusters is closed"}
}

// member returns the cluster of a name.
func (r *Registry) member(name string) (*Member, error) {
	names := make([]string, len(r.members))
	for i := range r.members {
		if names[i] = r.members[i].Name; names[i] == name {
			return &r.members[i], nil
		}
	}
	return nil, &registry.Error{
		Code: registry.Invalid, Message: fmt.Sprintf("there is no cluster %q", name), Fix: "name one of " + strings.Join(names, ", "),
	}
}

// at says which cluster an error came from.
func (r *Registry) at(m *Member, err error) error {
	if err == nil || len(r.members) == 1 {
		return err
	}
	var e *registry.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("cluster %s: %w", m.Name, err)
	}
	named := *e
	named.Message = "cluster " + m.Name + ": " + e.Message
	return &named
}

// answer is what one member says to a question that all are asked.
type answer[T any] struct {
	at    int
	came  bool
	value T
	err   error
}

// ask asks all members at once, and returns when all have answered; or when enough
// says so, which is asked after each answer, and again once FirstWait has passed since
// the first good one: late is set when no other is worth a wait any more. Members
// without an answer have an error.
func ask[T any](ctx context.Context, r *Registry, question func(context.Context, *Member) (T, error), enough func(all []answer[T], late bool) bool) []answer[T] {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := make([]answer[T], len(r.members))
	for i := range all {
		all[i] = answer[T]{at: i, err: r.at(&r.members[i], &registry.Error{Code: registry.Unavailable, Message: "it has not answered yet"})}
	}
	answers := make(chan answer[T], len(r.members))
	for i := range r.members {
		go func() {
			v, err := question(ctx, &r.members[i])
			answers <- answer[T]{i, true, v, r.at(&r.members[i], err)}
		}()
	}
	take := func(a answer[T]) {
		all[a.at] = a
		if a.err == nil {
			r.missed[a.at].Store(false)
		}
	}
	var timer <-chan time.Time
	for left := len(r.members); left > 0; {
		select {
		case a := <-answers:
			left--
			take(a)
			if a.err == nil && timer == nil {
				t := time.NewTimer(r.cfg.FirstWait)
				defer t.Stop()
				timer = t.C
			}
		case <-timer:
			for i := range all {
				r.missed[i].Store(r.missed[i].Load() || !all[i].came)
			}
		}
		late := true
		for i := range all {
			late = late && (all[i].came || r.missed[i].Load())
		}
		if left > 0 && enough(all, late) {
			cancel()
			for ; left > 0; left-- {
				// A member comes back when its context ends, but with an answer if it has
				// one: that no wait for it was worth while does not make it less good.
				if a := <-answers; a.err == nil || registry.CodeOf(a.err) == registry.Forbidden {
					take(a)
				}
			}
		}
	}
	for i := range all {
		if !all[i].came && r.missed[i].Load() {
			await(r, i, question)
		}
	}
	return all
}

// await has a question that a member was not waited for go on by itself, one at a time
// for each member, so that it is noticed when the member answers again.
func await[T any](r *Registry, at int, question func(context.Context, *Member) (T, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.awaited[at] {
		return
	}
	r.awaited[at] = true
	r.work.Go(func() {
		_, err := question(r.ctx, &r.members[at])
		if err == nil {
			r.missed[at].Store(false)
		}
		r.mu.Lock()
		r.awaited[at] = false
		r.mu.Unlock()
	})
}

// worst returns the error that is told of several: the one of the first member that
// has one, but rather that it may not be asked than that it does not answer.
func worst[T any](all []answer[T]) error {
	var err error
	for _, a := range all {
		if a.err != nil && (err == nil || registry.CodeOf(a.err) == registry.Forbidden && registry.CodeOf(err) != registry.Forbidden) {
			err = a.err
		}
	}
	return err
}
