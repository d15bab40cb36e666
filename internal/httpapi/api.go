package httpapi

import (
	"cmp"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
)

// DefaultMaxBody bounds the body of a request where nothing else is said.
const DefaultMaxBody = 1 << 20

// Config are the settings of an API.
type Config struct {
	Title, Version string
	// Auth tells who sends a request; without one everything but public
	// operations is refused.
	Auth access.Authenticator
	// Audit keeps the writes; it is required once one is registered.
	Audit access.Auditor
	Log   *slog.Logger
	// MaxBody bounds bodies in bytes, DefaultMaxBody when zero.
	MaxBody int64
	// Metrics takes weir_control_requests_total and weir_control_request_seconds;
	// nil for none.
	Metrics prometheus.Registerer
	// Mappers turn errors into problems, before those that every API knows. One
	// that does not know an error returns nil.
	Mappers []func(error) *Problem
}

// API is a set of operations on one mux, described by one OpenAPI document.
// Register everything before it serves; then it is safe for concurrent use.
type API struct {
	mux     *http.ServeMux
	huma    huma.API
	cfg     Config
	log     *slog.Logger
	origins *http.CrossOriginProtection
	metrics *metrics
	pages   http.Handler // nil for none
}

// New returns an API without operations on mux, and serves its description
// there as /openapi.json and /openapi.yaml. Serve API.Handler() rather than the
// mux: it answers what nobody registered with problems too.
func New(mux *http.ServeMux, cfg Config) *API {
	cfg.MaxBody = cmp.Or(cfg.MaxBody, DefaultMaxBody)
	a := &API{mux: mux, cfg: cfg, log: cfg.Log, origins: http.NewCrossOriginProtection(), metrics: newMetrics(cfg.Metrics)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	a.huma = humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: cfg.Title, Version: cfg.Version},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":   {Type: "http", Scheme: "bearer", Description: "An API token, or the token of a pod's ServiceAccount."},
					"session": {Type: "apiKey", In: "cookie", Name: access.SessionCookie, Description: "The session of a login."},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{tidy},
	})
	a.Alias(reflect.TypeFor[gateway.Duration](), reflect.TypeFor[durationSchema]())
	a.Alias(reflect.TypeFor[governance.Duration](), reflect.TypeFor[durationSchema]())
	a.Alias(reflect.TypeFor[gateway.Strings](), reflect.TypeFor[stringsSchema]())
	a.describe()
	return a
}

// Huma returns the API as huma knows it, for what this package does not cover.
// Operations registered with it directly are open to everybody.
func (a *API) Huma() huma.API { return a.huma }

// Alias makes schemas of type t look like those of another type: for types with
// a JSON form of their own. The other type usually has a method
//
//	Schema(huma.Registry) *huma.Schema
func (a *API) Alias(t, as reflect.Type) {
	a.huma.OpenAPI().Components.Schemas.RegisterTypeAlias(t, as)
}

// Pages serves what no operation takes and is no part of an API: requests to read
// (GET, HEAD) outside /api/. A method that a path does not take is refused as
// without pages, and what is not there below /api/ stays a problem, which is what
// programs read.
func (a *API) Pages(h http.Handler) { a.pages = h }

// describe serves the OpenAPI document, made when it is first asked for.
func (a *API) describe() {
	serve := func(pattern, contentType string, write func() ([]byte, error)) {
		once := sync.OnceValues(write)
		a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			raw, err := once()
			if err != nil {
				a.WriteProblem(w, r, err)
				return
			}
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(raw) // the client went away
		})
	}
	serve("GET /openapi.json", "application/openapi+json", func() ([]byte, error) { return a.huma.OpenAPI().MarshalJSON() })
	serve("GET /openapi.yaml", "application/openapi+yaml", func() ([]byte, error) { return a.huma.OpenAPI().YAML() })
}

// Handler serves the mux; what it does not have, and methods that a path does
// not take, are answered with a problem.
func (a *API) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Answers hold words of others: no browser is to take one for a page.
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if err := checkAddress(r); err != nil {
			a.WriteProblem(w, r, err)
			return
		}
		h, pattern := a.mux.Handler(r)
		if pattern != "" {
			a.serve(w, r, pattern, a.mux)
			return
		}
		probe := &statusProbe{header: make(http.Header)}
		h.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			allow := probe.header.Get("Allow")
			w.Header().Set("Allow", allow)
			a.WriteProblem(w, r, NewProblem(probe.status, r.URL.Path+" does not take "+r.Method+": it takes "+allow))
			return
		}
		if a.pages != nil && probe.status == http.StatusNotFound && isPage(r) {
			a.serve(w, r, "pages", a.pages)
			return
		}
		a.WriteProblem(w, r, NewProblem(http.StatusNotFound, "there is nothing at "+r.URL.Path+": /openapi.json tells what there is"))
	})
}

// serve lets h answer, counts the answer, and compresses it where that is worth it.
func (a *API) serve(w http.ResponseWriter, r *http.Request, pattern string, h http.Handler) {
	began, out := time.Now(), &written{ResponseWriter: w}
	defer func() { a.metrics.answered(pattern, out.status, time.Since(began)) }()
	zip := &compressed{ResponseWriter: out, r: r}
	h.ServeHTTP(zip, r)
	zip.end()
}

// isPage reports whether a request asks for what is no part of an API.
func isPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.URL.Path != "/api" && !strings.HasPrefix(r.URL.Path, "/api/")
}

// statusProbe learns what the mux would answer.
type statusProbe struct {
	header http.Header
	status int
}

func (p *statusProbe) Header() http.Header         { return p.header }
func (p *statusProbe) WriteHeader(status int)      { p.status = status }
func (p *statusProbe) Write(b []byte) (int, error) { return len(b), nil }

// module is cut off the names of schemas.
const module = "github.com/weirmesh/weir/"

// schemaName names a schema by package and type ("GatewayVersion"), since word
// packages use the same words.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	rest, ours := strings.CutPrefix(t.PkgPath(), module)
	if t.Name() == "" || !ours {
		return name
	}
	rest = strings.TrimPrefix(rest, "internal/")
	var prefix strings.Builder
	for dir := range strings.SplitSeq(rest, "/") {
		if dir != "" {
			prefix.WriteString(strings.ToUpper(dir[:1]) + dir[1:])
		}
	}
	if base := path.Base(rest); strings.EqualFold(base, t.Name()) {
		return prefix.String() // "AccessAccess" says nothing more
	}
	return prefix.String() + name
}

type durationSchema struct{}

// Schema implements huma.SchemaProvider.
func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "A duration such as 800ms, 5s or 1h30m.", Examples: []any{"800ms"}}
}

type stringsSchema struct{}

// Schema implements huma.SchemaProvider.
func (stringsSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "One string, or a list of them.", AnyOf: []*huma.Schema{
		{Type: huma.TypeString},
		{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}},
	}}
}
