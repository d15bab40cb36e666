package dubbo

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
	"dubbo.apache.org/dubbo-go/v3/registry/directory"
	"dubbo.apache.org/dubbo-go/v3/remoting"

	"github.com/weirmesh/weir/registry"
)

// subscription is one reference of dubbo-go that follows the registry. All its
// lists are made and handed on by one goroutine, run.
type subscription struct {
	b        *Binding
	key      string
	ref      reference
	listener goregistry.NotifyListener
	chosen   *Chosen
	connects bool // the listener is dubbo-go's own, and connects to what it is told

	dirty chan struct{} // capacity 1: something may have changed
	first chan struct{} // closed when the first list was handed on
	quit  chan struct{}
	done  chan struct{} // closed when run has ended
	once  sync.Once

	mu          sync.Mutex
	apps        []registry.App // that provide the interface
	mapped      bool           // apps is known
	stopMapping func()

	// Only run touches what follows.
	watches map[registry.App]*watch
	calling map[registry.App]*calling
	// unmapped are followed though the mapping names them no more.
	unmapped map[registry.App]struct{}
	closing  *closing
	alarm    time.Time            // when to look again; zero for never
	sent     []uint64             // the marks of the last list
	at       []string             // and its addresses
	started  bool                 // a list was handed on
	empty    bool                 // the last one was empty
	removed  map[string]time.Time // address → when it left the list
	resend   time.Time            // when to hand the list on again; zero for never
	resends  int
}

// subscribe starts a subscription for the listener, or returns the one it has.
func (b *Binding) subscribe(u *common.URL, listener goregistry.NotifyListener) (*subscription, error) {
	ref, err := newReference(u, b.cfg.Namespace)
	if err != nil {
		return nil, err
	}
	key := ref.protocol + "://" + u.ServiceKey()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	for _, s := range b.subs[listener] {
		if s.key == key {
			return s, nil
		}
	}
	s := &subscription{
		b: b, key: key, ref: ref, listener: listener, chosen: ChosenOf(u), connects: connects(listener),
		dirty: make(chan struct{}, 1), first: make(chan struct{}),
		quit: make(chan struct{}), done: make(chan struct{}),
		watches: map[registry.App]*watch{}, calling: map[registry.App]*calling{}, unmapped: map[registry.App]struct{}{},
		removed: map[string]time.Time{},
	}
	s.closing = &closing{wake: s.wake}
	if s.connects && ref.protocol != constant.DubboProtocol {
		s.closing.directory, _ = listener.(remover)
	}
	if len(ref.apps) > 0 {
		s.apps, s.mapped = ref.apps, true
		s.wake()
	} else if s.stopMapping, err = b.backend.Mapping.SubscribeInterface(ref.word(), s.remap); err != nil {
		return nil, err
	}
	b.subs[listener] = append(b.subs[listener], s)
	b.metrics.references.Inc()
	b.goWorkLocked(s.run)
	return s, nil
}

// connects reports whether the listener is one of dubbo-go's directories.
func connects(listener goregistry.NotifyListener) bool {
	switch listener.(type) {
	case *directory.RegistryDirectory, *directory.ServiceDiscoveryRegistryDirectory:
		return true
	}
	return false
}

// destroyed reports whether the listener is a directory of dubbo-go's whose end has
// begun. It ends its subscriptions after that: one that is not among them then never
// has it told anything, which it would connect to for nobody.
func destroyed(listener goregistry.NotifyListener) bool {
	d, ok := listener.(interface{ IsDestroyed() bool })
	return ok && d.IsDestroyed()
}

// unsubscribe ends the listener's subscription to u. The listener is not called
// after it has returned.
func (b *Binding) unsubscribe(u *common.URL, listener goregistry.NotifyListener) {
	ref, err := newReference(u, b.cfg.Namespace)
	if err != nil {
		return
	}
	key := ref.protocol + "://" + u.ServiceKey()
	b.mu.Lock()
	var gone *subscription
	b.subs[listener] = slices.DeleteFunc(b.subs[listener], func(s *subscription) bool {
		if s.key == key {
			gone = s
		}
		return s.key == key
	})
	if len(b.subs[listener]) == 0 {
		delete(b.subs, listener)
	}
	b.mu.Unlock()
	if gone != nil {
		gone.close()
	}
}

