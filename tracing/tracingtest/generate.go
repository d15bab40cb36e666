// Package tracingtest holds what tests and benchmarks of tracing share: a
// generator of spans as varied as those of real services, and the conformance kit
// that every store passes.
package tracingtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/weirmesh/weir/tracing"
)

// Generator makes traces of a made-up shop: thirty services that call each other
// over HTTP, RPC, SQL and messages; about 11 spans to a trace, 11 to 12 tags to a
// span, of which many are unique (urls, order and request ids, statements), about
// 760 bytes of JSON to a span. Equal seeds make equal spans. It is not safe for
// concurrent use.
type Generator struct {
	rand     *rand.Rand
	services []service
	// Now is when the next trace begins; each begins Step after the one before.
	Now  time.Time
	Step time.Duration
}

type service struct {
	name      string
	addr      netip.Addr
	instances int
	calls     []int
	database  string
	paths     []string
}

var nouns = []string{
	"storefront", "cart", "orders", "inventory", "pricing", "payment", "shipping", "users", "sessions", "search",
	"catalog", "reviews", "recommend", "images", "tax", "discounts", "fraud", "ledger", "invoices", "mailer",
	"notify", "warehouse", "carrier", "address", "currency", "loyalty", "audit", "config", "flags", "gateway",
}

// NewGenerator returns a generator whose first trace begins at start.
func NewGenerator(seed uint64, start time.Time) *Generator {
	g := &Generator{rand: rand.New(rand.NewPCG(seed, 0x7e57)), Now: start, Step: time.Millisecond}
	for i, name := range nouns {
		s := service{name: name, addr: netip.AddrFrom4([4]byte{10, 244, byte(i), 10}), instances: 2 + i%4}
		for j := range 1 + i%3 {
			if to := i + 1 + j*3 + i%2; to < len(nouns) {
				s.calls = append(s.calls, to)
			}
		}
		if i%2 == 1 {
			s.database = name + "-db"
		}
		for _, verb := range []string{"list", "get", "create", "update", "reserve", "quote"} {
			s.paths = append(s.paths, fmt.Sprintf("/api/v1/%s/%s/{id}", name, verb))
		}
		g.services = append(g.services, s)
	}
	return g
}

// Trace makes the spans of one trace, parents before children.
func (g *Generator) Trace() []tracing.Span {
	t := tracing.TraceID{High: g.rand.Uint64() | 1, Low: g.rand.Uint64() | 1}
	at := g.Now.UnixMicro() + g.rand.Int64N(1000)
	g.Now = g.Now.Add(g.Step)
	want := 5 + g.rand.IntN(13)
	spans := make([]tracing.Span, 0, want+2)
	g.server(&spans, t, g.rand.IntN(6), 0, tracing.Endpoint{}, at, int64(2000+g.rand.IntN(400_000)), want)
	for i := range spans {
		if err := spans[i].Normalize(); err != nil {
			panic(err) // the generator itself is wrong
		}
	}
	return spans
}

// Traces makes n traces.
func (g *Generator) Traces(n int) [][]tracing.Span {
	out := make([][]tracing.Span, n)
	for i := range out {
		out[i] = g.Trace()
	}
	return out
}

// Bodies makes n spans in bodies as senders post them: of one service each, size
// spans to a body (the last ones may be smaller), those of a trace spread over
// several bodies.
func (g *Generator) Bodies(n, size int) [][]tracing.Span {
	var out [][]tracing.Span
	waiting := make(map[string][]tracing.Span)
	for made := 0; made < n; {
		for _, s := range g.Trace() {
			made++
			list := waiting[s.Local.Service]
			list = append(list, s)
			if len(list) == size {
				out = append(out, list)
				list = nil
			}
			waiting[s.Local.Service] = list
		}
	}
	for _, name := range nouns {
		if len(waiting[name]) > 0 {
			out = append(out, waiting[name])
		}
	}
	return out
}

// Services are the names of the services that spans are of, sorted.
func (g *Generator) Services() []string {
	return slices.Sorted(slices.Values(nouns))
}

func (g *Generator) endpoint(of int) tracing.Endpoint {
	s := g.services[of]
	raw := s.addr.As4()
	raw[3] += byte(g.rand.IntN(s.instances))
	return tracing.Endpoint{Service: s.name, IPv4: netip.AddrFrom4(raw), Port: uint16(8000 + of)}
}

