package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of what a route may ask for.
const (
	MaxNameLength   = 253
	MaxHosts        = 64
	MaxHeaders      = 32 // conditions, and edits of each sort in one filter
	MaxFilters      = 64
	MaxRegexLength  = 1024
	MaxValueLength  = 4096 // bytes of a header's value
	MaxTimeout      = time.Hour
	MaxAttempts     = 10
	MaxFallbackBody = 64 << 10 // bytes
	MaxArgs         = 64
	MaxPriority     = 1_000_000
	// MaxWrites is how many routes one Apply takes.
	MaxWrites = 10_000
	// MaxReason is how many bytes the reason of a change may have.
	MaxReason = 1024
)

// Problems returns the Errors that err is made of, in their order: what Validate
// and DecodeRoutes return holds one for each thing that is wrong.
func Problems(err error) []*Error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*Error
		for _, e := range many.Unwrap() {
			out = append(out, Problems(e)...)
		}
		return out
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: CodeOf(err), Message: err.Error()}
	}
	return []*Error{e}
}

// validation gathers what is wrong, each with the field where it is.
type validation struct{ errs []error }

func (v *validation) bad(field, format string, args ...any) {
	v.errs = append(v.errs, &Error{Code: Invalid, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (v *validation) err() error { return errors.Join(v.errs...) }

// Validate returns everything that is wrong with a route, an Error of code
// Invalid for each, joined; Problems takes them apart. Fields are written as in
// "filters[1].retry.attempts".
func (r Route) Validate() error {
	var v validation
	if !isLabel(r.Namespace) {
		v.bad("namespace", "%q is no namespace: use at most 63 lower-case letters, digits and '-'", r.Namespace)
	}
	if !isRouteName(r.Name) {
		v.bad("name", "%q is no name: use at most %d lower-case letters, digits, '.', '_' and '-', a letter or digit first and last", r.Name, MaxNameLength)
	}
	if r.Priority < -MaxPriority || r.Priority > MaxPriority {
		v.bad("priority", "%d is not between -%d and %d", r.Priority, MaxPriority, MaxPriority)
	}
	vars := r.Match.validate(&v)
	v.filters(r, vars)
	r.Upstream.validate(&v, vars)
	return v.err()
}

// Validate reports, as Errors of code Invalid, a missing or unusable actor or
// reason.
func (c Change) Validate() error {
	var v validation
	for field, s := range map[string]string{"actor": c.Actor, "reason": c.Reason} {
		switch {
		case strings.TrimSpace(s) == "":
			v.bad(field, "is missing: every change says who makes it and why")
		case len(s) > MaxReason:
			v.bad(field, "is longer than %d bytes", MaxReason)
		case strings.ContainsFunc(s, isControl) || strings.ToValidUTF8(s, "") != s:
			v.bad(field, "holds control characters or is no UTF-8")
		}
	}
	return v.err()
}

// validate returns the variables of the path.
func (m Match) validate(v *validation) (vars []string) {
	if len(m.Host) > MaxHosts {
		v.bad("match.host", "has more than %d hosts", MaxHosts)
	}
	seen := map[string]bool{}
	for i, h := range m.Host {
		field := element("match.host", i, len(m.Host))
		switch {
		case h == "*":
			v.bad(field, `"*" is every host: leave host out`)
		case !isHost(strings.TrimPrefix(h, "*.")):
			v.bad(field, "%q is no host name, nor \"*.\" before one: write it without scheme and port, international names in their xn-- form", h)
		case seen[NormalHost(h)]:
			v.bad(field, "%q stands twice", h)
		}
		seen[NormalHost(h)] = true
	}
	p, err := ParsePattern(m.Path)
	for _, e := range Problems(err) {
		v.bad("match.path", "%s", e.Message)
	}
	methods(v, "match.method", m.Method)
	if len(m.Header) > MaxHeaders {
		v.bad("match.header", "has more than %d conditions", MaxHeaders)
	}
	for i, h := range m.Header {
		h.validate(v, "match.header["+strconv.Itoa(i)+"]")
	}
	return p.Names()
}

func (h HeaderMatch) validate(v *validation, field string) {
	switch {
	case !isToken(h.Name):
		v.bad(field+".name", "%q is no name of a header", h.Name)
	case strings.EqualFold(h.Name, "host"):
		v.bad(field+".name", "Host is matched by match.host")
	}
	set := 0
	for _, has := range []bool{h.Equals != "", h.Regex != "", h.Present, h.Absent} {
		if has {
			set++
		}
	}
	if set != 1 {
		v.bad(field, "has %d of equals, regex, present and absent: give one", set)
	}
	if !isHeaderValue(h.Equals) {
		v.bad(field+".equals", "is longer than %d bytes or holds control characters", MaxValueLength)
	}
	if h.Regex != "" {
		regex(v, field+".regex", h.Regex)
	}
}

// element names one element of a list that may also be a single string.
func element(field string, i, n int) string {
	if n == 1 {
		return field
	}
	return field + "[" + strconv.Itoa(i) + "]"
}

func methods(v *validation, field string, list []string) {
	for i, m := range list {
		f := element(field, i, len(list))
		switch {
		case !isToken(m):
			v.bad(f, "%q is no method", m)
		case m != strings.ToUpper(m):
			v.bad(f, "%q: methods are told by case: write %s", m, strings.ToUpper(m))
		case m == "CONNECT":
			v.bad(f, "CONNECT asks for a tunnel, which a gateway does not give")
		case slices.Contains(list[:i], m):
			v.bad(f, "%s stands twice", m)
		}
	}
}

func regex(v *validation, field, expr string) {
	if len(expr) > MaxRegexLength {
		v.bad(field, "is longer than %d bytes", MaxRegexLength)
		return
	}
	if _, err := regexp.Compile(expr); err != nil {
		v.bad(field, "%s: write a regular expression as RE2 has them", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

func between[T int | int64 | float64](v *validation, field string, value, low, high T) {
	if value < low || value > high || math.IsNaN(float64(value)) {
		v.bad(field, "%v is not between %v and %v", value, low, high)
	}
}

func duration(v *validation, field string, d Duration, high time.Duration) {
	if d < 0 || time.Duration(d) > high {
		v.bad(field, "%s is not between 0s and %s", d, high)
	}
}

func (u Upstream) validate(v *validation, vars []string) {
	set := 0
	for _, has := range []bool{u.App != "", u.URL != "", u.Dubbo != nil} {
		if has {
			set++
		}
	}
	switch set {
	case 1:
	case 0:
		v.bad("upstream", "is missing: give app, url or dubbo")
	default:
		v.bad("upstream", "has %d of app, url and dubbo: give one", set)
	}
	if u.App != "" {
		app(v, "upstream.app", u.App)
	}
	if u.URL != "" {
		u.validateURL(v)
	}
	if u.Port != "" {
		switch n, err := strconv.Atoi(u.Port); {
		case u.App == "":
			v.bad("upstream.port", "is for app; write a URL's port into it")
		case err == nil && (n < 1 || n > 65535):
			v.bad("upstream.port", "%s is not between 1 and 65535", u.Port)
		case err != nil && !isLabel(u.Port):
			v.bad("upstream.port", "%q is neither a number nor the name of a port", u.Port)
		}
	}
	switch u.Balance {
	case "", LeastRequests, RoundRobin, Random:
	default:
		v.bad("upstream.balance", "%q is none of %s, %s and %s", u.Balance, LeastRequests, RoundRobin, Random)
	}
	switch u.Protocol {
	case "", "http1", "h2c", "https":
		if u.Dubbo != nil && u.Protocol != "" {
			v.bad("upstream.protocol", "is for app and url; a Dubbo provider says what it speaks")
		}
	default:
		v.bad("upstream.protocol", "%q is none of http1, h2c and https", u.Protocol)
	}
	if u.TLS != nil {
		u.validateTLS(v)
	}
	if u.Dubbo != nil {
		u.Dubbo.validate(v, vars)
	}
}

func (u Upstream) validateURL(v *validation) {
	const field = "upstream.url"
	parsed, err := url.Parse(u.URL)
	switch {
	case len(u.URL) > MaxPatternLength:
		v.bad(field, "is longer than %d bytes", MaxPatternLength)
	case err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https":
		v.bad(field, "%.80q is no address: write http:// or https://, a host and, if it has one, a port and a path", u.URL)
	case parsed.User != nil:
		v.bad(field, "holds a user and password: send them with requestHeaders")
	case parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		v.bad(field, "holds a query or fragment, which are the request's own")
	case !isUpstreamHost(parsed):
		v.bad(field, "%q is no host with a port", parsed.Host)
	case parsed.Scheme == "http" && u.Protocol == "https":
		v.bad("upstream.protocol", "is https, but the URL says http: write https:// there")
	case parsed.Scheme == "https" && u.Protocol == "h2c":
		v.bad("upstream.protocol", "h2c is HTTP/2 without TLS, but the URL says https")
	}
}

func isUpstreamHost(u *url.URL) bool {
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return false
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return false
	}
	_, err := netip.ParseAddr(u.Hostname())
	return err == nil || isHost(u.Hostname())
}

func app(v *validation, field, s string) {
	namespace, name, ok := strings.Cut(s, "/")
	if !ok || !isLabel(namespace) || !isLabel(name) || name[0] < 'a' {
		v.bad(field, "%q is no application: write namespace/name, as its Service is called", s)
	}
}

func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && !isLowerOrDigit(r)
	})
}

func isLowerOrDigit(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }

func isRouteName(s string) bool {
	return s != "" && len(s) <= MaxNameLength && isLowerOrDigit(rune(s[0])) && isLowerOrDigit(rune(s[len(s)-1])) &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return !isLowerOrDigit(r) && r != '.' && r != '_' && r != '-'
		})
}

// isHost takes host names, underscores included as many have them, and IPv4
// addresses, and IPv6 ones in brackets.
func isHost(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && a.Is6() && strings.HasSuffix(s, "]")
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(strings.ReplaceAll(label, "_", "x")) {
			return false
		}
	}
	return true
}

// isToken takes what RFC 9110 has as names of headers and methods.
func isToken(s string) bool {
	return s != "" && len(s) <= MaxNameLength && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func isHeaderValue(s string) bool {
	return len(s) <= MaxValueLength && !strings.ContainsFunc(s, func(r rune) bool { return r != '\t' && isControl(r) })
}

// isJSON takes one JSON value.
func isJSON(data json.RawMessage) bool { return json.Valid(data) && len(bytes.TrimSpace(data)) > 0 }