// wait returns when the first list was handed on, or after timeout, and reports
// whether the registry had said by then what the list is made from.
func (s *subscription) wait(timeout time.Duration) bool {
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-s.first:
		return true
	case <-s.done:
		return true
	case <-t.C:
	}
	s.mu.Lock()
	mapped, apps := s.mapped, s.apps
	s.mu.Unlock()
	s.b.mu.Lock()
	watches := make([]*watch, 0, len(apps))
	for _, app := range apps {
		watches = append(watches, s.b.watches[app])
	}
	s.b.mu.Unlock()
	return mapped && !slices.ContainsFunc(watches, func(w *watch) bool { return w == nil || !w.view().known })
}

func (s *subscription) close() {
	s.once.Do(func() { close(s.quit) })
	<-s.done
}

// wake makes run look again, without waiting for it.
func (s *subscription) wake() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// remap takes over which applications provide the interface.
func (s *subscription) remap(apps []registry.App) {
	s.b.heard()
	s.mu.Lock()
	// Instances, not the mapping, are the proof that an interface is gone: should
	// the mapping get lost, those known before are still followed. Of one that names
	// others followApps judges.
	if len(apps) > 0 || !s.mapped {
		s.apps = apps
	}
	s.mapped = true
	s.mu.Unlock()
	s.wake()
}

// run hands lists on until the subscription is closed.
func (s *subscription) run() {
	defer close(s.done)
	defer s.b.metrics.references.Dec()
	defer func() {
		if s.stopMapping != nil {
			s.stopMapping()
		}
		s.chosen.leave(s)
		for _, w := range s.watches {
			w.leave(s)
		}
		for _, c := range s.calling {
			c.stay()
		}
		s.closing.end()
		if s.connects && s.ref.protocol == constant.DubboProtocol {
			s.b.held.drop(s.at, 0)
		}
	}()
	// doubt fires while there is nothing to call, to say why.
	patience := s.b.cfg.SyncTimeout
	doubt := time.NewTimer(patience)
	defer doubt.Stop()
	again, alarm := time.NewTimer(time.Hour), time.NewTimer(time.Hour)
	defer again.Stop()
	defer alarm.Stop()
	for {
		select {
		case <-s.quit:
			return
		case <-s.dirty:
			s.followApps()
			s.decide()
			s.deliver(false)
		case <-alarm.C:
			s.alarm = time.Time{}
			s.deliver(false)
		case <-again.C:
			s.deliver(true)
		case <-doubt.C:
			if !s.started || s.empty {
				s.explain()
			}
			patience = min(2*patience, 5*time.Minute)
			doubt.Reset(patience)
		}
		if s.started && !s.empty {
			patience = s.b.cfg.SyncTimeout
		}
		set(again, s.resend)
		set(alarm, s.alarm)
	}
}

// set has the timer go off at a time, or not at all.
func set(t *time.Timer, at time.Time) {
	if at.IsZero() {
		t.Stop()
		return
	}
	t.Reset(time.Until(at))
}

// wakeAt has run look again at a time, if not before.
func (s *subscription) wakeAt(at time.Time) {
	if s.alarm.IsZero() || at.Before(s.alarm) {
		s.alarm = at
	}
}

// followApps follows the applications that provide the interface now: those that the
// mapping names, and those that it named as long as their instances do not contradict.
func (s *subscription) followApps() {
	s.mu.Lock()
	apps := s.apps
	s.mu.Unlock()
	for _, app := range apps {
		if s.watches[app] != nil {
			continue
		}
		w, err := s.b.follow(app, s)
		if err != nil {
			if s.b.ctx.Err() == nil {
				s.b.log.Error("an application cannot be followed; trying again",
					slog.String("interface", s.ref.iface), slog.String("app", app.String()), slog.Any("error", err))
				time.AfterFunc(30*s.b.cfg.RetryDelay, s.wake)
			}
			continue
		}
		s.watches[app] = w
	}
	for app, w := range s.watches {
		switch mapped := slices.Contains(apps, app); {
		case mapped:
			delete(s.unmapped, app)
		case s.mayOffer(w):
			// Its entry may be lost: instances are the proof.
			if _, told := s.unmapped[app]; !told {
				s.unmapped[app] = struct{}{}
				s.b.log.Warn("the mapping does not name an application any more whose instances offer the interface; it is called on",
					slog.String("interface", s.ref.iface), slog.String("app", app.String()))
			}
		default:
			delete(s.unmapped, app)
			delete(s.watches, app)
			w.leave(s)
			if c := s.calling[app]; c != nil {
				c.stay()
				delete(s.calling, app)
			}
		}
	}
}

