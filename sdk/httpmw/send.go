package httpmw

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/balance"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk/trace"
)

// maxAttempts bounds how many instances one call is sent to.
const maxAttempts = 4

// send makes a call to one of the peer's instances, or its Service.
func (f *finder) send(r *http.Request, peer governance.App, span zipkin.Span) (*http.Response, error) {
	if !f.fixed && !f.asks(peer, r.URL.Hostname()) {
		return f.stranger(r, nil)
	}
	e, err := f.find(r.Context(), registry.App{Namespace: peer.Namespace, Name: peer.Name})
	if f.counts(peer, e) {
		f.calls(peer)
	}
	if err != nil {
		return f.stranger(r, err) // a registry that is away says nothing against the host
	}
	s := e.snapshot.Load()
	if !s.Known() {
		return f.stranger(r, fmt.Errorf("the registry knows no application %s", peer))
	}
	if s.Service.External && len(s.Instances) == 0 {
		return f.next.RoundTrip(r) // by its name, which leads to a host that is not the cluster's
	}
	x := &exchange{f: f, e: e, r: r, span: span, at: placeOf(r)}
	if mode := f.modeOf(s); mode == registry.ModeService && s.Service.Host != "" && !s.Service.Headless {
		if resp, done, err := x.whole(s); done {
			return resp, err
		}
	}
	return x.pods()
}

// counts reports whether an application is declared as called. There is room for a few
// hundred, so it must be one that the registry knows, or may know where the program
// itself has applications.
func (f *finder) counts(peer governance.App, e *found) bool {
	if e == nil {
		return f.fixed || f.named(peer.Namespace)
	}
	return e.kept || e.snapshot.Load().Known()
}

// modeOf is how an application is called, by what speaks first.
func (f *finder) modeOf(s *registry.Snapshot) registry.Mode {
	if f.mode != "" {
		return f.mode
	}
	return s.Mode
}

// stranger makes a call to a host of which the registry knows nothing, and why.
func (f *finder) stranger(r *http.Request, why error) (*http.Response, error) {
	if !f.strict {
		return f.next.RoundTrip(r)
	}
	closeBody(r)
	if why == nil {
		return nil, fmt.Errorf("httpmw: the host %s names no application: write it as name or name.namespace.svc, or leave Strict out", r.URL.Host)
	}
	return nil, fmt.Errorf("httpmw: %w: deploy it with a Service of its name, correct the host %s, or leave Strict out", why, r.URL.Host)
}

// exchange is one call on its way to somebody.
type exchange struct {
	f        *finder
	e        *found
	r        *http.Request
	span     zipkin.Span
	at       place
	body     *unsent
	attempts int
}

// whole makes the call by the Service's address. done is false where nothing was sent
// and the instances may be asked.
func (x *exchange) whole(s *registry.Snapshot) (resp *http.Response, done bool, err error) {
	port, err := x.at.servicePort(s.Service)
	if err != nil {
		closeBody(x.r)
		return nil, true, x.because(err)
	}
	w := x.e.whole(x.at, net.JoinHostPort(s.Service.Host, strconv.Itoa(int(port.Port))), port.Secured)
	// Right after a change of the mode the Service may not be reached from here yet.
	mayCallPods := x.f.mode == "" && len(s.Callable()) > 0
	if mayCallPods && w.down() {
		return nil, false, nil
	}
	resp, err = x.attempt(w.pick())
	if err != nil && mayCallPods && x.again(err) {
		return nil, false, nil
	}
	if err != nil {
		x.giveUp()
	}
	return resp, true, err
}

// pods makes the call to one instance, and to another as long as nothing was sent.
func (x *exchange) pods() (*http.Response, error) {
	p := x.e.pool(x.at)
	var err error
	tag, _ := x.r.Context().Value(tagKey{}).(string)
	wish := balance.Wish[*conn]{Tag: tag}
	for {
		m := p.Pick(&wish)
		if m == nil {
			x.giveUp()
			if err == nil {
				err = x.because(errors.New(p.Why()))
			}
			return nil, err
		}
		var resp *http.Response
		if resp, err = x.attempt(m); err == nil {
			m.Accepted()
			return resp, nil
		}
		if !x.again(err) {
			x.giveUp()
			return nil, err
		}
		p.Refused(m)
		wish.Tried = append(wish.Tried, m)
	}
}

