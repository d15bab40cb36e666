package dubbo

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

const (
	// maxJSONDepth bounds how deep an argument may be nested.
	maxJSONDepth = 64
	// maxDigits bounds the digits of a decimal or big integer, and its exponent:
	// "1e1000000000" would keep a provider busy for a long time.
	maxDigits = 1000
)

// mismatch says that a value is not what the declared type wants.
type mismatch struct {
	at   string // where in the value: ".items[3]"; empty for the value itself
	want string
	got  string
}

func (m *mismatch) says() string { return "expected " + m.want + ", got " + m.got }

func (m *mismatch) below(step string) { m.at = step + m.at }

// transcoder turns JSON into Hessian by declared types.
type transcoder struct {
	encoder
	scratch []byte
	depth   int
}

func wrong(t *javaType, raw []byte) *mismatch {
	return &mismatch{want: t.expects(), got: describe(raw)}
}

// describe says what a JSON value is, without repeating much of it.
func describe(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 'n':
		return "null"
	}
	s := string(raw)
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// json appends a JSON value as a value of type t.
func (e *transcoder) json(t *javaType, raw []byte) *mismatch {
	if len(raw) == 0 {
		return wrong(t, raw)
	}
	if e.depth >= maxJSONDepth {
		return &mismatch{want: fmt.Sprintf("at most %d levels", maxJSONDepth), got: "more"}
	}
	e.depth++
	defer func() { e.depth-- }()
	if raw[0] == 'n' {
		if t.primitive {
			return wrong(t, raw)
		}
		e.b = appendNull(e.b)
		return nil
	}
	switch t.kind {
	case kindList:
		return e.list(t, raw)
	case kindMap:
		return e.mapping(t, raw)
	case kindPojo:
		return e.pojo(t, raw)
	case kindObject:
		return e.natural(raw)
	case kindBool:
		if raw[0] != 't' && raw[0] != 'f' {
			return wrong(t, raw)
		}
		e.b = appendBool(e.b, raw[0] == 't')
		return nil
	}
	switch raw[0] {
	case '"':
		if s, ok := plain(raw); ok {
			return e.word(t, s, raw)
		}
		e.scratch = unquote(e.scratch[:0], raw)
		return e.word(t, e.scratch, raw)
	case '{', '[', 't', 'f':
		return wrong(t, raw)
	}
	return e.number(t, raw)
}

// word appends what a JSON string holds as a value of a scalar type.
func (e *transcoder) word(t *javaType, s, raw []byte) *mismatch {
	switch t.kind {
	case kindByte, kindShort, kindInt, kindFloat, kindDouble:
		return wrong(t, raw) // a number is written as a number
	case kindLong, kindBigDecimal, kindBigInteger: // which JavaScript can only write as strings
		if !isJSONNumber(string(s)) {
			return wrong(t, raw)
		}
		return e.number(t, s)
	}
	if !e.scalar(t, string(s)) {
		return wrong(t, raw)
	}
	return nil
}

// text appends a text that is no JSON, such as a path variable.
func (e *transcoder) text(t *javaType, s string) *mismatch {
	ok := false
	switch t.kind {
	case kindByte, kindShort, kindInt, kindLong, kindFloat, kindDouble, kindBigDecimal, kindBigInteger:
		if isJSONNumber(s) && !strings.ContainsAny(s, " \t\r\n") {
			return e.number(t, []byte(s))
		}
	case kindBool:
		if ok = s == "true" || s == "false"; ok {
			e.b = appendBool(e.b, s == "true")
		}
	case kindObject, kindPojo:
		e.b, ok = appendString(e.b, s), true
	default:
		ok = e.scalar(t, s)
	}
	if !ok {
		return &mismatch{want: t.expects(), got: describe([]byte(strconv.Quote(s)))}
	}
	return nil
}

