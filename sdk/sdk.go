// Package sdk joins a Go service to Weir: circuit breakers that operators govern
// live, their metrics, and traces.
//
//	kit, err := sdk.Start(ctx, sdk.Config{App: "inventory"})
//	if err != nil { … }
//	defer kit.Close(ctx)
//
// A Kit is then handed to what guards calls: sdk/httpmw for HTTP, sdk/dubbo for
// Dubbo, sdk/hystrix for services on hystrix-go, or directly:
//
//	reserve := kit.Breakers().Circuit(governance.Series{Command: "reserve", At: governance.Provider})
//	n, err := breaker.Do(ctx, reserve, func(ctx context.Context) (int, error) { … })
//
// Start never waits for a control plane or a collector, and the service runs on
// as it is when they are gone: with the policies it has, which it keeps in a file
// for its next start. Outside Kubernetes, without an address of a control plane,
// a Kit works alone and says nothing.
//
// The package and those it imports need the standard library and zipkin-go.
package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/openzipkin/zipkin-go/reporter"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/policy"
	"github.com/weirmesh/weir/sdk/report"
	"github.com/weirmesh/weir/sdk/trace"
)

// Version is this SDK's, as instances tell it to the control plane.
const Version = "0.1.0"

// closeTimeout bounds Close where its context does not.
const closeTimeout = 5 * time.Second

// Kit is one service's link to Weir. It is safe for concurrent use.
type Kit struct {
	cfg      resolved
	log      *slog.Logger
	breakers *breaker.Set
	tracer   *trace.Tracer
	spans    *trace.Reporter  // nil without a collector
	policy   *policy.Client   // nil without a control plane
	report   *report.Reporter // nil without a control plane
	control  *http.Transport  // nil when it is the caller's
	deaf     func()           // stops listening to the breakers

	done     chan struct{} // closed when Close begins
	end      context.CancelFunc
	running  sync.WaitGroup
	closing  sync.Once
	closeErr error

	mu        sync.Mutex
	listeners []*func()
	observed  map[governance.Series]func() governance.State
}

// Start makes a kit and starts what runs behind it. It fails only for a Config
// that cannot work; it never waits for the network. The end of ctx does not end
// the kit: Close does, so that what happened last is still told.
func Start(ctx context.Context, cfg Config) (*Kit, error) {
	r, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	k := &Kit{cfg: r, log: r.log, done: make(chan struct{})}
	k.breakers = breaker.NewSet(breaker.Config{App: r.app, Settings: cfg.Settings, MaxCircuits: cfg.MaxCircuits})
	if err := k.startTracing(cfg); err != nil {
		return nil, err
	}
	run, end := context.WithCancel(context.WithoutCancel(ctx))
	k.end = end
	if err := k.startControl(run, cfg); err != nil {
		end()
		return nil, errors.Join(err, k.tracer.Close(ctx))
	}
	return k, nil
}

func (k *Kit) startTracing(cfg Config) error {
	var rep reporter.Reporter
	if k.cfg.tracingURL != "" {
		client := cfg.HTTPClient
		if client != nil { // the reporter's own bounds and no redirects
			client = &http.Client{Transport: client.Transport, Timeout: cmp.Or(client.Timeout, 10*time.Second), CheckRedirect: noRedirect}
		}
		spans, err := trace.NewReporter(trace.ReporterConfig{URL: k.cfg.tracingURL, Client: client, Logger: k.log})
		if err != nil {
			return fmt.Errorf("sdk: TracingURL (WEIR_TRACING_URL): %w", err)
		}
		k.spans, rep = spans, spans
	}
	tracer, err := trace.New(trace.Config{
		App: k.cfg.app, Instance: k.cfg.instance, IP: k.cfg.ip, SampleRate: cfg.SampleRate, Reporter: rep,
	})
	k.tracer = tracer
	return err
}

