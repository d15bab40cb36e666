package api

import (
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

const (
	// slotSeconds is the length of what live numbers are counted in.
	slotSeconds = 2
	// slots are enough for the window and for what runs ahead of it.
	slots         = 48
	windowSeconds = int64(defaultWindow / time.Second)
)

// slot is what one application counted on one side in two seconds.
type slot struct {
	at       int64 // its number; a slot is used again for a later one
	counts   governance.Counts
	latency  sketch.Sketch
	inFlight [slotSeconds]int
	lossy    bool
}

// lastState is what one instance's circuit was seen in last.
type lastState struct {
	second int64
	state  governance.State
}

// liveSeries is one series of an application.
type liveSeries struct {
	newest    int64
	instances map[string]lastState // by their samples
	circuits  map[string]lastState // by their transitions
}

// liveApp is what a follower keeps of one application for its health.
type liveApp struct {
	sides  [2][slots]slot
	calls  [2]bool // whether it ever counted on that side
	series map[governance.Series]*liveSeries
	newest int64
}

func (a *liveApp) of(sr governance.Series) *liveSeries {
	s := a.series[sr]
	if s == nil {
		s = &liveSeries{instances: map[string]lastState{}, circuits: map[string]lastState{}}
		a.series[sr] = s
	}
	return s
}

// add takes in a sample of an instance. One that is older than all slots only
// counts in history; a client's clock that runs ahead waits for its time.
func (a *liveApp) add(instance string, s *governance.Sample, now int64) {
	sr := a.of(s.Series)
	sr.newest = max(sr.newest, s.Second)
	a.newest = max(a.newest, s.Second)
	if l, ok := sr.instances[instance]; !ok || s.Second >= l.second {
		sr.instances[instance] = lastState{s.Second, s.State}
	}
	if s.Second <= now-(slots-4)*slotSeconds || s.Second > now+2*slotSeconds {
		return
	}
	side, n := sideOf(s.At), s.Second/slotSeconds
	p := &a.sides[side][n%slots]
	if p.at != n {
		p.latency.Reset()
		*p = slot{at: n, latency: p.latency}
	}
	a.calls[side] = true
	p.counts = p.counts.Add(s.Counts)
	p.inFlight[s.Second%slotSeconds] += s.InFlight
	p.lossy = p.lossy || s.Lossy || len(s.Latency) > 0 && p.latency.MergeBinary(s.Latency) != nil
}

func (a *liveApp) transition(instance string, t *governance.Transition) {
	a.moved(instance, t.Series, t.Time, t.To)
}

func (a *liveApp) moved(instance string, sr governance.Series, at time.Time, to governance.State) {
	s := a.of(sr)
	if l, ok := s.circuits[instance]; !ok || at.Unix() >= l.second {
		s.circuits[instance] = lastState{at.Unix(), to}
	}
}

// health is how the application is in the window that ends before a second. Series
// that are long idle, and instances that are gone, are forgotten on the way.
func (a *liveApp) health(app governance.App, until time.Time, lives map[string]bool, latency *sketch.Sketch) AppHealth {
	newest, end := newestSecond(until), until.Unix()
	end -= end % slotSeconds
	begin := end - windowSeconds
	commands := [2]int{}
	h := AppHealth{App: app}
	for id, s := range a.series {
		open, forced := s.settle(begin, lives)
		h.Open, h.Forced = h.Open+open, h.Forced+forced
		switch {
		case s.newest >= begin || open+forced > 0:
			commands[sideOf(id.At)]++
		case len(s.instances)+len(s.circuits) == 0:
			delete(a.series, id)
		}
	}
	var sums [2]slot
	for side := range sums {
		for n := begin / slotSeconds; n < end/slotSeconds; n++ {
			p := &a.sides[side][n%slots]
			if p.at != n {
				continue
			}
			sums[side].counts = sums[side].counts.Add(p.counts)
			sums[side].lossy = sums[side].lossy || p.lossy
		}
	}
	own, side := chooseSide(a.calls[0], a.calls[1])
	latency.Reset()
	for n := begin / slotSeconds; n < end/slotSeconds; n++ {
		if p := &a.sides[own][n%slots]; p.at == n {
			latency.Merge(&p.latency)
		}
	}
	o := &sums[own]
	h.Side, h.Rates, h.Latencies = side, ratesOf(o.counts, defaultWindow), latenciesOf(latency)
	h.Commands, h.Lossy = commands[own], o.lossy
	if n := newest / slotSeconds; a.sides[own][n%slots].at == n {
		h.InFlight = a.sides[own][n%slots].inFlight[newest%slotSeconds]
	}
	if a.newest > 0 {
		h.Seen = time.Unix(a.newest, 0).UTC()
	}
	return h
}

// settle counts a series' circuits that are not closed, and forgets instances that
// are gone or said nothing since begin.
func (s *liveSeries) settle(begin int64, lives map[string]bool) (open, forced int) {
	states := map[governance.State]int{}
	for id, c := range s.circuits {
		if !lives[id] {
			delete(s.circuits, id)
			continue
		}
		if l, ok := s.instances[id]; ok && l.second > c.second {
			c = l
		}
		states[c.state]++
	}
	for id, l := range s.instances {
		if l.second < begin {
			if _, moved := s.circuits[id]; !moved || !lives[id] {
				delete(s.instances, id)
			}
			continue
		}
		if _, moved := s.circuits[id]; !moved {
			states[l.state]++
		}
	}
	return broken(states)
}