// attempt makes the call through one member, whose use it ends.
func (x *exchange) attempt(m *member) (*http.Response, error) {
	if x.attempts++; x.attempts > 1 {
		trace.Retried(x.span, x.attempts-1)
	}
	x.name(m.Address)
	through, release := m.Conn.through(x.r.URL.Hostname(), m)
	resp, err := through.RoundTrip(x.request(m))
	if err != nil {
		release()
		return nil, err
	}
	if x.body != nil {
		x.body.settle(false)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols { // the body is the connection itself
		release()
		return resp, nil
	}
	resp.Body = &body{ReadCloser: resp.Body, end: func(error) { release() }}
	return resp, nil
}

// name tells the span which address is called.
func (x *exchange) name(address string) {
	peer := &model.Endpoint{ServiceName: x.e.app.Name}
	if to, err := netip.ParseAddrPort(address); err == nil {
		peer.Port = to.Port()
		if ip := to.Addr().Unmap(); ip.Is4() {
			peer.IPv4 = ip.AsSlice()
		} else {
			peer.IPv6 = ip.AsSlice()
		}
	}
	x.span.SetRemoteEndpoint(peer)
}

// request copies the call for one address; the Host header stays what it was.
func (x *exchange) request(m *member) *http.Request {
	out := new(http.Request)
	*out = *x.r
	if out.Host == "" {
		out.Host = x.r.URL.Host
	}
	out.URL = new(url.URL)
	*out.URL = *x.r.URL
	out.URL.Host = m.Address
	if m.Conn.secured {
		out.URL.Scheme = "https"
	}
	if x.r.Body != nil && x.r.Body != http.NoBody {
		if x.body == nil {
			x.body = &unsent{body: x.r.Body}
		}
		out.Body = x.body
		out.GetBody = x.r.GetBody
	}
	return out
}

// again reports whether the call may be made to another instance: nothing of it was
// sent, and somebody still waits.
func (x *exchange) again(err error) bool {
	if !notConnected(err) || x.attempts >= maxAttempts || x.r.Context().Err() != nil {
		return false
	}
	return x.body == nil || x.body.whole()
}

// giveUp ends a call that is made no more.
func (x *exchange) giveUp() {
	if x.body != nil {
		x.body.settle(true)
	} else {
		closeBody(x.r)
	}
}

// because says whose call could not be made.
func (x *exchange) because(err error) error {
	return fmt.Errorf("httpmw: %s cannot be called: %w", x.e.app, err)
}

// unsent is a body that stays whole until somebody reads of it, so that a call that
// was not connected can be made again. A transport closes the bodies of calls that
// fail; one that nobody has read of is closed by giveUp.
type unsent struct {
	body io.ReadCloser

	mu      sync.Mutex
	begun   bool // somebody has read of it
	settled bool // no other attempt needs it
	left    bool // the transport has closed it
	closed  bool
}

// Read implements io.Reader.
func (u *unsent) Read(p []byte) (int, error) {
	u.mu.Lock()
	u.begun = true
	u.mu.Unlock()
	return u.body.Read(p)
}

// Close implements io.Closer.
func (u *unsent) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.left = true
	if u.begun || u.settled {
		return u.close()
	}
	return nil
}

// settle notes that no other attempt needs the body.
func (u *unsent) settle(left bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.settled = true
	if u.left || left {
		_ = u.close() // as a transport would
	}
}

func (u *unsent) close() error {
	if u.closed {
		return nil
	}
	u.closed = true
	return u.body.Close()
}

func (u *unsent) whole() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.begun
}

// notConnected reports an error after which nothing can have arrived.
func notConnected(err error) bool {
	var mine *connectError
	var op *net.OpError
	return errors.As(err, &mine) || errors.As(err, &op) && op.Op == "dial"
}
