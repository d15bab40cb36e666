package routefile

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of one document, whose aliases could else make it grow without end.
const (
	maxDepth = 100
	maxNodes = 200_000
)

// writer writes a YAML node as JSON, and remembers on which line each field
// stands. Keys given twice are written twice: who reads the JSON refuses them.
type writer struct {
	file  string
	out   bytes.Buffer
	lines map[string]int
	nodes int
	errs  []error
}

func (w *writer) bad(n *yaml.Node, message string) {
	w.errs = append(w.errs, &Error{w.file, n.Line, message})
	w.out.WriteString("null")
}

// line returns where a field stands, or else the nearest one around it.
func (w *writer) line(field string, otherwise int) int {
	for field != "" {
		if line, ok := w.lines[field]; ok {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return otherwise
}

func (w *writer) value(n *yaml.Node, field string, depth int) {
	if w.nodes++; w.nodes > maxNodes || depth > maxDepth {
		if len(w.errs) == 0 {
			w.bad(n, "the document is too large or too deep")
		}
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		w.mapping(n, field, depth)
	case yaml.SequenceNode:
		w.out.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				w.out.WriteByte(',')
			}
			at := field + "[" + strconv.Itoa(i) + "]"
			w.lines[at] = c.Line
			w.value(c, at, depth+1)
		}
		w.out.WriteByte(']')
	case yaml.AliasNode:
		w.value(n.Alias, field, depth+1)
	case yaml.ScalarNode:
		w.scalar(n)
	default:
		w.bad(n, "this is no part of a route")
	}
}

func (w *writer) mapping(n *yaml.Node, field string, depth int) {
	w.out.WriteByte('{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		if i > 0 {
			w.out.WriteByte(',')
		}
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			w.bad(key, "the name of a field is a string")
			return
		case key.Tag == "!!merge":
			w.bad(key, "a merge (<<) is not understood here: write the fields out")
			return
		}
		at := key.Value
		if field != "" {
			at = field + "." + key.Value
		}
		w.lines[at] = key.Line
		w.text(key.Value)
		w.out.WriteByte(':')
		w.value(value, at, depth+1)
	}
	w.out.WriteByte('}')
}

func (w *writer) text(s string) {
	raw, err := json.Marshal(s)
	if err != nil {
		raw = []byte(`""`) // strings always can be written
	}
	w.out.Write(raw)
}

func (w *writer) scalar(n *yaml.Node) {
	switch n.ShortTag() {
	case "!!null":
		w.out.WriteString("null")
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			w.bad(n, n.Value+" cannot be read")
			return
		}
		if f, ok := v.(float64); ok {
			if math.IsInf(f, 0) || math.IsNaN(f) {
				w.bad(n, n.Value+" is no number that JSON has")
				return
			}
			// As it was written, which JSON may take for exact.
			if json.Valid([]byte(n.Value)) {
				w.out.WriteString(n.Value)
				return
			}
		}
		raw, err := json.Marshal(v)
		if err != nil {
			w.bad(n, n.Value+" cannot be read")
			return
		}
		w.out.Write(raw)
	case "!!str", "!!timestamp":
		w.text(n.Value)
	default:
		w.bad(n, "the type "+n.Tag+" is not understood here")
	}
}
