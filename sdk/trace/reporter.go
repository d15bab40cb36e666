package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/reporter"
)

// SpansPath is where a collector takes spans, below its address.
const SpansPath = "/api/v2/spans"

// Bounds of a Reporter where its config names none.
const (
	DefaultQueueSpans = 10_000
	DefaultQueueBytes = 16 << 20
	DefaultBatch      = 100
	DefaultInterval   = time.Second

	// maxBatchBytes bounds what goes together, as collectors bound what they take.
	maxBatchBytes = 3 << 20
	// maxAttempts bounds how long one batch holds up those behind it: some two
	// minutes, with full jitter.
	maxAttempts  = 12
	backoffFirst = 200 * time.Millisecond
	backoffMost  = 30 * time.Second
	// closeTimeout bounds Close, which has no context.
	closeTimeout = 5 * time.Second
)

// ReporterConfig says where a Reporter sends spans and what it may hold. Only
// URL is required.
type ReporterConfig struct {
	// URL is the collector's address, such as http://tracing.weir-system.svc:9411;
	// one that already ends in SpansPath is taken as it is.
	URL string
	// Client sends; its own Timeout holds for one attempt. The default client has
	// 10 seconds and follows no redirects.
	Client *http.Client
	Logger *slog.Logger
	// QueueSpans and QueueBytes bound what waits. When either is reached new
	// spans are dropped and counted.
	QueueSpans int
	QueueBytes int
	// Batch is how many spans go together, Interval how long the first of them
	// waits at most.
	Batch    int
	Interval time.Duration
}

// Reporter sends finished spans to a Zipkin collector as gzipped JSON. Send never
// blocks. A batch that did not arrive is sent again, with the same ids, so that
// a collector which already has it knows; only a collector that calls it
// malformed, or does not take it for minutes, makes it drop. A Reporter is safe
// for concurrent use; Shutdown ends it.
type Reporter struct {
	cfg    ReporterConfig
	url    string
	shown  string // the address without a password
	client *http.Client
	log    *slog.Logger

	cancel context.CancelFunc // ends the attempts under way
	wake   chan struct{}      // holds one token when run should look again
	end    chan struct{}      // closed when Shutdown was called
	done   chan struct{}      // closed when run has returned

	mu     sync.Mutex
	queue  []entry
	bytes  int
	closed bool
	stats  Stats
	failed bool // the last attempt failed, and was logged
	// refused says that a refusal was logged, and nothing was taken since.
	refused bool
}

var _ reporter.Reporter = (*Reporter)(nil)

type entry struct {
	span model.SpanModel
	size int
}

// Stats counts what became of spans, since the Reporter was made.
type Stats struct {
	Sent     int64 // taken by the collector
	Dropped  int64 // not delivered: Full, Refused, Lost and Late together
	Full     int64 // dropped because the queue was full
	Refused  int64 // dropped because the collector called them malformed
	Lost     int64 // dropped because the collector could not be reached in time
	Late     int64 // dropped because they finished after Close
	Queued   int   // waiting
	Attempts int64 // POSTs
	Failures int64 // POSTs that failed
}

// NewReporter starts a reporter.
func NewReporter(cfg ReporterConfig) (*Reporter, error) {
	address, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return nil, fmt.Errorf("trace: %q is no collector's address: write it as http://host:9411", cfg.URL)
	}
	if !strings.HasSuffix(address.Path, SpansPath) {
		address = address.JoinPath(SpansPath)
	}
	cfg.QueueSpans = orDefault(cfg.QueueSpans, DefaultQueueSpans)
	cfg.QueueBytes = orDefault(cfg.QueueBytes, DefaultQueueBytes)
	cfg.Batch = orDefault(cfg.Batch, DefaultBatch)
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{
			Timeout:       10 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Reporter{
		cfg: cfg, url: address.String(), shown: address.Redacted(), client: cfg.Client, log: cfg.Logger,
		cancel: cancel, wake: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{}),
	}
	go r.run(ctx)
	return r, nil
}

func orDefault(n, d int) int {
	if n <= 0 {
		return d
	}
	return n
}

