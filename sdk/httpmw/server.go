package httpmw

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// ServerOption says what a Server does unlike others.
type ServerOption func(*server)

// Routes names the mux whose patterns are the commands, where what Server wraps
// is not the mux itself but other middleware around it.
func Routes(mux *http.ServeMux) ServerOption {
	return func(s *server) { s.pattern = muxPattern(mux) }
}

// CommandOf finds the command of a request, for routers other than http.ServeMux.
// It must tell few commands apart: a pattern, never a path with ids in it. A
// request without one ("") is traced, but neither guarded nor counted.
func CommandOf(f func(*http.Request) string) ServerOption {
	return func(s *server) { s.command = f }
}

type router interface {
	Handler(r *http.Request) (h http.Handler, pattern string)
}

func muxPattern(mux router) func(*http.Request) string {
	return func(r *http.Request) string {
		_, pattern := mux.Handler(r)
		return pattern
	}
}

type server struct {
	kit     *sdk.Kit
	next    http.Handler
	pattern func(*http.Request) string
	command func(*http.Request) string
}

// Server returns middleware that guards, counts and traces what a handler serves.
// Its command is the pattern by which an http.ServeMux routes the request: of the
// handler itself, if it is one, of the one that Routes names, or of the one that
// has routed the request here already. Requests that match no pattern are traced
// only.
//
// Its circuits count, and obey switches, timeouts and bulkheads; they open by their
// counts only once a policy, or sdk.Config.Settings, say something of breakers
// (breaker.CountOnly).
//
// A call that is refused is answered by the policy's fallback, else by 503 with a
// problem document; Weir-Policy names the policy that refuses. A policy's timeout
// ends the request's context; a handler that answers nothing by then is answered
// for with 504.
func Server(kit *sdk.Kit, opts ...ServerOption) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		s := &server{kit: kit, next: next}
		if mux, ok := next.(router); ok {
			s.pattern = muxPattern(mux)
		}
		for _, o := range opts {
			o(s)
		}
		return s
	}
}

func (s *server) commandOf(r *http.Request) string {
	if s.command != nil {
		return s.command(r)
	}
	pattern := r.Pattern
	if pattern == "" && s.pattern != nil {
		pattern = s.pattern(r)
	}
	if pattern == "" {
		return ""
	}
	return commandOf(r.Method, pattern)
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	command := s.commandOf(r)
	name := command
	if name == "" {
		name = strings.TrimSuffix(commandOf(r.Method, ""), " ")
	}
	span, ctx := s.kit.Tracer().StartServer(r.Context(), name, trace.Header(r.Header))
	defer span.Finish()
	span.SetRemoteEndpoint(remote(r.RemoteAddr))
	span.Tag("http.method", r.Method)
	span.Tag("http.path", r.URL.Path)
	if command != "" {
		span.Tag("http.route", command)
	}
	out := &writer{ResponseWriter: w}
	returned := false
	defer func() { tagAnswer(span, out, returned) }()
	if command == "" {
		s.next.ServeHTTP(out, r.WithContext(ctx))
		returned = true
		return
	}
	circuit := s.kit.Breakers().Circuit(governance.Series{Command: command, At: governance.Provider}, breaker.CountOnly())
	trace.Governed(span, circuit.Series())
	if call, err := circuit.Begin(ctx); err != nil {
		s.refuse(out, r, span, circuit, asRefused(err))
	} else {
		s.serve(out, r, span, circuit, call)
	}
	returned = true
}

func (s *server) refuse(out *writer, r *http.Request, span zipkin.Span, circuit *breaker.Circuit, refused *breaker.Refused) {
	annotateRefusal(span, refused)
	if refused.Reason == breaker.ReasonGone {
		out.WriteHeader(http.StatusServiceUnavailable) // nobody is there to read more
		return
	}
	answer := standInFor(circuit, refused.Fallback, r)
	policy, version := refused.Policy, refused.Version
	if answer == nil {
		answer = refusal(refused)
	} else if policy == "" {
		policy, version = fallbackSource(circuit)
	}
	answer.count(circuit)
	answer.sign(policy, version)
	annotateFallback(span, answer, policy, version)
	answer.write(out)
}

