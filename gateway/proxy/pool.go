package proxy

import (
	"fmt"
	"net"
	"sync"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/balance"
	"github.com/weirmesh/weir/registry"
)

// poolKey identifies a pool: routes to the same place share one, and an edit of
// a route that does not change the place changes nothing in it.
type poolKey struct {
	app     registry.App // or
	address string       // host[:port] of a URL
	port    string
	// protocol is http1, h2c or https; empty where the Service says whether it is
	// https.
	protocol string
	tls      gateway.UpstreamTLS // what the route says of it
}

// String says where the pool leads, in the words of a route.
func (k poolKey) String() string {
	switch {
	case k.address != "" && k.protocol == protocolTLS:
		return "https://" + k.address
	case k.address != "":
		return "http://" + k.address
	case k.port != "":
		return k.app.String() + ":" + k.port
	default:
		return k.app.String()
	}
}

// Protocols of upstreams.
const (
	protocolHTTP1 = "http1"
	protocolTLS   = "https"
)

// protocolOf is what an endpoint is spoken to in.
func (k poolKey) protocolOf(secured bool) string {
	switch {
	case k.protocol != "":
		return k.protocol
	case secured:
		return protocolTLS
	}
	return protocolHTTP1
}

// identity is who has to be there where TLS is spoken.
func (k poolKey) identity() identity {
	roots, _ := k.tls.Roots() // was validated
	id := identity{named: k.tls.ServerName, roots: roots}
	if k.address == "" {
		id.usual = k.app.Name + "." + k.app.Namespace + ".svc"
	}
	return id
}

// portOf returns where the instances of the application are called.
func (k poolKey) portOf(s registry.Service) (balance.Port, error) {
	port, err := balance.PortOf(s, k.port, k.protocol == protocolTLS)
	if err != nil && k.port == "" {
		err = fmt.Errorf("%w: name one in upstream.port", err)
	}
	return port, err
}

// pool is the endpoints of one upstream. It is safe for concurrent use.
type pool struct {
	*balance.Pool[*endpoint]
	key   poolKey
	users int // guarded by pools.mu
	stop  func()
}

// member is an endpoint in a pool.
type member = balance.Member[*endpoint]

// balances are the ways to choose that routes name.
var balances = map[string]balance.By{
	gateway.LeastRequests: balance.LeastRequests,
	gateway.RoundRobin:    balance.RoundRobin,
	gateway.Random:        balance.Random,
}

// close ends the pool. Requests under way end as they would have.
func (p *pool) close() {
	p.stop() // waits for an update
	p.Close()
}

// pools are all upstreams in use.
type pools struct {
	registry registry.Discoverer // may be nil
	make     func(key poolKey) *pool

	mu  sync.Mutex
	all map[poolKey]*pool
}

// use returns the pool of an upstream. It must be followed by leave.
func (ps *pools) use(key poolKey) (*pool, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.all[key]; p != nil {
		p.users++
		return p, nil
	}
	p := ps.make(key)
	p.users, p.stop = 1, func() {}
	if key.address != "" {
		p.UseOne(withPort(key.address, key.protocol), key.protocol == protocolTLS)
	} else {
		stop, err := ps.registry.Subscribe(key.app, p.Update)
		if err != nil {
			return nil, err
		}
		p.stop = stop
	}
	ps.all[key] = p
	return p, nil
}

// leave ends one use of a pool.
func (ps *pools) leave(p *pool) {
	ps.mu.Lock()
	p.users--
	last := p.users == 0
	if last {
		delete(ps.all, p.key)
	}
	ps.mu.Unlock()
	if last {
		p.close()
	}
}

func withPort(host, protocol string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "80"
	if protocol == protocolTLS {
		port = "443"
	}
	if host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	return net.JoinHostPort(host, port)
}
