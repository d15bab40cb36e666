// Package trace gives every service the same spans: a Tracer on zipkin-go with
// 128-bit trace ids and unshared spans, propagation that reads and writes W3C
// traceparent and every spelling of B3, a sampler that decides exactly as
// Zipkin's collector does, and a Reporter that never blocks the service and
// loses nothing it can avoid losing.
//
// A server does
//
//	span, ctx := tracer.StartServer(ctx, "get /cart/{id}", trace.Header(r.Header))
//	defer span.Finish()
//
// and a client
//
//	span, ctx := tracer.StartClient(ctx, "post /orders", governance.App{Namespace: "shop", Name: "orders"})
//	defer span.Finish()
//	trace.Inject(span.Context(), trace.Header(req.Header))
//
// Spans are zipkin-go's; all that zipkin-go offers on them works.
package trace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/reporter"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/tracing"
)

// Tags that every span of a Tracer bears, beside its service name: they complete
// the identity of the application and name the instance.
const (
	TagNamespace = tracing.TagNamespace
	TagInstance  = tracing.TagInstance
)

// Config says whose spans a Tracer makes and where they go.
type Config struct {
	// App is the application; its name is the spans' service name. Required.
	App governance.App
	// Instance is the instance's id: the pod's UID, or a generated one.
	Instance string
	// IP and Port are where the instance serves; optional.
	IP   netip.Addr
	Port uint16
	// SampleRate is the share, above 0 and up to 1, of new traces that are kept.
	// Zero keeps all; less than zero keeps none. Traces that were begun elsewhere
	// keep the decision made there.
	SampleRate float64
	// Reporter takes finished spans. Nil makes spans that go nowhere: their
	// contexts are still passed on, so that a trace does not break here.
	Reporter reporter.Reporter
}

// Tracer makes spans. It is safe for concurrent use.
type Tracer struct {
	*zipkin.Tracer
	sampler  *Sampler
	reporter reporter.Reporter
}

// New returns a Tracer.
func New(cfg Config) (*Tracer, error) {
	if cfg.App.Name == "" {
		return nil, errors.New("trace: the application has no name: set Config.App")
	}
	t := &Tracer{sampler: NewSampler(cfg.SampleRate), reporter: cfg.Reporter}
	if t.reporter == nil {
		t.reporter = reporter.NewNoopReporter()
	}
	local := &model.Endpoint{ServiceName: cfg.App.Name, Port: cfg.Port}
	if ip := cfg.IP.Unmap(); ip.Is4() {
		local.IPv4 = ip.AsSlice()
	} else if ip.Is6() {
		local.IPv6 = ip.AsSlice()
	}
	tags := map[string]string{TagNamespace: cfg.App.Namespace}
	if cfg.Instance != "" {
		tags[TagInstance] = cfg.Instance
	}
	z, err := zipkin.NewTracer(t.reporter,
		zipkin.WithLocalEndpoint(local),
		zipkin.WithSharedSpans(false), // Spring Boot 3 and OpenTelemetry do not join spans either
		zipkin.WithIDGenerator(ids{}),
		zipkin.WithSampler(t.sampler.Sample),
		zipkin.WithTags(tags),
	)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	t.Tracer = z
	return t, nil
}

// StartServer begins the span of a call that came in, as a child of the context
// in its carrier, or of a new trace where there is none. The returned context
// holds the span; calls made under it become its children.
func (t *Tracer) StartServer(ctx context.Context, name string, c Carrier) (zipkin.Span, context.Context) {
	return t.start(ctx, name, model.Server, Extract(c))
}

// StartClient begins the span of a call to another application, as a child of
// the span in ctx; the zero App is one that is not known. The caller injects
// span.Context() into what it sends.
func (t *Tracer) StartClient(ctx context.Context, name string, peer governance.App) (zipkin.Span, context.Context) {
	opts := []zipkin.SpanOption{zipkin.Kind(model.Client)}
	if peer.Name != "" {
		opts = append(opts, zipkin.RemoteEndpoint(&model.Endpoint{ServiceName: peer.Name}))
	}
	span, ctx := t.StartSpanFromContext(ctx, name, opts...)
	if kept(span) {
		tagPeer(span, peer) // a span's endpoint has no namespace
	}
	return span, ctx
}

// StartWithin begins the span of work within the service, if there is a span in ctx
// that it is a part of; else it returns nil and ctx.
func (t *Tracer) StartWithin(ctx context.Context, name string) (zipkin.Span, context.Context) {
	if zipkin.SpanFromContext(ctx) == nil {
		return nil, ctx
	}
	return t.StartSpanFromContext(ctx, name)
}

func (t *Tracer) start(ctx context.Context, name string, kind model.Kind, parent model.SpanContext) (zipkin.Span, context.Context) {
	span := t.StartSpan(name, zipkin.Kind(kind), zipkin.Parent(parent))
	return span, zipkin.NewContext(ctx, span)
}

// SetSampleRate changes the share of new traces that are kept, at once; values
// have the meaning of Config.SampleRate.
func (t *Tracer) SetSampleRate(rate float64) { t.sampler.SetRate(rate) }

// SampleRate returns the share, 0 to 1, of new traces that are kept.
func (t *Tracer) SampleRate() float64 { return t.sampler.Rate() }

// Reporter returns where finished spans go.
func (t *Tracer) Reporter() reporter.Reporter { return t.reporter }

// Close tells what is still to be told, until ctx ends. Spans that finish later
// are dropped and counted.
func (t *Tracer) Close(ctx context.Context) error {
	if s, ok := t.reporter.(interface{ Shutdown(context.Context) error }); ok {
		return s.Shutdown(ctx)
	}
	return t.reporter.Close()
}

// Annotate marks a moment on the span in ctx; without one it does nothing.
func Annotate(ctx context.Context, text string) {
	if span := zipkin.SpanFromContext(ctx); span != nil {
		span.Annotate(time.Now(), text)
	}
}

// ids generates random ids without a lock; zipkin-go's own share one.
type ids struct{}

func (ids) TraceID() model.TraceID {
	return model.TraceID{High: nonzero(), Low: nonzero()}
}

// SpanID gives a root span the low half of its trace's id, as Zipkin's own
// libraries do.
func (ids) SpanID(t model.TraceID) model.ID {
	if !t.Empty() && t.Low != 0 {
		return model.ID(t.Low)
	}
	return model.ID(nonzero())
}

func nonzero() uint64 {
	for {
		if n := rand.Uint64(); n != 0 {
			return n
		}
	}
}
