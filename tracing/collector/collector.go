// Package collector takes spans in as Zipkin's HTTP collector does, and answers
// 202 once they are durable: committed by the store or, while that is away, on the
// disk in a spool that is replayed later.
//
// Stock senders drop what is answered with an error. So pressure and short
// failures hold the answer for a bounded time, and only then is it 503.
package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/weirmesh/weir/internal/cors"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/spool"
	"github.com/weirmesh/weir/tracing"
)

// Path is where spans are posted, as in Zipkin.
const Path = "/api/v2/spans"

// Store is what the collector needs of a store.
type Store interface {
	tracing.Writer
	tracing.Replayer
}

// Config tunes a Collector. All but Store may be zero.
type Config struct {
	Store Store
	// Spool takes spans while the store is away; nil for none. The caller closes
	// it after Run has returned.
	Spool *spool.Spool

	// MaxBody and MaxInflated bound a body as it is sent and once it is inflated,
	// in bytes; what is larger is answered with 413. Defaults 10 MiB and 64 MiB.
	MaxBody, MaxInflated int64
	// MaxSpans bounds how many spans a body brings; more are answered with 413, as
	// spans of nearly no bytes each would take many times the body's in memory.
	// Default 100,000.
	MaxSpans int
	// Budget is how many bytes of bodies are held at once, over all requests;
	// decoded spans take about three times as much besides. Default 128 MiB.
	Budget int64
	// Hold is how long a request waits for the budget, and for the store or spool
	// to take its spans after they refused, before it is answered with 503.
	// Default 3 s; stock senders give up after 5 to 10 s.
	Hold time.Duration
	// WriteTimeout is how long the store may take for a batch. Default 4 s.
	WriteTimeout time.Duration
	// Authorize refuses requests by an error, whose text is answered with 401.
	// Default: all are taken, as Zipkin's senders have no credentials.
	Authorize func(*http.Request) error
	// AllowedOrigins are the origins whose pages may post spans. Default any, as
	// in Zipkin.
	AllowedOrigins []string

	// Log receives failures of the store. Default: discarded.
	Log *slog.Logger
	// Metrics receives the collector's metrics, some also by Zipkin's names.
	// Default: none.
	Metrics prometheus.Registerer
}

// Collector takes spans in. It is an http.Handler for Path, and safe for
// concurrent use.
type Collector struct {
	cfg     Config
	metrics *metrics
	budget  *semaphore.Weighted
	buffers sync.Pool // *bytes.Buffer
	gzips   sync.Pool // *gzip.Reader
	handler http.Handler

	away  atomic.Bool   // the store failed, and has not answered since
	stuck atomic.Bool   // the spool could not take a record, and has taken none since
	moved chan struct{} // something was put into or taken out of the spool

	attempts attempts // at the oldest record of the spool; of Run alone
}

