package gateway

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// filterKinds are the fields of Filter by their names in documents.
func (f Filter) kinds() []string {
	var out []string
	for _, k := range []struct {
		name string
		has  bool
	}{
		{"stripPrefix", f.StripPrefix != nil},
		{"addPrefix", f.AddPrefix != ""},
		{"setPath", f.SetPath != ""},
		{"rewrite", f.Rewrite != nil},
		{"requestHeaders", f.Request != nil},
		{"responseHeaders", f.Response != nil},
		{"hostHeader", f.HostHeader != ""},
		{"timeout", f.Timeout != nil},
		{"retry", f.Retry != nil},
		{"breaker", f.Breaker != nil},
		{"fallback", f.Fallback != nil},
		{"bodyLimit", f.BodyLimit != nil},
	} {
		if k.has {
			out = append(out, k.name)
		}
	}
	return out
}

// once are the filters that hold for the whole route wherever they stand.
var once = []string{"hostHeader", "timeout", "retry", "breaker", "fallback", "bodyLimit"}

// ofPath are the filters that change what a Dubbo upstream does not have.
var ofPath = []string{"stripPrefix", "addPrefix", "setPath", "rewrite", "hostHeader"}

func (v *validation) filters(r Route, vars []string) {
	if len(r.Filters) > MaxFilters {
		v.bad("filters", "has more than %d filters", MaxFilters)
	}
	seen := map[string]int{}
	for i, f := range r.Filters {
		field := "filters[" + strconv.Itoa(i) + "]"
		kinds := f.kinds()
		if len(kinds) != 1 {
			what := "nothing"
			if len(kinds) > 0 {
				what = strings.Join(kinds, " and ")
			}
			v.bad(field, "says %s: each filter is one thing, in the order of the list", what)
		}
		for _, kind := range kinds {
			if first, again := seen[kind]; again && slices.Contains(once, kind) {
				v.bad(field+"."+kind, "stands in filters[%d] already, and holds for the whole route", first)
			}
			seen[kind] = i
			if r.Upstream.Dubbo != nil && slices.Contains(ofPath, kind) {
				v.bad(field+"."+kind, "a Dubbo upstream has no path and no host")
			}
		}
		f.validate(v, field, vars)
	}
}

func (f Filter) validate(v *validation, field string, vars []string) {
	if f.StripPrefix != nil {
		between(v, field+".stripPrefix", *f.StripPrefix, 1, MaxPatternSegments)
	}
	if f.AddPrefix != "" {
		upstreamPath(v, field+".addPrefix", f.AddPrefix)
	}
	if f.SetPath != "" {
		upstreamPath(v, field+".setPath", f.SetPath)
		for _, m := range placeholder.FindAllStringSubmatch(f.SetPath, -1) {
			if !slices.Contains(vars, m[1]) {
				v.bad(field+".setPath", "{%s} is no variable of match.path%s", m[1], among(vars))
			}
		}
	}
	if f.Rewrite != nil {
		if f.Rewrite.Regex == "" {
			v.bad(field+".rewrite.regex", "is missing")
		} else {
			regex(v, field+".rewrite.regex", f.Rewrite.Regex)
		}
		if len(f.Rewrite.With) > MaxRegexLength || strings.ContainsFunc(f.Rewrite.With, isControl) || strings.ContainsAny(f.Rewrite.With, "?#") {
			v.bad(field+".rewrite.with", "is longer than %d bytes, or holds '?', '#' or control characters", MaxRegexLength)
		}
	}
	if f.Request != nil {
		f.Request.validate(v, field+".requestHeaders")
	}
	if f.Response != nil {
		f.Response.validate(v, field+".responseHeaders")
	}
	if h := f.HostHeader; h != "" && h != "preserve" && h != "upstream" && !isHostPort(h) {
		v.bad(field+".hostHeader", "%q is neither preserve, nor upstream, nor a host name", h)
	}
	if t := f.Timeout; t != nil {
		duration(v, field+".timeout.total", t.Total, MaxTimeout)
		duration(v, field+".timeout.perTry", t.PerTry, MaxTimeout)
		duration(v, field+".timeout.idle", t.Idle, 24*time.Hour)
		if *t == (Timeout{}) {
			v.bad(field+".timeout", "says nothing: give total, perTry or idle")
		}
		if t.Total > 0 && t.PerTry > t.Total {
			v.bad(field+".timeout.perTry", "%s is longer than the total of %s", t.PerTry, t.Total)
		}
	}
	if f.Retry != nil {
		f.Retry.validate(v, field+".retry")
	}
	if b := f.Breaker; b != nil {
		b.validate(v, field+".breaker")
	}
	if f.Fallback != nil {
		f.Fallback.validate(v, field+".fallback")
	}
	if f.BodyLimit != nil {
		between(v, field+".bodyLimit", *f.BodyLimit, 0, 1<<40)
	}
}

// placeholder is a variable in setPath.
var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

