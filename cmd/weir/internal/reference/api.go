package reference

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/httpapi"
)

// operation is one of the API with where it stands.
type operation struct {
	method, path string
	*huma.Operation
}

// apiPage tells every operation of the control plane's API.
func apiPage(ctx context.Context) (string, error) {
	doc, err := role.Describe(ctx, "reference")
	if err != nil {
		return "", err
	}
	p := newPage("The API of the control plane", `Everything below is served by `+"`weir control`"+` (and `+"`weir up`"+`) on `+"`--control-listen`"+`, and described for programs at
`+"`/openapi.json`"+` (`+"`weir openapi`"+` prints the same). Who may do what, and how one says who one is, stands in
[access.md](../access.md). Writes need a reason, in the header `+"`Weir-Reason`"+` or the query parameter `+"`reason`"+`.
Errors are problem documents (RFC 9457). Gateways and collectors serve no API of their own: a collector
answers Zipkin's, see [tracing.md](../tracing.md).`)
	groups := map[string][]operation{}
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op == nil {
				continue
			}
			if len(op.Tags) == 0 || op.Summary == "" {
				return "", fmt.Errorf("%s %s needs a tag and a summary", method, path)
			}
			groups[op.Tags[0]] = append(groups[op.Tags[0]], operation{method, path, op})
		}
	}
	tags := slices.Sorted(maps.Keys(groups))
	for _, tag := range tags {
		p.heading(2, tag)
		slices.SortFunc(groups[tag], func(a, b operation) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method)) })
		var rows [][]string
		for _, op := range groups[tag] {
			title := op.method + " " + op.path
			rows = append(rows, []string{"[" + word(title) + "](#" + anchor(title) + ")", cell(op.Summary), whoMay(op)})
		}
		p.table([]string{"Operation", "", "Role"}, rows)
		for _, op := range groups[tag] {
			tellOperation(p, op)
		}
	}
	p.heading(2, "Objects")
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		tellObject(p, name, schemas[name])
	}
	return p.String(), nil
}

// whoMay is the role that an operation needs, in words.
func whoMay(op operation) string {
	switch who, _ := op.Extensions[httpapi.RoleExtension].(string); who {
	case httpapi.RolePublic:
		return "everybody"
	case httpapi.RoleInstance:
		return "running services, operators"
	default:
		return who
	}
}

var placesOfParameters = []string{"path", "query", "header", "cookie"}

func tellOperation(p *page, op operation) {
	p.heading(3, op.method+" "+op.path)
	p.text(op.Summary + ". " + op.Description)
	var rows [][]string
	slices.SortStableFunc(op.Parameters, func(a, b *huma.Param) int {
		return slices.Index(placesOfParameters, a.In) - slices.Index(placesOfParameters, b.In)
	})
	for _, param := range op.Parameters {
		if param.Name == httpapi.ReasonHeader || param.Name == "reason" && param.In == "query" {
			continue // of which the page speaks at its beginning, and the operation's text
		}
		name := word(param.Name)
		if param.Required && param.In != "path" {
			name += " (required)"
		}
		rows = append(rows, []string{name, param.In, typeOf(param.Schema), fieldText(cmp.Or(param.Description, described(param.Schema)), param.Schema)})
	}
	p.table([]string{"Parameter", "In", "Type", ""}, rows)
	if op.RequestBody != nil {
		p.text("Body: " + contents(op.RequestBody.Content))
	}
	var answers []string
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		if status == "default" && len(op.Responses) > 1 {
			continue // a problem, of which the page says once what it is
		}
		text := word(status)
		if status == "default" {
			text = answer.Description
		}
		if len(answer.Content) > 0 {
			text += " " + contents(answer.Content)
		}
		for _, header := range slices.Sorted(maps.Keys(answer.Headers)) {
			text += ", header " + word(header)
		}
		answers = append(answers, text)
	}
	p.text("Answer: " + strings.Join(answers, "; "))
}

func described(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	return s.Description
}

// contents are the bodies of a request or an answer.
func contents(content map[string]*huma.MediaType) string {
	all := make([]string, 0, len(content))
	for _, kind := range slices.Sorted(maps.Keys(content)) {
		text := typeOf(content[kind].Schema)
		if kind != "application/json" {
			text += " as " + word(kind)
		}
		all = append(all, text)
	}
	return strings.Join(all, " or ")
}

// typeOf is a schema in one cell, with a link where it has a name.
func typeOf(s *huma.Schema) string {
	if s == nil {
		return "any"
	}
	if s.Ref != "" {
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return "[" + name + "](#" + anchor(name) + ")"
	}
	if of, ok := s.AdditionalProperties.(*huma.Schema); ok && of != nil {
		return "map of " + typeOf(of)
	}
	if s.Type == huma.TypeArray {
		return "list of " + typeOf(s.Items)
	}
	if len(s.OneOf) > 0 {
		kinds := make([]string, 0, len(s.OneOf))
		for _, one := range s.OneOf {
			kinds = append(kinds, typeOf(one))
		}
		return strings.Join(kinds, " or ")
	}
	switch s.Format {
	case "date-time", "uri", "byte":
		return s.Format
	}
	return cmp.Or(s.Type, "any")
}

// fieldText is what a field means, with the values that it takes.
func fieldText(text string, s *huma.Schema) string {
	text = cell(text)
	if s == nil {
		return text
	}
	with := func(more string) {
		if text != "" {
			text += " "
		}
		text += more
	}
	if len(s.Enum) > 0 {
		all := make([]string, 0, len(s.Enum))
		for _, v := range s.Enum {
			all = append(all, word(fmt.Sprint(v)))
		}
		with("One of: " + strings.Join(all, ", ") + ".")
	}
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		with(fmt.Sprintf("From %g to %g.", *s.Minimum, *s.Maximum))
	case s.Minimum != nil && *s.Minimum != 0:
		with(fmt.Sprintf("At least %g.", *s.Minimum))
	case s.Maximum != nil:
		with(fmt.Sprintf("At most %g.", *s.Maximum))
	}
	if s.Default != nil {
		with("Default: " + word(fmt.Sprint(s.Default)) + ".")
	}
	return text
}

func tellObject(p *page, name string, s *huma.Schema) {
	p.heading(3, name)
	p.text(s.Description)
	if len(s.Properties) == 0 {
		p.text(typeOf(s))
		return
	}
	var rows [][]string
	for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
		if field == "$schema" {
			continue
		}
		of := s.Properties[field]
		title := word(field)
		if slices.Contains(s.Required, field) {
			title += " (always)"
		}
		rows = append(rows, []string{title, typeOf(of), fieldText(of.Description, of)})
	}
	p.table([]string{"Field", "Type", ""}, rows)
}