// mayOffer reports whether an application has an instance that offers the interface, or
// one of which that is not known.
func (s *subscription) mayOffer(w *watch) bool {
	v := w.view()
	if !v.known {
		return true
	}
	return slices.ContainsFunc(v.snapshot.Instances, func(i registry.Instance) bool {
		if i.Revision == "" || i.Revision == noServices {
			return false
		}
		doc := v.documents[i.Revision].doc
		return doc == nil || len(doc.services[s.ref.iface]) > 0
	})
}

// list is what a look at the watches gave.
type list struct {
	entries []entry
	marks   []uint64 // one for each entry; equal marks make equal URLs
	// complete is unset while something that may add to the list is unknown.
	complete bool
}

// entry is an instance on the list with what of it the reference calls, or a whole
// application.
type entry struct {
	instance *registry.Instance
	services []*service
	whole    *whole // nil for an instance
}

// look makes the list of the moment, without its URLs: most looks find that
// nothing changed.
func (s *subscription) look() list {
	s.mu.Lock()
	l := list{complete: s.mapped && !slices.ContainsFunc(s.apps, func(app registry.App) bool { return s.watches[app] == nil })}
	s.mu.Unlock()
	apps := make([]registry.App, 0, len(s.watches))
	for app := range s.watches {
		apps = append(apps, app)
	}
	slices.SortFunc(apps, registry.App.Compare)
	for _, app := range apps {
		v := s.watches[app].view()
		if !v.known {
			l.complete = false
			continue
		}
		matching := make(map[string][]*service, len(v.documents))
		for revision, rev := range v.documents {
			if rev.doc != nil {
				matching[revision] = s.matching(rev.doc)
			}
		}
		of, complete := calledOf(app, v, matching)
		l.complete = l.complete && complete
		s.add(&l, app, v, of)
	}
	return l
}

// add puts an application on the list, by the mode that it is called in.
func (s *subscription) add(l *list, app registry.App, v view, of called) {
	c := s.calling[app]
	if c == nil {
		c = &calling{}
		s.calling[app] = c
	}
	want := s.mode(&v.snapshot)
	var w *whole
	stands := false // w gets no new lanes
	if want == registry.ModeService || c.whole != nil {
		var why string
		w, why = s.service(c, v, of)
		if want == registry.ModeService {
			s.noService(app, c, why)
		}
		if stands = why != ""; stands {
			want = registry.ModePod
		}
	}
	callPods, callWhole := s.choose(app, want, of.pods, w)
	c.both = callPods && callWhole
	if callPods {
		l.entries, l.marks = append(l.entries, of.pods...), append(l.marks, of.marks...)
	}
	switch {
	case !callWhole:
		c.lanes.leave()
		c.whole = nil
		return
	case w == nil:
		if l.complete {
			c.whole = nil
		}
		return
	case !stands:
		s.laid(c, w, &v.snapshot, of.pods)
	}
	c.whole = w
	l.entries, l.marks = append(l.entries, entry{whole: w}), append(l.marks, w.mark())
}

// matching returns the services of a document that the reference asks for.
func (s *subscription) matching(doc *document) []*service {
	var out []*service
	for _, sv := range doc.services[s.ref.iface] {
		if s.ref.matches(sv) {
			out = append(out, sv)
		}
	}
	return out
}

// callable reports whether the entry has URLs.
func (e entry) callable() bool {
	return slices.ContainsFunc(e.services, func(s *service) bool { return len(targets(e.instance, s)) > 0 })
}

// urls returns the URLs of the list.
func (l list) urls() []*common.URL {
	out := make([]*common.URL, 0, len(l.entries))
	for _, e := range l.entries {
		if e.whole != nil {
			out = append(out, e.whole.urls()...)
		}
		for _, s := range e.services {
			out = append(out, urls(e.instance, s)...)
		}
	}
	return out
}

var markSeed = maphash.MakeSeed()

