package httpmw

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// idlePerAddress is how many connections to one address are kept for the calls to
// come where the transport does not say.
const idlePerAddress = 128

// conn is what calls to one address go through.
type conn struct {
	f       *finder
	address string
	secured bool
	refused func() // told when no connection could be made; not nil

	plain *http.Transport // nil where the user's transport is of another kind
	mu    sync.Mutex
	tls   map[string]*http.Transport // by the name that the certificate has to be for
}

// connectError means that no connection was had, so nothing was sent.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }
func (e *connectError) Timeout() bool { return isTimeout(e.err) }

func newConn(f *finder, address string, secured bool, refused func()) *conn {
	c := &conn{f: f, address: address, secured: secured, refused: refused}
	base, ok := f.next.(*http.Transport)
	switch {
	case !ok:
	case secured:
		c.tls = make(map[string]*http.Transport)
	default:
		c.plain = c.transport(base, "")
	}
	return c
}

// transport makes one for the address alone: no two addresses share a limit, and one
// that leaves takes its connections along. Addresses inside the cluster are reached
// by no proxy, and a certificate has to be for the host that the caller named.
func (c *conn) transport(base *http.Transport, name string) *http.Transport {
	t, http2 := base.Clone(), offersHTTP2(base)
	t.Proxy = nil
	// A dialer of its own, as below, would keep a transport from HTTP/2 that has not
	// been told to speak it, and the way to HTTP/2 that base may have leads to
	// connections that base has.
	if t.Protocols == nil {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(http2)
	}
	t.TLSNextProto = nil
	if !http2 {
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		if t.TLSClientConfig != nil {
			t.TLSClientConfig.NextProtos = slices.DeleteFunc(slices.Clone(t.TLSClientConfig.NextProtos), func(p string) bool { return p == "h2" })
		}
	}
	if t.MaxIdleConnsPerHost == 0 {
		t.MaxIdleConnsPerHost = idlePerAddress
	}
	dial := t.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	t.DialContext = c.dialer(dial)
	if t.DialTLSContext != nil {
		t.DialTLSContext = c.dialer(t.DialTLSContext)
	} else if name != "" {
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = new(tls.Config)
		}
		if t.TLSClientConfig.ServerName == "" {
			t.TLSClientConfig.ServerName = name
		}
	}
	return t
}

// offersHTTP2 reports whether a transport that was cloned speaks HTTP/2 over TLS:
// cloning is, like its first call, when it decides.
func offersHTTP2(t *http.Transport) bool {
	if t.Protocols != nil {
		return t.Protocols.HTTP2()
	}
	return t.TLSNextProto["h2"] != nil
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialer tells of connections that cannot be made, also to calls that gave up first.
func (c *conn) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, c.f.connectTimeout)
		defer cancel()
		got, err := dial(ctx, network, address)
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				c.refused()
			}
			return nil, &connectError{err}
		}
		return got, nil
	}
}

// roundTripper returns what makes a call whose URL names a host.
func (c *conn) roundTripper(host string) http.RoundTripper {
	if c.plain != nil {
		return c.plain
	}
	base, ok := c.f.next.(*http.Transport)
	if !ok {
		return c.f.next
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tls[host]
	if t == nil {
		t = c.transport(base, host)
		c.tls[host] = t
	}
	return t
}

// CloseIdle implements balance.Conn.
func (c *conn) CloseIdle() {
	if c.plain != nil {
		c.plain.CloseIdleConnections()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tls {
		t.CloseIdleConnections()
	}
}

const (
	// wholeLanes is how many connections over HTTP/2 lead to a Service at least, since
	// the cluster chooses a pod for each connection and not for each call.
	wholeLanes = 8
	// renewAfter is how long the connections to a Service are kept at least before they
	// are made anew for pods that came or went.
	renewAfter = 10 * time.Second
	// wholeDown is how long a Service that takes no connection is not called where its
	// instances can be.
	wholeDown = 5 * time.Second
)

// whole is a Service, called by its name.
type whole struct {
	f         *finder
	address   string
	secured   bool
	stale     atomic.Bool  // pods came or went
	downUntil atomic.Int64 // Unix nanoseconds

	mu      sync.Mutex
	lanes   []*member
	renewed time.Time
	turn    int
}

func newWhole(f *finder, address string, secured bool) *whole {
	return &whole{f: f, address: address, secured: secured}
}

// pick returns a lane. It must be followed by the lane's Release.
func (w *whole) pick() *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); w.lanes == nil || w.stale.Load() && now.Sub(w.renewed) >= renewAfter {
		w.stale.Store(false)
		for _, m := range w.lanes {
			m.Retire()
		}
		n := 1
		if t, ok := w.f.next.(*http.Transport); ok && speaksHTTP2(t, w.secured) {
			n = wholeLanes
		}
		w.lanes, w.renewed = make([]*member, n), now
		for i := range w.lanes {
			w.lanes[i] = &member{Address: w.address, Conn: newConn(w.f, w.address, w.secured, w.refused)}
		}
	}
	w.turn = (w.turn + 1) % len(w.lanes)
	m := w.lanes[w.turn]
	m.Begin()
	return m
}

// speaksHTTP2 reports whether many calls may share one connection.
func speaksHTTP2(t *http.Transport, secured bool) bool {
	switch {
	case secured:
		t.Clone() // see offersHTTP2
		return offersHTTP2(t)
	default:
		return t.Protocols != nil && t.Protocols.UnencryptedHTTP2()
	}
}

func (w *whole) refused() { w.downUntil.Store(time.Now().Add(wholeDown).UnixNano()) }

func (w *whole) down() bool { return w.downUntil.Load() > time.Now().UnixNano() }

func (w *whole) closeIdle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.lanes {
		m.Conn.CloseIdle()
	}
}
