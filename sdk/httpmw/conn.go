package httpmw

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/internal/balance"
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
	tls   map[string]*named // by the name that the certificate has to be for
}

// named is the connections for one name: a member of its own, since it may have to
// make room while its address goes on.
type named struct {
	balance.Member[*link]
	used time.Time
}

// maxNames bounds for how many names one address has connections. The URLs of one
// application may spell its host in any number of ways.
const maxNames = 8

// link is a transport that nobody else uses.
type link struct{ *http.Transport }

// CloseIdle implements balance.Conn: it is called when nobody calls by it any more.
func (l *link) CloseIdle() { hangUp(l.Transport, hangUpPauses) }

// hangUpPauses are those after which something may still be open: a call over HTTP/2
// is over a moment after its body was read, and its connection is idle no sooner.
var hangUpPauses = []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second}

// hangUp closes the connections that carry no call, now and after each of the pauses.
func hangUp(t *http.Transport, pauses []time.Duration) {
	t.CloseIdleConnections()
	if len(pauses) > 0 {
		time.AfterFunc(pauses[0], func() { hangUp(t, pauses[1:]) })
	}
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
		c.tls = make(map[string]*named)
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

// through returns what makes a call by m, whose connections these are, and whose URL
// names a host. release ends the use of both.
func (c *conn) through(host string, m *member) (t http.RoundTripper, release func()) {
	if c.plain != nil {
		return c.plain, m.Release
	}
	base, ok := c.f.next.(*http.Transport)
	if !ok {
		return c.f.next, m.Release
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if base.DialTLSContext != nil || base.TLSClientConfig != nil && base.TLSClientConfig.ServerName != "" {
		name = "" // it makes no difference
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.tls[name]
	if n == nil {
		if len(c.tls) >= maxNames {
			oldest := ""
			var last *named
			for name, n := range c.tls {
				if last == nil || n.used.Before(last.used) {
					oldest, last = name, n
				}
			}
			last.Retire()
			delete(c.tls, oldest)
		}
		n = new(named)
		n.Conn = &link{c.transport(base, name)}
		c.tls[name] = n
	}
	n.used = time.Now()
	n.Begin()
	return n.Conn, func() { n.Release(); m.Release() }
}

// closeIdle closes the connections that carry no call.
func (c *conn) closeIdle() { c.each((*http.Transport).CloseIdleConnections) }

// CloseIdle implements balance.Conn: it is called when nobody calls the address any
// more.
func (c *conn) CloseIdle() { c.each(func(t *http.Transport) { hangUp(t, hangUpPauses) }) }

func (c *conn) each(do func(*http.Transport)) {
	if c.plain != nil {
		do(c.plain)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.tls {
		do(n.Conn.Transport)
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

	used int64 // when it was last called, in Unix nanoseconds; the found's mu guards it

	mu      sync.Mutex
	lanes   []*member
	renewed time.Time
	turn    int
	retired bool // whoever still picks is the last
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
		w.leave()
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
	if w.retired {
		w.leave()
	}
	return m
}

// retire keeps new calls away. Connections are closed when they carry none.
func (w *whole) retire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retired = true
	w.leave()
}

// leave lets go of the lanes. w.mu is held.
func (w *whole) leave() {
	for _, m := range w.lanes {
		m.Retire()
	}
	w.lanes = nil
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
		m.Conn.closeIdle()
	}
}
