package httpmw

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/internal/balance"
	"github.com/weirmesh/weir/registry"
)

type (
	pool   = balance.Pool[*conn]
	member = balance.Member[*conn]
)

// found is one application that is called.
type found struct {
	f        *finder
	app      registry.App
	kept     bool   // the program itself has chosen it; written once, as space
	space    *asked // nil where no host alone names its namespace
	snapshot atomic.Pointer[registry.Snapshot]
	until    time.Time    // calls wait so long for the first one
	used     atomic.Int64 // when it was last called, in Unix nanoseconds

	once sync.Once // subscribes, or ends what never was
	stop func()    // ends the subscription; written by once, like err
	err  error

	pools atomic.Pointer[map[place]*ported]

	mu     sync.Mutex // of what follows, and of changes of the above
	wholes map[place]*whole
	ids    []string      // who is called, as the Service leads there
	mode   registry.Mode // how they are, as of the last snapshot
	ended  bool
}

// ported is the instances at one port.
type ported struct {
	*pool
	used atomic.Int64 // Unix nanoseconds
}

// place is where an application is asked to be called: the port as the URL writes
// it, and whether by TLS.
type place struct {
	port    string
	secured bool
}

func placeOf(r *http.Request) place { return place{r.URL.Port(), r.URL.Scheme == "https"} }

func newFound(f *finder, app registry.App) *found {
	e := &found{f: f, app: app, until: time.Now().Add(firstWord), wholes: map[place]*whole{}}
	e.pools.Store(&map[place]*ported{})
	return e
}

// subscribe has the registry tell of the application from now on.
func (e *found) subscribe() error {
	e.once.Do(func() { e.stop, e.err = e.f.reg.Subscribe(e.app, e.take) })
	return e.err
}

// end ends what the entry holds. Calls under way end as they would have. No lock is
// held.
func (e *found) end() {
	e.once.Do(func() { e.err = errEnded })
	if e.stop != nil {
		e.stop()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	e.leavePools()
	e.leaveWholes()
}

// leavePools lets go of the instances' connections. e.mu is held.
func (e *found) leavePools() {
	for _, p := range *e.pools.Swap(&map[place]*ported{}) {
		p.Close()
	}
}

// leaveWholes lets go of the connections to the Service. e.mu is held.
func (e *found) leaveWholes() {
	for _, w := range e.wholes {
		w.retire()
	}
	clear(e.wholes)
}

// first takes a snapshot that was asked for, unless one was told already.
func (e *found) first(s *registry.Snapshot) {
	e.mu.Lock()
	if e.snapshot.Load() == nil {
		e.apply(s)
	}
	e.mu.Unlock()
	e.f.place(e)
}

// take takes what the registry tells.
func (e *found) take(s registry.Snapshot) {
	e.mu.Lock()
	e.apply(&s)
	moved := false
	if self := e.f.self; e.f.nearPercent > 0 && e.app.Namespace == self.Namespace && e.app.Name == self.Name {
		if i := s.Find(e.f.id); i != nil {
			before := e.f.here.Swap(&i.Zone)
			moved = before == nil || *before != i.Zone
		}
	}
	e.mu.Unlock()
	e.f.place(e)
	if moved {
		e.f.ownZoneChanged()
	}
}

// again weighs the instances anew.
func (e *found) again() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.snapshot.Load(); s != nil {
		e.apply(s)
	}
}

// apply makes a snapshot the present one. e.mu is held.
func (e *found) apply(s *registry.Snapshot) {
	for _, p := range *e.pools.Load() {
		p.Update(*s)
	}
	var ids []string
	for i := range s.Instances {
		if s.Instances[i].Callable() {
			ids = append(ids, s.Instances[i].ID)
		}
	}
	if !slices.Equal(ids, e.ids) {
		e.ids = ids
		for _, w := range e.wholes {
			w.stale.Store(true)
		}
	}
	if mode := e.f.modeOf(s); mode != e.mode {
		// What leads there in the way that was left carries what is under way, and no
		// more.
		if e.mode = mode; mode == registry.ModeService {
			e.leavePools()
		} else {
			e.leaveWholes()
		}
	}
	e.snapshot.Store(s)
}

