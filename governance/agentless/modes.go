package agentless

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
)

// What the actuator of Resilience4j takes for a circuit breaker, which is all that
// can be changed while a process runs.
const (
	updateClose     = "CLOSE"
	updateForceOpen = "FORCE_OPEN"
	updateDisable   = "DISABLE"
)

// modes is how far a process with Resilience4j is with applying policies.
type modes struct {
	set  governance.PolicySet
	wish *modeWish
	// held are circuit breakers that are in a state which a policy of ours brought
	// about, and kept those that were as they should be when all was so last.
	held map[string]governance.State
	kept map[string]bool
}

// modeWish is what policies come to for circuit breakers.
type modeWish struct {
	modes map[string]governance.Mode // by name; "" where none is wished
	by    map[string]governance.Source
	unmet []governance.Unmet
	// applies is whether a mode is wished at all, be it of circuit breakers that there
	// are none of yet.
	applies bool
	until   time.Time
	of      string // the circuit breakers it was made with, and their thresholds
}

func (w *modeWish) empty() bool { return !w.applies && len(w.unmet) == 0 }

// planModes says what the policies of a set come to.
func planModes(set governance.PolicySet, app governance.App, circuits map[string]circuit, config map[string]string, t *taken, now time.Time) *modeWish {
	w := &modeWish{modes: map[string]governance.Mode{}, by: map[string]governance.Source{}}
	names := map[string]bool{}
	for name := range circuits {
		names[name] = true
	}
	for i := range set.Policies {
		if v := &set.Policies[i]; v.Policy.Target.App == app && v.Policy.Target.At != governance.Caller && !v.Deleted && v.Policy.Target.Command != "" {
			names[v.Policy.Target.Command] = true
		}
	}
	resolve := func(name string) governance.Effective {
		e := governance.Resolve(set.Policies, governance.Call{App: app, Command: name, At: governance.Provider}, now)
		if !e.Until.IsZero() && (w.until.IsZero() || e.Until.Before(w.until)) {
			w.until = e.Until
		}
		w.applies = w.applies || e.Breaker != nil && e.Breaker.Mode != ""
		return e
	}
	unmet := governance.Shortfall{}
	// What holds for circuit breakers that are still to come.
	if e := resolve(""); len(circuits) == 0 && e.Breaker != nil && e.Breaker.Mode != "" && e.Breaker.Mode != governance.ModeAuto {
		unmet.Add(e.Sources["breaker.mode"], noneYet)
	}
	for _, name := range sortedKeys(names) {
		e := resolve(name)
		c, there := circuits[name]
		cannotEnforce(name, e, c, there, config, t, unmet)
		if b := e.Breaker; there && b != nil && b.Mode != "" {
			w.modes[name], w.by[name] = b.Mode, e.Sources["breaker.mode"]
		}
	}
	w.unmet = unmet.List()
	return w
}

// noneYet is why a mode of a whole application does not hold in a process where nothing
// has been called.
const noneYet = "breaker.mode: it waits for its first call: it has no circuit breaker yet, Resilience4j makes one with the first call through it, and calls are let through until it is seen and held, a second or two later"

// startProperty is one that Resilience4j reads when its process begins, and the field
// of a policy that it is of.
type startProperty struct{ field, source, property, value string }

