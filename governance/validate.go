package governance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of what a policy may ask for.
const (
	MinWindow       = time.Second
	MaxWindow       = 5 * time.Minute
	MaxOpenFor      = time.Hour
	MaxTimeout      = 10 * time.Minute
	MaxNameLength   = 253
	MaxFallback     = 64 << 10 // bytes of a static answer
	maxFallbackElse = 3
)

// DefaultName is what a policy is called that names itself not: its command, the
// side, and "switch" for one. The whole application is "all".
func DefaultName(k Kind, t Target) string {
	parts := []string{"all"}
	if t.Command != "" {
		parts[0] = slug(ShortCommand(t.Command))
	}
	if t.At == Caller {
		parts = append(parts, "caller")
		for _, f := range t.From {
			parts = append(parts, f.Name)
		}
	}
	if k == KindSwitch {
		parts = append(parts, "switch")
	}
	name := t.App.Name + "." + strings.Join(parts, ".")
	return name[:min(len(name), MaxNameLength)]
}

// slug keeps what may stand in a URL's path segment without escapes.
func slug(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// WithDefaults fills what a document leaves to Weir: its key, kind and side.
func (p Policy) WithDefaults() Policy {
	if p.Kind == "" {
		p.Kind = KindPolicy
	}
	if p.Target.At == "" {
		p.Target.At = Provider
	}
	if p.Namespace == "" {
		p.Namespace = p.Target.App.Namespace
	}
	if p.Name == "" && p.Target.App != (App{}) {
		p.Name = DefaultName(p.Kind, p.Target)
	}
	return p
}

// Canonical returns the policy as a store keeps it: defaults filled in, times in
// UTC and to the microsecond, and nothing shared with p. It fails, with the code
// Invalid, for a policy that Validate refuses.
func (p Policy) Canonical() (Policy, error) {
	p = p.WithDefaults()
	if err := p.Validate(); err != nil {
		return Policy{}, err
	}
	p.Expires = p.Expires.UTC().Truncate(time.Microsecond)
	var out Policy
	data, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return Policy{}, &Error{Code: Invalid, Message: "the policy is no JSON document", Err: err}
	}
	return out, nil
}

// Key returns the policy's key.
func (p Policy) Key() Key { return Key{p.Namespace, p.Name} }

// Validate reports, as errors of code Invalid joined to one, everything that is
// wrong with a policy to which WithDefaults was applied.
func (p Policy) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &Error{Code: Invalid, Field: field, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case p.Target.App == (App{}):
		bad("target.app", "is missing: write the application as namespace/name")
	case !validApp(p.Target.App):
		bad("target.app", "%q is no application: its parts hold at most 253 characters, without spaces", p.Target.App)
	case p.Namespace != p.Target.App.Namespace:
		bad("namespace", "%q is not the namespace of %s: leave it out", p.Namespace, p.Target.App)
	}
	if len(p.Name) > MaxNameLength || p.Name != slug(p.Name) || p.Name == "" {
		bad("name", "%q is no name: use at most %d letters, digits, '.', '_' and '-'", p.Name, MaxNameLength)
	}
	if p.Kind != KindPolicy && p.Kind != KindSwitch {
		bad("kind", "%q is neither %s nor %s", p.Kind, KindPolicy, KindSwitch)
	}
	if p.Target.At != Provider && p.Target.At != Caller {
		bad("target.at", "%q is neither %s nor %s", p.Target.At, Provider, Caller)
	}
	if len(p.Target.From) > 0 && p.Target.At != Caller {
		bad("target.from", "is for at: %s; a provider does not tell its callers apart", Caller)
	}
	if len(p.Target.From) > 100 || slices.ContainsFunc(p.Target.From, func(a App) bool { return !validApp(a) }) {
		bad("target.from", "has more than 100 applications, or one that is none")
	}
	if len(p.Target.Command) > 512 || strings.ContainsFunc(p.Target.Command, func(r rune) bool { return r < ' ' }) {
		bad("target.command", "is longer than 512 bytes or holds control characters")
	}
	p.Rules.validate(bad)
	if p.Kind == KindSwitch && (p.Breaker == nil || p.Breaker.Mode != ModeForcedOpen) {
		bad("breaker.mode", "of a switch is %s: it only degrades", ModeForcedOpen)
	}
	if p.Breaker == nil && p.Timeout == 0 && p.Bulkhead == nil && p.Fallback == nil {
		bad("", "the policy says nothing: give breaker, timeout, bulkhead or fallback")
	}
	return errors.Join(errs...)
}

