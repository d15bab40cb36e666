package dubbo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

// provider is one application that this process serves; in practice the only
// one.
type provider struct {
	b       *Binding
	app     registry.App
	changed chan struct{} // capacity 1: something was exported since

	writing sync.Mutex // serialises what is written; held across I/O
	server  metadataServer

	mu        sync.Mutex
	exported  map[string]*common.URL // by interface, protocol and address
	attempted bool                   // last may be registered
	last      registry.Registration
	settled   bool // last is registered, with all that goes with it
	serving   bool // so was it or one before it: a failure now ends nothing
	draining  bool
}

// republishDelay gathers services exported in a burst while the process runs
// into one registration.
const republishDelay = 200 * time.Millisecond

// finishTimeout is how long a write that is on its way may go on once nobody wants it.
const finishTimeout = time.Second

// withdrawTimeout bounds what shutdown spends on the registry.
const withdrawTimeout = 3 * time.Second

// export takes note of an exported URL. While the process already is registered,
// the registration follows by itself, soon.
func (b *Binding) export(u *common.URL) error {
	app := registry.App{Namespace: b.cfg.Namespace, Name: u.GetParam(constant.ApplicationKey, "")}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return errClosed
	}
	p := b.providers[app]
	if p == nil {
		p = &provider{
			b: b, app: app, changed: make(chan struct{}, 1), exported: map[string]*common.URL{},
			server: metadataServer{app: app.Name, service: &MetadataService{}},
		}
		b.providers[app] = p
		b.goWorkLocked(p.follow)
	}
	b.mu.Unlock()

	p.mu.Lock()
	defer p.mu.Unlock()
	p.exported[exportKey(u)] = u
	if p.serving {
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

func exportKey(u *common.URL) string { return u.Protocol + "://" + u.Location + "/" + u.ServiceKey() }

// follow publishes again what was exported after the process had registered.
func (p *provider) follow() {
	for {
		select {
		case <-p.changed:
		case <-p.b.departing.Done():
			return
		}
		if !pause.For(p.b.departing, republishDelay) {
			return
		}
		if err := p.publish(p.b.departing); err != nil && p.b.departing.Err() == nil {
			p.b.log.Error("the registration could not be brought up to date",
				slog.String("app", p.app.String()), slog.Any("error", err))
		}
	}
}

// starting returns the context of the present start: it ends when that is refused,
// with errRefused, or when the process begins to shut down. Another server of
// dubbo-go's may then try again.
func (b *Binding) starting() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.start == nil || b.start.Err() != nil {
		b.start, b.refuse = context.WithCancelCause(b.departing)
	}
	return b.start
}

// errRefused is for a start that somebody else has refused.
var errRefused = errors.New("the process does not start")

// publish registers every application that exported something.
func (b *Binding) publish(ctx context.Context) error {
	for _, p := range b.apps() {
		if err := p.publish(ctx); err != nil {
			return err
		}
	}
	return nil
}

// publishOthers has the other registries of the process publish, without waiting for
// them: dubbo-go goes through them one by one, in any order, and would come to those
// behind one that is down when that is back. What is wrong with one of them it is told
// when it comes there.
func (b *Binding) publishOthers() {
	for _, other := range b.others() {
		ctx := other.starting()
		other.goWork(func() { _ = other.publish(ctx) })
	}
}

// withdrawOthers takes back what the other registries have, since the process does
// not start: dubbo-go, which was told so by this one, does not tell them.
func (b *Binding) withdrawOthers() {
	b.forget()
	for _, other := range b.others() {
		if err := other.retreat(); err != nil {
			other.log.Warn("this instance could not be withdrawn; its pod's end will do it", slog.Any("error", err))
		}
	}
}

// retreat takes back what there is of a start that was refused. Unlike withdraw it
// leaves the way open for the next.
func (b *Binding) retreat() error {
	b.starting()
	b.mu.Lock()
	refuse := b.refuse
	b.mu.Unlock()
	refuse(errRefused)
	var errs []error
	for _, p := range b.apps() {
		p.writing.Lock() // publish has been told to stop
		errs = append(errs, p.retract())
		p.writing.Unlock()
	}
	b.forget()
	return errors.Join(errs...)
}

// forget drops what was exported for a start that was refused: dubbo-go takes all of
// it back.
func (b *Binding) forget() {
	for _, p := range b.apps() {
		p.mu.Lock()
		clear(p.exported)
		p.mu.Unlock()
	}
}

// others are the other registries in which this process has something to publish.
func (b *Binding) others() (others []*Binding) {
	bindingsMu.RLock()
	defer bindingsMu.RUnlock()
	for _, other := range bindings {
		if other != b && len(other.apps()) > 0 {
			others = append(others, other)
		}
	}
	return others
}

// serving reports whether an application of this process is registered, or was.
func (b *Binding) serving() bool {
	return slices.ContainsFunc(b.apps(), func(p *provider) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.serving
	})
}

