package console

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
)

// circuit is whose state is told, of all its instances.
type circuit struct {
	app governance.App
	governance.Series
}

// circuitsOpen tells of circuits that let no calls through, or not by what they
// count.
func (f *facts) circuitsOpen() (out []Attention) {
	if f.numbers == nil {
		return nil
	}
	since := f.circuitsSince()
	for i := range f.numbers.totals {
		t := &f.numbers.totals[i]
		of := 0
		for _, n := range t.States {
			of += n
		}
		open := t.States[governance.StateOpen] + t.States[governance.StateHalfOpen]
		if open > 0 {
			a := f.circuitAttention(KindCircuitOpen, t, open, of, "is open")
			a.Severity = Warning
			if open == of {
				a.Severity = Critical
			}
			a.Since = since(t, governance.StateOpen, governance.StateHalfOpen)
			out = append(out, a)
		}
		for _, forced := range []struct {
			state governance.State
			says  string
		}{{governance.StateForcedOpen, "is held open"}, {governance.StateForcedClosed, "is held closed"}} {
			if n := t.States[forced.state]; n > 0 {
				a := f.circuitAttention(KindCircuitForced, t, n, of, forced.says)
				a.Severity, a.Params["state"], a.Since = Info, string(forced.state), since(t, forced.state)
				out = append(out, a)
			}
		}
	}
	return out
}

// circuitAttention tells of a circuit that is in some state in n of its instances.
// One that a gateway keeps for a route is told as the route's.
func (f *facts) circuitAttention(kind string, t *governance.Total, n, of int, says string) Attention {
	a := Attention{
		Kind: kind, namespace: t.App.Namespace,
		Params: map[string]string{"app": t.App.String(), "command": t.Command, "at": string(t.At), "instances": strconv.Itoa(n), "of": strconv.Itoa(of)},
		Link:   appLink(t.App, "tab", "commands", "command", t.Command, "at", string(t.At), "peer", t.Peer.String()),
	}
	what := t.Command + " of " + t.App.String()
	if t.Peer != (governance.App{}) {
		a.Params["peer"] = t.Peer.String()
		what += " to " + t.Peer.String()
	}
	if key, ok := f.routeOf(t); ok {
		a.namespace, a.Params["route"] = key.Namespace, key.String()
		a.Link, what = link([]string{"routes", key.Namespace, key.Name}), "route "+key.String()
	}
	a.Text = fmt.Sprintf("The circuit of %s %s in %d of %s.", what, says, n, count(of, "instance"))
	return a
}

// circuitsSince tells since when some circuit is in one of some states.
func (f *facts) circuitsSince() func(t *governance.Total, states ...governance.State) time.Time {
	by := map[circuit][]governance.Circuit{}
	for _, c := range f.circuits {
		if c.Live && c.State != governance.StateClosed {
			by[circuit{c.App, c.Series}] = append(by[circuit{c.App, c.Series}], c)
		}
	}
	return func(t *governance.Total, states ...governance.State) (first time.Time) {
		for _, c := range by[circuit{t.App, t.Series}] {
			if slices.Contains(states, c.State) && (first.IsZero() || c.Time.Before(first)) {
				first = c.Time
			}
		}
		return first
	}
}

// loads adds up what each application counted: the calls that it served, or those
// that it made where it serves none, as gateways do.
func (f *facts) loads() map[governance.App]*load {
	out := map[governance.App]*load{}
	for _, at := range []governance.At{governance.Provider, governance.Caller} {
		served := maps.Clone(out)
		for i := range f.numbers.totals {
			t := &f.numbers.totals[i]
			if t.At != at || served[t.App] != nil {
				continue
			}
			if out[t.App] == nil {
				out[t.App] = &load{}
			}
			out[t.App].add(t)
		}
	}
	return out
}

// appsFailing tells of applications whose calls fail, or take too long.
func (f *facts) appsFailing() (out []Attention) {
	if f.numbers == nil {
		return nil
	}
	for app, l := range f.loads() {
		ran := l.counts.Ran()
		if ran < leastCalls {
			continue
		}
		one := func(kind, severity, says string, value float64) {
			out = append(out, Attention{
				Kind: kind, Severity: severity, namespace: app.Namespace, Link: appLink(app),
				Params: map[string]string{"app": app.String(), "percent": fmt.Sprintf("%.1f", value), "calls": strconv.FormatInt(ran, 10)},
				Text:   fmt.Sprintf("Of %d calls of %s in the last minute, %.1f %% %s.", ran, app, value, says),
			})
		}
		if p := l.counts.ErrorPercent(); p >= errorsCritical {
			one(KindAppErrors, Critical, "failed", p)
		} else if p >= errorsWarn {
			one(KindAppErrors, Warning, "failed", p)
		}
		if p := l.counts.SlowPercent(); p >= slowWarn {
			one(KindAppSlow, Warning, "were slow", p)
		}
	}
	return out
}

