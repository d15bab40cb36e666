package trace

import (
	"strings"

	"github.com/openzipkin/zipkin-go/model"
)

// The keys of propagation, as they are written. They are read in any case: HTTP
// makes them canonical, HTTP/2 and Triple lower-case, and Dubbo's attachments
// keep what the sender wrote.
const (
	keyTraceParent = "traceparent"
	keyTraceState  = "tracestate"
	keyB3          = "b3"
	keyTraceID     = "X-B3-TraceId"
	keySpanID      = "X-B3-SpanId"
	keyParentID    = "X-B3-ParentSpanId"
	keySampled     = "X-B3-Sampled"
	keyFlags       = "X-B3-Flags"
)

// maxTraceState is how much of a tracestate is passed on; W3C asks for at least
// 512 characters.
const maxTraceState = 1024

// fields are the texts found under the keys.
type fields struct {
	traceParent, traceState, b3                 string
	traceID, spanID, parentID, sampled, b3Flags string
}

// read takes the text under a key. Where there are two spellings of one, the one
// that a tracer writes counts: the other is what came over Triple and was passed on.
func (f *fields) read(key, value string) {
	p := f.field(key)
	if p == nil {
		return
	}
	switch key {
	case keyTraceParent, keyTraceState, keyB3, keyTraceID, keySpanID, keyParentID, keySampled, keyFlags:
		*p = value
	default:
		if *p == "" {
			*p = value
		}
	}
}

// field returns where the value of a key belongs, nil for keys that are none of
// propagation's.
func (f *fields) field(key string) *string {
	switch len(key) {
	case len(keyB3):
		if strings.EqualFold(key, keyB3) {
			return &f.b3
		}
	case len(keyTraceState):
		switch {
		case strings.EqualFold(key, keyTraceState):
			return &f.traceState
		case strings.EqualFold(key, keyFlags):
			return &f.b3Flags
		}
	case len(keyTraceParent): // and of X-B3-SpanId
		switch {
		case strings.EqualFold(key, keyTraceParent):
			return &f.traceParent
		case strings.EqualFold(key, keySpanID):
			return &f.spanID
		}
	case len(keyTraceID): // and of X-B3-Sampled
		switch {
		case strings.EqualFold(key, keyTraceID):
			return &f.traceID
		case strings.EqualFold(key, keySampled):
			return &f.sampled
		}
	case len(keyParentID):
		if strings.EqualFold(key, keyParentID) {
			return &f.parentID
		}
	}
	return nil
}

// Extract reads the context of a call that came in. A traceparent is believed
// first, as Spring Boot does it, then b3, then X-B3-*; where B3 names the same
// span it adds what traceparent cannot say (debug, the parent's id). What is
// malformed counts as absent: a call is never failed for its trace. The result
// has no trace id when the call belongs to none; it may yet say whether to
// sample.
//
// zipkin-go's parser of b3 is not used: it panics on some truncated headers,
// which anybody can send.
func Extract(c Carrier) model.SpanContext {
	var f fields
	c.Each(f.read)
	b3, haveB3 := parseB3(f.b3)
	multi, haveMulti := parseB3Multi(f)
	w3c, haveW3C := parseTraceParent(f.traceParent)
	if last, ok := lastWritten(w3c, b3, multi); ok {
		return last
	}
	if !haveB3 {
		b3, haveB3 = multi, haveMulti
	} else if b3.ParentID == nil && multi.TraceID == b3.TraceID && multi.ID == b3.ID {
		b3.ParentID = multi.ParentID // b3 has no place for it while sampling is undecided
	}
	switch {
	case !haveW3C:
		return b3 // the zero context without any
	case haveB3 && b3.TraceID == w3c.TraceID && b3.ID == w3c.ID:
		w3c.ParentID, w3c.Debug = b3.ParentID, b3.Debug
		if w3c.Debug {
			w3c.Sampled = nil
		}
	}
	if s := f.traceState; s != "" && len(s) <= maxTraceState && printable(s) {
		w3c.Baggage = traceState(s)
	}
	return w3c
}

