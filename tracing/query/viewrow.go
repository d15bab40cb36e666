package query

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/tracing"
)

// reader is who looks at traces. One that is bounded to namespaces sees of spans of
// others, and of those that name none, that they were there, whose, and how long
// they took.
type reader struct{ namespaces []string }

func readerOf(ctx context.Context) reader {
	p, _ := access.From(ctx)
	return reader{p.Namespaces}
}

func (r reader) bounded() bool { return len(r.namespaces) > 0 }

func (r reader) sees(s *tracing.Span) bool {
	if !r.bounded() {
		return true
	}
	namespace, ok := s.Tag(tracing.TagNamespace)
	return ok && slices.Contains(r.namespaces, namespace)
}

func (r reader) seesAny(spans []tracing.Span) bool {
	for i := range spans {
		if r.sees(&spans[i]) {
			return true
		}
	}
	return false
}

// scope names what a bounded reader sees.
func (r reader) scope() string {
	if len(r.namespaces) == 1 {
		return "namespace " + r.namespaces[0]
	}
	return "namespaces " + strings.Join(r.namespaces, ", ")
}

// outward are the spans as the reader may have them.
func (r reader) outward(spans []tracing.Span) []tracing.Span {
	if !r.bounded() {
		return spans
	}
	out := slices.Clone(spans)
	for i := range out {
		if s := &out[i]; !r.sees(s) {
			s.Name, s.Remote, s.Tags, s.Annotations = "", tracing.Endpoint{}, nil, nil
		}
	}
	return out
}

func (r reader) summary(spans []tracing.Span) TraceSummary {
	s := tracing.Summarize(spans)
	out := TraceSummary{
		TraceID: s.TraceID.String(), Start: s.Start, Duration: s.Duration, Root: SpanTitle{Service: s.Root.Local.Service},
		Headless: s.Headless, Spans: s.Spans, Errors: s.Errors, Depth: s.Depth, Refused: s.Refused,
		Services: make([]ServiceUsage, len(s.Services)),
	}
	if r.sees(s.Root) {
		out.Root.Name = s.Root.Name
	}
	if s.Policy != nil && r.sees(s.Policy) {
		out.Policy, _ = s.Policy.Tag(tracing.TagPolicy)
	}
	for i, share := range s.Services {
		out.Services[i] = ServiceUsage{Name: share.Service, Spans: share.Spans, Errors: share.Errors, Duration: share.Longest}
	}
	return out
}

func (r reader) view(w *tracing.Waterfall) TraceView {
	out := TraceView{
		TraceID: w.TraceID.String(), Start: w.Start, Duration: w.Duration, Depth: w.Depth, Headless: w.Headless,
		Services: make([]ServiceTime, len(w.Services)), Spans: make([]SpanRow, len(w.Rows)), Warnings: some(w.Warnings),
	}
	for i, s := range w.Services {
		out.Services[i] = ServiceTime{Name: s.Service, Spans: s.Spans, Errors: s.Errors, Self: s.Self}
	}
	withheld := 0
	texts := texts{left: maxTexts}
	for i := range w.Rows {
		row := &w.Rows[i]
		out.Spans[i] = rowOf(row)
		if !r.sees(row.Span) {
			out.Spans[i].Withheld = true
			withheld++
			continue
		}
		out.Spans[i].tell(row, w.Start, &texts)
	}
	if withheld > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%d of the spans are of no namespace that you see: their names, tags and events are left out", withheld))
	}
	if texts.cut > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%d tags and events are too long to be shown whole: the download has them", texts.cut))
	}
	return out
}

// rowOf is what everybody may see who sees the trace.
func rowOf(row *tracing.Row) SpanRow {
	s := row.Span
	out := SpanRow{
		ID: s.ID.String(), Parent: row.Parent, Depth: row.Depth, Service: s.Local.Service, Kind: s.Kind.String(),
		Start: row.Start, Duration: row.Duration, Self: row.Self, Error: s.Failed(), Shared: s.Shared, Skewed: row.Moved,
		MissingParent: row.Orphan, Below: row.Below,
		Critical: make([]Part, len(row.Critical)), Tags: []TagPair{}, Annotations: []SpanEvent{},
	}
	for i, c := range row.Critical {
		out.Critical[i] = Part{c.From, c.To}
	}
	return out
}

// tell adds what the span says of itself.
func (o *SpanRow) tell(row *tracing.Row, start int64, texts *texts) {
	s := row.Span
	o.Name, o.Remote = s.Name, endpoint(s.Remote)
	o.Tags = make([]TagPair, len(s.Tags))
	for i, t := range s.Tags {
		o.Tags[i] = TagPair{t.Key, texts.take(t.Value)}
		o.govern(t)
	}
	if o.Command == "" {
		o.At = ""
	} else if o.At == "" {
		o.At = governance.Provider
		if s.Kind == tracing.Client || s.Kind == tracing.Producer {
			o.At = governance.Caller
		}
	}
	if o.App.Namespace != "" {
		if o.App.Name = s.Local.Service; o.App.Name == "" {
			o.App = governance.App{}
		}
	}
	o.Annotations = make([]SpanEvent, len(s.Annotations))
	for i, a := range s.Annotations {
		o.Annotations[i] = SpanEvent{At: a.Timestamp + row.Moved - start, Value: texts.take(a.Value)}
	}
}

// govern takes from a tag what leads to metrics and policies. What is not as the
// SDK writes it is passed over: anybody may send tags.
func (o *SpanRow) govern(t tracing.Tag) {
	if len(t.Value) > maxName {
		return
	}
	switch t.Key {
	case tracing.TagNamespace:
		o.App.Namespace = t.Value
	case tracing.TagInstance:
		o.Instance = t.Value
	case tracing.TagCommand:
		o.Command = t.Value
	case tracing.TagAt:
		if at := governance.At(t.Value); at == governance.Provider || at == governance.Caller {
			o.At = at
		}
	case tracing.TagPeer:
		o.Peer, _ = governance.ParseApp(t.Value)
	case tracing.TagRefused:
		if t.Value != tracing.RefusedGone {
			o.Refused = t.Value
		}
	case tracing.TagPolicy:
		o.Policy = t.Value
	case tracing.TagPolicyVersion:
		o.PolicyVersion, _ = strconv.ParseInt(t.Value, 10, 64)
	case tracing.TagFallback:
		o.Fallback = t.Value
	case tracing.TagRetries:
		o.Retries, _ = strconv.Atoi(t.Value)
	}
}

func endpoint(e tracing.Endpoint) string {
	addr := e.IPv4
	if !addr.IsValid() {
		addr = e.IPv6
	}
	switch {
	case e.Service != "":
		return e.Service
	case addr.IsValid() && e.Port != 0:
		return netip.AddrPortFrom(addr, e.Port).String()
	case addr.IsValid():
		return addr.String()
	}
	return ""
}

// texts bounds what is told of all spans together.
type texts struct{ left, cut int }

func (t *texts) take(s string) string {
	if most := min(maxText, t.left); len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most] + "…"
		t.cut++
	}
	t.left = max(0, t.left-len(s))
	return s
}