// New returns a collector. Its errors are mistakes in the Config.
func New(c Config) (*Collector, error) {
	if c.Store == nil {
		return nil, errors.New("collector: no store given")
	}
	for v, def := range map[*int64]int64{&c.MaxBody: 10 << 20, &c.MaxInflated: 64 << 20, &c.Budget: 128 << 20} {
		if *v <= 0 {
			*v = def
		}
	}
	for d, def := range map[*time.Duration]time.Duration{&c.Hold: 3 * time.Second, &c.WriteTimeout: 4 * time.Second} {
		if *d <= 0 {
			*d = def
		}
	}
	if c.MaxSpans <= 0 {
		c.MaxSpans = 100_000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	col := &Collector{cfg: c, budget: semaphore.NewWeighted(c.Budget), moved: make(chan struct{}, 1)}
	if c.AllowedOrigins == nil {
		c.AllowedOrigins = []string{cors.Any}
	}
	col.handler = cors.Wrap(http.HandlerFunc(col.serve), c.AllowedOrigins)
	col.buffers.New = func() any { return new(bytes.Buffer) }
	var err error
	if col.metrics, err = newMetrics(c.Metrics, col); err != nil {
		return nil, fmt.Errorf("collector: register metrics: %w", err)
	}
	return col, nil
}

// Ready returns nil while spans can be taken in, be it by the spool. A store that
// is away is no reason to send senders elsewhere while there is one that takes
// them.
func (c *Collector) Ready(ctx context.Context) error {
	if c.cfg.Spool != nil {
		if c.away.Load() && c.stuck.Load() {
			return errors.New("neither the store nor the spool takes spans")
		}
		return nil
	}
	if check, ok := c.cfg.Store.(tracing.Checker); ok {
		return check.Check(ctx)
	}
	return nil
}

// refusal is an answer other than 202.
type refusal struct {
	status int
	reason string // a label: "budget", "store", "invalid" …
	text   string
	cause  error // for the log alone, which whoever can send must not read
}

// ServeHTTP implements http.Handler for POST Path.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "spans are sent by POST", http.StatusMethodNotAllowed)
		return
	}
	c.metrics.messages.Inc()
	if no := c.take(w, r); no != nil {
		c.refuse(w, r, no)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (c *Collector) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	c.metrics.messagesDropped.Inc()
	c.metrics.refused(no.reason, sender(r))
	if no.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
		c.cfg.Log.WarnContext(r.Context(), "refused spans", "reason", no.reason, "error", no.text, "cause", no.cause, "sender", sender(r))
	}
	if no.status == http.StatusRequestEntityTooLarge || no.status == http.StatusServiceUnavailable {
		w.Header().Set("Connection", "close") // what is left of the body is not read
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(no.status)
	fmt.Fprint(w, no.text) //nolint:gosec // plain text, and said to be
}

// sender is the address that a request came from, without its port.
func sender(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	return host
}

// take reads, decodes and stores; nil means that the spans are durable.
func (c *Collector) take(w http.ResponseWriter, r *http.Request) *refusal {
	if c.cfg.Authorize != nil {
		if err := c.cfg.Authorize(r); err != nil {
			return &refusal{status: http.StatusUnauthorized, reason: "unauthorized", text: err.Error()}
		}
	}
	if r.ContentLength > c.cfg.MaxBody {
		return c.tooLarge("")
	}
	held := &holding{c: c, r: r}
	defer held.release()
	// A sender that only says that it has much must not keep others out: more is
	// taken of the budget as more comes.
	first := int64(firstPart)
	if r.ContentLength >= 0 {
		first = min(first, r.ContentLength)
	}
	if no := held.grow(first); no != nil {
		return no
	}
	// A sender that stalls must not keep what it holds.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(30 * time.Second)) // not every writer can
	spans, no := c.read(r, held)
	if no != nil || len(spans) == 0 {
		return no
	}
	c.metrics.spans.Add(float64(len(spans)))
	c.metrics.messageSpans.Set(float64(len(spans)))
	if no := c.store(r, spans); no != nil {
		c.metrics.spansDropped.Add(float64(len(spans)))
		return no
	}
	return nil
}

func (c *Collector) tooLarge(inflated string) *refusal {
	limit := c.cfg.MaxBody
	if inflated != "" {
		limit = c.cfg.MaxInflated
	}
	return &refusal{status: http.StatusRequestEntityTooLarge, reason: "too-large", text: fmt.Sprintf("the body is larger than %d bytes%s: send fewer spans at once", limit, inflated)}
}

// holding is the part of the budget that a request has.
type holding struct {
	c     *Collector
	r     *http.Request
	bytes int64
}

// grow takes more of the budget, waiting for it if need be.
func (h *holding) grow(bytes int64) *refusal {
	bytes = min(bytes, h.c.cfg.Budget-h.bytes)
	if bytes <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(h.r.Context(), h.c.cfg.Hold)
	defer cancel()
	if err := h.c.budget.Acquire(ctx, bytes); err != nil {
		return &refusal{status: http.StatusServiceUnavailable, reason: "budget", text: "the collector has no room for more spans now: send them again"}
	}
	h.bytes += bytes
	return nil
}

