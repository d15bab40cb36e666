package agentless

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
)

var delivery = governance.App{Namespace: "shop", Name: "delivery"}

// version makes a version of a policy about delivery.
func version(tb testing.TB, n int64, command string, r governance.Rules, kind governance.Kind) governance.Version {
	tb.Helper()
	p, err := governance.Policy{Kind: kind, Target: governance.Target{App: delivery, Command: command}, Rules: r}.Canonical()
	if err != nil {
		tb.Fatal(err)
	}
	return governance.Version{Policy: p, Version: n, Created: someTime, Actor: "somebody", Reason: "a test"}
}

func setOf(versions ...governance.Version) governance.PolicySet {
	set := governance.ForInstance(versions, delivery, nil)
	return governance.PolicySet{Version: int64(len(versions)), Hash: governance.HashPolicies(set), Policies: set}
}

var switched = governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}}

// usual is a command as Hystrix has it without settings.
func usual(name, pool string) *commandEvent {
	return &commandEvent{
		Name: name, Pool: pool, Enabled: true, MinCalls: 20, SleepWindow: 5000, ErrorAllowed: 50, Isolation: "THREAD",
		TimeoutMilli: 1000, Semaphore: 10, WindowMilli: 10_000,
	}
}

func texts(changes []change) string {
	var out []string
	for _, c := range changes {
		out = append(out, strings.TrimPrefix(c.key, "hystrix.")+"="+c.value)
	}
	return strings.Join(out, " ")
}

func TestOnlyWhatDiffersIsWritten(t *testing.T) {
	t.Parallel()
	commands := map[string]*commandEvent{quote: usual(quote, "carriers"), "workday": usual("workday", "calendar")}
	commands["workday"].Isolation = "SEMAPHORE"
	const open = " command." + quote + ".circuitBreaker.forceOpen=true"
	for name, c := range map[string]struct {
		versions []governance.Version
		want     string
		unmet    string
	}{
		"nothing": {nil, "", ""},
		"a switch": {
			[]governance.Version{version(t, 1, quote, switched, governance.KindSwitch)}, open[1:], "",
		},
		"a switch of everything": {
			[]governance.Version{version(t, 1, "", switched, governance.KindSwitch)},
			"command.default.circuitBreaker.enabled=true command.default.circuitBreaker.forceOpen=true" + open + " command.workday.circuitBreaker.forceOpen=true", "",
		},
		"what is so already": {
			[]governance.Version{version(t, 1, quote, governance.Rules{Breaker: &governance.Breaker{MinCalls: 20, ErrorPercent: 50, Window: governance.Duration(10 * time.Second), Probes: 1}}, "")}, "", "",
		},
		"thresholds": {
			[]governance.Version{version(t, 1, quote, governance.Rules{
				Timeout: governance.Duration(700 * time.Millisecond), Bulkhead: &governance.Bulkhead{Concurrent: 4},
				Breaker: &governance.Breaker{MinCalls: 7, ErrorPercent: 30, OpenFor: governance.Duration(2 * time.Second)},
			}, "")},
			"command." + quote + ".circuitBreaker.errorThresholdPercentage=30 command." + quote + ".circuitBreaker.requestVolumeThreshold=7 command." + quote +
				".circuitBreaker.sleepWindowInMilliseconds=2000 command." + quote + ".execution.isolation.thread.timeoutInMilliseconds=700 command." + quote +
				".execution.timeout.enabled=true threadpool.carriers.coreSize=4", "",
		},
		"a semaphore's bulkhead": {
			[]governance.Version{version(t, 1, "workday", governance.Rules{Bulkhead: &governance.Bulkhead{Concurrent: 4}}, "")},
			"command.workday.execution.isolation.semaphore.maxConcurrentRequests=4", "",
		},
		"a command that has not run": {
			[]governance.Version{version(t, 1, "later", switched, governance.KindSwitch)},
			"command.later.circuitBreaker.enabled=true command.later.circuitBreaker.forceOpen=true", "",
		},
		"what Hystrix has not": {
			[]governance.Version{version(t, 3, quote, governance.Rules{
				Fallback: &governance.Fallback{Empty: true},
				Breaker: &governance.Breaker{
					Mode: governance.ModeForcedOpen, Window: governance.Duration(5 * time.Second), SlowCall: governance.Duration(time.Second), SlowPercent: 50, Probes: 3,
				},
			}, "")},
			open[1:], "breaker.probes breaker.slowCall breaker.window fallback",
		},
		"part of a percent": {
			[]governance.Version{version(t, 1, quote, governance.Rules{Breaker: &governance.Breaker{ErrorPercent: 12.5}}, "")},
			"command." + quote + ".circuitBreaker.errorThresholdPercentage=13", "breaker.errorPercent",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := plan(setOf(c.versions...), delivery, commands, someTime)
			if got := texts(w.diff(commands, nil)); got != c.want {
				t.Errorf("writes\n%s\nnot\n%s", got, c.want)
			}
			var said strings.Builder
			for _, u := range w.unmet {
				said.WriteString(u.Reason)
				if u.Version == 0 || !strings.HasPrefix(u.Policy, "shop/delivery.") {
					t.Errorf("%+v names no policy", u)
				}
			}
			reasons := said.String()
			for word := range strings.FieldsSeq(c.unmet) {
				if !strings.Contains(reasons, word+":") {
					t.Errorf("%q does not name %s", reasons, word)
				}
			}
			if (reasons == "") != (c.unmet == "") {
				t.Errorf("unmet is %q", reasons)
			}
		})
	}
}

