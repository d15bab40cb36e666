//go:build linux

package discovery

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"strings"
	"testing"

	"github.com/weirmesh/weir/test/bench/consumer"
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
		"-outage -kubeconfig x", "now",
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
	lost.Changes = append(lost.Changes, Change{Asked: 1, Settled: consumer.Settled{Arrived: 5}})
	rep := Report{
		Options: Options{Plan: plan.Plan{Instances: 10, Apps: 2}, Rounds: 1, Changes: 2},
		Results: map[consumer.Backend]*Result{consumer.Weir: result(consumer.Weir, 1e6, 2e6), consumer.ZooKeeper: lost},
	}
	if got := lost.of(fromEvent).Len(); got != 2 {
		t.Errorf("%d latencies of two changes that came and one that did not", got)
	}
	if got := lost.missed(); got != 1 {
		t.Errorf("%g changes missed, want 1", got)
	}
	if got := (*Result)(nil).missed(); !math.IsNaN(got) {
		t.Errorf("nothing missed %g changes", got)
	}
	var b strings.Builder
	if err := rep.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"watch event read → NotifyAll returned, p50 1 ms 8 ms – 8×",
		"heap per instance 100 B 100 B –",
		"changes that never came 0 1 –",
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

// words takes the layout out of a text.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }
