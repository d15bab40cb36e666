package kube_test

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// proxy stands between a client and the API server, so that a test can cut the
// wire. While it is cut, connections are refused as by a host without a server.
type proxy struct {
	t       *testing.T
	address string // its own
	server  string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// proxyTo puts a proxy before the server that cfg names, and cfg onto the proxy.
func proxyTo(t *testing.T, cfg *rest.Config) *proxy {
	t.Helper()
	server, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, server: server.Host, address: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	p.restore()
	cfg.Host = "https://" + p.address
	if cfg.ServerName == "" {
		cfg.ServerName = server.Hostname()
	}
	t.Cleanup(func() {
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Errorf("proxy: %v", err)
		return
	}
	p.listener, p.address = listener, listener.Addr().String()
	p.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.carry(conn) })
		}
	})
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for conn := range p.conns {
		conn.Close()
	}
	clear(p.conns)
}

func (p *proxy) carry(in net.Conn) {
	out, err := net.Dial("tcp", p.server)
	if err != nil {
		in.Close()
		return
	}
	p.mu.Lock()
	if p.listener == nil {
		in.Close()
		out.Close()
	} else {
		p.conns[in], p.conns[out] = true, true
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		to.Close()
		from.Close()
	}
	wg.Go(func() { pipe(out, in) })
	wg.Go(func() { pipe(in, out) })
	wg.Wait()
}

// secretCA is the authority of a test server, as PEM.
func secretCA(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// cuttable is a link through an HTTP proxy that a test can also cut.
type cuttable struct {
	*proxy
	cfg *rest.Config
}

func proxiedThrough(t *testing.T, cfg *rest.Config, answer func(http.ResponseWriter, *http.Request) bool) cuttable {
	t.Helper()
	cfg = through(t, cfg, answer)
	p := proxyTo(t, cfg)
	cfg.Host, cfg.ServerName = "http://"+p.address, ""
	return cuttable{p, cfg}
}