// scalar appends a string as a value of a type that strings stand for, and
// reports false for one that is none.
func (e *transcoder) scalar(t *javaType, s string) bool {
	switch t.kind {
	case kindString:
		e.b = appendString(e.b, s)
	case kindEnum:
		if s == "" {
			return false
		}
		e.object(t.name, "name")
		e.b = appendString(e.b, s)
	case kindChar:
		if utf16Len(s) != 1 {
			return false
		}
		e.b = appendString(e.b, s)
	case kindBytes:
		v, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return false
		}
		e.b = appendBinary(e.b, v)
	case kindDate, kindSQLDate, kindInstant:
		when, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			if millis, err := strconv.ParseInt(s, 10, 64); err == nil {
				return e.moment(t, time.UnixMilli(millis))
			}
			return false
		}
		return e.moment(t, when)
	case kindLocalDate:
		when, err := time.Parse(time.DateOnly, s)
		if err != nil {
			return false
		}
		e.localDate(when)
	case kindLocalTime:
		when, err := time.Parse("15:04:05", s) // takes a fraction, too
		if err != nil {
			if when, err = time.Parse("15:04", s); err != nil {
				return false
			}
		}
		e.localTime(when)
	case kindLocalDateTime:
		when, err := time.Parse("2006-01-02T15:04:05", s)
		if err != nil {
			if when, err = time.Parse(time.DateTime, s); err != nil {
				return false
			}
		}
		e.object(java8+"LocalDateTimeHandle", "date", "time")
		e.localDate(when)
		e.localTime(when)
	default:
		return false
	}
	return true
}

func (e *transcoder) moment(t *javaType, when time.Time) bool {
	switch t.kind {
	case kindDate:
		e.b = appendDate(e.b, when.UnixMilli())
	case kindSQLDate:
		e.object(t.name, "value")
		e.b = appendDate(e.b, when.UnixMilli())
	case kindInstant:
		e.object(java8+"InstantHandle", "seconds", "nanos")
		e.b = appendLong(e.b, when.Unix())
		e.b = appendInt(e.b, int32(when.Nanosecond()))
	default:
		return false
	}
	return true
}

func (e *transcoder) localDate(t time.Time) {
	e.object(java8+"LocalDateHandle", "year", "month", "day")
	for _, n := range [...]int{t.Year(), int(t.Month()), t.Day()} {
		e.b = appendInt(e.b, int32(n))
	}
}

func (e *transcoder) localTime(t time.Time) {
	e.object(java8+"LocalTimeHandle", "hour", "minute", "second", "nano")
	for _, n := range [...]int{t.Hour(), t.Minute(), t.Second(), t.Nanosecond()} {
		e.b = appendInt(e.b, int32(n))
	}
}

// number appends a JSON number as a value of a scalar type.
func (e *transcoder) number(t *javaType, raw []byte) *mismatch {
	s := string(raw)
	switch t.kind {
	case kindByte, kindShort, kindInt, kindLong:
		n, ok := wholeNumber(s)
		if !ok {
			return wrong(t, raw)
		}
		if t.kind == kindLong {
			e.b = appendLong(e.b, n)
			return nil
		}
		low, high := int64(math.MinInt32), int64(math.MaxInt32)
		switch t.kind {
		case kindByte:
			low, high = math.MinInt8, math.MaxInt8
		case kindShort:
			low, high = math.MinInt16, math.MaxInt16
		}
		if n < low || n > high {
			return wrong(t, raw)
		}
		e.b = appendInt(e.b, int32(n))
		return nil
	case kindFloat, kindDouble:
		bits := 64
		if t.kind == kindFloat {
			bits = 32
		}
		f, err := strconv.ParseFloat(s, bits)
		if err != nil {
			return wrong(t, raw)
		}
		e.b = appendDouble(e.b, f)
		return nil
	case kindBigDecimal:
		if !smallEnough(s) {
			return wrong(t, raw)
		}
		e.decimal(s)
		return nil
	case kindBigInteger:
		if !smallEnough(s) {
			return wrong(t, raw)
		}
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			r, isRat := new(big.Rat).SetString(s)
			if !isRat || !r.IsInt() {
				return wrong(t, raw)
			}
			n = r.Num()
		}
		// Java makes a BigInteger of a string, and nothing of a Hessian object that
		// is not exactly its own.
		e.b = appendString(e.b, n.String())
		return nil
	case kindDate, kindSQLDate, kindInstant:
		n, ok := wholeNumber(s)
		if !ok || !e.moment(t, time.UnixMilli(n)) {
			return wrong(t, raw)
		}
		return nil
	}
	return wrong(t, raw)
}

func (e *transcoder) decimal(s string) {
	e.object("java.math.BigDecimal", "value")
	e.b = appendString(e.b, s)
}