// serve runs the handler of a call that was let through.
func (s *server) serve(out *writer, r *http.Request, span zipkin.Span, circuit *breaker.Circuit, call *breaker.Call) {
	// A panic passes by; what it leaves is a failure, unless the caller has gone: then
	// a proxy's handler panics as well.
	defer call.Done(errPanicked)
	r = r.WithContext(call.Context())
	key := ""
	if circuit.Keeps() {
		var keyed bool
		if key, keyed = cacheKey(r); keyed {
			out.keep = new(bytes.Buffer)
		}
	}
	out.onFailure = func() bool { return s.standIn(out, r, span, circuit) }
	out.onHijack = func() { call.End(breaker.Success) } // what follows is no call any more
	s.next.ServeHTTP(out, r)
	if out.failed == 0 && out.status == 0 && errors.Is(call.Context().Err(), context.DeadlineExceeded) {
		if !s.standIn(out, r, span, circuit) {
			errorAnswer(http.StatusGatewayTimeout, "the call took longer than it may").write(out)
		}
	}
	var err error
	if status := max(out.status, out.failed); status >= http.StatusInternalServerError {
		err = statusError(status)
	}
	if o := call.Done(err); o == breaker.Success && out.keep != nil && out.status == http.StatusOK {
		h := out.Header().Clone()
		h.Del("Date")
		h.Del("Set-Cookie")
		if keepable(h) {
			circuit.Keep(key, &keptAnswer{out.status, h, out.keep.Bytes()})
		}
	}
}

var errPanicked = errors.New("httpmw: the handler panicked")

// standIn answers by the policy's fallback in place of a failure, if there is one.
func (s *server) standIn(out *writer, r *http.Request, span zipkin.Span, circuit *breaker.Circuit) bool {
	answer := standInFor(circuit, circuit.Fallback(), r)
	if answer == nil {
		return false
	}
	policy, version := fallbackSource(circuit)
	answer.count(circuit)
	answer.sign(policy, version)
	annotateFallback(span, answer, policy, version)
	out.keep = nil
	out.onFailure = nil
	answer.write(out)
	out.deaf = true
	return true
}

// tagAnswer tells how a handler answered that has returned or panicked.
func tagAnswer(span zipkin.Span, out *writer, returned bool) {
	status := out.status
	if !returned {
		defer span.Tag("error", "the handler panicked")
		if status == 0 {
			return // the connection ends without an answer
		}
	}
	if status == 0 {
		status = http.StatusOK // what net/http answers for a handler that wrote nothing
	}
	span.Tag("http.status_code", strconv.Itoa(status))
	if failed := max(status, out.failed); failed >= http.StatusInternalServerError {
		span.Tag("error", strconv.Itoa(failed))
	}
}

// remote returns who calls, as far as the connection tells.
func remote(addr string) *model.Endpoint {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil
	}
	e := &model.Endpoint{Port: a.Port()}
	if ip := a.Addr().Unmap(); ip.Is4() {
		e.IPv4 = ip.AsSlice()
	} else {
		e.IPv6 = ip.AsSlice()
	}
	return e
}

// writer sees what a handler answers.
type writer struct {
	http.ResponseWriter
	status int // 0 until there is one
	// failed is the status that a fallback stands in for; what the handler goes on
	// to write is then not heard.
	failed    int
	deaf      bool
	onFailure func() bool // returns whether it answered
	onHijack  func()
	keep      *bytes.Buffer // of the answer, while it is small; nil for none
}

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	switch {
	case w.deaf:
		return
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		w.ResponseWriter.WriteHeader(status)
		return
	case w.status == 0 && status >= http.StatusInternalServerError && w.onFailure != nil:
		f := w.onFailure
		w.onFailure = nil
		if f() {
			w.failed = status
			return
		}
	}
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.deaf {
		return len(p), nil
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.remember(p)
	return w.ResponseWriter.Write(p)
}

func (w *writer) remember(p []byte) {
	switch {
	case w.keep == nil:
	case w.keep.Len()+len(p) > maxKept:
		w.keep = nil
	default:
		w.keep.Write(p)
	}
}

// ReadFrom lets the connection copy files by itself.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	to, ok := w.ResponseWriter.(io.ReaderFrom)
	if w.deaf || w.keep != nil || !ok {
		return io.Copy(onlyWriter{w}, r)
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return to.ReadFrom(r)
}

// onlyWriter hides ReadFrom from io.Copy, which would call it again.
type onlyWriter struct{ io.Writer }

// Flush implements http.Flusher, for handlers that ask for it by assertion.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is how http.ResponseController flushes.
func (w *writer) FlushError() error {
	if w.deaf {
		return nil
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker, for handlers that ask for it by assertion.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
		if w.onHijack != nil {
			w.onHijack()
		}
	}
	return conn, rw, err
}

// Unwrap is how http.ResponseController finds deadlines and full duplex.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var (
	_ http.Flusher  = (*writer)(nil)
	_ http.Hijacker = (*writer)(nil)
	_ io.ReaderFrom = (*writer)(nil)
)
