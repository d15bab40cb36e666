// Package tracing holds the words of distributed tracing as Zipkin v2 has them:
// spans and their codecs, what makes a trace of spans (Merge, Tree), which
// services call which (Links), and when a trace answers a query. It uses the
// standard library only; the stores, the collector and the query API stand in the
// packages below it.
package tracing

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Kind says which side of a call or message a span is. The numbers are those of
// Zipkin's protobuf.
type Kind uint8

// The kinds. KindUnset is a local span, or one whose sender did not say.
const (
	KindUnset Kind = iota
	Client
	Server
	Producer
	Consumer
)

var kinds = [...]string{"", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"}

// String returns the name in Zipkin's JSON, "" for KindUnset.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// ParseKind is the reverse of String. It reports false for unknown names.
func ParseKind(s string) (Kind, bool) {
	i := slices.Index(kinds[1:], s)
	return Kind(i + 1), i >= 0
}

// Span is one timed operation of one service, as Zipkin v2 has it. What decoders
// return is normalised (see Normalize); a Span made by hand has to be normalised
// before it is stored. Copies share Annotations and Tags: treat both as read-only
// once a span is made.
type Span struct {
	TraceID  TraceID
	ParentID ID // zero for none
	ID       ID
	Kind     Kind
	Name     string // lower case; empty for unknown
	// Timestamp is microseconds since 1970, Duration microseconds; zero for
	// unknown, never negative.
	Timestamp, Duration int64
	Local, Remote       Endpoint
	Annotations         []Annotation // sorted by time and value, without duplicates
	Tags                []Tag        // sorted by key, one for each key
	Debug               bool         // the sender wants this span kept
	Shared              bool         // a server span with the id of its client's
}

// Endpoint is one side's network context.
type Endpoint struct {
	Service string // lower case; empty for unknown
	IPv4    netip.Addr
	IPv6    netip.Addr
	Port    uint16 // zero for unknown
}

// IsZero reports whether nothing is known of the endpoint.
func (e *Endpoint) IsZero() bool { return *e == Endpoint{} }

// setIP sets the field of the address's family, as Zipkin does whichever field
// the sender used; what is no address is passed over.
func (e *Endpoint) setIP(s string) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return
	}
	e.setAddr(a, strings.IndexByte(s, '.') > 0)
}

// setAddr takes IPv4 in IPv6 apart: mapped addresses (::ffff:1.2.3.4), and the
// deprecated compatible ones (::1.2.3.4) if they were written so, or as bytes.
func (e *Endpoint) setAddr(a netip.Addr, dotted bool) {
	if a = a.Unmap(); a.Is4() {
		e.IPv4 = a
		return
	}
	if raw := a.As16(); dotted && [12]byte(raw[:12]) == [12]byte{} && [4]byte(raw[12:]) != [4]byte{0, 0, 0, 1} && !a.IsUnspecified() {
		e.IPv4 = netip.AddrFrom4([4]byte(raw[12:]))
		return
	}
	e.IPv6 = a
}

// Annotation is an event within a span, such as a retry.
type Annotation struct {
	Timestamp int64 // microseconds since 1970
	Value     string
}

// Tag is a key of a span with its value.
type Tag struct{ Key, Value string }

// Tag returns the value of a tag.
func (s *Span) Tag(key string) (value string, ok bool) {
	i, ok := slices.BinarySearchFunc(s.Tags, key, func(t Tag, k string) int { return strings.Compare(t.Key, k) })
	if !ok {
		return "", false
	}
	return s.Tags[i].Value, true
}

// Normalize brings a span into the form Zipkin stores: names in lower case, no
// parent that is the span itself, no shared client, no negative times,
// annotations sorted and tags keyed, of which the last of a key wins. It sorts
// Annotations and Tags in place. It reports an Invalid error for a span without
// ids.
func (s *Span) Normalize() error {
	switch {
	case s.TraceID.IsZero():
		return invalid("traceId is all zeros")
	case s.ID == 0:
		return invalid("id is all zeros")
	case s.Kind > Consumer:
		return invalid("kind " + strconv.Itoa(int(s.Kind)) + " is none of CLIENT, SERVER, PRODUCER, CONSUMER")
	}
	s.Name = lower(s.Name)
	s.Local.Service, s.Remote.Service = lower(s.Local.Service), lower(s.Remote.Service)
	if s.ParentID == s.ID {
		s.ParentID = 0
	}
	if s.Kind == Client {
		s.Shared = false
	}
	s.Timestamp, s.Duration = max(0, s.Timestamp), max(0, s.Duration)
	s.Annotations = sortAnnotations(s.Annotations)
	s.Tags = sortTags(s.Tags)
	return nil
}

// lower is strings.ToLower without its scan of what is lower-case ASCII already,
// which nearly every name is.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || 'A' <= c && c <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

func compareAnnotations(a, b Annotation) int {
	return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), strings.Compare(a.Value, b.Value))
}

func sortAnnotations(in []Annotation) []Annotation {
	if len(in) < 2 {
		return in
	}
	if !slices.IsSortedFunc(in, compareAnnotations) {
		slices.SortFunc(in, compareAnnotations)
	}
	return slices.Compact(in)
}

// sortTags sorts by key and keeps the last of each, in place.
func sortTags(in []Tag) []Tag {
	ordered := true
	for i := 1; i < len(in); i++ {
		if in[i-1].Key >= in[i].Key {
			ordered = false
			break
		}
	}
	if ordered {
		return in
	}
	slices.SortStableFunc(in, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	out := in[:0]
	for i, t := range in {
		if i+1 < len(in) && in[i+1].Key == t.Key {
			continue // a later one wins
		}
		out = append(out, t)
	}
	return out
}
