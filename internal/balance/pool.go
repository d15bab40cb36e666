package balance

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Config says what a Pool is of.
type Config[C Conn] struct {
	App registry.App
	// Port says where instances are called; see PortOf. Its error is what a user is
	// told.
	Port func(registry.Service) (Port, error)
	// Connect makes what calls to a member go through. It must not block, nor ask
	// anything of the pool.
	Connect func(m *Member[C], secured bool) C
	// Ejected is told of each ejection; nil for nobody.
	Ejected func()
	// Zone returns the caller's own, empty where it is not known; nil where zones do
	// not matter. NearPercent is how much of its even share the zone has to have for
	// its instances to be called alone.
	Zone        func() string
	NearPercent int
	// WarmUp is over how long new instances come to their full share; WarmUp when
	// zero, negative for not at all.
	WarmUp time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Pool is the addresses of one application. It is safe for concurrent use.
type Pool[C Conn] struct {
	cfg  Config[C]
	turn atomic.Uint64
	set  atomic.Pointer[set[C]]

	known chan struct{} // closed once there is a set

	mu  sync.Mutex // of what follows
	all map[key]*Member[C]
	one sync.Once // closes known
}

// key identifies a member: what speaks TLS since a moment is another one.
type key struct {
	address string
	secured bool
}

// set is what calls may go to. It is immutable.
type set[C Conn] struct {
	any   group[C]
	byTag map[string]group[C] // nil where no instance has a tag
	why   string              // when there is none
}

// group is tiers of falling preference: the next is chosen from while no member of
// those before takes connections.
type group[C Conn] []*tier[C]

// Ejection of an address that takes no connections.
const (
	ejectFor     = time.Second
	maxEjectFor  = 30 * time.Second
	maxEjectStep = 5 // doublings
	// tryFor is how long a single call may take to find out whether an ejected address
	// is back, before another one tries.
	tryFor = 2 * time.Second
)

// NewPool returns a pool of which nothing is known.
func NewPool[C Conn](cfg Config[C]) *Pool[C] {
	cfg.WarmUp = max(cmp.Or(cfg.WarmUp, WarmUp), 0)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Pool[C]{cfg: cfg, known: make(chan struct{}), all: map[key]*Member[C]{}}
}

// Known is closed once the pool was told of anything.
func (p *Pool[C]) Known() <-chan struct{} { return p.known }

// Why says why nothing can be called; it is empty when something can.
func (p *Pool[C]) Why() string {
	if s := p.set.Load(); s != nil {
		return s.why
	}
	return "the registry has not said yet which instances there are"
}

// Update takes a snapshot of the application.
func (p *Pool[C]) Update(s registry.Snapshot) {
	next := &set[C]{}
	port, err := p.cfg.Port(s.Service)
	callable := s.Callable()
	standby := standbys(&s)
	switch {
	case len(s.Instances) == 0:
		next.why = "the application " + p.cfg.App.String() + " has no instances"
	case err != nil:
		next.why = err.Error()
	case len(callable)+len(standby) == 0 && len(s.Instances) == 1:
		next.why = fmt.Sprintf("the only instance of %s cannot be called: %s", p.cfg.App, s.Instances[0].Why())
	case len(callable)+len(standby) == 0:
		next.why = fmt.Sprintf("none of the %d instances of %s can be called: %s", len(s.Instances), p.cfg.App, s.Instances[0].Why())
	}
	if next.why != "" {
		callable, standby = nil, nil
	}
	now := p.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	live := make(map[key]*Member[C], len(callable)+len(standby))
	tags := map[string]bool{}
	enter := func(in []registry.Instance) []placed[C] {
		out := make([]placed[C], 0, len(in))
		for i := range in {
			k := key{net.JoinHostPort(in[i].Host.String(), strconv.Itoa(int(port.Number))), port.Secured}
			if live[k] != nil {
				continue // instances on the host's own network may share an address
			}
			m := p.all[k]
			if m == nil {
				m = p.member(k)
			}
			live[k] = m
			e := entry[C]{Member: m, weight: in[i].Details.Weight}
			if !in[i].Details.Started.IsZero() {
				e.started = in[i].Details.Started.UnixNano()
			}
			tags[in[i].Details.Tag] = true
			out = append(out, placed[C]{e, in[i].Zone, in[i].Details.Tag})
		}
		return out
	}
	first, second := enter(callable), enter(standby)
	next.any = p.group(first, second, now)
	if len(tags) > 1 || len(tags) == 1 && !tags[""] {
		next.byTag = make(map[string]group[C], len(tags))
		for tag := range tags {
			of := func(x placed[C]) bool { return x.tag == tag }
			next.byTag[tag] = p.group(filter(first, of), filter(second, of), now)
		}
	}
	p.replace(live, next)
}

// placed is an entry on its way into tiers.
type placed[C Conn] struct {
	entry[C]
	zone, tag string
}

func filter[T any](in []T, keep func(T) bool) []T {
	var out []T
	for _, x := range in {
		if keep(x) {
			out = append(out, x)
		}
	}
	return out
}

// standbys are the instances that would be callable, were there not better ones.
func standbys(s *registry.Snapshot) []registry.Instance {
	var out []registry.Instance
	for i := range s.Instances {
		if s.Instances[i].StandsBy() {
			out = append(out, s.Instances[i])
		}
	}
	return out
}

// group lays members into tiers: the caller's own zone where that has enough, all
// that are called, all that stand by.
func (p *Pool[C]) group(first, second []placed[C], now time.Time) group[C] {
	var g group[C]
	add := func(in []placed[C]) {
		if len(in) == 0 {
			return
		}
		entries := make([]entry[C], len(in))
		for i := range in {
			entries[i] = in[i].entry
		}
		g = append(g, newTier(entries, &p.turn, p.cfg.WarmUp, now))
	}
	if own := p.zone(); own != "" {
		zones := make([]string, len(first))
		for i := range first {
			zones[i] = first[i].zone
		}
		if EnoughNear(zones, own, p.cfg.NearPercent) {
			add(filter(first, func(x placed[C]) bool { return x.zone == own }))
		}
	}
	if len(g) == 0 || len(g[0].entries) < len(first) {
		add(first)
	}
	add(second)
	return g
}

func (p *Pool[C]) zone() string {
	if p.cfg.Zone == nil {
		return ""
	}
	return p.cfg.Zone()
}

func (p *Pool[C]) member(k key) *Member[C] {
	m := &Member[C]{Address: k.address}
	m.Conn = p.cfg.Connect(m, k.secured)
	return m
}

// EnoughNear reports whether callers of a zone may call the instances of their own
// zone alone: whether these are at least the percentage of what an even spread over
// the zones would give it. zones are those of all instances.
func EnoughNear(zones []string, own string, percent int) bool {
	near, distinct := 0, map[string]bool{}
	for _, z := range zones {
		distinct[z] = true
		if z == own {
			near++
		}
	}
	return near > 0 && near*len(distinct)*100 >= len(zones)*percent
}

// UseOne makes a single address the whole pool.
func (p *Pool[C]) UseOne(address string, secured bool) {
	k := key{address, secured}
	m := p.member(k)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replace(map[key]*Member[C]{k: m}, &set[C]{any: p.group([]placed[C]{{entry: entry[C]{Member: m}}}, nil, p.cfg.Now())})
}

// replace makes a set the present one. p.mu is held.
func (p *Pool[C]) replace(live map[key]*Member[C], next *set[C]) {
	for k, m := range p.all {
		if live[k] != m {
			m.Retire()
		}
	}
	p.all = live
	p.set.Store(next)
	p.one.Do(func() { close(p.known) })
}

// Close ends the pool. Calls under way end as they would have.
func (p *Pool[C]) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.all {
		m.Retire()
	}
}

