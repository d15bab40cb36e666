package dubbo

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
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
	if len(r.refs) > maxRefs {
		return errTooMany
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
			if err := r.cut(from); err != nil {
				return err
			}
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
	if err := r.cut(from); err != nil { // a decimal may be named again, without these quotes
		return err
	}
	r.out = append(append(append(r.out, '"'), key...), '"')
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
	if text := r.out[from:]; c.kind != plainClass && len(text) <= maxRewritten {
		if r.spent += len(text); r.spent > maxUnfolded {
			return errUnfolded
		}
		if better, ok := c.kind.rewrite(text, r.bigAsStrings); ok {
			if err := r.cut(from); err != nil {
				return err
			}
			r.out = append(r.out, better...)
		}
	}
	r.end(ref)
	return nil
}
