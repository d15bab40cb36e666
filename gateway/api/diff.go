package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/weirmesh/weir/gateway"
)

// What becomes of a route.
const (
	Create = "create"
	Update = "update"
	Remove = "delete"
	None   = "none" // what was written is what is there
)

// Change is what becomes of one route.
type Change struct {
	Key    gateway.Key `json:"route"`
	Action string      `json:"action" enum:"create,update,delete,none" doc:"What becomes of the route; none when it is already as written."`
	// Before is the revision that is replaced; 0 for none.
	Before gateway.Revision `json:"before,omitempty" doc:"The revision that is replaced."`
	Fields []Field          `json:"fields,omitempty" doc:"What differs, of an update."`
}

// Field is one difference between two documents.
type Field struct {
	Field  string          `json:"field" example:"filters[1].retry.attempts"`
	Before json.RawMessage `json:"before,omitempty" doc:"Missing for what is new."`
	After  json.RawMessage `json:"after,omitempty" doc:"Missing for what goes away."`
}

// differences returns where two routes differ, in the order of the document's
// names.
func differences(before, after gateway.Route) []Field {
	var out []Field
	diff(&out, "", tree(before), tree(after))
	return out
}

func tree(r gateway.Route) any {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // as written, also beyond what a float64 holds
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

// missing stands for a member that is not there; null is a value.
type missing struct{}

func diff(out *[]Field, field string, a, b any) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			names := map[string]bool{}
			for k := range x {
				names[k] = true
			}
			for k := range y {
				names[k] = true
			}
			for _, k := range slices.Sorted(maps.Keys(names)) {
				name := k
				if field != "" {
					name = field + "." + k
				}
				diff(out, name, member(x, k), member(y, k))
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			for i := range max(len(x), len(y)) {
				diff(out, fmt.Sprintf("%s[%d]", field, i), element(x, i), element(y, i))
			}
			return
		}
	}
	before, after := text(a), text(b)
	if !bytes.Equal(before, after) {
		*out = append(*out, Field{Field: field, Before: before, After: after})
	}
}

func member(m map[string]any, k string) any {
	if v, ok := m[k]; ok {
		return v
	}
	return missing{}
}

func element(l []any, i int) any {
	if i < len(l) {
		return l[i]
	}
	return missing{}
}

func text(v any) json.RawMessage {
	if _, gone := v.(missing); gone {
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return raw
}
