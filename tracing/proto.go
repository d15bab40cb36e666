package tracing

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
)

// Keys of Zipkin's protobuf messages: field number and wire type.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5

	keySpan = 1<<3 | wireBytes // ListOfSpans

	keyTraceID     = 1<<3 | wireBytes
	keyParentID    = 2<<3 | wireBytes
	keyID          = 3<<3 | wireBytes
	keyKind        = 4<<3 | wireVarint
	keyName        = 5<<3 | wireBytes
	keyTimestamp   = 6<<3 | wireFixed64
	keyDuration    = 7<<3 | wireVarint
	keyLocal       = 8<<3 | wireBytes
	keyRemote      = 9<<3 | wireBytes
	keyAnnotation  = 10<<3 | wireBytes
	keyTag         = 11<<3 | wireBytes
	keyDebug       = 12<<3 | wireVarint
	keyShared      = 13<<3 | wireVarint
	keyServiceName = 1<<3 | wireBytes
	keyIPv4        = 2<<3 | wireBytes
	keyIPv6        = 3<<3 | wireBytes
	keyPort        = 4<<3 | wireVarint
	keyAnnTime     = 1<<3 | wireFixed64
	keyAnnValue    = 2<<3 | wireBytes
	keyTagKey      = 1<<3 | wireBytes
	keyTagValue    = 2<<3 | wireBytes
)

// DecodeProto reads Zipkin's protobuf ListOfSpans, all spans or none. Unknown
// fields are passed over. The spans are normalised and hold on to one copy of
// data, not to data itself. Errors: Invalid, with Zipkin's message where it has
// one.
func DecodeProto(data []byte) ([]Span, error) {
	return decodeProto(string(data), false, math.MaxInt)
}

// DecodeProtoAtMost is DecodeProto of a list that may not be longer than most
// spans. It stops at the first beyond, with ErrTooManySpans.
func DecodeProtoAtMost(data []byte, most int) ([]Span, error) {
	return decodeProto(string(data), false, most)
}

// DecodeProtoForLinks is DecodeProto without what Links does not look at: names,
// annotations, and tags other than error.
func DecodeProtoForLinks(data []byte) ([]Span, error) {
	return decodeProto(string(data), true, math.MaxInt)
}

func decodeProto(s string, slim bool, most int) ([]Span, error) {
	d := protoDecoder{s: s, end: len(s), slim: slim}
	spans := make([]Span, 0, min(len(s)/128+1, 4096))
	for d.i < d.end {
		if key := d.varint32(); key != keySpan {
			d.skip(key)
			continue
		}
		if end, ok := d.enter(); ok {
			if len(spans) >= most {
				return nil, ErrTooManySpans
			}
			spans = append(spans, Span{})
			d.span(&spans[len(spans)-1])
			d.leave(end)
		}
	}
	if d.problem != "" {
		return nil, invalid(d.problem + " reading List<Span> from proto3")
	}
	return spans, nil
}

type protoDecoder struct {
	s       string
	i, end  int // end is that of the message being read
	slim    bool
	problem string
	tags    []Tag
}

func (d *protoDecoder) fail(problem string) {
	if d.problem == "" {
		d.problem = problem
	}
	d.i, d.end = 0, 0
}

func (d *protoDecoder) failf(format string, args ...any) {
	if d.problem == "" {
		d.fail(fmt.Sprintf(format, args...))
	}
}

