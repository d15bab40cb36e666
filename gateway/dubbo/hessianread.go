package dubbo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Limits of what is read from a provider. Sizes are bounded by the message, whose
// size the transports bound; these bound what a small message could unfold to.
const (
	maxHessianDepth = 256
	maxClassFields  = 4096
	// maxUnfolded bounds the JSON made of a message, in bytes: references let a
	// message of some hundred bytes stand for gigabytes.
	maxUnfolded = 64 << 20
	// maxRefs and maxClasses bound what is remembered for later references, and
	// maxRewritten the text of one object that becomes another: a number, a date or a
	// name is short.
	maxRefs      = 1 << 20
	maxClasses   = 1 << 14
	maxFields    = 1 << 17 // of all classes
	maxRewritten = 16 << 10
)

var (
	errShort    = errors.New("the answer ends too early")
	errCycle    = errors.New("the answer refers to itself, which JSON cannot say")
	errTooDeep  = fmt.Errorf("the answer is nested deeper than %d levels", maxHessianDepth)
	errUnfolded = fmt.Errorf("the answer unfolds to more than %d MiB", maxUnfolded>>20)
	errTooMany  = fmt.Errorf("the answer has more than %d lists and objects, %d classes or %d fields of classes", maxRefs, maxClasses, maxFields)
)

// class is a class definition within one message.
type class struct {
	name   string
	fields []string
	kind   classKind
}

// reference is a list, map or object that a later one may stand for: the JSON it
// became, at out[from:to], or text where that was rewritten.
type reference struct {
	from, to int // to is -1 while it is being read
	text     []byte
}

// reader turns one Hessian stream into JSON.
type reader struct {
	in      []byte
	pos     int
	depth   int
	out     []byte
	classes []class
	types   int // how many were named
	refs    []reference
	fields  int // of all classes
	// spent is what rewriting read and references keep, in bytes, beside out.
	spent int
	// bigAsStrings writes integers beyond 2^53 and decimals as strings.
	bigAsStrings bool
	// cyclesAsNull writes null for a reference to what is being read: a Java
	// exception without a cause is its own cause.
	cyclesAsNull bool
}

func (r *reader) reset(in []byte) {
	*r = reader{in: in, out: r.out[:0], classes: r.classes[:0], refs: r.refs[:0]}
}

func (r *reader) byte() (byte, error) {
	if r.pos >= len(r.in) {
		return 0, errShort
	}
	b := r.in[r.pos]
	r.pos++
	return b, nil
}

func (r *reader) peek() (byte, bool) {
	if r.pos >= len(r.in) {
		return 0, false
	}
	return r.in[r.pos], true
}

func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.in)-r.pos {
		return nil, errShort
	}
	b := r.in[r.pos : r.pos+n]
	r.pos += n
	return b, nil
}

func badTag(tag byte, where string) error {
	return fmt.Errorf("the answer holds %#x where %s should be", tag, where)
}

// length reads an int that counts things of which each takes a byte or more.
func (r *reader) length(what string) (int, error) {
	tag, err := r.byte()
	if err != nil {
		return 0, err
	}
	n, ok, err := r.intTag(tag)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, badTag(tag, what)
	}
	if n < 0 || int64(n) > int64(len(r.in)-r.pos) {
		return 0, fmt.Errorf("the answer says %d for %s", n, what)
	}
	return int(n), nil
}

// intTag reads the rest of an int, if the tag begins one.
func (r *reader) intTag(tag byte) (int32, bool, error) {
	switch {
	case tag >= 0x80 && tag <= 0xbf:
		return int32(tag) - 0x90, true, nil
	case tag >= 0xc0 && tag <= 0xcf:
		b, err := r.take(1)
		if err != nil {
			return 0, false, err
		}
		return (int32(tag)-0xc8)<<8 + int32(b[0]), true, nil
	case tag >= 0xd0 && tag <= 0xd7:
		b, err := r.take(2)
		if err != nil {
			return 0, false, err
		}
		return (int32(tag)-0xd4)<<16 + int32(b[0])<<8 + int32(b[1]), true, nil
	case tag == tagInt:
		b, err := r.take(4)
		if err != nil {
			return 0, false, err
		}
		return int32(binary.BigEndian.Uint32(b)), true, nil
	}
	return 0, false, nil
}

