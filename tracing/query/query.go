// Package query answers as Zipkin's query API v2 does, at / and at /zipkin, so
// that Zipkin's own UI and clients work with Weir. Beyond Zipkin, a search that
// was cut short says so in the header Weir-Search-Cut.
package query

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/internal/cors"
	"github.com/weirmesh/weir/tracing"
)

// CutHeader says why a search ended before it had looked at everything.
const CutHeader = "Weir-Search-Cut"

// Config tunes a Query. All but Store may be zero.
type Config struct {
	Store tracing.Reader
	// Check tells how the store is, for /health. Default: the store's own, if it
	// is a tracing.Checker.
	Check func(context.Context) error
	// StoreName is what /health calls the store. Default "storage".
	StoreName string

	// DefaultLookback is how far searches look back that do not say. Default 24 h.
	DefaultLookback time.Duration
	// MaxLimit bounds how many traces one search returns. Default 10,000.
	MaxLimit int
	// NamesMaxAge is how long browsers may keep lists of names. Default 5 min.
	NamesMaxAge time.Duration
	// TagKeys are the tags whose values can be completed.
	TagKeys []string
	// SearchDisabled leaves only what is found by id.
	SearchDisabled bool
	// Timeout bounds an answer. Default 11 s.
	Timeout time.Duration
	// Authorize refuses requests by an error, whose text is answered with 401.
	// Default: all are answered.
	Authorize func(*http.Request) error
	// AllowedOrigins are the origins whose pages may ask and read answers. Default
	// any, as in Zipkin.
	AllowedOrigins []string
	// Version and Commit are what /info says.
	Version, Commit string

	// Now tells the time. Default time.Now.
	Now func() time.Time
	// Log receives failures of the store. Default: discarded.
	Log *slog.Logger
}

// API serves the query API. It is an http.Handler, and safe for concurrent use.
type API struct {
	cfg      Config
	mux      *http.ServeMux
	handler  http.Handler // mux, with answers to other origins
	services atomic.Int64 // how many there were last; lists are cached beyond three
}

// New returns the API. Its errors are mistakes in the Config.
func New(c Config) (*API, error) {
	if c.Store == nil {
		return nil, errors.New("query: no store given")
	}
	for d, def := range map[*time.Duration]time.Duration{&c.DefaultLookback: 24 * time.Hour, &c.NamesMaxAge: 5 * time.Minute, &c.Timeout: 11 * time.Second} {
		if *d <= 0 {
			*d = def
		}
	}
	if c.MaxLimit <= 0 {
		c.MaxLimit = 10_000
	}
	if c.StoreName == "" {
		c.StoreName = "storage"
	}
	if c.Check == nil {
		c.Check = func(context.Context) error { return nil }
		if checker, ok := c.Store.(tracing.Checker); ok {
			c.Check = checker.Check
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.AllowedOrigins == nil {
		c.AllowedOrigins = []string{cors.Any}
	}
	c.TagKeys = slices.Sorted(slices.Values(c.TagKeys))
	a := &API{cfg: c, mux: http.NewServeMux()}
	for path, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"/api/v2/services":           a.listServices,
		"/api/v2/spans":              a.listSpans,
		"/api/v2/remoteServices":     a.listRemote,
		"/api/v2/traces":             a.search,
		"/api/v2/trace/{id}":         a.trace,
		"/api/v2/traceMany":          a.traceMany,
		"/api/v2/dependencies":       a.dependencies,
		"/api/v2/autocompleteKeys":   a.keys,
		"/api/v2/autocompleteValues": a.values,
	} {
		a.mux.Handle("GET "+path, a.handle(h))
		a.mux.Handle("GET /zipkin"+path, a.handle(h))
	}
	a.mux.Handle("GET /zipkin/config.json", a.handle(a.config))
	a.mux.HandleFunc("GET /health", a.health)
	a.mux.HandleFunc("GET /info", a.info)
	a.handler = cors.Wrap(a.mux, c.AllowedOrigins)
	return a, nil
}

// ServeHTTP implements http.Handler. It also answers the preflight requests for
// posting spans, if it is mounted at / beside a collector.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// handle turns errors into Zipkin's answers: the message as plain text.
func (a *API) handle(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.cfg.Authorize != nil {
			if err := a.cfg.Authorize(r); err != nil {
				plain(w, http.StatusUnauthorized, err.Error())
				return
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), a.cfg.Timeout)
		defer cancel()
		err := h(w, r.WithContext(ctx))
		switch tracing.CodeOf(err) {
		case "":
		case tracing.Invalid:
			plain(w, http.StatusBadRequest, err.Error())
		case tracing.NotFound:
			plain(w, http.StatusNotFound, err.Error())
		case tracing.Unavailable:
			if r.Context().Err() != nil {
				return // nobody is left to be told
			}
			a.cfg.Log.WarnContext(ctx, "cannot answer a query now", "path", r.URL.Path, "error", err)
			w.Header().Set("Retry-After", "1")
			plain(w, http.StatusServiceUnavailable, outward(err))
		default:
			switch {
			case r.Context().Err() != nil: // nobody is left to be told
			case errors.Is(err, context.DeadlineExceeded):
				plain(w, http.StatusServiceUnavailable, "the answer took longer than "+a.cfg.Timeout.String())
			default:
				a.cfg.Log.ErrorContext(ctx, "cannot answer a query", "path", r.URL.Path, "error", err)
				plain(w, http.StatusInternalServerError, "the query failed: see the server's log")
			}
		}
	})
}

