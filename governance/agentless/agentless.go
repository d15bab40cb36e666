// Package agentless governs applications that hold no code of Weir's: Spring Cloud
// with Hystrix or Resilience4j. It reads what their pods count from their
// management ports, and applies policies by writing there. Of Dubbo Java it reads what
// pods count, and nothing else.
//
// The way of a pod: the registry says which Services ask to be governed
// (registry.Govern) and which pods they have; of those, each control plane takes
// its share (membership.go) and holds one session a pod (session.go). A session
// finds the pod's management (place.go, actuator.go, qos.go), has its engine count and
// obey, and stores samples and transitions as instances with an SDK do (report.go).
//
// There are three engines. Hystrix (hystrix.go): its stream is read (stream.go) and
// turned into samples (window.go); what the policies come to (settings.go) is held
// against what the stream shows to be in effect, and what differs is written as
// properties (apply.go). Resilience4j (resilience.go): its metrics and its circuit
// breakers are asked for every few seconds (tally.go), and circuit breakers are held
// open, disabled and let go by their actuator (modes.go). Either says that policies
// are applied once the pod says so itself.
//
// Where a Service says which ConfigMap its pods read, what the policies come to is
// written into that too (config.go), so that it holds in new processes from their
// first call on.
//
// Nothing is read or written where a Service has not asked for it. What stands in
// the way is said of each instance (governance.Instance.Lacks), what a policy asks
// for that an engine has not, of each policy (governance.Applied.Unmet).
//
// A pod keeps nothing over a restart, and knows of no control plane: what is wished
// is written again to a process that begins anew, and what expires is taken back
// from here.
package agentless

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

// Registry tells which applications to govern, and where they are.
type Registry interface {
	registry.Inspector
	Subscribe(app registry.App, notify func(registry.Snapshot)) (stop func(), err error)
}

// Policies tells what instances have to enforce.
type Policies interface {
	// Policies returns what each instance of an application has to enforce that calls
	// no other; false while policies have not been read.
	Policies(app governance.App) (governance.PolicySet, bool)
	// PoliciesChanged returns a channel that is closed with the next change.
	PoliciesChanged() <-chan struct{}
}

// Store keeps what was heard, and who collects.
type Store interface {
	// PutInstances and Instances are those of governance.Fleet.
	PutInstances(ctx context.Context, in ...governance.Instance) error
	Instances(ctx context.Context, app governance.App) ([]governance.Instance, error)
	Append(ctx context.Context, r governance.Report) error
	// Circuits is that of governance.History.
	Circuits(ctx context.Context, app governance.App) ([]governance.Circuit, bool, error)
	// Record and Events are those of governance.History.
	Record(ctx context.Context, events ...governance.Event) error
	Events(ctx context.Context, q governance.EventQuery) ([]governance.Event, error)
	// Collect says that a process collects, and returns all of which that was heard
	// within the time given.
	Collect(ctx context.Context, id string, gone time.Duration) ([]string, error)
	// EndCollect takes that back.
	EndCollect(ctx context.Context, id string) error
}

// Config are the settings of a Service. Registry, Policies and Store are required.
type Config struct {
	Registry Registry
	Policies Policies
	Store    Store
	// MaxPods bounds the pods of this control plane, 2,000 when zero; more are named
	// as not governed.
	MaxPods int
	// Writers bounds the pods that are written to at once, 50 when zero.
	Writers int
	Log     *slog.Logger
	// Metrics gets the collectors of this package; nil for none.
	Metrics prometheus.Registerer
	// Now tells the time. Default time.Now.
	Now func() time.Time
	// Dial reaches pods; nil for the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (c Config) withDefaults() Config {
	c.MaxPods, c.Writers = cmp.Or(c.MaxPods, 2000), cmp.Or(c.Writers, 50)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	return c
}

// Service governs from one control plane. It is safe for concurrent use.
type Service struct {
	cfg     Config
	log     *slog.Logger
	client  *http.Client
	places  places
	docs    documents
	metrics *metrics
	writers chan struct{} // holds a token for each pod that is written to
	held    atomic.Int64  // sessions
	wg      sync.WaitGroup

	mu       sync.Mutex
	ctx      context.Context //nolint:containedctx // that of Run, for the sessions it starts
	members  members
	apps     map[registry.App]*followed
	sessions map[string]*session // by the instance's ID
	turned   map[string]governance.Instance
}

// followed is one application that asks to be governed.
type followed struct {
	stop     func()
	snapshot registry.Snapshot
}

// New returns a Service. It does no I/O.
func New(c Config) *Service {
	c = c.withDefaults()
	s := &Service{
		cfg: c, log: c.Log, writers: make(chan struct{}, c.Writers), metrics: newMetrics(),
		members: members{self: rand.Text()}, apps: map[registry.App]*followed{}, sessions: map[string]*session{},
		turned: map[string]governance.Instance{},
	}
	s.client = &http.Client{
		// A pod that sends elsewhere is not followed there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: c.Dial, MaxIdleConnsPerHost: 1, MaxConnsPerHost: 3, MaxIdleConns: c.MaxPods, IdleConnTimeout: time.Minute,
			ResponseHeaderTimeout: answerPatience, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		},
	}
	if c.Metrics != nil {
		s.metrics.register(c.Metrics, c.Log)
	}
	return s
}

