package tracing

import (
	"unicode/utf8"
)

// AppendJSON appends a span in Zipkin's v2 JSON, in Zipkin's order of members.
func AppendJSON(b []byte, s *Span) []byte {
	b = append(b, `{"traceId":"`...)
	b = s.TraceID.Append(b)
	if s.ParentID != 0 {
		b = append(b, `","parentId":"`...)
		b = appendHex(b, uint64(s.ParentID))
	}
	b = append(b, `","id":"`...)
	b = appendHex(b, uint64(s.ID))
	b = append(b, '"')
	if s.Kind != KindUnset {
		b = append(b, `,"kind":"`...)
		b = append(b, s.Kind.String()...)
		b = append(b, '"')
	}
	if s.Name != "" {
		b = append(b, `,"name":`...)
		b = appendString(b, s.Name)
	}
	if s.Timestamp != 0 {
		b = append(b, `,"timestamp":`...)
		b = appendInt(b, s.Timestamp)
	}
	if s.Duration != 0 {
		b = append(b, `,"duration":`...)
		b = appendInt(b, s.Duration)
	}
	b = appendEndpoint(b, `,"localEndpoint":`, &s.Local)
	b = appendEndpoint(b, `,"remoteEndpoint":`, &s.Remote)
	for i, a := range s.Annotations {
		b = append(b, separator(i, `,"annotations":[`)...)
		b = append(b, `{"timestamp":`...)
		b = appendInt(b, a.Timestamp)
		b = append(b, `,"value":`...)
		b = appendString(b, a.Value)
		b = append(b, '}')
	}
	if len(s.Annotations) > 0 {
		b = append(b, ']')
	}
	for i, t := range s.Tags {
		b = append(b, separator(i, `,"tags":{`)...)
		b = appendString(b, t.Key)
		b = append(b, ':')
		b = appendString(b, t.Value)
	}
	if len(s.Tags) > 0 {
		b = append(b, '}')
	}
	if s.Debug {
		b = append(b, `,"debug":true`...)
	}
	if s.Shared {
		b = append(b, `,"shared":true`...)
	}
	return append(b, '}')
}

// AppendJSONList appends a list of spans.
func AppendJSONList(b []byte, spans []Span) []byte {
	b = append(b, '[')
	for i := range spans {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendJSON(b, &spans[i])
	}
	return append(b, ']')
}

// AppendJSONLists appends a list of traces, each a list of spans.
func AppendJSONLists(b []byte, traces [][]Span) []byte {
	b = append(b, '[')
	for i, spans := range traces {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendJSONList(b, spans)
	}
	return append(b, ']')
}

// MarshalJSON returns what AppendJSON appends.
func (s Span) MarshalJSON() ([]byte, error) { return AppendJSON(nil, &s), nil }

// separator begins a list at its first element, and stands between the others.
func separator(i int, begin string) string {
	if i == 0 {
		return begin
	}
	return ","
}

func appendEndpoint(b []byte, name string, e *Endpoint) []byte {
	if e.IsZero() {
		return b
	}
	b = append(b, name...)
	n := 0
	member := func(key string) {
		b = append(b, separator(n, "{")...)
		b = append(b, key...)
		n++
	}
	if e.Service != "" {
		member(`"serviceName":`)
		b = appendString(b, e.Service)
	}
	if e.IPv4.IsValid() {
		member(`"ipv4":"`)
		b = append(e.IPv4.AppendTo(b), '"')
	}
	if e.IPv6.IsValid() {
		member(`"ipv6":"`)
		b = append(e.IPv6.AppendTo(b), '"')
	}
	if e.Port != 0 {
		member(`"port":`)
		b = appendInt(b, int64(e.Port))
	}
	return append(b, '}')
}

// appendString appends a JSON string. Like Zipkin it escapes what JSON asks to
// escape and the two line separators that JavaScript does not like.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + 1
			case r == '\u2028' || r == '\u2029':
				b = append(append(b, s[start:i]...), `\u202`...)
				b = append(b, hexDigits[r&0xf])
				start = i + size
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