// outward is an error without its cause, which may name the database and its user
// and is for the log.
func outward(err error) string {
	var known *tracing.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return "the store does not answer as it should: see the server's log"
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // nobody is left to be told
}

func writeJSON(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // nobody is left to be told
	return nil
}

func invalid(message string) error { return &tracing.Error{Code: tracing.Invalid, Message: message} }

// names answers with a list, which browsers may keep if it is worth it.
func (a *API) names(w http.ResponseWriter, names []string, keep bool) error {
	if names == nil {
		names = []string{}
	}
	body, err := json.Marshal(names)
	if err != nil {
		return err
	}
	if keep {
		w.Header().Set("Cache-Control", "max-age="+strconv.Itoa(int(a.cfg.NamesMaxAge.Seconds()))+", must-revalidate")
	}
	return writeJSON(w, body)
}

func (a *API) listServices(w http.ResponseWriter, r *http.Request) error {
	if a.cfg.SearchDisabled {
		return a.names(w, nil, false)
	}
	names, err := a.cfg.Store.Services(r.Context())
	if err != nil {
		return err
	}
	a.services.Store(int64(len(names)))
	return a.names(w, names, len(names) > 3)
}

// required returns a parameter that has to be given.
func required(q url.Values, name string) (string, error) {
	if !q.Has(name) {
		return "", invalid("Required " + name + " parameter is missing")
	}
	return q.Get(name), nil
}

func (a *API) listSpans(w http.ResponseWriter, r *http.Request) error {
	return a.listOf(w, r, a.cfg.Store.SpanNames)
}

func (a *API) listRemote(w http.ResponseWriter, r *http.Request) error {
	return a.listOf(w, r, a.cfg.Store.RemoteServices)
}

func (a *API) listOf(w http.ResponseWriter, r *http.Request, of func(context.Context, string) ([]string, error)) error {
	service, err := required(r.URL.Query(), "serviceName")
	if err != nil {
		return err
	}
	if service == "" || a.cfg.SearchDisabled {
		return a.names(w, nil, false)
	}
	names, err := of(r.Context(), strings.ToLower(service))
	if err != nil {
		return err
	}
	return a.names(w, names, a.services.Load() > 3)
}

func (a *API) keys(w http.ResponseWriter, _ *http.Request) error {
	return a.names(w, a.cfg.TagKeys, true)
}

func (a *API) values(w http.ResponseWriter, r *http.Request) error {
	key, err := required(r.URL.Query(), "key")
	if err != nil {
		return err
	}
	if key == "" {
		return invalid("key was empty")
	}
	if a.cfg.SearchDisabled {
		return a.names(w, nil, false)
	}
	names, err := a.cfg.Store.TagValues(r.Context(), key)
	if err != nil {
		return err
	}
	return a.names(w, names, len(names) > 3)
}

// number reads a parameter in whole numbers; def if it is not given.
func number(q url.Values, name string, def int64) (int64, error) {
	raw := q.Get(name)
	if raw == "" {
		return def, nil
	}
	v, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return 0, invalid(name + " is no whole number: " + raw)
	}
	return v, nil
}

// parse reads a search.
func (a *API) parse(v url.Values) (q tracing.Query, err error) {
	q = tracing.Query{
		Service: v.Get("serviceName"), Remote: v.Get("remoteServiceName"), Span: v.Get("spanName"),
		Annotations: tracing.ParseAnnotationQuery(v.Get("annotationQuery")),
	}
	var limit int64
	for _, p := range []struct {
		name string
		into *int64
		def  int64
	}{
		{"minDuration", &q.MinDuration, 0}, {"maxDuration", &q.MaxDuration, 0},
		{"endTs", &q.End, a.cfg.Now().UnixMilli()}, {"lookback", &q.Lookback, a.cfg.DefaultLookback.Milliseconds()}, {"limit", &limit, 10},
	} {
		if *p.into, err = number(v, p.name, p.def); err != nil {
			return q, err
		}
	}
	q.Limit = int(limit)
	if v.Get("minDuration") != "" && q.MinDuration <= 0 {
		return q, invalid("minDuration <= 0")
	}
	if q.MinDuration != 0 && v.Get("maxDuration") != "" && q.MaxDuration < q.MinDuration {
		return q, invalid("maxDuration < minDuration")
	}
	if q.Limit > a.cfg.MaxLimit {
		return q, invalid("limit > " + strconv.Itoa(a.cfg.MaxLimit))
	}
	err = q.Normalize()
	return q, err
}

