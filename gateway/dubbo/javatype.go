package dubbo

import (
	"fmt"
	"strings"
)

// kind is how a value of a Java type is read and written.
type kind int

const (
	kindObject kind = iota // by what the JSON is
	kindPojo
	kindEnum
	kindString
	kindChar
	kindBool
	kindByte
	kindShort
	kindInt
	kindLong
	kindFloat
	kindDouble
	kindBigDecimal
	kindBigInteger
	kindDate
	kindSQLDate
	kindLocalDate
	kindLocalTime
	kindLocalDateTime
	kindInstant
	kindBytes
	kindList
	kindMap
)

// javaType is the type of an argument, taken apart.
type javaType struct {
	kind kind
	// name is the type as Java's reflection knows it, without type arguments.
	name      string
	primitive bool // cannot be null
	// elem is the type of a list's elements or a map's values, key that of a
	// map's keys.
	elem, key *javaType
}

const maxTypeDepth = 16

var simpleTypes = map[string]javaType{
	"boolean": {kind: kindBool, primitive: true},
	"byte":    {kind: kindByte, primitive: true},
	"short":   {kind: kindShort, primitive: true},
	"int":     {kind: kindInt, primitive: true},
	"long":    {kind: kindLong, primitive: true},
	"float":   {kind: kindFloat, primitive: true},
	"double":  {kind: kindDouble, primitive: true},
	"char":    {kind: kindChar, primitive: true},

	"java.lang.Boolean":       {kind: kindBool},
	"java.lang.Byte":          {kind: kindByte},
	"java.lang.Short":         {kind: kindShort},
	"java.lang.Integer":       {kind: kindInt},
	"java.lang.Long":          {kind: kindLong},
	"java.lang.Float":         {kind: kindFloat},
	"java.lang.Double":        {kind: kindDouble},
	"java.lang.Character":     {kind: kindChar},
	"java.lang.String":        {kind: kindString},
	"java.lang.CharSequence":  {kind: kindString},
	"java.lang.Object":        {kind: kindObject},
	"java.lang.Number":        {kind: kindObject},
	"java.io.Serializable":    {kind: kindObject},
	"java.math.BigDecimal":    {kind: kindBigDecimal},
	"java.math.BigInteger":    {kind: kindBigInteger},
	"java.util.Date":          {kind: kindDate},
	"java.sql.Date":           {kind: kindSQLDate},
	"java.sql.Time":           {kind: kindSQLDate},
	"java.sql.Timestamp":      {kind: kindSQLDate},
	"java.time.LocalDate":     {kind: kindLocalDate},
	"java.time.LocalTime":     {kind: kindLocalTime},
	"java.time.LocalDateTime": {kind: kindLocalDateTime},
	"java.time.Instant":       {kind: kindInstant},
}

var listTypes = map[string]bool{
	"java.util.List": true, "java.util.ArrayList": true, "java.util.LinkedList": true, "java.util.Collection": true,
	"java.lang.Iterable": true, "java.util.Set": true, "java.util.HashSet": true, "java.util.LinkedHashSet": true,
	"java.util.SortedSet": true, "java.util.TreeSet": true, "java.util.Queue": true, "java.util.Deque": true,
}

var mapTypes = map[string]bool{
	"java.util.Map": true, "java.util.HashMap": true, "java.util.LinkedHashMap": true, "java.util.SortedMap": true,
	"java.util.TreeMap": true, "java.util.NavigableMap": true, "java.util.concurrent.ConcurrentMap": true,
	"java.util.concurrent.ConcurrentHashMap": true,
}

// parseType reads a Java type: "int", "java.lang.String[]",
// "java.util.Map<java.lang.String, java.util.List<java.lang.Long>>",
// "org.example.shop.Buyer", "enum org.example.shop.Color".
func parseType(text string) (*javaType, error) {
	if len(text) > 1024 {
		return nil, fmt.Errorf("the type is longer than 1024 bytes")
	}
	p := typeParser{text: text, rest: strings.TrimSpace(text)}
	t, err := p.parse(0)
	if err == nil && p.rest != "" {
		err = fmt.Errorf("%q is no Java type: nothing may follow at %q", text, p.rest)
	}
	return t, err
}

type typeParser struct{ text, rest string }

func (p *typeParser) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok {
		p.rest = strings.TrimLeft(rest, " ")
	}
	return ok
}

