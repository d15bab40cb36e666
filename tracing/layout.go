package tracing

import (
	"cmp"
	"slices"
)

// Waterfall is a trace as it is drawn: every span in a row below the one that it
// was called by, with its times as one clock would have shown them.
type Waterfall struct {
	TraceID TraceID
	// Start is the first moment of any span, in microseconds since 1970; zero if no
	// span has a time. Duration is that from there to the last moment.
	Start, Duration int64
	Depth           int  // levels of rows
	Headless        bool // the span that began the trace was not sent
	Rows            []Row
	Services        []Share // those that took the most time themselves first
	// Warnings say in plain words what to mind when looking at the trace.
	Warnings []string
}

// Row is a span in its place. Times are microseconds from the trace's start.
type Row struct {
	Span   *Span // its times are those that were sent
	Parent int   // index of the row that this one stands below; -1 for none
	Depth  int   // levels above
	// Orphan says that the parent is not the one that called, which was not sent.
	Orphan bool
	// Start is corrected for the clock of the host, by adding Moved. Duration is zero
	// for unknown.
	Start, Duration, Moved int64
	// Self is how much of Duration the span waited for none of those it called.
	Self int64
	// Critical are the parts in which the span held up the whole trace, in order:
	// had they been shorter, the trace had been.
	Critical []Interval
	// Below counts the rows below this one that Trim left out.
	Below int
}

// Interval is a part of a trace's time, in microseconds from its start.
type Interval struct{ From, To int64 }

// Share is what a service had of a trace.
type Share struct {
	Service       string // empty for spans that name none
	Spans, Errors int
	Self          int64 // microseconds, the sum of its spans' own
	Longest       int64 // microseconds of its longest span
}

// Layout draws a trace. Parents are found as Tree finds them, but no span is left
// out: of those that are each other's ancestors the earliest is cut off its
// parent, and those that claim one place stand beside each other. What names a
// parent that was not sent stands below the root. Where the root was not sent,
// nothing is made up for it: what it called stands at the top. Siblings are sorted
// by their beginnings. It returns nil for no spans.
func Layout(spans []Span) *Waterfall {
	if len(spans) == 0 {
		return nil
	}
	l := layOut(spans)
	l.measureSelf()
	l.findCritical()
	w := l.waterfall()
	w.Warnings = l.warnings()
	return w
}

// layout is a trace while it is laid out. Its slices are by the index of a span;
// times are absolute.
type layout struct {
	spans  []Span // merged
	parent []int  // where the span stands; -1 for the top
	orphan []bool
	root   int // -1 for none

	// The children of a span are children[first[i]:first[i+1]].
	first, children []int
	order           []int // parents before their children
	rows            []int // depth-first

	added      []int64 // to the times that were sent
	start, end []int64 // an end that was not told is that of the last child
	self       []int64
	critical   [][]Interval

	// What there is to tell.
	missing                       map[ID]struct{}
	roots, circles, twice, untold int
}

func layOut(spans []Span) *layout {
	l := &layout{spans: Merge(spans), root: -1, missing: make(map[ID]struct{})}
	l.findParents()
	l.cutCircles()
	called := slices.Clone(l.parent)
	l.hangOrphans()
	l.findChildren()
	l.added = make([]int64, len(l.spans))
	if l.roots == 1 {
		l.added = correctClocks(l.spans, called, l.order)
	}
	l.findTimes()
	l.sortRows()
	return l
}

func (l *layout) findParents() {
	at := make(map[place]int, len(l.spans))
	for i := range l.spans {
		s := &l.spans[i]
		p := place{id: s.ID}
		if s.Shared {
			at[place{id: s.ID, shared: true}] = i // for children that do not say where they are
			p = place{s.ID, true, s.Local}
		}
		if _, taken := at[p]; taken {
			l.twice++
		}
		at[p] = i
	}
	l.parent, l.orphan = make([]int, len(l.spans)), make([]bool, len(l.spans))
	for i := range l.spans {
		s := &l.spans[i]
		id, places := s.ParentID, []place{{s.ParentID, true, s.Local}, {id: s.ParentID}, {id: s.ParentID, shared: true}}
		if s.Shared {
			id, places = s.ID, []place{{id: s.ID}}
		}
		l.parent[i] = -1
		if id == 0 {
			l.roots++
			if l.root < 0 || earlier(s, &l.spans[l.root]) {
				l.root = i
			}
			continue
		}
		for _, p := range places {
			if up, ok := at[p]; ok && up != i {
				l.parent[i] = up
				break
			}
		}
		if l.parent[i] < 0 {
			l.orphan[i] = true
			l.missing[id] = struct{}{}
		}
	}
}

// earlier reports whether a began before b; what has no time begins last.
func earlier(a, b *Span) bool {
	return a.Timestamp != 0 && (b.Timestamp == 0 || a.Timestamp < b.Timestamp)
}

// cutCircles makes an orphan of the earliest of spans that are each other's
// ancestors.
func (l *layout) cutCircles() {
	walked := make([]int, len(l.spans)) // by which walk, from 1
	for from := range l.spans {
		at := from
		for at >= 0 && walked[at] == 0 {
			walked[at] = from + 1
			at = l.parent[at]
		}
		if at < 0 || walked[at] != from+1 {
			continue
		}
		l.circles++
		first := at
		for next := l.parent[at]; next != at; next = l.parent[next] {
			l.circles++
			if earlier(&l.spans[next], &l.spans[first]) {
				first = next
			}
		}
		l.parent[first], l.orphan[first] = -1, true
	}
}

