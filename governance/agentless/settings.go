package agentless

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
)

// setting is one property of a Hystrix command that can be changed live.
type setting struct {
	suffix string // of hystrix.command.<key>.
	// effective is what a stream says of it; nil where it says nothing.
	effective func(c *commandEvent) string
}

// The properties that take effect with the next call. Rolling windows, the size of
// queues and the isolation's kind do not.
var (
	forceOpen    = &setting{"circuitBreaker.forceOpen", func(c *commandEvent) string { return strconv.FormatBool(c.ForceOpen) }}
	forceClosed  = &setting{"circuitBreaker.forceClosed", func(c *commandEvent) string { return strconv.FormatBool(c.ForceClosed) }}
	enabled      = &setting{"circuitBreaker.enabled", func(c *commandEvent) string { return strconv.FormatBool(c.Enabled) }}
	minCalls     = &setting{"circuitBreaker.requestVolumeThreshold", func(c *commandEvent) string { return number(c.MinCalls) }}
	errorPercent = &setting{"circuitBreaker.errorThresholdPercentage", func(c *commandEvent) string { return number(c.ErrorAllowed) }}
	sleepWindow  = &setting{"circuitBreaker.sleepWindowInMilliseconds", func(c *commandEvent) string { return number(c.SleepWindow) }}
	timeout      = &setting{"execution.isolation.thread.timeoutInMilliseconds", func(c *commandEvent) string { return number(c.TimeoutMilli) }}
	timeouts     = &setting{"execution.timeout.enabled", nil}
	semaphore    = &setting{"execution.isolation.semaphore.maxConcurrentRequests", func(c *commandEvent) string { return number(c.Semaphore) }}
)

var settings = []*setting{forceOpen, forceClosed, enabled, minCalls, errorPercent, sleepWindow, timeout, timeouts, semaphore}

func number(v float64) string { return strconv.FormatInt(whole(v), 10) }

// Prefixes of properties.
const (
	commandPrefix = "hystrix.command."
	poolPrefix    = "hystrix.threadpool."
	coreSize      = ".coreSize"
	// defaultKey stands for every command that has nothing of its own.
	defaultKey = "default"
)

func (s *setting) key(command string) string { return commandPrefix + command + "." + s.suffix }

// wish is what a pod's settings should be.
type wish struct {
	// all holds for commands that the stream has not told of yet; by command.
	all      map[*setting]string
	commands map[string]map[*setting]string
	pools    map[string]string // core sizes
	unmet    []governance.Unmet
	// by is the policy that holds a command open, or otherwise decides its mode.
	by map[string]governance.Source
	// until is when a policy expires, which changes the wish; zero for never.
	until time.Time
}

// empty reports whether nothing is wished.
func (w *wish) empty() bool { return len(w.all) == 0 && len(w.commands) == 0 && len(w.pools) == 0 }

// plan says what the policies of a set come to for a pod that has the given
// commands.
func plan(set governance.PolicySet, app governance.App, commands map[string]*commandEvent, now time.Time) *wish {
	w := &wish{all: map[*setting]string{}, commands: map[string]map[*setting]string{}, pools: map[string]string{}, by: map[string]governance.Source{}}
	if len(set.Policies) == 0 {
		return w
	}
	names := map[string]bool{}
	for name := range commands {
		names[name] = true
	}
	whole := false
	for i := range set.Policies {
		v := &set.Policies[i]
		t := v.Policy.Target
		if t.App != app || t.At == governance.Caller || v.Deleted {
			continue
		}
		if t.Command == "" {
			whole = true
			continue
		}
		// A command that the stream has not told of yet is refused from its first
		// call on. A Dubbo name's short form stands for none here.
		names[t.Command] = true
	}
	unmet := governance.Shortfall{}
	add := func(command string, at map[*setting]string) {
		call := governance.Call{App: app, Command: command, At: governance.Provider}
		e := governance.Resolve(set.Policies, call, now)
		if !e.Until.IsZero() && (w.until.IsZero() || e.Until.Before(w.until)) {
			w.until = e.Until
		}
		if s, ok := e.Sources["breaker.mode"]; ok {
			w.by[command] = s
		}
		c := commands[command]
		translate(e, c, at, unmet)
		if pool, size := w.bulkhead(e, command, c, commands, at, unmet); pool != "" {
			w.pools[pool] = size
		}
	}
	if whole {
		add("", w.all)
	}
	for name := range names {
		at := map[*setting]string{}
		add(name, at)
		if len(at) > 0 {
			w.commands[name] = at
		}
	}
	w.unmet = unmet.List()
	return w
}