// publishInTime is publish, but for Config.RegisterTimeout: what takes longer goes on
// behind the caller's back.
func (b *Binding) publishInTime() error {
	ctx := b.starting()
	if b.cfg.RegisterTimeout == 0 {
		return b.publish(ctx)
	}
	done := make(chan error, 1)
	if !b.goWork(func() { done <- b.publish(ctx) }) {
		return errClosed
	}
	late := time.NewTimer(b.cfg.RegisterTimeout)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
	}
	b.log.Warn("this instance serves before it is registered, and is not called by this registry until it is",
		slog.Duration("waited", b.cfg.RegisterTimeout))
	b.goWork(func() { b.insistOnPublishing(ctx, <-done) })
	return nil
}

// insistOnPublishing goes on after an error that publish takes for final, which nobody
// is there to be told: an API server that has just started refuses, before it knows
// who may do what.
func (b *Binding) insistOnPublishing(ctx context.Context, err error) {
	for err != nil {
		if ctx.Err() == nil {
			b.log.Error("this instance is not registered; trying again", slog.Any("error", err))
		}
		if !pause.For(ctx, 5*b.cfg.RetryDelay) {
			return
		}
		err = b.publish(ctx)
	}
}

func (b *Binding) apps() []*provider {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*provider, 0, len(b.providers))
	for _, p := range b.providers {
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y *provider) int { return x.app.Compare(y.app) })
	return out
}