// mark sums up all that the URLs of an instance are made from.
func mark(app registry.App, i *registry.Instance, doc *document) uint64 {
	type endpoints [4]registry.Endpoint
	var few endpoints
	var h maphash.Hash
	h.SetSeed(markSeed)
	if copy(few[:], i.Endpoints) < len(i.Endpoints) {
		for _, e := range i.Endpoints {
			maphash.WriteComparable(&h, e)
		}
	}
	maphash.WriteComparable(&h, struct {
		app              registry.App
		id               string
		host             netip.Addr
		endpoints        endpoints
		count            int
		doc              *document
		weight           int
		tag, zone        string
		cluster          string
		metaTag, metaEnv string
		started          int64
	}{
		app, i.ID, i.Host, few, len(i.Endpoints), doc, i.Details.Weight, i.Details.Tag, i.Zone, i.Cluster,
		i.Metadata[registry.KeyTag], i.Metadata[constant.EnvironmentKey], i.Details.Started.Unix(),
	})
	return h.Sum64()
}

// dialPause is the shortest time that dubbo-go takes over a failed dial of the
// Dubbo protocol: it tries twice, with this pause between.
const dialPause = 100 * time.Millisecond

// closingTTL is how long dubbo-go refuses to list an address again after it
// announced its end, with a little to spare.
const closingTTL = 32 * time.Second

// resendPause is the shortest time before the list is handed on again.
const resendPause = time.Second

// deliver hands the list on if it differs from the last, or if again is set.
func (s *subscription) deliver(again bool) {
	if destroyed(s.listener) {
		s.resend = time.Time{} // nobody is left; a time that has passed would be due for ever
		return
	}
	l := s.look()
	if len(l.marks) == 0 && !l.complete {
		if len(s.watches) > 0 {
			s.b.metrics.lists.WithLabelValues("held").Inc()
		}
		if again {
			// Still due, but a time that has passed would be due at once, for ever.
			s.resend = time.Now().Add(resendPause)
		}
		return // unknown is not empty
	}
	if s.started && slices.Equal(l.marks, s.sent) && !again {
		s.b.metrics.lists.WithLabelValues("unchanged").Inc()
		return
	}
	now := time.Now()
	urls := l.urls()
	addresses, added, gone := differ(s.at, urls)
	for _, address := range gone {
		s.removed[address] = now
	}
	if !s.connects || s.ref.protocol != constant.DubboProtocol {
		added, gone = nil, nil
	}
	s.b.held.renew(added)
	events := make([]*goregistry.ServiceEvent, len(urls))
	for i, u := range urls {
		events[i] = &goregistry.ServiceEvent{Action: remoting.EventTypeAdd, Service: u}
	}
	s.closing.follow(urls)
	s.listener.NotifyAll(events, func() {})
	took := time.Since(now)
	s.handedOn(time.Now())
	s.b.held.take(added)
	s.b.held.drop(gone, s.b.cfg.Linger)
	s.b.metrics.lists.WithLabelValues("sent").Inc()

	wasEmpty := !s.started || s.empty
	s.sent, s.at, s.empty = l.marks, addresses, len(urls) == 0
	if !s.started {
		s.started = true
		close(s.first)
	}
	switch {
	case s.empty && !wasEmpty:
		s.explain()
	case wasEmpty && !s.empty:
		s.b.log.Info("providers found", slog.String("interface", s.ref.iface), slog.Int("addresses", len(addresses)))
	}
	s.planResend(took, again)
}

// planResend decides whether dubbo-go may have left out an address and should be
// given the list again: when it could not connect at once, which it does not
// repeat, or when it still holds an address for closing.
func (s *subscription) planResend(took time.Duration, again bool) {
	if !again {
		s.resends = 0
	}
	s.resend = time.Time{}
	for address, left := range s.removed {
		until := left.Add(closingTTL)
		if time.Now().After(until) {
			delete(s.removed, address)
			continue
		}
		if slices.Contains(s.at, address) && (s.resend.IsZero() || until.Before(s.resend)) {
			s.resend = until
		}
	}
	if took >= dialPause && s.ref.protocol == constant.DubboProtocol && !s.empty {
		soon := time.Now().Add(time.Duration(min(1<<s.resends, 60)) * resendPause)
		s.resends = min(s.resends+1, 6)
		if s.resend.IsZero() || soon.Before(s.resend) {
			s.resend = soon
		}
	}
}

// explain logs why there is nothing to call.
func (s *subscription) explain() {
	s.b.log.Warn("no provider can be called",
		slog.String("interface", s.ref.String()), slog.String("protocol", s.ref.protocol),
		slog.String("reason", s.reason()))
}

// count returns "n thing" in the plural where it is due.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
