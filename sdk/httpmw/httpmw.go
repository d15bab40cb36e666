// Package httpmw guards, counts and traces HTTP: Server on the calls that a
// service serves, Client on those that it makes.
//
//	srv := &http.Server{Handler: httpmw.Server(kit)(mux)}
//	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Discover(reg))}
//
// What a breaker guards is a command, written as method and pattern: "GET
// /cart/{id}". A server takes it from its http.ServeMux. A client, which knows no
// patterns of the servers it calls, takes it from the patterns it is given by
// Patterns or from WithCommand, and otherwise has one command for each method and
// application, such as "GET *".
//
// Answers of 500 and above are failures of the command; a policy's fallback
// stands in for them, and for calls that are refused.
package httpmw

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openzipkin/zipkin-go"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

// Headers that tell a client what stood in the way of an answer.
const (
	// HeaderPolicy names the policy or switch that refused the call or answered in
	// its place: "shop/inventory.all.switch; version=7".
	HeaderPolicy = "Weir-Policy"
	// HeaderRefused tells why a server's breaker did not let the call through:
	// "open", "switched" or "full".
	HeaderRefused = "Weir-Refused"
	// HeaderFallback tells that the answer is a fallback: "value", "empty" or
	// "cached".
	HeaderFallback = "Weir-Fallback"
)

// maxKept is how large an answer may be that is kept for a cached fallback.
const maxKept = 64 << 10

type commandKey struct{}

// WithCommand names the command of calls made under the context, such as
// "GET /cart/{id}": what the server's policies call it.
func WithCommand(ctx context.Context, command string) context.Context {
	return context.WithValue(ctx, commandKey{}, command)
}

// commandOf joins a method and a pattern of http.ServeMux, which may itself have
// a method or a host.
func commandOf(method, pattern string) string {
	if m, rest, ok := strings.Cut(pattern, " "); ok {
		return m + " " + strings.TrimLeft(rest, " \t")
	}
	switch method {
	case "":
		method = http.MethodGet
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
	default:
		method = "OTHER" // anybody can invent methods, and each would be counted apart
	}
	return method + " " + pattern
}

// keptAnswer is a good answer that a cached fallback gives again.
type keptAnswer struct {
	status int
	header http.Header
	body   []byte
}

// cacheKey tells calls apart whose answers may differ; only GET has one.
func cacheKey(r *http.Request) (string, bool) {
	if r.Method != "" && r.Method != http.MethodGet {
		return "", false
	}
	// Who asks, and whom, can matter as much as what is asked for.
	var b strings.Builder
	b.WriteString(cmp.Or(r.Host, r.URL.Host))
	b.WriteByte('\n')
	b.WriteString(r.URL.RequestURI())
	for _, h := range keyHeaders {
		b.WriteByte('\n')
		b.WriteString(strings.Join(r.Header[h], ","))
	}
	return b.String(), true
}

// keyHeaders are the headers that tell calls apart.
var keyHeaders = []string{"Authorization", "Cookie", "Origin", "Accept", "Accept-Language", "Accept-Encoding"}

// keepable reports whether an answer may be given again to a call with an equal key:
// not one that forbids it, or says that it goes by what the key does not hold.
func keepable(h http.Header) bool {
	for _, v := range h["Cache-Control"] {
		if strings.Contains(strings.ToLower(v), "no-store") {
			return false
		}
	}
	for _, v := range h["Vary"] {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if name != "" && !slices.Contains(keyHeaders, name) {
				return false
			}
		}
	}
	return true
}

// standIn is what a policy's fallback answers in HTTP.
type standIn struct {
	kind   string // of HeaderFallback; empty for an error
	answer string // the kind of a policy's answer; empty where no policy answers
	status int
	header http.Header
	body   []byte
}