func (k *Kit) startControl(run context.Context, cfg Config) error {
	if k.cfg.controlURL == "" {
		return nil
	}
	var transport http.RoundTripper
	if cfg.HTTPClient != nil {
		transport = cmp.Or(cfg.HTTPClient.Transport, http.DefaultTransport)
	} else {
		// No proxy: the control plane is in the cluster, and a token goes there.
		k.control = &http.Transport{TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second}
		transport = k.control
	}
	var err error
	k.report, err = report.New(report.Config{
		URL: k.cfg.controlURL, App: k.cfg.app, Instance: k.cfg.instance, Name: k.cfg.name,
		Applied:  func() governance.Applied { return k.policy.Status().Applied },
		NewCalls: func() []governance.App { return k.policy.NewCalls() },
		Answered: func(a governance.ReportAnswer) { k.policy.Wanted(a) },
		Offset:   func() time.Duration { return k.policy.Status().Offset },
		Token:    k.cfg.token, Transport: transport, Logger: k.log,
	})
	if err != nil {
		return fmt.Errorf("sdk: ControlURL (WEIR_CONTROL_URL): %w", err)
	}
	k.policy, err = policy.New(policy.Config{
		URL: k.cfg.controlURL, App: k.cfg.app, Instance: k.cfg.instance, Name: k.cfg.name,
		Calls: cfg.Calls, SDK: "go/" + Version,
		Apply: k.breakers.Apply, Changed: k.policiesChanged,
		Token: k.cfg.token, Transport: transport, StateDir: k.cfg.stateDir, Logger: k.log,
	})
	if err != nil {
		return fmt.Errorf("sdk: %w", err)
	}
	k.report.AddSource(k.breakers.Collect)
	k.deaf = k.breakers.Listen(k.report.Transition)
	k.policy.Load()
	k.running.Go(func() { k.policy.Run(run) })
	k.running.Go(func() { k.report.Run(run) })
	return nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// policiesChanged acknowledges, and tells those who have to know.
func (k *Kit) policiesChanged() {
	k.report.Poke()
	k.mu.Lock()
	listeners := slices.Clone(k.listeners)
	k.mu.Unlock()
	for _, f := range listeners {
		(*f)()
	}
}

// App returns the application.
func (k *Kit) App() governance.App { return k.cfg.app }

// Instance returns the instance's id: the pod's UID, or a generated one.
func (k *Kit) Instance() string { return k.cfg.instance }

// Breakers returns the circuits of the process, which obey the control plane's
// policies.
func (k *Kit) Breakers() *breaker.Set { return k.breakers }

// Tracer returns the tracer; it is never nil.
func (k *Kit) Tracer() *trace.Tracer { return k.tracer }

// Logger returns the logger of the kit; it is never nil.
func (k *Kit) Logger() *slog.Logger { return k.log }

// Calls declares that this service calls another application, so that policies
// about those calls reach it. What guards calls declares by itself; repeating it
// costs little.
func (k *Kit) Calls(app governance.App) {
	if k.policy != nil && app.Name != "" {
		k.policy.AddCalls(app)
	}
}

// OnPolicies calls f, which must not block, after each set of policies that was
// applied or refused, until stop.
func (k *Kit) OnPolicies(f func()) (stop func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listeners = append(slices.Clip(k.listeners), &f)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.listeners = slices.DeleteFunc(slices.Clone(k.listeners), func(g *func()) bool { return g == &f })
	}
}

// AddSource tells the control plane of samples that are not counted by Breakers,
// such as those of another breaker library.
func (k *Kit) AddSource(s report.Source) {
	if k.report != nil {
		k.report.AddSource(s)
	}
}

// Transition tells the control plane of a transition of such a breaker.
func (k *Kit) Transition(t governance.Transition) {
	if k.report != nil {
		k.report.Transition(t)
	}
}

// Observe says who knows the state of a series whose calls another breaker
// library guards, for Metrics. The circuit in Breakers that bears its name then
// only tells what policies say of it. A nil function ends that.
func (k *Kit) Observe(s governance.Series, state func() governance.State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if state == nil {
		delete(k.observed, s)
		return
	}
	if k.observed == nil {
		k.observed = make(map[governance.Series]func() governance.State)
	}
	k.observed[s] = state
}

// Done is closed when Close begins, for what works as long as the kit does.
func (k *Kit) Done() <-chan struct{} { return k.done }

// Status is how a kit stands.
type Status struct {
	// Alone tells that there is no control plane to obey.
	Alone  bool
	Policy policy.Status
	Report report.Stats
	Spans  trace.Stats
}

// Status returns how the kit stands.
func (k *Kit) Status() Status {
	s := Status{Alone: k.policy == nil}
	if k.policy != nil {
		s.Policy, s.Report = k.policy.Status(), k.report.Stats()
	}
	if k.spans != nil {
		s.Spans = k.spans.Stats()
	}
	return s
}

// Close ends the stream and tells what is still to be told, until ctx ends, or for
// five seconds if ctx has no end or was canceled before, as a program's own is when
// it closes its kit. The circuits go on to work, with the policies
// they have. Calling it again waits for the first call and returns what it did.
func (k *Kit) Close(ctx context.Context) error {
	k.closing.Do(func() { k.closeErr = k.close(ctx) })
	return k.closeErr
}

func (k *Kit) close(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		ctx = context.WithoutCancel(ctx)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, closeTimeout)
		defer cancel()
	}
	close(k.done)
	var tracing error
	var wg sync.WaitGroup
	wg.Go(func() { tracing = k.tracer.Close(ctx) })
	k.end()
	k.running.Wait()
	var reporting error
	if k.report != nil {
		k.deaf()
		reporting = k.report.Flush(ctx)
	}
	k.breakers.Close()
	wg.Wait()
	if k.control != nil {
		k.control.CloseIdleConnections()
	}
	return errors.Join(reporting, tracing)
}
