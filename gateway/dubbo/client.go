package dubbo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds and habits of the client of the Dubbo protocol.
const (
	connectTimeout = 3 * time.Second
	writeTimeout   = 10 * time.Second
	// heartbeatAfter is how long nothing may come before the provider is asked
	// whether it is there, and deadAfter how many times it may not answer. Dubbo's
	// own is 60 s, three times.
	heartbeatAfter = 30 * time.Second
	deadAfter      = 3
	backoffMin     = 100 * time.Millisecond
	backoffMax     = 10 * time.Second
	maxQueued      = 16 << 20 // bytes waiting to be written
)

// clientConfig is what the clients of all endpoints share.
type clientConfig struct {
	dial       func(ctx context.Context, address string) (net.Conn, error)
	maxPending int // calls under way at one endpoint
	maxAnswer  int // bytes of one answer
	heartbeat  time.Duration
}

func (c clientConfig) withDefaults() clientConfig {
	if c.dial == nil {
		d := &net.Dialer{KeepAlive: 30 * time.Second}
		c.dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	if c.maxPending <= 0 {
		c.maxPending = 4096
	}
	if c.maxAnswer <= 0 {
		c.maxAnswer = 16 << 20
	}
	if c.heartbeat <= 0 {
		c.heartbeat = heartbeatAfter
	}
	return c
}

// Errors of the client. Those wrapped in unsentError say that the method did not run.
var (
	errClosed   = errors.New("the connection is closed")
	errPending  = errors.New("too many calls are under way")
	errTooLarge = errors.New("the answer is too large")
)

// unsentError marks an error of a call of which the provider got nothing it could
// have run.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// client is one endpoint of the Dubbo protocol: one multiplexed connection, made
// when it is first needed and again when it broke. It is safe for concurrent use.
type client struct {
	cfg     clientConfig
	address string
	ctx     context.Context //nolint:containedctx // the client's own lifetime, which ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu       sync.Mutex
	conn     *conn // nil while there is none
	dialing  chan struct{}
	dialErr  error
	failures int
	retryAt  time.Time
	closed   bool

	live  atomic.Pointer[conn] // conn, for the calls to find without the lock
	calls sync.Pool            // of *call
}

func newClient(address string, cfg clientConfig) *client {
	c := &client{cfg: cfg.withDefaults(), address: address}
	c.calls.New = func() any { return &call{done: make(chan response, 1)} }
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// response is the body of an answer, in a buffer that goes back to the pool.
type response struct {
	header header
	body   *[]byte
	err    error
}

func (r *response) release() {
	if r.body != nil {
		bodies.put(r.body)
		r.body = nil
	}
}

// call is one call under way.
type call struct {
	done chan response // capacity 1
	end  int64         // where its frame ends in what the connection was given
}

// do sends a frame, made by build for an id, and waits for the answer. Its error
// is a unsentError, the context's cause, or says that the connection broke. The
// caller releases the response.
func (c *client) do(ctx context.Context, build func(id uint64) []byte) (response, error) {
	cn := c.live.Load()
	if cn == nil {
		var err error
		if cn, err = c.connect(ctx); err != nil {
			return response{}, &unsentError{err}
		}
	}
	cl, _ := c.calls.Get().(*call)
	id, err := cn.send(cl, build)
	if err != nil {
		c.calls.Put(cl)
		return response{}, &unsentError{err}
	}
	select {
	case r := <-cl.done:
		c.calls.Put(cl)
		return r, r.err
	case <-ctx.Done():
	}
	if cn.forget(id) {
		c.calls.Put(cl)
		return response{}, context.Cause(ctx)
	}
	select {
	case r := <-cl.done: // it came in the same moment
		c.calls.Put(cl)
		return r, r.err
	default:
		// It is on its way, and may stay there for long: whoever brings it is left with
		// the call.
		return response{}, context.Cause(ctx)
	}
}

// connect returns the connection, made if there is none. Callers share one
// attempt; after one that failed they fail at once until its backoff is over.
func (c *client) connect(ctx context.Context) (*conn, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return nil, errClosed
		case c.conn != nil:
			cn := c.conn
			c.mu.Unlock()
			return cn, nil
		case c.dialing == nil && time.Now().Before(c.retryAt):
			err := c.dialErr
			c.mu.Unlock()
			return nil, err
		case c.dialing == nil:
			c.dialing = make(chan struct{})
			c.wg.Add(1)
			go c.dial()
		}
		dialing := c.dialing
		c.mu.Unlock()
		select {
		case <-dialing:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		c.mu.Lock()
		cn, err := c.conn, c.dialErr
		c.mu.Unlock()
		if cn != nil {
			return cn, nil
		}
		if err != nil {
			return nil, err
		}
		// It connected and broke again: another attempt.
	}
}

func (c *client) dial() {
	defer c.wg.Done()
	ctx, cancel := context.WithTimeout(c.ctx, connectTimeout)
	defer cancel()
	raw, err := c.cfg.dial(ctx, c.address)

	c.mu.Lock()
	defer c.mu.Unlock()
	dialing := c.dialing
	c.dialing = nil
	defer close(dialing)
	if err == nil && c.closed {
		_ = raw.Close() // nothing was sent on it
		err = errClosed
	}
	if err != nil {
		c.dialErr = fmt.Errorf("connect: %w", err)
		wait := min(backoffMax, backoffMin<<min(c.failures, 10))
		c.failures++
		c.retryAt = time.Now().Add(wait/2 + rand.N(wait/2+1))
		return
	}
	c.dialErr, c.failures = nil, 0
	cn := newConn(c, raw)
	c.conn = cn
	c.live.Store(cn)
	c.wg.Add(2)
	go func() { defer c.wg.Done(); cn.read() }()
	go func() { defer c.wg.Done(); cn.write() }()
}

// lost is told by a connection that it is broken.
func (c *client) lost(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == cn {
		c.conn = nil
		c.live.Store(nil)
	}
}

// draining reports whether the provider asked for no new calls.
func (c *client) draining() bool {
	cn := c.live.Load()
	return cn != nil && cn.readonly.Load()
}

// drain notes that the provider said, in an answer, that it leaves.
func (c *client) drain() {
	if cn := c.live.Load(); cn != nil {
		cn.readonly.Store(true)
	}
}

// unreachable reports whether the last attempt to connect failed and its backoff
// is not over.
func (c *client) unreachable() bool {
	if c.live.Load() != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn == nil && c.failures > 0 && time.Now().Before(c.retryAt)
}

// Close breaks the connection, failing the calls under way, and waits until
// everything the client started has ended.
func (c *client) Close() {
	c.mu.Lock()
	c.closed = true
	cn := c.conn
	c.mu.Unlock()
	c.cancel()
	if cn != nil {
		cn.fail(errClosed)
	}
	c.wg.Wait()
}

// conn is one connection.
type conn struct {
	client   *client
	raw      net.Conn
	readonly atomic.Bool

	ids  atomic.Uint64
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	pending map[uint64]*call
	queue   []byte // frames that wait to be written
	spare   []byte // the writer's other buffer
	queued  int64  // bytes ever put into the queue
	handed  int64  // bytes of them that the system may have taken
	err     error
}

func newConn(c *client, raw net.Conn) *conn {
	return &conn{client: c, raw: raw, pending: map[uint64]*call{}, wake: make(chan struct{}, 1)}
}

// send queues the frame of a call.
func (cn *conn) send(cl *call, build func(id uint64) []byte) (uint64, error) {
	id := cn.ids.Add(1)
	frame := build(id)
	cn.mu.Lock()
	if cn.err != nil || len(cn.pending) >= cn.client.cfg.maxPending || len(cn.queue) > maxQueued {
		err := cn.err
		cn.mu.Unlock()
		if err == nil {
			err = errPending
		}
		return 0, err
	}
	cn.queue = append(cn.queue, frame...)
	cn.queued += int64(len(frame))
	cl.end = cn.queued
	cn.pending[id] = cl
	cn.mu.Unlock()
	cn.poke()
	return id, nil
}

// control queues a frame that is no call, unless too much waits already.
func (cn *conn) control(flags, status byte, id uint64, body ...byte) {
	cn.mu.Lock()
	if cn.err == nil && len(cn.queue) <= maxQueued {
		from := len(cn.queue)
		cn.queue = append(appendHeader(cn.queue, flags, status, id, len(body)), body...)
		cn.queued += int64(len(cn.queue) - from)
	}
	cn.mu.Unlock()
	cn.poke()
}

func (cn *conn) poke() {
	select {
	case cn.wake <- struct{}{}:
	default:
	}
}

// forget gives up a call. It reports false when an answer was on its way before.
func (cn *conn) forget(id uint64) bool {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	_, ok := cn.pending[id]
	delete(cn.pending, id)
	return ok
}

// write writes what is queued, as much as there is at a time.
func (cn *conn) write() {
	for {
		cn.mu.Lock()
		err := cn.err
		buf := cn.queue
		before := cn.handed
		cn.queue, cn.spare, cn.handed = cn.spare[:0], nil, cn.queued
		cn.mu.Unlock()
		if err != nil {
			return
		}
		if len(buf) > 0 {
			err := cn.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
			n := 0
			if err == nil {
				n, err = cn.raw.Write(buf)
			}
			if err != nil {
				cn.failAfter(before+int64(n), fmt.Errorf("write: %w", err))
				return
			}
		}
		if cap(buf) > 1<<20 {
			buf = nil // a burst need not be kept
		}
		cn.mu.Lock()
		cn.spare = buf[:0]
		empty := len(cn.queue) == 0 && cn.err == nil
		cn.mu.Unlock()
		if empty {
			<-cn.wake
		}
	}
}

// read hands answers to their calls until the connection breaks.
func (cn *conn) read() {
	err := cn.readFrames()
	cn.fail(err)
}

func (cn *conn) readFrames() error {
	r := bufio.NewReaderSize(cn.raw, 64<<10)
	silent := 0
	for {
		if r.Buffered() < headerSize {
			if err := cn.raw.SetReadDeadline(time.Now().Add(cn.client.cfg.heartbeat)); err != nil {
				return err
			}
		}
		b, err := r.Peek(headerSize)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if silent++; silent > deadAfter {
				return errors.New("the provider does not answer heartbeats")
			}
			cn.control(flagRequest|flagTwoWay|flagEvent|hessian2, 0, 0, tagNull)
			continue
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		silent = 0
		h, err := parseHeader(b)
		if err != nil {
			return err
		}
		_, _ = r.Discard(headerSize) // Peek has it
		if err := cn.frame(r, h); err != nil {
			return err
		}
	}
}

// frame takes one frame's body.
func (cn *conn) frame(r *bufio.Reader, h header) error {
	var cl *call
	if !h.request() && !h.event() {
		cn.mu.Lock()
		cl = cn.pending[h.id]
		delete(cn.pending, h.id)
		cn.mu.Unlock()
	}
	if h.length > r.Buffered() { // one that is silent in the middle is broken
		if err := cn.raw.SetReadDeadline(time.Now().Add(cn.client.cfg.heartbeat)); err != nil {
			cl.finish(response{err: err})
			return err
		}
	}
	switch {
	case h.event() && h.request():
		return cn.event(r, h)
	case cl == nil, h.length > cn.client.cfg.maxAnswer:
		_, err := r.Discard(h.length) // an answer that came too late, to a heartbeat, or is too large
		if err == nil {
			cl.finish(response{err: errTooLarge})
		} else {
			cl.finish(response{err: err})
		}
		return err
	}
	body := bodies.get(h.length)
	if _, err := io.ReadFull(r, *body); err != nil {
		bodies.put(body)
		err = fmt.Errorf("read: %w", err)
		cl.finish(response{err: err})
		return err
	}
	cl.finish(response{header: h, body: body})
	return nil
}

func (cl *call) finish(r response) {
	if cl != nil {
		cl.done <- r
	}
}

// event takes a heartbeat, or the provider's word that it wants no new calls.
func (cn *conn) event(r *bufio.Reader, h header) error {
	var body []byte
	if h.length <= 16 {
		b, err := r.Peek(h.length)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		body = append(body, b...)
	}
	if _, err := r.Discard(h.length); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	switch string(body) {
	case "\x01R":
		cn.readonly.Store(true)
	case "\x01W":
		cn.readonly.Store(false)
	}
	if h.flags&flagTwoWay != 0 {
		cn.control(flagEvent|hessian2, statusOK, h.id, tagNull)
	}
	return nil
}

// fail breaks the connection. Calls whose frame was never handed to the system
// did not run; of the others nobody knows.
func (cn *conn) fail(err error) { cn.failAfter(-1, err) }

// failAfter is fail where it is known how many bytes the system took at most: a
// frame that it did not take whole was not run either.
func (cn *conn) failAfter(taken int64, err error) {
	cn.mu.Lock()
	if cn.err != nil {
		cn.mu.Unlock()
		return
	}
	cn.err = err
	pending := cn.pending
	cn.pending = map[uint64]*call{}
	cn.queue = nil
	if taken < 0 {
		taken = cn.handed
	}
	cn.mu.Unlock()
	cn.client.lost(cn)
	_ = cn.raw.Close() // it is of no more use
	cn.poke()
	for _, cl := range pending {
		if cl.end > taken {
			cl.finish(response{err: &unsentError{err}})
			continue
		}
		cl.finish(response{err: fmt.Errorf("the connection broke while the call was under way: %w", err)})
	}
}

// bufferPool keeps byte slices for messages.
type bufferPool struct{ pool sync.Pool }

// maxKept is the largest buffer that is kept.
const maxKept = 256 << 10

var bodies bufferPool

// get returns a buffer of length n, whose content is arbitrary.
func (p *bufferPool) get(n int) *[]byte {
	b, _ := p.pool.Get().(*[]byte)
	if b == nil || cap(*b) < n {
		s := make([]byte, n, max(n, 1024))
		return &s
	}
	*b = (*b)[:n]
	return b
}

func (p *bufferPool) put(b *[]byte) {
	if cap(*b) <= maxKept {
		p.pool.Put(b)
	}
}
