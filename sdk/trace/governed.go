package trace

import (
	"strconv"

	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/tracing"
)

// Answers in place of a call that are no policy's; those of policies are of
// breaker.Answer.
const (
	FallbackRoute = "route" // what a route of the gateway says
	FallbackCode  = "code"  // what the service's own code says
)

// The functions below write on spans what leads from them to metrics and policies,
// for a bounded cost: a few tags, and nothing on spans that nobody will read. A span
// may be nil.

// Governed says on a span which circuit guards what it is of, by the command under
// which the circuit's metrics are found: the provider's circuit on the span of a
// server or of work within the service, the caller's on that of a client.
func Governed(span zipkin.Span, s governance.Series) {
	if kept(span) {
		span.Tag(tracing.TagCommand, s.Command)
	}
}

// GovernedAtCaller is Governed for a server's span that stands for a call which the
// server makes, as the gateway's do.
func GovernedAtCaller(span zipkin.Span, s governance.Series) {
	if !kept(span) {
		return
	}
	span.Tag(tracing.TagCommand, s.Command)
	span.Tag(tracing.TagAt, string(governance.Caller))
	tagPeer(span, s.Peer)
}

func tagPeer(span zipkin.Span, peer governance.App) {
	if peer.Namespace != "" && peer.Name != "" {
		span.Tag(tracing.TagPeer, peer.String())
	}
}

// Refused says on a span why its call was not let through, and by which policy, if
// the circuit did not decide by itself.
func Refused(span zipkin.Span, r *breaker.Refused) {
	if kept(span) {
		span.Tag(tracing.TagRefused, string(r.Reason))
		tagPolicy(span, r.Policy, r.Version)
	}
}

// Answered says on a span that a policy answered for its call: the one that refused
// it, if one did, else the one that the circuit's fallback is of. refused is nil for
// a call that was let through.
func Answered(span zipkin.Span, c *breaker.Circuit, a breaker.Answer, refused *breaker.Refused) {
	switch {
	case !kept(span):
	case refused != nil && refused.Policy != "":
		Fallback(span, a.Kind(), refused.Policy, refused.Version)
	default:
		source := c.Effective().Sources["fallback"]
		Fallback(span, a.Kind(), source.Policy, source.Version)
	}
}

// Fallback says on a span that its call was answered for, of what kind the answer
// was, and by which policy; none for what no policy says.
func Fallback(span zipkin.Span, kind, policy string, version int64) {
	if kept(span) {
		span.Tag(tracing.TagFallback, kind)
		tagPolicy(span, policy, version)
	}
}

func tagPolicy(span zipkin.Span, policy string, version int64) {
	if policy != "" {
		span.Tag(tracing.TagPolicy, policy)
		span.Tag(tracing.TagPolicyVersion, strconv.FormatInt(version, 10))
	}
}

// Retried says on a span how often its call was made again so far.
func Retried(span zipkin.Span, times int) {
	if kept(span) {
		span.Tag(tracing.TagRetries, strconv.Itoa(times))
	}
}

// kept reports whether anybody will read a span: most are not sampled, and are to
// cost nothing.
func kept(span zipkin.Span) bool {
	if span == nil {
		return false
	}
	c := span.Context()
	return c.Debug || c.Sampled != nil && *c.Sampled
}
