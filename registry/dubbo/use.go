package dubbo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/metadata/report"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
	_ "dubbo.apache.org/dubbo-go/v3/registry/directory" // every list ends in one of its directories
	_ "dubbo.apache.org/dubbo-go/v3/registry/protocol"  // what exports to and refers from a registry

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/registry"
)

// Backend is the registry behind dubbo-go. One value usually implements all
// four. The adapter never closes them.
type Backend struct {
	Discoverer registry.Discoverer
	// Registrar may be nil in a process that only consumes; a provider's Serve
	// then fails and says so.
	Registrar registry.Registrar
	Mapping   registry.Mapping
	Metadata  registry.MetadataStore
}

// Config tunes the adapter. The zero value works but for Namespace.
type Config struct {
	// Namespace is where this process's application lives, and where names
	// without a namespace in client.WithProvidedBy are looked for. Required.
	Namespace string
	// Logger receives what the adapter has to say; slog.Default() if nil.
	Logger *slog.Logger
	// Metrics is where the adapter's metrics are registered; nowhere if nil.
	Metrics prometheus.Registerer
	// SyncTimeout bounds how long a new reference waits for its first list, so
	// that the first call does not come before it; 3 s if 0. While the registry says
	// nothing at all, it bounds how long all of them wait together.
	SyncTimeout time.Duration
	// WriteTimeout bounds one attempt to write a registration; 5 s if 0.
	WriteTimeout time.Duration
	// RetryDelay is the first delay before an attempt is repeated; it doubles up
	// to thirty times itself. 1 s if 0.
	RetryDelay time.Duration
	// RegisterTimeout bounds how long a provider waits to be registered before it
	// serves without, and goes on trying: for one that has another registry, too. It
	// waits for as long as it takes if 0.
	RegisterTimeout time.Duration
	// Linger is how long the connection to an instance that left the list is kept
	// for calls under way, where dubbo-go would cut it; 15 s if 0.
	Linger time.Duration
	// Overlap is how long both lists are called when a reference goes over from
	// instances to the Service, or back; 10 s if 0.
	Overlap time.Duration
	// Grace is how long an instance that is ready may say nothing of what it offers
	// before its application is called by its Service no more; 10 s if 0.
	Grace time.Duration
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.SyncTimeout = cmp.Or(c.SyncTimeout, 3*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 5*time.Second)
	c.RetryDelay = cmp.Or(c.RetryDelay, time.Second)
	c.Linger = cmp.Or(c.Linger, 15*time.Second)
	c.Overlap = cmp.Or(c.Overlap, 10*time.Second)
	c.Grace = cmp.Or(c.Grace, 10*time.Second)
	return c
}

// Binding is a registry in use by dubbo-go. It is safe for concurrent use.
type Binding struct {
	name    string
	backend Backend
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	started time.Time

	// ctx ends when the binding closes; departing, when this process begins to
	// shut down and should no longer announce itself.
	ctx       context.Context //nolint:containedctx // the binding's own lifetime
	cancel    context.CancelCauseFunc
	departing context.Context //nolint:containedctx // the part of it that dubbo-go's shutdown ends
	depart    context.CancelCauseFunc
	fetches   chan struct{} // bounds metadata documents being fetched at once
	held      holds
	silence   silence
	// unanswered is when the registry last did not answer a write.
	unanswered atomic.Pointer[time.Time]
	work       sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	start     context.Context //nolint:containedctx // the present start's; nil before the first
	refuse    context.CancelCauseFunc
	providers map[registry.App]*provider
	watches   map[registry.App]*watch
	subs      map[goregistry.NotifyListener][]*subscription
	mappings  map[string][]mappingListener // by interface
	unmapped  map[string]int               // how often one of mappings was taken back, not known which
	listeners map[listening]struct{}
}

// maxFetches bounds the metadata documents a process fetches at once.
const maxFetches = 16

// dubbo-go keeps its extensions, and the registries they made, in process-wide
// maps without removal. What is registered there therefore looks the binding up
// by name each time it is called.
var (
	bindingsMu sync.RWMutex
	bindings   = map[string]*Binding{}
)

var errClosed = &registry.Error{Code: registry.Unavailable, Message: "the dubbo registry is closed"}