func among(vars []string) string {
	if len(vars) == 0 {
		return ", which has none"
	}
	return ": it has " + strings.Join(vars, ", ")
}

func upstreamPath(v *validation, field, s string) {
	switch {
	case s[0] != '/':
		v.bad(field, "%q does not begin with a slash", s)
	case len(s) > MaxPatternLength:
		v.bad(field, "is longer than %d bytes", MaxPatternLength)
	case strings.ContainsAny(s, "?#") || strings.ContainsFunc(s, isControl):
		v.bad(field, "%q holds '?', '#' or control characters: it is of the path alone", s)
	}
	for segment := range strings.SplitSeq(s, "/") {
		literal, err := unescapeSegment(segment)
		if err != nil {
			v.bad(field, "the segment %q is wrongly percent-encoded", segment)
		} else if literal == "." || literal == ".." {
			v.bad(field, "holds the segment %q", segment)
		}
	}
}

func isHostPort(s string) bool {
	host := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host = s[:i]
		if n, err := strconv.Atoi(s[i+1:]); err != nil || n < 1 || n > 65535 {
			return false
		}
	}
	return isHost(host)
}

// ownHeaders are those that belong to one connection, which the gateway writes
// itself.
var ownHeaders = []string{
	"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

func (h HeaderEdit) validate(v *validation, field string) {
	if len(h.Remove)+len(h.Set)+len(h.Add) == 0 {
		v.bad(field, "says nothing: give remove, set or add")
	}
	if max(len(h.Remove), len(h.Set), len(h.Add)) > MaxHeaders {
		v.bad(field, "has more than %d headers", MaxHeaders)
	}
	name := func(field, n string) {
		switch lower := strings.ToLower(n); {
		case !isToken(n):
			v.bad(field, "%q is no name of a header", n)
		case lower == "host":
			v.bad(field, "Host is set by the filter hostHeader")
		case slices.Contains(ownHeaders, lower):
			v.bad(field, "%s belongs to the connection, which the gateway looks after", n)
		}
	}
	for i, n := range h.Remove {
		name(fmt.Sprintf("%s.remove[%d]", field, i), n)
	}
	for what, edits := range map[string]map[string]string{"set": h.Set, "add": h.Add} {
		for _, n := range slices.Sorted(maps.Keys(edits)) {
			name(field+"."+what, n)
			if !isHeaderValue(edits[n]) {
				v.bad(field+"."+what, "the value of %s is longer than %d bytes or holds control characters", n, MaxValueLength)
			}
		}
	}
}

func (r Retry) validate(v *validation, field string) {
	between(v, field+".attempts", r.Attempts, 1, MaxAttempts)
	for i, on := range r.On {
		f := fmt.Sprintf("%s.on[%d]", field, i)
		switch on {
		case "connect", "reset", "timeout":
			if slices.Contains(r.On[:i], on) {
				v.bad(f, "%s stands twice", on)
			}
			continue
		}
		if n, err := strconv.Atoi(on); err != nil || n < 400 || n > 599 {
			v.bad(f, "%q is neither connect, reset, timeout nor a status of 400 to 599", on)
		}
	}
	methods(v, field+".methods", r.Methods)
	between(v, field+".budgetPercent", r.Budget, 0, 100)
}

func (b Breaker) validate(v *validation, field string) {
	if w := time.Duration(b.Window); w != 0 && (w < time.Second || w > 5*time.Minute) {
		v.bad(field+".window", "%s is not between 1s and 5m0s", b.Window)
	}
	between(v, field+".minCalls", b.MinCalls, 0, 1_000_000)
	between(v, field+".errorPercent", b.ErrorPercent, 0, 100)
	duration(v, field+".openFor", b.OpenFor, time.Hour)
	between(v, field+".probes", b.Probes, 0, 1000)
	between(v, field+".concurrent", b.Concurrent, 0, 1_000_000)
}

func (f Fallback) validate(v *validation, field string) {
	between(v, field+".status", f.Status, 200, 599)
	if len(f.Header) > MaxHeaders {
		v.bad(field+".headers", "has more than %d headers", MaxHeaders)
	}
	for _, n := range slices.Sorted(maps.Keys(f.Header)) {
		switch {
		case !isToken(n):
			v.bad(field+".headers", "%q is no name of a header", n)
		case slices.Contains(ownHeaders, strings.ToLower(n)):
			v.bad(field+".headers", "%s belongs to the connection, which the gateway looks after", n)
		case !isHeaderValue(f.Header[n]):
			v.bad(field+".headers", "the value of %s is longer than %d bytes or holds control characters", n, MaxValueLength)
		}
	}
	switch {
	case f.Body == nil:
	case len(f.Body) > MaxFallbackBody:
		v.bad(field+".body", "is longer than %d bytes", MaxFallbackBody)
	case !isJSON(f.Body):
		v.bad(field+".body", "is no JSON")
	case f.Status == 204 || f.Status == 304:
		v.bad(field+".body", "an answer %d has no body", f.Status)
	}
}