func validApp(a App) bool {
	for _, part := range []string{a.Namespace, a.Name} {
		if part == "" || len(part) > MaxNameLength || !utf8.ValidString(part) || strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
			return false
		}
	}
	return true
}

func (r Rules) validate(bad func(field, format string, args ...any)) {
	if r.Timeout < 0 || time.Duration(r.Timeout) > MaxTimeout {
		bad("timeout", "%s is not between 1ms and %s", r.Timeout, MaxTimeout)
	}
	if r.Bulkhead != nil && (r.Bulkhead.Concurrent < 1 || r.Bulkhead.Concurrent > 1_000_000) {
		bad("bulkhead.concurrent", "%d is not between 1 and 1000000", r.Bulkhead.Concurrent)
	}
	if b := r.Breaker; b != nil {
		b.validate(bad)
	}
	if r.Fallback != nil {
		r.Fallback.validate("fallback", 0, bad)
	}
}

func (b *Breaker) validate(bad func(field, format string, args ...any)) {
	switch b.Mode {
	case "", ModeAuto, ModeForcedOpen, ModeForcedClosed, ModeDisabled:
	default:
		bad("breaker.mode", "%q is none of %s, %s, %s, %s", b.Mode, ModeAuto, ModeForcedOpen, ModeForcedClosed, ModeDisabled)
	}
	if w := time.Duration(b.Window); w != 0 && (w < MinWindow || w > MaxWindow) {
		bad("breaker.window", "%s is not between %s and %s", b.Window, MinWindow, MaxWindow)
	}
	if b.MinCalls < 0 || b.MinCalls > 1_000_000 {
		bad("breaker.minCalls", "%d is not between 1 and 1000000", b.MinCalls)
	}
	if b.ErrorPercent < 0 || b.ErrorPercent > 100 {
		bad("breaker.errorPercent", "%g is not between 1 and 100", b.ErrorPercent)
	}
	if (b.SlowCall != 0) != (b.SlowPercent != 0) {
		bad("breaker.slowCall", "and slowPercent belong together: give both or none")
	}
	if b.SlowCall < 0 || time.Duration(b.SlowCall) > MaxTimeout || b.SlowPercent < 0 || b.SlowPercent > 100 {
		bad("breaker.slowCall", "is a positive duration, and slowPercent between 1 and 100")
	}
	if o := time.Duration(b.OpenFor); o < 0 || o > MaxOpenFor {
		bad("breaker.openFor", "%s is not between 1ms and %s", b.OpenFor, MaxOpenFor)
	}
	if b.Probes < 0 || b.Probes > 1000 {
		bad("breaker.probes", "%d is not between 1 and 1000", b.Probes)
	}
}

func (f *Fallback) validate(field string, depth int, bad func(field, format string, args ...any)) {
	set := 0
	for _, has := range []bool{f.Value != nil, f.Empty, f.Error != "", f.Cached != nil} {
		if has {
			set++
		}
	}
	if set != 1 {
		bad(field, "has %d of value, empty, error and cached: give one", set)
	}
	if f.Value != nil && (!json.Valid(f.Value) || len(f.Value) > MaxFallback) {
		bad(field+".value", "is no JSON, or longer than %d bytes", MaxFallback)
	}
	if f.Cached != nil && (f.Cached.MaxAge <= 0 || time.Duration(f.Cached.MaxAge) > 24*time.Hour) {
		bad(field+".cached.maxAge", "%s is not between 1ms and 24h", f.Cached.MaxAge)
	}
	if f.Else == nil {
		return
	}
	if f.Cached == nil || depth >= maxFallbackElse {
		bad(field+".else", "is for cached, at most %d deep", maxFallbackElse)
		return
	}
	f.Else.validate(field+".else", depth+1, bad)
}