// Send implements zipkin-go's reporter.Reporter: it queues a copy of the span, or
// drops and counts it where there is no room or the reporter is closed.
func (r *Reporter) Send(s model.SpanModel) {
	size := sizeOf(&s)
	r.mu.Lock()
	switch {
	case r.closed:
		r.stats.Late++
		r.mu.Unlock()
		return
	case len(r.queue) >= r.cfg.QueueSpans || r.bytes+size > r.cfg.QueueBytes:
		r.stats.Full++
		r.mu.Unlock()
		return
	}
	// A service that tags a span after it has finished must not write to a map
	// that is being encoded.
	s.Tags = maps.Clone(s.Tags)
	s.Annotations = slices.Clone(s.Annotations)
	r.queue = append(r.queue, entry{s, size})
	r.bytes += size
	n := len(r.queue)
	r.mu.Unlock()
	if n == 1 || n == r.cfg.Batch {
		r.poke()
	}
}

func (r *Reporter) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// sizeOf estimates the encoded size of a span.
func sizeOf(s *model.SpanModel) int {
	n := 250 + len(s.Name)
	for k, v := range s.Tags {
		n += len(k) + len(v) + 6
	}
	for i := range s.Annotations {
		n += len(s.Annotations[i].Value) + 45
	}
	return n
}

// Stats returns the counts.
func (r *Reporter) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Queued = len(r.queue)
	s.Dropped = s.Full + s.Refused + s.Lost + s.Late
	return s
}

// Close is Shutdown within five seconds.
func (r *Reporter) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return r.Shutdown(ctx)
}

// Shutdown sends what waits and ends the reporter. When ctx ends first, what is
// left is dropped and counted, and the error says how much that was. Calling it
// again is no error.
func (r *Reporter) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.end)
	}
	lost := r.stats.Lost
	r.mu.Unlock()
	r.poke()
	select {
	case <-r.done:
	case <-ctx.Done():
		r.cancel()
		<-r.done
	}
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Lost += int64(len(r.queue))
	r.queue, r.bytes = nil, 0
	if lost = r.stats.Lost - lost; lost > 0 {
		return fmt.Errorf("trace: %d spans could not be delivered to %s in time", lost, r.shown)
	}
	return nil
}

// run sends batches until the reporter is closed and the queue empty, or ctx ends.
func (r *Reporter) run(ctx context.Context) {
	defer close(r.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		if !r.gather(ctx) {
			return
		}
		for {
			batch, more := r.take()
			if len(batch) > 0 {
				r.deliver(ctx, batch)
			}
			if ctx.Err() != nil {
				return
			}
			if !more {
				break
			}
		}
	}
}

// gather waits until a batch is full, its first span old enough, or the reporter
// closed. It returns false when ctx ended.
func (r *Reporter) gather(ctx context.Context) bool {
	timer := time.NewTimer(r.cfg.Interval)
	defer timer.Stop()
	for {
		r.mu.Lock()
		ready := len(r.queue) >= r.cfg.Batch || r.closed
		r.mu.Unlock()
		if ready {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-r.wake:
		}
	}
}

// take returns the next batch and whether another should follow at once. When
// none should, and none is left to come, it ends run by way of its context.
func (r *Reporter) take() (batch []entry, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, size := 0, 0
	for ; n < min(len(r.queue), r.cfg.Batch); n++ {
		if size += r.queue[n].size; n > 0 && size > maxBatchBytes {
			more = true
			break
		}
	}
	batch = slices.Clone(r.queue[:n])
	r.queue = slices.Delete(r.queue, 0, n)
	for i := range batch {
		r.bytes -= batch[i].size
	}
	switch {
	case more || len(r.queue) >= r.cfg.Batch || (r.closed && len(r.queue) > 0):
		return batch, true
	case r.closed && len(batch) == 0:
		r.cancel()
	case r.closed || len(r.queue) > 0:
		r.poke() // the rest waits its own interval, or ends the next round
	}
	return batch, false
}

