//go:build linux

package consumer

import (
	"context"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/registry"
	"dubbo.apache.org/dubbo-go/v3/remoting"

	"github.com/weirmesh/weir/test/bench/clock"
	"github.com/weirmesh/weir/test/bench/plan"
)

// recorder keeps, for every application, the list a consumer would call, and
// nothing else: what it holds is made before memory is first measured, and it
// keeps no URL that the registry could otherwise let go.
type recorder struct {
	plan   plan.Plan
	lists  []*list
	signal chan struct{} // a list changed or was told; capacity 1

	mu       sync.Mutex
	lastTold int64
}

func newRecorder(p plan.Plan) *recorder {
	r := &recorder{plan: p, lists: make([]*list, p.Apps), signal: make(chan struct{}, 1)}
	for app := range r.lists {
		n := p.Slots(app)
		r.lists[app] = &list{recorder: r, app: app, size: p.Size(app), present: make([]bool, n), next: make([]bool, n)}
	}
	return r
}

// list is one application's list. As a NotifyListener it takes the place of
// dubbo-go's directory, without the directory's own work of making clients.
type list struct {
	recorder *recorder
	app      int
	size     int // of the whole list

	mu      sync.Mutex
	present []bool
	next    []bool
	count   int
	told    int64 // calls of NotifyAll
	empty   int64 // of those, with nothing in the list
	strays  int64 // entries that are no instance of this application

	slot     int   // of the change waited for
	up       bool  // and whether the instance comes or goes
	waiting  bool  // for it
	notified int64 // when the call that brought it returned

	gaps  gaps
	exits exits
}

var _ registry.NotifyListener = (*list)(nil)

// Notify takes a single entry, the way dubbo-go brings what it knew before a
// subscription.
func (l *list) Notify(event *registry.ServiceEvent) {
	l.mu.Lock()
	copy(l.next, l.present)
	if slot, ok := l.slotOf(event.Service.Ip); ok {
		l.next[slot] = event.Action != remoting.EventTypeDel
	}
	l.apply()
	l.mu.Unlock()
	l.recorder.wake()
}

// NotifyAll takes the whole list.
func (l *list) NotifyAll(events []*registry.ServiceEvent, done func()) {
	l.mu.Lock()
	clear(l.next)
	for _, e := range events {
		if slot, ok := l.slotOf(e.Service.Ip); ok {
			l.next[slot] = true
		}
	}
	l.replace()
	l.mu.Unlock()
	done()
	l.returned()
}

// replaceHosts takes the whole list from a caller that is not dubbo-go.
func (l *list) replaceHosts(hosts func(yield func(string) bool)) {
	l.mu.Lock()
	clear(l.next)
	for host := range hosts {
		if slot, ok := l.slotOf(host); ok {
			l.next[slot] = true
		}
	}
	l.replace()
	l.mu.Unlock()
	l.returned()
}

func (l *list) slotOf(host string) (int, bool) {
	i, ok := l.recorder.plan.Index(host)
	if !ok || l.recorder.plan.App(i) != l.app {
		l.strays++
		return 0, false
	}
	return l.recorder.plan.Slot(i), true
}

func (l *list) replace() {
	l.told++
	l.apply()
	if l.count == 0 {
		l.empty++
	}
}

func (l *list) apply() {
	l.present, l.next = l.next, l.present
	l.count = 0
	for _, here := range l.present {
		if here {
			l.count++
		}
	}
	l.gaps.note(l.count, l.size, clock.Now())
	l.exits.note(l.next, l.present, l.count)
}

// returned notes the end of a call: the very last thing that a NotifyListener
// does.
func (l *list) returned() {
	now := clock.Now()
	l.mu.Lock()
	if l.waiting && l.present[l.slot] == l.up {
		l.waiting, l.notified = false, now
	}
	l.exits.returned(now)
	l.mu.Unlock()
	l.recorder.mu.Lock()
	l.recorder.lastTold = now
	l.recorder.mu.Unlock()
	l.recorder.wake()
}

// arm waits for an instance to come or go. It reports false if it already has.
func (l *list) arm(slot int, up bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slot, l.up, l.waiting, l.notified = slot, up, true, 0
	return l.present[slot] != up
}

func (l *list) outcome() (notified, told, empty int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notified, l.told, l.empty
}

func (r *recorder) wake() {
	select {
	case r.signal <- struct{}{}:
	default:
	}
}

// full reports whether every list holds all its instances.
func (r *recorder) full() bool {
	for _, l := range r.lists {
		l.mu.Lock()
		full := l.count == l.size
		l.mu.Unlock()
		if !full {
			return false
		}
	}
	return true
}

// missing returns how many instances the lists lack, and how many entries were
// no instances of the plan.
func (r *recorder) missing() (instances int, strays int64) {
	for _, l := range r.lists {
		l.mu.Lock()
		instances += max(0, l.size-l.count)
		strays += l.strays
		l.mu.Unlock()
	}
	return instances, strays
}

// until waits for a condition that changes only when a list is told something.
func (r *recorder) until(ctx context.Context, condition func() bool) error {
	for !condition() {
		select {
		case <-r.signal:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// rest waits until no list has been told anything for a while.
func (r *recorder) rest(ctx context.Context, quiet time.Duration) error {
	begun := clock.Now()
	for {
		r.mu.Lock()
		last := max(r.lastTold, begun)
		r.mu.Unlock()
		left := time.Duration(last + int64(quiet) - clock.Now())
		if left <= 0 {
			return nil
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// gaps adds up the times during which a list was empty or short although all
// its instances were alive. It begins with start.
type gaps struct {
	on                     bool
	emptySince, shortSince int64 // 0 while it is not
	emptyFor, shortFor     int64
	emptyMax               int64
	emptyCalls, calls      int64
}

func (g *gaps) start(count, size int, now int64) {
	*g = gaps{on: true}
	g.mark(count, size, now)
}

func (g *gaps) note(count, size int, now int64) {
	if !g.on {
		return
	}
	g.calls++
	if count == 0 {
		g.emptyCalls++
	}
	g.mark(count, size, now)
}

func (g *gaps) mark(count, size int, now int64) {
	if count > 0 && g.emptySince != 0 {
		g.emptyFor += now - g.emptySince
		g.emptyMax = max(g.emptyMax, now-g.emptySince)
		g.emptySince = 0
	}
	if count == 0 && g.emptySince == 0 {
		g.emptySince = now
	}
	if count == size && g.shortSince != 0 {
		g.shortFor += now - g.shortSince
		g.shortSince = 0
	}
	if count < size && g.shortSince == 0 {
		g.shortSince = now
	}
}

// stop closes what is still open at now and returns the sums.
func (g *gaps) stop(now int64) gaps {
	if g.emptySince != 0 {
		g.emptyFor += now - g.emptySince
		g.emptyMax = max(g.emptyMax, now-g.emptySince)
	}
	if g.shortSince != 0 {
		g.shortFor += now - g.shortSince
	}
	g.on = false
	return *g
}
