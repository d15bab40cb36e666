package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (d *Dubbo) validate(v *validation, vars []string) {
	const field = "upstream.dubbo"
	app(v, field+".app", d.App)
	if !isJavaName(d.Interface) || !strings.Contains(d.Interface, ".") {
		v.bad(field+".interface", "%q is no interface: write its full name, such as org.example.shop.InventoryService", d.Interface)
	}
	if !isJavaName(d.Method) || strings.Contains(d.Method, ".") {
		v.bad(field+".method", "%q is no name of a method", d.Method)
	}
	for what, s := range map[string]string{"group": d.Group, "version": d.Version} {
		if len(s) > MaxNameLength || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == ':' }) {
			v.bad(field+"."+what, "%q holds '/', ':', spaces or control characters, or is too long", s)
		}
	}
	if len(d.Args) > 0 && d.Message != nil {
		v.bad(field, "has both args and message: args are for Hessian methods, message for methods with an IDL")
	}
	if len(d.Args) > MaxArgs {
		v.bad(field+".args", "has more than %d arguments", MaxArgs)
	}
	for i, a := range d.Args {
		f := fmt.Sprintf("%s.args[%d]", field, i)
		if !IsJavaType(a.Type) {
			v.bad(f+".type", "%q is no Java type: write it in full, such as java.lang.String, int or java.util.List<java.lang.Long>", a.Type)
		}
		from(v, f+".from", a.From, vars)
		if a.Default != nil {
			switch {
			case len(a.Default) > MaxFallbackBody:
				v.bad(f+".default", "is longer than %d bytes", MaxFallbackBody)
			case !isJSON(a.Default):
				v.bad(f+".default", "is no JSON")
			case a.Optional:
				v.bad(f+".optional", "does nothing where there is a default: give one of them")
			}
		}
	}
	if m := d.Message; m != nil {
		if !m.Body && len(m.Fields) == 0 {
			v.bad(field+".message", "says nothing: give body or fields")
		}
		for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
			if !isJavaName(name) {
				v.bad(field+".message.fields", "%q is no name of a field", name)
			}
			from(v, field+".message.fields."+name, m.Fields[name], vars)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Attachments)) {
		f := field + ".attachments"
		if !isToken(name) {
			v.bad(f, "%q is no name of an attachment", name)
		}
		if header, ok := strings.CutPrefix(d.Attachments[name], "header."); !ok || !isToken(header) {
			v.bad(f+"."+name, "%q is no header: write header.NAME", d.Attachments[name])
		}
	}
}

// from checks where an argument comes from.
func from(v *validation, field, s string, vars []string) {
	where, name, named := strings.Cut(s, ".")
	if len(s) > MaxNameLength {
		v.bad(field, "is longer than %d bytes", MaxNameLength)
		return
	}
	switch {
	case where == "body" && !named:
		return
	case where == "body" && !slices.Contains(strings.Split(name, "."), ""):
		return
	case where == "query" && name != "":
		return
	case where == "header" && isToken(name):
		return
	case where == "path" && slices.Contains(vars, name):
		return
	case where == "path" && name != "":
		v.bad(field, "%s is no variable of match.path%s", name, among(vars))
	default:
		v.bad(field, "%q is none of path.NAME, query.NAME, header.NAME, body and body.FIELD", s)
	}
}

// isJavaName takes identifiers joined by dots.
func isJavaName(s string) bool {
	if s == "" || len(s) > 512 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || part[0] >= '0' && part[0] <= '9' || strings.ContainsFunc(part, func(r rune) bool {
			return r != '_' && r != '$' && !isLowerOrDigit(r) && (r < 'A' || r > 'Z') && r < 0x80
		}) {
			return false
		}
	}
	return true
}

// IsJavaType reports whether s is written as a Java type may be: a name,
// arguments in angle brackets, which may be wildcards, and brackets of arrays.
func IsJavaType(s string) bool {
	rest, ok := javaType(s, 0)
	return ok && rest == "" && len(s) <= 512
}

func javaType(s string, depth int) (rest string, ok bool) {
	if depth > 16 {
		return s, false
	}
	s = strings.TrimLeft(s, " ")
	if after, wild := strings.CutPrefix(s, "?"); wild && depth > 0 {
		after = strings.TrimLeft(after, " ")
		for _, bound := range []string{"extends ", "super "} {
			if b, ok := strings.CutPrefix(after, bound); ok {
				return javaType(b, depth+1)
			}
		}
		return after, true
	}
	end := strings.IndexAny(s, "<>[], ")
	if end < 0 {
		end = len(s)
	}
	if !isJavaName(s[:end]) {
		return s, false
	}
	s = strings.TrimLeft(s[end:], " ")
	if strings.HasPrefix(s, "<") {
		for more := true; more; more = strings.HasPrefix(s, ",") {
			if s, ok = javaType(s[1:], depth+1); !ok {
				return s, false
			}
			s = strings.TrimLeft(s, " ")
		}
		if !strings.HasPrefix(s, ">") {
			return s, false
		}
		s = strings.TrimLeft(s[1:], " ")
	}
	for strings.HasPrefix(s, "[]") {
		s = s[2:]
	}
	if depth == 0 && strings.TrimSpace(s) != "" {
		return s, false
	}
	return s, true
}
