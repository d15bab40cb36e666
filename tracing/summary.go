package tracing

import "fmt"

// Summary is a trace as one line of a list.
type Summary struct {
	TraceID TraceID
	// Start is the first moment of any span, in microseconds since 1970, and
	// Duration what passed until the last one, as in a Waterfall.
	Start, Duration int64
	// Root is the span that began the trace or, if it was not sent (Headless), the
	// earliest one.
	Root                 *Span
	Headless             bool
	Spans, Errors, Depth int
	// Refused counts spans of calls that a breaker, a switch or a policy refused,
	// and Policy is the first span that names a policy; nil for none.
	Refused  int
	Policy   *Span
	Services []Share // those with the longest span first; without Self
}

// Summarize sums up a trace, whose spans must not be none.
func Summarize(spans []Span) Summary {
	l := layOut(spans)
	begin, end := l.bounds()
	s := Summary{TraceID: l.spans[0].TraceID, Start: begin, Duration: end - begin, Spans: len(l.spans), Headless: l.root < 0}
	s.Root = &l.spans[l.rows[0]]
	if l.root >= 0 {
		s.Root = &l.spans[l.root]
	}
	shares := make(map[string]*Share)
	depths := make([]int, len(l.spans))
	for _, i := range l.rows {
		span := &l.spans[i]
		depths[i] = 1
		if up := l.parent[i]; up >= 0 {
			depths[i] += depths[up]
		}
		s.Depth = max(s.Depth, depths[i])
		if span.Failed() {
			s.Errors++
		}
		if span.Refused() {
			s.Refused++
		}
		if _, ok := span.Tag(TagPolicy); ok && s.Policy == nil {
			s.Policy = span
		}
		addShare(shares, span, 0)
	}
	s.Services = sortShares(shares)
	return s
}

// Trim leaves out the lowest rows of a waterfall of more than most, and says so:
// all that remain stand below rows that remain.
func (w *Waterfall) Trim(most int) {
	all := len(w.Rows)
	if all <= most {
		return
	}
	levels := make([]int, w.Depth)
	for i := range w.Rows {
		levels[w.Rows[i].Depth]++
	}
	whole, room := 0, most // levels that remain in full, and rows of the one below
	for whole < w.Depth && levels[whole] <= room {
		room -= levels[whole]
		whole++
	}
	at := make([]int, all) // of the row, or of what remains above it; -1 for nothing
	kept := w.Rows[:0:0]
	for i, r := range w.Rows {
		up := -1
		if r.Parent >= 0 {
			up = at[r.Parent]
		}
		if r.Depth < whole || r.Depth == whole && room > 0 {
			if r.Depth == whole {
				room--
			}
			r.Parent = up
			at[i] = len(kept)
			kept = append(kept, r)
			continue
		}
		if at[i] = up; up >= 0 {
			kept[up].Below++
		}
	}
	w.Rows = kept
	w.Warnings = append(w.Warnings, fmt.Sprintf("the trace has %s, of which the uppermost %d are shown", count(all, "span"), len(kept)))
}
