package dubbo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/weirmesh/weir/gateway"
)

// defaultBodyLimit bounds a request's body where the route says nothing.
const defaultBodyLimit = 1 << 20

// maxArgs bounds the parameters of a method: Java has no more.
const maxArgs = 255

// place is where a source reads from.
type place int

const (
	fromPath place = iota
	fromQuery
	fromHeader
	fromBody
)

// source is a compiled "path.NAME", "query.NAME", "header.NAME", "body" or
// "body.a.b".
type source struct {
	place place
	name  string   // of a variable, query parameter or header
	path  []string // into the body; empty for all of it
	text  string   // as written
}

// argument is a compiled gateway.Arg.
type argument struct {
	typ      *javaType
	source   source
	def      json.RawMessage // nil for none
	optional bool
}

// field is a compiled entry of gateway.Message's fields.
type field struct {
	quoted []byte // the name as JSON, with its colon
	name   string
	source source
}

// mapping is how a request becomes the arguments of a call, compiled once per
// route. It is safe for concurrent use.
type mapping struct {
	args     []argument
	message  bool
	body     bool // the message is the request's body
	fields   []field
	needBody bool
	limit    int64

	types []string // of the parameters, as generic calls name them
}

func invalid(field, format string, args ...any) error {
	return &gateway.Error{Code: gateway.Invalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

// newMapping compiles what a route says of its arguments. Errors are a
// gateway.Error with code Invalid that names the field.
func newMapping(d *gateway.Dubbo, pattern string, limit int64) (*mapping, error) {
	m := &mapping{limit: limit, message: d.Message != nil}
	p, err := gateway.ParsePattern(pattern)
	if err != nil {
		var e *gateway.Error
		if errors.As(err, &e) {
			return nil, invalid("match.path", "%s", e.Message)
		}
		return nil, err
	}
	vars := p.Names()
	switch {
	case d.Message != nil && len(d.Args) > 0:
		return nil, invalid("upstream.dubbo.message", "a method has args or a message, not both")
	case len(d.Args) > maxArgs:
		return nil, invalid("upstream.dubbo.args", "%d arguments are more than a Java method can have", len(d.Args))
	}
	for i, a := range d.Args {
		at := fmt.Sprintf("upstream.dubbo.args[%d]", i)
		compiled, err := newArgument(a, at, vars)
		if err != nil {
			return nil, err
		}
		m.args = append(m.args, compiled)
		m.types = append(m.types, compiled.typ.name)
		m.needBody = m.needBody || compiled.source.place == fromBody
	}
	if d.Message != nil {
		m.body, m.needBody = d.Message.Body, d.Message.Body
		for name, from := range d.Message.Fields {
			at := "upstream.dubbo.message.fields." + name
			if name == "" {
				return nil, invalid("upstream.dubbo.message.fields", "a field has no name")
			}
			s, err := parseSource(from, at, vars)
			if err != nil {
				return nil, err
			}
			if s.place == fromBody && len(s.path) == 0 && m.body {
				return nil, invalid(at, "the whole body cannot be a field of itself")
			}
			quoted, err := json.Marshal(name)
			if err != nil {
				return nil, err
			}
			m.fields = append(m.fields, field{quoted: append(quoted, ':'), name: name, source: s})
			m.needBody = m.needBody || s.place == fromBody
		}
		slices.SortFunc(m.fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	}
	return m, nil
}

func newArgument(a gateway.Arg, at string, vars []string) (argument, error) {
	t, err := parseType(a.Type)
	if err != nil {
		return argument{}, invalid(at+".type", "%s", err)
	}
	s, err := parseSource(a.From, at+".from", vars)
	if err != nil {
		return argument{}, err
	}
	if s.place != fromBody && !t.fromText() {
		return argument{}, invalid(at+".from", "%s cannot be made from the text of %s: take it from the body", a.Type, a.From)
	}
	arg := argument{typ: t, source: s, optional: a.Optional}
	if len(a.Default) > 0 {
		if arg.optional {
			return argument{}, invalid(at+".default", "an argument has a default or is optional, not both")
		}
		if !json.Valid(a.Default) {
			return argument{}, invalid(at+".default", "is no JSON")
		}
		sc := scanner{b: a.Default}
		arg.def = slices.Clone(sc.raw())
		if bad := new(transcoder).json(t, arg.def); bad != nil {
			return argument{}, invalid(at+".default", "%s expects %s, got %s", a.Type, bad.want, bad.got)
		}
	}
	if arg.optional && t.primitive {
		return argument{}, invalid(at+".optional", "%s cannot be null: give a default", a.Type)
	}
	return arg, nil
}

func parseSource(text, at string, vars []string) (source, error) {
	s := source{text: text}
	kind, name, dotted := strings.Cut(text, ".")
	if dotted && name == "" {
		return s, invalid(at, "%q names nothing after its dot", text)
	}
	switch kind {
	case "body":
		s.place = fromBody
		if dotted {
			s.path = strings.Split(name, ".")
			if slices.Contains(s.path, "") {
				return s, invalid(at, "%q has an empty part", text)
			}
		}
		return s, nil
	case "path":
		s.place, s.name = fromPath, name
		if dotted && !slices.Contains(vars, name) {
			if len(vars) == 0 {
				return s, invalid(at, "the route's path has no variables, so %q has no value", text)
			}
			return s, invalid(at, "the route's path has no variable %q; it has %s", name, strings.Join(vars, ", "))
		}
	case "query":
		s.place, s.name = fromQuery, name
	case "header":
		s.place, s.name = fromHeader, textproto.CanonicalMIMEHeaderKey(name)
		if !isToken(name) {
			return s, invalid(at, "%q is no name of a header", name)
		}
	default:
		return s, invalid(at, "%q is no source: write path.NAME, query.NAME, header.NAME, body or body.FIELD", text)
	}
	if !dotted {
		return s, invalid(at, "%q names nothing: write %s.NAME", text, kind)
	}
	return s, nil
}

// isToken reports whether s may be the name of a header.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isIdentByte(c) && !strings.ContainsRune("!#%&'*+-.^`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// request is what a mapping reads from, taken apart as far as it needs.
type request struct {
	vars   gateway.Vars
	url    *url.URL
	query  url.Values // parsed on first use
	header http.Header
	body   []byte // valid JSON without spaces around it; empty for none
}

// values returns the texts of a source that is not the body.
func (r *request) values(s *source) ([]string, error) {
	switch s.place {
	case fromPath:
		for i := range r.vars {
			if r.vars[i].Name == s.name {
				return []string{r.vars[i].Value}, nil
			}
		}
		return nil, nil
	case fromQuery:
		if r.query == nil {
			q, err := url.ParseQuery(r.url.RawQuery)
			if err != nil {
				return nil, badRequest("the query string cannot be read: %v", err)
			}
			r.query = q
		}
		return r.query[s.name], nil
	default:
		return r.header[s.name], nil
	}
}

// readBody reads the request's JSON into b.
func (m *mapping) readBody(r *http.Request, b []byte) ([]byte, *callError) {
	if !m.needBody || r.Body == nil || r.Body == http.NoBody {
		return b, nil
	}
	if r.ContentLength > m.limit {
		return b, tooLarge(m.limit)
	}
	from := len(b)
	if n := r.ContentLength; n > 0 {
		b = slices.Grow(b, int(n)+1)
	}
	for {
		if len(b) == cap(b) {
			b = slices.Grow(b, 4096)
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)-from) > m.limit {
			return b, tooLarge(m.limit)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				return b, tooLarge(large.Limit)
			}
			return b, badRequest("the body cannot be read: it ends too early")
		}
	}
	if len(b) == from {
		return b, nil
	}
	if ct := r.Header["Content-Type"]; len(ct) > 0 && ct[0] != "application/json" {
		media, _, err := mime.ParseMediaType(ct[0])
		if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
			return b, problem(http.StatusUnsupportedMediaType, kindBadArgument, "the body is %s: send application/json", shorten(ct[0]))
		}
	}
	if !json.Valid(b[from:]) {
		return b, badRequest("the body is no JSON")
	}
	return b, nil
}

// encode appends the call's arguments, as Hessian's Object[], to e.
func (m *mapping) encode(e *transcoder, r *request) *callError {
	e.b = appendListHeader(e.b, "[object", len(m.args))
	for i := range m.args {
		if p := m.args[i].encode(e, r, i); p != nil {
			return p
		}
	}
	return nil
}

func (a *argument) encode(e *transcoder, r *request, i int) *callError {
	var bad *mismatch
	if a.source.place == fromBody {
		raw := lookup(r.body, a.source.path)
		if len(raw) == 0 || raw[0] == 'n' && a.def != nil {
			return a.absent(e, i)
		}
		bad = e.json(a.typ, raw)
	} else {
		values, err := r.values(&a.source)
		if err != nil {
			var p *callError
			if errors.As(err, &p) {
				return p
			}
			return badRequest("%v", err)
		}
		switch {
		case len(values) == 0:
			return a.absent(e, i)
		case a.typ.kind == kindList:
			e.b = appendListHeader(e.b, "", len(values))
			for j, v := range values {
				if bad = e.text(a.typ.elem, v); bad != nil {
					bad.below(fmt.Sprintf("[%d]", j))
					break
				}
			}
		case len(values) > 1:
			bad = &mismatch{want: "one value", got: fmt.Sprint(len(values))}
		default:
			bad = e.text(a.typ, values[0])
		}
	}
	if bad != nil {
		return a.problem(i, bad)
	}
	return nil
}

