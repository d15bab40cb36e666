package tracing

import "context"

// Writer keeps spans. Implementations are safe for concurrent use.
type Writer interface {
	// Write stores normalised spans, all or none of them, and returns once they
	// are as durable as the store makes them; a store on disk has then committed
	// them. After an Unavailable error they may or may not have been stored, and
	// writing them again does no harm: a span that is stored twice is read once
	// and counted once. The spans must not be changed afterwards.
	Write(ctx context.Context, spans []Span) error
}

// Replayer stores what waited elsewhere while the store was away.
type Replayer interface {
	// Replay stores spans like Write, exactly once for each number of a spool:
	// numbers ascend, and one not above the last that was stored stores nothing.
	Replay(ctx context.Context, spool string, number uint64, spans []Span) error
}

// Reader answers for what was stored. Implementations are safe for concurrent
// use, and their lists are sorted. Errors: Unavailable, or the context's.
type Reader interface {
	// Trace returns the spans of a trace as they were sent, Distinct, or none.
	Trace(ctx context.Context, id TraceID) ([]Span, error)

	// Traces returns those of several traces, without those it does not know, in
	// the order of ids, and says what of them could not be read.
	Traces(ctx context.Context, ids []TraceID) (Found, error)

	// Search returns the traces that match a normalised query, the newest first,
	// as Trace does. It never fails for taking long: it then returns what it found
	// and says so.
	Search(ctx context.Context, q Query) (Found, error)

	// Services returns the names of local services.
	Services(ctx context.Context) ([]string, error)

	// SpanNames returns those of a local service, whose name is in lower case.
	SpanNames(ctx context.Context, service string) ([]string, error)

	// RemoteServices returns the services that a local service calls.
	RemoteServices(ctx context.Context, service string) ([]string, error)

	// TagValues returns the values of one of the keys chosen for completion.
	TagValues(ctx context.Context, key string) ([]string, error)

	// Dependencies returns who called whom in traces that began, by the minute, in
	// a window in milliseconds as that of Query.
	Dependencies(ctx context.Context, end, lookback int64) ([]Link, error)
}

// Found is what a search found, or what was there of what was asked for.
type Found struct {
	Traces [][]Span
	// Cut says why it is not all, for the one who asked: the search ended before it
	// had looked at everything, or a trace could not be read whole. It is empty for a
	// search that found as many as were wanted.
	Cut string
}

// Checker tells how a store is.
type Checker interface {
	// Check returns nil if reading and writing are likely to succeed.
	Check(ctx context.Context) error
}
