package tracing

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// DecodeJSON reads a list of spans in Zipkin's v2 JSON, all or none of them. It
// is as lenient as Zipkin is: unknown members are passed over, optional ones may
// be null, numbers may be written as strings. Bytes that are not UTF-8 become
// U+FFFD, one for one. The spans are normalised and hold on to one copy of data,
// not to data itself. Errors: Invalid, with Zipkin's message where it has one.
func DecodeJSON(data []byte) ([]Span, error) { return DecodeJSONAtMost(data, math.MaxInt) }

// DecodeJSONAtMost is DecodeJSON of a list that may not be longer than most spans.
// It stops at the first beyond, with ErrTooManySpans.
func DecodeJSONAtMost(data []byte, most int) ([]Span, error) {
	d := jsonDecoder{scanner: scanner{s: valid(string(data))}, most: most}
	spans := d.list()
	if d.tooMany {
		return nil, ErrTooManySpans
	}
	if d.problem != "" {
		return nil, invalid(d.message())
	}
	return spans, nil
}

// jsonDecoder reads spans. The slices of all spans are cut from a few blocks.
type jsonDecoder struct {
	scanner
	index       int    // of the span
	field, sub  string // where in the span, for messages
	tags        []Tag
	annotations []Annotation
	most        int // spans
	tooMany     bool
}

// valid replaces each byte that is not UTF-8 by U+FFFD.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	b := make([]byte, 0, len(s)+len(s)/4)
	for _, r := range s {
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}

// message says what was wrong and where, as Zipkin does.
func (d *jsonDecoder) message() string {
	what := d.problem
	switch {
	case what == malformed:
	case d.at != "":
		what += " at " + d.at
	default:
		path := "$[" + strconv.Itoa(d.index) + "]"
		if d.field != "" {
			path += "." + d.field
		}
		what += " at path " + path + d.sub
	}
	return what + " reading List<Span> from json"
}

func (d *jsonDecoder) list() []Span {
	if !d.open('[') {
		return nil
	}
	// Spans are rarely shorter than 256 bytes; a few doublings are cheap.
	spans := make([]Span, 0, min(len(d.s)/256+1, 4096))
	first := true
	for d.more(']', &first) {
		d.index = len(spans)
		if d.index >= d.most {
			d.tooMany = true
			return nil
		}
		spans = append(spans, Span{})
		d.span(&spans[len(spans)-1])
		if d.problem != "" {
			return nil
		}
	}
	d.field, d.sub = "", ""
	if d.problem == "" && d.peek() != 0 {
		d.fail(malformed) // something after the list
	}
	return spans
}

func (d *jsonDecoder) span(s *Span) {
	d.field, d.sub = "", ""
	if !d.open('{') {
		return
	}
	var hasTrace, hasID bool
	first := true
	for d.more('}', &first) {
		d.field, d.sub = "", ""
		key := d.key()
		d.field = key
		switch key {
		case "traceId":
			text := d.text()
			t, problem := parseTraceID(text)
			d.check(problem)
			s.TraceID, hasTrace = t, true
			continue
		case "id":
			text := d.text()
			id, problem := parseID(text, "id")
			if problem == "" && id == 0 {
				problem = "id is all zeros"
			}
			d.check(problem)
			s.ID, hasID = id, true
			continue
		}
		if d.null() {
			continue
		}
		switch key {
		case "parentId":
			id, problem := parseID(d.text(), "parentId")
			d.check(problem)
			s.ParentID = id
		case "kind":
			text := d.text()
			kind, ok := ParseKind(text)
			if !ok {
				d.check("No enum constant zipkin2.Span.Kind." + text)
			}
			s.Kind = kind
		case "name":
			s.Name = d.text()
		case "timestamp":
			s.Timestamp = d.integer("a long")
		case "duration":
			s.Duration = d.integer("a long")
		case "localEndpoint":
			d.endpoint(&s.Local)
		case "remoteEndpoint":
			d.endpoint(&s.Remote)
		case "annotations":
			d.readAnnotations(s)
		case "tags":
			d.readTags(s)
		case "debug":
			s.Debug = d.boolean() || s.Debug
		case "shared":
			s.Shared = d.boolean() || s.Shared
		default:
			d.skip(0)
		}
	}
	if d.problem != "" {
		return
	}
	missing := ""
	if !hasTrace {
		missing += " traceId"
	}
	if !hasID {
		missing += " id"
	}
	if missing != "" {
		d.field = ""
		d.fail("Missing :" + missing)
		return
	}
	if err := s.Normalize(); err != nil {
		d.fail(err.Error())
	}
}

