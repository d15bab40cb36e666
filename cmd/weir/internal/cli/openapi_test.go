package cli_test

import (
	"encoding/json"
	"testing"

	"sigs.k8s.io/yaml"
)

// Both forms hold one document, and standard output holds nothing else.
func TestOpenAPIIsPrintedInBothForms(t *testing.T) {
	for format, read := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(raw []byte, into any) error { return yaml.Unmarshal(raw, into) },
	} {
		code, out, errs := do(t, nil, "openapi", "-o", format)
		if code != 0 || errs != "" {
			t.Fatalf("%s: %d, %s", format, code, errs)
		}
		var doc struct {
			OpenAPI string                    `json:"openapi"`
			Paths   map[string]map[string]any `json:"paths"`
		}
		if err := read([]byte(out), &doc); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if doc.OpenAPI != "3.1.0" || doc.Paths["/api/v1/traces"]["get"] == nil {
			t.Errorf("%s: OpenAPI %q with %d paths", format, doc.OpenAPI, len(doc.Paths))
		}
	}
}
