package tracing

import (
	"cmp"
	"slices"
)

// holdsUp reports whether the caller of a span waits for it: nobody does for the
// receiver of a message.
func holdsUp(s *Span) bool { return s.Kind != Consumer }

// measureSelf finds how long each span waited for none of its children.
func (l *layout) measureSelf() {
	l.self = make([]int64, len(l.spans))
	for i := range l.spans {
		if l.spans[i].Duration == 0 {
			continue
		}
		waited, at := int64(0), l.start[i]
		for _, c := range l.below(i) { // which are sorted by their beginnings
			if from, to := max(l.start[c], at), min(l.end[c], l.end[i]); holdsUp(&l.spans[c]) && from < to {
				waited += to - from
				at = to
			}
		}
		l.self[i] = l.end[i] - l.start[i] - waited
	}
}

// findCritical finds what held the trace up, as CRISP does: from the end of the
// root it walks back to the child that ended last, whose end the root waited for,
// then within that child, and from its beginning on back in the root, to the child
// that ended last before. A span is given a window of time when its parent is
// walked, and parts it between itself and its children; children that outlast the
// window are cut, and those that overlap the one taken ran beside it and held up
// nothing. Without a root all that stands at the top is taken for its children.
func (l *layout) findCritical() {
	l.critical = make([][]Interval, len(l.spans))
	windows := make([]Interval, len(l.spans))
	var list []int
	if l.root >= 0 {
		windows[l.root] = Interval{l.start[l.root], l.end[l.root]}
	} else {
		begin, end := l.bounds()
		for i, up := range l.parent {
			if up < 0 {
				list = append(list, i)
			}
		}
		l.walk(Interval{begin, end}, list, windows)
	}
	for _, i := range l.order { // parents first, so that their windows are known
		if windows[i].From >= windows[i].To {
			continue
		}
		list = list[:0]
		for _, c := range l.below(i) {
			if holdsUp(&l.spans[c]) {
				list = append(list, c)
			}
		}
		l.critical[i] = l.walk(windows[i], list, windows)
	}
}

// walk parts a window between its owner, whose parts it returns in order, and the
// children, which it gives theirs.
func (l *layout) walk(window Interval, children []int, windows []Interval) (own []Interval) {
	end := func(c int) int64 { return min(l.end[c], window.To) }
	// Of those that end together, the one that began first: it tells the most.
	slices.SortFunc(children, func(a, b int) int {
		return cmp.Or(cmp.Compare(end(b), end(a)), cmp.Compare(l.start[a], l.start[b]), cmp.Compare(a, b))
	})
	at := window.To
	for _, c := range children {
		from, to := max(l.start[c], window.From), end(c)
		if to > at || from >= to {
			continue
		}
		if to < at {
			own = append(own, Interval{to, at})
		}
		windows[c] = Interval{from, to}
		at = from
	}
	if window.From < at {
		own = append(own, Interval{window.From, at})
	}
	slices.Reverse(own)
	return own
}
