package query

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/tracing"
)

type searchIn struct {
	httpapi.Range
	App         string           `query:"app" doc:"The application whose spans are meant, as namespace/name; spans that name no namespace go by the service alone."`
	Service     string           `query:"service" maxLength:"1024" doc:"The service whose spans are meant, in whichever namespace."`
	Remote      string           `query:"remote" maxLength:"1024" doc:"A service that is called."`
	Span        string           `query:"span" maxLength:"1024" doc:"Name of a span."`
	Command     string           `query:"command" maxLength:"1024" doc:"The command whose spans are meant, as in an application's metrics."`
	Peer        string           `query:"peer" doc:"An application that is called, as namespace/name."`
	Tags        string           `query:"tags" maxLength:"8192" doc:"Conditions between \" and \": a tag as key=value, or its key, which is also looked for as the text of an event."`
	Error       bool             `query:"error" doc:"Only with a span that failed."`
	MinDuration httpapi.Duration `query:"minDuration" doc:"Only with a span that took so long, such as 200ms."`
	MaxDuration httpapi.Duration `query:"maxDuration" doc:"Only with a span that took no longer."`
	Limit       int              `query:"limit" minimum:"1" maximum:"1000" default:"50"`
}

// TraceList is what a search found, the newest first.
type TraceList struct {
	Items []TraceSummary `json:"items" nullable:"false"`
	Cut   string         `json:"cut,omitempty" doc:"Why the search ended before it had looked at everything."`
}

type searchOut struct{ Body TraceList }

// future is how far ahead a search without an end looks: clocks of services run
// ahead of this one.
const future = time.Minute

func (v *view) query(in *searchIn, by reader) (q tracing.Query, err error) {
	now := v.Now()
	from, to, err := in.Times(now)
	if err != nil {
		return q, err
	}
	if in.To == "" {
		to = now.Add(future)
	}
	q = tracing.Query{
		Service: in.Service, Remote: in.Remote, Span: in.Span, Command: in.Command, Limit: in.Limit,
		End: to.UnixMilli(), Lookback: max(1, to.Sub(from).Milliseconds()),
		Annotations: tracing.ParseAnnotationQuery(in.Tags),
	}
	if in.App != "" {
		app, err := governance.ParseApp(in.App)
		if err != nil {
			return q, httpapi.BadRequest("query.app", "it is no application: write namespace/name")
		}
		if in.Service != "" && !strings.EqualFold(in.Service, app.Name) {
			return q, httpapi.BadRequest("query.service", "it is not the name of app: give one of the two")
		}
		q.Service, q.Namespaces, q.Unnamed = app.Name, []string{app.Namespace}, !by.bounded()
	} else {
		q.Namespaces = by.namespaces
	}
	if in.Peer != "" {
		peer, err := governance.ParseApp(in.Peer)
		if err != nil {
			return q, httpapi.BadRequest("query.peer", "it is no application: write namespace/name")
		}
		q.Annotations = append(q.Annotations, tracing.Condition{Key: tracing.TagPeer, Value: peer.String()})
	}
	if in.Error {
		q.Annotations = append(q.Annotations, tracing.Condition{Key: tracing.TagError})
	}
	if err := durations(in, &q); err != nil {
		return q, err
	}
	err = q.Normalize()
	return q, err
}

// durations sets the bounds in microseconds. The store knows an upper one only
// together with a lower.
func durations(in *searchIn, q *tracing.Query) error {
	least, most := in.MinDuration.Duration, in.MaxDuration.Duration
	switch {
	case least < 0:
		return httpapi.BadRequest("query.minDuration", "it is less than nothing: give one such as 200ms")
	case most < 0:
		return httpapi.BadRequest("query.maxDuration", "it is less than nothing: give one such as 5s")
	case most > 0 && most < least:
		return httpapi.BadRequest("query.maxDuration", fmt.Sprintf("%s is less than minDuration, which is %s", most, least))
	}
	if least > 0 || most > 0 {
		q.MinDuration = max(1, least.Microseconds())
	}
	if most > 0 {
		q.MaxDuration = max(1, most.Microseconds())
	}
	return nil
}

func (v *view) search(ctx context.Context, in *searchIn) (*searchOut, error) {
	by := readerOf(ctx)
	q, err := v.query(in, by)
	if err != nil {
		return nil, err
	}
	if in.App != "" {
		if err := access.Require(ctx, access.Viewer, q.Namespaces[0]); err != nil {
			return nil, err
		}
	}
	ctx, cancel := v.within(ctx)
	defer cancel()
	found, err := v.Store.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &searchOut{Body: TraceList{Items: make([]TraceSummary, len(found.Traces)), Cut: found.Cut}}
	for i, spans := range found.Traces {
		out.Body.Items[i] = by.summary(spans)
		found.Traces[i] = nil // they may be many, and are summed up now
	}
	return out, nil
}
