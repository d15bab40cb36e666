// Package dubboconfig governs Dubbo Java applications, which hold no code of
// Weir's, as callers: it is the configuration centre that they read overrides
// from. It speaks the protocol of a Nacos 2 server as far as a client of
// configuration needs it, since that is what stock Dubbo speaks; an application
// names it by one property.
//
// The way of a policy: a client connects (serve.go), asks for the documents that
// Dubbo reads, and listens to them (client.go). The one of its application holds
// what the policies come to (rules.go); it is told when that changes, fetches it,
// and listens anew with the hash of what it holds then, which it does after Dubbo
// has taken it. That is the acknowledgement, told to the store as that of an
// instance (tell.go). Who a client is, its document's name says, and the cluster,
// by the address it comes from (place.go).
//
// A client keeps what it holds while no control plane is there, and a process that
// starts meanwhile reads it from its disk. It knows of no expiry: what expires is
// taken back from here.
package dubboconfig

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/registry"
)

// Policies tells what is to be enforced.
type Policies interface {
	// PoliciesOf returns what an instance of an application that calls the given ones
	// has to enforce; false while policies have not been read.
	PoliciesOf(app governance.App, calls []governance.App) (governance.PolicySet, bool)
	// CallerPolicies returns all that are enforced at callers, of the applications of a
	// namespace.
	CallerPolicies(namespace string) []governance.Version
	// PoliciesChanged returns a channel that is closed with the next change.
	PoliciesChanged() <-chan struct{}
}

// Store keeps which instances there are.
type Store interface {
	PutInstances(ctx context.Context, in ...governance.Instance) error
}

// Registry tells whose an address is.
type Registry interface {
	registry.Locator
	Snapshot(ctx context.Context, app registry.App) (registry.Snapshot, error)
}

// Config are the settings of a Service. Policies and Store are required.
type Config struct {
	Policies Policies
	Store    Store
	// Registry is nil where there is no cluster: clients then say their namespace.
	Registry Registry
	// MaxClients bounds connections, 5,000 when zero; more are told to come again.
	MaxClients int
	// MaxAge is about how long a connection lives before its client is asked to connect
	// anew, so that they spread over control planes; 30 min when zero.
	MaxAge time.Duration
	Log    *slog.Logger
	// Metrics gets the collectors of this package; nil for none.
	Metrics prometheus.Registerer
	// Now tells the time. Default time.Now.
	Now func() time.Time

	patience time.Duration // bounds one write, and one message that is read; writePatience when zero
}

func (c Config) withDefaults() Config {
	c.MaxClients = cmp.Or(c.MaxClients, DefaultMaxClients)
	c.MaxAge = cmp.Or(c.MaxAge, 30*time.Minute)
	c.patience = cmp.Or(c.patience, writePatience)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// DefaultMaxClients is how many connections one control plane holds.
const DefaultMaxClients = 5000

// Service is the configuration centre of one control plane. It is safe for
// concurrent use.
type Service struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	slots   chan struct{} // holds a token for each request that is parsed
	lookups chan struct{} // and one for each question to the cluster
	next    atomic.Int64  // numbers what is sent
	begun   string        // tells this process's connections from the last one's

	mu        sync.Mutex
	clients   map[string]*client // by the remote address of their connection
	documents map[string]*wanted // by application and what it calls; of one version
	stirred   chan struct{}      // holds a token when instances may have to be told
	leaving   []governance.Instance
	warned    map[netip.Addr]bool
	asking    map[string]int // requests under way, by remote address
}

const (
	// maxParsing is how many requests are parsed at once, each of maxFrame at most.
	maxParsing = 64
	// maxAsked is how many requests of one connection are answered at once.
	maxAsked = 32
	// maxLookups is how many questions the cluster is asked at once.
	maxLookups = 4
	// lookEvery is how often it is looked whether something has expired, and whether a
	// client that was told has come.
	lookEvery = time.Second
)

// New returns a Service. It does no I/O.
func New(c Config) *Service {
	c = c.withDefaults()
	s := &Service{
		cfg: c, log: c.Log, metrics: newMetrics(), slots: make(chan struct{}, maxParsing), lookups: make(chan struct{}, maxLookups),
		begun: c.Now().UTC().Format("20060102150405.000"), clients: map[string]*client{}, documents: map[string]*wanted{},
		stirred: make(chan struct{}, 1), warned: map[netip.Addr]bool{}, asking: map[string]int{},
	}
	if c.Metrics != nil {
		s.metrics.register(c.Metrics, c.Log)
	}
	return s
}

