package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/klauspost/compress/zstd"

	"github.com/weirmesh/weir/tracing"
)

// Bounds of what is read at once.
const (
	maxFragments = 200_000   // of the traces that are read together
	maxInflated  = 512 << 20 // bytes of their payloads
)

// payloads inflates payloads one after the other.
type payloads struct {
	store    *Store
	dicts    *dictionaries
	reloaded bool
	buf      []byte
	total    int
}

func (s *Store) payloads(ctx context.Context) (*payloads, error) {
	d, err := s.dictionaries(ctx)
	if err != nil {
		return nil, err
	}
	return &payloads{store: s, dicts: d}, nil
}

var errTooLarge = errors.New("the traces are too large to be read together")

// errUnreadable is of a payload that is damaged, or whose dictionary is gone. No
// other fragment must suffer for it.
var errUnreadable = errors.New("read a payload")

// inflate returns a payload; the next call overwrites it.
func (p *payloads) inflate(ctx context.Context, raw []byte) ([]byte, error) {
	out, err := p.dicts.decoder.DecodeAll(raw, p.buf[:0])
	if errors.Is(err, zstd.ErrUnknownDictionary) && !p.reloaded {
		// Another process has trained one since.
		p.reloaded = true
		if p.dicts, err = p.store.loadDictionaries(ctx, p.dicts); err == nil {
			out, err = p.dicts.decoder.DecodeAll(raw, p.buf[:0])
		}
	}
	if err != nil {
		if ctx.Err() != nil || tracing.CodeOf(err) == tracing.Unavailable {
			return nil, err // the dictionaries could not be loaded
		}
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	p.buf = out
	if p.total += len(out); p.total > maxInflated {
		return nil, errTooLarge
	}
	return out, nil
}

// fetch reads traces by the lower halves of their ids, each as the spans that were
// sent. What is beyond the bounds is left out, which it reports.
func (s *Store) fetch(ctx context.Context, traces []int64) (spans map[int64][]tracing.Span, cut bool, err error) {
	p, err := s.payloads(ctx)
	if err != nil {
		return nil, false, err
	}
	rows, err := s.pool.Query(ctx, "SELECT trace, payload FROM tracing.fragment WHERE trace = ANY($1) LIMIT $2", traces, maxFragments)
	if err != nil {
		return nil, false, s.fail(ctx, err, "read traces")
	}
	spans = make(map[int64][]tracing.Span, len(traces))
	n := 0
	var trace int64
	var raw pgtype.DriverBytes
	_, err = pgx.ForEachRow(rows, []any{&trace, &raw}, func() error {
		n++
		payload, err := p.inflate(ctx, raw)
		var list []tracing.Span
		if err == nil {
			list, err = tracing.DecodeProto(payload)
		}
		if errors.Is(err, errUnreadable) || tracing.CodeOf(err) == tracing.Invalid {
			s.metrics.unreadable.Inc()
			s.cfg.Log.ErrorContext(ctx, "a fragment cannot be read and was left out", "trace", tracing.ID(trace), "error", err)
			cut = true
			return nil
		}
		if err != nil {
			return err
		}
		spans[trace] = append(spans[trace], list...)
		return nil
	})
	if errors.Is(err, errTooLarge) {
		return spans, true, nil
	}
	if err != nil {
		return nil, false, s.fail(ctx, err, "read traces")
	}
	return spans, cut || n == maxFragments, nil
}

// split takes apart the traces that share the lower half of their ids.
func (s *Store) split(spans []tracing.Span) [][]tracing.Span {
	if len(spans) == 0 {
		return nil
	}
	if s.cfg.Lenient {
		return [][]tracing.Span{tracing.Distinct(spans)}
	}
	first := spans[0].TraceID
	one := true
	for i := range spans {
		one = one && spans[i].TraceID == first
	}
	if one {
		return [][]tracing.Span{tracing.Distinct(spans)}
	}
	var order []tracing.TraceID
	by := make(map[tracing.TraceID][]tracing.Span)
	for _, s := range spans {
		if by[s.TraceID] == nil {
			order = append(order, s.TraceID)
		}
		by[s.TraceID] = append(by[s.TraceID], s)
	}
	out := make([][]tracing.Span, 0, len(order))
	for _, id := range order {
		out = append(out, tracing.Distinct(by[id]))
	}
	return out
}

// reading waits for its turn to read traces; the caller calls release. It fails
// only where no turn was free: what is left of the time is the reader's to judge.
func (s *Store) reading(ctx context.Context) (release func(), err error) {
	release = func() { <-s.reads }
	select {
	case s.reads <- struct{}{}:
		return release, nil
	default: // a select with both cases ready would take either
	}
	select {
	case s.reads <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, &tracing.Error{Code: tracing.Unavailable, Message: "too many traces are read at once: ask again", Err: context.Cause(ctx)}
	}
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
	release, err := s.reading(ctx)
	if err != nil {
		return tracing.Found{}, err
	}
	defer release()
	lows := make([]int64, len(ids))
	for i, id := range ids {
		lows[i] = int64(id.Low)
	}
	spans, cut, err := s.fetch(ctx, lows)
	if err != nil {
		return tracing.Found{}, err
	}
	var out tracing.Found
	if cut {
		out.Cut = "not all spans could be read: there are too many, or some of what is stored is damaged"
		s.cfg.Log.WarnContext(ctx, "a trace could not be read whole: it is too large, or damaged", "fragments", maxFragments, "bytes", maxInflated)
	}
	done := make(map[tracing.TraceID]bool)
	for _, id := range ids {
		if s.cfg.Lenient {
			id.High = 0
		}
		if done[id] {
			continue
		}
		done[id] = true
		for _, trace := range s.split(spans[int64(id.Low)]) {
			if s.cfg.Lenient || trace[0].TraceID == id {
				out.Traces = append(out.Traces, trace)
			}
		}
	}
	return out, nil
}

// Dependencies implements tracing.Reader.
func (s *Store) Dependencies(ctx context.Context, end, lookback int64) ([]tracing.Link, error) {
	from, to := tracing.Window(end, lookback)
	rows, err := s.pool.Query(ctx, `SELECT parent, child, sum(calls)::bigint, sum(errors)::bigint FROM tracing.dep_minute
		WHERE minute BETWEEN $1 AND $2 GROUP BY parent, child HAVING sum(calls) <> 0 LIMIT 100000`, from/microsPerMinute, to/microsPerMinute)
	if err != nil {
		return nil, s.fail(ctx, err, "read dependencies")
	}
	links, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l tracing.Link, err error) {
		err = row.Scan(&l.Parent, &l.Child, &l.Calls, &l.Errors)
		return l, err
	})
	if err != nil {
		return nil, s.fail(ctx, err, "read dependencies")
	}
	return tracing.MergeLinks(links), nil
}
