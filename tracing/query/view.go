package query

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/tracing"
)

// ViewConfig tunes the API by which the console shows traces. All but Store may be
// zero.
type ViewConfig struct {
	Store tracing.Reader
	// Timeout bounds an answer. Default 15 s.
	Timeout time.Duration
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// Bounds of what a view holds: a browser draws no more, and the download has all.
const (
	maxText  = 16 << 10 // bytes of one tag's value or annotation
	maxTexts = 32 << 20 // bytes of those of all spans
	maxName  = 1024     // bytes of what leads to metrics and policies
)

// TraceSummary is one trace in a list.
type TraceSummary struct {
	TraceID  string `json:"traceId"`
	Start    int64  `json:"start" doc:"The first moment of any span, in microseconds since 1970."`
	Duration int64  `json:"duration" doc:"Microseconds from the first to the last moment of any span."`
	// Root is the span that began the trace or, if it was not sent, the earliest.
	Root     SpanTitle      `json:"root"`
	Headless bool           `json:"headless,omitempty" doc:"The span that began the trace was not sent."`
	Spans    int            `json:"spans"`
	Errors   int            `json:"errors"`
	Depth    int            `json:"depth" doc:"How many levels of spans there are."`
	Services []ServiceUsage `json:"services" nullable:"false" doc:"Those with the longest span first."`
	Refused  int            `json:"refused" doc:"Spans of calls that a breaker, a switch or a policy refused."`
	Policy   string         `json:"policy,omitempty" doc:"The first policy that refused a call, or answered in its place."`
}

// SpanTitle is what a span is called.
type SpanTitle struct {
	Service string `json:"service"`
	Name    string `json:"name"`
}

// ServiceUsage is what a service had of a trace in a list.
type ServiceUsage struct {
	Name     string `json:"name" doc:"Empty for spans that name none."`
	Spans    int    `json:"spans"`
	Errors   int    `json:"errors"`
	Duration int64  `json:"duration" doc:"Microseconds of its longest span."`
}

// TraceView is a trace as it is drawn.
type TraceView struct {
	TraceID  string        `json:"traceId"`
	Start    int64         `json:"start" doc:"The first moment of any span, in microseconds since 1970."`
	Duration int64         `json:"duration" doc:"Microseconds from the first to the last moment of any span."`
	Depth    int           `json:"depth" doc:"How many levels of spans there are."`
	Headless bool          `json:"headless,omitempty" doc:"The span that began the trace was not sent."`
	Services []ServiceTime `json:"services" nullable:"false" doc:"Those that took the most time themselves first; of all spans, also of those left out."`
	Spans    []SpanRow     `json:"spans" nullable:"false" doc:"Depth-first, siblings by time."`
	Warnings []string      `json:"warnings" nullable:"false" doc:"What to mind when looking at the trace, in plain words."`
}

// ServiceTime is what a service had of a trace.
type ServiceTime struct {
	Name   string `json:"name" doc:"Empty for spans that name none."`
	Spans  int    `json:"spans"`
	Errors int    `json:"errors"`
	Self   int64  `json:"self" doc:"Microseconds that its spans waited for nothing they called."`
}

// SpanRow is a span in its place. Times are microseconds, from the trace's start.
type SpanRow struct {
	ID       string `json:"id"`
	Parent   int    `json:"parent" minimum:"-1" doc:"Index of the span that it stands below, -1 for the top."`
	Depth    int    `json:"depth"`
	Service  string `json:"service"`
	Name     string `json:"name"`
	Kind     string `json:"kind" enum:"CLIENT,SERVER,PRODUCER,CONSUMER,"`
	Start    int64  `json:"start" doc:"Corrected for the clock of the host."`
	Duration int64  `json:"duration" doc:"0 for one that its sender did not tell."`
	Self     int64  `json:"self" doc:"How much of duration it waited for nothing that it called."`
	Error    bool   `json:"error"`
	Shared   bool   `json:"shared,omitempty" doc:"It is the server's half of a span with the id of its client's."`
	Remote   string `json:"remote,omitempty" doc:"The other side: its service, or else its address."`
	// Critical are the parts in which it held up the whole trace.
	Critical    []Part      `json:"critical" nullable:"false" doc:"Parts on the critical path, each as from and to."`
	Tags        []TagPair   `json:"tags" nullable:"false" doc:"Each as key and value, sorted by key."`
	Annotations []SpanEvent `json:"annotations" nullable:"false"`
	Skewed      int64       `json:"skewed,omitempty" doc:"What was added to the times that were sent."`
	// MissingParent says that the one who called was not sent, so that the span
	// stands below another, or at the top.
	MissingParent bool `json:"missingParent,omitempty"`
	Below         int  `json:"below,omitempty" doc:"Spans below it that were left out."`
	Withheld      bool `json:"withheld,omitempty" doc:"It is of a namespace that the reader does not see: name, tags and events are left out."`

	// What it was governed by, from the tags that Weir's SDK and gateway set.
	App           governance.App `json:"app,omitzero" doc:"The application, as namespace/name."`
	Instance      string         `json:"instance,omitempty"`
	Command       string         `json:"command,omitempty" doc:"The command of the circuit that guards the call, as in the application's metrics."`
	At            governance.At  `json:"at,omitempty" enum:"provider,caller" doc:"Where that circuit is."`
	Peer          governance.App `json:"peer,omitzero" doc:"The application that is called, as namespace/name."`
	Refused       string         `json:"refused,omitempty" doc:"Why the call was not let through: open, switched or full."`
	Policy        string         `json:"policy,omitempty" doc:"The policy that refused the call, or answered in its place."`
	PolicyVersion int64          `json:"policyVersion,omitempty"`
	Fallback      string         `json:"fallback,omitempty" doc:"What answered in place of the call: value, empty, cached or error of a policy, route of a route, code of the service."`
	Retries       int            `json:"retries,omitempty" doc:"How often the call was made again."`
}

// Part is a part of time: from and to.
type Part [2]int64

// Schema implements huma.SchemaProvider: a pair, and never null.
func (Part) Schema(huma.Registry) *huma.Schema { return pair(&huma.Schema{Type: huma.TypeInteger}) }

// TagPair is a tag: key and value.
type TagPair [2]string

// Schema implements huma.SchemaProvider: a pair, and never null.
func (TagPair) Schema(huma.Registry) *huma.Schema { return pair(&huma.Schema{Type: huma.TypeString}) }

func pair(of *huma.Schema) *huma.Schema {
	two := 2
	return &huma.Schema{Type: huma.TypeArray, Items: of, MinItems: &two, MaxItems: &two}
}

// SpanEvent is an annotation.
type SpanEvent struct {
	At    int64  `json:"at"`
	Value string `json:"value"`
}

// TraceServices are the services that spans are of.
type TraceServices struct {
	Services []string `json:"services" nullable:"false"`
}

// TraceNames are the names of a service's spans, and the services that it calls.
type TraceNames struct {
	Spans   []string `json:"spans" nullable:"false"`
	Remotes []string `json:"remotes" nullable:"false"`
}

// TraceLinks are who called whom in a range of time.
type TraceLinks struct {
	From  time.Time   `json:"from"`
	To    time.Time   `json:"to"`
	Items []TraceLink `json:"items" nullable:"false"`
}

// TraceLink says how often one service called another.
type TraceLink struct {
	Parent string `json:"parent"`
	Child  string `json:"child"`
	Calls  int64  `json:"calls"`
	Errors int64  `json:"errors"`
}

// view serves the API of the console.
type view struct{ ViewConfig }

type (
	traceIn struct {
		ID    string `path:"id" maxLength:"64" doc:"1 to 32 hex digits."`
		Limit int    `query:"limit" minimum:"1" maximum:"100000" default:"20000" doc:"How many spans are wanted at most: the lowest are left out first."`
	}
	traceOut struct{ Body TraceView }

	zipkinIn struct {
		ID string `path:"id" maxLength:"64" doc:"1 to 32 hex digits."`
	}
	zipkinOut struct {
		ContentType string `header:"Content-Type"`
		Disposition string `header:"Content-Disposition"`
		Body        []byte
	}

	servicesOut struct{ Body TraceServices }
	namesIn     struct {
		Service string `query:"service" required:"true" minLength:"1" maxLength:"1024"`
	}
	namesOut struct{ Body TraceNames }
	linksIn  struct{ httpapi.Range }
	linksOut struct{ Body TraceLinks }
)

// Register adds to an API what the console shows of traces: searches, one trace as
// rows with its critical path, and who calls whom. Principals that are bounded to
// namespaces find the traces with a span of theirs, and see of the others' spans
// how long they took. It panics without a store, which is a mistake in the program.
func Register(h *httpapi.API, c ViewConfig) {
	if c.Store == nil {
		panic("query: no store given")
	}
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	v := &view{c}
	operation := func(id, path, summary, description string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Description: description, Tags: []string{"traces"}}
	}
	httpapi.Register(h, httpapi.Op[searchIn]{
		Operation: operation("search-traces", "/api/v1/traces", "List the traces that match, the newest first",
			"With app, service or command, spans of those have to meet all other conditions, though not all by one span. A search that ended before it had looked at everything says why in cut."),
		Role: access.Viewer, Scoped: true,
	}, v.search)
	httpapi.Register(h, httpapi.Op[traceIn]{
		Operation: operation("get-trace", "/api/v1/traces/{id}", "Read a trace as it is drawn",
			"Times are corrected for clocks that differ, by Zipkin's rules. The critical path is what held up the trace: from the end of its first span back to the child that ended last, and on within that."),
		Role: access.Viewer, Scoped: true,
	}, v.trace)
	download := operation("download-trace", "/api/v1/traces/{id}/zipkin", "Download a trace as it was sent, as Zipkin's v2 JSON", "")
	download.Responses = map[string]*huma.Response{"200": {
		Description: "Zipkin's list of spans.",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject}}}},
	}}
	httpapi.Register(h, httpapi.Op[zipkinIn]{Operation: download, Role: access.Viewer, Scoped: true}, v.download)
	httpapi.Register(h, httpapi.Op[struct{}]{
		Operation: operation("list-trace-services", "/api/v1/trace-services", "List the services that spans are of", ""),
		Role:      access.Viewer,
	}, v.services)
	httpapi.Register(h, httpapi.Op[namesIn]{
		Operation: operation("list-trace-names", "/api/v1/trace-names", "List the names of a service's spans, and the services that it calls", ""),
		Role:      access.Viewer,
	}, v.names)
	httpapi.Register(h, httpapi.Op[linksIn]{
		Operation: operation("list-trace-links", "/api/v1/trace-links", "List which services call which, by the traces that began in a range",
			"By Zipkin's rules. Counts are by the minute, and up to date within one or so."),
		Role: access.Viewer,
	}, v.links)
}

