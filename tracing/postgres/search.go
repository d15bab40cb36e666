package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/tracing"
)

// How a search goes about.
const (
	sampleRows   = 512  // of the newest fragments, to see which condition is rare
	rare         = 0.01 // of the sample: below, the index of terms is faster than a walk
	pageRows     = 2000 // fragments looked at between two readings of traces
	tracesAtOnce = 256  // read together
	firstSlice   = int64(15 * time.Minute / time.Microsecond)
	firstLook    = int64(2 * time.Second / time.Microsecond)
	reachFloor   = int64(10 * time.Second / time.Microsecond)
	reachCeiling = int64(time.Hour / time.Microsecond)
	widen        = 4
	maxFound     = 500_000 // spans of the traces that one search returns
)

// condition is what a fragment has to have for its trace to be worth reading. Of
// the conditions of a query only one may be asked of fragments: each may be met by
// another fragment of the trace.
type condition struct {
	term    int32
	longest int32 // instead of a term, if not 0
}

func (c condition) meets(terms []int32, longest int32) bool {
	if c.longest != 0 {
		return longest >= c.longest
	}
	return slices.Contains(terms, c.term)
}

// candidate is a trace that a fragment names.
type candidate struct{ at, trace int64 }

// search is one search under way.
type search struct {
	store   *Store
	q       tracing.Query
	lo, hi  int64 // of fragments
	service int32
	seen    map[int64]struct{}
	found   []foundTrace // the newest first, as many as are wanted at most
	spans   int          // of those
	cut     string
}

type foundTrace struct {
	began int64
	spans []tracing.Span
}

// Search implements tracing.Reader. It takes the newest fragments of the service,
// learns from them which condition of the query is the rarest, and goes on with
// that one: by the index of terms if it is rare indeed, and otherwise by walking
// fragments from the newest to the oldest. Traces whose spans bear times before
// the retention, or more than an hour ahead of the clock, are found by id alone.
func (s *Store) Search(ctx context.Context, q tracing.Query) (tracing.Found, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, s.cfg.SearchTimeout)
	defer cancel()
	release, err := s.reading(limited)
	if err != nil {
		return tracing.Found{}, err
	}
	defer release()
	x := &search{store: s, q: q, seen: make(map[int64]struct{})}
	if q.Service != "" {
		x.service = hashString(q.Service)
	}
	err = x.run(limited)
	switch {
	case err == nil:
	case ctx.Err() == nil && limited.Err() != nil:
		x.cut = fmt.Sprintf("the search took longer than %s: ask for less time, or name a service", s.cfg.SearchTimeout)
	default:
		return tracing.Found{}, s.fail(ctx, err, "search traces")
	}
	if x.cut != "" {
		s.metrics.cut.Inc()
		s.cfg.Log.InfoContext(ctx, "a search was cut short", "reason", x.cut, "took", time.Since(began), "found", len(x.found))
	}
	out := tracing.Found{Cut: x.cut}
	for _, f := range x.found {
		out.Traces = append(out.Traces, f.spans)
	}
	return out, nil
}

func (x *search) run(ctx context.Context) error {
	from, to := x.q.Window()
	reach, err := x.store.reachOf(ctx, from, to)
	if err != nil {
		return err
	}
	// A fragment may be later than the beginning of its trace, by as much as any
	// was so far, and a little earlier, as clocks differ.
	x.lo, x.hi = from-reachFloor, min(to, x.store.now()+clockAhead+1-reach)+reach // the far future has no sum

	conditions := x.conditions()
	if len(conditions) == 0 {
		return x.walk(ctx, nil)
	}
	sample, complete, err := x.sample(ctx)
	if err != nil {
		return err
	}
	best, hits := conditions[0], math.MaxInt
	for _, c := range conditions {
		n := 0
		for i := range sample {
			if c.meets(sample[i].terms, sample[i].longest) {
				n++
			}
		}
		if n < hits {
			best, hits = c, n
		}
	}
	if complete {
		var list []candidate
		for i := range sample {
			if best.meets(sample[i].terms, sample[i].longest) {
				list = append(list, sample[i].candidate)
			}
		}
		_, err := x.read(ctx, list)
		return err
	}
	if best.longest == 0 && float64(hits) < rare*float64(len(sample)) {
		return x.byTerm(ctx, best.term)
	}
	return x.walk(ctx, &best)
}

