package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/tracing"
)

func TestOnlyThisMachineIsSeeded(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"http://127.0.0.1:9000": true, "http://[::1]:9000": true, "http://localhost:9000": true,
		"http://10.0.0.7:9000": false, "https://weir.example.com": false, "127.0.0.1:9000": false, "http://localhost.example.com": false,
	} {
		if err := allowed(address, false); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := allowed("https://weir.example.com", true); err != nil {
		t.Error(err)
	}
}

func TestAFleetShowsEveryStoryAndHasNoCircle(t *testing.T) {
	t.Parallel()
	f := plan(200, 1)
	seen := map[governance.App]int{}
	for n, a := range f.apps {
		if _, twice := seen[a.name]; twice {
			t.Errorf("two applications are called %s", a.name)
		}
		seen[a.name] = n
	}
	for _, a := range f.apps {
		if a.story != healthy && !f.called(a.commands[0]) {
			t.Errorf("nobody calls %s, which is there to be seen", a.name)
		}
		for _, k := range a.calls {
			// Calls that were added for a story begin at the front.
			if to := seen[k.to.app.name]; to <= seen[a.name] {
				t.Errorf("%s calls %s, which stands before it", a.name, k.to.app.name)
			}
		}
	}
	for _, want := range stories {
		if !slices.ContainsFunc(f.apps, func(a *app) bool { return a.story == want }) {
			t.Errorf("story %d is not told", want)
		}
	}
}

func TestWhatIsCountedAgreesWithItself(t *testing.T) {
	t.Parallel()
	f := plan(40, 1)
	pulled := f.apps[5].commands[0]
	target := governance.Target{App: pulled.app.name, Command: pulled.name, At: governance.Provider}
	policy := governance.Policy{Kind: governance.KindSwitch, Target: target, Rules: governance.Rules{
		Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}, Fallback: &governance.Fallback{Empty: true},
	}}.WithDefaults()
	in := pulled.app.instances[0]
	in.rand, in.circuits = rand.New(rand.NewPCG(1, 1)), map[governance.Series]*circuit{}
	in.take(governance.PolicySet{Version: 1, Policies: []governance.Version{{Policy: policy, Version: 1}}})
	forced := false
	now := time.Now().Unix()
	for second := now; second < now+5; second++ {
		samples, _ := in.count(second, 1)
		for _, s := range samples {
			var latency sketch.Sketch
			if len(s.Latency) > 0 {
				if err := latency.UnmarshalBinary(s.Latency); err != nil {
					t.Fatal(err)
				}
			}
			if latency.Count() != s.Counts.Ran() {
				t.Errorf("%v: %d latencies for %d calls", s.Series, latency.Count(), s.Counts.Ran())
			}
			if s.Command == pulled.name && s.At == governance.Provider {
				forced = true
				if s.State != governance.StateForcedOpen || s.Counts.Ran() != 0 || s.Counts.Switched == 0 {
					t.Errorf("the switch is pulled, and %+v", s)
				}
			}
		}
	}
	if !forced {
		t.Error("the switched command counted nothing")
	}
}

func TestATraceHasOneRootAndItsSize(t *testing.T) {
	t.Parallel()
	f := plan(40, 1)
	spans := f.oneTrace(time.Now(), f.apps[0], 10_000)
	if len(spans) < 10_000 || len(spans) > 10_100 {
		t.Errorf("%d spans", len(spans))
	}
	ids := map[tracing.ID]bool{}
	for _, s := range spans {
		if s.ParentID != 0 && !ids[s.ParentID] {
			t.Errorf("span %v stands before its parent", s.ID)
		}
		if ids[s.ID] {
			t.Errorf("two spans have one id")
		}
		ids[s.ID] = true
	}
}
