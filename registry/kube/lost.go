package kube

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Protection says what happens when many callable instances of an application are
// lost at once without proof that they are gone: not ready any more, or in no
// EndpointSlice, while their pods are still there, neither terminating nor
// draining. They are then kept callable until proof comes, they are ready again,
// or Hold is over. A DiscoveryPolicy goes over it.
type Protection struct {
	Disabled bool
	// Percent is the share of an application's callable instances of which more has
	// to be lost within a minute. 50 when zero. That none is left is always doubted.
	Percent int
	// Hold is how long what is lost is kept at most. 10 min when zero.
	Hold time.Duration
}

func (p Protection) withDefaults() Protection {
	p.Percent = cmp.Or(p.Percent, 50)
	p.Hold = cmp.Or(p.Hold, 10*time.Minute)
	return p
}

// lossWindow is how close together losses have to be to count as one.
const lossWindow = time.Minute

// lost is an endpoint that was ready and is so no more, as far as slices say,
// while nothing proves that its pod is going.
type lost struct {
	endpoint // as it was; not ready from when it is kept
	at       time.Time
	unlisted bool // no slice named the pod when it was lost
	asked    bool // it is asked whether the pod has ended, or was
	told     bool // who follows or asks was told that it is not callable

	kept  *registry.Kept // nil while it is not
	since time.Time      // when it was decided to keep it
	until time.Time      // when keeping it ends, as kept says
	away  time.Duration  // since then, how long Kubernetes could not be heard
	// doubted is set while it would be kept, had it not been told already: then it
	// has to answer first.
	doubted bool

	probing  bool        // an attempt to reach it runs or is due
	timer    *time.Timer // of the attempt that is due
	failures int         // in a row
	answers  int         // in a row
}

// deselected reports whether the endpoint is unlisted because the Service selects
// other pods now, as where one version takes over from another. That is meant, unless
// nothing is left.
func (a *app) deselected(l *lost) bool {
	return !a.reselected.IsZero() && !l.pod.refers(a) && l.at.Before(a.reselected.Add(lossWindow))
}

// proven reports whether nobody should miss the pod.
func (p *pod) proven() bool {
	return !p.known || p.gone || p.ended || p.terminating || p.attrs.Value().state == registry.Draining
}

// lose notes that a slice no longer holds an endpoint that was ready, or no longer
// says that it is. Whether that is so is seen when the application is looked at: a
// moment later it may stand in another slice.
func (a *app) lose(e *endpoint, now time.Time) {
	if a.service == nil || e.pod.proven() || e.pod.said != nil && e.pod.said.problem != "" || a.lost[e.pod] != nil {
		return
	}
	if a.lost == nil {
		a.lost = map[*pod]*lost{}
		a.space.losing[a] = struct{}{}
	}
	a.lost[e.pod] = &lost{endpoint: *e, at: now, unlisted: !e.pod.refers(a)}
}

// lingers reports whether an endpoint that vanished counts as if it had not, as
// when the cluster moves it between slices. What was not ready before does not.
func (l *lost) lingers(a *app, now time.Time) bool {
	return l.kept == nil && l.unlisted && now.Before(l.at.Add(a.space.hub.cfg.Grace)) && !l.pod.refers(a) && !l.pod.proven()
}

// shown reports whether the endpoint belongs into a snapshot though no slice names
// it.
func (l *lost) shown(a *app, now time.Time) bool {
	return l.lingers(a, now) || l.kept != nil && !l.pod.refers(a) && !l.pod.proven()
}

