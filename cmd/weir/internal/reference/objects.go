package reference

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/weirmesh/weir/deploy"
)

// definition is the part of a CustomResourceDefinition that the page tells.
type definition struct {
	Kind string `json:"kind"`
	Spec struct {
		Group string `json:"group"`
		Scope string `json:"scope"`
		Names struct {
			Kind       string   `json:"kind"`
			Plural     string   `json:"plural"`
			ShortNames []string `json:"shortNames"`
			Categories []string `json:"categories"`
		} `json:"names"`
		Versions []struct {
			Name    string `json:"name"`
			Columns []struct {
				Name        string `json:"name"`
				Path        string `json:"jsonPath"`
				Description string `json:"description"`
				Priority    int    `json:"priority"`
			} `json:"additionalPrinterColumns"`
			Schema struct {
				Root *field `json:"openAPIV3Schema"`
			} `json:"schema"`
		} `json:"versions"`
	} `json:"spec"`
}

// field is a field's schema.
type field struct {
	Description   string            `json:"description"`
	Type          string            `json:"type"`
	Format        string            `json:"format"`
	Enum          []any             `json:"enum"`
	MinLength     *int64            `json:"minLength"`
	MaxLength     *int64            `json:"maxLength"`
	Minimum       *float64          `json:"minimum"`
	MaxProperties *int64            `json:"maxProperties"`
	Required      []string          `json:"required"`
	Properties    map[string]*field `json:"properties"`
	Values        *field            `json:"additionalProperties"`
	Items         *field            `json:"items"`
	Rules         []struct {
		Message    string `json:"message"`
		Expression string `json:"messageExpression"`
		FieldPath  string `json:"fieldPath"`
	} `json:"x-kubernetes-validations"`
}

// objectsPage tells Weir's own kinds of objects, the events by which owners are told
// of mistakes, and the parameters of Dubbo's URLs that the registry reads and sets.
func objectsPage(root string) (string, error) {
	p := newPage("Objects of the registry", `Weir's own kinds of objects in a cluster, the events that it writes about others' objects, and the parameters
of Dubbo's URLs that its registry reads and sets. Annotations and labels have [a page of their own](annotations.md);
[registry.md](../registry.md) says what becomes of them all.

`+"`weir manifests`"+` writes the definitions. What a control plane writes into `+"`status`"+` is for people; nothing reads it
but the deletion of old AppMetadata.`)
	for _, m := range deploy.Manifests() {
		var d definition
		if err := yaml.Unmarshal(m.YAML, &d); err != nil {
			return "", fmt.Errorf("%s: %w", m.File, err)
		}
		if d.Kind != "CustomResourceDefinition" {
			continue
		}
		if err := d.tell(p); err != nil {
			return "", fmt.Errorf("%s: %w", m.File, err)
		}
	}
	kube, err := read(root, "registry/kube")
	if err != nil {
		return "", err
	}
	reasons, err := kube.constants(func(c constant) bool { return strings.HasPrefix(c.name, "Reason") })
	if err != nil {
		return "", err
	}
	p.heading(2, "Events")
	p.text("Warnings on pods and Services, by control planes (`--upkeep`); `kubectl describe` shows them. One that holds on is told again after an hour, when Kubernetes has forgotten it.")
	p.table([]string{"Reason", ""}, rows(reasons))
	dubbo, err := read(root, "registry/dubbo")
	if err != nil {
		return "", err
	}
	p.heading(2, "Parameters of Dubbo's URLs")
	for _, section := range []struct{ group, title string }{
		{"Parameters of a reference that the registry reads.", "Of a reference, read: `client.WithParam`, or the option named."},
		{"Parameters that the registry sets on the URL of an instance.", "Of an instance's URL, set; beside them stand those of the service's own metadata."},
	} {
		params, err := dubbo.constants(func(c constant) bool { return c.group == section.group })
		if err != nil {
			return "", fmt.Errorf("%s: %w", section.group, err)
		}
		p.text(section.title)
		p.table([]string{"Parameter", ""}, rows(params))
	}
	return p.String(), nil
}

