package tracing

import (
	"math"
	"slices"
	"strings"
)

// Query asks for traces. Empty and zero fields ask for nothing, except that End,
// Lookback and Limit are needed.
type Query struct {
	// Service is the local service that has to meet every other condition, by
	// whichever of its spans in the trace.
	Service string
	Remote  string // service that is called
	Span    string // name; "all" stands for any
	// Annotations must each be found.
	Annotations []Condition
	// MinDuration and MaxDuration, in microseconds, bound the duration of at least
	// one span. The second needs the first.
	MinDuration, MaxDuration int64
	// Namespaces, Unnamed and Command bound which spans may meet the conditions, those
	// above included: spans of these namespaces, by TagNamespace, and with Unnamed
	// also those that bear no such tag; and spans of this command, by TagCommand.
	Namespaces []string
	Unnamed    bool
	Command    string
	// End and Lookback, in milliseconds (since 1970 the one), say when the trace
	// began: both ends of [End-Lookback, End] are included.
	End, Lookback int64
	// Limit is how many traces are wanted, the newest first.
	Limit int
}

// Condition is what a trace has to have: a tag with this key and value or, with
// an empty value, an annotation with this text or a tag with this key.
type Condition struct{ Key, Value string }

// ParseAnnotationQuery reads "error and http.path=/a": conditions between
// " and ", at most a hundred. A tag's last value wins over others and over a bare
// key.
func ParseAnnotationQuery(s string) []Condition {
	if s == "" {
		return nil
	}
	var out []Condition
	for _, part := range strings.SplitN(s, " and ", 100) {
		key, value, isTag := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "" {
			continue
		}
		i := slices.IndexFunc(out, func(c Condition) bool { return c.Key == key })
		switch {
		case i < 0:
			out = append(out, Condition{key, value})
		case isTag:
			out[i].Value = value
		}
	}
	return out
}

// Normalize lower-cases names and checks the bounds. Errors: Invalid, in Zipkin's
// words.
func (q *Query) Normalize() error {
	q.Service, q.Remote, q.Span = lower(q.Service), lower(q.Remote), lower(q.Span)
	if q.Span == "all" {
		q.Span = ""
	}
	switch {
	case q.End <= 0:
		return invalid("endTs <= 0")
	case q.Limit <= 0:
		return invalid("limit <= 0")
	case q.Lookback <= 0:
		return invalid("lookback <= 0")
	case q.MinDuration < 0:
		return invalid("minDuration <= 0")
	case q.MaxDuration != 0 && q.MinDuration == 0:
		return invalid("maxDuration is only valid with minDuration")
	case q.MaxDuration != 0 && q.MaxDuration < q.MinDuration:
		return invalid("maxDuration < minDuration")
	}
	return nil
}

// Window returns the first and last microsecond in which a trace may begin.
func (q *Query) Window() (from, to int64) { return Window(q.End, q.Lookback) }

// Window turns an end and a lookback in milliseconds into microseconds, the far
// past and future being as far as they can be.
func Window(end, lookback int64) (from, to int64) {
	end = min(end, math.MaxInt64/1000)
	return max(0, end-min(lookback, math.MaxInt64/1000)) * 1000, end * 1000
}

// Match reports whether a trace, given as all its spans as they were sent, answers
// the query.
func (q *Query) Match(spans []Span) bool {
	t := TraceTime(spans)
	from, to := q.Window()
	if t == 0 || t < from || t > to {
		return false
	}
	service := q.Service == "" && len(q.Namespaces) == 0 && q.Command == ""
	remote, span, duration := q.Remote == "", q.Span == "", q.MinDuration == 0
	var few [8]bool
	met := few[:0]
	for range q.Annotations {
		met = append(met, false)
	}
	for i := range spans {
		s := &spans[i]
		if !q.judges(s) {
			continue
		}
		service = true
		remote = remote || s.Remote.Service == q.Remote
		span = span || s.Name == q.Span
		duration = duration || s.Duration >= q.MinDuration && (q.MaxDuration == 0 || s.Duration <= q.MaxDuration)
		for j, c := range q.Annotations {
			met[j] = met[j] || c.match(s)
		}
	}
	return service && remote && span && duration && !slices.Contains(met, false)
}

// judges reports whether a span is one that may meet the conditions.
func (q *Query) judges(s *Span) bool {
	if q.Service != "" && s.Local.Service != q.Service {
		return false
	}
	if len(q.Namespaces) > 0 {
		if namespace, named := s.Tag(TagNamespace); named && !slices.Contains(q.Namespaces, namespace) || !named && !q.Unnamed {
			return false
		}
	}
	if q.Command != "" {
		command, _ := s.Tag(TagCommand)
		return command == q.Command
	}
	return true
}

func (c Condition) match(s *Span) bool {
	value, ok := s.Tag(c.Key)
	if c.Value != "" {
		return ok && value == c.Value
	}
	return ok || slices.ContainsFunc(s.Annotations, func(a Annotation) bool { return a.Value == c.Key })
}