// startProperties are what rules come to for a process that begins.
func startProperties(e governance.Effective) (out []startProperty) {
	add := func(field, source, property, value string) {
		out = append(out, startProperty{field, source, property, value})
	}
	millis := func(d governance.Duration) string {
		return strconv.FormatInt(time.Duration(d).Milliseconds(), 10) + "ms"
	}
	if e.Timeout != 0 {
		add("timeout", "timeout", "timelimiter.%s.timeoutDuration", millis(e.Timeout))
	}
	if e.Bulkhead != nil {
		add("bulkhead", "bulkhead", "bulkhead.%s.maxConcurrentCalls", strconv.Itoa(e.Bulkhead.Concurrent))
	}
	b := e.Breaker
	if b == nil {
		return out
	}
	if b.MinCalls != 0 {
		add("breaker.minCalls", "breaker.minCalls", "circuitbreaker.%s.minimumNumberOfCalls", strconv.Itoa(b.MinCalls))
	}
	if b.ErrorPercent != 0 {
		add(errorPercentField, errorPercentField, "circuitbreaker.%s.failureRateThreshold", strconv.FormatFloat(b.ErrorPercent, 'g', -1, 64))
	}
	if b.OpenFor != 0 {
		add("breaker.openFor", "breaker.openFor", "circuitbreaker.%s.waitDurationInOpenState", millis(b.OpenFor))
	}
	if b.Probes != 0 {
		add("breaker.probes", "breaker.probes", "circuitbreaker.%s.permittedNumberOfCallsInHalfOpenState", strconv.Itoa(b.Probes))
	}
	if b.SlowCall != 0 {
		add("breaker.slowCall", "breaker.slow", "circuitbreaker.%s.slowCallDurationThreshold", millis(b.SlowCall))
		add("breaker.slowPercent", "breaker.slow", "circuitbreaker.%s.slowCallRateThreshold", strconv.FormatFloat(b.SlowPercent, 'g', -1, 64))
	}
	if b.Window != 0 {
		add("breaker.window", "breaker.window", "circuitbreaker.%s.slidingWindowSize", strconv.FormatInt(int64(time.Duration(b.Window)/time.Second), 10))
		add("breaker.window", "breaker.window", "circuitbreaker.%s.slidingWindowType", "TIME_BASED")
	}
	return out
}

const errorPercentField = "breaker.errorPercent"

// cannotEnforce adds what of rules a process with Resilience4j does not enforce.
// config names the ConfigMap that a property of ours is in, and t is what it has taken
// of that.
func cannotEnforce(name string, e governance.Effective, c circuit, there bool, config map[string]string, t *taken, unmet governance.Shortfall) {
	for _, p := range startProperties(e) {
		key := instanceKey(p.property, name)
		switch {
		case p.field == errorPercentField && there && same(e.Breaker.ErrorPercent, percent(c.FailureThreshold)):
		case (p.field != errorPercentField || !there) && t.began(key):
		case config[key] != "" && t.over(key) != "":
			unmet.Add(e.Sources[p.source], fmt.Sprintf("%s: %s=%s is in ConfigMap %s, but %s has %s too, and comes first: take it out of there", p.field, key, p.value, config[key], t.over(key), key))
		case config[key] != "":
			unmet.Add(e.Sources[p.source], fmt.Sprintf("%s: Resilience4j reads it when its process begins; %s=%s is in ConfigMap %s, and holds in a process that begins from now on", p.field, key, p.value, config[key]))
		default:
			unmet.Add(e.Sources[p.source], fmt.Sprintf("%s: Resilience4j reads it when its process begins, from %s=%s in the application's configuration", p.field, key, p.value))
		}
	}
	if e.Fallback != nil {
		unmet.Add(e.Sources["fallback"], "fallback: Resilience4j runs the one in the application's code, or none")
	}
	b := e.Breaker
	if b == nil {
		return
	}
	if b.Mode != "" && b.Mode != governance.ModeAuto && !there {
		unmet.Add(e.Sources["breaker.mode"], fmt.Sprintf("breaker.mode: it has no circuit breaker %s yet: unless %s is in its configuration, Resilience4j makes one with the first call, and calls are let through until it is seen and held, a second or two later", name, instanceKey("circuitbreaker.%s.baseConfig", name)))
	}
	if b.Mode == governance.ModeForcedClosed && c.State != circuitMetricsOnly {
		unmet.Add(e.Sources["breaker.mode"], "breaker.mode: the actuator of Resilience4j can hold no circuit closed, so it is disabled, which lets every call through and counts none")
	}
}