// lastWritten returns the B3 context of a call that holds contexts of two spans of
// one trace. Dubbo Java passes the attachments of a call that it serves on to the
// calls that it makes for it, and tracers there write in one spelling: what the
// others say is the span that called Java, and not the one that calls now. That is
// the one whose parent another names, or the only one of three that says otherwise.
func lastWritten(w3c, b3, multi model.SpanContext) (model.SpanContext, bool) {
	if below(b3, w3c) || below(b3, multi) || (differs(b3, w3c) && differs(b3, multi) && w3c.ID == multi.ID) {
		return b3, true
	}
	if below(multi, w3c) || below(multi, b3) || (differs(multi, w3c) && differs(multi, b3) && w3c.ID == b3.ID) {
		return multi, true
	}
	return model.SpanContext{}, false
}

// below reports whether a context is that of a child of another's span.
func below(a, of model.SpanContext) bool {
	return differs(a, of) && a.ParentID != nil && *a.ParentID == of.ID
}

// differs reports whether two contexts are of two spans of one trace.
func differs(a, b model.SpanContext) bool {
	return a.ID != 0 && b.ID != 0 && a.ID != b.ID && !a.TraceID.Empty() && a.TraceID == b.TraceID
}

// printable reports whether a text can be passed on in every carrier. Attachments
// hold anything; HTTP refuses calls whose headers hold line breaks.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' && c != '\t') || c > '~' {
			return false
		}
	}
	return true
}

// Inject writes the context of a call that goes out, in every spelling a receiver
// may know, and removes what another context left there.
func Inject(sc model.SpanContext, c Carrier) {
	var stale []string
	var f fields
	c.Each(func(key, _ string) {
		if f.field(key) != nil {
			stale = append(stale, key)
		}
	})
	for _, key := range stale {
		c.Delete(key)
	}
	sampled := ""
	switch {
	case sc.Debug:
		sampled = "d"
	case sc.Sampled != nil && *sc.Sampled:
		sampled = "1"
	case sc.Sampled != nil:
		sampled = "0"
	}
	if sc.TraceID.Empty() || sc.ID == 0 {
		if sampled != "" {
			c.Set(keyB3, sampled)
			setSampled(c, sampled)
		}
		return
	}
	var buf [96]byte
	trace := appendHex(buf[:0], sc.TraceID)
	id := string(appendHex16(nil, uint64(sc.ID)))
	// A decision that is still open cannot be written in a traceparent.
	if sampled != "" {
		w := make([]byte, 0, 55)
		w = append(w, "00-"...)
		w = appendHex16(w, sc.TraceID.High)
		w = appendHex16(w, sc.TraceID.Low)
		w = append(w, '-')
		w = append(w, id...)
		if sampled == "0" {
			w = append(w, "-00"...)
		} else {
			w = append(w, "-01"...)
		}
		c.Set(keyTraceParent, string(w))
		if s, ok := sc.Baggage.(traceState); ok {
			c.Set(keyTraceState, string(s))
		}
	}
	b := append(append(append(make([]byte, 0, 68), trace...), '-'), id...)
	c.Set(keyTraceID, string(trace))
	c.Set(keySpanID, id)
	if sampled != "" {
		b = append(append(b, '-'), sampled...)
		setSampled(c, sampled)
	}
	if sc.ParentID != nil {
		parent := string(appendHex16(nil, uint64(*sc.ParentID)))
		c.Set(keyParentID, parent)
		if sampled != "" { // b3 has no place for a parent without it
			b = append(append(b, '-'), parent...)
		}
	}
	c.Set(keyB3, string(b))
}

func setSampled(c Carrier, sampled string) {
	if sampled == "d" {
		c.Set(keyFlags, "1")
		return
	}
	c.Set(keySampled, sampled)
}

// parseTraceParent reads version-traceid-parentid-flags. Later versions may say
// more behind the flags.
func parseTraceParent(s string) (sc model.SpanContext, ok bool) {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return sc, false
	}
	version, ok := lowerHex(s[:2])
	if !ok || version == 0xff || (version == 0 && len(s) != 55) || (len(s) > 55 && s[55] != '-') {
		return sc, false
	}
	high, ok1 := lowerHex(s[3:19])
	low, ok2 := lowerHex(s[19:35])
	id, ok3 := lowerHex(s[36:52])
	flags, ok4 := lowerHex(s[53:55])
	if !ok1 || !ok2 || !ok3 || !ok4 || high|low == 0 || id == 0 {
		return sc, false
	}
	sampled := flags&1 == 1
	return model.SpanContext{TraceID: model.TraceID{High: high, Low: low}, ID: model.ID(id), Sampled: &sampled}, true
}

