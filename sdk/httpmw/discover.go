package httpmw

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

// Discover sends calls straight to instances of the application, as the registry
// knows them, and so balances each call and not only each connection. An
// application that asks to be called through its Service is, and so is one of
// which the registry knows no address of its own, or nothing yet: calls wait two
// seconds for its first word of an application, and no more. A connection that
// cannot be made is tried once more with another instance.
func Discover(reg registry.Discoverer) ClientOption {
	return func(c *client) { c.finder = &finder{reg: reg, apps: make(map[registry.App]*found)} }
}

const (
	// firstWord is how long calls wait until the registry first tells of an
	// application that nobody has called before.
	firstWord = 2 * time.Second
	// maxWatched bounds how many applications are watched. Others are called by
	// their hosts, which may be names that somebody else makes up.
	maxWatched = 500
)

// finder keeps what the registry says of the applications that are called. They
// are few, and watched for as long as the process runs.
type finder struct {
	reg registry.Discoverer

	mu   sync.Mutex
	apps map[registry.App]*found
}

// found is one application.
type found struct {
	snapshot atomic.Pointer[registry.Snapshot]
	until    time.Time // calls wait so long for the first one
	mu       sync.Mutex
	load     map[string]*atomic.Int64 // calls under way, by instance
}

// find returns what is known of an application; false for nothing, now.
func (f *finder) find(ctx context.Context, app registry.App) (*found, registry.Snapshot, bool) {
	f.mu.Lock()
	e := f.apps[app]
	if e == nil {
		if len(f.apps) >= maxWatched {
			f.mu.Unlock()
			return nil, registry.Snapshot{}, false
		}
		e = &found{load: make(map[string]*atomic.Int64), until: time.Now().Add(firstWord)}
		// The subscription is never ended: who was called is called again.
		if _, err := f.reg.Subscribe(app, func(s registry.Snapshot) { e.take(s) }); err != nil {
			f.mu.Unlock()
			return nil, registry.Snapshot{}, false
		}
		f.apps[app] = e
	}
	f.mu.Unlock()
	if s := e.snapshot.Load(); s != nil {
		return e, *s, true
	}
	if !time.Now().Before(e.until) {
		return e, registry.Snapshot{}, false
	}
	ctx, cancel := context.WithDeadline(ctx, e.until)
	defer cancel()
	s, err := f.reg.Snapshot(ctx, app)
	return e, s, err == nil
}

func (e *found) take(s registry.Snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	there := make(map[string]bool, len(s.Instances))
	for i := range s.Instances {
		there[s.Instances[i].ID] = true
	}
	for id := range e.load {
		if !there[id] {
			delete(e.load, id)
		}
	}
	e.snapshot.Store(&s)
}

func (e *found) loadOf(id string) *atomic.Int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.load[id]
	if n == nil {
		n = new(atomic.Int64)
		e.load[id] = n
	}
	return n
}

// send makes a call to one of the peer's instances.
func (f *finder) send(r *http.Request, peer governance.App, span zipkin.Span, next http.RoundTripper) (*http.Response, error) {
	e, snapshot, known := f.find(r.Context(), registry.App{Namespace: peer.Namespace, Name: peer.Name})
	if !known {
		return next.RoundTrip(r) // a registry that is away says nothing against the host
	}
	if snapshot.Mode == registry.ModeService && snapshot.Service.Host != "" {
		return next.RoundTrip(toHost(r, snapshot.Service.Host, ""))
	}
	callable := snapshot.Callable()
	if len(callable) == 0 {
		if len(snapshot.Instances) == 0 && snapshot.Service.Host == "" {
			return next.RoundTrip(r) // nothing the registry knows: the host may be good
		}
		closeBody(r)
		return nil, fmt.Errorf("httpmw: none of the %d instances of %s can be called now", len(snapshot.Instances), peer)
	}
	port, err := portOf(r, snapshot)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	first := e.pick(callable, -1)
	resp, err := e.call(r, &callable[first], port, span, next)
	if err == nil || len(callable) == 1 || !notConnected(err) || !again(r) {
		return resp, err
	}
	return e.call(r, &callable[e.pick(callable, first)], port, span, next)
}

// pick takes the less busy of two, leaving one out.
func (e *found) pick(in []registry.Instance, not int) int {
	n := len(in)
	if not >= 0 {
		n--
	}
	at := func(i int) int {
		if not >= 0 && i >= not {
			i++
		}
		return i
	}
	a, b := at(rand.IntN(n)), at(rand.IntN(n))
	if e.loadOf(in[b].ID).Load() < e.loadOf(in[a].ID).Load() {
		return b
	}
	return a
}

func (e *found) call(r *http.Request, to *registry.Instance, port uint16, span zipkin.Span, next http.RoundTripper) (*http.Response, error) {
	peer := &model.Endpoint{ServiceName: appOfHost(r.URL.Hostname(), "").Name, Port: port}
	if ip := to.Host.Unmap(); ip.Is4() {
		peer.IPv4 = ip.AsSlice()
	} else {
		peer.IPv6 = ip.AsSlice()
	}
	span.SetRemoteEndpoint(peer)
	load := e.loadOf(to.ID)
	load.Add(1)
	resp, err := next.RoundTrip(toHost(r, "", netip.AddrPortFrom(to.Host, port).String()))
	if err != nil {
		load.Add(-1)
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols { // the body is the connection itself
		load.Add(-1)
		return resp, nil
	}
	resp.Body = &body{ReadCloser: resp.Body, end: func(error) { load.Add(-1) }}
	return resp, nil
}

// toHost copies a request for another address; the Host header stays what it was.
func toHost(r *http.Request, host, hostPort string) *http.Request {
	out := r.Clone(r.Context())
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	if hostPort == "" {
		hostPort = host
		if port := r.URL.Port(); port != "" {
			hostPort = net.JoinHostPort(host, port)
		}
	}
	out.URL.Host = hostPort
	return out
}

// portOf turns the port of the URL, which is the Service's, into the instances'.
func portOf(r *http.Request, s registry.Snapshot) (uint16, error) {
	want := uint16(80)
	if r.URL.Scheme == "https" {
		want = 443
	}
	named := r.URL.Port() != ""
	if named {
		n, err := strconv.ParseUint(r.URL.Port(), 10, 16)
		if err != nil {
			return 0, fmt.Errorf("httpmw: %q is no port", r.URL.Port())
		}
		want = uint16(n)
	}
	for _, p := range s.Service.Ports {
		if p.Port == want && p.Target != 0 {
			return p.Target, nil
		}
	}
	if !named && len(s.Service.Ports) == 1 && s.Service.Ports[0].Target != 0 {
		return s.Service.Ports[0].Target, nil // there is only one it can be
	}
	return want, nil
}

// notConnected reports an error after which nothing can have arrived.
func notConnected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// again readies a request to be sent once more.
func again(r *http.Request) bool {
	if r.Context().Err() != nil {
		return false
	}
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	if r.GetBody == nil {
		return false
	}
	fresh, err := r.GetBody()
	if err != nil {
		return false
	}
	r.Body = fresh
	return true
}