func (d *protoDecoder) varint() uint64 {
	// Nearly all are one byte.
	if d.i < d.end && d.s[d.i] < 0x80 {
		d.i++
		return uint64(d.s[d.i-1])
	}
	var v uint64
	for shift := 0; ; shift += 7 {
		switch {
		case d.i >= d.end:
			d.failf("Truncated: length 1 > bytes available 0")
			return 0
		case shift == 63 && d.s[d.i] > 1:
			d.failf("Greater than 64-bit varint at position %d", d.i)
			return 0
		}
		b := d.s[d.i]
		d.i++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

func (d *protoDecoder) varint32() uint64 {
	at := d.i
	v := d.varint()
	if v > 1<<32-1 {
		d.failf("Greater than 32-bit varint at position %d", at)
		return 0
	}
	return v
}

func (d *protoDecoder) fixed64() uint64 {
	if d.end-d.i < 8 {
		d.failf("Truncated: length 8 > bytes available %d", d.end-d.i)
		return 0
	}
	v := binary.LittleEndian.Uint64([]byte(d.s[d.i : d.i+8]))
	d.i += 8
	return v
}

// bytes reads a length and that many bytes.
func (d *protoDecoder) bytes() string {
	n := d.varint32()
	if n > uint64(d.end-d.i) {
		d.failf("Truncated: length %d > bytes available %d", n, d.end-d.i)
		return ""
	}
	d.i += int(n)
	return d.s[d.i-int(n) : d.i]
}

func (d *protoDecoder) text() string {
	return valid(d.bytes())
}

func (d *protoDecoder) boolean() bool {
	v := d.varint()
	if v > 1 {
		d.failf("Malformed: invalid boolean value at byte %d", d.i)
	}
	return v == 1
}

// enter begins a message within a message; leave gets what it returns.
func (d *protoDecoder) enter() (end int, ok bool) {
	n := d.varint32()
	if n > uint64(d.end-d.i) {
		d.failf("Truncated: length %d > bytes available %d", n, d.end-d.i)
		return 0, false
	}
	if d.problem != "" {
		return 0, false
	}
	end = d.end
	d.end = d.i + int(n)
	return end, true
}

func (d *protoDecoder) leave(end int) {
	if d.problem == "" {
		d.end = end
	}
}

// skip passes over a field that is not known.
func (d *protoDecoder) skip(key uint64) {
	if d.problem != "" {
		return
	}
	if key>>3 == 0 {
		d.failf("Malformed: fieldNumber was zero at byte %d", d.i)
		return
	}
	switch key & 7 {
	case wireVarint:
		d.varint()
	case wireFixed64:
		d.fixed64()
	case wireBytes:
		d.bytes()
	case wireFixed32:
		if d.end-d.i < 4 {
			d.failf("Truncated: length 4 > bytes available %d", d.end-d.i)
			return
		}
		d.i += 4
	default:
		d.failf("Malformed: invalid wireType %d at byte %d", key&7, d.i)
	}
}

func (d *protoDecoder) span(s *Span) {
	var annotations []Annotation
	start := -1
	for d.i < d.end {
		switch key := d.varint32(); key {
		case keyTraceID:
			s.TraceID.High, s.TraceID.Low = d.id("traceId", 16)
		case keyParentID:
			_, low := d.id("parentId", 8)
			s.ParentID = ID(low)
		case keyID:
			_, low := d.id("id", 8)
			s.ID = ID(low)
		case keyKind:
			if kind := d.varint(); kind <= uint64(Consumer) {
				s.Kind = Kind(kind)
			}
		case keyName:
			if d.slim {
				d.bytes()
				continue
			}
			s.Name = d.text()
		case keyTimestamp:
			s.Timestamp = int64(d.fixed64())
		case keyDuration:
			s.Duration = int64(d.varint())
		case keyLocal:
			d.endpoint(&s.Local)
		case keyRemote:
			d.endpoint(&s.Remote)
		case keyAnnotation:
			if d.slim {
				d.bytes()
				continue
			}
			annotations = append(annotations, d.annotation())
		case keyTag:
			if start < 0 {
				if cap(d.tags)-len(d.tags) < 16 {
					d.tags = make([]Tag, 0, d.blockOfTags())
				}
				start = len(d.tags)
			}
			t := d.tag()
			if d.slim && t.Key != "error" {
				continue
			}
			if len(d.tags) == cap(d.tags) {
				own := d.tags[start:]
				d.tags = append(make([]Tag, 0, max(1024, 2*len(own))), own...)
				start = 0
			}
			d.tags = append(d.tags, t)
		case keyDebug:
			s.Debug = d.boolean() || s.Debug
		case keyShared:
			s.Shared = d.boolean() || s.Shared
		default:
			d.skip(key)
		}
	}
	if d.problem != "" {
		return
	}
	s.Annotations = annotations
	if start >= 0 {
		s.Tags = d.tags[start:len(d.tags):len(d.tags)]
	}
	missing := ""
	if s.TraceID.IsZero() {
		missing += " traceId"
	}
	if s.ID == 0 {
		missing += " id"
	}
	if missing != "" {
		d.fail("Missing :" + missing)
		return
	}
	if err := s.Normalize(); err != nil {
		d.fail(err.Error())
	}
}

// blockOfTags is how many tags to make room for: few for a short message.
func (d *protoDecoder) blockOfTags() int { return min(1024, 16+len(d.s)/32) }

// id reads an id of up to size bytes, big endian; an empty one is none.
func (d *protoDecoder) id(what string, size int) (high, low uint64) {
	raw := d.bytes()
	if len(raw) > size {
		d.failf("%s.length > %d", what, 2*size)
		return 0, 0
	}
	for _, c := range []byte(raw) {
		high = high<<8 | low>>56
		low = low<<8 | uint64(c)
	}
	return high, low
}

func (d *protoDecoder) endpoint(e *Endpoint) {
	*e = Endpoint{}
	end, ok := d.enter()
	if !ok {
		return
	}
	for d.i < d.end {
		switch key := d.varint32(); key {
		case keyServiceName:
			e.Service = d.text()
		case keyIPv4, keyIPv6:
			if a, ok := netip.AddrFromSlice([]byte(d.bytes())); ok {
				e.setAddr(a, true)
			}
		case keyPort:
			port := int32(d.varint())
			if port > 0xffff {
				d.failf("invalid port %d", port)
				return
			}
			e.Port = uint16(max(0, port))
		default:
			d.skip(key)
		}
	}
	d.leave(end)
}

func (d *protoDecoder) annotation() (a Annotation) {
	end, ok := d.enter()
	if !ok {
		return a
	}
	for d.i < d.end {
		switch key := d.varint32(); key {
		case keyAnnTime:
			a.Timestamp = int64(d.fixed64())
		case keyAnnValue:
			a.Value = d.text()
		default:
			d.skip(key)
		}
	}
	d.leave(end)
	return a
}

func (d *protoDecoder) tag() (t Tag) {
	end, ok := d.enter()
	if !ok {
		return t
	}
	for d.i < d.end {
		switch key := d.varint32(); key {
		case keyTagKey:
			t.Key = d.text()
		case keyTagValue:
			t.Value = d.text()
		default:
			d.skip(key)
		}
	}
	d.leave(end)
	return t
}

// LooksLikeProto reports whether a body begins as a ListOfSpans does.
func LooksLikeProto(data []byte) bool { return len(data) > 1 && data[0] == keySpan && data[1] != 0 }

// AppendProto appends spans as Zipkin's protobuf ListOfSpans. Lists so made can
// stand one behind the other.
func AppendProto(b []byte, spans ...Span) []byte {
	for i := range spans {
		s := &spans[i]
		b = append(b, keySpan)
		b = binary.AppendUvarint(b, uint64(spanSize(s)))
		b = appendProtoSpan(b, s)
	}
	return b
}

func varintSize(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// fieldSize is that of a field of n bytes, with its key and length.
func fieldSize(n int) int { return 1 + varintSize(uint64(n)) + n }

func spanSize(s *Span) int {
	n := 10 + 10 // trace id of 64 bits, id
	if s.TraceID.High != 0 {
		n += 8
	}
	if s.ParentID != 0 {
		n += 10
	}
	if s.Kind != KindUnset {
		n += 2
	}
	if s.Name != "" {
		n += fieldSize(len(s.Name))
	}
	if s.Timestamp != 0 {
		n += 9
	}
	if s.Duration != 0 {
		n += 1 + varintSize(uint64(s.Duration))
	}
	if !s.Local.IsZero() {
		n += fieldSize(endpointSize(&s.Local))
	}
	if !s.Remote.IsZero() {
		n += fieldSize(endpointSize(&s.Remote))
	}
	for _, a := range s.Annotations {
		n += fieldSize(9 + fieldSize(len(a.Value)))
	}
	for _, t := range s.Tags {
		n += fieldSize(fieldSize(len(t.Key)) + fieldSize(len(t.Value)))
	}
	if s.Debug {
		n += 2
	}
	if s.Shared {
		n += 2
	}
	return n
}

func endpointSize(e *Endpoint) (n int) {
	if e.Service != "" {
		n += fieldSize(len(e.Service))
	}
	if e.IPv4.IsValid() {
		n += 6
	}
	if e.IPv6.IsValid() {
		n += 18
	}
	if e.Port != 0 {
		n += 1 + varintSize(uint64(e.Port))
	}
	return n
}

func appendProtoSpan(b []byte, s *Span) []byte {
	if s.TraceID.High != 0 {
		b = append(b, keyTraceID, 16)
		b = binary.BigEndian.AppendUint64(b, s.TraceID.High)
	} else {
		b = append(b, keyTraceID, 8)
	}
	b = binary.BigEndian.AppendUint64(b, s.TraceID.Low)
	if s.ParentID != 0 {
		b = append(b, keyParentID, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(s.ParentID))
	}
	b = append(b, keyID, 8)
	b = binary.BigEndian.AppendUint64(b, uint64(s.ID))
	if s.Kind != KindUnset {
		b = append(b, keyKind, byte(s.Kind))
	}
	if s.Name != "" {
		b = appendField(b, keyName, s.Name)
	}
	if s.Timestamp != 0 {
		b = append(b, keyTimestamp)
		b = binary.LittleEndian.AppendUint64(b, uint64(s.Timestamp))
	}
	if s.Duration != 0 {
		b = append(b, keyDuration)
		b = binary.AppendUvarint(b, uint64(s.Duration))
	}
	b = appendProtoEndpoint(b, keyLocal, &s.Local)
	b = appendProtoEndpoint(b, keyRemote, &s.Remote)
	for _, a := range s.Annotations {
		b = append(b, keyAnnotation)
		b = binary.AppendUvarint(b, uint64(9+fieldSize(len(a.Value))))
		b = append(b, keyAnnTime)
		b = binary.LittleEndian.AppendUint64(b, uint64(a.Timestamp))
		b = appendField(b, keyAnnValue, a.Value)
	}
	for _, t := range s.Tags {
		b = append(b, keyTag)
		b = binary.AppendUvarint(b, uint64(fieldSize(len(t.Key))+fieldSize(len(t.Value))))
		b = appendField(b, keyTagKey, t.Key)
		b = appendField(b, keyTagValue, t.Value)
	}
	if s.Debug {
		b = append(b, keyDebug, 1)
	}
	if s.Shared {
		b = append(b, keyShared, 1)
	}
	return b
}

func appendField(b []byte, key byte, value string) []byte {
	b = append(b, key)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

func appendProtoEndpoint(b []byte, key byte, e *Endpoint) []byte {
	if e.IsZero() {
		return b
	}
	b = append(b, key)
	b = binary.AppendUvarint(b, uint64(endpointSize(e)))
	if e.Service != "" {
		b = appendField(b, keyServiceName, e.Service)
	}
	if e.IPv4.IsValid() {
		raw := e.IPv4.As4()
		b = append(append(b, keyIPv4, 4), raw[:]...)
	}
	if e.IPv6.IsValid() {
		raw := e.IPv6.As16()
		b = append(append(b, keyIPv6, 16), raw[:]...)
	}
	if e.Port != 0 {
		b = append(b, keyPort)
		b = binary.AppendUvarint(b, uint64(e.Port))
	}
	return b
}
