package tracing

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of values that are skipped.
const maxDepth = 256

// scanner reads JSON from one string, of which the strings it returns are parts
// wherever nothing is escaped. It stops at the first thing wrong, and from then
// on every method returns zero values.
type scanner struct {
	s       string
	i       int
	problem string // what is wrong, in the words of Zipkin's parser
	at      string // the path where that is known when the problem is; else ""
	buf     []byte // for unescaping
}

const malformed = "Malformed"

func (p *scanner) fail(problem string) {
	if p.problem == "" {
		p.problem = problem
		p.i = len(p.s)
	}
}

// malformed fails with what Zipkin says of anything that is not JSON.
func (p *scanner) malformed() {
	if p.i >= len(p.s) {
		p.fail("End of input")
		return
	}
	p.fail(malformed)
}

// peek returns the next byte that is not white space, 0 at the end.
func (p *scanner) peek() byte {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return c
		}
	}
	return 0
}

// open reads the bracket that begins an array or object.
func (p *scanner) open(c byte) bool {
	switch p.peek() {
	case c:
		p.i++
		return true
	case 0:
		p.malformed()
	default:
		p.fail(malformed) // what gson calls "Expected BEGIN_OBJECT", Zipkin calls this
	}
	return false
}

// more reports whether another element follows in an array or object that ends
// with c, and reads the comma before it, or the end.
func (p *scanner) more(c byte, first *bool) bool {
	got := p.peek()
	if got == c {
		p.i++
		return false
	}
	if *first {
		*first = false
		if p.problem == "" && got == 0 {
			p.malformed()
		}
		return p.problem == ""
	}
	if got != ',' {
		p.malformed()
		return false
	}
	p.i++
	if next := p.peek(); next == c || next == 0 {
		p.malformed() // a trailing comma
		return false
	}
	return true
}

// key reads a member's name and the colon after it.
func (p *scanner) key() string {
	if p.peek() != '"' {
		p.malformed()
		return ""
	}
	k := p.quoted()
	if p.peek() != ':' {
		p.malformed()
		return ""
	}
	p.i++
	return k
}

// literal reads one of true, false and null.
func (p *scanner) literal(word string) bool {
	if !strings.HasPrefix(p.s[p.i:], word) {
		p.malformed()
		return false
	}
	p.i += len(word)
	return true
}

// null reads a null if one follows.
func (p *scanner) null() bool { return p.peek() == 'n' && p.literal("null") }

// kindOf names the next value as Zipkin's parser does.
func (p *scanner) kindOf() string {
	switch c := p.peek(); c {
	case 't', 'f':
		return "BOOLEAN"
	case 'n':
		return "NULL"
	case '{':
		return "BEGIN_OBJECT"
	case '[':
		return "BEGIN_ARRAY"
	case '"':
		return "STRING"
	case ']':
		return "END_ARRAY"
	case '}':
		return "END_OBJECT"
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return "NUMBER"
		}
		return ""
	}
}

func (p *scanner) unexpected(want string) {
	if kind := p.kindOf(); kind != "" {
		p.fail("Expected " + want + " but was " + kind)
		return
	}
	p.malformed()
}

// text reads a string; a number counts as its text, as in Zipkin.
func (p *scanner) text() string {
	switch c := p.peek(); {
	case c == '"':
		return p.quoted()
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	}
	p.unexpected("a string")
	return ""
}

// boolean reads true or false.
func (p *scanner) boolean() bool {
	switch p.peek() {
	case 't':
		return p.literal("true")
	case 'f':
		p.literal("false")
		return false
	}
	p.unexpected("a boolean")
	return false
}

// integer reads a whole number that may be written as a string, or as 1.5e3.
func (p *scanner) integer(want string) int64 {
	var raw string
	switch c := p.peek(); {
	case '0' <= c && c <= '9':
		// The one case that occurs, by hand: digits and nothing else.
		var v int64
		i := p.i
		for ; i < len(p.s) && i-p.i < 18; i++ {
			d := p.s[i] - '0'
			if d > 9 {
				break
			}
			v = v*10 + int64(d)
		}
		if i < len(p.s) && (c != '0' || i == p.i+1) {
			switch p.s[i] {
			case ',', '}', ']', ' ', '\n', '\r', '\t':
				p.i = i
				return v
			}
		}
		raw = p.number()
	case c == '-':
		raw = p.number()
	case c == '"':
		raw = p.quoted()
	default:
		p.unexpected(want)
		return 0
	}
	if p.problem != "" {
		return 0
	}
	if v, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return v
	}
	f, err := strconv.ParseFloat(raw, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		p.fail("Expected " + strings.TrimPrefix(want, "a ") + " but was " + raw)
		return 0
	}
	return int64(f)
}

