package agentless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
)

// resilienceName is what instances with Resilience4j are said to run.
const resilienceName = "resilience4j-actuator"

// circuit is what the actuator says of one circuit breaker. Its numbers are of the
// state it is in, and begin anew with each.
type circuit struct {
	State            string  `json:"state"`
	FailureRate      string  `json:"failureRate"` // such as "50.0%"; "-1.0%" for too few calls
	SlowRate         string  `json:"slowCallRate"`
	FailureThreshold string  `json:"failureRateThreshold"`
	SlowThreshold    string  `json:"slowCallRateThreshold"`
	Buffered         float64 `json:"bufferedCalls"`
	Failed           float64 `json:"failedCalls"`
	Slow             float64 `json:"slowCalls"`
	NotPermitted     float64 `json:"notPermittedCalls"`
}

// States as the actuator spells them.
const (
	circuitForcedOpen  = "FORCED_OPEN"
	circuitDisabled    = "DISABLED"
	circuitMetricsOnly = "METRICS_ONLY"
)

func (c circuit) state() governance.State {
	switch c.State {
	case circuitForcedOpen:
		return governance.StateForcedOpen
	case circuitDisabled:
		return governance.StateDisabled
	case circuitMetricsOnly:
		return governance.StateForcedClosed // admits all, and counts on
	case "OPEN":
		return governance.StateOpen
	case "HALF_OPEN":
		return governance.StateHalfOpen
	}
	return governance.StateClosed
}

// percent reads such as "50.0%"; -1 for what is none.
func percent(text string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(v >= 0) {
		return -1
	}
	return v
}

// resilience is the engine of a process with Resilience4j: what it has counted by
// its metrics, its circuit breakers by their actuator, and how those are held
// (modes.go). Its fields are guarded by the session's mutex.
type resilience struct {
	*session
	counting
	circuits map[string]circuit // as they were seen last
	seen     bool               // they were, since the port was reached
	looked   bool               // they were, ever
	refused  map[string]int64   // by circuits that are held open, since tallied
	all      bool               // metrics cannot be asked for by name there
	mute     bool               // it has none, so nothing of it is counted
	// looks holds one token, for whoever asks for the circuit breakers: answers count
	// in the order in which the pod gave them.
	looks chan struct{}

	modes
}

// newResilience is for a process that has just been met. What a policy is known to
// have brought about in it is ours to take back.
func newResilience(n *session) *resilience {
	return &resilience{
		session: n, counting: newCounting(), circuits: map[string]circuit{}, refused: map[string]int64{}, looks: make(chan struct{}, 1),
		modes: modes{held: maps.Clone(n.owned), kept: map[string]bool{}},
	}
}

func (r *resilience) name() string { return resilienceName }

func (r *resilience) asOf(now time.Time) time.Time { return now }

func (r *resilience) reached(m *management) []string {
	r.seen, r.mute = false, m.prometheus == ""
	if r.mute {
		clear(r.refused)
	}
	return r.lacking(m)
}

// lacking says what stands in the way, in sentences; the mutex is held.
func (r *resilience) lacking(m *management) []string {
	var out []string
	if reason := cannotHold(m); reason != "" {
		out = append(out, reason)
	}
	counted := r.tallies != nil && r.tallies.told
	switch {
	case m.prometheus == "":
		out = append(out, fmt.Sprintf("%s has no prometheus: add prometheus to management.endpoints.web.exposure.include, and io.micrometer:micrometer-registry-prometheus to the dependencies; until then calls are not counted", path(m.base)))
	case r.tallies != nil && !counted && len(r.circuits) > 0:
		out = append(out, fmt.Sprintf("%s says nothing of circuit breakers: add io.github.resilience4j:resilience4j-micrometer to the dependencies; until then calls are not counted", path(m.prometheus)))
	case counted && !r.tallies.measured():
		out = append(out, fmt.Sprintf("%s has no histogram of calls: set management.metrics.distribution.percentiles-histogram.resilience4j.circuitbreaker.calls=true; until then it is not known how long calls last", path(m.prometheus)))
	}
	if name, c := r.others(); name != "" {
		out = append(out, fmt.Sprintf("circuit breaker %s is %s, and no policy says so: it is left as it is. A switch of it that is pulled and released closes it", name, c))
	}
	return out
}

// collect asks again and again what the pod has counted.
func (r *resilience) collect(ctx context.Context, m *management) error {
	return r.scrapes(ctx, scraper{
		scrape:  func(ctx context.Context) error { return r.scrape(ctx, m) },
		lacking: func() []string { return r.lacking(m) },
		vain:    func() bool { return cannotHold(m) != "" || m.prometheus == "" },
	})
}

// scrape asks once.
func (r *resilience) scrape(ctx context.Context, m *management) error {
	if m.circuits != "" {
		if err := r.see(ctx, m); err != nil {
			return err
		}
	}
	if m.prometheus == "" {
		return nil
	}
	r.mu.Lock()
	all := r.all
	r.mu.Unlock()
	now, err := m.tallies(ctx, all)
	if err != nil {
		return err
	}
	at := r.svc.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.svc.metrics.scrapes.Inc()
	if r.tallies != nil && r.tallies.started != 0 && now.started != 0 && now.started != r.tallies.started {
		r.tallies, r.tallied = nil, time.Time{}
		return errors.New("its process began anew")
	}
	r.all = r.all || !now.told && len(r.circuits) > 0
	samples, gap := r.count(now, at, at.Sub(r.tallied))
	if gap > 0 {
		r.svc.metrics.gaps.Add(gap.Seconds())
	}
	r.store(samples, nil)
	return nil
}