func (h *holding) release() { h.c.budget.Release(h.bytes) }

// read returns the spans of a body. What they need of the body they have copied.
func (c *Collector) read(r *http.Request, held *holding) ([]tracing.Span, *refusal) {
	wire := c.buffer()
	defer c.buffers.Put(wire)
	if no := fill(wire, r.Body, c.cfg.MaxBody, held, func() *refusal { return c.tooLarge("") }); no != nil {
		return nil, no
	}
	body := wire.Bytes()
	if len(body) > 0 && strings.Contains(r.Header.Get("Content-Encoding"), "gzip") {
		inflated := c.buffer()
		defer c.buffers.Put(inflated)
		if no := c.inflate(inflated, body, held); no != nil {
			return nil, no
		}
		body = inflated.Bytes()
	}
	c.metrics.bytes.Add(float64(len(body)))
	c.metrics.messageBytes.Set(float64(len(body)))
	spans, err := decode(r.Header.Get("Content-Type"), body, c.cfg.MaxSpans)
	switch {
	case errors.Is(err, tracing.ErrTooManySpans):
		return nil, &refusal{status: http.StatusRequestEntityTooLarge, reason: "too-large", text: fmt.Sprintf("the body has more than %d spans: send fewer at once", c.cfg.MaxSpans)}
	case err != nil:
		return nil, &refusal{status: http.StatusBadRequest, reason: "invalid", text: err.Error()}
	}
	return spans, nil
}

func (c *Collector) buffer() *bytes.Buffer {
	b, ok := c.buffers.Get().(*bytes.Buffer)
	if !ok || b.Cap() > 4<<20 {
		b = new(bytes.Buffer) // one large body must not stay for ever
	}
	b.Reset()
	return b
}

// firstPart is what is read of a body before more of the budget is taken, in bytes.
const firstPart = 64 << 10

// fill reads a body into a buffer, taking of the budget as it grows.
func fill(b *bytes.Buffer, from io.Reader, limit int64, held *holding, over func() *refusal) *refusal {
	for {
		room := max(firstPart, held.bytes-int64(b.Len()))
		n, err := io.CopyN(b, from, min(room, limit+1-int64(b.Len())))
		switch {
		case int64(b.Len()) > limit:
			return over()
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &refusal{status: http.StatusBadRequest, reason: "broken", text: "the body could not be read whole: send it again", cause: err}
		case n == 0:
			return nil
		}
		if int64(b.Len()) >= held.bytes {
			if no := held.grow(int64(b.Len())); no != nil { // doubling
				return no
			}
		}
	}
}

// inflate gunzips a body.
func (c *Collector) inflate(b *bytes.Buffer, body []byte, held *holding) *refusal {
	bad := &refusal{status: http.StatusBadRequest, reason: "invalid", text: "Cannot gunzip spans"}
	z, ok := c.gzips.Get().(*gzip.Reader)
	var err error
	if ok {
		err = z.Reset(bytes.NewReader(body))
	} else {
		z, err = gzip.NewReader(bytes.NewReader(body))
	}
	if err != nil {
		return bad
	}
	defer c.gzips.Put(z)
	no := fill(b, z, c.cfg.MaxInflated, held, func() *refusal { return c.tooLarge(" once inflated") })
	if no != nil && no.reason == "broken" {
		return bad
	}
	return no
}

// decode reads a body by its Content-Type, with Zipkin's messages for what is no
// list of spans in that format.
func decode(contentType string, body []byte, most int) ([]tracing.Span, error) {
	format, read := "JSON_V2", tracing.DecodeJSONAtMost
	// An error of the parameters is none of the type.
	if t, _, _ := mime.ParseMediaType(contentType); t == "application/x-protobuf" || t == "application/protobuf" {
		format, read = "PROTO3", tracing.DecodeProtoAtMost
	}
	trimmed := body
	if format == "JSON_V2" {
		trimmed = bytes.TrimLeft(body, " \t\r\n")
	}
	switch {
	case len(body) == 0 || len(trimmed) == 0 || string(trimmed) == "[]":
		return nil, nil
	case trimmed[0] != '[' && !tracing.LooksLikeProto(body):
		return nil, &tracing.Error{Code: tracing.Invalid, Message: "Expected a " + format + " encoded list\n"}
	case format == "JSON_V2" && tracing.LooksLikeV1(body):
		return nil, &tracing.Error{Code: tracing.Invalid, Message: "Expected a JSON_V2 encoded list, but received: JSON_V1\n"}
	}
	return read(body, most)
}

