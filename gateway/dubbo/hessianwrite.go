package dubbo

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// Tags of Hessian 2 that both directions need.
const (
	tagBinaryChunk   = 'A'
	tagBinary        = 'B'
	tagClass         = 'C'
	tagDouble        = 'D'
	tagFalse         = 'F'
	tagMapUntyped    = 'H'
	tagInt           = 'I'
	tagDate          = 0x4a
	tagDateMinute    = 0x4b
	tagLong          = 'L'
	tagMap           = 'M'
	tagNull          = 'N'
	tagObject        = 'O'
	tagRef           = 0x51
	tagStringChunk   = 0x52
	tagString        = 'S'
	tagTrue          = 'T'
	tagListVar       = 0x55
	tagListFixed     = 'V'
	tagListVarRaw    = 0x57
	tagListFixedRaw  = 0x58
	tagLongInt       = 0x59
	tagEnd           = 'Z'
	tagDoubleZero    = 0x5b
	tagDoubleOne     = 0x5c
	tagDoubleByte    = 0x5d
	tagDoubleShort   = 0x5e
	tagDoubleMill    = 0x5f
	tagObjectDirect  = 0x60
	tagListDirect    = 0x70
	tagListDirectRaw = 0x78
)

// maxStringChunk is how many UTF-16 units one chunk of a string holds, as Java
// writes them.
const maxStringChunk = 0x8000

func appendNull(b []byte) []byte { return append(b, tagNull) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, tagTrue)
	}
	return append(b, tagFalse)
}

func appendInt(b []byte, v int32) []byte {
	switch {
	case v >= -16 && v <= 47:
		return append(b, byte(0x90+v))
	case v >= -2048 && v <= 2047:
		return append(b, byte(0xc8+v>>8), byte(v))
	case v >= -262144 && v <= 262143:
		return append(b, byte(0xd4+v>>16), byte(v>>8), byte(v))
	}
	return binary.BigEndian.AppendUint32(append(b, tagInt), uint32(v))
}

func appendLong(b []byte, v int64) []byte {
	switch {
	case v >= -8 && v <= 15:
		return append(b, byte(0xe0+v))
	case v >= -2048 && v <= 2047:
		return append(b, byte(0xf8+v>>8), byte(v))
	case v >= -262144 && v <= 262143:
		return append(b, byte(0x3c+v>>16), byte(v>>8), byte(v))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		return binary.BigEndian.AppendUint32(append(b, tagLongInt), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, tagLong), uint64(v))
}

func appendDouble(b []byte, v float64) []byte {
	bits := math.Float64bits(v)
	switch {
	case bits == 0: // not -0
		return append(b, tagDoubleZero)
	case v == 1:
		return append(b, tagDoubleOne)
	case v >= math.MinInt8 && v <= math.MaxInt8 && v == math.Trunc(v) && v != 0:
		return append(b, tagDoubleByte, byte(int8(v)))
	case v >= math.MinInt16 && v <= math.MaxInt16 && v == math.Trunc(v) && v != 0:
		return append(b, tagDoubleShort, byte(int16(v)>>8), byte(int16(v)))
	}
	return binary.BigEndian.AppendUint64(append(b, tagDouble), bits)
}

func appendDate(b []byte, millis int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, tagDate), uint64(millis))
}

// appendString writes a string as Java does: lengths count UTF-16 units, and
// what needs two of them is written as two of three bytes each. Bytes that are
// no UTF-8 become U+FFFD.
func appendString[T string | []byte](b []byte, s T) []byte {
	if len(s) < 0x20 && isASCII(s) {
		return append(append(b, byte(len(s))), s...)
	}
	units := utf16Len(s)
	for units > maxStringChunk {
		cut, n := cutUnits(s, maxStringChunk)
		b = append(b, tagStringChunk, byte(n>>8), byte(n))
		b = appendUnits(b, s[:cut])
		s, units = s[cut:], units-n
	}
	switch {
	case units < 0x20:
		b = append(b, byte(units))
	case units < 0x400:
		b = append(b, byte(0x30+units>>8), byte(units))
	default:
		b = append(b, tagString, byte(units>>8), byte(units))
	}
	return appendUnits(b, s)
}

func isASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func decodeRune[T string | []byte](s T) (rune, int) {
	// Conversions of at most four bytes do not leave the stack.
	return utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
}

func utf16Len[T string | []byte](s T) int {
	n := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			i, n = i+1, n+1
			continue
		}
		r, size := decodeRune(s[i:])
		i, n = i+size, n+1
		if r >= 0x10000 {
			n++
		}
	}
	return n
}

// cutUnits returns how many bytes of s hold at most limit UTF-16 units, and how
// many units they are, without parting a pair.
func cutUnits[T string | []byte](s T, limit int) (bytes, units int) {
	for bytes < len(s) {
		r, size := decodeRune(s[bytes:])
		u := 1
		if r >= 0x10000 {
			u = 2
		}
		if units+u > limit {
			break
		}
		bytes, units = bytes+size, units+u
	}
	return bytes, units
}

func appendUnits[T string | []byte](b []byte, s T) []byte {
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			b = append(b, s[i])
			i++
			continue
		}
		r, size := decodeRune(s[i:])
		i += size
		if r >= 0x10000 {
			r -= 0x10000
			b = appendUnit(b, 0xd800+r>>10)
			b = appendUnit(b, 0xdc00+r&0x3ff)
			continue
		}
		b = appendUnit(b, r)
	}
	return b
}

func appendUnit(b []byte, u rune) []byte {
	switch {
	case u < 0x80:
		return append(b, byte(u))
	case u < 0x800:
		return append(b, 0xc0|byte(u>>6), 0x80|byte(u)&0xbf)
	}
	return append(b, 0xe0|byte(u>>12), 0x80|byte(u>>6)&0xbf, 0x80|byte(u)&0xbf)
}

func appendBinary(b, v []byte) []byte {
	for len(v) > 0xffff {
		b = append(b, tagBinaryChunk, 0xff, 0xff)
		b = append(b, v[:0xffff]...)
		v = v[0xffff:]
	}
	switch {
	case len(v) <= 15:
		b = append(b, byte(0x20+len(v)))
	case len(v) < 0x400:
		b = append(b, byte(0x34+len(v)>>8), byte(len(v)))
	default:
		b = append(b, tagBinary, byte(len(v)>>8), byte(len(v)))
	}
	return append(b, v...)
}

// appendListHeader begins a list of n elements; typ is empty for an untyped one.
func appendListHeader(b []byte, typ string, n int) []byte {
	switch {
	case typ == "" && n <= 7:
		return append(b, byte(tagListDirectRaw+n))
	case typ == "":
		return appendInt(append(b, tagListFixedRaw), int32(n))
	case n <= 7:
		return appendString(append(b, byte(tagListDirect+n)), typ)
	}
	return appendInt(appendString(append(b, tagListFixed), typ), int32(n))
}

// encoder writes one Hessian stream; it knows the classes defined so far.
type encoder struct {
	b       []byte
	classes []string
}

// object begins an object of a class with these fields, whose values follow. A
// class has the same fields each time.
func (e *encoder) object(class string, fields ...string) {
	index := -1
	for i, c := range e.classes {
		if c == class {
			index = i
		}
	}
	if index < 0 {
		index = len(e.classes)
		e.classes = append(e.classes, class)
		e.b = appendString(append(e.b, tagClass), class)
		e.b = appendInt(e.b, int32(len(fields)))
		for _, f := range fields {
			e.b = appendString(e.b, f)
		}
	}
	if index < 16 {
		e.b = append(e.b, byte(tagObjectDirect+index))
		return
	}
	e.b = appendInt(append(e.b, tagObject), int32(index))
}