// deliver sends one batch until it is taken, refused or given up.
func (r *Reporter) deliver(ctx context.Context, batch []entry) {
	body, n, err := encode(batch)
	if n < len(batch) {
		r.drop(&r.stats.Refused, len(batch)-n, "spans that cannot be encoded were dropped", err)
	}
	if n == 0 {
		return
	}
	for attempt := range maxAttempts {
		wait, err := r.post(ctx, body)
		r.mu.Lock()
		r.stats.Attempts++
		if err != nil {
			r.stats.Failures++
		} else {
			r.stats.Sent += int64(n)
			r.refused = false
		}
		first := err != nil && !r.failed
		back := err == nil && r.failed
		r.failed = err != nil
		r.mu.Unlock()
		var refused *refusedError
		switch {
		case back:
			r.log.Info("spans are delivered again", "url", r.shown)
			return
		case err == nil:
			return
		case errors.As(err, &refused):
			message := "the collector refused spans, which were dropped; it is not logged again until it takes some"
			r.mu.Lock()
			if r.refused {
				message = ""
			}
			r.refused = true
			r.mu.Unlock()
			r.drop(&r.stats.Refused, n, message, err)
			return
		case first && ctx.Err() == nil:
			r.log.Warn("spans cannot be delivered now; they are kept, as far as there is room, and sent again", "url", r.shown, "error", err)
		}
		if wait == 0 {
			wait = rand.N(min(backoffFirst<<attempt, backoffMost)) + 1
		}
		if !r.pause(ctx, wait) {
			r.drop(&r.stats.Lost, n, "", nil)
			return
		}
	}
	r.drop(&r.stats.Lost, n, "the collector did not take spans for minutes; they were dropped", nil)
}

// pause waits before the next attempt; a Shutdown has no time for long waits. It
// returns false when ctx ended.
func (r *Reporter) pause(ctx context.Context, wait time.Duration) bool {
	end := r.end
	select {
	case <-end:
		end, wait = nil, min(wait, backoffFirst)
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-end:
	}
	return true
}

func (r *Reporter) drop(kind *int64, n int, message string, err error) {
	r.mu.Lock()
	*kind += int64(n)
	r.mu.Unlock()
	if message != "" {
		//nolint:sloglint // each caller's message is constant
		r.log.Warn(message, "spans", n, "url", r.shown, "error", err)
	}
}

// refusedError is an answer after which sending again cannot help.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.status, http.StatusText(e.status), e.text)
}

// post sends one body once. wait is how long the collector asks to be left alone;
// 0 if it does not say.
func (r *Reporter) post(ctx context.Context, body []byte) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("B3", "0") // what carries spans is not traced
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only for the message; what follows is not wanted
	switch s := resp.StatusCode; {
	case s/100 == 2:
		return 0, nil
	case s == http.StatusTooManyRequests, s == http.StatusRequestTimeout, s/100 == 5, s/100 == 3,
		s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound:
		// Not of these spans: of the collector, its address, or of rights.
		return retryAfter(resp.Header.Get("Retry-After")), fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
	default:
		return 0, &refusedError{s, string(bytes.TrimSpace(text))}
	}
}

// retryAfter reads seconds or a date, at most backoffMost.
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return min(time.Duration(min(n, 3600))*time.Second, backoffMost)
	}
	if t, err := http.ParseTime(s); err == nil {
		if d := time.Until(t); d > 0 {
			return min(d, backoffMost)
		}
	}
	return 0
}

// encode returns the gzipped JSON of those spans that can be encoded, how many
// they are, and why another cannot.
func encode(batch []entry) (body []byte, n int, err error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	sep := []byte{'['}
	for i := range batch {
		one, e := json.Marshal(batch[i].span)
		if e != nil { // a span that began before 1970 or ended before it began
			err = e
			continue
		}
		n++
		_, _ = z.Write(sep) // a bytes.Buffer takes everything
		_, _ = z.Write(one)
		sep = []byte{','}
	}
	_, _ = z.Write([]byte{']'})
	_ = z.Close()
	return buf.Bytes(), n, err
}