func (a *API) search(w http.ResponseWriter, r *http.Request) error {
	q, err := a.parse(r.URL.Query())
	if err != nil {
		return err
	}
	if a.cfg.SearchDisabled {
		return writeJSON(w, []byte("[]"))
	}
	found, err := a.cfg.Store.Search(r.Context(), q)
	if err != nil {
		return err
	}
	return writeTraces(w, found)
}

func writeTraces(w http.ResponseWriter, found tracing.Found) error {
	if found.Cut != "" {
		w.Header().Set(CutHeader, found.Cut)
	}
	return writeJSON(w, tracing.AppendJSONLists(nil, found.Traces))
}

func (a *API) trace(w http.ResponseWriter, r *http.Request) error {
	id, err := tracing.ParseTraceID(strings.TrimSpace(r.PathValue("id")))
	if err != nil {
		return err
	}
	found, err := a.cfg.Store.Traces(r.Context(), []tracing.TraceID{id})
	if err != nil {
		return err
	}
	if len(found.Traces) == 0 {
		return &tracing.Error{Code: tracing.NotFound, Message: id.String() + " not found"}
	}
	if found.Cut != "" {
		w.Header().Set(CutHeader, found.Cut)
	}
	return writeJSON(w, tracing.AppendJSONList(nil, found.Traces[0]))
}

func (a *API) traceMany(w http.ResponseWriter, r *http.Request) error {
	raw, err := required(r.URL.Query(), "traceIds")
	if err != nil {
		return err
	}
	if raw == "" {
		return invalid("traceIds parameter is empty")
	}
	var ids []tracing.TraceID
	for _, part := range strings.SplitN(raw, ",", 1000) {
		id, err := tracing.ParseTraceID(part)
		if err != nil {
			return err
		}
		if slices.Contains(ids, id) {
			return invalid("redundant traceId: " + part)
		}
		ids = append(ids, id)
	}
	if len(ids) == 1 {
		return invalid("Use /api/v2/trace/{traceId} endpoint to retrieve a single trace")
	}
	found, err := a.cfg.Store.Traces(r.Context(), ids)
	if err != nil {
		return err
	}
	return writeTraces(w, found)
}

func (a *API) dependencies(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	if _, err := required(v, "endTs"); err != nil {
		return err
	}
	end, err := number(v, "endTs", 0)
	if err != nil {
		return err
	}
	lookback, err := number(v, "lookback", a.cfg.DefaultLookback.Milliseconds())
	if err != nil {
		return err
	}
	switch {
	case end <= 0:
		return invalid("endTs <= 0")
	case lookback <= 0:
		return invalid("lookback <= 0")
	}
	links, err := a.cfg.Store.Dependencies(r.Context(), end, lookback)
	if err != nil {
		return err
	}
	if links == nil {
		links = []tracing.Link{}
	}
	body, err := json.Marshal(links)
	if err != nil {
		return err
	}
	return writeJSON(w, body)
}

// config is what Zipkin's UI asks for first.
func (a *API) config(w http.ResponseWriter, _ *http.Request) error {
	body, err := json.Marshal(map[string]any{
		"environment": "", "queryLimit": 10, "defaultLookback": 900_000, "searchEnabled": !a.cfg.SearchDisabled,
		"logsUrl": nil, "supportUrl": nil, "archivePostUrl": nil, "archiveUrl": nil,
		"dependency": map[string]any{"enabled": true, "lowErrorRate": 0.5, "highErrorRate": 0.75},
	})
	if err != nil {
		return err
	}
	return writeJSON(w, body)
}

func (a *API) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.Timeout)
	defer cancel()
	status, code := "UP", http.StatusOK
	detail := map[string]any{"status": status}
	if err := a.cfg.Check(ctx); err != nil {
		a.cfg.Log.WarnContext(ctx, "the store is not well", "error", err)
		status, code = "DOWN", http.StatusServiceUnavailable
		detail = map[string]any{"status": status, "details": map[string]string{"error": outward(err)}}
	}
	body, err := json.Marshal(map[string]any{
		"status": status,
		"zipkin": map[string]any{"status": status, "details": map[string]any{a.cfg.StoreName: detail}},
	})
	if err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // nobody is left to be told
}

func (a *API) info(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(map[string]any{"zipkin": map[string]string{"version": a.cfg.Version, "commit": a.cfg.Commit}})
	if err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	_ = writeJSON(w, body) // it cannot fail
}
