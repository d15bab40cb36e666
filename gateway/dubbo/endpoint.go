package dubbo

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Dubbo's names of the protocols that are called.
const (
	protocolDubbo  = "dubbo"
	protocolTriple = "tri"
)

// retireAfter is how long calls under way at an endpoint that left the registry
// may take until its connection is broken. Routes bound calls to less.
const retireAfter = 2 * time.Minute

// endpoint is one address of an instance, with what is known and kept of it. It
// outlives snapshots for as long as the address is in them.
type endpoint struct {
	protocol, address string
	client            *client       // of the Dubbo protocol
	triple            *tripleClient // of Triple
	pending           atomic.Int64
	underWay          *atomic.Int64 // calls of the whole application
	drained           atomic.Bool   // Triple: the provider said that it leaves
	rests             atomic.Int64  // until this time, in Unix nanoseconds

	mu      sync.Mutex
	retired bool
	timer   *time.Timer
	closing sync.Once
}

func newEndpoint(protocol, address string, cfg clientConfig, underWay *atomic.Int64) *endpoint {
	e := &endpoint{protocol: protocol, address: address, underWay: underWay}
	if protocol == protocolDubbo {
		e.client = newClient(address, cfg)
	} else {
		e.triple = newTripleClient(address, cfg)
	}
	return e
}

func (e *endpoint) draining() bool {
	if e.client != nil {
		return e.client.draining()
	}
	return e.drained.Load()
}

func (e *endpoint) drain() {
	if e.client != nil {
		e.client.drain()
		return
	}
	e.drained.Store(true)
}

// restFor is how long an endpoint that refused a call, or could not be reached, is
// passed over where there are others. One that fails fast has few calls under way
// and would draw the more to it.
const restFor = time.Second

func (e *endpoint) rest() { e.rests.Store(time.Now().Add(restFor).UnixNano()) }

func (e *endpoint) resting() bool {
	until := e.rests.Load()
	return until != 0 && time.Now().UnixNano() < until
}

func (e *endpoint) unreachable() bool { return e.client != nil && e.client.unreachable() }

// acquire counts a call, which release ends.
func (e *endpoint) acquire() {
	e.pending.Add(1)
	e.underWay.Add(1)
}

// release ends a call; the last one closes an endpoint that was retired.
func (e *endpoint) release() {
	e.underWay.Add(-1)
	if e.pending.Add(-1) > 0 {
		return
	}
	e.mu.Lock()
	retired := e.retired
	e.mu.Unlock()
	if retired {
		e.close()
	}
}

// left reports whether the endpoint was retired. Of one that was not, when a call
// was counted before, the connection stays until that call is released.
func (e *endpoint) left() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retired
}

// retire lets calls under way end, and then closes.
func (e *endpoint) retire() {
	e.mu.Lock()
	e.retired = true
	if e.pending.Load() > 0 && e.timer == nil {
		e.timer = time.AfterFunc(retireAfter, e.close)
	}
	e.mu.Unlock()
	if e.pending.Load() == 0 {
		e.close()
	}
}

func (e *endpoint) close() {
	e.closing.Do(func() {
		e.mu.Lock()
		e.retired = true
		if e.timer != nil {
			e.timer.Stop()
		}
		e.mu.Unlock()
		if e.client != nil {
			e.client.Close()
		} else {
			e.triple.Close()
		}
	})
}

// choice is an endpoint among others.
type choice struct {
	*endpoint
	weight int64
}

// endpoints are those of one snapshot.
type endpoints struct {
	instances, callable int
	// hessian take generic calls in Hessian: per instance its Dubbo endpoint or
	// else its Triple one. json take JSON. Both by traffic tag, "" for none.
	hessian, json map[string][]choice
	anyHessian    []choice
	anyJSON       []choice
}

// candidates returns the endpoints for a call: those with its tag or else those
// without one, as Dubbo's tag router has it; all when there are no such ones.
func (s *endpoints) candidates(json bool, tag string) []choice {
	byTag, all := s.hessian, s.anyHessian
	if json {
		byTag, all = s.json, s.anyJSON
	}
	if list := byTag[tag]; len(list) > 0 {
		return list
	}
	if list := byTag[""]; len(list) > 0 {
		return list
	}
	return all
}

