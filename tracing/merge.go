package tracing

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Merge joins the spans of one trace that were sent in parts, and mends what
// senders are known to get wrong, as Zipkin does: parts with one id, the same
// Shared and endpoints that do not contradict each other become one span; the
// longest trace id is that of all; a server span with the id of the client before
// it is shared; and a shared one without a parent has its client's. spans is not
// changed; the result is sorted by id, clients before servers.
func Merge(spans []Span) []Span {
	if len(spans) <= 1 {
		return slices.Clone(spans)
	}
	in := pointers(spans)
	slices.SortStableFunc(in, compareForMerge)
	var trace TraceID
	for _, s := range in {
		if trace.High == 0 {
			trace = s.TraceID
		}
	}
	out := make([]Span, 0, len(in))
	for i := 0; i < len(in); {
		s, first := *in[i], i
		s.TraceID = trace
		known := s.Local
		for i++; i < len(in) && in[i].ID == s.ID && in[i].Shared == s.Shared && known.join(in[i].Local); i++ {
			s.merge(in[i])
		}
		if i > first+1 {
			s.gather(in[first:i])
		}
		if n := len(out); n > 0 && out[n-1].ID == s.ID {
			last := &out[n-1]
			if last.Kind == Client && s.Kind == Server {
				s.Shared = true
			}
			if s.Shared && s.ParentID == 0 {
				s.ParentID = last.ParentID
			}
		}
		out = append(out, s)
	}
	return out
}

// gather makes the tags and annotations of all parts those of s; of tags with one
// key, the last one's wins. All at once, as one id may have many thousand parts.
func (s *Span) gather(parts []*Span) {
	var annotations []Annotation
	var tags []Tag
	for _, p := range parts {
		annotations = append(annotations, p.Annotations...)
		tags = append(tags, p.Tags...)
	}
	s.Annotations, s.Tags = sortAnnotations(annotations), sortTags(tags)
}

// merge fills what else s lacks from another part of it.
func (s *Span) merge(o *Span) {
	s.ParentID = cmp.Or(s.ParentID, o.ParentID)
	s.Kind = cmp.Or(s.Kind, o.Kind)
	s.Name = cmp.Or(s.Name, o.Name)
	s.Timestamp = cmp.Or(s.Timestamp, o.Timestamp)
	s.Duration = cmp.Or(s.Duration, o.Duration)
	s.Local.fill(o.Local)
	s.Remote.fill(o.Remote)
	s.Debug = s.Debug || o.Debug
	s.Shared = s.Shared || o.Shared
	if s.Kind == Client {
		s.Shared = false
	}
	if s.ParentID == s.ID {
		s.ParentID = 0
	}
}

func (e *Endpoint) fill(o Endpoint) {
	e.Service = cmp.Or(e.Service, o.Service)
	e.IPv4 = cmp.Or(e.IPv4, o.IPv4)
	e.IPv6 = cmp.Or(e.IPv6, o.IPv6)
	e.Port = cmp.Or(e.Port, o.Port)
}

// join fills e from o unless the two contradict each other, which it reports as
// false.
func (e *Endpoint) join(o Endpoint) bool {
	if differ(e.Service, o.Service) || differ(e.IPv4, o.IPv4) || differ(e.IPv6, o.IPv6) || differ(e.Port, o.Port) {
		return false
	}
	e.fill(o)
	return true
}

// differ reports whether two values are known and not the same.
func differ[T comparable](a, b T) bool {
	var unknown T
	return a != unknown && b != unknown && a != b
}

// compareForMerge puts parts of one span beside each other: by id, shared ones
// last and clients first, then by endpoint, those without one first. What Zipkin
// leaves to the order of arrival is decided by content here, so that the same
// spans make the same trace in whatever order they came.
func compareForMerge(a, b *Span) int {
	if c := cmp.Compare(a.ID, b.ID); c != 0 { // as nearly always: the rest is not worth looking at
		return c
	}
	return cmp.Or(
		cmp.Compare(rank(a), rank(b)),
		compareEndpoints(&a.Local, &b.Local),
		compareRest(a, b),
	)
}

