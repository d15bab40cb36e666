package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/memory"
)

// benchRoutes are routes as a large installation has them: hosts, resources below
// a prefix, methods, and now and then a condition on a header.
func benchRoutes(tb testing.TB, n int) (*table, linear, []request) {
	tb.Helper()
	t, e := &table{}, new(edit)
	var all linear
	var requests []request
	for i := range n {
		m := gateway.Match{
			Host: gateway.Strings{fmt.Sprintf("team%d.example.com", i%50)},
			Path: fmt.Sprintf("/api/v1/resource%d/{id}/items/{item}", i/4),
		}
		switch i % 4 {
		case 0:
			m.Method = gateway.Strings{"GET"}
		case 1:
			m.Method = gateway.Strings{"POST"}
		case 2:
			m.Method = gateway.Strings{"GET"}
			m.Header = []gateway.HeaderMatch{{Name: "X-Version", Equals: "2"}}
		}
		m.Host[0] = fmt.Sprintf("team%d.example.com", i/4%50)
		r, err := compileMatch(version(tb, fmt.Sprintf("route-%06d", i), 0, m))
		if err != nil {
			tb.Fatal(err)
		}
		t = t.with(e, r)
		all = append(all, r)
	}
	d := rand.New(rand.NewPCG(1, 1))
	for range 1024 {
		i := d.IntN(n)
		r := requestFor(tb, []string{"GET", "POST", "GET", "DELETE"}[i%4], fmt.Sprintf("http://team%d.example.com/api/v1/resource%d/%d/items/%d", i/4%50, i/4, i, i))
		if i%4 == 2 {
			r.header.Set("X-Version", "2")
		}
		requests = append(requests, r)
	}
	return t, all, requests
}

var sink *route

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		t, all, requests := benchRoutes(b, n)
		for i := range requests[:50] {
			if got, want := t.find(requests[i]), all.find(requests[i]); got == nil || got != want {
				b.Fatalf("%v, want %v", got, want)
			}
		}
		b.Run(fmt.Sprintf("table/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sink = t.find(requests[i%len(requests)])
			}
		})
		b.Run(fmt.Sprintf("linear/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sink = all.scan(&requests[i%len(requests)])
			}
		})
	}
}

// scan is the linear search as gateways that have one do it: over a list that is
// sorted already, up to the first that matches.
func (l linear) scan(q *request) *route {
	for _, r := range l {
		if r.takesHost(q.host) && r.pattern.Match(q.segments) && r.takes(q) {
			return r
		}
	}
	return nil
}

// BenchmarkChange is one route written into a table.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		t, all, _ := benchRoutes(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e, r := new(edit), all[i%len(all)]
				t = t.without(e, r).with(e, r)
			}
		})
	}
}

// BenchmarkBuild is a whole table.
func BenchmarkBuild(b *testing.B) {
	_, all, _ := benchRoutes(b, 10_000)
	for b.Loop() {
		t, e := &table{}, new(edit)
		for _, r := range all {
			t = t.with(e, r)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/route")
}

// BenchmarkProxy is a request through the gateway and, beside it, through the
// standard library's reverse proxy as it comes and with the same transport.
func BenchmarkProxy(b *testing.B) {
	body := strings.Repeat("x", 1024)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
	defer up.Close()
	target, _ := url.Parse(up.URL)

	p, err := New(Config{Node: "n", Source: memory.New(memory.Options{})})
	if err != nil {
		b.Fatal(err)
	}
	v := version(b, "r", 0, gateway.Match{Path: "/{all...}"})
	v.Route.Upstream.URL = up.URL
	var sum gateway.Sum
	sum.Toggle(v)
	if !p.follower.apply(gateway.Delta{Full: true, Revision: 1, Routes: []gateway.Version{v}, Checksum: sum.String()}) {
		b.Fatal("the route was not taken")
	}
	defer p.Shutdown(b.Context())
	tuned := httputil.NewSingleHostReverseProxy(target)
	tuned.Transport = newEndpoint(p.dial, target.Host, "http1", identity{}).transport
	tuned.BufferPool = pooled{}
	for name, h := range map[string]http.Handler{
		"weir": p, "ReverseProxy": httputil.NewSingleHostReverseProxy(target), "ReverseProxy-tuned": tuned,
	} {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(h)
			defer server.Close()
			client := server.Client()
			client.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, _ := http.NewRequest(http.MethodGet, server.URL+"/cart/42", nil)
					answer, err := client.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
					if answer.StatusCode != http.StatusOK {
						b.Errorf("status %d", answer.StatusCode)
						return
					}
				}
			})
		})
	}
}

type pooled struct{}

func (pooled) Get() []byte {
	b, _ := buffers.Get().(*[copyBuffer]byte)
	return b[:]
}

func (pooled) Put(b []byte) { buffers.Put((*[copyBuffer]byte)(b)) }

// BenchmarkApply is what a gateway does at its start: all routes, compiled whole,
// with their upstreams.
func BenchmarkApply(b *testing.B) {
	const n = 10_000
	d := gateway.Delta{Full: true, Revision: 1}
	for i := range n {
		v := version(b, fmt.Sprintf("route-%d", i), 0, gateway.Match{Host: gateway.Strings{fmt.Sprintf("team%d.example.com", i%50)}, Path: fmt.Sprintf("/api/%d/{id}", i)})
		v.Route.Upstream.URL = fmt.Sprintf("http://app%d.example.com", i%500)
		d.Routes = append(d.Routes, v)
	}
	d.Checksum = gateway.Checksum(d.Routes)
	for b.Loop() {
		p, err := New(Config{Node: "n", Source: memory.New(memory.Options{})})
		if err != nil {
			b.Fatal(err)
		}
		if !p.follower.apply(d) {
			b.Fatal("the routes were not taken")
		}
		if err := p.Shutdown(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/route")
}