// conditions are those that fragments can be asked for.
func (x *search) conditions() (out []condition) {
	if x.q.Span != "" {
		out = append(out, condition{term: termHashString(spanPrefix + x.q.Span)})
	}
	if x.q.Remote != "" {
		out = append(out, condition{term: termHashString(remotePrefix + x.q.Remote)})
	}
	if x.q.Command != "" {
		out = append(out, condition{term: term(tracing.Condition{Key: tracing.TagCommand, Value: x.q.Command})})
	}
	if len(x.q.Namespaces) == 1 && !x.q.Unnamed {
		out = append(out, condition{term: term(tracing.Condition{Key: tracing.TagNamespace, Value: x.q.Namespaces[0]})})
	}
	for _, c := range x.q.Annotations {
		out = append(out, condition{term: term(c)})
	}
	if x.q.MinDuration > 0 {
		out = append(out, condition{longest: int32(min(x.q.MinDuration, math.MaxInt32))})
	}
	return out
}

type sampled struct {
	candidate
	terms   []int32
	longest int32
}

// sample returns the newest fragments, and whether they are all there are.
func (x *search) sample(ctx context.Context) (out []sampled, complete bool, err error) {
	for s := x.slices(); s.next(); {
		rows, err := x.store.pool.Query(ctx, x.sql("at, trace, terms, longest", s, nil, candidate{s.hi, math.MaxInt64}, sampleRows-len(out)), pgx.QueryExecModeDescribeExec)
		if err != nil {
			return nil, false, err
		}
		page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r sampled, err error) {
			err = row.Scan(&r.at, &r.trace, &r.terms, &r.longest)
			return r, err
		})
		if err != nil {
			return nil, false, err
		}
		if out = append(out, page...); len(out) >= sampleRows {
			return out, false, nil
		}
	}
	return out, true, nil
}

// slice is a part of the time that is searched.
type slice struct {
	lo, hi  int64 // of this part: lo included, hi not
	end     int64 // of the whole
	width   int64
	started bool
}

// slices cuts the time into parts, the newest first. Fragments of one service are
// read in order from an index, so that all of it is one part; without a service
// each part is sorted, and so the first is short.
func (x *search) slices() *slice {
	if x.q.Service != "" {
		return &slice{end: x.lo, lo: x.hi + 1, width: math.MaxInt64}
	}
	return &slice{end: x.lo, lo: x.hi + 1, width: firstLook}
}

func (s *slice) next() bool {
	if s.lo <= s.end {
		return false
	}
	s.hi = s.lo
	if s.started && s.width < math.MaxInt64/widen {
		s.width *= widen
	}
	s.started = true
	s.lo = s.end
	if s.width < s.hi-s.end {
		s.lo = s.hi - s.width
	}
	return true
}

// sql writes the statement for a page of a slice, behind a candidate. All numbers
// in it are integers of this process, written out so that the planner sees which
// partitions and how much of them it is about.
func (x *search) sql(columns string, s *slice, c *condition, behind candidate, limit int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT %s FROM tracing.fragment WHERE at >= %d AND at < %d AND (at, trace) < (%d, %d)", columns, s.lo, s.hi, behind.at, behind.trace)
	if x.q.Service != "" {
		fmt.Fprintf(&b, " AND service = %d", x.service)
	}
	if c != nil {
		if c.longest != 0 {
			fmt.Fprintf(&b, " AND longest >= %d", c.longest)
		} else {
			// Not @>, for which the planner might take the index of terms.
			fmt.Fprintf(&b, " AND %d = ANY(terms)", c.term)
		}
	}
	fmt.Fprintf(&b, " ORDER BY at DESC, trace DESC LIMIT %d", limit)
	return b.String()
}

// walk looks at fragments from the newest to the oldest.
func (x *search) walk(ctx context.Context, c *condition) error {
	for s := x.slices(); s.next(); {
		behind := candidate{s.hi, math.MaxInt64}
		for {
			page, err := x.page(ctx, x.sql("at, trace", s, c, behind, pageRows))
			if err != nil {
				return err
			}
			if done, err := x.read(ctx, page); done || err != nil {
				return err
			}
			if len(page) < pageRows {
				break
			}
			behind = page[len(page)-1]
		}
		if x.enough(s.lo) {
			return nil
		}
	}
	return nil
}

