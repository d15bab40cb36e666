package tracingtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirmesh/weir/tracing"
)

// links writes dependencies as "web>app 2/1".
func (f *fixture) links(end, lookback int64) string {
	f.t.Helper()
	f.link()
	got, err := f.Dependencies(f.ctx(), end, lookback)
	if err != nil {
		f.t.Fatal(err)
	}
	var out []string
	for _, l := range got {
		text := fmt.Sprintf("%s>%s %d", l.Parent, l.Child, l.Calls)
		if l.Errors > 0 {
			text += fmt.Sprintf("/%d", l.Errors)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// call makes a client and a server span.
func (f *fixture) call(trace uint64, from, to string, milliseconds int64) (client, server tracing.Span) {
	client, server = f.span(trace, 1, 0, from, milliseconds), f.span(trace, 2, 1, to, milliseconds+1)
	client.Kind, server.Kind = tracing.Client, tracing.Server
	return client, server
}

func dependencies(t *testing.T, o Open) {
	f := open(t, o, Options{})
	end, hour := f.today.UnixMilli()+60_000, int64(3_600_000)
	client, server := f.call(1, "web", "app", 0)
	server.TraceID.High = 9 // mixed ids are one trace here
	server.Tags = []tracing.Tag{{Key: "error"}}
	f.write(client, server)
	f.want("one", f.links(end, hour), "web>app 1/1")
	f.write(client, server)
	f.want("sent twice", f.links(end, hour), "web>app 1/1")

	yesterday, its := f.call(2, "web", "app", -24*hour)
	f.write(yesterday, its)
	f.want("today", f.links(end, hour), "web>app 1/1")
	f.want("two days", f.links(end, 48*hour), "web>app 2/1")
	f.want("before", f.links(end-72*hour, hour), "")

	headless := f.span(3, 5, 4, "orphan", 0)
	headless.Kind = tracing.Server
	leaf := f.span(3, 6, 5, "orphan", 1)
	leaf.Kind, leaf.Remote.Service = tracing.Client, "db"
	leaf.Annotations = []tracing.Annotation{{Timestamp: leaf.Timestamp, Value: "error"}}
	unnamed := f.span(4, 1, 0, "", 0)
	unnamed.Kind, unnamed.Remote.Port = tracing.Client, 80
	f.write(headless, leaf, unnamed)
	f.want("headless", f.links(end, hour), "orphan>db 1, web>app 1/1")
}

// lateDependencies writes damaged traces span by span, in a random order, some
// twice, with links made in between, and compares with a batch job over all.
func lateDependencies(t *testing.T, o Open) {
	for seed := range uint64(6) {
		f := open(t, o, Options{})
		r := rand.New(rand.NewPCG(seed, 3))
		var all []tracing.Span
		var want [][]tracing.Link
		for _, spans := range NewGenerator(seed, f.today).Traces(12) {
			for i := range spans {
				switch r.IntN(10) {
				case 0:
					spans[i].ParentID = tracing.ID(r.Uint64())
				case 1:
					spans[i].Timestamp += 90_000_000 * r.Int64N(2)
				case 2:
					spans[i].ParentID = 0
				case 3:
					spans[i].TraceID.High = 0
				}
			}
			for i := range spans {
				if err := spans[i].Normalize(); err != nil {
					t.Fatal(err)
				}
			}
			want = append(want, tracing.Links(spans))
			all = append(all, spans...)
			all = append(all, spans[r.IntN(len(spans))])
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for len(all) > 0 {
			n := 1 + r.IntN(min(len(all), 15))
			f.write(all[:n]...)
			all = all[n:]
			if r.IntN(4) == 0 {
				f.link()
			}
		}
		f.link()
		got, err := f.Dependencies(f.ctx(), f.today.UnixMilli()+3_600_000, 7_200_000)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, tracing.MergeLinks(want...)) {
			t.Fatalf("seed %d:\ngot  %v\nwant %v", seed, got, tracing.MergeLinks(want...))
		}
	}
}

func replays(t *testing.T, o Open) {
	f := open(t, o, Options{})
	replay := func(spool string, number uint64, trace uint64) {
		t.Helper()
		s := f.span(trace, 1, 0, "web", int64(trace))
		s.Tags = []tracing.Tag{{Key: "of", Value: fmt.Sprint(spool, number)}}
		if err := f.Replay(f.ctx(), spool, number, []tracing.Span{s}); err != nil {
			t.Fatal(err)
		}
	}
	replay("a", 1, 1)
	replay("a", 1, 2) // again, though other spans, so that it would show
	replay("a", 3, 3)
	replay("a", 2, 4) // behind
	replay("b", 1, 5)
	f.want("stored", f.found(nil), "5:1 3:1 1:1")
}

func identicalBatches(t *testing.T, o Open) {
	f := open(t, o, Options{})
	var spans []tracing.Span
	for _, trace := range NewGenerator(21, f.today).Traces(30) {
		spans = append(spans, trace...)
	}
	var all sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		all.Go(func() { errs[i] = f.Write(f.ctx(), spans) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.Search(f.ctx(), f.query(func(q *tracing.Query) { q.Limit = 1000 }))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, trace := range got.Traces {
		read += len(trace)
	}
	if len(got.Traces) != 30 || read != len(spans) {
		t.Errorf("%d traces of %d spans, want 30 of %d", len(got.Traces), read, len(spans))
	}
}

func strangeTexts(t *testing.T, o Open) {
	f := open(t, o, Options{TagKeys: []string{"long"}})
	s := f.span(1, 1, 0, "we\x00b", 0)
	s.Name = strings.Repeat("näme ", 2000)
	s.Remote.Service = strings.Repeat("r", 5000)
	s.Tags = []tracing.Tag{{Key: "long", Value: strings.Repeat("x", 100_000)}, {Key: "odd", Value: "\t\"\u2028\x00你"}, {Key: "", Value: "no key"}}
	f.write(s)
	got, err := f.Trace(f.ctx(), s.TraceID)
	if err != nil || len(got) != 1 || got[0].Name != s.Name || got[0].Local.Service != "we\x00b" || len(got[0].Tags) != 3 {
		t.Fatalf("%v", err)
	}
	if v, _ := got[0].Tag("odd"); v != "\t\"\u2028\x00你" {
		t.Errorf("%q", v)
	}
	for what, change := range map[string]func(*tracing.Query){
		"service":    func(q *tracing.Query) { q.Service = "we\x00b" },
		"name":       func(q *tracing.Query) { q.Span = s.Name },
		"remote":     func(q *tracing.Query) { q.Remote = s.Remote.Service },
		"long value": func(q *tracing.Query) { q.Annotations = []tracing.Condition{{Key: "long", Value: s.Tags[1].Value}} },
	} {
		f.want(what, f.found(change), "1:1")
	}
	if names, err := f.Services(f.ctx()); err != nil || len(names) != 1 {
		t.Errorf("services: %q, %v", names, err)
	}
}

// againstAll compares searches of every sort with a look at all traces.
func againstAll(t *testing.T, o Open) {
	f := open(t, o, Options{})
	g := NewGenerator(31, f.today.Add(-10*60e9))
	g.Step = 700e6 // over ten minutes
	traces := g.Traces(900)
	var spans []tracing.Span
	for _, trace := range traces {
		spans = append(spans, trace...)
	}
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
	for chunk := range slices.Chunk(spans, 2500) {
		f.write(chunk...)
	}
	for range 120 {
		of := traces[r.IntN(len(traces))]
		s := of[r.IntN(len(of))]
		q := f.query(func(q *tracing.Query) {
			q.Limit = 1 + r.IntN(20)
			if r.IntN(3) > 0 {
				q.Service = s.Local.Service
			}
			if r.IntN(3) == 0 {
				q.Span = s.Name
			}
			if r.IntN(4) == 0 {
				q.Remote = s.Remote.Service
			}
			if r.IntN(4) == 0 {
				q.MinDuration = 1 + r.Int64N(100_000)
			}
			for range r.IntN(3) {
				tag := s.Tags[r.IntN(len(s.Tags))]
				q.Annotations = append(q.Annotations, tracing.Condition(tag))
			}
			if r.IntN(4) == 0 {
				q.Namespaces, q.Unnamed = [][]string{{"shop"}, {"bank"}, {"bank", "shop"}}[r.IntN(3)], r.IntN(2) == 0
			}
			if r.IntN(3) == 0 {
				q.End, q.Lookback = s.Timestamp/1000+r.Int64N(100_000), 1+r.Int64N(300_000)
			}
		})
		var want []int64
		for _, trace := range traces {
			if q.Match(trace) {
				want = append(want, tracing.TraceTime(trace))
			}
		}
		slices.SortFunc(want, func(a, b int64) int { return int(b - a) })
		want = want[:min(len(want), q.Limit)]
		found, err := f.Search(f.ctx(), q)
		if err != nil || found.Cut != "" {
			t.Fatalf("%+v: %v, %q", q, err, found.Cut)
		}
		var got []int64
		for _, trace := range found.Traces {
			got = append(got, tracing.TraceTime(trace))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v:\ngot  %v\nwant %v", q, got, want)
		}
	}
}
