package api

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

const (
	// liveBeats are ticks: reports are read with every second one, health is told
	// with every fourth.
	reportBeat, healthBeat = 2, 4
	// lingerTicks is how long a follower runs on when the last one has gone: a page
	// that is loaded anew comes back at once.
	lingerTicks = 20
	// comeAfter is how long after an id was given out its row may become visible. No
	// transaction of a store lasts longer.
	comeAfter = time.Minute
	// reloadAfter is how long reports may go unread before some may have been folded
	// meanwhile.
	reloadAfter = 20 * time.Second
	// fleetAfter is how long at most instances and circuits are not asked for.
	fleetAfter   = 10 * time.Second
	livePatience = 30 * time.Second
	reportPage   = 5_000
	eventPage    = 1_000
)

// following is what is known while somebody watches. One goroutine uses it.
type following struct {
	*live
	store governance.Store

	watchers map[*watcher]struct{}
	apps     map[governance.App]*liveApp
	views    map[viewKey]*view
	loaded   bool
	fresh    time.Time // when reports were read last
	full     bool      // all was read anew, and nobody has been told yet

	reports, events       governance.Seen
	reportMarks, eventMks []mark

	lives     map[governance.App]map[string]bool
	standings map[governance.App]standing
	fleetAt   time.Time
	fleetMove <-chan struct{}
	fleetSum  uint64
	policies  int64
	routes    int64

	told    map[governance.App][]byte // health, as it was told last
	items   []AppHealth
	topics  []string
	failing bool
	scratch sketch.Sketch
	seed    maphash.Seed
}

// mark is the highest id that was known at a time.
type mark struct {
	at   time.Time
	high int64
}

func newFollowing(l *live) *following {
	return &following{
		live: l, store: l.api.store, watchers: map[*watcher]struct{}{}, views: map[viewKey]*view{}, told: map[governance.App][]byte{},
		policies: l.api.hub.at(), routes: -1, seed: maphash.MakeSeed(),
	}
}

// run goes on until nobody has watched for a while, or ctx ends.
func (f *following) run(ctx context.Context) {
	tick := time.NewTicker(f.tick)
	defer tick.Stop()
	token(f.wake) // for those who are there
	for beat, idle := 0, 0; idle < lingerTicks; {
		ticked := false
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-tick.C:
			ticked = true
			beat++
			idle++
		}
		f.members()
		if len(f.watchers) > 0 {
			idle = 0
		}
		if idle > 0 {
			continue // nobody is told anything, so that what is read later is read then
		}
		if f.failing && (!ticked || beat%healthBeat != 0) {
			continue // a store in need is not asked at every tick
		}
		err := f.step(ctx, ticked, beat)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !f.failing:
			f.api.log.WarnContext(ctx, "the live view is not kept up; trying again", "error", err)
		case err == nil && f.failing:
			f.api.log.InfoContext(ctx, "the live view is kept up again")
		}
		f.failing = err != nil
		if err != nil && ticked && beat%healthBeat == 0 {
			f.stale()
		}
	}
}

// members lets go of those who went.
func (f *following) members() {
	now := f.all()
	for w := range f.watchers {
		if _, there := now[w]; !there {
			delete(f.watchers, w)
			f.release(w)
		}
	}
	for w := range now {
		if _, known := f.watchers[w]; !known {
			f.watchers[w] = struct{}{}
		}
	}
}

// step reads what there is to read and tells it.
func (f *following) step(ctx context.Context, ticked bool, beat int) error {
	ctx, cancel := context.WithTimeout(ctx, livePatience)
	defer cancel()
	now := f.api.cfg.Now()
	if !f.loaded || now.Sub(f.fresh) > reloadAfter {
		if err := f.load(ctx, now); err != nil {
			return err
		}
		f.full = true
	}
	if ticked {
		if err := f.readEvents(ctx, now); err != nil {
			return err
		}
		if beat%reportBeat == 0 {
			if err := f.readReports(ctx, now); err != nil {
				return err
			}
			f.tellSamples(now)
		}
	}
	if ticked && beat%healthBeat == 0 {
		if err := f.readFleet(ctx, now); err != nil {
			return err
		}
		f.readVersions(ctx)
		f.tellHealth(now)
		f.tellTopics()
	}
	f.begin(ctx, now)
	return nil
}

// offer hands a frame to a stream, or lets one go that reads too slowly: it may come
// back, and misses no event.
func (f *following) offer(w *watcher, fr frame) {
	select {
	case w.frames <- fr:
	default:
		f.drop(w)
	}
}

// drop ends a stream.
func (f *following) drop(w *watcher) {
	close(w.frames)
	f.leave(w)
	delete(f.watchers, w)
	f.release(w)
}

func (f *following) each(tell func(*watcher)) {
	for w := range f.watchers {
		if w.joined {
			tell(w)
		}
	}
}