// byTerm looks at the fragments that the index of terms names.
func (x *search) byTerm(ctx context.Context, term int32) error {
	for s := (&slice{end: x.lo, lo: x.hi + 1, width: firstSlice}); s.next(); {
		behind := candidate{s.hi, math.MaxInt64}
		for {
			page, err := x.page(ctx, x.termSQL(s, term, behind))
			if err != nil {
				return err
			}
			if done, err := x.read(ctx, page); done || err != nil {
				return err
			}
			if len(page) < pageRows {
				break
			}
			behind = page[len(page)-1]
		}
		if x.enough(s.lo) {
			return nil
		}
	}
	return nil
}

// termSQL is sql by the index of terms. What it finds is materialised, so that the
// order is no reason to walk instead.
func (x *search) termSQL(s *slice, term int32, behind candidate) string {
	of := ""
	if x.q.Service != "" {
		of = fmt.Sprintf(" AND service + 0 = %d", x.service) // not for the index of services
	}
	return fmt.Sprintf(`WITH found AS MATERIALIZED (
		SELECT at, trace FROM tracing.fragment WHERE terms @> ARRAY[%d]::int[] AND at >= %d AND at < %d%s)
		SELECT at, trace FROM found WHERE (at, trace) < (%d, %d) ORDER BY at DESC, trace DESC LIMIT %d`,
		term, s.lo, s.hi, of, behind.at, behind.trace, pageRows)
}

func (x *search) page(ctx context.Context, sql string) ([]candidate, error) {
	rows, err := x.store.pool.Query(ctx, sql, pgx.QueryExecModeExec)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		err = row.Scan(&c.at, &c.trace)
		return c, err
	})
}

// read reads the traces of candidates, the newest first, keeps those that match,
// and reports whether there is no need for more.
func (x *search) read(ctx context.Context, list []candidate) (done bool, err error) {
	for len(list) > 0 {
		var ids []int64
		n := 0
		for n < len(list) && len(ids) < tracesAtOnce {
			if _, again := x.seen[list[n].trace]; !again {
				x.seen[list[n].trace] = struct{}{}
				ids = append(ids, list[n].trace)
			}
			n++
		}
		at := list[n-1].at
		list = list[n:]
		if len(ids) == 0 {
			continue
		}
		spans, cut, err := x.store.fetch(ctx, ids)
		if err != nil {
			return false, err
		}
		if cut {
			x.cut = "traces that are damaged, or too large to be read together, were left out in part"
		}
		for _, id := range ids {
			for _, trace := range x.store.split(spans[id]) {
				if x.q.Match(trace) {
					x.keep(foundTrace{tracing.TraceTime(trace), trace})
					if x.spans > maxFound {
						x.cut = fmt.Sprintf("the traces have more than %d spans: ask for fewer", maxFound)
						return true, nil
					}
				}
			}
		}
		if x.enough(at) {
			return true, nil
		}
	}
	return false, nil
}

func (x *search) keep(f foundTrace) {
	i, _ := slices.BinarySearchFunc(x.found, f, func(a, b foundTrace) int { return cmp.Compare(b.began, a.began) })
	if i >= x.q.Limit {
		return
	}
	x.found = slices.Insert(x.found, i, f)
	x.spans += len(f.spans)
	if len(x.found) > x.q.Limit {
		x.spans -= len(x.found[x.q.Limit].spans)
		x.found[x.q.Limit] = foundTrace{}
		x.found = x.found[:x.q.Limit]
	}
}

// enough reports whether a trace none of whose fragments is later than at cannot
// be among those wanted.
func (x *search) enough(at int64) bool {
	return len(x.found) == x.q.Limit && x.found[x.q.Limit-1].began >= at
}

// reachOf returns how far behind its trace's beginning a fragment may be.
func (s *Store) reachOf(ctx context.Context, from, to int64) (int64, error) {
	var reach int64
	err := s.pool.QueryRow(ctx, "SELECT coalesce(max(micros), 0) FROM tracing.reach WHERE day BETWEEN $1 AND $2", from/microsPerDay, to/microsPerDay).Scan(&reach)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return min(max(reach, reachFloor), reachCeiling), err
}