// see asks for the circuit breakers and takes in what they do.
func (r *resilience) see(ctx context.Context, m *management) error {
	select {
	case r.looks <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-r.looks }()
	var answer struct {
		All map[string]circuit `json:"circuitBreakers"`
	}
	if _, err := m.do(ctx, http.MethodGet, m.circuits, nil, &answer); err != nil {
		return err
	}
	if answer.All == nil {
		return &refusalError{http.StatusOK, fmt.Sprintf("GET %s does not tell of circuit breakers", path(m.circuits))}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observe(answer.All, r.svc.cfg.Now())
	return nil
}

// observe takes in what circuit breakers do; the mutex is held.
func (r *resilience) observe(now map[string]circuit, at time.Time) {
	var moved []governance.Transition
	circuits := make(map[string]circuit, len(now))
	beyond := 0
	for _, name := range sortedKeys(now) {
		c := now[name]
		if !usable(name) {
			continue
		}
		if !r.collects(name) {
			beyond++
			continue
		}
		circuits[name] = c
		before, known := r.circuits[name]
		if c.State == circuitForcedOpen {
			n := whole(c.NotPermitted)
			// Its numbers begin anew with the state; a smaller one is of another time.
			if known && before.State == c.State && before.NotPermitted <= c.NotPermitted {
				n -= whole(before.NotPermitted)
			} else if !r.looked {
				n = 0 // who knows since when
			}
			if n > 0 && !r.mute {
				r.refused[name] += n
			}
		}
		from, told := r.states[name]
		if !told {
			from = governance.StateClosed
		}
		if to := c.state(); to != from {
			moved = append(moved, turned(name, c, from, at, r.by(name)))
			r.states[name] = to
		}
	}
	// One that is no more is held by nobody; should it come again, it begins closed.
	maps.DeleteFunc(r.held, func(name string, _ governance.State) bool { _, there := circuits[name]; return !there })
	if beyond != r.beyond {
		r.beyond, r.changed = beyond, true
	}
	grown := len(circuits) != len(r.circuits)
	r.circuits, r.seen, r.looked = circuits, true, true
	r.store(nil, moved)
	if grown {
		r.wake()
	}
}

// collects reports whether there is room for what a circuit breaker counts; the mutex
// is held.
func (r *resilience) collects(name string) bool { return r.room(atProvider(name)) }

// count turns what was counted since the last answer, which is so long ago, into
// samples; the mutex is held. gap is a time that is given up.
func (r *resilience) count(now *tallies, at time.Time, between time.Duration) (samples []governance.Sample, gap time.Duration) {
	refused := r.refused
	r.refused = map[string]int64{}
	before, over, gap := r.advance(now, at, between)
	if before == nil {
		return nil, gap
	}
	for _, series := range now.series() {
		if !r.room(series) {
			continue
		}
		name := series.Command
		t, b := now.all[series], before.all[series]
		if b == nil {
			b = &tally{} // its first call came after the last answer
		}
		counts, above, whole := t.since(b)
		counts.Switched = refused[name]
		delete(refused, name)
		like := governance.Sample{Series: series, InFlight: int(t.inFlight), State: r.circuits[name].state(), Lossy: !whole}
		samples = append(samples, over.lay(like, counts, above)...)
	}
	for _, name := range sortedKeys(refused) {
		like := governance.Sample{Series: atProvider(name), State: r.circuits[name].state()}
		samples = append(samples, over.lay(like, governance.Counts{Switched: refused[name]}, nil)...)
	}
	return samples, 0
}

// turned is a change of a circuit breaker's state.
func turned(name string, c circuit, from governance.State, at time.Time, by *governance.Source) governance.Transition {
	t := governance.Transition{
		Series: atProvider(name), Time: at, From: from, To: c.state(),
		Window: governance.Counts{Success: max(0, whole(c.Buffered)-whole(c.Failed)), Failure: whole(c.Failed), Slow: whole(c.Slow)},
	}
	if t.To == governance.StateForcedOpen {
		t.Window.Switched = whole(c.NotPermitted)
	} else {
		t.Window.ShortCircuited = whole(c.NotPermitted)
	}
	switch t.To {
	case governance.StateOpen:
		t.Cause = fmt.Sprintf("%g %% of %d calls failed, %g %% allowed", percent(c.FailureRate), whole(c.Buffered), percent(c.FailureThreshold))
		if slow := percent(c.SlowRate); percent(c.FailureRate) < percent(c.FailureThreshold) && slow >= percent(c.SlowThreshold) {
			t.Cause = fmt.Sprintf("%g %% of %d calls were slow, %g %% allowed", slow, whole(c.Buffered), percent(c.SlowThreshold))
		}
	case governance.StateHalfOpen:
		t.Cause = "it has been open for as long as it may, and lets probes through"
	case governance.StateClosed:
		t.Cause = "its probes succeeded"
		if from != governance.StateOpen && from != governance.StateHalfOpen {
			t.Cause = "nothing holds it any more"
		}
	default:
		t.Cause = "its application or its actuator was told to"
	}
	if by != nil && t.To != governance.StateOpen && t.To != governance.StateHalfOpen {
		t.Policy, t.Version = by.Policy, by.Version
		t.Cause = "policy " + by.Policy + " says so"
	}
	return t
}

// tallies asks what the process has counted: of all there is, or of circuit breakers
// alone.
func (m *management) tallies(ctx context.Context, all bool) (out *tallies, err error) {
	address := m.prometheus
	if !all {
		address += "?" + url.Values{"includedNames": {strings.Join(tallyNames, ",")}}.Encode()
	}
	err = m.exposition(ctx, address, func(text io.Reader) error {
		out, err = parseTallies(text)
		return err
	})
	return out, err
}
