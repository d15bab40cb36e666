package tracing

import "strconv"

// TraceID is 64 or 128 bits; one whose upper half is zero is a 64-bit one.
type TraceID struct{ High, Low uint64 }

// ID is the 64-bit id of a span; zero is none.
type ID uint64

// IsZero reports whether there is no id.
func (t TraceID) IsZero() bool { return t == TraceID{} }

// String returns 16 or 32 lower-case hex digits.
func (t TraceID) String() string {
	var b [32]byte
	return string(t.Append(b[:0]))
}

// Append appends what String returns.
func (t TraceID) Append(b []byte) []byte {
	if t.High != 0 {
		b = appendHex(b, t.High)
	}
	return appendHex(b, t.Low)
}

// MarshalText returns what String does.
func (t TraceID) MarshalText() ([]byte, error) { return t.Append(nil), nil }

// String returns 16 lower-case hex digits.
func (i ID) String() string {
	var b [16]byte
	return string(appendHex(b[:0], uint64(i)))
}

// MarshalText returns what String does.
func (i ID) MarshalText() ([]byte, error) { return appendHex(nil, uint64(i)), nil }

// ParseTraceID reads 1 to 32 lower-case hex digits; missing leading ones are
// zeros. Errors: Invalid, in Zipkin's words.
func ParseTraceID(s string) (TraceID, error) {
	t, problem := parseTraceID(s)
	if problem != "" {
		return TraceID{}, invalid(problem)
	}
	return t, nil
}

// ParseID reads 1 to 16 lower-case hex digits. Errors: Invalid, in Zipkin's words.
func ParseID(s string) (ID, error) {
	v, problem := parseID(s, "id")
	if problem != "" {
		return 0, invalid(problem)
	}
	if v == 0 {
		return 0, invalid("id is all zeros")
	}
	return v, nil
}

// parseTraceID returns what is wrong, or "".
func parseTraceID(s string) (t TraceID, problem string) {
	switch {
	case s == "":
		return t, "traceId is empty"
	case len(s) > 32:
		return t, "traceId.length > 32"
	}
	low := max(0, len(s)-16)
	var ok1, ok2 bool
	t.High, ok1 = parseHex(s[:low])
	t.Low, ok2 = parseHex(s[low:])
	switch {
	case !ok1 || !ok2:
		return TraceID{}, s + " should be lower-hex encoded with no prefix"
	case t.IsZero():
		return t, "traceId is all zeros"
	}
	return t, ""
}

// parseID returns what is wrong, or ""; zero is not wrong here, as a parent may
// be all zeros.
func parseID(s, what string) (id ID, problem string) {
	switch {
	case s == "":
		return 0, what + " is empty"
	case len(s) > 16:
		return 0, what + ".length > 16"
	}
	v, ok := parseHex(s)
	if !ok {
		return 0, s + " should be lower-hex encoded with no prefix"
	}
	return ID(v), ""
}

// hexValue maps a digit to its value, anything else to 0xff.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i] = byte(10 + i)
	}
	return t
}()

func parseHex(s string) (uint64, bool) {
	var v uint64
	var bad byte
	for i := range len(s) {
		d := hexValue[s[i]]
		bad |= d
		v = v<<4 | uint64(d&0xf)
	}
	return v, bad < 0x10
}

const hexDigits = "0123456789abcdef"

func appendHex(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&0xf])
	}
	return b
}

func appendInt(b []byte, v int64) []byte { return strconv.AppendInt(b, v, 10) }
