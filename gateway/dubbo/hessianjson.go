package dubbo

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxSafe is the largest integer up to which a double, and so JavaScript, knows
// every integer.
const maxSafe = 1 << 53

// value reads one value and appends its JSON to out.
func (r *reader) value() error {
	if r.depth >= maxHessianDepth {
		return errTooDeep
	}
	if len(r.out) > maxUnfolded {
		return errUnfolded
	}
	r.depth++
	err := r.valueDeep()
	r.depth--
	return err
}

func (r *reader) valueDeep() error {
	tag, err := r.byte()
	if err != nil {
		return err
	}
	for tag == tagClass {
		if err := r.define(); err != nil {
			return err
		}
		if tag, err = r.byte(); err != nil {
			return err
		}
	}
	switch {
	case tag == tagNull:
		r.out = append(r.out, "null"...)
		return nil
	case tag == tagTrue:
		r.out = append(r.out, "true"...)
		return nil
	case tag == tagFalse:
		r.out = append(r.out, "false"...)
		return nil
	case isStringTag(tag):
		return r.stringJSON(tag)
	case isBinaryTag(tag):
		b, err := r.binaryTag(nil, tag)
		if err != nil {
			return err
		}
		r.out = append(r.out, '"')
		r.out = base64.StdEncoding.AppendEncode(r.out, b)
		r.out = append(r.out, '"')
		return nil
	case tag == tagDate || tag == tagDateMinute:
		millis, err := r.dateTag(tag)
		if err != nil {
			return err
		}
		r.out = appendDateJSON(r.out, millis)
		return nil
	case tag == tagMap || tag == tagMapUntyped:
		return r.mapJSON(tag)
	case tag == tagObject || tag >= tagObjectDirect && tag < tagListDirect:
		return r.objectJSON(tag)
	case tag >= tagListDirect && tag <= 0x7f || tag >= tagListVar && tag <= tagListFixedRaw:
		return r.listJSON(tag)
	case tag == tagRef:
		return r.refJSON()
	}
	if n, ok, err := r.intTag(tag); ok || err != nil {
		r.out = strconv.AppendInt(r.out, int64(n), 10)
		return err
	}
	if n, ok, err := r.longTag(tag); ok || err != nil {
		quoted := r.bigAsStrings && (n > maxSafe || n < -maxSafe)
		r.out = appendQuoted(r.out, quoted, strconv.AppendInt(make([]byte, 0, 20), n, 10))
		return err
	}
	if f, ok, err := r.doubleTag(tag); ok || err != nil {
		r.out = appendDoubleJSON(r.out, f)
		return err
	}
	return badTag(tag, "a value")
}

func appendQuoted(b []byte, quoted bool, s []byte) []byte {
	if !quoted {
		return append(b, s...)
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendDoubleJSON writes a double as encoding/json does, and as a string what
// JSON has no number for.
func appendDoubleJSON(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}

func (r *reader) dateTag(tag byte) (int64, error) {
	if tag == tagDateMinute {
		b, err := r.take(4)
		if err != nil {
			return 0, err
		}
		return int64(int32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]))) * 60000, nil
	}
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return int64(v), nil
}

// appendDateJSON writes RFC 3339 in UTC; dates of years that it cannot say become
// their milliseconds.
func appendDateJSON(b []byte, millis int64) []byte {
	t := time.UnixMilli(millis).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return strconv.AppendInt(b, millis, 10)
	}
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

// stringJSON reads a string straight into the output and escapes it there; most
// need no escapes.
func (r *reader) stringJSON(tag byte) error {
	r.out = append(r.out, '"')
	from := len(r.out)
	var err error
	if r.out, err = r.stringTag(r.out, tag); err != nil {
		return err
	}
	if needsEscape(r.out[from:]) {
		raw := string(r.out[from:])
		r.out = appendEscaped(r.out[:from], raw)
	}
	r.out = append(r.out, '"')
	return nil
}

func needsEscape(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c == '"' || c == '\\' || c == 0xe2 { // U+2028 and U+2029 begin so
			return true
		}
	}
	return false
}

const hexDigits = "0123456789abcdef"

