package dubbo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// provider speaks the Dubbo protocol over TCP, and answers what it is told to.
type provider struct {
	t    testing.TB
	name string
	l    net.Listener
	wg   sync.WaitGroup

	mu     sync.Mutex
	calls  int
	last   []byte // the body of the last request
	conns  map[net.Conn]bool
	answer func(w *wire, h header, body []byte)
}

func startProvider(t testing.TB, name string, answer func(w *wire, h header, body []byte)) *provider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, name: name, l: l, conns: map[net.Conn]bool{}, answer: answer}
	if answer == nil {
		p.answer = func(w *wire, h header, _ []byte) { w.answer(h.id, name) }
	}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[c] = true
			p.mu.Unlock()
			p.wg.Go(func() { p.serve(&wire{t, c}) })
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *provider) serve(w *wire) {
	defer w.conn.Close()
	for {
		h, body, err := w.next()
		if err != nil {
			return
		}
		if h.event() {
			continue
		}
		p.mu.Lock()
		p.calls++
		p.last = body
		answer := p.answer
		p.mu.Unlock()
		answer(w, h, body)
	}
}

func (p *provider) close() {
	p.l.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// request returns the body of the last request.
func (p *provider) request() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.last)
}

func (p *provider) port() int {
	_, port, _ := net.SplitHostPort(p.l.Addr().String())
	n, err := strconv.Atoi(port)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// shop is a registry with providers of shop/stock, and a gateway on it.
type shop struct {
	t   testing.TB
	reg *memory.Registry
	app registry.App
	d   *Dubbo
}

func openShop(t testing.TB, cfg Config, providers ...*provider) *shop {
	t.Helper()
	s := &shop{t: t, reg: memory.New(), app: registry.App{Namespace: "shop", Name: "stock"}}
	c := s.reg.Join(memory.Config{})
	t.Cleanup(c.Close)
	for _, p := range providers {
		s.put(p, registry.Details{})
	}
	if len(providers) == 0 {
		s.reg.PutService(s.app, registry.Service{})
	}
	cfg.Discoverer = c
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	s.d = d
	return s
}

func (s *shop) put(p *provider, details registry.Details) {
	s.reg.PutInstance(s.app, registry.Instance{
		ID: p.name, Name: p.name, Host: netip.MustParseAddr("127.0.0.1"), Health: registry.Ready, Details: details,
		Metadata:  map[string]string{registry.KeyEndpoints: fmt.Sprintf(`[{"port":%d,"protocol":"dubbo"}]`, p.port())},
		Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: uint16(p.port())}},
	})
}

// disconnected waits until the gateway has seen that a provider hung up.
func (s *shop) disconnected(p *provider) {
	s.t.Helper()
	a := s.d.apps[s.app]
	waitFor(s.t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.have["dubbo "+p.l.Addr().String()].client.live.Load() == nil
	})
}

func (s *shop) route(filters ...gateway.Filter) gateway.Route {
	return gateway.Route{
		Namespace: "shop", Name: "count", Match: gateway.Match{Path: "/stock/{sku}"}, Filters: filters,
		Upstream: gateway.Upstream{Dubbo: &gateway.Dubbo{
			App: "shop/stock", Interface: "org.example.StockService", Method: "count",
			Args:        []gateway.Arg{{Type: "java.lang.String", From: "path.sku"}},
			Attachments: map[string]string{registry.KeyTag: "header.X-Tag", "tenant": "header.X-Tenant"},
		}},
	}
}

func (s *shop) compile(filters ...gateway.Filter) http.Handler {
	s.t.Helper()
	h, err := s.d.Compile(s.route(filters...))
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func ask(h http.Handler, method string, headers ...string) *httptest.ResponseRecorder {
	return askIn(context.Background(), h, method, headers...)
}

func askIn(ctx context.Context, h http.Handler, method string, headers ...string) *httptest.ResponseRecorder {
	ctx = gateway.WithVars(ctx, gateway.Vars{{Name: "sku", Value: "book"}})
	r := httptest.NewRequestWithContext(ctx, method, "/stock/book", nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func want(t testing.TB, w *httptest.ResponseRecorder, status int, words ...string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	for _, s := range words {
		if !strings.Contains(w.Body.String(), s) {
			t.Errorf("no %q in %s", s, w.Body)
		}
	}
}
