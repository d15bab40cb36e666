package api

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/httpapi"
)

// body keeps the JSON of a request as it came: this package reads it more
// strictly, and says more about it, than a schema can. The schemas below are
// for the description of the API.
type body struct{ raw []byte }

// UnmarshalJSON implements json.Unmarshaler.
func (b *body) UnmarshalJSON(data []byte) error {
	b.raw = slices.Clone(data)
	return nil
}

type (
	routeBody  struct{ body }
	applyBody  struct{ body }
	sampleBody struct{ body }
)

// Schema implements huma.SchemaProvider.
func (routeBody) Schema(r huma.Registry) *huma.Schema { return schemaOf[gateway.Route](r) }

// Schema implements huma.SchemaProvider.
func (applyBody) Schema(r huma.Registry) *huma.Schema { return schemaOf[Apply](r) }

// Schema implements huma.SchemaProvider.
func (sampleBody) Schema(r huma.Registry) *huma.Schema { return schemaOf[gateway.Sample](r) }

func schemaOf[T any](r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, reflect.TypeFor[T]().Name())
}

// withBody says that an operation reads its body itself, and gives an example
// of it.
func withBody(o huma.Operation, example any) huma.Operation {
	o.SkipValidateBody = true
	o.RequestBody = &huma.RequestBody{
		Required: true,
		Content:  map[string]*huma.MediaType{"application/json": {Example: example}},
	}
	return o
}

// read decodes a body strictly.
func read[T any](raw []byte) (T, error) {
	var out T
	if err := gateway.Decode(raw, &out); err != nil {
		return out, problem(http.StatusUnprocessableEntity, err)
	}
	return out, nil
}

// mostSaid bounds how much of what is wrong stands in the one sentence; the list
// beside it has everything, up to mostListed.
const (
	mostSaid   = 5
	mostListed = 100
)

// problem tells everything that is wrong with a body, each at its place.
func problem(status int, err error) error {
	const where = "body"
	all := gateway.Problems(err)
	var errs []*huma.ErrorDetail
	var says []string
	for _, p := range all {
		at, message := where, p.Message
		if p.Field != "" {
			at += "." + p.Field
			if strings.HasPrefix(p.Field, "[") {
				at = where + p.Field
			}
		}
		if p.Err != nil {
			message += ": " + p.Err.Error()
		}
		if len(errs) < mostListed {
			errs = append(errs, httpapi.At(at, message))
		}
		if p.Field != "" {
			message = p.Field + ": " + message
		}
		if p.Fix != "" {
			message += "; " + p.Fix
		}
		if len(says) < mostSaid {
			says = append(says, message)
		}
	}
	if n := len(all) - len(says); n > 0 {
		says = append(says, fmt.Sprintf("and %d more", n))
	}
	return httpapi.NewProblem(status, strings.Join(says, "; "), errs...)
}

// within puts a part before the fields of what is wrong.
func within(part string, err error) []error {
	var out []error
	for _, p := range gateway.Problems(err) {
		e := *p
		e.Field = part
		if p.Field != "" {
			e.Field += "." + p.Field
		}
		out = append(out, &e)
	}
	return out
}

func compareKeys(a, b string) int {
	return keyOf(a).Compare(keyOf(b))
}

func keyOf(s string) gateway.Key {
	namespace, name, _ := strings.Cut(s, "/")
	return gateway.Key{Namespace: namespace, Name: name}
}