func appendEscaped(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c == '\n':
				b = append(b, `\n`...)
			case c == '\r':
				b = append(b, `\r`...)
			case c == '\t':
				b = append(b, `\t`...)
			case c < 0x20:
				b = append(b, `\u00`...)
				b = append(b, hexDigits[c>>4], hexDigits[c&15])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		rn, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case rn == utf8.RuneError && size == 1:
			b = append(b, "\uFFFD"...)
		case rn == 0x2028 || rn == 0x2029: // ends of lines to JavaScript
			b = append(append(b, `\u202`...), hexDigits[rn&15])
		default:
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return b
}

func (r *reader) refJSON() error {
	tag, err := r.byte()
	if err != nil {
		return err
	}
	n, ok, err := r.intTag(tag)
	if err != nil {
		return err
	}
	if !ok || n < 0 || int(n) >= len(r.refs) {
		return badTag(tag, "the number of an earlier object")
	}
	ref := r.refs[n]
	switch {
	case ref.text != nil:
		if len(r.out)+len(ref.text) > maxUnfolded {
			return errUnfolded
		}
		r.out = append(r.out, ref.text...)
	case ref.to < 0 && r.cyclesAsNull:
		r.out = append(r.out, "null"...)
	case ref.to < 0:
		return errCycle
	default:
		if len(r.out)+ref.to-ref.from > maxUnfolded {
			return errUnfolded
		}
		r.out = append(r.out, r.out[ref.from:ref.to]...)
	}
	return nil
}

func (r *reader) listJSON(tag byte) error {
	n, err := -1, error(nil)
	switch {
	case tag >= tagListDirectRaw && tag <= 0x7f:
		n = int(tag - tagListDirectRaw)
	case tag >= tagListDirect && tag < tagListDirectRaw:
		n = int(tag - tagListDirect)
		err = r.typeName()
	case tag == tagListFixed:
		if err = r.typeName(); err == nil {
			n, err = r.length("the length of a list")
		}
	case tag == tagListFixedRaw:
		n, err = r.length("the length of a list")
	case tag == tagListVar:
		err = r.typeName()
	}
	if err != nil {
		return err
	}
	ref := r.begin()
	r.out = append(r.out, '[')
	for i := 0; i != n; i++ {
		if n < 0 {
			tag, ok := r.peek()
			if !ok {
				return errShort
			}
			if tag == tagEnd {
				r.pos++
				break
			}
		}
		if i > 0 {
			r.out = append(r.out, ',')
		}
		if err := r.value(); err != nil {
			return err
		}
	}
	r.out = append(r.out, ']')
	r.end(ref)
	return nil
}

var comma = []byte{','}

func (r *reader) mapJSON(tag byte) error {
	if tag == tagMap {
		if err := r.typeName(); err != nil {
			return err
		}
	}
	ref := r.begin()
	r.out = append(r.out, '{')
	first := len(r.out)
	for {
		tag, ok := r.peek()
		if !ok {
			return errShort
		}
		if tag == tagEnd {
			r.pos++
			break
		}
		from := len(r.out)
		if from > first {
			r.out = append(r.out, ',')
		}
		if err := r.keyJSON(); err != nil {
			return err
		}
		isClass := string(bytes.TrimPrefix(r.out[from:], comma)) == `"class"`
		r.out = append(r.out, ':')
		at := len(r.out)
		if err := r.value(); err != nil {
			return err
		}
		if isClass && isClassName(r.out[at:]) { // the name of a bean's class
			r.cut(from)
		}
	}
	r.out = append(r.out, '}')
	r.end(ref)
	return nil
}

