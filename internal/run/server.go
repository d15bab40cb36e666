package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// ServerConfig says what an HTTP server serves and how it ends.
type ServerConfig struct {
	// Address is host:port; port 0 takes a free one.
	Address string
	// Flag is the flag that sets Address, named when the address is taken.
	Flag    string
	Handler http.Handler
	// Ready turns false first thing when the server is to stop. It may be nil.
	Ready *Check
	// Delay is how long the server goes on accepting after Ready turned false,
	// so that those who send here can move on. Zero for listeners that nobody
	// balances over.
	Delay time.Duration
	// OnListen is called once the address is bound and before anything is
	// served, the moment to register it somewhere. Connections made meanwhile
	// wait. It may be nil.
	OnListen func(ctx context.Context, addr net.Addr) error
	// H2C serves HTTP/2 without TLS too, as gRPC clients in a cluster speak it.
	H2C bool
	// Log takes what net/http has to say about single connections; nil drops it.
	Log *slog.Logger
}

// Server is an HTTP server that ends without failing a request: it turns
// unready, goes on serving for a while, stops accepting, and waits for the
// requests under way. It is safe for concurrent use.
type Server struct {
	config   ServerConfig
	http     *http.Server
	draining chan struct{}
	drain    func()

	mu       sync.Mutex
	listener net.Listener
	serving  bool
	stopped  bool
	served   chan struct{} // closed once Serve has returned
	err      error         // what it returned, if it was not told to
}

type drainingKey struct{}

// NewServer returns a server that is not bound yet.
func NewServer(c ServerConfig) *Server {
	s := &Server{config: c, draining: make(chan struct{}), served: make(chan struct{})}
	s.drain = sync.OnceFunc(func() { close(s.draining) })
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s.http = &http.Server{
		Handler:           c.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), drainingKey{}, (<-chan struct{})(s.draining))
		},
	}
	if c.H2C {
		s.http.Protocols = new(http.Protocols)
		s.http.Protocols.SetHTTP1(true)
		s.http.Protocols.SetUnencryptedHTTP2(true)
	}
	return s
}

// Draining returns a channel that is closed once the server of a request has
// begun to stop. A handler that streams for as long as its client listens has to
// watch it and return, since the server waits for every request under way. It is
// nil, and so never ready, for the context of anything but a Server's request.
func Draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainingKey{}).(<-chan struct{})
	return c
}

// Start binds the address, calls OnListen, and serves.
func (s *Server) Start(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.config.Address)
	if err != nil {
		return s.listenError(err)
	}
	s.mu.Lock()
	if s.stopped || s.listener != nil {
		s.mu.Unlock()
		return errors.Join(errors.New("the server was started or stopped before"), l.Close())
	}
	s.listener = l
	s.mu.Unlock()
	if s.config.OnListen != nil {
		if err := s.config.OnListen(ctx, l.Addr()); err != nil {
			return fmt.Errorf("register %s: %w", l.Addr(), err)
		}
	}
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return errors.New("the server was stopped while it started")
	}
	s.serving = true
	s.mu.Unlock()
	go func() {
		defer close(s.served)
		err := s.http.Serve(l)
		if !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
	}()
	if s.config.Ready != nil {
		s.config.Ready.OK()
	}
	return nil
}

// Addr returns the bound address, nil before Start.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Watch blocks until the server has failed or ctx has ended.
func (s *Server) Watch(ctx context.Context) error {
	select {
	case <-s.served:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop ends the server as its type's comment says. When ctx ends before the last
// request has, the connections are closed, and the error says so.
func (s *Server) Stop(ctx context.Context) error {
	if s.config.Ready != nil {
		s.config.Ready.Fail("stopping")
	}
	s.mu.Lock()
	l, serving, again := s.listener, s.serving, s.stopped
	s.stopped = true
	s.mu.Unlock()
	switch {
	case l == nil:
		return nil
	case !serving:
		return ignoreClosed(l.Close())
	case again:
		<-s.served
		return nil
	}
	if s.config.Delay > 0 {
		t := time.NewTimer(s.config.Delay)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
	s.drain()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests under way were cut off: %w", context.Cause(ctx)), s.http.Close())
	}
	<-s.served
	return err
}

func (s *Server) listenError(err error) error {
	hint := ""
	if s.config.Flag != "" {
		hint = "; choose another address with " + s.config.Flag
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("the address %s is taken by another process%s", s.config.Address, hint)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("this user may not listen on %s%s", s.config.Address, hint)
	}
	return fmt.Errorf("listen on %s: %w%s", s.config.Address, err, hint)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