func (a *argument) absent(e *transcoder, i int) *callError {
	switch {
	case a.def != nil:
		if bad := e.json(a.typ, a.def); bad != nil {
			return a.problem(i, bad)
		}
	case a.optional:
		e.b = appendNull(e.b)
	default:
		return a.problem(i, &mismatch{want: a.typ.expects(), got: "nothing"})
	}
	return nil
}

func (a *argument) problem(i int, bad *mismatch) *callError {
	p := badRequest("argument %d (%s) from %s: %s", i+1, a.typ.name, a.source.text+bad.at, bad.says())
	p.Errors = []wrongPart{{Location: a.source.text + bad.at, Message: bad.says()}}
	return p
}

// encodeMessage appends the JSON of a message to b.
func (m *mapping) encodeMessage(b []byte, r *request) ([]byte, *callError) {
	body := r.body
	if m.body && len(body) > 0 && body[0] != '{' {
		return b, badRequest("the body has to be a JSON object, got %s", describe(body))
	}
	if len(m.fields) == 0 {
		if !m.body || len(body) == 0 {
			return append(b, "{}"...), nil
		}
		return append(b, body...), nil
	}
	b = append(b, '{')
	from := len(b)
	if m.body && len(body) > 0 {
		err := fields(body, func(key, value []byte) error {
			for i := range m.fields {
				if isName(key, m.fields[i].name) {
					return nil // put over
				}
			}
			if len(b) > from {
				b = append(b, ',')
			}
			b = append(append(append(b, key...), ':'), value...)
			return nil
		})
		if err != nil {
			return b, badRequest("the body is no JSON")
		}
	}
	for i := range m.fields {
		f := &m.fields[i]
		value := lookup(body, f.source.path)
		if f.source.place != fromBody {
			values, err := r.values(&f.source)
			if err != nil {
				return b, badRequest("the query string cannot be read")
			}
			switch len(values) {
			case 0:
				value = nil
			case 1:
				value = append(appendEscaped([]byte{'"'}, values[0]), '"')
			default:
				value = []byte{'['}
				for j, v := range values {
					if j > 0 {
						value = append(value, ',')
					}
					value = append(appendEscaped(append(value, '"'), v), '"')
				}
				value = append(value, ']')
			}
		}
		if len(value) == 0 {
			continue // protobuf has a value for what is left out
		}
		if len(b) > from {
			b = append(b, ',')
		}
		b = append(append(b, f.quoted...), value...)
	}
	return append(b, '}'), nil
}