// server adds a server span of a service and what it calls, until the trace has
// as many as are wanted.
func (g *Generator) server(spans *[]tracing.Span, t tracing.TraceID, of int, parent tracing.ID, from tracing.Endpoint, at, took int64, want int) {
	s := g.services[of]
	path := s.paths[g.rand.IntN(len(s.paths))]
	own := g.endpoint(of)
	span := tracing.Span{
		TraceID: t, ParentID: parent, ID: g.id(), Kind: tracing.Server, Name: "get " + path, Timestamp: at, Duration: took,
		Local: own, Remote: tracing.Endpoint{IPv4: from.IPv4, Port: uint16(30000 + g.rand.IntN(20000))},
		Tags: g.tags(own, path),
	}
	if g.rand.IntN(50) == 0 {
		span.Tags = append(span.Tags, tracing.Tag{Key: "error", Value: fmt.Sprintf("order %d is gone", g.rand.IntN(1e6))})
	}
	if g.rand.IntN(4) == 0 {
		span.Annotations = append(span.Annotations, tracing.Annotation{Timestamp: at + took/2, Value: fmt.Sprintf("retry %d", g.rand.IntN(3))})
	}
	*spans = append(*spans, span)
	step := took / 5
	for i, to := range s.calls {
		if len(*spans) >= want {
			return
		}
		began := at + step*int64(i+1)
		client := tracing.Span{
			TraceID: t, ParentID: span.ID, ID: g.id(), Kind: tracing.Client, Name: "get " + g.services[to].name, Timestamp: began, Duration: step,
			Local: own, Remote: tracing.Endpoint{Service: g.services[to].name}, Tags: g.tags(own, g.services[to].paths[0]),
		}
		*spans = append(*spans, client)
		g.server(spans, t, to, client.ID, own, began+step/10, step*8/10, want)
	}
	if s.database != "" && len(*spans) < want {
		statement := fmt.Sprintf("SELECT id, state, total FROM %s WHERE customer = %d AND placed > '2026-01-%02d' LIMIT 50", s.name, g.rand.IntN(1e7), 1+g.rand.IntN(28))
		*spans = append(*spans, tracing.Span{
			TraceID: t, ParentID: span.ID, ID: g.id(), Kind: tracing.Client, Name: "query", Timestamp: at + took - step/2, Duration: step / 4,
			Local: own, Remote: tracing.Endpoint{Service: s.database, Port: 5432},
			Tags: append(g.tags(own, "")[:5], tracing.Tag{Key: "sql.query", Value: statement}, tracing.Tag{Key: "db.system", Value: "postgresql"}),
		})
	}
}

func (g *Generator) id() tracing.ID { return tracing.ID(g.rand.Uint64() | 1) }

func (g *Generator) tags(own tracing.Endpoint, path string) []tracing.Tag {
	status := "200"
	if n := g.rand.IntN(200); n == 0 {
		status = "503"
	} else if n < 5 {
		status = "404"
	}
	order := g.rand.IntN(1e8)
	out := []tracing.Tag{
		{Key: "weir.namespace", Value: "shop"},
		{Key: "weir.instance", Value: own.Service + "-7d9f8b-" + own.IPv4.String()},
		{Key: "order.id", Value: fmt.Sprint(order)},
		{Key: "request.id", Value: fmt.Sprintf("%016x", g.rand.Uint64())},
		{Key: "customer.tier", Value: []string{"gold", "silver", "none"}[g.rand.IntN(3)]},
		{Key: "http.method", Value: "GET"},
		{Key: "http.status_code", Value: status},
		{Key: "http.url", Value: fmt.Sprintf("http://%s%s?order=%d&trace=1", net.JoinHostPort(own.Service, strconv.Itoa(int(own.Port))), path, order)},
		{Key: "http.path", Value: path},
		{Key: "net.peer", Value: fmt.Sprintf("10.244.%d.%d:%d", g.rand.IntN(30), g.rand.IntN(250), 30000+g.rand.IntN(20000))},
		{Key: "thread", Value: fmt.Sprintf("worker-%d", g.rand.IntN(64))},
	}
	if g.rand.IntN(2) == 0 {
		out = append(out, tracing.Tag{Key: "user.agent", Value: fmt.Sprintf("okhttp/4.%d", g.rand.IntN(12))})
	}
	return out
}