// pick chooses among endpoints that were not tried: the one of two random ones
// with fewer calls under way for its weight. Those that drain, rest, or could not
// be reached a moment ago, are taken only when there is no other.
func pick(list []choice, tried []*endpoint) *endpoint {
	if len(list) == 0 {
		return nil
	}
	good := func(c choice) bool {
		return !slices.Contains(tried, c.endpoint) && !c.draining() && !c.unreachable() && !c.resting()
	}
	a, b := list[rand.IntN(len(list))], list[rand.IntN(len(list))]
	switch {
	case good(a) && good(b):
		return lighter(a, b).endpoint
	case good(a):
		return a.endpoint
	case good(b):
		return b.endpoint
	}
	// Look at all of them, from a random one on.
	from := rand.IntN(len(list))
	var last *endpoint
	var best *choice
	for i := range list {
		c := list[(from+i)%len(list)]
		switch {
		case slices.Contains(tried, c.endpoint):
		case good(c):
			if best == nil || lighter(*best, c).endpoint != best.endpoint {
				best = &c
			}
		case last == nil || last.unreachable() && !c.unreachable():
			last = c.endpoint
		}
	}
	if best != nil {
		return best.endpoint
	}
	return last
}

func lighter(a, b choice) choice {
	if (b.pending.Load()+1)*a.weight < (a.pending.Load()+1)*b.weight {
		return b
	}
	return a
}

// application follows one application in the registry.
type application struct {
	name  registry.App
	cfg   clientConfig
	stop  func()
	known chan struct{} // closed once there is a snapshot
	now   atomic.Pointer[endpoints]
	// underWay counts calls, those at endpoints that have left the registry as well.
	underWay atomic.Int64

	mu     sync.Mutex
	have   map[string]*endpoint // by protocol and address
	closed bool

	refs int // guarded by Dubbo.mu
}

func newApplication(name registry.App, disc registry.Discoverer, cfg clientConfig) (*application, error) {
	a := &application{name: name, cfg: cfg, known: make(chan struct{}), have: map[string]*endpoint{}}
	stop, err := disc.Subscribe(name, a.update)
	if err != nil {
		return nil, err
	}
	a.stop = stop
	return a, nil
}

// update takes a snapshot: endpoints that stay keep their connections.
func (a *application) update(s registry.Snapshot) {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return
	}
	next := &endpoints{instances: len(s.Instances), hessian: map[string][]choice{}, json: map[string][]choice{}}
	have := make(map[string]*endpoint, len(a.have))
	at := func(i *registry.Instance, protocol string) *choice {
		for _, p := range i.Endpoints {
			if p.Protocol != protocol {
				continue
			}
			address := net.JoinHostPort(i.Host.String(), strconv.Itoa(int(p.Port)))
			key := protocol + " " + address
			e := have[key]
			if e == nil {
				e = a.have[key]
			}
			if e == nil {
				e = newEndpoint(protocol, address, a.cfg, &a.underWay)
			}
			have[key] = e
			weight := int64(i.Details.Weight)
			if weight <= 0 {
				weight = registry.DefaultWeight
			}
			return &choice{endpoint: e, weight: weight}
		}
		return nil
	}
	for i := range s.Instances {
		inst := &s.Instances[i]
		if !inst.Callable() {
			continue
		}
		next.callable++
		tag := inst.Details.Tag
		triple, hessian := at(inst, protocolTriple), at(inst, protocolDubbo)
		if triple != nil {
			next.json[tag] = append(next.json[tag], *triple)
			next.anyJSON = append(next.anyJSON, *triple)
			if hessian == nil {
				hessian = triple
			}
		}
		if hessian != nil {
			next.hessian[tag] = append(next.hessian[tag], *hessian)
			next.anyHessian = append(next.anyHessian, *hessian)
		}
	}
	var gone []*endpoint
	for key, e := range a.have {
		if have[key] == nil {
			gone = append(gone, e)
		}
	}
	a.have = have
	if a.now.Swap(next) == nil {
		close(a.known)
	}
	a.mu.Unlock()
	for _, e := range gone {
		e.retire()
	}
}

// wait returns the endpoints, waiting until they are known or ctx ends, when it
// is nil.
func (a *application) wait(ctx context.Context) *endpoints {
	if s := a.now.Load(); s != nil {
		return s
	}
	select {
	case <-a.known:
	case <-ctx.Done():
	}
	return a.now.Load()
}

// close lets go of the registry and breaks the connections.
func (a *application) close() {
	a.stop()
	a.mu.Lock()
	a.closed = true
	have := a.have
	a.have = nil
	a.mu.Unlock()
	for _, e := range have {
		e.close()
	}
}
