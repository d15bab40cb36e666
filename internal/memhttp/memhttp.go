// Package memhttp is for tests: it serves HTTP over pipes in memory, so that a
// real server and a real client can run inside a testing/synctest bubble, where
// time only passes when both wait.
package memhttp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Server is a real http.Server that listens in memory.
type Server struct {
	// URL is what requests are sent to; the host does not matter.
	URL string

	l      *listener
	server *http.Server
	done   chan struct{}
}

// Start serves h until the test ends or Close is called.
func Start(tb testing.TB, h http.Handler) *Server {
	tb.Helper()
	s := &Server{
		URL:    "http://memory.test",
		l:      &listener{conns: make(chan net.Conn), closed: make(chan struct{})},
		server: &http.Server{Handler: h, ReadHeaderTimeout: time.Minute},
		done:   make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(s.l) // always an error: that it was closed
	}()
	tb.Cleanup(s.Close)
	return s
}

// Close ends the server and its connections. It may be called more than once.
func (s *Server) Close() {
	_ = s.server.Close()
	<-s.done
}

// Transport returns a new transport whose every connection goes to the server.
func (s *Server) Transport() *http.Transport {
	return &http.Transport{DialContext: s.Dial}
}

// Dial connects to the server, whatever the address is.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case s.l.conns <- server:
		return client, nil
	case <-s.l.closed:
		return nil, errors.New("memhttp: connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "memory" }
func (addr) String() string  { return "memory" }