func (l *layout) hangOrphans() {
	if l.root < 0 {
		return
	}
	for i, orphan := range l.orphan {
		if orphan {
			l.parent[i] = l.root
		}
	}
}

// findChildren also finds an order with parents before their children.
func (l *layout) findChildren() {
	n := len(l.spans)
	l.first = make([]int, n+1)
	l.order = make([]int, 0, n)
	for i, up := range l.parent {
		if up < 0 {
			l.order = append(l.order, i)
		} else {
			l.first[up+1]++
		}
	}
	for i := range n {
		l.first[i+1] += l.first[i]
	}
	l.children = make([]int, l.first[n])
	next := slices.Clone(l.first)
	for i, up := range l.parent {
		if up >= 0 {
			l.children[next[up]] = i
			next[up]++
		}
	}
	for k := 0; k < len(l.order); k++ {
		l.order = append(l.order, l.below(l.order[k])...)
	}
}

// below returns the children of a span.
func (l *layout) below(i int) []int { return l.children[l.first[i]:l.first[i+1]] }

// findTimes gives every span a beginning and an end: one without a time begins
// with the first of its children, else with its parent.
func (l *layout) findTimes() {
	l.start, l.end = make([]int64, len(l.spans)), make([]int64, len(l.spans))
	for i := range l.spans {
		if l.start[i] = moved(l.spans[i].Timestamp, l.added[i]); l.start[i] == 0 {
			l.untold++
		}
	}
	var begin int64
	for _, i := range slices.Backward(l.order) {
		for _, c := range l.below(i) {
			if l.spans[i].Timestamp == 0 && l.start[c] != 0 && (l.start[i] == 0 || l.start[c] < l.start[i]) {
				l.start[i] = l.start[c]
			}
		}
		if l.start[i] != 0 && (begin == 0 || l.start[i] < begin) {
			begin = l.start[i]
		}
	}
	for _, i := range l.order {
		if l.start[i] == 0 {
			if l.start[i] = begin; l.parent[i] >= 0 {
				l.start[i] = l.start[l.parent[i]]
			}
		}
		l.end[i] = plus(l.start[i], l.spans[i].Duration)
	}
	for _, i := range slices.Backward(l.order) {
		if l.spans[i].Duration == 0 {
			for _, c := range l.below(i) {
				l.end[i] = max(l.end[i], l.end[c])
			}
		}
	}
}

// sortRows sorts siblings by their beginnings, and puts all in their rows.
func (l *layout) sortRows() {
	bySight := func(a, b int) int {
		return cmp.Or(cmp.Compare(l.start[a], l.start[b]), cmp.Compare(l.end[b], l.end[a]), cmp.Compare(a, b))
	}
	var stack []int
	for i, up := range l.parent {
		if up < 0 {
			stack = append(stack, i)
		}
		slices.SortFunc(l.below(i), bySight)
	}
	slices.SortFunc(stack, bySight)
	slices.Reverse(stack)
	l.rows = make([]int, 0, len(l.spans))
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		l.rows = append(l.rows, i)
		for _, c := range slices.Backward(l.below(i)) {
			stack = append(stack, c)
		}
	}
}

// bounds are the first and the last moment of any span.
func (l *layout) bounds() (begin, end int64) {
	begin = l.start[0]
	for i := range l.spans {
		begin, end = min(begin, l.start[i]), max(end, l.end[i])
	}
	return begin, end
}

func (l *layout) waterfall() *Waterfall {
	begin, end := l.bounds()
	w := &Waterfall{
		TraceID: l.spans[0].TraceID, Start: begin, Duration: end - begin, Headless: l.root < 0, Rows: make([]Row, 0, len(l.spans)),
	}
	row := make([]int, len(l.spans))
	shares := make(map[string]*Share)
	for _, i := range l.rows {
		s := &l.spans[i]
		r := Row{
			Span: s, Parent: -1, Orphan: l.orphan[i], Start: l.start[i] - begin, Duration: s.Duration, Moved: l.added[i], Self: l.self[i],
			Critical: l.critical[i],
		}
		for k := range r.Critical {
			r.Critical[k].From -= begin
			r.Critical[k].To -= begin
		}
		if up := l.parent[i]; up >= 0 {
			r.Parent = row[up]
			r.Depth = w.Rows[r.Parent].Depth + 1
		}
		row[i] = len(w.Rows)
		w.Depth = max(w.Depth, r.Depth+1)
		w.Rows = append(w.Rows, r)
		addShare(shares, s, r.Self)
	}
	w.Services = sortShares(shares)
	return w
}

func addShare(shares map[string]*Share, s *Span, self int64) {
	share := shares[s.Local.Service]
	if share == nil {
		share = &Share{Service: s.Local.Service}
		shares[s.Local.Service] = share
	}
	share.Spans++
	if s.Failed() {
		share.Errors++
	}
	share.Self = plus(share.Self, self)
	share.Longest = max(share.Longest, s.Duration)
}

func sortShares(shares map[string]*Share) []Share {
	out := make([]Share, 0, len(shares))
	for _, s := range shares {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Self, a.Self), cmp.Compare(b.Longest, a.Longest), cmp.Compare(a.Service, b.Service))
	})
	return out
}
