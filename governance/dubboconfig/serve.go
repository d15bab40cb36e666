package dubboconfig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/internal/run"
)

// Paths of the two calls of the protocol: requests of a client, and the stream by
// which it is told of changes.
const (
	requestPath = "/Request/request"
	streamPath  = "/BiRequestStream/requestBiStream"
)

// Status codes of gRPC.
const (
	statusOK            = 0
	statusInvalid       = 3
	statusExhausted     = 8
	statusUnimplemented = 12
	statusUnavailable   = 14
)

const (
	// silence is how long a client may say nothing; stock ones say something every 5 s.
	silence = 30 * time.Second
	// beginning is how long a client has between its first word and its stream.
	beginning = 5 * time.Second
	// writePatience bounds one write.
	writePatience = 10 * time.Second
	// leavingPatience is how long one that was asked to connect anew may take.
	leavingPatience = 5 * time.Second
	// drainOver is the time over which clients are let go when the server stops.
	drainOver = time.Second
)

// Handler serves clients over HTTP/2 without TLS: one connection is one client.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+requestPath, s.serveRequest)
	mux.HandleFunc("POST "+streamPath, s.serveStream)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			s.metrics.refused("path")
			status(begin(w), statusUnimplemented, "this is the configuration centre of Dubbo Java applications: it knows no "+r.URL.Path)
			return
		}
		http.Error(w, "This is the configuration centre of Dubbo Java applications, which they read as they do Nacos: dubbo.config-center.address=nacos://HOST:PORT, of a port that is less by 1000 than this one.", http.StatusNotFound)
	})
	return mux
}

// begin makes an answer one of gRPC's.
func begin(w http.ResponseWriter) http.ResponseWriter {
	w.Header().Set("Content-Type", "application/grpc")
	return w
}

// status ends an answer.
func status(w http.ResponseWriter, code int, text string) {
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(code))
	if text != "" {
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", url.PathEscape(text[:min(len(text), 1000)]))
	}
}

// refuse ends an answer to what cannot be read.
func (s *Service) refuse(w http.ResponseWriter, err error) {
	code := statusInvalid
	if errors.Is(err, errCompressed) {
		code = statusUnimplemented
	} else if errors.Is(err, errTooLarge) {
		code = statusExhausted
	}
	s.metrics.refused("message")
	status(w, code, err.Error())
}

// serveRequest answers one request.
func (s *Service) serveRequest(w http.ResponseWriter, r *http.Request) {
	begin(w)
	out := http.NewResponseController(w)
	bound := func() { _ = out.SetWriteDeadline(time.Now().Add(s.cfg.patience)) }
	defer bound() // net/http writes what is left after this has returned
	done, ok := s.ask(r.RemoteAddr)
	if !ok {
		s.metrics.refused("busy")
		status(w, statusExhausted, fmt.Sprintf("this connection waits for %d answers already", maxAsked))
		return
	}
	defer done()
	_ = out.SetReadDeadline(time.Now().Add(s.cfg.patience)) // HTTP/1 has none to speak of
	kind, req, err := s.readRequest(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	frame := s.answer(r.Context(), r.RemoteAddr, kind, req).frame()
	bound()
	if _, err := w.Write(frame); err != nil { //nolint:gosec // gRPC, and no page
		return
	}
	status(w, statusOK, "")
}

// ask counts a request of a connection, of which there are so many at once at most.
func (s *Service) ask(remote string) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking[remote] >= maxAsked {
		return nil, false
	}
	s.asking[remote]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asking[remote]--; s.asking[remote] == 0 {
			delete(s.asking, remote)
		}
	}, true
}

