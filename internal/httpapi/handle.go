package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/internal/access"
)

// Option says more of a handler that is mounted as it is.
type Option func(*mounted)

type mounted struct {
	maxBody    int64
	unattended bool
	doc        *huma.Operation
}

// Body bounds the request's body, in bytes; without it the API's MaxBody
// counts. Reading more fails with *http.MaxBytesError, which WriteProblem turns
// into 413. A negative limit leaves the body to the handler.
func Body(limit int64) Option { return func(m *mounted) { m.maxBody = limit } }

// Unattended is for what a page asks by itself for as long as it is open: a session
// does not live on by it.
func Unattended() Option { return func(m *mounted) { m.unattended = true } }

// Documented puts the handler into the OpenAPI document. Method and Path are
// taken from the pattern.
func Documented(op huma.Operation) Option { return func(m *mounted) { m.doc = &op } }

// Handle mounts a handler for principals that hold a role in some namespace; it
// looks at the namespace itself. The principal is access.From(r.Context()).
// Handlers that write belong into operations instead.
func (a *API) Handle(pattern string, role access.Role, h http.Handler, opts ...Option) {
	if !role.Valid() {
		panic("httpapi: " + pattern + " needs a role")
	}
	a.mount(pattern, rule{role: role}, h, opts)
}

// Again tells who sends a request, asked anew: for handlers that stream for longer
// than a session or a token may count. A session does not live on by it.
func (a *API) Again(r *http.Request) (access.Principal, error) {
	return a.principal(r.Context(), r, rule{unattended: true})
}

// HandleInstance mounts a handler for running services, and for operators; it
// calls access.RequireInstance for the application that the request is about.
func (a *API) HandleInstance(pattern string, h http.Handler, opts ...Option) {
	a.mount(pattern, rule{instance: true}, h, opts)
}

// HandlePublic mounts a handler for everybody.
func (a *API) HandlePublic(pattern string, h http.Handler, opts ...Option) {
	a.mount(pattern, rule{public: true}, h, opts)
}

func (a *API) mount(pattern string, rule rule, h http.Handler, opts []Option) {
	m := mounted{maxBody: a.cfg.MaxBody}
	for _, o := range opts {
		o(&m)
	}
	rule.unattended = m.unattended
	if m.doc != nil {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			panic("httpapi: a documented pattern has a method: " + pattern)
		}
		m.doc.Method, m.doc.Path = method, path
		document(m.doc, rule)
		if m.doc.Responses == nil {
			m.doc.Responses = map[string]*huma.Response{"default": {Description: "See the description."}}
		}
		a.huma.OpenAPI().AddOperation(m.doc)
	}
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		out := &written{ResponseWriter: w}
		defer func() {
			if v := recover(); v != nil {
				a.recovered(w, r, v, out.begun)
			}
		}()
		ctx, err := a.admit(r, rule)
		if err == nil && m.maxBody > 0 && r.ContentLength > m.maxBody {
			err = tooLarge(m.maxBody)
		}
		if err != nil {
			a.WriteProblem(w, r, err)
			return
		}
		if m.maxBody > 0 {
			r.Body = http.MaxBytesReader(w, r.Body, m.maxBody)
		}
		h.ServeHTTP(out, r.WithContext(ctx))
	})
}

// written remembers whether an answer has begun.
type written struct {
	http.ResponseWriter
	begun  bool
	status int // 0 until it is said
}

// WriteHeader implements http.ResponseWriter.
func (w *written) WriteHeader(status int) {
	w.begun = true
	if w.status == 0 && status >= http.StatusOK { // what comes before is no answer yet
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *written) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *written) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w *written) Flush() {
	w.begun = true
	_ = http.NewResponseController(w.ResponseWriter).Flush() // as http.Flusher, it tells nobody
}

// Decode reads one JSON document strictly: unknown fields, wrong types and
// anything after its end are problems that name the place. It is for handlers
// that read bodies themselves, and for types whose JSON form a schema cannot
// hold.
func Decode(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return jsonProblem(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return BadRequest("body", "there is more after the end of the document")
	}
	return nil
}

// DecodeBytes is Decode of what has been read already.
func DecodeBytes(body []byte, into any) error { return Decode(bytes.NewReader(body), into) }

func jsonProblem(err error) error {
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
		large  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &large):
		return large
	case errors.Is(err, io.EOF):
		return BadRequest("body", "it is empty: send a JSON document")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return BadRequest("body", "the JSON ends too early")
	case errors.As(err, &syntax):
		return BadRequest("body", fmt.Sprintf("it is no JSON: %s, at byte %d", syntax, syntax.Offset))
	case errors.As(err, &typed):
		location := "body"
		if typed.Field != "" {
			location += "." + typed.Field
		}
		return BadRequest(location, fmt.Sprintf("a JSON %s does not belong here", typed.Value))
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name := strings.Trim(field, `"`)
		return BadRequest("body."+name, "there is no such field")
	}
	return BadRequest("body", strings.TrimPrefix(err.Error(), "json: "))
}