// same compares percents, of which the actuator tells single precision.
func same(a, b float64) bool { return math.Abs(a-b) < 1e-4 }

// instanceKey is the property of one circuit breaker: "circuitbreaker.%s.x" is
// "resilience4j.circuitbreaker.instances.NAME.x".
func instanceKey(property, name string) string {
	plain := !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if plain {
		return "resilience4j." + fmt.Sprintf(property, "instances."+name)
	}
	return "resilience4j." + fmt.Sprintf(property, "instances["+name+"]")
}

// by is the policy that decides a circuit breaker's mode; the mutex is held.
func (r *resilience) by(name string) *governance.Source {
	if r.wish == nil {
		return nil
	}
	if s, ok := r.wish.by[name]; ok {
		return &s
	}
	return nil
}

// others is a circuit breaker that somebody else holds, and its state; the mutex is
// held.
func (r *resilience) others() (name, state string) {
	for _, name := range sortedKeys(r.circuits) {
		c := r.circuits[name]
		if c.State != circuitForcedOpen && c.State != circuitDisabled || r.held[name] != "" || r.by(name) != nil {
			continue
		}
		return name, c.State
	}
	return "", ""
}

// cannotHold says why no circuit breaker can be held; "" if it can.
func cannotHold(m *management) string {
	switch {
	case m.circuits == "":
		return fmt.Sprintf("%s has no circuitbreakers: add circuitbreakers to management.endpoints.web.exposure.include; until then no policy is applied", path(m.base))
	case !m.holds:
		return fmt.Sprintf("%s cannot be written: set management.endpoint.circuitbreakers.access=unrestricted; until then no policy is applied", path(m.circuits))
	}
	return ""
}

// settle does one step, and returns when to look again.
func (r *resilience) settle(ctx context.Context, m *management) time.Duration {
	set, ok := r.svc.cfg.Policies.Policies(r.app)
	if !ok {
		return lookAgain
	}
	r.mu.Lock()
	w := r.plan(set)
	reason := cannotHold(m)
	switch {
	case !r.seen: // what there is to hold is not known
		r.mu.Unlock()
		return lookAgain / 4
	case reason != "" && !w.empty():
		r.refuse(set, reason)
		r.mu.Unlock()
		return lookAgain
	case reason != "":
		r.confirm(set, w.unmet)
		r.mu.Unlock()
		return lookAgain
	case !w.applies && len(r.held) == 0:
		r.mu.Unlock()
		return r.agree(ctx, m, set)
	}
	r.mu.Unlock()
	if !r.svc.acquire(ctx) {
		return retry
	}
	defer r.svc.release()
	next, err := r.hold(ctx, m, set)
	switch {
	case ctx.Err() != nil:
		return retry
	case err == nil:
		return next
	}
	text := err.Error()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		text = fmt.Sprintf("%s did not answer within %s", path(m.circuits), answerPatience)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.because("what is wanted is not applied: " + text)
	return retry
}

// plan returns what is wished of the circuit breakers that there are; the mutex is
// held.
func (r *resilience) plan(set governance.PolicySet) *modeWish {
	now := r.svc.cfg.Now()
	var of strings.Builder
	fmt.Fprintf(&of, "%p %v\n", r.taken, r.svc.docs.get(r.at, resilienceName).ok) // what is taken is another one once it changes
	for _, name := range sortedKeys(r.circuits) {
		of.WriteString(name + " " + r.circuits[name].FailureThreshold + "\n")
		if r.circuits[name].State == circuitMetricsOnly {
			of.WriteString(circuitMetricsOnly)
		}
	}
	if w := r.wish; w == nil || r.set.Hash != set.Hash || w.of != of.String() || !w.until.IsZero() && !now.Before(w.until) {
		config := map[string]string{}
		if doc := r.svc.docs.get(r.at, resilienceName); doc.ok && r.service.Govern != nil {
			for _, l := range configLines(resilienceName, set, r.app, now) {
				config[l.key] = r.service.Govern.Config
			}
		}
		next := planModes(set, r.app, r.circuits, config, r.taken, now)
		// What is wished otherwise from now on, such as after an expiry, is changed by us.
		maps.DeleteFunc(r.kept, func(name string, _ bool) bool { return w == nil || w.modes[name] != next.modes[name] })
		r.set, r.wish = set, next
		r.wish.of = of.String()
	}
	return r.wish
}

