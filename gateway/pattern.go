package gateway

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Limits of a path pattern.
const (
	MaxPatternLength   = 2048 // bytes
	MaxPatternSegments = 64
)

// Pattern is a path pattern, taken apart. The zero Pattern takes every path.
type Pattern struct {
	// Segments are what stands between the slashes: "/cart/{id}" has two. The
	// last is an empty literal where the pattern ends with a slash: "/cart/" takes
	// "/cart/" and not "/cart", and "/" takes "/" alone.
	Segments []Segment
	// Open patterns take any number of further segments, none included; Tail is
	// the name under which they are known, "" for the zero Pattern.
	Open bool
	Tail string
}

// Segment is one segment of a pattern: a variable, which takes any one segment
// that is not empty, or else a literal.
type Segment struct {
	Var     string
	Literal string // percent escapes resolved
}

// ParsePattern reads a path pattern. "" is the pattern that takes every path.
//
// A segment is a literal or a variable, never a mixture. Literals may be percent
// encoded, so that "/a%2Fb" is one segment that holds a slash, and cannot hold
// braces otherwise. Names of variables are letters, digits, '_' and '-', and no
// digit or '-' first; each stands once. Its errors have code Invalid and no
// field.
func ParsePattern(s string) (Pattern, error) {
	if s == "" {
		return Pattern{Open: true}, nil
	}
	bad := func(format string, args ...any) (Pattern, error) {
		return Pattern{}, &Error{Code: Invalid, Message: fmt.Sprintf(format, args...)}
	}
	if len(s) > MaxPatternLength {
		return bad("is longer than %d bytes", MaxPatternLength)
	}
	if s[0] != '/' {
		return bad("%q does not begin with a slash", s)
	}
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return bad("%q holds %q: a pattern is of the path alone", s, s[i])
	}
	parts := strings.Split(s[1:], "/")
	if len(parts) > MaxPatternSegments {
		return bad("has more than %d segments", MaxPatternSegments)
	}
	var p Pattern
	seen := map[string]bool{}
	for i, part := range parts {
		last := i == len(parts)-1
		name, isVar := variable(part)
		switch {
		case isVar:
			name, tail := strings.CutSuffix(name, "...")
			if tail && !last {
				return bad("%q has {%s...} before its end: only the last segment may take many", s, name)
			}
			if !isVariableName(name) {
				return bad("%q: %q is no name of a variable: use letters, digits, '_' and '-'", s, name)
			}
			if seen[name] {
				return bad("%q has the variable %s twice", s, name)
			}
			seen[name] = true
			if tail {
				p.Open, p.Tail = true, name
			} else {
				p.Segments = append(p.Segments, Segment{Var: name})
			}
		case part == "" && !last:
			return bad("%q holds an empty segment", s)
		case strings.ContainsAny(part, "{}"):
			return bad("%q: in %q, a variable is a whole segment, such as /{id}/", s, part)
		default:
			literal, err := unescapeSegment(part)
			if err != nil {
				return bad("%q: the segment %q is wrongly percent-encoded", s, part)
			}
			if literal == "." || literal == ".." {
				return bad("%q holds the segment %q, which no request has after its path was cleaned", s, part)
			}
			if strings.ContainsFunc(literal, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return bad("%q holds a control character", s)
			}
			p.Segments = append(p.Segments, Segment{Literal: literal})
		}
	}
	return p, nil
}

func variable(segment string) (name string, ok bool) {
	if len(segment) >= 2 && segment[0] == '{' && segment[len(segment)-1] == '}' {
		return segment[1 : len(segment)-1], true
	}
	return "", false
}

func isVariableName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// unescapeSegment resolves percent escapes; most segments have none and are
// returned as they are.
func unescapeSegment(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	return url.PathUnescape(s)
}

// SplitPath takes the path of a request, still percent-encoded as
// (*url.URL).EscapedPath returns it, into the segments that patterns are held
// against, appended to into. It reports false for a path that does not begin
// with a slash or is wrongly encoded, which no pattern takes.
func SplitPath(escaped string, into []string) ([]string, bool) {
	if escaped == "" || escaped[0] != '/' {
		return into, false
	}
	rest := escaped[1:]
	for {
		part, after, more := strings.Cut(rest, "/")
		segment, err := unescapeSegment(part)
		if err != nil {
			return into, false
		}
		into = append(into, segment)
		if !more {
			return into, true
		}
		rest = after
	}
}

// Match reports whether the pattern takes a path, given as its segments.
func (p Pattern) Match(segments []string) bool {
	if len(segments) < len(p.Segments) || !p.Open && len(segments) > len(p.Segments) {
		return false
	}
	for i, s := range p.Segments {
		if s.Var != "" && segments[i] == "" || s.Var == "" && segments[i] != s.Literal {
			return false
		}
	}
	return true
}

// Vars returns the values of the pattern's variables for a path that it takes;
// the tail's are joined by slashes, their own escapes resolved.
func (p Pattern) Vars(segments []string) map[string]string {
	vars := map[string]string{}
	for i, s := range p.Segments {
		if s.Var != "" {
			vars[s.Var] = segments[i]
		}
	}
	if p.Tail != "" {
		vars[p.Tail] = strings.Join(segments[len(p.Segments):], "/")
	}
	return vars
}

// Names returns the names of the pattern's variables in their order.
func (p Pattern) Names() []string {
	var names []string
	for _, s := range p.Segments {
		if s.Var != "" {
			names = append(names, s.Var)
		}
	}
	if p.Tail != "" {
		names = append(names, p.Tail)
	}
	return names
}

// String returns the pattern as ParsePattern reads it.
func (p Pattern) String() string {
	var b strings.Builder
	for _, s := range p.Segments {
		b.WriteByte('/')
		if s.Var != "" {
			b.WriteString("{" + s.Var + "}")
		} else {
			b.WriteString(url.PathEscape(s.Literal))
		}
	}
	if p.Tail != "" {
		b.WriteString("/{" + p.Tail + "...}")
	}
	return b.String()
}

// Covers reports whether p takes every path that q takes.
func (p Pattern) Covers(q Pattern) bool {
	if q.Open && !p.Open || len(p.Segments) > len(q.Segments) || !p.Open && len(p.Segments) != len(q.Segments) {
		return false
	}
	for i, s := range p.Segments {
		o := q.Segments[i]
		switch {
		case s.Var != "" && o.Var == "" && o.Literal == "":
			return false // a variable takes no empty segment
		case s.Var == "" && (o.Var != "" || o.Literal != s.Literal):
			return false
		}
	}
	return true
}

// Compare orders patterns that take the same path by precedence: negative when
// p goes before q. Segment by segment from the left, a literal goes before a
// variable, a variable before a tail, and an end before a tail. It is zero for
// patterns that take the same paths.
func (p Pattern) Compare(q Pattern) int {
	for i := range max(len(p.Segments), len(q.Segments)) + 1 {
		if c := cmp.Compare(p.rank(i), q.rank(i)); c != 0 {
			return c
		}
	}
	return slices.CompareFunc(p.Segments, q.Segments, func(a, b Segment) int {
		return strings.Compare(a.Literal, b.Literal)
	})
}

func (p Pattern) rank(i int) int {
	switch {
	case i < len(p.Segments) && p.Segments[i].Var == "":
		return 0
	case i < len(p.Segments):
		return 1
	case !p.Open:
		return 2
	case p.Tail != "" || len(p.Segments) > 0:
		return 3
	default:
		return 4 // no pattern at all: even "/{all...}" says more
	}
}
