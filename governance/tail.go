package governance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tail lets a reader follow what is appended, each thing once. Stores give out ids
// in order and make rows visible in any, so that a reader remembers not the newest
// id it has seen but all that it has: a Seen.
type Tail interface {
	// RecentSamples hands out all samples of a range that reaches up to now, and returns
	// which reports are among them. Those of folded reports come with the ID 0. What
	// it is given is only good until each returns.
	RecentSamples(ctx context.Context, q RecentQuery, each func(Staged)) (Seen, error)

	// ReportsAfter returns reports that are not in seen, by their ids, at most limit.
	// A report is there for as long as it is not folded, a minute or so.
	ReportsAfter(ctx context.Context, seen Seen, limit int) ([]Staged, error)

	// EventsNow returns which events are there.
	EventsNow(ctx context.Context) (Seen, error)

	// EventsAfter returns events that are not in seen, by their ids, at most limit;
	// of applications in some namespaces, or of any when there are none given.
	EventsAfter(ctx context.Context, seen Seen, namespaces []string, limit int) ([]Event, error)
}

// RecentQuery asks for samples from a time up to now.
type RecentQuery struct {
	App      App    // zero for all
	Instance string // empty for all
	From     time.Time
}

// Staged is a report as it waits in the store.
type Staged struct {
	ID       int64
	App      App
	Instance string
	Samples  []Sample
}

// Seen is a set of ids: those up to High, but for the Missing ones. Those may still
// come, or never: a transaction that failed takes its ids along. The zero Seen is
// empty.
type Seen struct { //nolint:recvcheck // it is filled by a pointer, and asked as a value
	High    int64
	Missing []Span // in order, apart from each other, and below High
}

// Span are ids from First to Last, both included.
type Span struct{ First, Last int64 }

// Has reports whether an id is in the set.
func (s Seen) Has(id int64) bool {
	if id > s.High {
		return false
	}
	n, _ := slices.BinarySearchFunc(s.Missing, id, func(m Span, id int64) int { return cmp.Compare(m.Last, id) })
	return n == len(s.Missing) || id < s.Missing[n].First
}

// Add takes an id in.
func (s *Seen) Add(id int64) {
	if id > s.High {
		if id > s.High+1 {
			s.Missing = append(s.Missing, Span{s.High + 1, id - 1})
		}
		s.High = id
		return
	}
	n, _ := slices.BinarySearchFunc(s.Missing, id, func(m Span, id int64) int { return cmp.Compare(m.Last, id) })
	if n == len(s.Missing) || id < s.Missing[n].First {
		return
	}
	var rest []Span
	if m := s.Missing[n]; m.First < id {
		rest = append(rest, Span{m.First, id - 1})
	}
	if m := s.Missing[n]; id < m.Last {
		rest = append(rest, Span{id + 1, m.Last})
	}
	s.Missing = slices.Replace(s.Missing, n, n+1, rest...)
}

// GiveUp takes in all ids up to one: what is missing of them no longer comes.
func (s *Seen) GiveUp(upTo int64) {
	s.High = max(s.High, upTo)
	var left []Span
	for _, m := range s.Missing {
		if m.Last > upTo {
			left = append(left, Span{max(m.First, upTo+1), m.Last})
		}
	}
	s.Missing = left
}

// Union returns the set of what is in either.
func (s Seen) Union(o Seen) Seen {
	if s.High < o.High {
		s, o = o, s
	}
	out := Seen{High: s.High}
	// What is missing in both; above o.High, o has nothing.
	lack := append(slices.Clone(o.Missing), Span{o.High + 1, s.High})
	for i, j := 0, 0; i < len(s.Missing) && j < len(lack); {
		first, last := max(s.Missing[i].First, lack[j].First), min(s.Missing[i].Last, lack[j].Last)
		if first <= last {
			out.Missing = append(out.Missing, Span{first, last})
		}
		if s.Missing[i].Last < lack[j].Last {
			i++
		} else {
			j++
		}
	}
	return out
}

// Clone returns a set that shares nothing with s.
func (s Seen) Clone() Seen { return Seen{High: s.High, Missing: slices.Clone(s.Missing)} }

// maxSeenText bounds a set as text.
const maxSeenText = 4096

// String writes the set as one word: "120", or "120~101-110.115" where 101 to 110
// and 115 are missing. Where it would be long, the oldest missing ones are left out.
func (s Seen) String() string {
	var b strings.Builder
	var spans []string
	length := 32
	for _, m := range slices.Backward(s.Missing) {
		text := strconv.FormatInt(m.First, 10)
		if m.Last > m.First {
			text += "-" + strconv.FormatInt(m.Last, 10)
		}
		if length += len(text) + 1; length > maxSeenText {
			break
		}
		spans = append(spans, text)
	}
	slices.Reverse(spans)
	b.WriteString(strconv.FormatInt(s.High, 10))
	if len(spans) > 0 {
		b.WriteString("~" + strings.Join(spans, "."))
	}
	return b.String()
}

// ParseSeen reads what String wrote. The error's code is Invalid.
func ParseSeen(text string) (Seen, error) {
	bad := &Error{Code: Invalid, Message: fmt.Sprintf("%.64q tells of no events", text), Fix: "send the id of an event as it came"}
	high, missing, some := strings.Cut(text, "~")
	n, err := strconv.ParseInt(high, 10, 64)
	if err != nil || n < 0 || len(text) > maxSeenText {
		return Seen{}, bad
	}
	s := Seen{High: n}
	if !some {
		return s, nil
	}
	before := int64(0)
	for part := range strings.SplitSeq(missing, ".") {
		first, last, _ := strings.Cut(part, "-")
		if last == "" {
			last = first
		}
		f, err1 := strconv.ParseInt(first, 10, 64)
		l, err2 := strconv.ParseInt(last, 10, 64)
		if err1 != nil || err2 != nil || f <= before || l < f || l >= s.High {
			return Seen{}, bad
		}
		s.Missing = append(s.Missing, Span{f, l})
		before = l + 1 // two that touch would be one
	}
	return s, nil
}
