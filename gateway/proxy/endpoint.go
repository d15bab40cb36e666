package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Of connections to upstreams.
const (
	maxIdlePerEndpoint = 512
	// idleConnTimeout is below what common servers (Tomcat 20 s, most others 60 s
	// and more) keep a silent connection for, so that few requests meet one that
	// is about to be closed.
	idleConnTimeout      = 15 * time.Second
	maxResponseHeader    = 1 << 20 // bytes
	expectContinueWaits  = time.Second
	tlsHandshakeTimeout  = 5 * time.Second
	upstreamBuffer       = 8 << 10 // bytes, each way
	http2PingAfter       = 30 * time.Second
	http2PingTimeout     = 10 * time.Second
	defaultDialTimeout   = 2 * time.Second
	keepAliveOfUpstreams = 15 * time.Second
)

// endpoint is one address to send requests to, with connections of its own: no
// two endpoints meet at a lock, and one that goes takes its connections along.
type endpoint struct {
	address   string // host:port
	scheme    string
	protocol  string
	identity  identity
	transport *http.Transport
	dial      *dialer

	mu       sync.Mutex
	upgrades *http.Transport // speaks HTTP/1.1, where transport may not
}

// dialer connects, and tells that this failed from all else that can fail.
type dialer struct {
	net.Dialer
	tls *tls.Config // of https
}

// identity is who has to be at an address where TLS is spoken.
type identity struct {
	// named is what the route says, and usual what it is else: a certificate is for the
	// name of a Service, and hardly ever for the address of a pod. Empty for the
	// address's own host.
	named, usual string
	roots        *x509.CertPool // nil for those of the gateway
}

// connectError means that no connection was had, so nothing was sent.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

func (d *dialer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, &connectError{err}
	}
	return c, nil
}

func (d *dialer) connectTLS(id identity, protocols ...string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := d.connect(ctx, network, address)
		if err != nil {
			return nil, err
		}
		config := d.tls.Clone()
		config.NextProtos = protocols
		host, _, _ := net.SplitHostPort(address)
		config.ServerName = cmp.Or(id.named, config.ServerName, id.usual, host)
		if id.roots != nil {
			config.RootCAs = id.roots
		}
		ctx, cancel := context.WithTimeout(ctx, tlsHandshakeTimeout)
		defer cancel()
		secure := tls.Client(c, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(&connectError{err}, ignoreClosed(c.Close()))
		}
		return secure, nil
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func newEndpoint(d *dialer, address, protocol string, id identity) *endpoint {
	e := &endpoint{address: address, scheme: "http", protocol: protocol, identity: id, dial: d}
	if protocol == protocolTLS {
		e.scheme = "https"
	}
	e.transport = e.newTransport(false)
	return e
}

// newTransport makes one. Redirects are the client's to follow, compression is
// between client and upstream, and proxies of the environment are for others.
func (e *endpoint) newTransport(http1 bool) *http.Transport {
	t := &http.Transport{
		DialContext:            e.dial.connect,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdlePerEndpoint,
		IdleConnTimeout:        idleConnTimeout,
		ExpectContinueTimeout:  expectContinueWaits,
		MaxResponseHeaderBytes: maxResponseHeader,
		WriteBufferSize:        upstreamBuffer,
		ReadBufferSize:         upstreamBuffer,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: http2PingAfter, PingTimeout: http2PingTimeout},
	}
	switch {
	case e.protocol == "h2c" && !http1:
		t.Protocols.SetUnencryptedHTTP2(true)
	case e.protocol == protocolTLS && !http1:
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
		t.DialTLSContext = e.dial.connectTLS(e.identity, "h2", "http/1.1")
	case e.protocol == protocolTLS:
		t.Protocols.SetHTTP1(true)
		t.DialTLSContext = e.dial.connectTLS(e.identity, "http/1.1")
	default:
		t.Protocols.SetHTTP1(true)
	}
	return t
}

// transportFor returns the transport of a request. One that asks for an upgrade
// needs HTTP/1.1.
func (e *endpoint) transportFor(upgrade bool) *http.Transport {
	if !upgrade || e.protocol == protocolHTTP1 {
		return e.transport
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.upgrades == nil {
		e.upgrades = e.newTransport(true)
	}
	return e.upgrades
}

// CloseIdle implements balance.Conn.
func (e *endpoint) CloseIdle() {
	e.transport.CloseIdleConnections()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.upgrades != nil {
		e.upgrades.CloseIdleConnections()
	}
}