// Use makes backend available to dubbo-go under name, for example "kubernetes".
// It fails with Invalid when something required is missing, and with Conflict
// when the name is in use; after Close it is free again.
func Use(name string, backend Backend, cfg Config) (*Binding, error) {
	switch {
	case name == "":
		return nil, &registry.Error{Code: registry.Invalid, Message: "the dubbo registry needs a name"}
	case backend.Discoverer == nil || backend.Mapping == nil || backend.Metadata == nil:
		return nil, &registry.Error{Code: registry.Invalid, Message: "the dubbo registry needs a Discoverer, a Mapping and a MetadataStore"}
	case cfg.Namespace == "":
		return nil, &registry.Error{
			Code: registry.Invalid, Message: "the namespace of this application is not known",
			Fix: "set it in the configuration, or let the pod have it in POD_NAMESPACE",
		}
	}
	b := &Binding{
		name:      name,
		backend:   backend,
		cfg:       cfg.withDefaults(),
		started:   time.Now(),
		fetches:   make(chan struct{}, maxFetches),
		providers: map[registry.App]*provider{},
		watches:   map[registry.App]*watch{},
		subs:      map[goregistry.NotifyListener][]*subscription{},
		mappings:  map[string][]mappingListener{},
		unmapped:  map[string]int{},
		listeners: map[listening]struct{}{},
	}
	b.log = b.cfg.Logger.With(slog.String("registry", name))
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	b.departing, b.depart = context.WithCancelCause(b.ctx)
	var err error
	if b.metrics, err = newMetrics(b.cfg.Metrics, name); err != nil {
		return nil, err
	}

	bindingsMu.Lock()
	defer bindingsMu.Unlock()
	if bindings[name] != nil {
		b.metrics.unregister()
		return nil, &registry.Error{
			Code: registry.Conflict, Message: fmt.Sprintf("a dubbo registry named %q is in use already", name),
			Fix: "give this one another name",
		}
	}
	bindings[name] = b
	hangUp()
	extension.SetRegistry(name, func(u *common.URL) (goregistry.Registry, error) {
		return &handle{name: name, url: u}, nil
	})
	extension.SetDirectory(name, extension.GetDefaultRegistryDirectory)
	extension.SetServiceDiscovery(name, func(u *common.URL) (goregistry.ServiceDiscovery, error) {
		return &discovery{name: name, url: u}, nil
	})
	extension.SetMetadataReportFactory(name, func() report.MetadataReportFactory { return reportFactory{name: name} })
	// Runs after dubbo-go has drained and stopped its servers.
	extension.AddCustomShutdownCallback(func() {
		if err := b.withdraw(); err != nil {
			b.log.Warn("this instance could not be withdrawn; its pod's end will do it", slog.Any("error", err))
		}
		b.Close()
	})
	return b, nil
}

// lookup returns the binding in use under name.
func lookup(name string) (*Binding, error) {
	bindingsMu.RLock()
	defer bindingsMu.RUnlock()
	if b := bindings[name]; b != nil {
		return b, nil
	}
	return nil, errClosed
}

// Options returns the options for dubbo-go's WithRegistry that choose this
// registry. More may be appended, for example WithPreferred.
func (b *Binding) Options() []goregistry.Option {
	return []goregistry.Option{
		goregistry.WithID(b.name),
		goregistry.WithRegistry(b.name),
		// dubbo-go wants an address and tells registries apart by it.
		goregistry.WithAddress(b.name + "." + b.cfg.Namespace),
		goregistry.WithRegisterInterface(),
		goregistry.WithoutUseAsMetaReport(),
		goregistry.WithoutUseAsConfigCenter(),
	}
}

// Name returns the name under which dubbo-go knows the registry.
func (b *Binding) Name() string { return b.name }

// Close ends all subscriptions and waits for what is under way. What the process
// registered stays registered: dubbo-go's graceful shutdown withdraws it first.
// Close may be called more than once.
func (b *Binding) Close() {
	bindingsMu.Lock()
	if bindings[b.name] == b {
		delete(bindings, b.name)
	}
	bindingsMu.Unlock()

	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		b.work.Wait()
		return
	}
	b.closed = true
	var subs []*subscription
	for _, list := range b.subs {
		subs = append(subs, list...)
	}
	clear(b.subs)
	var mappings []mappingListener
	for _, list := range b.mappings {
		mappings = append(mappings, list...)
	}
	clear(b.mappings)
	b.mu.Unlock()

	b.cancel(errClosed)
	for _, m := range mappings {
		m.stop()
	}
	for _, s := range subs {
		s.close()
	}
	b.held.release()
	b.work.Wait()
	b.metrics.unregister()
}

// goWork runs f unless the binding is closed, and reports whether it does. Close
// waits for it.
func (b *Binding) goWork(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.goWorkLocked(f)
}

func (b *Binding) goWorkLocked(f func()) bool {
	if b.closed {
		return false
	}
	b.work.Go(f)
	return true
}

// isDone reports whether err is only the end of a context.
func isDone(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