// parseB3 reads traceid-spanid[-sampled[-parentid]], or sampled alone.
func parseB3(s string) (sc model.SpanContext, ok bool) {
	if s == "" {
		return sc, false
	}
	id, rest, more := strings.Cut(s, "-")
	if !more {
		ok = setDecision(&sc, s)
		return sc, ok
	}
	span, rest, more := strings.Cut(rest, "-")
	if sc.TraceID, ok = parseTraceID(id); !ok {
		return model.SpanContext{}, false
	}
	if sc.ID, ok = parseID(span); !ok {
		return model.SpanContext{}, false
	}
	if !more {
		return sc, true
	}
	decision, parent, more := strings.Cut(rest, "-")
	if !setDecision(&sc, decision) {
		return model.SpanContext{}, false
	}
	if more {
		id, ok := parseID(parent)
		if !ok {
			return model.SpanContext{}, false
		}
		sc.ParentID = &id
	}
	return sc, true
}

func setDecision(sc *model.SpanContext, s string) bool {
	yes, no := true, false
	switch s {
	case "1":
		sc.Sampled = &yes
	case "0":
		sc.Sampled = &no
	case "d":
		sc.Debug = true
	default:
		return false
	}
	return true
}

// parseB3Multi reads X-B3-*. "true" and "false" are of old senders.
func parseB3Multi(f fields) (sc model.SpanContext, ok bool) {
	switch {
	case f.b3Flags == "1":
		sc.Debug = true
	case f.sampled == "1", strings.EqualFold(f.sampled, "true"):
		setDecision(&sc, "1")
	case f.sampled == "0", strings.EqualFold(f.sampled, "false"):
		setDecision(&sc, "0")
	}
	decided := sc.Debug || sc.Sampled != nil
	if f.traceID == "" && f.spanID == "" {
		return sc, decided
	}
	alone := model.SpanContext{Debug: sc.Debug, Sampled: sc.Sampled}
	if sc.TraceID, ok = parseTraceID(f.traceID); !ok {
		return alone, decided
	}
	if sc.ID, ok = parseID(f.spanID); !ok {
		return alone, decided
	}
	if id, ok := parseID(f.parentID); ok {
		sc.ParentID = &id
	}
	return sc, true
}

// parseTraceID reads up to 32 digits; senders that write shorter ones than 16
// leave leading zeros out.
func parseTraceID(s string) (t model.TraceID, ok bool) {
	if len(s) > 16 {
		if len(s) > 32 {
			return t, false
		}
		if t.High, ok = anyHex(s[:len(s)-16]); !ok {
			return t, false
		}
		s = s[len(s)-16:]
	}
	t.Low, ok = anyHex(s)
	return t, ok && !t.Empty()
}

func parseID(s string) (model.ID, bool) {
	n, ok := anyHex(s)
	return model.ID(n), ok && n != 0
}

func lowerHex(s string) (uint64, bool) {
	if strings.ContainsAny(s, "ABCDEF") {
		return 0, false
	}
	return anyHex(s)
}

// anyHex reads 1 to 16 digits.
func anyHex(s string) (n uint64, ok bool) {
	if s == "" || len(s) > 16 {
		return 0, false
	}
	for i := range len(s) {
		var d byte
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			d = c - '0'
		case c >= 'a' && c <= 'f':
			d = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			d = c - 'A' + 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(d)
	}
	return n, true
}

const hexDigits = "0123456789abcdef"

func appendHex16(b []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[n>>shift&0xf])
	}
	return b
}

// appendHex writes a trace id as B3 does: 16 digits where they suffice.
func appendHex(b []byte, t model.TraceID) []byte {
	if t.High != 0 {
		b = appendHex16(b, t.High)
	}
	return appendHex16(b, t.Low)
}

// traceState is the tracestate of a trace, which is passed on as it came. It
// travels as a span context's baggage because that is what zipkin-go hands from
// a span to its children; nobody can change it.
type traceState string

func (s traceState) Get(key string) []string {
	if strings.EqualFold(key, keyTraceState) {
		return []string{string(s)}
	}
	return nil
}
func (traceState) Add(string, ...string) bool { return false }
func (traceState) Set(string, ...string) bool { return false }
func (traceState) Delete(string) bool         { return false }
func (s traceState) Iterate(f func(key string, values []string)) {
	f(keyTraceState, []string{string(s)})
}