// store makes spans durable, or says why not.
func (c *Collector) store(r *http.Request, spans []tracing.Span) *refusal {
	// The sender may give up; what it has sent is stored all the same.
	ctx := context.WithoutCancel(r.Context())
	deadline := time.Now().Add(c.cfg.Hold)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		err := c.try(ctx, spans)
		if err == nil {
			return nil
		}
		if tracing.CodeOf(err) != tracing.Unavailable {
			c.cfg.Log.ErrorContext(ctx, "cannot store spans", "error", err)
			return &refusal{status: http.StatusInternalServerError, reason: "store", text: "the spans could not be stored: see the collector's log"}
		}
		if time.Now().Add(pause).After(deadline) || r.Context().Err() != nil {
			var known *tracing.Error
			errors.As(err, &known) // its cause names the database and its user
			return &refusal{status: http.StatusServiceUnavailable, reason: "store", text: "the spans cannot be stored now: " + known.Message, cause: err}
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-r.Context().Done():
		}
		t.Stop()
	}
}

// try writes to the store or, while it is away, to the spool.
func (c *Collector) try(ctx context.Context, spans []tracing.Span) error {
	if !c.away.Load() || c.cfg.Spool == nil {
		write, cancel := context.WithTimeout(ctx, c.cfg.WriteTimeout)
		err := c.cfg.Store.Write(write, spans)
		cancel()
		if err == nil || c.cfg.Spool == nil || tracing.CodeOf(err) != tracing.Unavailable {
			return err
		}
		if !c.away.Swap(true) {
			c.cfg.Log.WarnContext(ctx, "the store is away: spans go to the spool", "error", err)
		}
	}
	err := c.cfg.Spool.Append(tracing.AppendProto(nil, spans...))
	c.stuck.Store(err != nil)
	switch {
	case errors.Is(err, spool.ErrFull):
		return &tracing.Error{Code: tracing.Unavailable, Message: "the store is away and the spool is full", Err: err}
	case err != nil:
		// A disk that is full or broken may be mended, and the store be back before.
		return &tracing.Error{Code: tracing.Unavailable, Message: "the store is away and the spool cannot be written", Err: err}
	}
	c.metrics.spooled.Add(float64(len(spans)))
	select {
	case c.moved <- struct{}{}:
	default:
	}
	return nil
}

// retryAfter is what Run waits between attempts to reach a store that is away.
func retryAfter(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(attempt, 6), 5*time.Second)
}

