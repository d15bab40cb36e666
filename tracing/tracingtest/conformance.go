package tracingtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/tracing"
)

// Store is what the kit exercises.
type Store interface {
	tracing.Writer
	tracing.Replayer
	tracing.Reader
}

// Options are what a store is opened with.
type Options struct {
	Lenient bool
	TagKeys []string
}

// Open opens an empty store for one test, and returns with it what has to be done
// for dependencies to know everything that was written; nil if nothing.
type Open func(t *testing.T, o Options) (s Store, link func())

// now is a time that every store keeps spans of.
func now() time.Time { return time.Now().Add(-time.Minute).Truncate(time.Millisecond) }

// fixture is a store under test.
type fixture struct {
	Store
	t     *testing.T
	link  func()
	today time.Time
}

func open(t *testing.T, o Open, with Options) *fixture {
	t.Helper()
	s, link := o(t, with)
	if link == nil {
		link = func() {}
	}
	return &fixture{Store: s, t: t, link: link, today: now()}
}

func (f *fixture) ctx() context.Context { return f.t.Context() }

// at is a moment of the test in microseconds: today plus milliseconds.
func (f *fixture) at(milliseconds int64) int64 { return f.today.UnixMicro() + milliseconds*1000 }

// write stores spans, normalised as decoders do.
func (f *fixture) write(spans ...tracing.Span) {
	f.t.Helper()
	for i := range spans {
		if err := spans[i].Normalize(); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.Write(f.ctx(), spans); err != nil {
		f.t.Fatal(err)
	}
}

// query is one over the last hour, for ten traces.
func (f *fixture) query(change func(*tracing.Query)) tracing.Query {
	q := tracing.Query{End: f.today.UnixMilli() + 60_000, Lookback: 3_600_000, Limit: 10}
	if change != nil {
		change(&q)
	}
	if err := q.Normalize(); err != nil {
		f.t.Fatal(err)
	}
	return q
}

// found returns the traces of a search as the lower halves of their ids in hex
// with the number of spans, "1:2 5:1".
func (f *fixture) found(change func(*tracing.Query)) string {
	f.t.Helper()
	got, err := f.Search(f.ctx(), f.query(change))
	if err != nil {
		f.t.Fatal(err)
	}
	if got.Cut != "" {
		f.t.Errorf("the search was cut short: %s", got.Cut)
	}
	var out []string
	for _, trace := range got.Traces {
		out = append(out, fmt.Sprintf("%x:%d", trace[0].TraceID.Low, len(trace)))
	}
	return strings.Join(out, " ")
}

func (f *fixture) want(what, got, want string) {
	f.t.Helper()
	if got != want {
		f.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// span makes one of a trace at a moment.
func (f *fixture) span(trace uint64, id, parent tracing.ID, service string, milliseconds int64) tracing.Span {
	return tracing.Span{
		TraceID: tracing.TraceID{Low: trace}, ID: id, ParentID: parent, Name: "get", Timestamp: f.at(milliseconds), Duration: 1000,
		Local: tracing.Endpoint{Service: service},
	}
}

// Exercise runs the conformance kit: Zipkin's cases for stores (ITTraces,
// ITSpanStore, ITServiceAndSpanNames, ITStrictTraceIdFalse, ITAutocompleteTags,
// ITDependencies), and those that Weir adds.
func Exercise(t *testing.T, o Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"all answer when empty":                      emptyStore,
		"a span is read as it was written":           asWritten,
		"a span sent twice is read once":             sentTwice,
		"client and server share an id":              sharedID,
		"ids of 128 bits are told apart":             strictIDs,
		"ids of 64 and 128 bits are mixed":           lenientIDs,
		"several traces by id":                       severalTraces,
		"a part without a duration":                  partWithoutDuration,
		"a span without a time":                      spanWithoutTime,
		"the newest trace wins":                      newestWins,
		"both ends of the window are included":       windowEnds,
		"a trace that goes on after the window":      traceAfterWindow,
		"conditions on tags and annotations":         annotationQueries,
		"conditions are met by spans of one service": conditionsOfService,
		"conditions are met by spans of a namespace": conditionsOfNamespace,
		"conditions are met by spans of a command":   conditionsOfCommand,
		"durations":                                     durations,
		"remote services and names of spans":            remoteAndSpan,
		"names that look like code":                     oddNames,
		"a thousand traces":                             thousandTraces,
		"a trace of many spans":                         longTrace,
		"names of services and spans":                   serviceNames,
		"values of chosen tags":                         tagValues,
		"dependencies":                                  dependencies,
		"dependencies of late and repeated spans":       lateDependencies,
		"a replay is stored once":                       replays,
		"identical batches at once":                     identicalBatches,
		"very long and strange texts":                   strangeTexts,
		"a search finds what a look at everything does": againstAll,
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			test(t, o)
		})
	}
}