// Once everything is written and shows, nothing is to do; once nothing is wished,
// all that was written is taken back.
func TestWritingComesToAnEnd(t *testing.T) {
	t.Parallel()
	commands := map[string]*commandEvent{}
	for n := range 3000 {
		name := fmt.Sprint("c", n)
		commands[name] = usual(name, "pool")
	}
	commands["c7"].ForceOpen = false
	w := plan(setOf(version(t, 1, "", switched, governance.KindSwitch)), delivery, commands, someTime)
	have := map[string]string{}
	first := w.diff(commands, have)
	if !strings.HasPrefix(first[0].key, "hystrix.command.default.") || !strings.HasPrefix(first[1].key, "hystrix.command.default.") {
		t.Fatalf("it begins with %v", first[:2])
	}
	for _, c := range first[:2] {
		have[c.key] = c.value
	}
	// The default holds for all but one, which has something of its own in its code.
	for name, c := range commands {
		c.ForceOpen = name != "c7"
	}
	if got := texts(w.diff(commands, have)); got != "command.c7.circuitBreaker.forceOpen=true" {
		t.Errorf("then it writes %.200s", got)
	}
	commands["c7"].ForceOpen = true
	have["hystrix.command.c7.circuitBreaker.forceOpen"] = "true"
	if got := w.diff(commands, have); len(got) != 0 || w.off(commands) != "" || len(leftovers(w, have)) != 0 {
		t.Errorf("at the end it writes %v, %q is off, %v is left", got, w.off(commands), leftovers(w, have))
	}
	none := plan(setOf(), delivery, commands, someTime)
	if got := leftovers(none, have); len(got) != 3 || !none.empty() {
		t.Errorf("%v is left", got)
	}
}

func TestAnExpiredPolicyIsNotWished(t *testing.T) {
	t.Parallel()
	v := version(t, 1, quote, switched, governance.KindSwitch)
	v.Policy.Expires = someTime.Add(time.Minute)
	commands := map[string]*commandEvent{quote: usual(quote, "carriers")}
	before := plan(setOf(v), delivery, commands, someTime)
	if before.empty() || !before.until.Equal(v.Policy.Expires) {
		t.Errorf("before: %+v", before)
	}
	if after := plan(setOf(v), delivery, commands, v.Policy.Expires); !after.empty() {
		t.Errorf("after: %+v", after)
	}
}

func TestASharedThreadPoolIsNotResizedForOneCommand(t *testing.T) {
	t.Parallel()
	commands := map[string]*commandEvent{"a": usual("a", "shared"), "b": usual("b", "shared")}
	w := plan(setOf(version(t, 1, "a", governance.Rules{Bulkhead: &governance.Bulkhead{Concurrent: 2}}, "")), delivery, commands, someTime)
	if len(w.pools) != 0 || len(w.unmet) != 1 || !strings.Contains(w.unmet[0].Reason, "thread pool shared together with 1 others") {
		t.Errorf("%+v", w)
	}
}

func TestKeysThatAreWantedAreKnown(t *testing.T) {
	t.Parallel()
	commands := map[string]*commandEvent{"a": usual("a", "pool"), "default": usual("default", "other")}
	w := plan(setOf(version(t, 1, "", governance.Rules{Timeout: governance.Duration(time.Second), Bulkhead: &governance.Bulkhead{Concurrent: 2}}, "")), delivery, commands, someTime)
	written := map[string]string{}
	for _, c := range w.diff(commands, nil) {
		written[c.key] = c.value
	}
	for key := range maps.Keys(written) {
		if !w.wants(key) {
			t.Errorf("%s is written and not wanted", key)
		}
	}
	for _, key := range []string{"hystrix.command.a.circuitBreaker.forceOpen", "hystrix.threadpool.a.coreSize", "hystrix.threadpool.pool.maxQueueSize", "server.port", ""} {
		if w.wants(key) {
			t.Errorf("%s is wanted", key)
		}
	}
}
