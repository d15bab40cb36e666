package tracing_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

func equalLinks(a, b []tracing.Link) bool { return slices.Equal(a, b) }

// parse reads spans written as "id parent kind local remote time flags…", "-" for
// none; flags are shared, error, and anything else is the text of an annotation.
func parse(t *testing.T, lines ...string) []tracing.Span {
	t.Helper()
	var out []tracing.Span
	for _, line := range lines {
		f := strings.Fields(line)
		for i := range f {
			if f[i] == "-" {
				f[i] = ""
			}
		}
		s := tracing.Span{TraceID: tracing.TraceID{Low: 1}}
		fmt.Sscanf(f[0], "%x", &s.ID)
		fmt.Sscanf(f[1], "%x", &s.ParentID)
		s.Kind, _ = tracing.ParseKind(strings.ToUpper(f[2]))
		s.Local.Service, s.Remote.Service = f[3], f[4]
		fmt.Sscanf(f[5], "%d", &s.Timestamp)
		for _, flag := range f[6:] {
			switch flag {
			case "shared":
				s.Shared = true
			case "error":
				s.Tags = []tracing.Tag{{Key: "error"}}
			default:
				s.Annotations = append(s.Annotations, tracing.Annotation{Timestamp: 1, Value: flag})
			}
		}
		if err := s.Normalize(); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, s)
	}
	return out
}

