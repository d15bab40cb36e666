package proxy

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
)

// poolKey identifies a pool: routes to the same place share one, and an edit of
// a route that does not change the place changes nothing in it.
type poolKey struct {
	app      registry.App // or
	address  string       // host[:port] of a URL
	port     string
	protocol string // http1, h2c, https
}

// String says where the pool leads, in the words of a route.
func (k poolKey) String() string {
	switch {
	case k.address != "" && k.protocol == "https":
		return "https://" + k.address
	case k.address != "":
		return "http://" + k.address
	case k.port != "":
		return k.app.String() + ":" + k.port
	default:
		return k.app.String()
	}
}

// pool is the endpoints of one upstream. It is safe for concurrent use.
type pool struct {
	key     poolKey
	connect func(address, protocol string) *endpoint
	ejected func() // counts
	now     func() time.Time

	users int // guarded by pools.mu
	stop  func()
	known chan struct{} // closed once there is a set
	set   atomic.Pointer[endpointSet]
	turn  atomic.Uint64

	mu   sync.Mutex // of what follows
	all  map[string]*endpoint
	once bool // known is closed
}

// endpointSet is those that may get requests. It is immutable.
type endpointSet struct {
	endpoints []*endpoint
	// bounds are the running sums of the weights; nil when all are equal.
	bounds []int
	why    string // when there are none
}

// Ejection of an endpoint that refuses connections.
const (
	ejectFor     = time.Second
	maxEjectFor  = 30 * time.Second
	maxEjectStep = 5 // doublings
)

