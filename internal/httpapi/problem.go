package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/tracing"
)

// Problem is an error as clients see it, a problem document of RFC 9457. It is
// also an error that handlers may return.
type Problem struct { //nolint:errname // RFC 9457's word for it
	huma.ErrorModel
	header http.Header
}

// typePrefix begins the type of each problem, followed by its code. The types
// are names, not addresses.
const typePrefix = "tag:weirmesh.io,2026:"

// NewProblem returns a problem with a status, one sentence for the user that
// says what to do next, and what is wrong where.
func NewProblem(status int, detail string, errs ...*huma.ErrorDetail) *Problem {
	return &Problem{ErrorModel: huma.ErrorModel{
		Type: typePrefix + slug(status), Title: http.StatusText(status), Status: status, Detail: detail, Errors: errs,
	}}
}

// At returns what is wrong at a place of the request, such as "body.timeout" or
// "query.from".
func At(location, message string) *huma.ErrorDetail {
	return &huma.ErrorDetail{Location: location, Message: message}
}

// BadRequest is a problem with status 400 about one place of the request.
func BadRequest(location, message string) *Problem {
	return NewProblem(http.StatusBadRequest, location+": "+message, At(location, message))
}

// WithHeader adds a header to the answer.
func (p *Problem) WithHeader(key, value string) *Problem {
	if p.header == nil {
		p.header = make(http.Header)
	}
	p.header.Set(key, value)
	return p
}

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

func slug(status int) string {
	return strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "-"))
}

// coded is what the errors of the word packages have in common.
type coded struct {
	code, field, message, fix string
	cause                     error
}

func codedOf(err error) (coded, bool) {
	var (
		gw  *gateway.Error
		gov *governance.Error
		reg *registry.Error
		acc *access.Error
		tra *tracing.Error
	)
	switch {
	case errors.As(err, &gw):
		return coded{string(gw.Code), gw.Field, gw.Message, gw.Fix, gw.Err}, true
	case errors.As(err, &gov):
		return coded{string(gov.Code), gov.Field, gov.Message, gov.Fix, gov.Err}, true
	case errors.As(err, &reg):
		return coded{string(reg.Code), "", reg.Message, reg.Fix, reg.Err}, true
	case errors.As(err, &acc):
		return coded{string(acc.Code), acc.Field, acc.Message, acc.Fix, acc.Err}, true
	case errors.As(err, &tra):
		return coded{string(tra.Code), "", tra.Message, "", tra.Err}, true
	}
	return coded{}, false
}

// problem turns an error into what the client sees, and logs what the client
// must not.
func (a *API) problem(ctx context.Context, err error) *Problem {
	for _, mapper := range a.cfg.Mappers {
		if p := mapper(err); p != nil {
			return p
		}
	}
	var (
		own    *Problem
		denied *access.DeniedError
		status huma.StatusError
		large  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &denied):
		if denied.Unknown {
			return NewProblem(http.StatusUnauthorized, denied.Message).WithHeader("WWW-Authenticate", `Bearer realm="weir"`)
		}
		return NewProblem(http.StatusForbidden, denied.Message)
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.As(err, &status):
		return fromStatus(status)
	}
	if c, ok := codedOf(err); ok {
		if p := c.problem(from(ctx).http); p != nil {
			if p.Status >= http.StatusInternalServerError {
				a.log.WarnContext(ctx, "request cannot be served", "status", p.Status, "error", err)
			}
			return p
		}
	}
	if ctx.Err() != nil {
		return NewProblem(http.StatusServiceUnavailable, "the request ended before its answer was there: try again").WithHeader("Retry-After", "1")
	}
	id := newID()
	a.log.ErrorContext(ctx, "request failed", "id", id, "error", err)
	return internalProblem(id)
}

// problem is nil for what the client must not see.
func (c coded) problem(r *http.Request) *Problem {
	detail := c.message
	var status int
	switch c.code {
	case "invalid":
		status = http.StatusUnprocessableEntity
		if c.cause != nil {
			detail += ": " + c.cause.Error()
		}
	case "not-found":
		status = http.StatusNotFound
	case "conflict":
		status = http.StatusConflict
		if conditional(r) {
			status = http.StatusPreconditionFailed
		}
	case "forbidden":
		status = http.StatusForbidden
	case "too-many":
		status = http.StatusTooManyRequests
	case "unavailable":
		status = http.StatusServiceUnavailable
	default:
		return nil
	}
	var errs []*huma.ErrorDetail
	if c.field != "" {
		place := "body."
		if r != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			place = "query."
		}
		errs = append(errs, At(place+c.field, detail))
		detail = c.field + ": " + detail
	}
	if c.fix != "" {
		detail += "; " + c.fix
	}
	p := NewProblem(status, detail, errs...)
	p.Type = typePrefix + c.code
	if status == http.StatusServiceUnavailable {
		return p.WithHeader("Retry-After", "1")
	}
	return p
}

func internalProblem(id string) *Problem {
	return NewProblem(http.StatusInternalServerError,
		"something went wrong here that is not your fault: the log has it under id "+id)
}

func tooLarge(limit int64) *Problem {
	return NewProblem(http.StatusRequestEntityTooLarge,
		fmt.Sprintf("the body is too large: at most %d bytes are taken here", limit)).WithHeader("Connection", "close")
}

func fromStatus(err huma.StatusError) *Problem {
	var model *huma.ErrorModel
	if errors.As(err, &model) {
		return &Problem{ErrorModel: *tidied(model)}
	}
	return NewProblem(err.GetStatus(), err.Error())
}

// tidy makes the problems that huma itself writes like all others. In
// particular it takes out the values that were sent, which may be secret.
func tidy(_ huma.Context, _ string, v any) (any, error) {
	if model, ok := v.(*huma.ErrorModel); ok {
		return tidied(model), nil
	}
	return v, nil
}

func tidied(in *huma.ErrorModel) *huma.ErrorModel {
	out := *in
	out.Errors = make([]*huma.ErrorDetail, 0, len(in.Errors))
	var says []string
	for _, e := range in.Errors {
		if e == nil {
			continue
		}
		message := e.Message
		if message == "unexpected property" {
			message = "there is no such field"
		}
		out.Errors = append(out.Errors, At(e.Location, message))
		if e.Location != "" {
			message = e.Location + ": " + message
		}
		if !slices.Contains(says, message) {
			says = append(says, message)
		}
	}
	const most = 5
	if len(says) > most {
		says = append(says[:most:most], fmt.Sprintf("and %d more", len(says)-most))
	}
	if limit, ok := strings.CutPrefix(out.Detail, "request body is too large limit="); ok {
		out.Detail = "the body is too large: at most " + limit + " are taken here" // as tooLarge has it
	}
	switch {
	case len(says) == 0:
	case out.Detail == "" || out.Detail == "validation failed":
		out.Detail = strings.Join(says, "; ")
	default:
		out.Detail += ": " + strings.Join(says, "; ")
	}
	if out.Type == "" {
		out.Type = typePrefix + slug(out.Status)
	}
	return &out
}

// WriteProblem answers a request with the problem that an error is.
func (a *API) WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problem(r.Context(), err)
	header := w.Header()
	maps.Copy(header, p.header)
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(p) //nolint:errchkjson // strings and numbers; the client went away
	}
}