// settle decides about the endpoints that were lost, by what is known now, and
// returns when it has to be done again; zero for not at all. mu is held.
func (a *app) settle(now time.Time) time.Time {
	if len(a.lost) == 0 {
		a.calm()
		return time.Time{}
	}
	h := a.space.hub
	rule := h.protection(a)
	callable := a.weed(rule, now)
	if len(a.lost) == 0 {
		a.calm()
		return time.Time{}
	}
	count := 0 // without proof, and not long ago or still kept
	for _, l := range a.lost {
		if callable == 0 || !a.deselected(l) {
			count++
		}
	}
	doubt := !rule.Disabled && (callable == 0 || count*100 > rule.Percent*(callable+count))
	due := time.Time{}
	again := func(at time.Time) {
		if at.After(now) && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	kept, ask := 0, false
	cared := a.cared(now) // who does not care is told when somebody does
	for _, l := range a.lost {
		if doubt && cared && !l.asked && !l.pod.refers(a) {
			l.asked, ask = true, true
		}
		l.doubted = doubt && l.kept == nil && l.told
		if doubt && l.kept == nil && !l.told && !l.lingers(a, now) {
			l.keep(a, rule.Hold, count, callable+count, now)
		}
		if l.kept != nil {
			kept++
			l.retell(a, rule.Hold)
		}
		if l.kept != nil || l.doubted {
			h.probe(a, l, now)
		}
		if l.kept == nil {
			again(l.at.Add(h.cfg.Grace))
			again(l.at.Add(lossWindow))
		} else {
			again(l.until) // if that is over, Kubernetes cannot be heard: foundAgain comes
		}
	}
	if ask {
		h.askEnded(a.name.Namespace)
	}
	if !a.reselected.IsZero() {
		again(a.reselected.Add(h.cfg.Grace))
	}
	a.say(kept, count, callable+count)
	return due
}

// weed drops what is not lost, or lost for good, and returns how many instances are
// callable as far as Kubernetes says.
func (a *app) weed(rule Protection, now time.Time) (callable int) {
	drop := func(l *lost, why string) {
		if l.kept != nil {
			a.space.hub.metrics.released.WithLabelValues(why).Inc()
		}
		delete(a.lost, l.pod)
	}
	// A pod of two address families stands in slices of both.
	v4, v6 := 0, 0
	for _, sl := range a.slices {
		for i := range sl.endpoints {
			e := &sl.endpoints[i]
			if l := a.lost[e.pod]; e.pod != nil && l != nil {
				switch e.health {
				case ready:
					drop(l, "ready")
				case terminating:
					drop(l, "gone")
				}
			}
			if !e.callable() {
				continue
			}
			if e.addr.Is4() {
				v4++
			} else {
				v6++
			}
		}
	}
	callable = max(v4, v6)
	taken := a.findTaken()
	for p, l := range a.lost {
		switch {
		case a.service == nil:
			drop(l, "gone")
		case p.proven(), taken[l]:
			drop(l, "gone")
		case callable > 0 && a.deselected(l) && !l.lingers(a, now) && !now.Before(a.reselected.Add(a.space.hub.cfg.Grace)):
			drop(l, "selector")
		case l.kept != nil && rule.Disabled:
			drop(l, "policy")
		case l.kept != nil:
			// While Kubernetes cannot be heard, it cannot say that all is well again.
			if !now.Before(l.end(a.space, rule.Hold)) && a.space.inTouch() {
				drop(l, "time")
			}
		case (rule.Disabled || !now.Before(l.at.Add(lossWindow))) && !l.lingers(a, now):
			delete(a.lost, p)
		}
	}
	return callable
}

// calm forgets that anything was lost.
func (a *app) calm() {
	if a.lost != nil {
		a.lost, a.unlisted = nil, nil
		delete(a.space.losing, a)
		a.say(0, 0, 0)
	}
}

// stopTimers leaves nothing that is due, since the hub closes.
func (a *app) stopTimers() {
	timers := []*time.Timer{a.timer, a.again}
	for _, l := range a.lost {
		timers = append(timers, l.timer)
	}
	for _, t := range timers {
		if t != nil {
			t.Stop()
		}
	}
}

// callable reports whether new calls should go to what the endpoint stands for.
func (e *endpoint) callable() bool {
	if e.health != ready {
		return false
	}
	p := e.pod
	return p == nil || (!p.known || !p.proven()) && (p.said == nil || p.said.problem == "")
}

// inTouch reports whether the slices can be heard.
func (s *space) inTouch() bool { return s.sliceSource == nil || s.sliceSource.lostAt.IsZero() }

// keep makes the endpoint callable again, or still. count of all were lost.
func (l *lost) keep(a *app, hold time.Duration, count, all int, now time.Time) {
	h := a.space.hub
	l.since, l.away, l.doubted = now, 0, false
	l.until = l.end(a.space, hold)
	l.kept = &registry.Kept{
		Because: l.because(a), Lost: count, Of: all,
		Since: h.clock.told(now).UTC(), Until: h.clock.told(l.until).UTC(),
	}
	l.health = notReady
	h.metrics.kept.Inc()
}

// heardLeast is how long Kubernetes has to be heard at least, after an outage, before
// a hold ends by time: kubelets report, and controllers catch up, only then.
const heardLeast = time.Minute

// end is when keeping the endpoint ends. A time in which Kubernetes cannot be heard
// does not count: it could not have said that all is well again.
func (l *lost) end(s *space, hold time.Duration) time.Time {
	end := l.since.Add(l.away + hold)
	if s.sliceSource != nil && s.sliceSource.foundAt.After(l.since) {
		if least := s.sliceSource.foundAt.Add(min(hold, heardLeast)); least.After(end) {
			return least
		}
	}
	return end
}

// retell corrects what is said of an endpoint that is kept.
func (l *lost) retell(a *app, hold time.Duration) {
	because, until := l.because(a), l.end(a.space, hold)
	if l.kept.Because == because && l.until.Equal(until) {
		return
	}
	changed := *l.kept // followers have the old one
	changed.Because = because
	if !l.until.Equal(until) {
		l.until, changed.Until = until, a.space.hub.clock.told(until).UTC()
	}
	l.kept = &changed
}

// foundAgain takes the time in which slices could not be heard out of every hold.
func (s *space) foundAgain(lostAt, now time.Time) {
	for a := range s.losing {
		for _, l := range a.lost {
			if l.kept == nil {
				continue
			}
			if from := l.since; from.After(lostAt) {
				l.away += now.Sub(from)
			} else {
				l.away += now.Sub(lostAt)
			}
		}
		a.touch(now)
		s.hub.tidyUnfollowed(a, now)
		s.releaseApp(a)
	}
}

func (l *lost) because(a *app) registry.KeptBecause {
	if l.pod.refers(a) {
		return registry.KeptNotReady
	}
	return registry.KeptUnlisted
}

// say logs when it begins and ends that instances are kept.
func (a *app) say(kept, count, all int) {
	if kept > 0 == a.keeping {
		return
	}
	a.keeping = kept > 0
	log := a.space.hub.log
	if a.keeping {
		log.Warn("instances are called though they are not ready: many were lost at once, and nothing proves that they are gone",
			slog.String("app", a.name.String()), slog.Int("lost", count), slog.Int("of", all))
	} else {
		log.Info("no instance is kept any more", slog.String("app", a.name.String()))
	}
}

// showed notes what followers or askers are told: what is not callable in it has to
// answer before it can be kept.
func (a *app) showed(now time.Time) {
	for _, l := range a.lost {
		l.told = l.told || l.kept == nil && !l.lingers(a, now)
	}
}