// update takes a snapshot of the application.
func (p *pool) update(s registry.Snapshot) {
	set := &endpointSet{}
	port, err := targetPort(s.Service, p.key.port)
	callable := s.Callable()
	switch {
	case len(s.Instances) == 0:
		set.why = "the application " + p.key.app.String() + " has no instances"
	case err != nil:
		set.why = err.Error()
	case len(callable) == 0:
		set.why = fmt.Sprintf("none of the %d instances of %s can be called: %s", len(s.Instances), p.key.app, s.Instances[0].Why())
	}
	if set.why != "" {
		callable = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	live := make(map[string]*endpoint, len(callable))
	weights := make([]int, 0, len(callable))
	for _, i := range callable {
		address := net.JoinHostPort(i.Host.String(), strconv.Itoa(int(port)))
		if live[address] != nil {
			continue
		}
		e := p.all[address]
		if e == nil {
			e = p.connect(address, p.key.protocol)
		}
		live[address] = e
		set.endpoints = append(set.endpoints, e)
		weights = append(weights, i.Details.Weight)
	}
	set.weigh(weights)
	p.replace(live, set)
}

// replace makes a set the present one. p.mu is held.
func (p *pool) replace(live map[string]*endpoint, set *endpointSet) {
	for address, e := range p.all {
		if live[address] == nil {
			e.retire()
		}
	}
	p.all = live
	p.set.Store(set)
	if !p.once {
		p.once = true
		close(p.known)
	}
}

// close ends the pool. Requests under way end as they would have.
func (p *pool) close() {
	p.stop() // waits for update
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.all {
		e.retire()
	}
}

// targetPort returns the port at which instances take what is sent to a port of
// their Service, given by name or number; "" for its only one, or "http".
func targetPort(s registry.Service, port string) (uint16, error) {
	number, _ := strconv.ParseUint(port, 10, 16)
	if len(s.Ports) == 0 && number > 0 {
		return uint16(number), nil
	}
	at := slices.IndexFunc(s.Ports, func(sp registry.ServicePort) bool {
		switch {
		case port == "":
			return len(s.Ports) == 1 || sp.Name == "http"
		case number > 0:
			return uint64(sp.Port) == number
		default:
			return sp.Name == port
		}
	})
	switch {
	case at < 0 && port == "":
		return 0, fmt.Errorf("the Service has %d ports and none of them is named http: name one in upstream.port", len(s.Ports))
	case at < 0:
		return 0, fmt.Errorf("the Service has no port %s", port)
	case s.Ports[at].Target == 0:
		return 0, fmt.Errorf("port %s of the Service is not the same number in all instances", cmp.Or(port, s.Ports[at].Name))
	}
	return s.Ports[at].Target, nil
}

// weigh prepares choices by weight, the share that each instance asks for.
// Where none asks for any all are equal.
func (s *endpointSet) weigh(weights []int) {
	equal := true
	sum := 0
	bounds := make([]int, len(weights))
	for i, w := range weights {
		equal = equal && w == weights[0]
		sum += max(w, 0)
		bounds[i] = sum
	}
	if !equal && sum > 0 {
		s.bounds = bounds
	}
}

// at returns the endpoint that lies at a point between 0 and 1 of all weights.
func (s *endpointSet) at(point float64) *endpoint {
	if s.bounds == nil {
		return s.endpoints[min(int(point*float64(len(s.endpoints))), len(s.endpoints)-1)]
	}
	sum := s.bounds[len(s.bounds)-1]
	i, _ := slices.BinarySearch(s.bounds, 1+min(int(point*float64(sum)), sum-1))
	return s.endpoints[i]
}

// pick returns an endpoint that was not tried yet, nil when there is none. It
// must be followed by a call of release.
func (p *pool) pick(balance string, tried []*endpoint) *endpoint {
	set := p.set.Load()
	if set == nil || len(set.endpoints) == 0 {
		return nil
	}
	e := p.choose(set, balance, tried)
	if e != nil {
		e.active.Add(1)
	}
	return e
}

func (p *pool) choose(set *endpointSet, balance string, tried []*endpoint) *endpoint {
	now := p.now().UnixNano()
	ok := func(e *endpoint) bool { return e.ejectedUntil.Load() <= now && !slices.Contains(tried, e) }
	for range 2 {
		var a, b *endpoint
		switch balance {
		case gateway.RoundRobin:
			// Steps of the golden ratio visit all evenly, whatever their weights.
			const golden = 0.6180339887498949
			n := p.turn.Add(1) - 1
			if set.bounds == nil {
				a = set.endpoints[n%uint64(len(set.endpoints))]
			} else {
				point := golden * float64(n%(1<<32))
				a = set.at(point - float64(uint64(point)))
			}
		case gateway.Random:
			a = set.at(rand.Float64())
		default:
			a, b = set.at(rand.Float64()), set.at(rand.Float64())
			if b == a && len(set.endpoints) == 2 && set.bounds == nil {
				b = set.endpoints[0]
				if b == a {
					b = set.endpoints[1]
				}
			}
			if ok(b) && (!ok(a) || b.active.Load() < a.active.Load()) {
				a = b
			}
		}
		if ok(a) {
			return a
		}
	}
	// Few are left: take the idlest of them, ejected ones if there is no other.
	var best *endpoint
	for _, e := range set.endpoints {
		switch {
		case slices.Contains(tried, e):
		case best == nil, ok(e) && !ok(best), ok(e) == ok(best) && e.active.Load() < best.active.Load():
			best = e
		}
	}
	return best
}

// release ends what pick began.
func (e *endpoint) release() {
	if e.active.Add(-1) == 0 && e.gone.Load() {
		e.closeIdle()
	}
}

// refused notes that an endpoint took no connection, and leaves it alone for a
// while, unless half of its pool is ejected already.
func (p *pool) refused(e *endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	ejected := 0
	for _, o := range p.all {
		if o.ejectedUntil.Load() > now.UnixNano() {
			if o == e {
				return
			}
			ejected++
		}
	}
	if (ejected+1)*2 > len(p.all) || e.gone.Load() {
		return
	}
	step := min(e.refusals.Add(1)-1, maxEjectStep)
	e.ejectedUntil.Store(now.Add(min(ejectFor<<step, maxEjectFor)).UnixNano())
	p.ejected()
}

// accepted notes that an endpoint took a connection.
func (e *endpoint) accepted() {
	if e.refusals.Load() != 0 {
		e.refusals.Store(0)
		e.ejectedUntil.Store(0)
	}
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
	p.users, p.known, p.stop = 1, make(chan struct{}), func() {}
	if key.address != "" {
		e := p.connect(withPort(key.address, key.protocol), key.protocol)
		p.replace(map[string]*endpoint{e.address: e}, &endpointSet{endpoints: []*endpoint{e}})
	} else {
		stop, err := ps.registry.Subscribe(key.app, p.update)
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
	if protocol == "https" {
		port = "443"
	}
	if host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	return net.JoinHostPort(host, port)
}