// wholeNumber reads a JSON number without a fraction, which may be written with
// one or with an exponent: 3, 3.0, 3e2.
func wholeNumber(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil {
		return n, true
	}
	if !strings.ContainsAny(s, ".eE") || len(s) > 64 || !smallEnough(s) {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

// smallEnough reports whether a JSON number has so few digits, written out, that
// it may be computed with.
func smallEnough(s string) bool {
	mantissa, exponent, has := strings.Cut(strings.ToLower(s), "e")
	if len(mantissa) > maxDigits {
		return false
	}
	if !has {
		return true
	}
	n, err := strconv.Atoi(exponent)
	return err == nil && n >= -maxDigits && n <= maxDigits
}

// natural appends a value whose type only the provider knows.
func (e *transcoder) natural(raw []byte) *mismatch {
	switch raw[0] {
	case '{':
		return e.pojo(&javaType{kind: kindObject}, raw)
	case '[':
		return e.list(&objectList, raw)
	case '"':
		if s, ok := plain(raw); ok {
			e.b = appendString(e.b, s)
			return nil
		}
		e.scratch = unquote(e.scratch[:0], raw)
		e.b = appendString(e.b, e.scratch)
		return nil
	case 't', 'f':
		e.b = appendBool(e.b, raw[0] == 't')
		return nil
	}
	s := string(raw)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n >= math.MinInt32 && n <= math.MaxInt32 {
			e.b = appendInt(e.b, int32(n))
		} else {
			e.b = appendLong(e.b, n)
		}
		return nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && exact(s, f) {
		e.b = appendDouble(e.b, f)
		return nil
	}
	if !smallEnough(s) {
		return &mismatch{want: fmt.Sprintf("a number of at most %d digits", maxDigits), got: describe(raw)}
	}
	e.decimal(s) // Java narrows it to whatever its field is
	return nil
}

// exact reports whether a double says as much as the digits it was read from: 15
// of them always come back.
func exact(s string, f float64) bool {
	digits, leading := 0, true
	for i := range len(s) {
		c := s[i]
		if c == 'e' || c == 'E' {
			break
		}
		if c < '0' || c > '9' || leading && c == '0' {
			continue
		}
		leading = false
		digits++
	}
	if digits <= 15 {
		return true
	}
	if !smallEnough(s) {
		return false
	}
	// Both read back to the same number, in the fewest digits?
	a, ok := new(big.Rat).SetString(s)
	b, ok2 := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
	return ok && ok2 && a.Cmp(b) == 0
}

var (
	object     = javaType{kind: kindObject, name: "java.lang.Object"}
	objectList = javaType{kind: kindList, name: "java.util.List", elem: &object}
)

func (e *transcoder) list(t *javaType, raw []byte) *mismatch {
	if raw[0] != '[' {
		return wrong(t, raw)
	}
	n := 0
	if err := elements(raw, func(int, []byte) error { n++; return nil }); err != nil {
		return wrong(t, raw)
	}
	e.b = appendListHeader(e.b, "", n)
	var bad *mismatch
	_ = elements(raw, func(i int, value []byte) error {
		if bad == nil {
			if bad = e.json(t.elem, value); bad != nil {
				bad.below("[" + strconv.Itoa(i) + "]")
			}
		}
		return nil
	})
	return bad
}

// pojo appends an object as generic calls have them: a map that names the class.
// Only the outermost does; those of its fields are the provider's to know, and no
// caller of the gateway may choose a class.
func (e *transcoder) pojo(t *javaType, raw []byte) *mismatch {
	if raw[0] != '{' {
		return wrong(t, raw)
	}
	e.b = append(e.b, tagMapUntyped)
	if t.kind == kindPojo {
		e.b = appendString(e.b, "class")
		e.b = appendString(e.b, t.name)
	}
	bad := e.entries(raw, &javaType{kind: kindString}, &object)
	e.b = append(e.b, tagEnd)
	return bad
}

func (e *transcoder) mapping(t *javaType, raw []byte) *mismatch {
	if raw[0] != '{' {
		return wrong(t, raw)
	}
	e.b = append(e.b, tagMapUntyped)
	bad := e.entries(raw, t.key, t.elem)
	e.b = append(e.b, tagEnd)
	return bad
}

func (e *transcoder) entries(raw []byte, key, elem *javaType) *mismatch {
	var bad *mismatch
	err := fields(raw, func(k, v []byte) error {
		if bad != nil {
			return nil
		}
		name, ok := plain(k)
		if !ok {
			e.scratch = unquote(e.scratch[:0], k)
			name = e.scratch
		}
		if string(name) == "class" {
			bad = &mismatch{at: ".class", want: "no field of this name: Dubbo would take it for the class to make", got: describe(v)}
			return nil
		}
		if key.kind == kindString {
			e.b = appendString(e.b, name)
		} else if bad = e.text(key, string(name)); bad != nil {
			return nil
		}
		if bad = e.json(elem, v); bad != nil {
			bad.below("." + describe(name))
		}
		return nil
	})
	if err != nil && bad == nil {
		return &mismatch{want: "an object", got: describe(raw)}
	}
	return bad
}