func (v *view) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, v.Timeout)
}

// read returns a trace with what of it could not be read, and who reads it.
func (v *view) read(ctx context.Context, id string) (spans []tracing.Span, cut string, by reader, err error) {
	by = readerOf(ctx)
	trace, err := tracing.ParseTraceID(strings.ToLower(strings.TrimSpace(id)))
	if err != nil {
		return nil, "", by, httpapi.BadRequest("path.id", "it is no trace id: give 1 to 32 hex digits")
	}
	ctx, cancel := v.within(ctx)
	defer cancel()
	found, err := v.Store.Traces(ctx, []tracing.TraceID{trace})
	if err != nil {
		return nil, "", by, err
	}
	if len(found.Traces) == 0 {
		return nil, "", by, httpapi.NewProblem(http.StatusNotFound, "there is no trace "+trace.String()+
			": it may not have been sampled, its spans may still be on their way, or it may be older than what is kept")
	}
	if spans = found.Traces[0]; !by.seesAny(spans) {
		return nil, "", by, &access.DeniedError{Message: "no span of this trace is of " + by.scope() + ", which is what you may see"}
	}
	return spans, found.Cut, by, nil
}

func (v *view) trace(ctx context.Context, in *traceIn) (*traceOut, error) {
	spans, cut, by, err := v.read(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	w := tracing.Layout(spans)
	if cut != "" {
		w.Warnings = append(w.Warnings, cut)
	}
	w.Trim(in.Limit)
	return &traceOut{Body: by.view(w)}, nil
}

func (v *view) download(ctx context.Context, in *zipkinIn) (*zipkinOut, error) {
	spans, _, by, err := v.read(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &zipkinOut{
		ContentType: "application/json",
		Disposition: `attachment; filename="trace-` + spans[0].TraceID.String() + `.json"`,
		Body:        tracing.AppendJSONList(nil, by.outward(spans)),
	}, nil
}

func (v *view) services(ctx context.Context, _ *struct{}) (*servicesOut, error) {
	ctx, cancel := v.within(ctx)
	defer cancel()
	names, err := v.Store.Services(ctx)
	if err != nil {
		return nil, err
	}
	out := &servicesOut{}
	out.Body.Services = some(names)
	return out, nil
}

func (v *view) names(ctx context.Context, in *namesIn) (*namesOut, error) {
	ctx, cancel := v.within(ctx)
	defer cancel()
	service := strings.ToLower(in.Service)
	spans, err := v.Store.SpanNames(ctx, service)
	if err != nil {
		return nil, err
	}
	remotes, err := v.Store.RemoteServices(ctx, service)
	if err != nil {
		return nil, err
	}
	out := &namesOut{}
	out.Body.Spans, out.Body.Remotes = some(spans), some(remotes)
	return out, nil
}

func (v *view) links(ctx context.Context, in *linksIn) (*linksOut, error) {
	from, to, err := in.Times(v.Now())
	if err != nil {
		return nil, err
	}
	ctx, cancel := v.within(ctx)
	defer cancel()
	links, err := v.Store.Dependencies(ctx, to.UnixMilli(), to.Sub(from).Milliseconds())
	if err != nil {
		return nil, err
	}
	out := &linksOut{}
	out.Body.From, out.Body.To, out.Body.Items = from.UTC(), to.UTC(), make([]TraceLink, len(links))
	for i, l := range links {
		out.Body.Items[i] = TraceLink(l)
	}
	return out, nil
}

// some is a list that is not null in JSON.
func some(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