func (p *typeParser) parse(depth int) (*javaType, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("%q is nested deeper than %d", p.text, maxTypeDepth)
	}
	if p.skip("?") { // a wildcard
		if !p.skip("extends ") && !p.skip("super ") {
			return &javaType{kind: kindObject, name: "java.lang.Object"}, nil
		}
	}
	enum := p.skip("enum ")
	n := 0
	for n < len(p.rest) && (isIdentByte(p.rest[n]) || p.rest[n] == '.') {
		n++
	}
	name := p.rest[:n]
	p.rest = strings.TrimLeft(p.rest[n:], " ")
	t, err := p.named(name, enum)
	if err != nil {
		return nil, err
	}
	var args []*javaType
	if p.skip("<") {
		for {
			arg, err := p.parse(depth + 1)
			if err != nil {
				return nil, err
			}
			if arg.primitive {
				return nil, fmt.Errorf("%q: a type argument cannot be %s, use its class", p.text, arg.name)
			}
			args = append(args, arg)
			if p.skip(">") {
				break
			}
			if !p.skip(",") {
				return nil, fmt.Errorf("%q is no Java type: a ',' or '>' is missing at %q", p.text, p.rest)
			}
		}
	}
	if err := t.apply(args); err != nil {
		return nil, fmt.Errorf("%q: %w", p.text, err)
	}
	for p.skip("[") {
		if !p.skip("]") {
			return nil, fmt.Errorf("%q is no Java type: a ']' is missing", p.text)
		}
		if depth++; depth > maxTypeDepth {
			return nil, fmt.Errorf("%q is nested deeper than %d", p.text, maxTypeDepth)
		}
		if t.kind == kindByte && t.primitive {
			t = &javaType{kind: kindBytes, name: "byte[]"}
			continue
		}
		t = &javaType{kind: kindList, name: t.name + "[]", elem: t}
	}
	return t, nil
}

func isIdentByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$'
}

// named returns the type of a name without type arguments.
func (p *typeParser) named(name string, enum bool) (*javaType, error) {
	if t, ok := simpleTypes[name]; ok {
		if enum {
			return nil, fmt.Errorf("%q: %s is no enum", p.text, name)
		}
		t.name = name
		return &t, nil
	}
	object := func() *javaType { return &javaType{kind: kindObject, name: "java.lang.Object"} }
	switch {
	case listTypes[name]:
		return &javaType{kind: kindList, name: name, elem: object()}, nil
	case mapTypes[name]:
		return &javaType{kind: kindMap, name: name, key: object(), elem: object()}, nil
	}
	parts := strings.Split(name, ".")
	for _, part := range parts {
		if part == "" || part[0] >= '0' && part[0] <= '9' {
			return nil, fmt.Errorf("%q is no Java type: write it as Java does, such as int, java.lang.String or org.example.shop.Buyer", p.text)
		}
	}
	if len(parts) == 1 {
		for _, full := range []string{"java.lang.", "java.util.", "java.math.", "java.time."} {
			if _, ok := simpleTypes[full+name]; ok || listTypes[full+name] || mapTypes[full+name] {
				return nil, fmt.Errorf("%q is no full name: write %s%s", p.text, full, name)
			}
		}
		return nil, fmt.Errorf("%q is neither a primitive type nor the full name of a class, such as org.example.shop.Buyer", p.text)
	}
	if parts[0] == "java" || parts[0] == "javax" {
		return nil, fmt.Errorf("%q: values of %s cannot be made from HTTP requests", p.text, name)
	}
	if enum {
		return &javaType{kind: kindEnum, name: name}, nil
	}
	return &javaType{kind: kindPojo, name: name}, nil
}

// apply gives a type its type arguments.
func (t *javaType) apply(args []*javaType) error {
	want := 0
	switch t.kind {
	case kindList:
		want = 1
	case kindMap:
		want = 2
	case kindPojo:
		return nil // its fields are the provider's to know
	}
	switch {
	case len(args) == 0:
		return nil
	case len(args) != want:
		return fmt.Errorf("%s has %d type arguments, not %d", t.name, want, len(args))
	case want == 1:
		t.elem = args[0]
	case want == 2:
		switch args[0].kind {
		case kindList, kindMap, kindBytes, kindPojo:
			return fmt.Errorf("keys of JSON objects are strings, which cannot become %s", args[0].name)
		}
		t.key, t.elem = args[0], args[1]
	}
	return nil
}

// fromText reports whether a value of the type can be had from a text, such as a
// path variable.
func (t *javaType) fromText() bool {
	return t.kind != kindMap && (t.kind != kindList || t.elem.kind != kindList && t.elem.fromText())
}

// expects says what JSON a value of the type is made from.
func (t *javaType) expects() string {
	switch t.kind {
	case kindPojo:
		return "a JSON object (" + t.name + ")"
	case kindEnum:
		return "a string, one of the names of " + t.name
	case kindString:
		return "a string"
	case kindChar:
		return "a string of one character"
	case kindBool:
		return "true or false"
	case kindByte:
		return "a whole number from -128 to 127"
	case kindShort:
		return "a whole number from -32768 to 32767"
	case kindInt:
		return "a whole number of 32 bits"
	case kindLong:
		return "a whole number of 64 bits"
	case kindFloat, kindDouble:
		return "a number"
	case kindBigDecimal:
		return "a number, or a string that holds one"
	case kindBigInteger:
		return "a whole number, or a string that holds one"
	case kindDate, kindSQLDate, kindInstant:
		return "a date such as \"2026-11-20T15:04:05Z\", or milliseconds since 1970"
	case kindLocalDate:
		return "a date such as \"2026-11-20\""
	case kindLocalTime:
		return "a time such as \"15:04:05\""
	case kindLocalDateTime:
		return "a time such as \"2026-11-20T15:04:05\""
	case kindBytes:
		return "a string of base64"
	case kindList:
		return "a list"
	case kindMap:
		return "an object"
	}
	return "a JSON value"
}