// tell writes one kind.
func (d *definition) tell(p *page) error {
	n := d.Spec.Names
	p.heading(2, n.Kind)
	for _, v := range d.Spec.Versions {
		p.text(v.Schema.Root.Description)
		p.text(fmt.Sprintf("`%s/%s`, %s; `kubectl get %s` (or `%s`, or with the others `%s`).",
			d.Spec.Group, v.Name, strings.ToLower(d.Spec.Scope), n.Plural, strings.Join(n.ShortNames, "`, `"), strings.Join(n.Categories, "`, `")))
		var fields, refusals [][]string
		for _, part := range []string{"spec", "status"} {
			f := v.Schema.Root.Properties[part]
			if f == nil {
				return fmt.Errorf("%s has no %s", n.Kind, part)
			}
			if err := f.tell(part, slices.Contains(v.Schema.Root.Required, part), &fields, &refusals); err != nil {
				return err
			}
		}
		for _, r := range v.Schema.Root.Rules {
			refusals = append(refusals, []string{word(strings.TrimPrefix(r.FieldPath, ".")), refusal(r.Message, r.Expression)})
		}
		p.table([]string{"Field", "Type", "", ""}, fields)
		p.text("Refused by the API server, beside what does not fit the types:")
		p.table([]string{"Field", "It says"}, refusals)
		var columns [][]string
		for _, c := range v.Columns {
			name := c.Name
			if c.Priority > 0 {
				name += " (`-o wide`)"
			}
			columns = append(columns, []string{name, word(c.Path), cell(c.Description)})
		}
		p.text("Columns:")
		p.table([]string{"Column", "Of", ""}, columns)
	}
	return nil
}

// tell writes a field and those below it.
func (f *field) tell(path string, required bool, fields, refusals *[][]string) error {
	needs := ""
	if required {
		needs = "required"
	}
	if path != "spec" && path != "status" {
		if f.Description == "" && !strings.Contains(path, "conditions[]") {
			return fmt.Errorf("the field %s needs a description", path)
		}
		*fields = append(*fields, []string{word(path), cell(f.typeText()), needs, cell(f.Description)})
	}
	for _, r := range f.Rules {
		*refusals = append(*refusals, []string{word(path), refusal(r.Message, r.Expression)})
	}
	for _, name := range slices.Sorted(maps.Keys(f.Properties)) {
		if err := f.Properties[name].tell(path+"."+name, slices.Contains(f.Required, name), fields, refusals); err != nil {
			return err
		}
	}
	return nil
}

// typeText is what a value may be.
func (f *field) typeText() string {
	var parts []string
	switch {
	case len(f.Enum) > 0:
		words := make([]string, len(f.Enum))
		for i, v := range f.Enum {
			words[i] = fmt.Sprintf("`%v`", v)
		}
		parts = append(parts, strings.Join(words, " or "))
	case f.Values != nil:
		parts = append(parts, "map of "+f.Values.typeText())
	case f.Items != nil:
		of := f.Items.typeText()
		if f.Items.Properties["lastTransitionTime"] != nil {
			of = "condition"
		}
		parts = append(parts, "list of "+of)
	case f.Format == "date-time":
		parts = append(parts, "time (RFC 3339)")
	case f.Format == "byte":
		parts = append(parts, "bytes (base64)")
	default:
		parts = append(parts, f.Type)
	}
	if f.MinLength != nil && *f.MinLength > 0 && f.MaxLength != nil {
		parts = append(parts, fmt.Sprintf("%d to %d bytes", *f.MinLength, *f.MaxLength))
	} else if f.MaxLength != nil {
		parts = append(parts, fmt.Sprintf("at most %d bytes", *f.MaxLength))
	}
	if f.Minimum != nil {
		parts = append(parts, fmt.Sprintf("at least %v", *f.Minimum))
	}
	if f.MaxProperties != nil {
		parts = append(parts, fmt.Sprintf("at most %d entries", *f.MaxProperties))
	}
	return strings.Join(parts, ", ")
}

// refusal is what the API server says. What is put together from the value is told
// with an ellipsis in its place.
func refusal(message, expression string) string {
	if message != "" {
		return cell(message)
	}
	var b strings.Builder
	for i, part := range strings.Split(expression, "'") {
		switch {
		case i%2 == 1:
			b.WriteString(part)
		case i > 0 && strings.Contains(part, "self"), i == 0 && strings.TrimSpace(part) != "":
			b.WriteString("…")
		}
	}
	return cell(b.String())
}
