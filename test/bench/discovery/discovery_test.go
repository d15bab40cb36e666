//go:build linux

package discovery

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/kubernetes"
	"github.com/weirmesh/weir/test/bench/plan"
)

func TestOptions(t *testing.T) {
	var out bytes.Buffer
	o, err := ParseOptions([]string{"-subjects", "hub, weir,hub", "-changes", "10", "-rounds", "3"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Subjects) != 2 || !o.wants(consumer.Hub) || !o.wants(consumer.Weir) || o.wants(consumer.ZooKeeper) {
		t.Errorf("subjects %v", o.Subjects)
	}
	if o.changes() != 2 {
		t.Errorf("%d changes a round, want 2", o.changes())
	}
	if _, err := ParseOptions([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-instances") {
		t.Errorf("help: %v\n%s", err, out.String())
	}
	for _, args := range []string{
		"-subjects nacos", "-rounds 0", "-changes 5 -rounds 3", "-quiet 0s", "-instances 1 -apps 2",
		"-outage -kubeconfig x", "now", "-idle -1s", "-upgrade -starts -1s", "-upgrade -unavailable 0", "-upgrade -outage",
		"-upgrade -instances 1001 -apps 40",
	} {
		if _, err := ParseOptions(strings.Fields(args), &out); err == nil {
			t.Errorf("%q passed", args)
		}
	}
}

func TestPicksCoverApplicationsAndInstances(t *testing.T) {
	for _, p := range []plan.Plan{{Instances: 1000, Apps: 40}, {Instances: 5000, Apps: 200}, {Instances: 7, Apps: 1}, {Instances: 40, Apps: 40}} {
		o := Options{Plan: p}
		instances, apps := map[int]bool{}, map[int]bool{}
		for k := range p.Instances {
			i := o.pick(k)
			instances[i], apps[p.App(i)] = true, true
			if p.Apps > 1 && p.App(i) == p.App(o.pick(k+1)) {
				t.Fatalf("%+v: changes %d and %d are in one application", p, k, k+1)
			}
		}
		if len(instances) != p.Instances || len(apps) != p.Apps {
			t.Errorf("%+v: picks cover %d instances and %d applications", p, len(instances), len(apps))
		}
	}
}

// result makes a result whose changes took the given nanoseconds from event to
// notification, and 1,000 more from write.
func result(b consumer.Backend, took ...int64) *Result {
	r := &Result{Subject: b, Fixed: consumer.Opened{Heap: 100}, Opened: []consumer.Opened{{Heap: 1100, Goroutines: 3}}, ServerMemory: 1 << 20}
	for _, ns := range took {
		r.Changes = append(r.Changes, Change{Asked: 1, Settled: consumer.Settled{Arrived: 1001, Notified: 1001 + ns, Told: 1}})
	}
	return r
}

func TestReportTellsWhatWasMeasured(t *testing.T) {
	lost := result(consumer.ZooKeeper, 8e6, 9e6)
	lost.Changes = append(lost.Changes, Change{Asked: 1, Settled: consumer.Settled{Arrived: 5, Told: 1}})
	// Its cost is not that of one change.
	lost.Changes = append(lost.Changes, Change{Asked: 1, Settled: consumer.Settled{Restless: true, Told: 100}})
	cached := result(consumer.Hub, 1e6)
	cached.Opened[0].Cached, cached.Idle, cached.FixedIdle, cached.ProcessIdle = 600, new(int64(3e6)), new(int64(2e6)), new(int64(1e6))
	rep := Report{
		Options: Options{Plan: plan.Plan{Instances: 10, Apps: 2}, Rounds: 1, Changes: 2, Idle: time.Second},
		Results: map[consumer.Backend]*Result{consumer.Weir: result(consumer.Weir, 1e6, 2e6), consumer.ZooKeeper: lost, consumer.Hub: cached},
	}
	if got := lost.of(fromEvent).Len(); got != 2 {
		t.Errorf("%d latencies of two changes that came and one that did not", got)
	}
	if got := lost.missed(); got != 2 {
		t.Errorf("%g changes missed, want 2", got)
	}
	if got := (*Result)(nil).missed(); !math.IsNaN(got) {
		t.Errorf("nothing missed %g changes", got)
	}
	var b strings.Builder
	if err := rep.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"watch event read → NotifyAll returned, p50 1 ms 8 ms 1 ms 8×",
		"heap per instance 100 B 100 B 100 B",
		"of these cached, with nobody who asks – – 50 B",
		"Processor time of 1s without a change a consumer of all – – 3 ms of these a registry with nothing in it – – 2 ms of these a process without a registry – – 1 ms",
		"changes that never came 0 2 0",
		"changes with lists still told of something 15s later 0 1 0",
		"NotifyAll calls 1 1 1",
		"kept (2 ms of 2)",
	} {
		if !strings.Contains(words(b.String()), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}

func TestReportSaysWhenThePromiseIsBroken(t *testing.T) {
	slow := Report{Options: Options{Plan: plan.Plan{Instances: 1, Apps: 1}, Rounds: 1, Changes: 2},
		Results: map[consumer.Backend]*Result{consumer.Weir: result(consumer.Weir, 1e6, 30e6)}}
	lost := Report{Options: slow.Options, Results: map[consumer.Backend]*Result{consumer.Weir: result(consumer.Weir, 1e6)}}
	lost.Results[consumer.Weir].Changes = append(lost.Results[consumer.Weir].Changes, Change{Asked: 1})
	for name, rep := range map[string]Report{"slow": slow, "lost": lost} {
		var b strings.Builder
		if err := rep.Write(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "NOT kept") {
			t.Errorf("%s:\n%s", name, b.String())
		}
	}
}

// What the peer cannot do does not cost the others their figures.
func TestReportSaysWhereThePeerBrokeOff(t *testing.T) {
	rep := Report{
		Options: Options{Plan: plan.Plan{Instances: 10, Apps: 2}, Rounds: 1, Changes: 2},
		Results: map[consumer.Backend]*Result{
			consumer.Weir:      result(consumer.Weir, 1e6),
			consumer.ZooKeeper: {Subject: consumer.ZooKeeper, Failed: "round 1: the registry goes on telling"},
		},
	}
	var b strings.Builder
	if err := rep.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ZooKeeper broke off in round 1: the registry goes on telling", "NotifyAll returned, p50 1 ms – –"} {
		if !strings.Contains(words(b.String()), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}

func TestOutageReport(t *testing.T) {
	rep := Report{
		Options: Options{Plan: plan.Plan{Instances: 10, Apps: 2}, Outage: true},
		Results: map[consumer.Backend]*Result{
			consumer.Weir:      {Outage: &Outage{Follows: 2e6}},
			consumer.ZooKeeper: {Outage: &Outage{Outage: consumer.Outage{EmptyApps: 2, EmptyMaxNS: 4e9}}},
		},
	}
	var b strings.Builder
	if err := rep.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"longest time a list was empty 0 ns 4 s – ∞", "written → NotifyAll 2 ms – –"} {
		if !strings.Contains(words(b.String()), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}

func TestUpgradeReport(t *testing.T) {
	upgraded := func(stay int64) *Result {
		u := &Upgrade{Took: time.Minute, Upgraded: consumer.Upgraded{
			Left: []int64{100 + stay, 200 - 50, 0, 0}, Fewest: 0.9, Outage: consumer.Outage{Calls: 4},
		}}
		u.Replaced = []kubernetes.Replaced{{Asked: 10, Told: 100}, {Asked: 20, Told: 200}, {}, {}}
		return &Result{Upgrade: u}
	}
	write := func(weir *Result) string {
		t.Helper()
		peer := upgraded(0)
		for i := range peer.Upgrade.Replaced {
			peer.Upgrade.Replaced[i].Told = 0
		}
		rep := Report{
			Options: Options{Plan: plan.Plan{Instances: 2, Apps: 1, Upgrade: true}, Upgrade: true, Rollout: kubernetes.Rollout{Unavailable: 1}},
			Results: map[consumer.Backend]*Result{consumer.Weir: weir, consumer.ZooKeeper: peer},
		}
		var b strings.Builder
		if err := rep.Write(&b); err != nil {
			t.Fatal(err)
		}
		return words(b.String())
	}
	kept := write(upgraded(40e6))
	for _, want := range []string{
		"after the EndpointSlice event, p50 0 ns – –", // one had left before
		"after the EndpointSlice event, p99 40 ms – –",
		"after its end was written, p50 130 ns 90 ns – 0.69×",
		"dead addresses listed at the end 0 0 –",
		"smallest list, of the whole, % 90 90 –",
		"NotifyAll calls 2 2 –",
		"took 60 s 60 s –",
		"kept (40 ms)",
	} {
		if !strings.Contains(kept, want) {
			t.Errorf("the report lacks %q:\n%s", want, kept)
		}
	}
	slow, lost, empty := upgraded(60e6), upgraded(0), upgraded(0)
	lost.Upgrade.Left[1] = 0
	empty.Upgrade.EmptyCalls = 1
	for name, r := range map[string]*Result{"slow": slow, "lost": lost, "empty": empty, "nothing seen": {Upgrade: &Upgrade{}}} {
		if got := write(r); !strings.Contains(got, "NOT kept") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// words takes the layout out of a text.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }
