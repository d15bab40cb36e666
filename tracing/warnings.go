package tracing

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// leastEarly is how much before its parent a span has to begin to be told of, in
// microseconds: less is what clocks and roundings of one machine do.
const leastEarly = 1000

// warnings tell what is not as it should be.
func (l *layout) warnings() []string {
	var out []string
	tell := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch n := len(l.missing); {
	case l.root < 0 && n <= 1:
		tell("the span that began this trace was not sent, or is still on its way")
	case l.root < 0:
		tell("%s were not sent, or are still on their way: the one that began this trace is among them", count(n, "span"))
	case n == 1:
		tell("a span was not sent, or is still on its way: what it called hangs below the first span")
	case n > 1:
		tell("%s were not sent, or are still on their way: what they called hangs below the first span", count(n, "span"))
	}
	if l.roots > 1 {
		tell("%s say that they began this trace", count(l.roots, "span"))
	}
	if l.circles > 0 {
		tell("%s are each other's ancestors: the earliest was cut off its parent", count(l.circles, "span"))
	}
	if l.twice == 1 {
		tell("a span has the id of another")
	} else if l.twice > 1 {
		tell("%s have the id of another", count(l.twice, "span"))
	}
	switch {
	case l.untold == len(l.spans):
		tell("no span has a time")
	case l.untold == 1:
		tell("a span has no time: where it stands is a guess")
	case l.untold > 1:
		tell("%s have no time: where they stand is a guess", count(l.untold, "span"))
	}
	switch n, most, names := l.moves(); {
	case n == 1:
		tell("clocks differ: a span of %s was moved by %s", names, length(most))
	case n > 1:
		tell("clocks differ: %s of %s were moved by up to %s", count(n, "span"), names, length(most))
	}
	switch n, most := l.early(); {
	case n == 1:
		tell("a span begins %s before the one that called it: clocks may differ", length(most))
	case n > 1:
		tell("%s begin before those that called them, by up to %s: clocks may differ", count(n, "span"), length(most))
	}
	return out
}

// moves counts the spans that were moved, and tells how far at most, and of whom.
func (l *layout) moves() (n int, most int64, names string) {
	services := make(map[string]struct{})
	for i, added := range l.added {
		if added != 0 {
			n++
			most = max(most, added, -added)
			services[l.spans[i].Local.Service] = struct{}{}
		}
	}
	list := slices.Sorted(maps.Keys(services))
	const some = 3
	if len(list) > some {
		list = append(list[:some:some], count(len(list)-some, "other service"))
	}
	if len(list) > 1 {
		last := len(list) - 1
		return n, most, strings.Join(list[:last], ", ") + " and " + list[last]
	}
	return n, most, strings.Join(list, "")
}

// early counts spans that begin before those that called them.
func (l *layout) early() (n int, most int64) {
	for i, up := range l.parent {
		if up >= 0 && !l.orphan[i] && l.start[up]-l.start[i] >= leastEarly {
			n++
			most = max(most, l.start[up]-l.start[i])
		}
	}
	return n, most
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// length writes microseconds for people.
func length(micros int64) string {
	switch {
	case micros < 1000:
		return strconv.FormatInt(micros, 10) + " µs"
	case micros < 10_000:
		return strconv.FormatFloat(float64(micros)/1000, 'f', 1, 64) + " ms"
	case micros < 1_000_000:
		return strconv.FormatInt(micros/1000, 10) + " ms"
	case micros < 60_000_000:
		return strconv.FormatFloat(float64(micros)/1e6, 'f', 1, 64) + " s"
	case micros < 3600_000_000:
		return strconv.FormatInt(micros/60_000_000, 10) + " min"
	}
	return strconv.FormatInt(micros/3600_000_000, 10) + " h"
}
