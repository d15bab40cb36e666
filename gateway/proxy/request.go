package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/weirmesh/weir/gateway"
)

// request is what of a request decides about its route.
type request struct {
	method   string
	host     string // lower case, without port and trailing dot
	segments []string
	header   http.Header
}

// Errors of a path. No route is asked about such a request, since the upstream
// might see another path in it than the gateway.
var (
	errNoPath  = errors.New("the request's target is not a path that begins with a slash")
	errDots    = errors.New(`the path holds "." or ".." as a segment, which servers resolve in different ways: send the path that is meant`)
	errNul     = errors.New("the path holds a NUL character")
	errBadPath = errors.New("the path is wrongly percent-encoded")
)

// path is the path of a request in both of its forms. What is matched is what
// is sent on: segments are told apart in the escaped path, so that "%2F" never
// separates; several slashes in a row count and travel as one; and a path with
// dot segments, in any disguise that a common server would see through ("%2e",
// "..;x", "..%2f", a backslash), is refused. A slash at the end is significant.
type path struct {
	plain string // unescaped
	raw   string // escaped, if it is not how Go escapes plain; as in url.URL
}

// pathOf reads the path of a URL.
func pathOf(u *url.URL) (path, error) {
	p := path{u.Path, u.RawPath}
	if p.plain == "" || p.plain[0] != '/' {
		return p, errNoPath
	}
	if p.raw == "" {
		if strings.Contains(p.plain, "//") {
			p.plain = mergeSlashes(p.plain)
		}
	} else if strings.Contains(p.raw, "//") || u.EscapedPath() != p.raw {
		return parsePath(p.raw)
	}
	return p, p.check()
}

// parsePath reads an escaped path.
func parsePath(escaped string) (path, error) {
	escaped = escapeBare(mergeSlashes(escaped))
	if escaped == "" || escaped[0] != '/' {
		return path{}, errNoPath
	}
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return path{}, errBadPath
	}
	p := path{plain: plain}
	if u := (url.URL{Path: plain}); u.EscapedPath() != escaped {
		p.raw = escaped
	}
	return p, p.check()
}

// check refuses what is not to be matched at all.
func (p path) check() error {
	if strings.IndexByte(p.plain, 0) >= 0 {
		return errNul
	}
	// In the unescaped path every segment that could be one of dots stands behind
	// a slash or a backslash, whether that was escaped or not.
	if !strings.Contains(p.plain, "/.") && strings.IndexByte(p.plain, '\\') < 0 {
		return nil
	}
	for part := range strings.FieldsFuncSeq(p.plain, func(r rune) bool { return r == '/' || r == '\\' }) {
		part, _, _ = strings.Cut(part, ";") // servlet containers take parameters off first
		if part == "." || part == ".." {
			return errDots
		}
	}
	return nil
}

// escaped returns the path as it is sent.
func (p path) escaped() string {
	if p.raw != "" {
		return p.raw
	}
	u := url.URL{Path: p.plain}
	return u.EscapedPath()
}

// split appends the segments, unescaped, to into.
func (p path) split(into []string) []string {
	if p.raw != "" {
		into, _ = gateway.SplitPath(p.raw, into) // was unescaped before, so it can be
		return into
	}
	rest := p.plain[1:]
	for {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return append(into, rest)
		}
		into = append(into, rest[:i])
		rest = rest[i+1:]
	}
}

// escapeBare escapes what may not stand in a path and leaves escapes alone. Go
// would escape the path anew instead, and turn "%2F" into a slash.
func escapeBare(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 || !mayStand(byte(r)) }) < 0 {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		if c := s[i]; mayStand(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// mayStand takes the characters of a path as RFC 3986 has them, escapes and
// slashes included.
func mayStand(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~!$&'()*+,;=:@%/", c) >= 0
}

func mergeSlashes(s string) string {
	if !strings.Contains(s, "//") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] != '/' || i == 0 || s[i-1] != '/' {
			b = append(b, s[i])
		}
	}
	return string(b)
}

// maxHost bounds what is looked at; no name is longer.
const maxHost = 255

// hostOf brings a Host header into the form that routes are held against. What
// is no name becomes "", which only routes of any host take.
func hostOf(host string) string {
	if len(host) > maxHost+6 { // a port
		return ""
	}
	return gateway.NormalHost(host)
}

// maxInline is how many segments a search takes without allocating.
const maxInline = 24