func (r *reader) longTag(tag byte) (int64, bool, error) {
	switch {
	case tag >= 0xd8 && tag <= 0xef:
		return int64(tag) - 0xe0, true, nil
	case tag >= 0xf0:
		b, err := r.take(1)
		if err != nil {
			return 0, false, err
		}
		return (int64(tag)-0xf8)<<8 + int64(b[0]), true, nil
	case tag >= 0x38 && tag <= 0x3f:
		b, err := r.take(2)
		if err != nil {
			return 0, false, err
		}
		return (int64(tag)-0x3c)<<16 + int64(b[0])<<8 + int64(b[1]), true, nil
	case tag == tagLongInt:
		b, err := r.take(4)
		if err != nil {
			return 0, false, err
		}
		return int64(int32(binary.BigEndian.Uint32(b))), true, nil
	case tag == tagLong:
		b, err := r.take(8)
		if err != nil {
			return 0, false, err
		}
		return int64(binary.BigEndian.Uint64(b)), true, nil
	}
	return 0, false, nil
}

func (r *reader) doubleTag(tag byte) (float64, bool, error) {
	var size int
	switch tag {
	case tagDoubleZero:
		return 0, true, nil
	case tagDoubleOne:
		return 1, true, nil
	case tagDoubleByte:
		size = 1
	case tagDoubleShort:
		size = 2
	case tagDoubleMill:
		size = 4
	case tagDouble:
		size = 8
	default:
		return 0, false, nil
	}
	b, err := r.take(size)
	if err != nil {
		return 0, false, err
	}
	switch size {
	case 1:
		return float64(int8(b[0])), true, nil
	case 2:
		return float64(int16(binary.BigEndian.Uint16(b))), true, nil
	case 4:
		return float64(int32(binary.BigEndian.Uint32(b))) * 0.001, true, nil
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), true, nil
}

func isStringTag(tag byte) bool {
	return tag <= 0x1f || tag >= 0x30 && tag <= 0x33 || tag == tagString || tag == tagStringChunk
}

func isBinaryTag(tag byte) bool {
	return tag >= 0x20 && tag <= 0x2f || tag >= 0x34 && tag <= 0x37 || tag == tagBinary || tag == tagBinaryChunk
}

// stringTag appends the UTF-8 of a string to b.
func (r *reader) stringTag(b []byte, tag byte) ([]byte, error) {
	var high rune // the first unit of a pair, which chunks may part
	for {
		var n int
		switch {
		case tag <= 0x1f:
			n = int(tag)
		case tag >= 0x30 && tag <= 0x33:
			low, err := r.take(1)
			if err != nil {
				return b, err
			}
			n = int(tag-0x30)<<8 + int(low[0])
		case tag == tagString || tag == tagStringChunk:
			l, err := r.take(2)
			if err != nil {
				return b, err
			}
			n = int(binary.BigEndian.Uint16(l))
		default:
			return b, badTag(tag, "a string")
		}
		if n > len(r.in)-r.pos { // a unit takes a byte or more
			return b, errShort
		}
		var err error
		if b, high, err = r.units(b, high, n); err != nil {
			return b, err
		}
		if tag != tagStringChunk {
			if high != 0 {
				b = append(b, "\uFFFD"...)
			}
			return b, nil
		}
		if tag, err = r.byte(); err != nil {
			return b, err
		}
	}
}

// units reads n UTF-16 units. A rune of four bytes, which some writers use,
// counts as two.
func (r *reader) units(b []byte, high rune, n int) ([]byte, rune, error) {
	for n > 0 {
		if r.pos >= len(r.in) {
			return b, high, errShort
		}
		c := r.in[r.pos]
		if c < 0x80 {
			if high != 0 {
				b, high = append(b, "\uFFFD"...), 0
			}
			b = append(b, c)
			r.pos++
			n--
			continue
		}
		var size int
		var unit rune
		switch {
		case c&0xe0 == 0xc0:
			size, unit = 2, rune(c&0x1f)
		case c&0xf0 == 0xe0:
			size, unit = 3, rune(c&0x0f)
		case c&0xf8 == 0xf0:
			size, unit = 4, rune(c&0x07)
		default:
			return b, high, badTag(c, "a character")
		}
		if size > len(r.in)-r.pos {
			return b, high, errShort
		}
		for _, next := range r.in[r.pos+1 : r.pos+size] {
			if next&0xc0 != 0x80 {
				return b, high, badTag(next, "a character")
			}
			unit = unit<<6 | rune(next&0x3f)
		}
		r.pos += size
		n--
		if size == 4 {
			n--
		}
		switch {
		case high != 0 && unit >= 0xdc00 && unit <= 0xdfff:
			b = append(b, string((high-0xd800)<<10+(unit-0xdc00)+0x10000)...)
			high = 0
			continue
		case high != 0:
			b, high = append(b, "\uFFFD"...), 0
		}
		if unit >= 0xd800 && unit <= 0xdbff {
			high = unit
			continue
		}
		b = append(b, string(unit)...) // a lone second half becomes U+FFFD
	}
	return b, high, nil
}