// pool returns the instances' addresses for a place.
func (e *found) pool(at place) *pool {
	now := time.Now().UnixNano()
	if p := (*e.pools.Load())[at]; p != nil {
		p.used.Store(now)
		return p.pool
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	pools := maps.Clone(*e.pools.Load())
	if p := pools[at]; p != nil {
		return p.pool
	}
	cfg := balance.Config[*conn]{
		App: e.app, Port: at.instancePort, NearPercent: e.f.nearPercent, WarmUp: e.f.warmUp,
	}
	if e.f.nearPercent > 0 {
		cfg.Zone = e.f.ownZone
	}
	var p *pool
	cfg.Connect = func(m *member, secured bool) *conn {
		return newConn(e.f, m.Address, secured, func() { p.Refused(m) })
	}
	p = balance.NewPool(cfg)
	p.Update(*e.snapshot.Load())
	if e.ended { // serves the call that is under way
		p.Close()
		return p
	}
	if oldest, full := longestUnused(pools, func(p *ported) int64 { return p.used.Load() }); full {
		pools[oldest].Close()
		delete(pools, oldest)
	}
	kept := &ported{pool: p}
	kept.used.Store(now)
	pools[at] = kept
	e.pools.Store(&pools)
	return p
}

// whole returns the Service's connections for a place.
func (e *found) whole(at place, address string, secured bool) *whole {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.wholes[at]
	if w == nil || w.address != address || w.secured != secured {
		if w != nil {
			w.retire()
			delete(e.wholes, at)
		}
		w = newWhole(e.f, address, secured)
		if e.ended || e.mode != registry.ModeService { // serves the call that is under way
			w.retire()
			return w
		}
		if oldest, full := longestUnused(e.wholes, func(w *whole) int64 { return w.used }); full {
			e.wholes[oldest].retire()
			delete(e.wholes, oldest)
		}
		e.wholes[at] = w
	}
	w.used = time.Now().UnixNano()
	return w
}

// longestUnused returns which of an application's ports was last called before all
// others, and whether there are so many that it has to make room: ports are part of
// URLs, which somebody else may make up.
func longestUnused[T any](all map[place]T, used func(T) int64) (oldest place, full bool) {
	first := true
	for at, x := range all {
		if first || used(x) < used(all[oldest]) {
			oldest, first = at, false
		}
	}
	return oldest, len(all) >= maxPorts
}

// instancePort turns the port of a URL, which is the Service's, into the instances'.
// One that the Service has not is the instances' own.
func (at place) instancePort(s registry.Service) (balance.Port, error) {
	port, err := at.servicePort(s)
	return balance.Port{Number: port.Target, Secured: port.Secured}, err
}

// servicePort returns the Service's port that a URL means. Without one it is that of
// the URL's scheme, else the one that Spring Cloud Kubernetes would call.
func (at place) servicePort(s registry.Service) (registry.ServicePort, error) {
	want := at.port
	if want == "" {
		if want = "80"; at.secured {
			want = "443"
		}
		if balance.Find(s.Ports, want, at.secured) < 0 {
			want = ""
		}
	}
	found := balance.Find(s.Ports, want, at.secured)
	if found < 0 && want != "" {
		n, err := strconv.ParseUint(want, 10, 16)
		if err != nil || n == 0 {
			return registry.ServicePort{}, fmt.Errorf("%q is no port", want)
		}
		return registry.ServicePort{Port: uint16(n), Target: uint16(n), Secured: at.secured}, nil
	}
	port, err := balance.PortOf(s, want, at.secured)
	if err != nil {
		if at.port == "" {
			err = fmt.Errorf("%w: write the port into the URL", err)
		}
		return registry.ServicePort{}, err
	}
	return registry.ServicePort{Port: s.Ports[found].Port, Target: port.Number, Secured: port.Secured || at.secured}, nil
}

func (e *found) closeIdle() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range *e.pools.Load() {
		for _, m := range p.Members() {
			m.Conn.closeIdle()
		}
	}
	for _, w := range e.wholes {
		w.closeIdle()
	}
}