// Run replays the spool, also what an earlier process left in it, until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	if c.cfg.Spool == nil {
		return nil
	}
	if torn := c.cfg.Spool.Torn(); torn > 0 {
		c.cfg.Log.WarnContext(ctx, "the spool has bytes that are no records and were left out, as when a machine dies while it writes, or of a damaged disk", "bytes", torn)
	}
	for attempt := 0; ; {
		n, err := c.replay(ctx)
		var pause <-chan time.Time
		var t *time.Timer
		switch {
		case ctx.Err() != nil || errors.Is(err, spool.ErrClosed):
			return nil //nolint:nilerr // that is the end that was asked for
		case err != nil:
			if attempt == 0 {
				c.cfg.Log.WarnContext(ctx, "cannot replay the spool now, and will try again", "error", err)
			}
			t = time.NewTimer(retryAfter(attempt))
			attempt++
		case n > 0:
			attempt = 0
			continue
		default:
			attempt = 0
			t = time.NewTimer(time.Second)
		}
		pause = t.C
		moved := c.moved
		if err != nil {
			moved = nil // more of it is no reason to hurry
		}
		select {
		case <-pause:
		case <-moved:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// replay delivers the oldest record of the spool, and returns how many it took off.
func (c *Collector) replay(ctx context.Context) (int, error) {
	number, record, ok, err := c.cfg.Spool.Next()
	switch {
	case errors.Is(err, spool.ErrClosed):
		return 0, err
	case err != nil:
		// It cannot be read, and will not be readable later.
		c.metrics.lost.Inc()
		c.cfg.Log.ErrorContext(ctx, "a record of the spool is damaged and was left out", "number", number, "error", err)
		return 1, c.cfg.Spool.Done(number)
	case !ok:
		if c.away.Load() {
			return 0, c.look(ctx)
		}
		return 0, nil
	}
	spans, err := tracing.DecodeProto(record)
	if err != nil {
		c.metrics.lost.Inc()
		c.cfg.Log.ErrorContext(ctx, "a record of the spool cannot be decoded and was left out", "number", number, "error", err)
		return 1, c.cfg.Spool.Done(number)
	}
	write, cancel := context.WithTimeout(ctx, 10*c.cfg.WriteTimeout)
	defer cancel()
	if err := c.cfg.Store.Replay(write, c.cfg.Spool.Name(), number, spans); err != nil {
		if tracing.CodeOf(err) != tracing.Internal || ctx.Err() != nil || c.attempts.failed(number) < maxAttempts {
			return 0, err
		}
		// The store is there and will not have this one: those behind it must not wait.
		path, aside := c.cfg.Spool.SetAside(number)
		if aside != nil {
			return 0, errors.Join(err, aside)
		}
		c.metrics.aside.Inc()
		c.cfg.Log.ErrorContext(ctx, "the store refuses a record of the spool, which was set aside: post the file as application/x-protobuf once that is mended",
			"number", number, "spans", len(spans), "file", path, "attempts", maxAttempts, "error", err)
		return 1, nil
	}
	c.back(ctx)
	c.metrics.replayed.Add(float64(len(spans)))
	return 1, c.cfg.Spool.Done(number)
}

// maxAttempts is how often a record is offered to a store that refuses it.
const maxAttempts = 5

// attempts counts those at one record.
type attempts struct {
	number uint64
	n      int
}

func (a *attempts) failed(number uint64) int {
	if a.number != number {
		*a = attempts{number: number}
	}
	a.n++
	return a.n
}

// look finds out whether the store is back when there is nothing to replay.
func (c *Collector) look(ctx context.Context) error {
	if check, ok := c.cfg.Store.(tracing.Checker); ok {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.WriteTimeout)
		defer cancel()
		if err := check.Check(ctx); err != nil {
			return err
		}
	}
	c.back(ctx)
	return nil
}

func (c *Collector) back(ctx context.Context) {
	if c.away.Swap(false) {
		c.cfg.Log.InfoContext(ctx, "the store is back")
	}
}

// Waiting returns how many records of spans wait in the spool, and their bytes.
func (c *Collector) Waiting() (records int, bytes int64) {
	if c.cfg.Spool == nil {
		return 0, 0
	}
	return c.cfg.Spool.Size()
}

// Facts are what this collector alone knows of itself.
func (c *Collector) Facts() node.Facts {
	var f node.Facts
	if spool := c.cfg.Spool; spool != nil {
		records, bytes := spool.Size()
		q := node.Queue{Name: "span spool", Depth: bytes, Limit: spool.Limit(), Unit: "bytes", Oldest: spool.Oldest()}
		if records > 0 {
			q.Detail = fmt.Sprintf("%d batches of spans wait for the database", records)
		} else {
			q.Detail = "takes spans while the database is away"
		}
		f.Queues = append(f.Queues, q)
	}
	if c.away.Load() {
		f.Notes = append(f.Notes, "the store of spans does not answer it")
	}
	if c.stuck.Load() {
		f.Notes = append(f.Notes, "its spool takes no spans: it is full, or the disk is")
	}
	return f
}