// instancesHeld tells of instances that get no calls. Those that end get none on
// purpose, unless nobody is left.
func (f *facts) instancesHeld() (out []Attention) {
	for app, r := range f.apps {
		held, reasons := 0, []string{}
		for _, h := range r.Held {
			if r.Callable > 0 && (h.Why == "terminating" || h.Why == "draining") {
				continue
			}
			held += h.Instances
			reasons = append(reasons, h.Why)
		}
		if held == 0 {
			continue
		}
		severity := Info
		switch {
		case r.Callable == 0:
			severity = Critical
		case r.Problems > 0:
			severity = Warning
		}
		verb := "get"
		if held == 1 {
			verb = "gets"
		}
		out = append(out, Attention{
			Kind: KindInstanceHeld, Severity: severity, namespace: app.Namespace, Link: link([]string{"registry", app.Namespace, app.Name}),
			Params: map[string]string{
				"app": app.String(), "held": strconv.Itoa(held), "callable": strconv.Itoa(r.Callable), "of": strconv.Itoa(r.Instances),
				"why": names(reasons),
			},
			Text: fmt.Sprintf("%d of %s of %s %s no calls: %s.", held, count(r.Instances, "instance"), app, verb, names(reasons)),
		})
	}
	return out
}

// instancesKept tells of instances that are called though they are not ready. That
// saves calls, and hides what somebody should look at.
func (f *facts) instancesKept() (out []Attention) {
	for app, r := range f.apps {
		if r.Kept == 0 {
			continue
		}
		verb, they := "are", "they are"
		if r.Kept == 1 {
			verb, they = "is", "it is"
		}
		out = append(out, Attention{
			Kind: KindInstanceKept, Severity: Warning, namespace: app.Namespace, Link: link([]string{"registry", app.Namespace, app.Name}),
			Params: map[string]string{"app": app.String(), "kept": strconv.Itoa(r.Kept), "of": strconv.Itoa(r.Instances)},
			Text: fmt.Sprintf("%d of %s of %s %s called though %s not ready: too many were lost at once to believe it without proof.",
				r.Kept, count(r.Instances, "instance"), app, verb, they),
		})
	}
	return out
}

// instancesBehind tells of instances that do not enforce what they should, once
// they have had the time to.
func (f *facts) instancesBehind() (out []Attention) {
	type late struct {
		n     int
		since time.Time
	}
	apps := map[governance.App]*late{}
	for _, i := range f.behind {
		if i.Applied != nil && i.Applied.Refused != nil {
			continue // which is told as that
		}
		since := i.Joined
		if i.Applied != nil {
			since = f.changedAfter(i.Applied.Version)
		}
		if f.time.Sub(since) < settleFor {
			continue
		}
		l := apps[i.App]
		if l == nil {
			l = &late{since: since}
			apps[i.App] = l
		}
		l.n++
		if since.Before(l.since) {
			l.since = since
		}
	}
	for app, l := range apps {
		verb := "do not enforce the policies they should yet"
		if l.n == 1 {
			verb = "does not enforce the policies it should yet"
		}
		out = append(out, Attention{
			Kind: KindInstanceBehind, Severity: Warning, namespace: app.Namespace, Link: appLink(app, "tab", "instances"), Since: l.since,
			Params: map[string]string{"app": app.String(), "instances": strconv.Itoa(l.n)},
			Text:   fmt.Sprintf("%s of %s %s.", count(l.n, "instance"), app, verb),
		})
	}
	return out
}

// changedAfter is when the first policy was written after a version; zero where
// that was too long ago to be known.
func (f *facts) changedAfter(version int64) (at time.Time) {
	for _, v := range f.versions { // the newest first
		if v.Version <= version {
			return at
		}
		at = v.Created
	}
	return time.Time{}
}

// instancesRefusing tells of instances that cannot take a policy.
func (f *facts) instancesRefusing() (out []Attention) {
	type refusal struct {
		app            governance.App
		policy, reason string
	}
	n, since := map[refusal]int{}, map[refusal]time.Time{}
	for _, i := range f.instances {
		if i.Applied == nil || i.Applied.Refused == nil {
			continue
		}
		k := refusal{i.App, i.Applied.Refused.Policy, i.Applied.Refused.Reason}
		n[k]++
		if since[k].IsZero() || i.AppliedAt.Before(since[k]) {
			since[k] = i.AppliedAt
		}
	}
	for k := range n {
		what, verb := "its policies", "refuse"
		if k.policy != "" {
			what = "policy " + k.policy
		}
		if n[k] == 1 {
			verb = "refuses"
		}
		out = append(out, Attention{
			Kind: KindRefusing, Severity: Critical, namespace: k.app.Namespace, Link: appLink(k.app, "tab", "instances"), Since: since[k],
			Params: map[string]string{"app": k.app.String(), "instances": strconv.Itoa(n[k]), "policy": k.policy, "why": k.reason},
			Text:   fmt.Sprintf("%s of %s %s %s: %s.", count(n[k], "instance"), k.app, verb, what, strings.TrimSuffix(k.reason, ".")),
		})
	}
	return out
}

// switchesExpiring tells of switches that are about to release by themselves.
func (f *facts) switchesExpiring() (out []Attention) {
	for _, v := range f.switches {
		left := v.Policy.Expires.Sub(f.time)
		if v.Policy.Expires.IsZero() || left <= 0 || left > expiringWithin {
			continue
		}
		key := v.Policy.Key()
		out = append(out, Attention{
			Kind: KindSwitchExpiring, Severity: Info, namespace: key.Namespace, Link: "/switches", Since: v.Created,
			Params: map[string]string{"switch": key.String(), "app": v.Policy.Target.App.String(), "command": v.Policy.Target.Command, "at": v.Policy.Expires.UTC().Format(time.RFC3339)},
			Text:   fmt.Sprintf("Switch %s releases by itself at %s.", key, v.Policy.Expires.UTC().Format("15:04:05 UTC")),
		})
	}
	return out
}