// number reads a number and returns its text.
func (p *scanner) number() string {
	start := p.i
	digits := func() bool {
		from := p.i
		for p.i < len(p.s) && '0' <= p.s[p.i] && p.s[p.i] <= '9' {
			p.i++
		}
		return p.i > from
	}
	if p.s[p.i] == '-' {
		p.i++
	}
	zero := p.i < len(p.s) && p.s[p.i] == '0'
	from := p.i
	ok := digits() && (!zero || p.i == from+1)
	if ok && p.i < len(p.s) && p.s[p.i] == '.' {
		p.i++
		ok = digits()
	}
	if ok && p.i < len(p.s) && p.s[p.i]|0x20 == 'e' {
		p.i++
		if p.i < len(p.s) && (p.s[p.i] == '+' || p.s[p.i] == '-') {
			p.i++
		}
		ok = digits()
	}
	if !ok {
		p.malformed()
		return ""
	}
	return p.s[start:p.i]
}

// quoted reads a string whose opening quote is next.
func (p *scanner) quoted() string {
	start := p.i + 1
	for i := start; i < len(p.s); i++ {
		switch p.s[i] {
		case '"':
			p.i = i + 1
			return p.s[start:i]
		case '\\':
			return p.escaped(start, i)
		}
	}
	p.i = len(p.s)
	p.malformed()
	return ""
}

// escaped reads on from the first backslash of a string.
func (p *scanner) escaped(start, i int) string {
	b := p.buf[:0]
	b = append(b, p.s[start:i]...)
	defer func() { p.buf = b[:0] }()
	for i < len(p.s) {
		c := p.s[i]
		if c == '"' {
			p.i = i + 1
			return string(b)
		}
		i++
		if c != '\\' {
			b = append(b, c)
			continue
		}
		if i >= len(p.s) {
			break
		}
		switch e := p.s[i]; e {
		case '"', '\\', '/':
			b = append(b, e)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, size := p.unicode(i + 1)
			if size == 0 {
				p.fail(malformed)
				return ""
			}
			b = utf8.AppendRune(b, r)
			i += size
		default:
			p.fail(malformed)
			return ""
		}
		i++
	}
	p.i = len(p.s)
	p.malformed()
	return ""
}

// unicode reads the four digits after \u at i, and the escape of the other half
// of a surrogate pair; a half without the other is the replacement character. It
// returns how many bytes that took, 0 if it is none.
func (p *scanner) unicode(i int) (rune, int) {
	r, ok := p.hex4(i)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if strings.HasPrefix(p.s[i+4:], `\u`) {
		if low, ok := p.hex4(i + 6); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 10
			}
		}
	}
	return utf8.RuneError, 4
}

func (p *scanner) hex4(i int) (rune, bool) {
	if i+4 > len(p.s) {
		return 0, false
	}
	var v rune
	for _, c := range []byte(p.s[i : i+4]) {
		d := hexValue[c]
		if 'A' <= c && c <= 'F' {
			d = c - 'A' + 10
		}
		if d > 0xf {
			return 0, false
		}
		v = v<<4 | rune(d)
	}
	return v, true
}

// skip passes over any value.
func (p *scanner) skip(depth int) {
	if depth > maxDepth {
		p.fail("Nesting too deep")
		return
	}
	first := true
	switch c := p.peek(); {
	case c == '"':
		p.quoted()
	case c == '{':
		p.i++
		for p.more('}', &first) {
			p.key()
			p.skip(depth + 1)
		}
	case c == '[':
		p.i++
		for p.more(']', &first) {
			p.skip(depth + 1)
		}
	case c == 't':
		p.literal("true")
	case c == 'f':
		p.literal("false")
	case c == 'n':
		p.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		p.number()
	default:
		p.malformed()
	}
}