// update is one circuit breaker to be changed.
type update struct{ name, to string }

// hold brings circuit breakers into the states that are wished, or sees that they
// are in them.
func (r *resilience) hold(ctx context.Context, m *management, set governance.PolicySet) (time.Duration, error) {
	if err := r.see(ctx, m); err != nil {
		return 0, err
	}
	r.mu.Lock()
	w := r.plan(set)
	todo := r.todo(w)
	if len(todo) == 0 {
		r.mu.Unlock()
		return r.agree(ctx, m, set), nil
	}
	r.drifted(todo, set)
	r.mu.Unlock()
	for _, u := range todo {
		_, err := m.do(ctx, http.MethodPost, m.circuits+"/"+url.PathEscape(u.name), map[string]string{"updateState": u.to}, nil)
		r.outcome(err)
		if err != nil {
			return 0, err
		}
		r.mu.Lock()
		switch u.to {
		case updateForceOpen:
			r.held[u.name] = governance.StateForcedOpen
		case updateDisable:
			r.held[u.name] = governance.StateDisabled
		default:
			delete(r.held, u.name)
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	r.written()
	r.mu.Unlock()
	// What came of it is what the pod says next.
	return lookAgain / 20, r.see(ctx, m)
}

// agree says that all is as it should be, once a ConfigMap that the process reads, if
// there is one, says so too. What has to be held does not wait for that.
func (r *resilience) agree(ctx context.Context, m *management, set governance.PolicySet) time.Duration {
	if !r.reread(ctx, m) {
		return lookAgain / 4
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.plan(set)
	if len(r.todo(w)) > 0 {
		return 0 // a circuit breaker has come, or a policy expired, since this was looked at
	}
	r.kept = map[string]bool{}
	for name := range w.modes {
		r.kept[name] = true
	}
	r.confirm(set, w.unmet)
	return lookAgain
}

// todo is what has to be changed; what opens circuits comes first. The mutex is held.
func (r *resilience) todo(w *modeWish) (out []update) {
	var later []update
	for _, name := range sortedKeys(r.circuits) {
		state := r.circuits[name].state()
		mode, wished := w.modes[name]
		switch {
		case !wished && r.held[name] == "":
		case !wished && r.held[name] != state:
			delete(r.held, name) // somebody has changed it since, whose business it is
		case !wished:
			later = append(later, update{name, updateClose})
		case mode == governance.ModeForcedOpen && state != governance.StateForcedOpen:
			out = append(out, update{name, updateForceOpen})
		case mode == governance.ModeDisabled && state != governance.StateDisabled,
			mode == governance.ModeForcedClosed && state != governance.StateDisabled && state != governance.StateForcedClosed:
			later = append(later, update{name, updateDisable})
		case mode == governance.ModeAuto && (state == governance.StateForcedOpen || state == governance.StateDisabled || state == governance.StateForcedClosed):
			later = append(later, update{name, updateClose})
		case mode != governance.ModeAuto:
			r.held[name] = state // ours from now on, whoever it was
		}
	}
	return append(out, later...)
}

// drifted notes that a circuit breaker which was as it should be is so no longer,
// though nobody has wished for anything else here; the mutex is held.
func (r *resilience) drifted(todo []update, set governance.PolicySet) {
	if r.applied == nil || r.applied.Hash != set.Hash || r.applied.Refused != nil {
		return
	}
	for _, u := range todo {
		if r.kept[u.name] {
			r.drift(fmt.Sprintf("circuit breaker %s is %s in it", u.name, r.circuits[u.name].State))
			return
		}
	}
}
