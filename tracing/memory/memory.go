// Package memory keeps spans in the memory of a process: for tests, and for a look
// at tracing without a database. It answers as the PostgreSQL store does.
package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/weirmesh/weir/tracing"
)

// Config tunes a Store.
type Config struct {
	// MaxSpans bounds what is kept; the traces that were written to longest ago
	// are forgotten first. Default 500,000.
	MaxSpans int
	// Lenient takes ids of 64 and 128 bits with the same lower half for one trace.
	Lenient bool
	// TagKeys are the tags whose values TagValues lists.
	TagKeys []string
}

// Store implements tracing.Writer and Reader. It is safe for concurrent use.
type Store struct {
	cfg Config

	mu     sync.RWMutex
	traces map[uint64]*trace
	count  int
	clock  uint64
	spools map[string]uint64
}

type trace struct {
	spans   []tracing.Span
	written uint64 // on the store's clock of writes
}

var (
	_ tracing.Writer   = (*Store)(nil)
	_ tracing.Replayer = (*Store)(nil)
	_ tracing.Reader   = (*Store)(nil)
	_ tracing.Checker  = (*Store)(nil)
)

// New returns an empty store.
func New(c Config) *Store {
	if c.MaxSpans <= 0 {
		c.MaxSpans = 500_000
	}
	return &Store{cfg: c, traces: make(map[uint64]*trace), spools: make(map[string]uint64)}
}

// Check implements tracing.Checker: memory is always there.
func (s *Store) Check(context.Context) error { return nil }

// Write implements tracing.Writer. What is written lives as long as the process.
func (s *Store) Write(ctx context.Context, spans []tracing.Span) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(spans)
	return nil
}

// Replay implements tracing.Replayer.
func (s *Store) Replay(ctx context.Context, spool string, number uint64, spans []tracing.Span) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.spools[spool]; ok && number <= last {
		return nil
	}
	s.spools[spool] = number
	s.write(spans)
	return nil
}

func (s *Store) write(spans []tracing.Span) {
	s.clock++
	for _, span := range spans {
		t := s.traces[span.TraceID.Low]
		if t == nil {
			t = &trace{}
			s.traces[span.TraceID.Low] = t
		}
		t.spans = append(t.spans, span)
		t.written = s.clock
		s.count++
	}
	if s.count <= s.cfg.MaxSpans {
		return
	}
	// A tenth at once, so that this is rare.
	oldest := slices.SortedFunc(maps.Keys(s.traces), func(a, b uint64) int { return cmp.Compare(s.traces[a].written, s.traces[b].written) })
	for _, low := range oldest {
		if s.count <= s.cfg.MaxSpans*9/10 {
			return
		}
		s.count -= len(s.traces[low].spans)
		delete(s.traces, low)
	}
}

// split takes apart the traces that share the lower half of their ids.
func (s *Store) split(spans []tracing.Span) [][]tracing.Span {
	by := make(map[tracing.TraceID][]tracing.Span)
	for _, span := range spans {
		id := span.TraceID
		if s.cfg.Lenient {
			id.High = 0
		}
		by[id] = append(by[id], span)
	}
	out := make([][]tracing.Span, 0, len(by))
	for _, list := range by {
		out = append(out, tracing.Distinct(list))
	}
	return out
}

// Trace implements tracing.Reader.
func (s *Store) Trace(ctx context.Context, id tracing.TraceID) ([]tracing.Span, error) {
	found, err := s.Traces(ctx, []tracing.TraceID{id})
	if err != nil || len(found.Traces) == 0 {
		return nil, err
	}
	return found.Traces[0], nil
}

// Traces implements tracing.Reader.
func (s *Store) Traces(ctx context.Context, ids []tracing.TraceID) (tracing.Found, error) {
	if err := ctx.Err(); err != nil {
		return tracing.Found{}, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out [][]tracing.Span
	done := make(map[tracing.TraceID]bool)
	for _, id := range ids {
		if s.cfg.Lenient {
			id.High = 0
		}
		t := s.traces[id.Low]
		if t == nil || done[id] {
			continue
		}
		done[id] = true
		for _, list := range s.split(t.spans) {
			if s.cfg.Lenient || list[0].TraceID == id {
				out = append(out, list)
			}
		}
	}
	return tracing.Found{Traces: out}, nil
}

// Search implements tracing.Reader.
func (s *Store) Search(ctx context.Context, q tracing.Query) (tracing.Found, error) {
	if err := ctx.Err(); err != nil {
		return tracing.Found{}, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out [][]tracing.Span
	for _, t := range s.traces {
		for _, list := range s.split(t.spans) {
			if q.Match(list) {
				out = append(out, list)
			}
		}
	}
	slices.SortFunc(out, func(a, b []tracing.Span) int {
		return cmp.Or(cmp.Compare(tracing.TraceTime(b), tracing.TraceTime(a)), cmp.Compare(a[0].TraceID.Low, b[0].TraceID.Low))
	})
	return tracing.Found{Traces: out[:min(len(out), q.Limit)]}, nil
}

// names collects what f yields of spans.
func (s *Store) names(ctx context.Context, f func(*tracing.Span) string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := make(map[string]struct{})
	for _, t := range s.traces {
		for i := range t.spans {
			if name := f(&t.spans[i]); name != "" {
				found[name] = struct{}{}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), strings.Compare), nil
}

// Services implements tracing.Reader.
func (s *Store) Services(ctx context.Context) ([]string, error) {
	return s.names(ctx, func(span *tracing.Span) string { return span.Local.Service })
}

// SpanNames implements tracing.Reader.
func (s *Store) SpanNames(ctx context.Context, service string) ([]string, error) {
	return s.names(ctx, func(span *tracing.Span) string {
		if span.Local.Service != service || service == "" {
			return ""
		}
		return span.Name
	})
}

// RemoteServices implements tracing.Reader.
func (s *Store) RemoteServices(ctx context.Context, service string) ([]string, error) {
	return s.names(ctx, func(span *tracing.Span) string {
		if span.Local.Service != service || service == "" {
			return ""
		}
		return span.Remote.Service
	})
}

// TagValues implements tracing.Reader.
func (s *Store) TagValues(ctx context.Context, key string) ([]string, error) {
	if !slices.Contains(s.cfg.TagKeys, key) {
		return nil, nil
	}
	return s.names(ctx, func(span *tracing.Span) string {
		value, _ := span.Tag(key)
		return value
	})
}

// Dependencies implements tracing.Reader. It links all traces of the window anew.
func (s *Store) Dependencies(ctx context.Context, end, lookback int64) ([]tracing.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	const minute = 60_000_000
	from, to := tracing.Window(end, lookback)
	s.mu.RLock()
	defer s.mu.RUnlock()
	var links [][]tracing.Link
	for _, t := range s.traces {
		began := tracing.TraceTime(t.spans)
		if began != 0 && began/minute >= from/minute && began/minute <= to/minute {
			links = append(links, tracing.Links(t.spans))
		}
	}
	return tracing.MergeLinks(links...), nil
}
