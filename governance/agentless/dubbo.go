package agentless

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pause"
)

// dubboName is what instances with Dubbo are said to run, as they are by a
// configuration centre (governance/dubboconfig), which may tell of them too.
const dubboName = "dubbo-java"

// dubbo is the engine of a process with Dubbo Java: what it has counted of the methods
// that it serves and calls. Nothing can be changed in it from outside: it obeys at the
// caller, by a configuration centre (governance/dubboconfig). Its fields are guarded by
// the session's mutex.
type dubbo struct {
	*session
	counting
	last   *dubboTallies // nil for none since the port was reached
	silent int           // answers since then that told of no call ever
	mutes  int           // how often in a row it told nothing
	frozen string        // a command of which counters are missing; empty for none
}

func newDubbo(n *session) *dubbo { return &dubbo{session: n, counting: newCounting()} }

func (d *dubbo) name() string { return dubboName }

func (d *dubbo) reached(m *management) []string {
	d.last, d.silent = nil, 0
	return d.lacking(m)
}

// lacking says what stands in the way, in sentences; the mutex is held.
func (d *dubbo) lacking(m *management) []string {
	say := func(format string) []string { return []string{fmt.Sprintf(format, path(m.metrics))} }
	switch {
	case m.mute != "":
		return []string{m.mute}
	case d.last == nil:
		return nil
	case !d.last.info:
		return say("%s says nothing of Dubbo: " + dubboNeeds)
	case d.last.unnamed:
		return say("%s counts calls by interface, not by method: take dubbo.metrics.rpc-level=SERVICE out; until then calls are not counted")
	case d.silent > silentAnswers && !strings.HasPrefix(d.last.version, "3.2."):
		return say("%s has counted no call since the process began: if there were any, set dubbo.metrics.enable-rpc=true, without which Dubbo 3.3 counts none")
	case d.frozen != "":
		return []string{fmt.Sprintf("%s does not tell any more of all that it has counted, as of %s: until it does, calls of that kind are not counted", path(m.metrics), d.frozen)}
	case !d.last.measured():
		return say("%s has no histogram of calls: take dubbo.metrics.histogram.enabled=false out, and with Dubbo 3.2 add com.tdunning:t-digest to the dependencies; until then it is not known how long calls last")
	}
	return nil
}

// dubboNeeds is what Dubbo's metrics take.
const dubboNeeds = "add io.micrometer:micrometer-registry-prometheus-simpleclient and io.prometheus:simpleclient_pushgateway to the dependencies, and set dubbo.metrics.enable-rpc=true and no other dubbo.metrics.protocol than prometheus; until then calls are not counted"

// silentAnswers are as many as come within half a minute.
const silentAnswers = 6

// mutePause is how long a pod is left alone at most that tells nothing: Dubbo logs each
// question that it refuses, at length.
const mutePause = time.Minute

// collect asks again and again what the pod has counted.
func (d *dubbo) collect(ctx context.Context, m *management) error {
	if m.mute != "" {
		d.mu.Lock()
		d.trouble = "" // it is among what the pod lacks
		d.mutes++
		left := min(lastPause*time.Duration(d.mutes), mutePause) // a process that begins is mute for a while
		d.mu.Unlock()
		pause.For(ctx, left)
		return errLacking
	}
	return d.scrapes(ctx, scraper{
		scrape:  func(ctx context.Context) error { return d.scrape(ctx, m) },
		lacking: func() []string { return d.lacking(m) },
		vain:    func() bool { return m.early },
	})
}

// scrape asks once.
func (d *dubbo) scrape(ctx context.Context, m *management) error {
	var now *dubboTallies
	err := m.exposition(ctx, m.metrics, func(text io.Reader) (err error) {
		now, err = parseDubbo(text)
		return err
	})
	if err != nil {
		return err
	}
	at := d.svc.cfg.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.svc.metrics.scrapes.Inc()
	samples, gap := d.count(now, at, at.Sub(d.tallied))
	if gap > 0 {
		d.svc.metrics.gaps.Add(gap.Seconds())
	}
	d.store(samples, nil)
	return nil
}

// count turns what was counted since the last answer, which is so long ago, into
// samples; the mutex is held. gap is a time that is given up.
func (d *dubbo) count(now *dubboTallies, at time.Time, between time.Duration) (samples []governance.Sample, gap time.Duration) {
	now.after(d.tallies, between, d.names)
	known := maps.Clone(d.names)
	d.last, d.mutes = now, 0
	if d.silent++; now.called() {
		d.silent = 0
	}
	before, over, gap := d.advance(&now.tallies, at, between)
	beyond := 0
	d.frozen = ""
	for _, series := range now.series() {
		if !d.room(series) {
			beyond++
			continue
		}
		t := now.all[series]
		for _, answers := range t.old {
			if answers > 1 && d.frozen == "" {
				d.frozen = series.Command
			}
		}
		if before == nil {
			continue
		}
		b := before.all[series]
		switch {
		case b == nil && known[series]:
			continue // it was away for so long that nobody knows what it had counted
		case b == nil:
			b = &tally{} // its first call came after the last answer
		}
		from, whole := t.base(b)
		counts, above, _ := t.since(from)
		like := governance.Sample{Series: series, InFlight: int(t.inFlight), State: governance.StateClosed, Lossy: !whole}
		samples = append(samples, over.lay(like, counts, above)...)
	}
	if beyond != d.beyond {
		d.beyond, d.changed = beyond, true
	}
	return samples, gap
}

// asOf is when the process began: it has never obeyed anything here, and what a
// configuration centre says of it comes first.
func (d *dubbo) asOf(now time.Time) time.Time {
	begun := now
	for _, c := range d.pod.Containers {
		if !c.Started.IsZero() && c.Started.Before(begun) {
			begun = c.Started
		}
	}
	return begun
}

// settle says of what policies wish that nothing of it is done here.
func (d *dubbo) settle(context.Context, *management) time.Duration {
	set, ok := d.svc.cfg.Policies.Policies(d.app)
	if !ok {
		return lookAgain
	}
	var unmet []governance.Unmet
	for i := range set.Policies {
		if p := &set.Policies[i].Policy; p.Target.App == d.app && p.Target.At != governance.Caller && !set.Policies[i].Deleted {
			unmet = append(unmet, governance.Unmet{Policy: p.Key().String(), Version: set.Policies[i].Version, Reason: dubboServes})
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.confirm(set, unmet)
	return lookAgain
}

// dubboServes is why a policy is not enforced.
const dubboServes = "target.at: Dubbo Java is governed where it calls: publish the policy with at: caller"
