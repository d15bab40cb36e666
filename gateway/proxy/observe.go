package proxy

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/sdk/trace"
	"github.com/weirmesh/weir/tracing"
)

// trace begins the server's span of the exchange, as part of the client's trace.
func (x *exchange) trace() {
	if x.p.config.Tracer == nil {
		return
	}
	x.span, _ = x.p.config.Tracer.StartServer(x.r.Context(), x.spanName(), trace.Header(x.r.Header))
	x.span.Tag(string(zipkin.TagHTTPMethod), x.r.Method)
	x.span.Tag(string(zipkin.TagHTTPPath), x.path.plain)
	x.span.Tag(tracing.TagRoute, x.route.name)
	x.r = x.r.WithContext(zipkin.NewContext(x.r.Context(), x.span))
}

// spanName is the operation: the method and the route's pattern, which are few.
func (x *exchange) spanName() string {
	name := "other" // a client may make up methods, and names are to be few
	if methods := x.route.methods; methodBit(x.r.Method) != 0 || slices.Contains(methods.other, x.r.Method) {
		name = strings.ToLower(x.r.Method)
	}
	if path := x.route.spec.Match.Path; path != "" {
		name += " " + path
	}
	return name
}

func tagStatus(s zipkin.Span, status int) {
	code := strconv.Itoa(status)
	s.Tag(string(zipkin.TagHTTPStatusCode), code)
	if status >= 500 {
		s.Tag(string(zipkin.TagError), code)
	}
}

func (x *exchange) finishSpan() {
	if x.span == nil {
		return
	}
	if x.status != 0 {
		tagStatus(x.span, x.status)
	}
	if x.code != "" {
		x.span.Tag(tracing.TagProblem, x.code)
	}
	x.span.Finish()
}

// logAccess writes a line for the exchange, if it is among those to be written.
func (x *exchange) logAccess() {
	log := x.p.config.AccessLog
	if log == nil || x.p.config.AccessShare < 1 && rand.Float64() >= x.p.config.AccessShare {
		return
	}
	route := ""
	if x.route != nil {
		route = x.route.name
	}
	log.LogAttrs(x.r.Context(), slog.LevelInfo, "request",
		slog.String("method", x.r.Method),
		slog.String("host", x.r.Host),
		slog.String("path", x.path.plain),
		slog.String("client", x.r.RemoteAddr),
		slog.String("route", route),
		slog.String("upstream", x.endpoint),
		slog.Int("status", x.status),
		slog.Int64("bytes", x.bytes),
		slog.Int("attempts", x.attempts),
		slog.String("problem", x.code),
		slog.Duration("took", x.p.now().Sub(x.began)),
	)
}

// failures tells of upstreams that fail, not more often than somebody would want
// to read: one line a second for each route and kind.
type failures struct {
	mu   sync.Mutex
	last map[failureKey]time.Time
}

type failureKey struct{ route, code string }

const (
	failureEvery = time.Second
	maxFailures  = 1000 // kinds remembered
)

func (f *failures) log(x *exchange, p *problem) {
	key := failureKey{code: p.code}
	if x.route != nil {
		key.route = x.route.name
	}
	now := x.p.now()
	f.mu.Lock()
	if now.Sub(f.last[key]) < failureEvery {
		f.mu.Unlock()
		return
	}
	if f.last == nil || len(f.last) >= maxFailures {
		f.last = map[failureKey]time.Time{}
	}
	f.last[key] = now
	f.mu.Unlock()
	x.p.config.Log.LogAttrs(x.r.Context(), slog.LevelWarn, "a request failed at its upstream",
		slog.String("route", key.route), slog.String("problem", p.code), slog.String("method", x.r.Method),
		slog.Int("status", p.status), slog.Any("error", p.err))
}

var _ http.Handler = (*Proxy)(nil)