// Run governs until ctx ends. What is away is tried again.
func (s *Service) Run(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	var loops sync.WaitGroup
	loops.Go(func() { s.join(ctx) })
	loops.Go(func() { s.follow(ctx) })
	loops.Go(func() { s.tell(ctx) })
	loops.Go(func() { s.configure(ctx) })
	loops.Wait()
	s.mu.Lock()
	apps := s.apps
	s.apps = map[registry.App]*followed{}
	s.ctx = nil
	s.mu.Unlock()
	for _, a := range apps {
		a.stop()
	}
	s.wg.Wait()
	s.client.CloseIdleConnections()
	return nil
}

// Facts are what the console shows of this part of a control plane.
func (s *Service) Facts() node.Facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.apps) == 0 {
		return node.Facts{}
	}
	f := node.Facts{Queues: []node.Queue{{Name: "pods without code of Weir's", Unit: "pods", Depth: int64(len(s.sessions)), Limit: int64(s.cfg.MaxPods)}}}
	if n := len(s.turned); n > 0 {
		f.Notes = append(f.Notes, "more pods ask to be governed than this control plane may hold: raise --agentless-pods, or add a control plane")
	}
	return f
}

const (
	// lookEvery is how often it is asked which applications are to be governed, and
	// lookPatience how long an answer may take.
	lookEvery    = 2 * time.Second
	lookPatience = 4 * time.Second
	// tellFailure is after how many failures in a row it is logged.
	tellFailure = 5
)

// follow keeps a subscription to each application that is to be governed.
func (s *Service) follow(ctx context.Context) {
	failures := 0
	for {
		look, done := context.WithTimeout(ctx, lookPatience)
		apps, err := s.cfg.Registry.Governed(look)
		done()
		switch {
		case err == nil:
			failures = 0
			s.subscribe(apps)
		case ctx.Err() != nil:
		default:
			// What is known goes on being governed. A cluster may take a moment to start.
			if failures++; failures != tellFailure {
				break
			}
			s.log.WarnContext(ctx, "cannot tell which applications ask to be governed, and will try again", "error", err)
		}
		if !pause.For(ctx, lookEvery) {
			return
		}
	}
}

func (s *Service) subscribe(apps []registry.App) {
	var over []*followed
	var fresh []registry.App
	s.mu.Lock()
	for app, f := range s.apps {
		if !slices.Contains(apps, app) {
			delete(s.apps, app)
			over = append(over, f)
		}
	}
	for _, app := range apps {
		if s.apps[app] == nil {
			s.apps[app] = &followed{}
			fresh = append(fresh, app)
		}
	}
	s.mu.Unlock()
	for _, f := range over {
		f.stop()
	}
	for _, app := range fresh {
		stop, err := s.cfg.Registry.Subscribe(app, func(snapshot registry.Snapshot) {
			s.mu.Lock()
			if f := s.apps[app]; f != nil {
				f.snapshot = snapshot
			}
			s.mu.Unlock()
			s.shareOut()
		})
		s.mu.Lock()
		if err != nil {
			delete(s.apps, app)
			s.log.Warn("an application that asks to be governed cannot be followed", "app", app.String(), "error", err)
		} else {
			s.apps[app].stop = stop
		}
		s.mu.Unlock()
	}
	if len(over)+len(fresh) > 0 {
		s.shareOut()
	}
}

// shareOut starts and ends sessions, so that there is one for each pod that is
// this control plane's.
func (s *Service) shareOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.ctx.Err() != nil {
		return
	}
	wanted := map[string]bool{}
	clear(s.turned)
	for _, app := range sortedApps(s.apps) {
		f := s.apps[app]
		if f.snapshot.Service.Govern == nil {
			continue
		}
		for i := range f.snapshot.Instances {
			in := &f.snapshot.Instances[i]
			if !governable(in) || owner(s.members.live, in.ID) != s.members.self {
				continue
			}
			wanted[in.ID] = true
			if have := s.sessions[in.ID]; have != nil {
				have.renew(f.snapshot.Service, *in)
				continue
			}
			if len(s.sessions) >= s.cfg.MaxPods {
				s.turned[in.ID] = governance.Instance{
					App: governance.App{Namespace: app.Namespace, Name: app.Name}, ID: in.ID, Name: in.Name, Outside: true,
					Lacks: []string{"this control plane holds as many pods as it may: raise --agentless-pods, or add a control plane"},
				}
				continue
			}
			s.begin(app, f.snapshot.Service, *in)
		}
	}
	for id, have := range s.sessions {
		if !wanted[id] {
			have.end()
			delete(s.sessions, id)
		}
	}
	s.held.Store(int64(len(s.sessions)))
	s.metrics.pods.Set(float64(len(s.sessions)))
}

// governable reports whether an instance is a pod that lives.
func governable(in *registry.Instance) bool {
	return in.Host.IsValid() && in.Health != registry.Terminating && len(in.ID) > 0 && in.Name != in.Host.String()
}

// begin starts a session; s.mu is held.
func (s *Service) begin(app registry.App, service registry.Service, in registry.Instance) {
	ctx, end := context.WithCancel(s.ctx)
	n := newSession(s, app, service, in, end)
	// One that another had until now is let go there first.
	n.wait = len(s.members.live) > 1
	s.sessions[in.ID] = n
	s.wg.Go(func() { n.run(ctx) })
}

func sortedApps(m map[registry.App]*followed) []registry.App {
	out := make([]registry.App, 0, len(m))
	for app := range m {
		out = append(out, app)
	}
	slices.SortFunc(out, registry.App.Compare)
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
