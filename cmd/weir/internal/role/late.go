package role

import (
	"context"
	"net/netip"
	"sync"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/registry"
)

// Late is a cluster that becomes known later: roles start beside it, not after
// it. Until then nothing is known of any application, which is not the same as
// that there are none. It is safe for concurrent use.
type Late struct {
	mu       sync.Mutex
	known    chan struct{} // closed once the rest is set
	registry Registry
	reviewer access.TokenReviewer
	waiting  map[*lateSubscription]struct{}
}

var (
	_ Registry             = (*Late)(nil)
	_ access.TokenReviewer = (*Late)(nil)
)

// NewLate returns a cluster that is not known yet.
func NewLate() *Late {
	return &Late{known: make(chan struct{}), waiting: make(map[*lateSubscription]struct{})}
}

// Set makes the cluster known. It is called once.
func (l *Late) Set(r Registry, reviewer access.TokenReviewer) {
	l.mu.Lock()
	l.registry, l.reviewer = r, reviewer
	close(l.known)
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for s := range waiting {
		s.begin(r)
	}
}

// Clusters implements registry.Clustered.
func (l *Late) Clusters() []string {
	if c := l.clustered(); c != nil {
		return c.Clusters()
	}
	return nil
}

// ClusterStates implements registry.Clustered.
func (l *Late) ClusterStates(ctx context.Context) []registry.ClusterState {
	if c := l.clustered(); c != nil {
		return c.ClusterStates(ctx)
	}
	return nil
}

// clustered returns the registry, where it is known and may be of several clusters.
func (l *Late) clustered() registry.Clustered {
	select {
	case <-l.known:
	default:
		return nil
	}
	c, _ := l.registry.(registry.Clustered)
	return c
}

// get waits for the registry.
func (l *Late) get(ctx context.Context) (Registry, error) {
	select {
	case <-l.known:
		return l.registry, nil
	case <-ctx.Done():
		return nil, &registry.Error{Code: registry.Unavailable, Message: "the cluster is still starting", Fix: "try again in a moment", Err: context.Cause(ctx)}
	}
}

// Snapshot implements registry.Discoverer.
func (l *Late) Snapshot(ctx context.Context, app registry.App) (registry.Snapshot, error) {
	r, err := l.get(ctx)
	if err != nil {
		return registry.Snapshot{}, err
	}
	return r.Snapshot(ctx, app)
}

// Apps implements registry.Discoverer.
func (l *Late) Apps(ctx context.Context, namespace string) ([]registry.App, error) {
	r, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return r.Apps(ctx, namespace)
}

// Subscribe implements registry.Discoverer.
func (l *Late) Subscribe(app registry.App, notify func(registry.Snapshot)) (stop func(), err error) {
	if err := app.Validate(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.registry != nil {
		r := l.registry
		l.mu.Unlock()
		return r.Subscribe(app, notify)
	}
	s := &lateSubscription{app: app, notify: notify}
	l.waiting[s] = struct{}{}
	l.mu.Unlock()
	return func() {
		l.mu.Lock()
		delete(l.waiting, s)
		l.mu.Unlock()
		s.end()
	}, nil
}

// lateSubscription is one that was asked for before the registry was there.
type lateSubscription struct {
	app    registry.App
	notify func(registry.Snapshot)

	mu    sync.Mutex
	ended bool
	stop  func()
}

func (s *lateSubscription) begin(r Registry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	// It fails only once the registry is closed, when nobody waits any more.
	if stop, err := r.Subscribe(s.app, s.notify); err == nil {
		s.stop = stop
	}
}

func (s *lateSubscription) end() {
	s.mu.Lock()
	stop := s.stop
	s.ended, s.stop = true, nil
	s.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// Governed implements registry.Inspector.
func (l *Late) Governed(ctx context.Context) ([]registry.App, error) {
	r, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return r.Governed(ctx)
}

// Pod implements registry.Inspector.
func (l *Late) Pod(ctx context.Context, namespace, name string) (registry.Pod, error) {
	r, err := l.get(ctx)
	if err != nil {
		return registry.Pod{}, err
	}
	return r.Pod(ctx, namespace, name)
}

// Config implements registry.Inspector.
func (l *Late) Config(ctx context.Context, namespace, name string) (registry.Config, error) {
	r, err := l.get(ctx)
	if err != nil {
		return registry.Config{}, err
	}
	return r.Config(ctx, namespace, name)
}

// SetConfig implements registry.Inspector.
func (l *Late) SetConfig(ctx context.Context, namespace, name, id, document, text string) error {
	r, err := l.get(ctx)
	if err != nil {
		return err
	}
	return r.SetConfig(ctx, namespace, name, id, document, text)
}

// PodAt implements registry.Locator.
func (l *Late) PodAt(ctx context.Context, namespace string, address netip.Addr) (registry.PodName, error) {
	r, err := l.get(ctx)
	if err != nil {
		return registry.PodName{}, err
	}
	return r.PodAt(ctx, namespace, address)
}

// PutMetadata implements registry.MetadataStore.
func (l *Late) PutMetadata(ctx context.Context, app registry.App, revision string, document []byte) error {
	r, err := l.get(ctx)
	if err != nil {
		return err
	}
	return r.PutMetadata(ctx, app, revision, document)
}

// Metadata implements registry.MetadataStore.
func (l *Late) Metadata(ctx context.Context, app registry.App, revision string) ([]byte, error) {
	r, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return r.Metadata(ctx, app, revision)
}

// Revisions implements registry.MetadataStore.
func (l *Late) Revisions(ctx context.Context, app registry.App) ([]registry.Revision, error) {
	r, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return r.Revisions(ctx, app)
}

// DeleteMetadata implements registry.MetadataStore.
func (l *Late) DeleteMetadata(ctx context.Context, app registry.App, revision string) error {
	r, err := l.get(ctx)
	if err != nil {
		return err
	}
	return r.DeleteMetadata(ctx, app, revision)
}

// Review implements access.TokenReviewer. It does not wait: the one who asks
// comes again.
func (l *Late) Review(ctx context.Context, token string) (access.Instance, error) {
	select {
	case <-l.known:
	default:
		return access.Instance{}, &access.Error{Code: access.Unavailable, Message: "the cluster is still starting", Fix: "try again in a moment"}
	}
	if l.reviewer == nil {
		return access.Instance{}, &access.Error{Code: access.Unavailable, Message: "there is no cluster that could be asked whose the token is"}
	}
	return l.reviewer.Review(ctx, token)
}
