package api_test

import (
	"strings"
	"testing"
)

func TestTheDescriptionIsWhole(t *testing.T) {
	t.Parallel()
	f := start(t)
	var doc struct {
		OpenAPI    string                               `json:"openapi"`
		Paths      map[string]map[string]map[string]any `json:"paths"`
		Components struct {
			Schemas map[string]struct {
				Properties map[string]map[string]any `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	f.do("GET", "/openapi.json", "").into(t, &doc)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	operations := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			operations++
			if op["summary"] == nil || op["description"] == nil || op["operationId"] == nil {
				t.Errorf("%s %s is not described", method, path)
			}
			if body, ok := op["requestBody"].(map[string]any); ok {
				media := body["content"].(map[string]any)["application/json"].(map[string]any)
				if media["schema"] == nil || media["example"] == nil {
					t.Errorf("%s %s: the body has no schema or no example", method, path)
				}
			}
		}
	}
	if operations != 10 {
		t.Errorf("%d operations are described", operations)
	}
	for name, s := range doc.Components.Schemas {
		if !strings.HasPrefix(name, "Gateway") {
			continue
		}
		for field, p := range s.Properties {
			if p["description"] == nil && p["$ref"] == nil {
				t.Errorf("%s.%s is not described", name, field)
			}
		}
	}
}