// translate turns rules into settings. c is what the stream says of the command;
// nil for nothing yet.
func translate(e governance.Effective, c *commandEvent, at map[*setting]string, unmet governance.Shortfall) {
	if e.Timeout != 0 {
		at[timeout] = strconv.FormatInt(max(1, time.Duration(e.Timeout).Milliseconds()), 10)
		at[timeouts] = "true"
	}
	if e.Fallback != nil {
		unmet.Add(e.Sources["fallback"], "fallback: Hystrix runs the one in the application's code, or none")
	}
	b := e.Breaker
	if b == nil {
		return
	}
	switch b.Mode {
	case governance.ModeAuto:
		at[enabled], at[forceOpen], at[forceClosed] = "true", "false", "false"
	case governance.ModeForcedOpen:
		at[enabled], at[forceOpen] = "true", "true"
	case governance.ModeForcedClosed:
		at[enabled], at[forceOpen], at[forceClosed] = "true", "false", "true"
	case governance.ModeDisabled:
		at[enabled], at[forceOpen] = "false", "false"
	}
	if b.MinCalls != 0 {
		at[minCalls] = strconv.Itoa(b.MinCalls)
	}
	if b.ErrorPercent != 0 {
		at[errorPercent] = strconv.Itoa(int(math.Ceil(b.ErrorPercent)))
		if b.ErrorPercent != math.Trunc(b.ErrorPercent) {
			unmet.Add(e.Sources["breaker.errorPercent"], fmt.Sprintf("breaker.errorPercent: Hystrix knows whole percents, so it opens at %s", at[errorPercent]))
		}
	}
	if b.OpenFor != 0 {
		at[sleepWindow] = strconv.FormatInt(max(1, time.Duration(b.OpenFor).Milliseconds()), 10)
	}
	if b.Probes > 1 {
		unmet.Add(e.Sources["breaker.probes"], "breaker.probes: Hystrix closes a circuit after one probe")
	}
	if b.SlowCall != 0 {
		unmet.Add(e.Sources["breaker.slow"], "breaker.slowCall: Hystrix opens no circuit for slow calls; a timeout counts as a failure")
	}
	if b.Window != 0 {
		have := defaultWindow
		if c != nil {
			have = windowOf(c)
		}
		if time.Duration(b.Window) != have {
			unmet.Add(e.Sources["breaker.window"], fmt.Sprintf("breaker.window: Hystrix reads it once, when a command first runs; it is %s", have))
		}
	}
}

// bulkhead turns a bound on calls under way into the size of a semaphore, or of the
// thread pool that runs the command. What is returned is the pool's.
func (w *wish) bulkhead(e governance.Effective, name string, c *commandEvent, all map[string]*commandEvent, at map[*setting]string, unmet governance.Shortfall) (pool, size string) {
	if e.Bulkhead == nil {
		return "", ""
	}
	size = strconv.Itoa(e.Bulkhead.Concurrent)
	if c == nil {
		at[semaphore] = size // and its thread pool, once the stream names it
		return "", ""
	}
	if c.Isolation != "THREAD" || c.Pool == "" {
		at[semaphore] = size
		return "", ""
	}
	var others []string
	for other, o := range all {
		if other != name && o.Pool == c.Pool && o.Isolation == "THREAD" {
			others = append(others, other)
		}
	}
	if len(others) > 0 {
		slices.Sort(others)
		unmet.Add(e.Sources["bulkhead"], fmt.Sprintf("bulkhead: command %s runs in thread pool %s together with %d others, such as %s, and Hystrix bounds the pool as a whole",
			name, c.Pool, len(others), others[0]))
		return "", ""
	}
	return c.Pool, size
}

// change is one property to write.
type change struct{ key, value string }

// diff says what has to be written: what the stream shows to be otherwise than
// wished, or, where it shows nothing, what was not written yet. have is what was
// written before, and is in effect unless it was lost. Properties of "default" come
// first: with them, most commands need none of their own.
func (w *wish) diff(commands map[string]*commandEvent, have map[string]string) []change {
	var out []change
	put := func(key, value string) {
		out = append(out, change{key, value})
	}
	for s, value := range w.all {
		if key := s.key(defaultKey); have[key] != value {
			put(key, value)
		}
	}
	for name, at := range w.commands {
		c := commands[name]
		for s, value := range at {
			key := s.key(name)
			if written, ok := have[key]; ok && written != value {
				put(key, value) // whatever shows: it would hold against the default
				continue
			}
			switch {
			case c != nil && s.effective != nil:
				if s.effective(c) != value {
					put(key, value)
				}
			case have[key] != value && (w.all[s] != value || have[s.key(defaultKey)] != value):
				put(key, value)
			}
		}
	}
	for pool, size := range w.pools {
		if key := poolPrefix + pool + coreSize; have[key] != size {
			put(key, size)
		}
	}
	slices.SortFunc(out, func(a, b change) int {
		return strings.Compare(order(a.key), order(b.key))
	})
	return out
}

// order puts what opens circuits first, and before it what does so for all.
func order(key string) string {
	first := "2"
	switch {
	case strings.HasPrefix(key, commandPrefix+defaultKey+"."):
		first = "0"
	case strings.HasSuffix(key, forceOpen.suffix) || strings.HasSuffix(key, enabled.suffix):
		first = "1"
	}
	return first + key
}

// off says, in words, what of a command is not as wished; "" for nothing.
func (w *wish) off(commands map[string]*commandEvent) string {
	for _, name := range sortedKeys(w.commands) {
		c := commands[name]
		if c == nil {
			continue
		}
		for _, s := range settings {
			if value, ok := w.commands[name][s]; ok && s.effective != nil && s.effective(c) != value {
				return fmt.Sprintf("%s is %s in it, and should be %s", s.key(name), s.effective(c), value)
			}
		}
	}
	return ""
}

// keys are those of all properties that may be written for the wish.
func (w *wish) wants(key string) bool {
	if rest, ok := strings.CutPrefix(key, poolPrefix); ok {
		_, ok := w.pools[strings.TrimSuffix(rest, coreSize)]
		return ok && strings.HasSuffix(rest, coreSize)
	}
	rest, ok := strings.CutPrefix(key, commandPrefix)
	if !ok {
		return false
	}
	for _, s := range settings {
		name, ok := strings.CutSuffix(rest, "."+s.suffix)
		if !ok {
			continue
		}
		if name == defaultKey {
			_, ok = w.all[s]
			return ok
		}
		_, ok = w.commands[name][s]
		return ok
	}
	return false
}