// Run tells clients of changes, and the store of clients, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { s.follow(ctx) })
	loops.Go(func() { s.tell(ctx) })
	loops.Wait()
	return nil
}

// Facts are what the console shows of this part of a control plane.
func (s *Service) Facts() node.Facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.clients) == 0 {
		return node.Facts{}
	}
	return node.Facts{Queues: []node.Queue{{Name: "Dubbo Java clients", Unit: "connections", Depth: int64(len(s.clients)), Limit: int64(s.cfg.MaxClients)}}}
}

// follow holds what clients hold against what they should, whenever policies
// change, and now and then.
func (s *Service) follow(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	// The channel comes before what was made of policies goes: what they become after
	// that is told by it.
	forget := func() <-chan struct{} {
		changed := s.cfg.Policies.PoliciesChanged()
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.documents)
		return changed
	}
	changed := forget()
	for {
		s.mu.Lock()
		for _, c := range s.clients {
			s.weigh(c)
		}
		s.mu.Unlock()
		select {
		case <-changed:
			changed = forget()
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// wanted is what clients of one application that call the same others are to hold.
type wanted struct {
	document
	set governance.PolicySet
}

// want returns what a client of an application is to hold; nil while that is not
// known. s.mu is held.
func (s *Service) want(app governance.App, calls []governance.App) *wanted {
	now := s.cfg.Now()
	var b strings.Builder
	b.WriteString(app.String())
	for _, c := range calls {
		b.WriteString(" " + c.String())
	}
	key := b.String()
	if w := s.documents[key]; w != nil && (w.until.IsZero() || now.Before(w.until)) {
		return w
	}
	set, ok := s.cfg.Policies.PoliciesOf(app, calls)
	if !ok {
		return nil
	}
	// These are at least as new as the set that is confirmed with them.
	w := &wanted{document: write(app, s.cfg.Policies.CallerPolicies(app.Namespace), now), set: set}
	w.unmet = append(only(w.unmet, set.Policies), elsewhere(app, set.Policies)...)
	if len(s.documents) >= s.cfg.MaxClients {
		clear(s.documents)
	}
	s.documents[key] = w
	return w
}

// only leaves what is said of policies of the set.
func only(unmet []governance.Unmet, set []governance.Version) (out []governance.Unmet) {
	for _, u := range unmet {
		for i := range set {
			if set[i].Version == u.Version && set[i].Policy.Key().String() == u.Policy {
				out = append(out, u)
			}
		}
	}
	return out
}

// elsewhere is what is said of policies that are to be enforced where the
// application serves calls, for which Dubbo Java has nothing.
func elsewhere(app governance.App, set []governance.Version) (out []governance.Unmet) {
	for i := range set {
		p := &set[i].Policy
		if p.Target.App == app && p.Target.At != governance.Caller && !set[i].Deleted {
			out = append(out, governance.Unmet{
				Policy: p.Key().String(), Version: set[i].Version,
				Reason: "target.at: Dubbo Java is governed where it calls: publish the policy with at: caller",
			})
		}
	}
	return out
}

// appOf reads the name of an application from that of its own document, such as
// "restock.configurators". Those of interfaces have colons, and nothing that is
// longer than the name of a Service names one.
func appOf(n named) (string, bool) {
	name, ok := strings.CutSuffix(n.DataID, ".configurators")
	return name, ok && n.Group == dubboGroup && name != "" && len(name) <= maxName && !strings.Contains(name, ":")
}

// calledBy reads the name of an application that is called from that of the rules
// by which calls to it are routed, such as "inventory.tag-router". What is kept of a
// client is read by all control planes, so it has to be a name.
func calledBy(n named) (string, bool) {
	name, ok := strings.CutSuffix(n.DataID, ".tag-router")
	return name, ok && n.Group == dubboGroup && checkName(name) == nil
}

// dubboGroup is the group of all of Dubbo's rules.
const dubboGroup = "dubbo"
