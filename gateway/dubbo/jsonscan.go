package dubbo

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks JSON that json.Valid has taken, without building values. On JSON
// that is not valid it may return nonsense, but does not panic.
type scanner struct {
	b []byte
	i int
}

var errJSON = errors.New("the JSON ends too early")

// next skips spaces and returns the byte that begins a value, 0 at the end.
func (s *scanner) next() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// raw skips one value and returns it, spaces around it not included.
func (s *scanner) raw() []byte {
	switch s.next() {
	case '"':
		return s.rawString()
	case '{', '[':
		from, depth := s.i, 0
		for s.i < len(s.b) {
			switch s.b[s.i] {
			case '{', '[':
				depth++
				s.i++
			case '}', ']':
				depth--
				s.i++
				if depth == 0 {
					return s.b[from:s.i]
				}
			case '"':
				s.rawString()
			default:
				s.i++
			}
		}
		return s.b[from:]
	}
	from := s.i
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return s.b[from:s.i]
		}
		s.i++
	}
	return s.b[from:]
}

func (s *scanner) rawString() []byte {
	from := s.i
	for s.i++; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '\\':
			s.i++
		case '"':
			s.i++
			return s.b[from:s.i]
		}
	}
	s.i = len(s.b)
	return s.b[from:]
}

// fields calls f with each field of an object, in order. raw is the object.
func fields(raw []byte, f func(key, value []byte) error) error {
	s := scanner{b: raw, i: 1}
	for {
		switch s.next() {
		case '"':
		case '}':
			return nil
		default:
			return errJSON
		}
		key := s.rawString()
		if s.next() != ':' {
			return errJSON
		}
		s.i++
		if err := f(key, s.raw()); err != nil {
			return err
		}
		if s.next() == ',' {
			s.i++
		}
	}
}

// elements calls f with each element of an array, in order.
func elements(raw []byte, f func(i int, value []byte) error) error {
	s := scanner{b: raw, i: 1}
	for i := 0; ; i++ {
		switch s.next() {
		case ']':
			return nil
		case 0:
			return errJSON
		}
		if err := f(i, s.raw()); err != nil {
			return err
		}
		if s.next() == ',' {
			s.i++
		}
	}
}

// lookup follows names through objects; what is not there is nil. Of fields with
// the same name the last counts, as in encoding/json and in Java's parsers.
func lookup(raw []byte, path []string) []byte {
	for _, name := range path {
		if len(raw) == 0 || raw[0] != '{' {
			return nil
		}
		var found []byte
		if fields(raw, func(key, value []byte) error {
			if isName(key, name) {
				found = value
			}
			return nil
		}) != nil {
			return nil
		}
		raw = found
	}
	return raw
}

// isName reports whether a quoted key is the name.
func isName(key []byte, name string) bool {
	if len(key) == len(name)+2 && string(key[1:len(key)-1]) == name {
		return true
	}
	return bytes.IndexByte(key, '\\') >= 0 && string(unquote(nil, key)) == name
}

// plain returns the content of a quoted string if it needs no rewriting.
func plain(quoted []byte) ([]byte, bool) {
	if len(quoted) < 2 {
		return nil, false
	}
	s := quoted[1 : len(quoted)-1]
	return s, bytes.IndexByte(s, '\\') < 0
}

// unquote appends what a quoted string means.
func unquote(b, quoted []byte) []byte {
	if s, ok := plain(quoted); ok {
		return append(b, s...)
	}
	s := quoted
	if len(s) >= 2 {
		s = s[1 : len(s)-1]
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'u':
			r := hex4(s[i+1:])
			i = min(i+4, len(s)-1)
			if utf16.IsSurrogate(r) {
				if i+2 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
					if pair := utf16.DecodeRune(r, hex4(s[i+3:])); pair != utf8.RuneError {
						r = pair
						i = min(i+6, len(s)-1)
					}
				}
			}
			b = utf8.AppendRune(b, r) // half a pair alone becomes U+FFFD
		default:
			b = append(b, c)
		}
	}
	return b
}

func hex4(s []byte) rune {
	var r rune
	for _, c := range s[:min(4, len(s))] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			r |= rune(c-'A') + 10
		}
	}
	return r
}