func emptyStore(t *testing.T, o Open) {
	f := open(t, o, Options{TagKeys: []string{"k"}})
	f.want("search", f.found(nil), "")
	f.want("search by service", f.found(func(q *tracing.Query) { q.Service = "x" }), "")
	if got, err := f.Trace(f.ctx(), tracing.TraceID{Low: 1}); err != nil || len(got) != 0 {
		t.Errorf("trace: %v, %v", got, err)
	}
	if got, err := f.Traces(f.ctx(), []tracing.TraceID{{Low: 1}, {Low: 2}}); err != nil || len(got.Traces) != 0 {
		t.Errorf("traces: %v, %v", got, err)
	}
	for what, list := range map[string]func() ([]string, error){
		"services":   func() ([]string, error) { return f.Services(f.ctx()) },
		"spans":      func() ([]string, error) { return f.SpanNames(f.ctx(), "x") },
		"remote":     func() ([]string, error) { return f.RemoteServices(f.ctx(), "x") },
		"tag values": func() ([]string, error) { return f.TagValues(f.ctx(), "k") },
	} {
		if got, err := list(); err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	f.link()
	if got, err := f.Dependencies(f.ctx(), f.today.UnixMilli(), 1000); err != nil || len(got) != 0 {
		t.Errorf("dependencies: %v, %v", got, err)
	}
}

func asWritten(t *testing.T, o Open) {
	f := open(t, o, Options{})
	for _, spans := range NewGenerator(11, f.today).Traces(20) {
		f.write(spans...)
		got, err := f.Trace(f.ctx(), spans[0].TraceID)
		if err != nil {
			t.Fatal(err)
		}
		want := tracing.Distinct(spans)
		if !slices.EqualFunc(got, want, func(a, b tracing.Span) bool { return a.Equal(&b) }) {
			t.Fatalf("got  %s\nwant %s", tracing.AppendJSONList(nil, got), tracing.AppendJSONList(nil, want))
		}
	}
}

func sentTwice(t *testing.T, o Open) {
	f := open(t, o, Options{})
	s := f.span(1, 1, 0, "web", 0)
	f.write(s)
	f.write(s, s)
	f.want("search", f.found(nil), "1:1")
	if got, err := f.Trace(f.ctx(), s.TraceID); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func sharedID(t *testing.T, o Open) {
	f := open(t, o, Options{})
	client, server := f.span(1, 2, 1, "web", 0), f.span(1, 2, 1, "app", 1)
	client.Kind, client.Debug = tracing.Client, true
	server.Kind, server.Shared = tracing.Server, true
	f.write(client)
	f.write(server)
	got, err := f.Trace(f.ctx(), client.TraceID)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if !got[0].Debug || got[0].Shared || got[1].Debug || !got[1].Shared {
		t.Errorf("flags were mixed: %+v", got)
	}
}

func strictIDs(t *testing.T, o Open) {
	f := open(t, o, Options{})
	for high := range uint64(3) {
		s := f.span(7, tracing.ID(high+1), 0, "web", int64(high))
		s.TraceID.High = high
		s.Tags = []tracing.Tag{{Key: "foo", Value: fmt.Sprint(high)}}
		f.write(s)
	}
	for high := range uint64(3) {
		got, err := f.Trace(f.ctx(), tracing.TraceID{High: high, Low: 7})
		if err != nil || len(got) != 1 || got[0].TraceID.High != high {
			t.Errorf("trace %d: %v, %v", high, got, err)
		}
		f.want("by tag", f.found(func(q *tracing.Query) { q.Annotations = tracing.ParseAnnotationQuery(fmt.Sprintf("foo=%d", high)) }), "7:1")
	}
	if got, err := f.Trace(f.ctx(), tracing.TraceID{High: 9, Low: 7}); err != nil || len(got) != 0 {
		t.Errorf("unknown upper half: %v, %v", got, err)
	}
	f.want("all", f.found(nil), "7:1 7:1 7:1")
}

func lenientIDs(t *testing.T, o Open) {
	f := open(t, o, Options{Lenient: true})
	a, b := f.span(7, 1, 0, "web", 0), f.span(7, 2, 1, "app", 1)
	b.TraceID.High = 5
	f.write(a)
	f.write(b)
	for _, high := range []uint64{0, 5} {
		if got, err := f.Trace(f.ctx(), tracing.TraceID{High: high, Low: 7}); err != nil || len(got) != 2 {
			t.Errorf("by %d: %v, %v", high, got, err)
		}
	}
	f.want("search", f.found(func(q *tracing.Query) { q.Service = "app" }), "7:2")
	got, err := f.Traces(f.ctx(), []tracing.TraceID{{Low: 7}, {High: 5, Low: 7}})
	if err != nil || len(got.Traces) != 1 {
		t.Errorf("traces: %v, %v", got, err)
	}
}

func severalTraces(t *testing.T, o Open) {
	f := open(t, o, Options{})
	for i := range uint64(5) {
		f.write(f.span(i+1, 1, 0, "web", 0), f.span(i+1, 2, 1, "app", 1))
	}
	found, err := f.Traces(f.ctx(), []tracing.TraceID{{Low: 4}, {Low: 99}, {Low: 2}})
	got := found.Traces
	if err != nil || found.Cut != "" || len(got) != 2 || got[0][0].TraceID.Low != 4 || got[1][0].TraceID.Low != 2 || len(got[1]) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func partWithoutDuration(t *testing.T, o Open) {
	f := open(t, o, Options{})
	first, second := f.span(1, 1, 0, "web", 0), f.span(1, 1, 0, "web", 0)
	first.Duration, second.Duration, second.Timestamp = 0, 5000, 0
	f.write(first)
	long := func(q *tracing.Query) { q.Service, q.MinDuration = "web", 5000 }
	f.want("before", f.found(long), "")
	f.write(second)
	f.want("after", f.found(long), "1:2")
}

func spanWithoutTime(t *testing.T, o Open) {
	f := open(t, o, Options{})
	s := f.span(1, 1, 0, "web", 0)
	s.Timestamp, s.Duration = 0, 0
	f.write(s)
	f.want("before", f.found(nil), "")
	if got, err := f.Trace(f.ctx(), s.TraceID); err != nil || len(got) != 1 {
		t.Errorf("by id: %v, %v", got, err)
	}
	f.write(f.span(1, 2, 1, "web", 0))
	f.want("after", f.found(nil), "1:2")
}

func newestWins(t *testing.T, o Open) {
	f := open(t, o, Options{})
	// The older trace has the later child.
	f.write(f.span(1, 1, 0, "web", 0), f.span(1, 2, 1, "web", 900), f.span(2, 1, 0, "web", 500))
	for _, service := range []string{"", "web"} {
		f.want("one", f.found(func(q *tracing.Query) { q.Service, q.Limit = service, 1 }), "2:1")
		f.want("two", f.found(func(q *tracing.Query) { q.Service = service }), "2:1 1:2")
	}
}

func windowEnds(t *testing.T, o Open) {
	f := open(t, o, Options{})
	f.write(f.span(1, 1, 0, "web", 0), f.span(2, 1, 0, "web", 1), f.span(3, 1, 0, "web", 2))
	for _, c := range []struct {
		end, lookback int64
		want          string
	}{{0, 1, "1:1"}, {1, 1, "2:1 1:1"}, {2, 1, "3:1 2:1"}, {-1, 1000, ""}, {5, 2, ""}} {
		f.want(fmt.Sprint(c), f.found(func(q *tracing.Query) { q.End, q.Lookback = f.today.UnixMilli()+c.end, c.lookback }), c.want)
	}
}

func traceAfterWindow(t *testing.T, o Open) {
	f := open(t, o, Options{})
	f.write(f.span(1, 1, 0, "web", 0), f.span(1, 2, 1, "app", 5), f.span(1, 3, 2, "db", 900))
	f.want("all its spans", f.found(func(q *tracing.Query) { q.End, q.Lookback = f.today.UnixMilli()+3, 10 }), "1:3")
	f.want("by a service that was later", f.found(func(q *tracing.Query) { q.End, q.Lookback, q.Service = f.today.UnixMilli()+3, 10, "db" }), "1:3")
}

func annotationQueries(t *testing.T, o Open) {
	f := open(t, o, Options{})
	a, b := f.span(1, 1, 0, "web", 0), f.span(2, 1, 0, "web", 1)
	a.Annotations = []tracing.Annotation{{Timestamp: a.Timestamp, Value: "foo"}, {Timestamp: a.Timestamp, Value: "L O L"}}
	a.Tags = []tracing.Tag{{Key: "bar", Value: "1"}, {Key: "baz", Value: "qux"}, {Key: "http.path", Value: "/a"}, {Key: "error"}}
	b.Annotations = []tracing.Annotation{{Timestamp: a.Timestamp, Value: "foo"}}
	b.Tags = []tracing.Tag{{Key: "baz", Value: "other"}, {Key: "a", Value: "123"}}
	f.write(a, b)
	for query, want := range map[string]string{
		"foo":                     "2:1 1:1",
		"baz":                     "2:1 1:1",
		"foo and bar and baz=qux": "1:1",
		"baz=qux":                 "1:1",
		" http.path = /a ":        "1:1",
		"L O L":                   "1:1",
		"a and a=123":             "2:1",
		"a=123 and a=456":         "",
		"error":                   "1:1",
		"error=1":                 "",
		"nothing":                 "",
	} {
		f.want(query, f.found(func(q *tracing.Query) { q.Annotations = tracing.ParseAnnotationQuery(query) }), want)
		f.want(query+" of web", f.found(func(q *tracing.Query) { q.Service, q.Annotations = "web", tracing.ParseAnnotationQuery(query) }), want)
		f.want(query+" of none", f.found(func(q *tracing.Query) { q.Service, q.Annotations = "web1", tracing.ParseAnnotationQuery(query) }), "")
	}
}

func conditionsOfService(t *testing.T, o Open) {
	f := open(t, o, Options{})
	front, back := f.span(1, 1, 0, "frontend", 0), f.span(1, 2, 1, "backend", 1)
	front.Tags = []tracing.Tag{{Key: "a", Value: "1"}}
	back.Tags = []tracing.Tag{{Key: "local", Value: "x"}}
	other := f.span(1, 3, 1, "frontend", 2)
	other.Tags = []tracing.Tag{{Key: "b", Value: "2"}}
	// In several batches, so that no one fragment has it all.
	f.write(front)
	f.write(back)
	f.write(other)
	tag := func(service, query string) string {
		return f.found(func(q *tracing.Query) { q.Service, q.Annotations = service, tracing.ParseAnnotationQuery(query) })
	}
	f.want("of the other service", tag("frontend", "local=x"), "")
	f.want("of its service", tag("backend", "local=x"), "1:3")
	f.want("by two spans", tag("frontend", "a=1 and b=2"), "1:3")
	f.want("of any service", tag("", "a=1 and local and b=2"), "1:3")
}

func conditionsOfNamespace(t *testing.T, o Open) {
	f := open(t, o, Options{})
	in := func(trace uint64, service, namespace string, tags ...tracing.Tag) tracing.Span {
		s := f.span(trace, tracing.ID(trace), 0, service, int64(trace))
		if s.Tags = tags; namespace != "" {
			s.Tags = append(s.Tags, tracing.Tag{Key: tracing.TagNamespace, Value: namespace})
		}
		return s
	}
	failed := tracing.Tag{Key: tracing.TagError, Value: "503"}
	f.write(in(1, "cart", "shop"), in(2, "cart", "bank", failed), in(3, "cart", ""), in(4, "orders", "shop"))
	mixed := in(5, "cart", "shop")
	mixed.ID, mixed.ParentID = 50, 5
	f.write(in(5, "cart", "bank", failed), mixed)
	of := func(service string, unnamed bool, query string, namespaces ...string) string {
		return f.found(func(q *tracing.Query) {
			q.Service, q.Namespaces, q.Unnamed, q.Annotations = service, namespaces, unnamed, tracing.ParseAnnotationQuery(query)
		})
	}
	f.want("of one", of("cart", false, "", "shop"), "5:2 1:1")
	f.want("of one, or of none", of("cart", true, "", "shop"), "5:2 3:1 1:1")
	f.want("of two", of("cart", false, "", "shop", "bank"), "5:2 2:1 1:1")
	f.want("of whichever service", of("", false, "", "shop"), "5:2 4:1 1:1")
	f.want("errors of one", of("", false, "error", "shop"), "")
	f.want("errors of the other", of("", false, "error", "bank"), "5:2 2:1")
	f.want("of one that is not there", of("cart", false, "", "other"), "")
}

func conditionsOfCommand(t *testing.T, o Open) {
	f := open(t, o, Options{})
	of := func(trace uint64, id tracing.ID, command string, duration int64) tracing.Span {
		s := f.span(trace, id, 0, "inventory", int64(trace))
		s.Duration, s.Tags = duration, []tracing.Tag{{Key: tracing.TagCommand, Value: command}}
		return s
	}
	f.write(of(1, 1, "StockService.reserve", 10_000), of(1, 2, "StockService.list", 90_000), of(2, 3, "StockService.reserve", 50_000))
	f.write(of(3, 4, "stockservice.reserve", 50_000), of(4, 5, "GET /stock and more", 50_000))
	find := func(service, command string, least int64) string {
		return f.found(func(q *tracing.Query) { q.Service, q.Command, q.MinDuration = service, command, least })
	}
	f.want("a command", find("inventory", "StockService.reserve", 0), "2:1 1:2")
	f.want("of whichever service", find("", "StockService.reserve", 0), "2:1 1:2")
	f.want("of another service", find("orders", "StockService.reserve", 0), "")
	f.want("a slow one", find("inventory", "StockService.reserve", 20_000), "2:1")
	f.want("one with words in it", find("inventory", "GET /stock and more", 0), "4:1")
	f.want("none", find("inventory", "StockService", 0), "")
}

func durations(t *testing.T, o Open) {
	f := open(t, o, Options{})
	short, long := f.span(1, 1, 0, "web", 0), f.span(1, 2, 1, "db", 1)
	short.Duration, long.Duration = 100_000, 200_000
	f.write(short, long)
	f.write(f.span(2, 1, 0, "web", 1))
	between := func(service string, from, to int64) string {
		return f.found(func(q *tracing.Query) { q.Service, q.MinDuration, q.MaxDuration = service, from, to })
	}
	f.want("web between", between("web", 50_000, 150_000), "1:2")
	f.want("db between", between("db", 50_000, 150_000), "")
	f.want("any between", between("", 50_000, 150_000), "1:2")
	f.want("at least", between("", 200_000, 0), "1:2")
	f.want("longer", between("", 200_001, 0), "")
	f.want("all", between("web", 1, 0), "2:1 1:2")
}

func remoteAndSpan(t *testing.T, o Open) {
	f := open(t, o, Options{})
	s := f.span(1, 1, 0, "Frontend", 0)
	s.Name, s.Remote.Service = "GET", "Backend"
	f.write(s)
	for _, c := range []struct{ service, remote, span, want string }{
		{"FRONTEND", "BACKEND", "Get", "1:1"}, {"", "backend", "", "1:1"}, {"", "", "get", "1:1"}, {"frontend", "", "all", "1:1"},
		{"frontend1", "", "", ""}, {"", "backend1", "", ""}, {"", "", "get1", ""}, {"backend", "", "", ""},
	} {
		f.want(fmt.Sprint(c), f.found(func(q *tracing.Query) { q.Service, q.Remote, q.Span = c.service, c.remote, c.span }), c.want)
	}
}

func oddNames(t *testing.T, o Open) {
	f := open(t, o, Options{})
	s := f.span(1, 1, 0, "web", 0)
	s.Name = `{"foo":"bar"}`
	s.Tags = []tracing.Tag{{Key: "http.path", Value: "/a"}, {Key: "http.path.morepath", Value: "/b"}}
	f.write(s)
	f.want("name", f.found(func(q *tracing.Query) { q.Span = s.Name }), "1:1")
	f.want("both tags", f.found(func(q *tracing.Query) {
		q.Annotations = tracing.ParseAnnotationQuery("http.path=/a and http.path.morepath=/b")
	}), "1:1")
}

func thousandTraces(t *testing.T, o Open) {
	f := open(t, o, Options{})
	var spans []tracing.Span
	for i := range uint64(1000) {
		s := f.span(i+1, 1, 0, "web", int64(i))
		s.Remote.Service = "db"
		s.Tags = []tracing.Tag{{Key: "every", Value: "one"}, {Key: "n", Value: fmt.Sprint(i)}}
		spans = append(spans, s)
	}
	f.write(spans...)
	for what, change := range map[string]func(*tracing.Query){
		"service": func(q *tracing.Query) { q.Service = "web" },
		"remote":  func(q *tracing.Query) { q.Remote = "db" },
		"span":    func(q *tracing.Query) { q.Span = "get" },
		"tag":     func(q *tracing.Query) { q.Annotations = tracing.ParseAnnotationQuery("every=one") },
	} {
		got, err := f.Search(f.ctx(), f.query(func(q *tracing.Query) { change(q); q.Limit = 1000 }))
		if err != nil || len(got.Traces) != 1000 || got.Cut != "" {
			t.Errorf("by %s: %d traces, %q, %v", what, len(got.Traces), got.Cut, err)
		}
	}
	f.want("a rare tag", f.found(func(q *tracing.Query) { q.Annotations = tracing.ParseAnnotationQuery("n=77") }), "4e:1")
	f.want("a rare tag of a service", f.found(func(q *tracing.Query) {
		q.Service, q.Annotations = "web", tracing.ParseAnnotationQuery("n=77 and every")
	}), "4e:1")
	f.want("two of all", f.found(func(q *tracing.Query) { q.Limit = 2 }), "3e8:1 3e7:1")
}

func longTrace(t *testing.T, o Open) {
	f := open(t, o, Options{})
	for i := range tracing.ID(101) {
		f.write(f.span(1, i+1, i, "web", int64(i)))
	}
	f.want("search", f.found(nil), "1:101")
}

func serviceNames(t *testing.T, o Open) {
	f := open(t, o, Options{})
	a := f.span(1, 1, 0, "web", 0)
	a.Remote.Service = "db"
	f.write(a, f.span(1, 2, 1, "app", 0), f.span(1, 3, 1, "", 0))
	for i := range 50 {
		s := f.span(2, tracing.ID(i+1), 0, "web", 0)
		s.Name = fmt.Sprintf("n%02d", i)
		f.write(s, s)
	}
	list := func(got []string, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, " ")
	}
	f.want("services", list(f.Services(f.ctx())), "app web")
	f.want("spans of a remote", list(f.SpanNames(f.ctx(), "db")), "")
	f.want("remote", list(f.RemoteServices(f.ctx(), "web")), "db")
	f.want("remote of another", list(f.RemoteServices(f.ctx(), "app")), "")
	if got, err := f.SpanNames(f.ctx(), "web"); err != nil || len(got) != 51 || got[0] != "get" || got[50] != "n49" {
		t.Errorf("names of spans: %v, %v", got, err)
	}
}

func tagValues(t *testing.T, o Open) {
	f := open(t, o, Options{TagKeys: []string{"env"}})
	a, b := f.span(1, 1, 0, "web", 0), f.span(1, 2, 1, "web", 0)
	a.Tags = []tracing.Tag{{Key: "env", Value: "prod"}, {Key: "other", Value: "x"}}
	b.Tags = []tracing.Tag{{Key: "env", Value: "dev"}}
	f.write(a, b)
	if got, err := f.TagValues(f.ctx(), "env"); err != nil || strings.Join(got, " ") != "dev prod" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := f.TagValues(f.ctx(), "other"); err != nil || len(got) != 0 {
		t.Errorf("not chosen: %v, %v", got, err)
	}
}