func rank(s *Span) int {
	switch {
	case s.Shared:
		return 2
	case s.Kind == Client:
		return 0
	}
	return 1
}

func compareEndpoints(a, b *Endpoint) int {
	if a.IsZero() != b.IsZero() {
		if a.IsZero() {
			return -1
		}
		return 1
	}
	return cmp.Or(lastIfEmpty(a.Service == "", b.Service == "", strings.Compare(a.Service, b.Service)),
		compareAddrs(a.IPv4, b.IPv4), compareAddrs(a.IPv6, b.IPv6))
}

func compareAddrs(a, b netip.Addr) int {
	return lastIfEmpty(!a.IsValid(), !b.IsValid(), a.Compare(b))
}

func lastIfEmpty(a, b bool, otherwise int) int {
	switch {
	case a == b:
		return otherwise
	case a:
		return 1
	}
	return -1
}

// compareRest is a total order on whatever else two spans may differ in.
func compareRest(a, b *Span) int {
	return cmp.Or(
		cmp.Compare(b.Kind, a.Kind), // one that has a kind before one that has none
		cmp.Compare(b.Timestamp, a.Timestamp)*orderOfZero(a.Timestamp, b.Timestamp),
		cmp.Compare(b.Duration, a.Duration),
		cmp.Compare(b.ParentID, a.ParentID),
		cmp.Compare(a.Local.Port, b.Local.Port),
		compareEndpoints(&a.Remote, &b.Remote),
		cmp.Compare(a.Remote.Port, b.Remote.Port),
		cmp.Compare(a.TraceID.High, b.TraceID.High),
		// What links do not look at comes last, so that spans without it
		// (DecodeProtoForLinks) are in the same order.
		strings.Compare(b.Name, a.Name),
		slices.CompareFunc(a.Annotations, b.Annotations, compareAnnotations),
		slices.CompareFunc(a.Tags, b.Tags, func(x, y Tag) int {
			return cmp.Or(strings.Compare(x.Key, y.Key), strings.Compare(x.Value, y.Value))
		}),
		compareBools(a.Debug, b.Debug),
	)
}

// orderOfZero makes times ascend, the unknown ones last.
func orderOfZero(a, b int64) int {
	if a == 0 || b == 0 {
		return 1
	}
	return -1
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Equal reports whether two spans are the same in every part.
func (s *Span) Equal(o *Span) bool {
	return s.TraceID == o.TraceID && s.ID == o.ID && s.ParentID == o.ParentID && s.Kind == o.Kind && s.Shared == o.Shared &&
		s.Debug == o.Debug && s.Timestamp == o.Timestamp && s.Duration == o.Duration && s.Name == o.Name &&
		s.Local == o.Local && s.Remote == o.Remote && slices.Equal(s.Annotations, o.Annotations) && slices.Equal(s.Tags, o.Tags)
}

// Distinct returns the spans without repetitions of the same one, sorted by time
// and id: what a trace looks like to its reader, whatever senders repeated.
func Distinct(spans []Span) []Span {
	sorted := pointers(spans)
	slices.SortStableFunc(sorted, func(a, b *Span) int {
		if c := cmp.Compare(a.Timestamp, b.Timestamp); c != 0 {
			return c
		}
		return cmp.Or(compareForMerge(a, b), compareBools(a.Shared, b.Shared))
	})
	out := make([]Span, 0, len(sorted))
	for i, s := range sorted {
		if i == 0 || !s.Equal(sorted[i-1]) {
			out = append(out, *s)
		}
	}
	return out
}

// pointers are what is sorted in place of spans, which are large to be moved about.
func pointers(spans []Span) []*Span {
	out := make([]*Span, len(spans))
	for i := range spans {
		out[i] = &spans[i]
	}
	return out
}