func show(links []tracing.Link) string {
	var out []string
	for _, l := range links {
		text := fmt.Sprintf("%s>%s %d", l.Parent, l.Child, l.Calls)
		if l.Errors > 0 {
			text += fmt.Sprintf("/%d", l.Errors)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestLinks(t *testing.T) {
	for name, c := range map[string]struct {
		spans []string
		want  string
	}{
		"unshared client and server":      {[]string{"1 - server web - 1", "2 1 client web app 2", "3 2 server app - 3"}, "web>app 1"},
		"shared client and server":        {[]string{"1 - server web - 1", "2 1 client web app 2", "2 1 server app - 3 shared"}, "web>app 1"},
		"shared without the flag":         {[]string{"1 - client web app 1", "1 - server app - 2"}, "web>app 1"},
		"a client at the leaf":            {[]string{"1 - server web - 1", "2 1 client web db 2"}, "web>db 1"},
		"the server's name is preferred":  {[]string{"1 - client web wrong 1", "2 1 server app - 2"}, "web>app 1"},
		"local spans between":             {[]string{"1 - server web - 1", "2 1 - web - 2", "3 2 client web db 3"}, "web>db 1"},
		"no kind but both names":          {[]string{"1 - - web db 1"}, "web>db 1"},
		"no kind and one name":            {[]string{"1 - - web - 1", "2 1 - web - 1"}, ""},
		"a root whose caller is known":    {[]string{"1 - server web browser 1"}, "browser>web 1"},
		"a root whose caller is not":      {[]string{"1 - server web - 1"}, ""},
		"the client's error is lent":      {[]string{"1 - client web app 1 error", "2 1 server app - 2"}, "web>app 1/1"},
		"an error on the server":          {[]string{"1 - client web app 1", "2 1 server app - 2 error"}, "web>app 1/1"},
		"an annotation is no error":       {[]string{"1 - client web app 1", "2 1 server app - 2 Error"}, "web>app 1"},
		"a client's span is missing":      {[]string{"1 - server web - 1", "3 1 client app db 2 error"}, "app>db 1/1, web>app 1"},
		"headless":                        {[]string{"2 1 server app - 1", "3 2 client app db 2"}, "app>db 1"},
		"headless with a known caller":    {[]string{"2 1 server app web 1"}, "web>app 1"},
		"messages link with the broker":   {[]string{"1 - producer web kafka 1", "2 1 consumer app kafka 2"}, "kafka>app 1, web>kafka 1"},
		"messages without a broker":       {[]string{"1 - producer web - 1", "2 1 consumer app - 2"}, ""},
		"nobody is named":                 {[]string{"1 - client - - 1", "2 1 server - - 2"}, ""},
		"two servers share a client's id": {[]string{"1 - client web - 1", "1 - server app - 2 shared", "1 - server api - 3 shared"}, "web>api 1, web>app 1"},
		"calls are counted":               {[]string{"1 - server web - 1", "2 1 client web db 2", "3 1 client web db 3 error"}, "web>db 2/1"},
		"parts of one span":               {[]string{"1 - server web - 1", "2 1 client web - 2", "2 1 client - db 2 error"}, "web>db 1/1"},
		"a child of the shared span":      {[]string{"1 - client web app 1", "1 - server app - 2 shared", "2 1 client app db 3"}, "app>db 1, web>app 1"},
		"two roots":                       {[]string{"1 - server web - 1", "2 - server app web 2"}, "web>app 1"},
		"spans that are each other's":     {[]string{"1 2 server a b 1", "2 1 server c d 1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spans := parse(t, c.spans...)
			if got := show(tracing.Links(spans)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := show(tracing.Links(append(spans, spans...))); got != c.want {
				t.Errorf("sent twice: got %q, want %q", got, c.want)
			}
		})
	}
}

// Whatever order spans arrive in, and however often, they make the same links and
// the same tree.
func TestLinksDependOnTheSetOfSpansAlone(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, spans := range tracingtest.NewGenerator(5, start).Traces(100) {
		// Traces with damage: spans lost, halved, shared, with the wrong id.
		for i := range spans {
			switch r.IntN(12) {
			case 0:
				spans[i].Local = tracing.Endpoint{}
			case 1:
				spans[i].ParentID = tracing.ID(r.Uint64())
			case 2:
				spans[i].ID = spans[r.IntN(len(spans))].ID
			case 3:
				spans[i].TraceID.High = 0
			case 4:
				spans[i].Shared = true
			}
			if err := spans[i].Normalize(); err != nil {
				t.Fatal(err)
			}
		}
		want := tracing.Links(spans)
		for range 5 {
			mixed := append(slices.Clone(spans), spans[:r.IntN(len(spans))]...)
			r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			if got := tracing.Links(mixed); !equalLinks(got, want) {
				t.Fatalf("got  %s\nwant %s\nfrom %s", show(got), show(want), tracing.AppendJSONList(nil, spans))
			}
		}
	}
}

func TestMergeJoinsParts(t *testing.T) {
	spans := parse(t, "2 1 client web - 5", "2 1 client - db 0 error", "1 - server web - 1", "2 - server db - 6")
	spans[1].TraceID.High = 7
	spans[1].Duration = 9
	merged := tracing.Merge(spans)
	if len(merged) != 3 {
		t.Fatalf("%d spans: %+v", len(merged), merged)
	}
	client, server := merged[1], merged[2]
	if client.Kind != tracing.Client || client.Timestamp != 5 || client.Duration != 9 || client.Remote.Service != "db" || len(client.Tags) != 1 {
		t.Errorf("client %+v", client)
	}
	if !server.Shared || server.ParentID != 1 {
		t.Errorf("server %+v", server)
	}
	for _, s := range merged {
		if s.TraceID.High != 7 {
			t.Errorf("trace id %s", s.TraceID)
		}
	}
	if spans[0].TraceID.High != 0 || spans[3].Shared {
		t.Error("the spans given were changed")
	}
}

func TestMatch(t *testing.T) {
	trace := []tracing.Span{
		{TraceID: tracing.TraceID{Low: 1}, ID: 1, Name: "get", Timestamp: 5_000_000, Duration: 100, Local: tracing.Endpoint{Service: "frontend"}, Remote: tracing.Endpoint{Service: "backend"}, Tags: []tracing.Tag{{Key: "http.path", Value: "/a"}}},
		{TraceID: tracing.TraceID{Low: 1}, ID: 2, ParentID: 1, Name: "query", Timestamp: 4_000_000, Duration: 900, Local: tracing.Endpoint{Service: "backend"}, Annotations: []tracing.Annotation{{Timestamp: 1, Value: "L O L"}}, Tags: []tracing.Tag{{Key: "error"}, {Key: "local", Value: "x"}}},
	}
	for name, c := range map[string]struct {
		query tracing.Query
		want  bool
	}{
		"anything":                         {tracing.Query{}, true},
		"the root's time, inclusive":       {tracing.Query{End: 5000, Lookback: 1}, true},
		"from the root's time on":          {tracing.Query{End: 5001, Lookback: 1}, true},
		"before":                           {tracing.Query{End: 4999, Lookback: 4999}, false},
		"after":                            {tracing.Query{End: 6000, Lookback: 999}, false},
		"service":                          {tracing.Query{Service: "backend"}, true},
		"no such service":                  {tracing.Query{Service: "backend1"}, false},
		"remote service":                   {tracing.Query{Remote: "backend"}, true},
		"remote of that service":           {tracing.Query{Service: "backend", Remote: "backend"}, false},
		"span":                             {tracing.Query{Span: "query"}, true},
		"span of that service":             {tracing.Query{Service: "frontend", Span: "query"}, false},
		"tag":                              {tracing.Query{Annotations: tracing.ParseAnnotationQuery(" http.path = /a ")}, true},
		"tag of another value":             {tracing.Query{Annotations: tracing.ParseAnnotationQuery("http.path=/b")}, false},
		"tag of the other service":         {tracing.Query{Service: "frontend", Annotations: tracing.ParseAnnotationQuery("local=x")}, false},
		"annotation":                       {tracing.Query{Annotations: tracing.ParseAnnotationQuery("L O L")}, true},
		"all of them, by different spans":  {tracing.Query{Annotations: tracing.ParseAnnotationQuery("http.path=/a and L O L and error")}, true},
		"an empty tag is there":            {tracing.Query{Annotations: tracing.ParseAnnotationQuery("error")}, true},
		"an empty tag has no value":        {tracing.Query{Annotations: tracing.ParseAnnotationQuery("error=1")}, false},
		"the value wins over the bare key": {tracing.Query{Annotations: tracing.ParseAnnotationQuery("local and local=y")}, false},
		"the last value wins":              {tracing.Query{Annotations: tracing.ParseAnnotationQuery("local=y and local=x and local")}, true},
		"long enough":                      {tracing.Query{MinDuration: 500}, true},
		"long enough in that service":      {tracing.Query{Service: "frontend", MinDuration: 500}, false},
		"within":                           {tracing.Query{MinDuration: 50, MaxDuration: 150}, true},
		"between the two":                  {tracing.Query{MinDuration: 150, MaxDuration: 850}, false},
	} {
		q := c.query
		if q.End == 0 {
			q.End, q.Lookback = 10_000, 10_000
		}
		q.Limit = 1
		if err := q.Normalize(); err != nil {
			t.Fatal(err)
		}
		if got := q.Match(trace); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if q := (tracing.Query{End: 10, Lookback: 10}); q.Match([]tracing.Span{{ID: 1}}) {
		t.Error("a trace without a time matches")
	}
}

func TestQueryRefuses(t *testing.T) {
	for want, q := range map[string]tracing.Query{
		"endTs <= 0":       {Limit: 1, Lookback: 1},
		"limit <= 0":       {End: 1, Lookback: 1},
		"lookback <= 0":    {End: 1, Limit: 1},
		"minDuration <= 0": {End: 1, Limit: 1, Lookback: 1, MinDuration: -1},
		"maxDuration is only valid with minDuration": {End: 1, Limit: 1, Lookback: 1, MaxDuration: 1},
		"maxDuration < minDuration":                  {End: 1, Limit: 1, Lookback: 1, MinDuration: 2, MaxDuration: 1},
	} {
		if err := q.Normalize(); tracing.CodeOf(err) != tracing.Invalid || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a and b=c", "svc", int64(1), int64(2), uint64(7))
	f.Fuzz(func(t *testing.T, annotations, service string, minimum, maximum int64, seed uint64) {
		q := tracing.Query{Service: service, Annotations: tracing.ParseAnnotationQuery(annotations), MinDuration: minimum, MaxDuration: maximum, End: start.UnixMilli() + 1000, Lookback: 10_000, Limit: 1}
		if q.Normalize() != nil {
			return
		}
		spans := tracingtest.NewGenerator(seed, start).Trace()
		want := q.Match(spans)
		slices.Reverse(spans)
		if q.Match(spans) != want || q.Match(append(spans, spans...)) != want {
			t.Fatal("the order or number of spans makes a difference")
		}
	})
}

// The store links spans without their names and most tags. That must not change
// which of two parts that contradict each other wins.
func TestLinksDoNotDependOnWhatTheyLeaveOut(t *testing.T) {
	part := func(name, remote string) tracing.Span {
		return tracing.Span{
			TraceID: tracing.TraceID{Low: 1}, ID: 1, Kind: tracing.Client, Name: name, Timestamp: 1,
			Local: tracing.Endpoint{Service: "web"}, Remote: tracing.Endpoint{Service: remote},
		}
	}
	spans := []tracing.Span{part("a", "x"), part("b", "y")}
	slim, err := tracing.DecodeProtoForLinks(tracing.AppendProto(nil, spans...))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(tracing.Links(slim)), show(tracing.Links(spans)); got != want {
		t.Errorf("got %s without names, %s with them", got, want)
	}
}