// readRequest reads a request. A large one is taken from a connection that has a
// stream, one at a time; those who send slowly keep nobody else waiting.
func (s *Service) readRequest(r *http.Request) (kind string, req request, err error) {
	size, err := frameSize(r.Body)
	if err != nil {
		return "", request{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.patience)
	defer cancel()
	if size > maxSmall {
		s.mu.Lock()
		c := s.clients[r.RemoteAddr]
		s.mu.Unlock()
		if c == nil {
			return "", request{}, tooLarge(maxSmall)
		}
		select {
		case c.large <- struct{}{}:
			defer func() { <-c.large }()
		case <-ctx.Done():
			return "", request{}, ctx.Err()
		}
	}
	data, err := frameBody(r.Body, size)
	if err != nil {
		return "", request{}, err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return "", request{}, ctx.Err()
	}
	p, err := parsePayload(data)
	if err != nil {
		return "", request{}, err
	}
	req, err = parseRequest(p)
	return p.kind, req, err
}

// answer is what a request comes to.
func (s *Service) answer(ctx context.Context, remote, kind string, r request) payload {
	if kind == kindServerCheck {
		s.metrics.request(kind)
		return message(kindServerChecked, serverChecked{answer: fine(r), ConnectionID: s.connectionID(remote), Negotiates: true})
	}
	c := s.clientAt(ctx, remote)
	if c == nil {
		s.metrics.refused("unregistered")
		return message(kindError, failed(r, codeUnregistered, "this connection has no stream: connect anew"))
	}
	switch kind {
	case kindHealthCheck:
		s.metrics.request(kind)
		return message(kindHealthChecked, fine(r))
	case kindQuery:
		s.metrics.request(kind)
		return message(kindQueried, s.query(ctx, c, r))
	case kindListen:
		s.metrics.request(kind)
		return message(kindListened, s.listen(ctx, c, r))
	case kindPublish:
		return message(kindPublished, s.readOnly(r))
	case kindRemove:
		return message(kindRemoved, s.readOnly(r))
	}
	s.metrics.refused("type")
	return message(kindError, failed(r, codeNoHandler, fmt.Sprintf("a %s is nothing that the configuration centre of Weir answers: it has overrides for Dubbo, and no names of services", kind)))
}

func (s *Service) readOnly(r request) answer {
	s.metrics.refused("write")
	return failed(r, codeForbidden, "documents are made of Weir's policies, and written by nobody else: publish a policy")
}

// connectionID names a connection; it is the same each time that it is asked.
func (s *Service) connectionID(remote string) string { return s.begun + "_" + remote }

// clientAt returns the client of a connection, once it has said what it is; nil when
// it does not within a while.
func (s *Service) clientAt(ctx context.Context, remote string) *client {
	ctx, cancel := context.WithTimeout(ctx, beginning)
	defer cancel()
	for {
		s.mu.Lock()
		c := s.clients[remote]
		if c != nil {
			c.heard = s.cfg.Now()
		}
		s.mu.Unlock()
		if c == nil {
			return nil
		}
		select {
		case <-c.setUp:
			return c
		case <-ctx.Done():
			return nil
		}
	}
}

// serveStream holds the stream by which a client is told of changes. The client
// counts for as long as it is open.
func (s *Service) serveStream(w http.ResponseWriter, r *http.Request) {
	begin(w)
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || r.ProtoMajor != 2 {
		s.metrics.refused("protocol")
		status(w, statusUnimplemented, "this is served over HTTP/2")
		return
	}
	now := s.cfg.Now()
	c := newClient(s.connectionID(r.RemoteAddr), remote, now)
	s.mu.Lock()
	switch {
	case s.clients[r.RemoteAddr] != nil:
		s.mu.Unlock()
		s.metrics.refused("stream")
		status(w, statusInvalid, "this connection has a stream already")
		return
	case len(s.clients) >= s.cfg.MaxClients:
		s.mu.Unlock()
		s.metrics.refused("full")
		status(w, statusExhausted, "this control plane holds as many clients as it may: connect to another")
		return
	}
	s.clients[r.RemoteAddr] = c
	s.metrics.clients.Set(float64(len(s.clients)))
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.clients, r.RemoteAddr)
		s.metrics.clients.Set(float64(len(s.clients)))
		s.left(c)
		s.mu.Unlock()
	}()
	heard := make(chan error, 1)
	go func() { heard <- s.hear(r.Body, c) }()
	code, text := s.hold(r.Context(), w, c, heard)
	_ = r.Body.Close() // lets go of who reads
	status(w, code, text)
}