// Wish says which members a call may go to.
type Wish[C Conn] struct {
	By By
	// Tag is that of the instances wanted. Where none has it those without one are
	// taken, and all where there are none either. AnyTag takes all at once.
	Tag    string
	AnyTag bool
	// Tried are not chosen.
	Tried []*Member[C]
}

// Pick returns a member, nil when none is left. It must be followed by a call of the
// member's Release.
func (p *Pool[C]) Pick(w *Wish[C]) *Member[C] {
	s := p.set.Load()
	if s == nil {
		return nil
	}
	g := s.of(w)
	now := p.cfg.Now().UnixNano()
	for _, t := range g {
		if m := t.choose(w.By, w.Tried, p.cfg.WarmUp, now); m != nil {
			m.Begin()
			return m
		}
	}
	for _, t := range g { // ejected ones are better than nothing
		if m := t.last(w.Tried); m != nil {
			m.Begin()
			return m
		}
	}
	return nil
}

// of returns the members that a call may go to.
func (s *set[C]) of(w *Wish[C]) group[C] {
	if s.byTag == nil || w.AnyTag {
		return s.any
	}
	if g := s.byTag[w.Tag]; len(g) > 0 {
		return g
	}
	if g := s.byTag[""]; len(g) > 0 {
		return g
	}
	return s.any
}

// Others reports whether there is a member besides m and those tried.
func (p *Pool[C]) Others(w *Wish[C], m *Member[C]) bool {
	s := p.set.Load()
	if s == nil {
		return false
	}
	for _, t := range s.of(w) {
		for i := range t.entries {
			if o := t.entries[i].Member; o != m && !slices.Contains(w.Tried, o) {
				return true
			}
		}
	}
	return false
}

// Members returns those that are called or stand by.
func (p *Pool[C]) Members() []*Member[C] {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*Member[C], 0, len(p.all))
	for _, m := range p.all {
		out = append(out, m)
	}
	return out
}

// Refused notes that a member took no connection, and leaves it alone for a while,
// unless half of its pool is ejected already.
func (p *Pool[C]) Refused(m *Member[C]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if m.ejectedUntil.Load() > now.UnixNano() || m.gone.Load() {
		return
	}
	ejected := 0
	for _, o := range p.all {
		if o != m && o.ejectedUntil.Load() != 0 {
			ejected++
		}
	}
	if (ejected+1)*2 > len(p.all) {
		return
	}
	step := min(m.refusals.Add(1)-1, maxEjectStep)
	m.ejectedUntil.Store(now.Add(min(ejectFor<<step, maxEjectFor)).UnixNano())
	m.triedUntil.Store(0)
	if p.cfg.Ejected != nil {
		p.cfg.Ejected()
	}
}