// isClassName reports whether a JSON value is the qualified name of a Java
// class, which a generic answer carries in each bean. A business value under the
// key "class" that looks like that cannot be told from it.
func isClassName(v []byte) bool {
	if len(v) < 3 || v[0] != '"' || v[len(v)-1] != '"' {
		return false
	}
	parts := strings.Split(string(v[1:len(v)-1]), ".")
	if len(parts) < 2 {
		return false
	}
	for _, p := range parts {
		if p == "" || p[0] >= '0' && p[0] <= '9' {
			return false
		}
		for i := range len(p) {
			c := p[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '$' {
				return false
			}
		}
	}
	return true
}

// keyJSON reads the key of a map as a JSON string.
func (r *reader) keyJSON() error {
	tag, ok := r.peek()
	if !ok {
		return errShort
	}
	if isStringTag(tag) {
		r.pos++
		return r.stringJSON(tag)
	}
	from := len(r.out)
	if err := r.value(); err != nil {
		return err
	}
	switch r.out[from] {
	case '"':
		return nil
	case '{', '[':
		return fmt.Errorf("the answer has a map whose keys are lists or objects, which JSON cannot say")
	}
	key := string(r.out[from:])
	r.out = append(append(append(r.out[:from], '"'), key...), '"')
	return nil
}

func (r *reader) classOf(tag byte) (class, error) {
	n := int(tag) - tagObjectDirect
	if tag == tagObject {
		t, err := r.byte()
		if err != nil {
			return class{}, err
		}
		i, ok, err := r.intTag(t)
		if err != nil {
			return class{}, err
		}
		if !ok {
			return class{}, badTag(t, "the number of a class")
		}
		n = int(i)
	}
	if n < 0 || n >= len(r.classes) {
		return class{}, badTag(tag, "an object of a known class")
	}
	return r.classes[n], nil
}

// objectJSON reads an object. Those of classes that JSON has a better word for
// than an object are rewritten once their fields are known.
func (r *reader) objectJSON(tag byte) error {
	c, err := r.classOf(tag)
	if err != nil {
		return err
	}
	ref := r.begin()
	from := len(r.out)
	r.out = append(r.out, '{')
	for i, field := range c.fields {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, '"')
		r.out = appendEscaped(r.out, field)
		r.out = append(r.out, '"', ':')
		if err := r.value(); err != nil {
			return err
		}
	}
	r.out = append(r.out, '}')
	if c.kind != plainClass {
		if better, ok := c.kind.rewrite(r.out[from:], r.bigAsStrings); ok {
			r.cut(from)
			r.out = append(r.out, better...)
		}
	}
	r.end(ref)
	return nil
}

// exception reads a thrown exception: its class and its message. What else it
// has, its stack above all, is for the provider's own log.
func (r *reader) exception() (className, message string, err error) {
	r.cyclesAsNull = true
	tag, err := r.byte()
	for err == nil && tag == tagClass {
		if err = r.define(); err == nil {
			tag, err = r.byte()
		}
	}
	if err != nil {
		return "", "", err
	}
	if tag != tagObject && (tag < tagObjectDirect || tag >= tagListDirect) {
		from := len(r.out)
		r.pos--
		if err := r.value(); err != nil {
			return "", "", err
		}
		var text string
		_ = json.Unmarshal(r.out[from:], &text) // no string, no message
		return "", text, nil
	}
	c, err := r.classOf(tag)
	if err != nil {
		return "", "", err
	}
	className = c.name
	ref := r.begin()
	for _, field := range c.fields {
		from := len(r.out)
		if err := r.value(); err != nil {
			return "", "", err
		}
		var into *string
		switch field {
		case "detailMessage":
			if message != "" { // a generic exception says it better
				continue
			}
			into = &message
		case "exceptionMessage":
			into = &message
		case "exceptionClass":
			into = &className
		default:
			continue
		}
		var text string
		if json.Unmarshal(r.out[from:], &text) == nil && text != "" {
			*into = text
		}
	}
	r.end(ref)
	return className, message, nil
}

// classKind is how objects of a class are written.
type classKind int

const (
	plainClass classKind = iota
	decimalClass
	integerClass
	wrappedClass // one value, in the field "value" or "name"
	localDateClass
	localTimeClass
	localDateTimeClass
	instantClass
	offsetClass
	offsetDateTimeClass
	zonedDateTimeClass
)

const java8 = "com.alibaba.com.caucho.hessian.io.java8."