// standInFor returns what answers in place of a call, nil for nothing.
func standInFor(c *breaker.Circuit, f *governance.Fallback, r *http.Request) *standIn {
	key, keyed := cacheKey(r)
	a, ok := c.Answer(f, key, keyed)
	switch {
	case !ok:
		return nil
	case a.Error != "":
		s := errorAnswer(http.StatusServiceUnavailable, a.Error)
		s.answer = a.Kind()
		return s
	case a.Cached:
		k, ok := a.Kept.(*keptAnswer)
		if !ok {
			return nil
		}
		return &standIn{kind: a.Kind(), answer: a.Kind(), status: k.status, header: k.header.Clone(), body: k.body}
	case a.Empty:
		return &standIn{kind: a.Kind(), answer: a.Kind(), status: http.StatusNoContent, header: http.Header{}}
	}
	return &standIn{
		kind: a.Kind(), answer: a.Kind(), status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: a.Value,
	}
}

// errorAnswer is a problem document (RFC 9457).
func errorAnswer(status int, detail string) *standIn {
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, detail})
	if err != nil {
		body = nil // cannot be: strings and a number can always be written
	}
	return &standIn{status: status, header: http.Header{"Content-Type": {"application/problem+json"}}, body: body}
}

// refusal is the answer to a refused call that nothing stands in for.
func refusal(r *breaker.Refused) *standIn {
	s := errorAnswer(http.StatusServiceUnavailable, strings.TrimPrefix(r.Error(), "breaker: "))
	s.header.Set(HeaderRefused, string(r.Reason))
	if wait := time.Until(r.Until); !r.Until.IsZero() && wait > 0 {
		s.header.Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
	}
	return s
}

// sign names the policy behind an answer.
func (s *standIn) sign(policy string, version int64) {
	if policy != "" {
		s.header.Set(HeaderPolicy, fmt.Sprintf("%s; version=%d", policy, version))
	}
	if s.kind != "" {
		s.header.Set(HeaderFallback, s.kind)
	}
}

// count counts the answer of a fallback.
func (s *standIn) count(c *breaker.Circuit) {
	if s.kind != "" {
		c.Answered(true)
	}
}

// write answers a request.
func (s *standIn) write(w http.ResponseWriter) {
	h := w.Header()
	for _, key := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Cache-Control", "Content-Type"} {
		h.Del(key) // of the answer that this one stands in for
	}
	maps.Copy(h, s.header)
	w.WriteHeader(s.status)
	if len(s.body) > 0 {
		_, _ = w.Write(s.body) // a client that has gone
	}
}

// response makes the answer of a call that a client makes.
func (s *standIn) response(r *http.Request) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(s.status) + " " + http.StatusText(s.status), StatusCode: s.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: s.header, Body: readCloser{bytes.NewReader(s.body)}, ContentLength: int64(len(s.body)), Request: r,
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// fallbackSource returns which policy a circuit's fallback is of.
func fallbackSource(c *breaker.Circuit) (policy string, version int64) {
	s := c.Effective().Sources["fallback"]
	return s.Policy, s.Version
}

// annotateRefusal marks on a span why a call was not made.
func annotateRefusal(span zipkin.Span, refused *breaker.Refused) {
	text := "weir.refused " + string(refused.Reason)
	if refused.Policy != "" {
		text += fmt.Sprintf(" by %s version %d", refused.Policy, refused.Version)
	}
	span.Annotate(time.Now(), text)
	trace.Refused(span, refused)
}

// annotateFallback marks on a span that an answer is a fallback.
func annotateFallback(span zipkin.Span, s *standIn, policy string, version int64) {
	if s.answer != "" {
		trace.Fallback(span, s.answer, policy, version)
	}
	if s.kind == "" {
		return
	}
	text := "weir.fallback " + s.kind
	if policy != "" {
		text += fmt.Sprintf(" by %s version %d", policy, version)
	}
	span.Annotate(time.Now(), text)
}

// statusError is an answer that counts as a failure.
type statusError int

func (e statusError) Error() string { return "answered " + strconv.Itoa(int(e)) }

func asRefused(err error) *breaker.Refused {
	var refused *breaker.Refused
	errors.As(err, &refused)
	return refused
}