// hear reads what a client sends on its stream until it ends.
func (s *Service) hear(r io.Reader, c *client) error {
	first := true
	for {
		p, err := read(r, maxSmall)
		if err != nil {
			return err
		}
		s.mu.Lock()
		c.heard = s.cfg.Now()
		s.mu.Unlock()
		if p.kind != kindSetup || !first {
			continue // it says that it has heard; what it does about it, it says by listening
		}
		first = false
		req, err := parseRequest(p)
		if err != nil {
			return err
		}
		s.mu.Lock()
		c.version = req.Version[:min(len(req.Version), maxKind)]
		s.mu.Unlock()
		s.log.Debug("a Dubbo Java client has connected", "address", c.remote.String(), "client", c.version)
		close(c.setUp)
	}
}

// hold sends what there is to send until the stream is to end, and says with which
// status.
func (s *Service) hold(ctx context.Context, w http.ResponseWriter, c *client, heard <-chan error) (code int, text string) {
	out := http.NewResponseController(w)
	send := func(p payload) bool {
		// A deadline that passes later would end the stream, though nothing is written.
		defer func() { _ = out.SetWriteDeadline(time.Time{}) }()
		_ = out.SetWriteDeadline(time.Now().Add(s.cfg.patience)) // there is one over HTTP/2
		_, err := w.Write(p.frame())
		return err == nil && out.Flush() == nil
	}
	if out.Flush() != nil {
		return statusUnavailable, ""
	}
	age := time.NewTimer(s.cfg.MaxAge*9/10 + rand.N(s.cfg.MaxAge/5+1))
	defer age.Stop()
	look := time.NewTicker(beginning)
	defer look.Stop()
	draining, setUp, reset := run.Draining(ctx), c.setUp, false
	for {
		select {
		case <-setUp:
			setUp = nil
			if !send(message(kindSetupAck, told{RequestID: s.number(), Module: moduleInternal, Abilities: map[string]bool{}})) {
				return statusUnavailable, ""
			}
		case <-c.wake:
			s.mu.Lock()
			due := c.due
			c.due = nil
			s.mu.Unlock()
			if due == nil {
				continue
			}
			s.metrics.notices.Inc()
			if !send(message(kindChanged, told{RequestID: s.number(), Module: moduleConfig, named: due})) {
				return statusUnavailable, ""
			}
		case err := <-heard:
			if err == nil || errors.Is(err, io.EOF) || ctx.Err() != nil {
				return statusOK, ""
			}
			s.metrics.refused("message")
			s.log.Log(ctx, slog.LevelDebug, "what a client sent cannot be read", "address", c.remote.String(), "error", err)
			return statusInvalid, err.Error()
		case <-look.C:
			s.mu.Lock()
			quiet, began := s.cfg.Now().Sub(c.heard), c.began
			s.mu.Unlock()
			if quiet > silence || setUp != nil && s.cfg.Now().Sub(began) > beginning {
				return statusUnavailable, "nothing was heard of this client for a while: connect anew"
			}
		case <-age.C:
			if reset {
				return statusUnavailable, "this client was asked to connect anew, and stays"
			}
			// To no address in particular: the client takes the next one.
			if !send(message(kindConnectReset, told{RequestID: s.number(), Module: moduleInternal})) {
				return statusUnavailable, ""
			}
			reset = true
			age.Reset(min(leavingPatience, s.cfg.MaxAge))
			setUp = nil
		case <-draining:
			pause.For(ctx, rand.N(drainOver))
			return statusUnavailable, "this control plane stops: connect to another"
		case <-ctx.Done():
			return statusUnavailable, ""
		}
	}
}

// number numbers what is sent.
func (s *Service) number() string { return strconv.FormatInt(s.next.Add(1), 10) }
