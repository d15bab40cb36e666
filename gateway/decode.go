package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DecodeRoutes reads one route, or a list of them, from JSON as strictly as
// Decode. Fields of a list's errors begin with the element, "[2].match.path". It
// does not validate the routes.
func DecodeRoutes(data []byte) ([]Route, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		var many []Route
		if err := Decode(data, &many); err != nil {
			return nil, err
		}
		return many, nil
	}
	var one Route
	if err := Decode(data, &one); err != nil {
		return nil, err
	}
	return []Route{one}, nil
}

// Decode reads one JSON document into what a pointer points to and refuses what
// encoding/json would pass over: fields that are unknown, spelled in another
// case or given twice, text that is no UTF-8, and anything after the document.
// It returns everything that is wrong, as Validate does. What it points to is
// undefined after an error.
func Decode(data []byte, into any) error {
	var v validation
	switch {
	case !utf8.Valid(data):
		v.bad("", "the document is no UTF-8")
	case len(bytes.TrimSpace(data)) == 0:
		v.bad("", "the document is empty")
	default:
		if err := wellFormed(data); err != nil {
			v.bad("", "the document is no JSON: %s", err)
			break
		}
		v.value(data, reflect.ValueOf(into).Elem(), "")
	}
	return v.err()
}

// wellFormed says what is wrong with a document as such, and where.
func wellFormed(data []byte) error {
	if json.Valid(data) {
		return nil
	}
	var ignored json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&ignored)
	at := dec.InputOffset()
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	case err == nil:
		err = errors.New("something follows after its end")
	}
	before := data[:min(int64(len(data)), max(0, at))]
	return fmt.Errorf("line %d: %w", 1+bytes.Count(before, []byte("\n")), err)
}

// DecodeStored reads the document of a route as a store keeps it. What it does
// not understand it tells as Version.Unreadable has it, and returns a route that
// has its key only: a field that is not known here, written by a newer program,
// may well be the one that keeps strangers out. It is several times faster than
// Decode, which whoever writes routes goes through.
func DecodeStored(key Key, document []byte) (route Route, unreadable string) {
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.DisallowUnknownFields()
	err := dec.Decode(&route)
	if err == nil && route.Key() == key {
		return route, ""
	}
	if err == nil {
		unreadable = fmt.Sprintf("the document is of route %s", route.Key())
	} else if strict := Decode(document, new(Route)); strict != nil {
		unreadable = strict.Error() // names the field
	} else {
		unreadable = err.Error()
	}
	return Route{Namespace: key.Namespace, Name: key.Name}, unreadable
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// value decodes well-formed JSON.
func (v *validation) value(data json.RawMessage, into reflect.Value, field string) {
	data = bytes.TrimSpace(data)
	if reflect.PointerTo(into.Type()).Implements(unmarshaler) {
		v.leaf(data, into, field)
		return
	}
	null := string(data) == "null"
	switch into.Kind() {
	case reflect.Pointer:
		if !null {
			into.Set(reflect.New(into.Type().Elem()))
			v.value(data, into.Elem(), field)
		}
	case reflect.Struct:
		v.object(data, into, field)
	case reflect.Map:
		if null {
			return
		}
		into.Set(reflect.MakeMap(into.Type()))
		v.members(data, field, func(key string, raw json.RawMessage) {
			elem := reflect.New(into.Type().Elem()).Elem()
			v.value(raw, elem, join(field, key))
			into.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), elem)
		})
	case reflect.Slice:
		if null {
			return
		}
		var list []json.RawMessage
		if json.Unmarshal(data, &list) != nil {
			v.bad(field, "%.40s is no list", data)
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
		for i, raw := range list {
			v.value(raw, into.Index(i), field+"["+strconv.Itoa(i)+"]")
		}
	default:
		v.leaf(data, into, field)
	}
}

func (v *validation) leaf(data json.RawMessage, into reflect.Value, field string) {
	err := json.Unmarshal(data, into.Addr().Interface())
	if err == nil {
		return
	}
	var own *Error
	if errors.As(err, &own) {
		v.bad(field, "%s", own.Message)
		return
	}
	what := into.Type().String()
	switch into.Kind() {
	case reflect.String:
		what = "string: put it in quotes"
	case reflect.Int, reflect.Int64:
		what = "whole number in range"
	case reflect.Float64:
		what = "number"
	case reflect.Bool:
		what = "true or false"
	}
	v.bad(field, "%.40s is no %s", data, what)
}

func (v *validation) object(data json.RawMessage, into reflect.Value, field string) {
	fields := map[string]int{}
	var names []string
	for i := range into.NumField() {
		name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = i
			names = append(names, name)
		}
	}
	v.members(data, field, func(key string, raw json.RawMessage) {
		i, known := fields[key]
		switch {
		case !known:
			v.bad(join(field, key), "is no field: %s", suggest(key, names))
		case string(raw) == "null" && !reflect.PointerTo(into.Field(i).Type()).Implements(unmarshaler):
			// Not given, as encoding/json has it.
		default:
			v.value(raw, into.Field(i), join(field, key))
		}
	})
}

// members calls one for each member of an object.
func (v *validation) members(data json.RawMessage, field string, one func(string, json.RawMessage)) {
	if data[0] != '{' {
		v.bad(field, "%.40s is no object of named fields", data)
		return
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	_, _ = dec.Token() // the brace; data is well formed
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		key, ok := token.(string)
		var raw json.RawMessage
		if err == nil && ok {
			err = dec.Decode(&raw)
		}
		if err != nil || !ok {
			v.bad(field, "is nested too deeply")
			return
		}
		if seen[key] {
			v.bad(join(field, key), "is given twice")
			continue
		}
		seen[key] = true
		one(key, raw)
	}
}

func join(field, name string) string {
	const longest = 64
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "") + "…"
	}
	if field == "" {
		return name
	}
	return field + "." + name
}

// suggest names the field that was probably meant, or all there are.
func suggest(have string, names []string) string {
	best, distance := "", min(len(have), max(2, len(have)/3)+1)
	for _, n := range names {
		if strings.EqualFold(n, have) {
			return "write " + n
		}
		if len(have) > 64 {
			continue
		}
		if d := editDistance(have, n); d < distance {
			best, distance = n, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "there are " + strings.Join(names, ", ")
}

// editDistance counts the insertions, deletions and replacements between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
