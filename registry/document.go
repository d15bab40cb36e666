package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MaxDocument bounds a metadata document that is read, in bytes: far above any
// real one, far below what would hurt the process that reads it.
const MaxDocument = 4 << 20

// Document is what was found out of a revision's metadata document.
type Document struct {
	Offers []Offer
	// Err is why it could not be read; then it offers nothing that is known.
	Err error
}

// ReadDocument reads a metadata document from a store.
func ReadDocument(ctx context.Context, store MetadataStore, app App, revision string) Document {
	raw, err := store.Metadata(ctx, app, revision)
	if err != nil {
		return Document{Err: err}
	}
	offers, err := DecodeDocument(raw)
	return Document{Offers: offers, Err: err}
}

// Offer is one interface as a metadata document offers it over one protocol.
type Offer struct {
	Interface
	// Protocol is empty where the document leaves it out.
	Protocol string
	// Port and Path are where an instance offers it, as far as the document says; 0 and
	// empty where it does not.
	Port uint16
	Path string
	// Serialization is how its parameters are written; empty where it is not named.
	Serialization string
	// Weight is the share of calls that the service names itself; nil where it names
	// none. See Instance.WeightOf.
	Weight *int
	// Methods are those of the document's method schema, overloads apart; none
	// where it has no schema.
	Methods []Method
	// Names are the methods that the document names without a schema, sorted, each
	// once; none where it names none, or any.
	Names []string
}

// Method is one method of a method schema.
type Method struct {
	Name       string   `json:"name"`
	Parameters []string `json:"parameterTypes"` // as their language writes types
}

// String returns "reserve(java.lang.String, int)".
func (m Method) String() string { return m.Name + "(" + strings.Join(m.Parameters, ", ") + ")" }

// DecodeDocument reads what a metadata document offers, as written by Weir,
// dubbo-go or Dubbo Java, sorted by the keys it is written under. What names no
// interface is left out.
func DecodeDocument(document []byte) ([]Offer, error) {
	if len(document) > MaxDocument {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(document), MaxDocument)
	}
	// Methods is the schema that Dubbo Java's service definitions have; documents
	// of dubbo-go name the methods alone, in Params.
	var d struct {
		Services map[string]struct {
			Name     string            `json:"name"`
			Group    string            `json:"group"`
			Version  string            `json:"version"`
			Protocol string            `json:"protocol"`
			Port     int               `json:"port"`
			Path     string            `json:"path"`
			Params   map[string]string `json:"params"`
			Methods  []Method          `json:"methods"`
		} `json:"services"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, fmt.Errorf("it is not readable: %w", err)
	}
	out := make([]Offer, 0, len(d.Services))
	for _, key := range slices.Sorted(maps.Keys(d.Services)) {
		s := d.Services[key]
		if s.Name == "" {
			continue
		}
		o := Offer{Interface: Interface{Name: s.Name, Group: s.Group, Version: s.Version}, Protocol: s.Protocol, Methods: s.Methods, Path: s.Path, Serialization: s.Params["serialization"]}
		if s.Port > 0 && s.Port <= 65535 {
			o.Port = uint16(s.Port)
		}
		if weight, named := DubboWeight(s.Params); named {
			o.Weight = &weight
		}
		if listed := s.Params["methods"]; listed != "" && listed != "*" {
			o.Names = strings.Split(listed, ",")
			slices.Sort(o.Names)
			o.Names = slices.Compact(o.Names)
		}
		out = append(out, o)
	}
	return out, nil
}