// readEvents reads events that are new and hands them out.
func (f *following) readEvents(ctx context.Context, now time.Time) error {
	for {
		list, err := f.store.EventsAfter(ctx, f.events, nil, eventPage)
		if err != nil {
			return err
		}
		feed := make([]liveFeed, 0, len(list))
		for i := range list {
			e := &list[i]
			f.events.Add(e.ID)
			f.notice(e)
			one, err := feedOf(e)
			if err != nil {
				return err
			}
			feed = append(feed, one)
		}
		if len(feed) > 0 {
			f.each(func(w *watcher) { f.offer(w, frame{events: feed}) })
		}
		if len(list) < eventPage {
			f.eventMks = giveUp(&f.events, f.eventMks, now)
			return nil
		}
	}
}

// notice takes in what an event means for what is shown elsewhere.
func (f *following) notice(e *governance.Event) {
	switch e.Kind {
	case governance.EventTransition:
		if e.Transition != nil {
			f.app(e.App).transition(e.Instance, e.Transition)
		}
	case governance.EventJoined, governance.EventLeft, governance.EventDrifted:
		f.topic(topicFleet)
	default:
		f.topic(topicPolicies)
	}
}

func (f *following) topic(name string) {
	if !slices.Contains(f.topics, name) {
		f.topics = append(f.topics, name)
	}
}

// giveUp takes ids in that were missing for so long that they no longer come.
func giveUp(seen *governance.Seen, marks []mark, now time.Time) []mark {
	for len(marks) > 0 && now.Sub(marks[0].at) > comeAfter {
		seen.GiveUp(marks[0].high)
		marks = marks[1:]
	}
	if n := len(marks); n == 0 || marks[n-1].high != seen.High {
		marks = append(marks, mark{now, seen.High})
	}
	return marks
}

func (f *following) app(app governance.App) *liveApp {
	a := f.apps[app]
	if a == nil {
		a = &liveApp{series: map[governance.Series]*liveSeries{}}
		f.apps[app] = a
	}
	return a
}

// readReports reads reports that are new.
func (f *following) readReports(ctx context.Context, now time.Time) error {
	for {
		list, err := f.store.ReportsAfter(ctx, f.reports, reportPage)
		if err != nil {
			return err
		}
		f.take(list, now)
		if len(list) < reportPage {
			f.reportMarks = giveUp(&f.reports, f.reportMarks, now)
			f.fresh = now
			return nil
		}
	}
}

// take takes reports in.
func (f *following) take(list []governance.Staged, now time.Time) {
	for i := range list {
		r := &list[i]
		f.reports.Add(r.ID)
		a := f.app(r.App)
		for n := range r.Samples {
			a.add(r.Instance, &r.Samples[n], now.Unix())
		}
		for _, k := range [2]viewKey{{app: r.App}, {app: r.App, instance: r.Instance}} {
			if v := f.views[k]; v != nil && !v.has.Has(r.ID) {
				v.add(r.Instance, r.Samples)
			}
		}
	}
}

// readFleet learns which instances live and what their circuits' transitions were.
func (f *following) readFleet(ctx context.Context, now time.Time) error {
	select {
	case <-f.fleetMove:
	default:
		if now.Sub(f.fleetAt) < fleetAfter {
			return nil
		}
	}
	f.fleetMove = f.api.fleet.changes()
	all, err := f.store.Instances(ctx, governance.App{})
	if err != nil {
		return err
	}
	circuits, _, err := f.store.Circuits(ctx, governance.App{})
	if err != nil {
		return err
	}
	var sum maphash.Hash
	sum.SetSeed(f.seed)
	f.lives = map[governance.App]map[string]bool{}
	for _, i := range all {
		if f.lives[i.App] == nil {
			f.lives[i.App] = map[string]bool{}
		}
		f.lives[i.App][i.ID] = true
		parts := []string{i.App.String(), i.ID}
		if i.Applied != nil {
			parts = append(parts, i.Applied.Hash)
			if i.Applied.Refused != nil {
				parts = append(parts, "refused "+i.Applied.Refused.Hash)
			}
		}
		_, _ = sum.WriteString(strings.Join(parts, " ") + "\n") // never fails
	}
	if f.fleetSum != 0 && f.fleetSum != sum.Sum64() {
		f.topic(topicFleet)
	}
	f.fleetSum, f.standings, f.fleetAt = sum.Sum64(), f.api.standings(all), now
	for _, a := range f.apps {
		for _, s := range a.series {
			clear(s.circuits)
		}
	}
	for _, c := range circuits {
		if c.Live {
			f.app(c.App).moved(c.Instance, c.Series, c.Time, c.State)
		}
	}
	for app := range f.standings {
		f.app(app)
	}
	return nil
}

// readVersions looks whether lists have changed that nobody tells of here.
func (f *following) readVersions(ctx context.Context) {
	if at := f.api.hub.at(); at != f.policies {
		f.policies = at
		f.topic(topicPolicies)
	}
	if f.api.cfg.Routes == nil {
		return
	}
	at, err := f.api.cfg.Routes(ctx)
	if err != nil {
		return // it is asked again in a moment
	}
	if f.routes >= 0 && at != f.routes {
		f.topic(topicRoutes)
	}
	f.routes = at
}