// check fails with a problem of a value that was read.
func (d *jsonDecoder) check(problem string) {
	if problem != "" {
		d.fail(problem)
	}
}

func (d *jsonDecoder) endpoint(e *Endpoint) {
	*e = Endpoint{}
	if !d.open('{') {
		return
	}
	first := true
	for d.more('}', &first) {
		d.sub = ""
		key := d.key()
		if d.null() {
			continue
		}
		switch key {
		case "serviceName":
			d.sub = ".serviceName"
			e.Service = d.text()
		case "ipv4", "ipv6":
			d.sub = ".ip"
			e.setIP(d.text())
		case "port":
			d.sub = ".port"
			port := d.integer("an int")
			if port > 0xffff {
				d.fail("invalid port " + strconv.FormatInt(port, 10))
				return
			}
			e.Port = uint16(max(0, port))
		default:
			d.skip(0)
		}
	}
}

func (d *jsonDecoder) readAnnotations(s *Span) {
	if !d.open('[') {
		return
	}
	start := d.blockOfAnnotations()
	firstOf := true
	for n := 0; d.more(']', &firstOf); n++ {
		if !d.open('{') {
			return
		}
		var a Annotation
		var hasTime, hasValue bool
		last := ""
		first := true
		for d.more('}', &first) {
			key := d.key()
			last = key
			switch key {
			case "timestamp":
				d.sub = fmt0(n, ".timestamp")
				a.Timestamp, hasTime = d.integer("a long"), true
			case "value":
				d.sub = fmt0(n, ".value")
				a.Value, hasValue = d.text(), true
			default:
				d.skip(0)
			}
		}
		if d.problem != "" {
			return
		}
		if !hasTime || !hasValue {
			d.at = fmt.Sprintf("$[%d].annotations[%d].%s", d.index, n, last)
			d.fail("Incomplete annotation")
			return
		}
		d.annotations = append(d.annotations, a)
		if len(d.annotations) == cap(d.annotations) {
			start = d.moveAnnotations(start)
		}
	}
	s.Annotations = d.annotations[start:len(d.annotations):len(d.annotations)]
}

// fmt0 is the path within the annotations; only the first one's is made without
// allocating, since most spans have no second.
func fmt0(n int, field string) string {
	if n == 0 {
		if field == ".value" {
			return "[0].value"
		}
		return "[0].timestamp"
	}
	return ""
}

// blockOfAnnotations returns where the next span's annotations begin.
func (d *jsonDecoder) blockOfAnnotations() int {
	if cap(d.annotations)-len(d.annotations) < 4 {
		d.annotations = make([]Annotation, 0, 128)
	}
	return len(d.annotations)
}

// moveAnnotations moves a span's annotations to a new block once the old is full,
// so that a block is never copied for the sake of spans that are done.
func (d *jsonDecoder) moveAnnotations(start int) int {
	own := d.annotations[start:]
	d.annotations = append(make([]Annotation, 0, max(128, 2*len(own))), own...)
	return 0
}

func (d *jsonDecoder) readTags(s *Span) {
	if !d.open('{') {
		return
	}
	if cap(d.tags)-len(d.tags) < 16 {
		d.tags = make([]Tag, 0, 1024)
	}
	start := len(d.tags)
	first := true
	for d.more('}', &first) {
		key := d.key()
		if c := d.peek(); c != '"' {
			if c == 'n' {
				d.at = fmt.Sprintf("$[%d].tags.%s", d.index, key)
				d.fail("No value")
				return
			}
			d.sub = "." + key
		}
		value := d.text()
		d.tags = append(d.tags, Tag{key, value})
		if len(d.tags) == cap(d.tags) {
			own := d.tags[start:]
			d.tags = append(make([]Tag, 0, max(1024, 2*len(own))), own...)
			start = 0
		}
	}
	s.Tags = d.tags[start:len(d.tags):len(d.tags)]
}

// LooksLikeV1 reports whether a JSON body has what only Zipkin's v1 format has.
func LooksLikeV1(data []byte) bool {
	return bytes.Contains(data, []byte(`yAnnotations"`))
}