func kindOf(c class) classKind {
	switch c.name {
	case "java.math.BigDecimal":
		return decimalClass
	case "java.math.BigInteger":
		return integerClass
	case "java.sql.Date", "java.sql.Time", "java.sql.Timestamp":
		return wrappedClass
	}
	if name, ok := strings.CutPrefix(c.name, java8); ok {
		switch name {
		case "LocalDateHandle":
			return localDateClass
		case "LocalTimeHandle":
			return localTimeClass
		case "LocalDateTimeHandle":
			return localDateTimeClass
		case "InstantHandle":
			return instantClass
		case "ZoneOffsetHandle":
			return offsetClass
		case "OffsetDateTimeHandle":
			return offsetDateTimeClass
		case "ZonedDateTimeHandle":
			return zonedDateTimeClass
		}
	}
	if strings.HasPrefix(c.name, "com.alibaba.com.caucho.hessian.io.") && len(c.fields) == 1 {
		return wrappedClass // LocaleHandle and the like
	}
	// Beans come as maps in the answer to a generic call; an object of one field
	// "name" is how an enum is written.
	if len(c.fields) == 1 && c.fields[0] == "name" {
		return wrappedClass
	}
	return plainClass
}

// rewrite returns the JSON of an object whose fields are in fields.
func (k classKind) rewrite(fields []byte, bigAsStrings bool) ([]byte, bool) {
	var f struct {
		Value, Name, Date, Time, DateTime, Offset, ZoneID json.RawMessage

		Year, Month, Day           int
		Hour, Minute, Second, Nano int
		Seconds                    int64
		Nanos                      int64
		TotalSeconds               int
		Signum                     int
		Mag                        []int64
	}
	if err := json.Unmarshal(fields, &f); err != nil {
		return nil, false
	}
	text := func(raw json.RawMessage) string {
		var s string
		_ = json.Unmarshal(raw, &s) // empty for what is none, which no caller takes
		return s
	}
	quote := func(s string) ([]byte, bool) {
		return append(appendEscaped([]byte{'"'}, s), '"'), s != ""
	}
	switch k {
	case decimalClass:
		s := text(f.Value)
		if !isJSONNumber(s) {
			return quote(s)
		}
		return appendQuoted(nil, bigAsStrings, []byte(s)), true
	case integerClass:
		n := new(big.Int)
		for _, word := range f.Mag {
			n.Lsh(n, 32).Or(n, big.NewInt(int64(uint32(word))))
		}
		if f.Signum < 0 {
			n.Neg(n)
		}
		if s := text(f.Value); s != "" {
			if _, ok := n.SetString(s, 10); !ok {
				return quote(s)
			}
		}
		return appendQuoted(nil, bigAsStrings && n.CmpAbs(big.NewInt(maxSafe)) > 0, []byte(n.String())), true
	case wrappedClass:
		if f.Name != nil {
			return f.Name, f.Name[0] == '"'
		}
		return f.Value, f.Value != nil
	case localDateClass:
		return quote(fmt.Sprintf("%04d-%02d-%02d", f.Year, f.Month, f.Day))
	case localTimeClass:
		return quote(fmt.Sprintf("%02d:%02d:%02d%s", f.Hour, f.Minute, f.Second, fraction(f.Nano)))
	case localDateTimeClass:
		return quote(text(f.Date) + "T" + text(f.Time))
	case instantClass:
		return quote(time.Unix(f.Seconds, f.Nanos).UTC().Format(time.RFC3339Nano))
	case offsetClass:
		seconds := int(f.Seconds) + f.TotalSeconds
		if seconds == 0 {
			return quote("Z")
		}
		return quote(time.Unix(0, 0).In(time.FixedZone("", seconds)).Format("-07:00"))
	case offsetDateTimeClass:
		return quote(text(f.DateTime) + text(f.Offset))
	case zonedDateTimeClass:
		zone := text(f.ZoneID)
		if zone != "" {
			zone = "[" + zone + "]"
		}
		return quote(text(f.DateTime) + text(f.Offset) + zone)
	}
	return nil, false
}

func fraction(nano int) string {
	if nano == 0 {
		return ""
	}
	return "." + strings.TrimRight(fmt.Sprintf("%09d", nano), "0")
}

func isJSONNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}
