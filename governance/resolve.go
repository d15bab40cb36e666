package governance

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"slices"
	"strings"
	"time"
)

// Call is what a policy is held against: one command, on the side where it is to
// be enforced.
type Call struct {
	// App serves the command.
	App     App
	Command string
	At      At
	// From is, at the caller, the application that calls.
	From App
}

// Matches reports whether the target is about the call. A command may be written
// as the breaker names it, or with a Dubbo interface's full name in place of its
// short one.
func (t Target) Matches(c Call) bool {
	at := t.At
	if at == "" {
		at = Provider
	}
	if at != c.At || t.App != c.App {
		return false
	}
	if len(t.From) > 0 && !slices.Contains(t.From, c.From) {
		return false
	}
	return t.Command == "" || t.Command == c.Command || ShortCommand(t.Command) == c.Command
}

// ShortCommand turns "org.example.shop.InventoryService.reserve" into
// "InventoryService.reserve", the name that Dubbo methods have as commands;
// anything that is not a dotted Java name is left as it is.
func ShortCommand(s string) string {
	method := strings.LastIndexByte(s, '.')
	if method <= 0 || strings.ContainsAny(s, " /:") {
		return s
	}
	iface := strings.LastIndexByte(s[:method], '.')
	return s[iface+1:]
}

// Source names the policy that a field of effective rules came from.
type Source struct {
	Policy  string `json:"policy"`
	Version int64  `json:"version"`
}

// Effective is what holds for one call once every policy has had its say.
type Effective struct {
	Rules
	// Sources tells for each field that is set ("breaker.mode", "timeout",
	// "bulkhead", "fallback", …) which policy set it.
	Sources map[string]Source
	// Until is when the first policy that had a say expires; zero for never.
	Until time.Time
}

// Resolve joins the policies that match a call, field by field: a switch beats a
// policy, one for a command beats one for the whole application, one for named
// callers beats one for all, and the newer version beats the older. Deleted and
// expired versions have no say. The order of the input does not matter.
func Resolve(policies []Version, c Call, now time.Time) Effective {
	var in []Version
	for _, v := range policies {
		p := v.Policy
		if v.Deleted || (!p.Expires.IsZero() && !now.Before(p.Expires)) || !p.Target.Matches(c) {
			continue
		}
		in = append(in, v)
	}
	slices.SortFunc(in, func(a, b Version) int {
		return -cmp.Or(cmp.Compare(rank(a.Policy), rank(b.Policy)), cmp.Compare(a.Version, b.Version))
	})
	e := Effective{}
	for _, v := range in {
		if took := e.take(v); took && !v.Policy.Expires.IsZero() && (e.Until.IsZero() || v.Policy.Expires.Before(e.Until)) {
			e.Until = v.Policy.Expires
		}
	}
	return e
}

// rank orders policies by how much say they have.
func rank(p Policy) int {
	r := 0
	if p.Kind == KindSwitch {
		r += 4
	}
	if p.Target.Command != "" {
		r += 2
	}
	if len(p.Target.From) > 0 {
		r++
	}
	return r
}

// take fills the fields that no policy before has set.
func (e *Effective) take(v Version) bool {
	took := false
	mark := func(field string, set bool) bool {
		if !set {
			return false
		}
		if _, done := e.Sources[field]; done {
			return false
		}
		if e.Sources == nil {
			e.Sources = make(map[string]Source)
		}
		e.Sources[field] = Source{Policy: Key{v.Policy.Namespace, v.Policy.Name}.String(), Version: v.Version}
		took = true
		return true
	}
	r := v.Policy.Rules
	if mark("timeout", r.Timeout != 0) {
		e.Timeout = r.Timeout
	}
	if mark("bulkhead", r.Bulkhead != nil) {
		b := *r.Bulkhead
		e.Bulkhead = &b
	}
	if mark("fallback", r.Fallback != nil) {
		f := *r.Fallback
		e.Fallback = &f
	}
	if r.Breaker == nil {
		return took
	}
	if e.Breaker == nil {
		e.Breaker = new(Breaker)
	}
	from, to := r.Breaker, e.Breaker
	if mark("breaker.mode", from.Mode != "") {
		to.Mode = from.Mode
	}
	if mark("breaker.window", from.Window != 0) {
		to.Window = from.Window
	}
	if mark("breaker.minCalls", from.MinCalls != 0) {
		to.MinCalls = from.MinCalls
	}
	if mark("breaker.errorPercent", from.ErrorPercent != 0) {
		to.ErrorPercent = from.ErrorPercent
	}
	if mark("breaker.slow", from.SlowCall != 0 || from.SlowPercent != 0) {
		to.SlowCall, to.SlowPercent = from.SlowCall, from.SlowPercent
	}
	if mark("breaker.openFor", from.OpenFor != 0) {
		to.OpenFor = from.OpenFor
	}
	if mark("breaker.probes", from.Probes != 0) {
		to.Probes = from.Probes
	}
	return took
}

// ForInstance returns those of the policies that an instance of app has to
// enforce, which calls the given applications, sorted by key.
func ForInstance(policies []Version, app App, calls []App) []Version {
	var out []Version
	for _, v := range policies {
		t := v.Policy.Target
		mine := t.App == app
		if t.At == Caller {
			mine = slices.Contains(calls, t.App) && (len(t.From) == 0 || slices.Contains(t.From, app))
		}
		if mine {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b Version) int {
		return cmp.Or(strings.Compare(a.Policy.Namespace, b.Policy.Namespace), strings.Compare(a.Policy.Name, b.Policy.Name))
	})
	return out
}

// HashPolicies returns "sha256:…" over the policies as they are given. Policies
// that ForInstance returned have one order, so equal sets have equal hashes.
func HashPolicies(policies []Version) string {
	h := sha256.New()
	for i := range policies {
		writeJSON(h, &policies[i])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)[:16])
}

func writeJSON(h hash.Hash, v *Version) {
	// What is hashed are fields that every JSON round trip keeps: times in UTC
	// and to the microsecond, as stores keep them.
	c := *v
	c.Created = c.Created.UTC().Truncate(time.Microsecond)
	c.Policy.Expires = c.Policy.Expires.UTC().Truncate(time.Microsecond)
	data, err := json.Marshal(&c)
	if err != nil {
		data = []byte(err.Error()) // a RawMessage that is no JSON, which Validate refuses
	}
	h.Write(data)
	h.Write([]byte{'\n'})
}