// text reads a string that is not part of the JSON, such as a field's name.
func (r *reader) text(what string) (string, error) {
	tag, err := r.byte()
	if err != nil {
		return "", err
	}
	if !isStringTag(tag) {
		return "", badTag(tag, what)
	}
	var short [64]byte
	b, err := r.stringTag(short[:0], tag)
	return string(b), err
}

// binaryTag appends the bytes of a binary value to b.
func (r *reader) binaryTag(b []byte, tag byte) ([]byte, error) {
	for {
		var n int
		switch {
		case tag >= 0x20 && tag <= 0x2f:
			n = int(tag - 0x20)
		case tag >= 0x34 && tag <= 0x37:
			low, err := r.take(1)
			if err != nil {
				return b, err
			}
			n = int(tag-0x34)<<8 + int(low[0])
		case tag == tagBinary || tag == tagBinaryChunk:
			l, err := r.take(2)
			if err != nil {
				return b, err
			}
			n = int(binary.BigEndian.Uint16(l))
		default:
			return b, badTag(tag, "bytes")
		}
		part, err := r.take(n)
		if err != nil {
			return b, err
		}
		b = append(b, part...)
		if tag != tagBinaryChunk {
			return b, nil
		}
		if tag, err = r.byte(); err != nil {
			return b, err
		}
	}
}

// typeName passes by the type of a list or map, which JSON does not say: its
// name, or the number of one that was named before.
func (r *reader) typeName() error {
	tag, ok := r.peek()
	if ok && isStringTag(tag) {
		_, err := r.text("a type")
		r.types++
		return err
	}
	r.pos++
	n, isInt, err := int32(0), false, errShort
	if ok {
		n, isInt, err = r.intTag(tag)
	}
	if err != nil {
		return err
	}
	if !isInt || n < 0 || int(n) >= r.types {
		return badTag(tag, "a type")
	}
	return nil
}

// define reads a class definition.
func (r *reader) define() error {
	if len(r.classes) >= maxClasses {
		return errTooMany
	}
	name, err := r.text("a class name")
	if err != nil {
		return err
	}
	n, err := r.length("the fields of " + shorten(name))
	if err != nil {
		return err
	}
	if r.fields += n; r.fields > maxFields {
		return errTooMany
	}
	if n > maxClassFields {
		return fmt.Errorf("the answer's class %s has %d fields", shorten(name), n)
	}
	c := class{name: name, fields: make([]string, n)}
	for i := range c.fields {
		if c.fields[i], err = r.text("a field name"); err != nil {
			return err
		}
	}
	c.kind = kindOf(c)
	r.classes = append(r.classes, c)
	return nil
}

// begin notes a list, map or object that later references may name.
func (r *reader) begin() int {
	r.refs = append(r.refs, reference{from: len(r.out), to: -1})
	return len(r.refs) - 1
}

func (r *reader) end(ref int) { r.refs[ref].to = len(r.out) }

// cut takes what was written since from off the output, keeping it for the
// references that may name parts of it. What lies nested is kept again at each
// level, so that is bounded.
func (r *reader) cut(from int) error {
	for i := len(r.refs) - 1; i >= 0 && r.refs[i].from >= from; i-- {
		ref := &r.refs[i]
		if ref.to < 0 || ref.text != nil {
			continue
		}
		if r.spent += ref.to - ref.from; r.spent > maxUnfolded {
			return errUnfolded
		}
		ref.text = slices.Clone(r.out[ref.from:ref.to])
	}
	r.out = r.out[:from]
	return nil
}

func shorten(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
