package tracing

// Tags that lead from a span to what it was governed by. Weir's SDK and its gateway
// set them; spans of other senders have none but TagError.
const (
	// TagError, with any value, is Zipkin's word for a span that failed.
	TagError = "error"
	// TagNamespace completes the identity of the application whose name is the
	// span's service.
	TagNamespace = "weir.namespace"
	// TagInstance is the id of the application's instance: in Kubernetes the UID of
	// its pod.
	TagInstance = "weir.instance"
	// TagCommand is the command of the circuit that guards what the span is of, as
	// metrics and policies write it. The circuit is the provider's in a server's or
	// a local span and the caller's in a client's, unless weir.at says otherwise.
	TagCommand = "weir.command"
	// TagAt is where the circuit of weir.command is, if not where the span's kind
	// says: "caller" on the server's span of a request to the gateway, whose circuit
	// is that of the route's upstream.
	TagAt = "weir.at"
	// TagPeer is the application that a call goes to, as namespace/name.
	TagPeer = "weir.peer"
	// TagRefused is why a call was not let through: "open", "switched", "full", or
	// "gone" for one whose caller had gone.
	TagRefused = "weir.refused"
	// TagPolicy is the policy that refused the call, or answered in its place, as
	// namespace/name.
	TagPolicy = "weir.policy"
	// TagPolicyVersion is the version of that policy.
	TagPolicyVersion = "weir.policy.version"
	// TagFallback is what answered in place of the call: "value", "empty",
	// "cached" or "error" of a policy, "route" of a route, "code" of the service.
	TagFallback = "weir.fallback"
	// TagRetries is how often the call was made again.
	TagRetries = "weir.retries"
	// TagRoute is the gateway's route, as namespace/name.
	TagRoute = "weir.route"
	// TagProblem is the code of the problem document that the gateway answered with,
	// which the header Weir-Error of the answer has too.
	TagProblem = "weir.problem"
	// TagOutcome is how a Dubbo call that ended with an error counts for its circuit:
	// "failure", "timeout", "canceled", or "ignored" for one that the service said is
	// no failure.
	TagOutcome = "weir.outcome"
)

// RefusedGone is the value of TagRefused that refuses nobody.
const RefusedGone = "gone"

// Failed reports whether a span failed, which its sender says by a tag; an
// annotation of that name says nothing.
func (s *Span) Failed() bool {
	_, failed := s.Tag(TagError)
	return failed
}

// Refused reports whether a breaker, a switch or a policy refused what the span is
// of.
func (s *Span) Refused() bool {
	why, ok := s.Tag(TagRefused)
	return ok && why != RefusedGone
}