// publish writes the metadata document, the instance and the mapping, in this
// order: whoever finds the instance finds its document, and whoever finds the
// mapping finds an instance. It repeats what may succeed later until ctx ends,
// and returns at once what needs somebody's hand. What fails at first leaves
// nothing registered, since the process will not serve.
func (p *provider) publish(ctx context.Context) error {
	if err := p.app.Validate(); err != nil {
		return &registry.Error{
			Code: registry.Invalid, Message: "this application cannot be registered", Err: err,
			Fix: "set dubbo.WithName to the name of its Kubernetes Service",
		}
	}
	if p.b.backend.Registrar == nil {
		return &registry.Error{
			Code:    registry.Invalid,
			Message: fmt.Sprintf("%s exports services, but this registry was set up for consumers only", p.app),
			Fix:     "give it a Registrar",
		}
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	exported := p.urls()
	if len(exported) == 0 {
		return nil
	}
	doc, encoded, err := describe(p.app.Name, exported)
	if err != nil {
		return err
	}
	at, err := p.server.serve(doc, exported)
	if err != nil {
		return err
	}
	meta, err := instanceMetadata(doc, exported, at)
	if err != nil {
		return err
	}
	r := registry.Registration{App: p.app, Metadata: meta, Details: exportedDetails(exported, p.b.started)}
	p.mu.Lock()
	first := !p.serving
	same := p.settled && maps.Equal(p.last.Metadata, r.Metadata) && p.last.Details.Equal(r.Details)
	p.mu.Unlock()
	if same {
		return nil // dubbo-go asks once per server, or once per service
	}
	if err := p.write(ctx, r, doc, encoded); err != nil {
		if first {
			return errors.Join(err, p.retract())
		}
		return err
	}
	p.mu.Lock()
	p.settled, p.serving = true, true
	p.mu.Unlock()
	p.b.log.Info("registered",
		slog.String("app", p.app.String()),
		slog.String("revision", short(doc.info.Revision)),
		slog.Int("services", len(doc.interfaces())),
		slog.String("endpoints", meta[constant.ServiceInstanceEndpoints]))
	return nil
}

// urls returns what is exported, in a fixed order.
func (p *provider) urls() []*common.URL {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*common.URL
	for _, key := range slices.Sorted(maps.Keys(p.exported)) {
		out = append(out, p.exported[key])
	}
	return out
}

// write does the steps of publish.
func (p *provider) write(ctx context.Context, r registry.Registration, doc *document, encoded []byte) error {
	backend := p.b.backend
	err := p.insist(ctx, "store its metadata", func(ctx context.Context) error {
		return backend.Metadata.PutMetadata(ctx, p.app, doc.info.Revision, encoded)
	})
	if err != nil {
		return err
	}
	if err := p.insist(ctx, "register", func(ctx context.Context) error { return p.register(ctx, r) }); err != nil {
		return err
	}
	for _, name := range doc.interfaces() {
		err := p.insist(ctx, "map "+name, func(ctx context.Context) error {
			return backend.Mapping.MapInterface(ctx, registry.Interface{Name: name}, p.app)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// register publishes r unless the process has begun to drain meanwhile.
func (p *provider) register(ctx context.Context, r registry.Registration) error {
	p.mu.Lock()
	if p.draining || ctx.Err() != nil {
		p.mu.Unlock()
		return context.Canceled
	}
	// Should the answer get lost, the registration may be there all the same.
	p.attempted, p.last, p.settled = true, r, false
	p.mu.Unlock()
	return p.b.backend.Registrar.Register(ctx, r)
}

// retract takes the registration back, if there may be one. writing is held.
func (p *provider) retract() error {
	p.mu.Lock()
	attempted := p.attempted
	p.attempted, p.settled, p.serving = false, false, false
	p.mu.Unlock()
	if !attempted {
		return nil
	}
	ctx, cancel := context.WithTimeout(p.b.ctx, withdrawTimeout)
	defer cancel()
	if err := p.b.backend.Registrar.Unregister(ctx, p.app); err != nil && registry.CodeOf(err) != registry.NotFound {
		return fmt.Errorf("withdraw %s: %w", p.app, err)
	}
	return nil
}

// insist does a step until it succeeds, fails for good, or ctx ends.
func (p *provider) insist(ctx context.Context, what string, do func(context.Context) error) error {
	delay := p.b.cfg.RetryDelay
	for attempt := 1; ; attempt++ {
		// What is on its way when ctx ends is waited for: a server that took it all the
		// same would otherwise hold what comes after that to take it back.
		try, cancel := context.WithTimeout(p.b.ctx, p.b.cfg.WriteTimeout)
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(finishTimeout, cancel) })
		err := ctx.Err()
		if err == nil {
			err = do(try)
		}
		late := try.Err() != nil
		stop()
		cancel()
		switch {
		case err == nil:
			if attempt > 1 {
				p.b.log.Info("the registry answers again", slog.String("app", p.app.String()), slog.String("step", what))
			}
			return nil
		case errors.Is(context.Cause(ctx), errRefused):
			return errRefused
		case ctx.Err() != nil:
			return &registry.Error{
				Code: registry.Unavailable, Message: p.app.String() + " began to shut down before it was registered", Err: err,
			}
		case !p.b.premature(err) && !passing(err, late):
			p.b.metrics.writes.WithLabelValues("refused").Inc()
			return err
		}
		p.b.metrics.writes.WithLabelValues("retried").Inc()
		wait := delay/2 + rand.N(delay) // around the delay, so that a fleet spreads out
		p.b.log.Warn("the registry does not take this instance yet; it is not ready until it does",
			slog.String("app", p.app.String()), slog.String("step", what), slog.Any("error", err),
			slog.Int("attempt", attempt), slog.Duration("retry", wait.Round(time.Millisecond)))
		if !pause.For(ctx, wait) {
			continue
		}
		delay = min(2*delay, 30*p.b.cfg.RetryDelay)
	}
}

// passing reports whether waiting may mend err; late, that it is what the last of
// an attempt's time brought.
func passing(err error, late bool) bool {
	if isDone(err) {
		return true
	}
	switch registry.CodeOf(err) {
	case registry.Unavailable, registry.Internal:
		return true
	case registry.Conflict:
		// Final, as when the pod is another application already: unless the backend
		// was itself still repeating a write that crossed with another's.
		return late
	}
	return false
}

// settling times RetryDelay is how long after a registry did not answer a refusal
// is taken for a sign of its own start: an API server answers before it has read
// its roles, and forbids everything until then.
const settling = 10

// premature reports whether err is such a refusal. It keeps account of absences,
// over all steps and applications.
func (b *Binding) premature(err error) bool {
	switch registry.CodeOf(err) {
	case registry.Unavailable:
		b.unanswered.Store(new(time.Now()))
	case registry.Forbidden:
		at := b.unanswered.Load()
		return at != nil && time.Since(*at) < settling*b.cfg.RetryDelay
	}
	return false
}

var errLeaving = errors.New("the process is shutting down")

// drain asks consumers for no more calls, on behalf of the application that
// exported u. dubbo-go calls it for each of its URLs; the first does it.
func (b *Binding) drain(u *common.URL) error {
	return b.drainApp(registry.App{Namespace: b.cfg.Namespace, Name: u.GetParam(constant.ApplicationKey, "")})
}

func (b *Binding) drainApp(app registry.App) error {
	b.depart(errLeaving)
	b.mu.Lock()
	p := b.providers[app]
	b.mu.Unlock()
	if p == nil {
		return nil
	}
	p.mu.Lock()
	again := p.draining
	p.draining = true
	p.mu.Unlock()
	if again {
		return nil
	}
	p.writing.Lock() // publish has been told to stop
	defer p.writing.Unlock()
	p.mu.Lock()
	attempted, r := p.attempted, p.last
	p.mu.Unlock()
	if !attempted {
		return nil
	}
	r.Details.State = registry.Draining
	ctx, cancel := context.WithTimeout(b.ctx, withdrawTimeout)
	defer cancel()
	if err := b.backend.Registrar.Register(ctx, r); err != nil {
		return fmt.Errorf("say that %s is draining: %w", app, err)
	}
	b.log.Info("draining", slog.String("app", app.String()))
	return nil
}

// withdraw takes this process's registrations back.
func (b *Binding) withdraw() error {
	b.depart(errLeaving)
	var errs []error
	for _, p := range b.apps() {
		p.mu.Lock()
		p.draining = true
		p.mu.Unlock()
		p.writing.Lock()
		errs = append(errs, p.retract())
		p.writing.Unlock()
	}
	return errors.Join(errs...)
}

// short cuts a revision, 128 digits long, to what people compare.
func short(revision string) string {
	if len(revision) > 12 {
		return revision[:12]
	}
	return revision
}
