package governancetest

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
)

func (w *world) instances(app governance.App) []governance.Instance {
	w.Helper()
	out, err := w.Store.Instances(w.Context(), app)
	w.must(err)
	return out
}

func (w *world) heard(app governance.App, id string) governance.Instance {
	return governance.Instance{App: app, ID: id, Name: id + "-pod", SDK: "go/1", Seen: w.Now()}
}

var fleetTests = map[string]func(*world){
	"CallsAreBounded": func(w *world) {
		for n := range 4 {
			a := w.heard(inventory, "a")
			for k := range governance.MaxCalls / 2 {
				a.Calls = append(a.Calls, governance.App{Namespace: "shop", Name: fmt.Sprintf("app-%d-%d", n, k)})
			}
			w.must(w.Store.PutInstances(w.Context(), a))
		}
		if got := w.instances(inventory); len(got) != 1 || len(got[0].Calls) > governance.MaxCalls || !slices.Contains(got[0].Calls, governance.App{Namespace: "shop", Name: "app-3-1"}) {
			w.Fatalf("it calls %d", len(got[0].Calls))
		}
	},
	"WhatInstancesLackIsKept": func(w *world) {
		a := w.heard(inventory, "a")
		a.Lacks = []string{"no stream, with a comma and \"quotes\"", "no env"}
		unmet := governance.Unmet{Policy: "shop/inventory.reserve", Version: 3, Reason: "no fallback"}
		a.Applied, a.AppliedAt = &governance.Applied{Version: 3, Hash: "sha256:3", Unmet: []governance.Unmet{unmet}}, w.Now()
		for range 2 { // what was said already is no event
			w.must(w.Store.PutInstances(w.Context(), a))
		}
		got := w.instances(inventory)[0]
		if !slices.Equal(got.Lacks, a.Lacks) || !reflect.DeepEqual(got.Applied.Unmet, a.Applied.Unmet) {
			w.Fatalf("it is %+v", got)
		}
		if e := w.events(governance.EventRefused); len(e) != 1 || e[0].Policy != unmet.Policy || e[0].Version != 3 || e[0].Reason != unmet.Reason {
			w.Fatalf("events are %+v", e)
		}
		a.Lacks, a.Applied = nil, &governance.Applied{Version: 3, Hash: "sha256:3"}
		w.must(w.Store.PutInstances(w.Context(), a))
		if got := w.instances(inventory)[0]; len(got.Lacks) != 0 || len(got.Applied.Unmet) != 0 {
			w.Fatalf("once it is mended, it is %+v", got)
		}
	},
	"InstancesComeAndGo": func(w *world) {
		a, b := w.heard(inventory, "b"), w.heard(inventory, "a")
		a.Calls = []governance.App{orders, inventory, orders}
		w.must(w.Store.PutInstances(w.Context(), a, b, w.heard(orders, "o")))
		w.must(w.Store.PutInstances(w.Context()))
		got := w.instances(inventory)
		if len(got) != 2 || got[0].ID != "a" || got[1].ID != "b" {
			w.Fatalf("inventory is %+v", got)
		}
		if i := got[1]; i.Name != "b-pod" || i.SDK != "go/1" || !i.Joined.Equal(w.Now()) || i.Applied != nil || !reflect.DeepEqual(i.Calls, []governance.App{inventory, orders}) {
			w.Fatalf("b is %+v", i)
		}
		if all := w.instances(governance.App{}); len(all) != 3 {
			w.Fatalf("all are %+v", all)
		}
		w.Advance(governance.InstanceGone - time.Second)
		joined := got[1].Joined
		w.must(w.Store.PutInstances(w.Context(), governance.Instance{App: inventory, ID: "b", Seen: w.Now()}))
		w.Advance(time.Second)
		got = w.instances(governance.App{})
		if len(got) != 1 || got[0].ID != "b" || got[0].Name != "b-pod" || !got[0].Joined.Equal(joined) || len(got[0].Calls) != 2 {
			w.Fatalf("after a while there are %+v", got)
		}
		for range 2 {
			w.must(w.Store.SweepInstances(w.Context()))
		}
		if left := w.events(governance.EventLeft); len(left) != 2 {
			w.Fatalf("left: %+v", left)
		}
		w.must(w.Store.PutInstances(w.Context(), w.heard(inventory, "a")))
		if n := len(w.events(governance.EventJoined)); n != 4 {
			w.Fatalf("%d joined, want 3 and one that came back", n)
		}
		if got := w.instances(inventory); len(got) != 2 || !got[0].Joined.Equal(w.Now()) {
			w.Fatalf("back is %+v", got)
		}
	},
	"WhatTheyApplyIsKept": func(w *world) {
		i := w.heard(inventory, "a")
		i.Applied, i.AppliedAt = &governance.Applied{Version: 3, Hash: "sha256:3"}, w.Now()
		w.must(w.Store.PutInstances(w.Context(), i))
		w.must(w.Store.PutInstances(w.Context(), w.heard(inventory, "a")))
		if got := w.instances(inventory)[0]; !reflect.DeepEqual(got.Applied, i.Applied) || !got.AppliedAt.Equal(i.AppliedAt) {
			w.Fatalf("applied %+v at %s", got.Applied, got.AppliedAt)
		}
		old := i
		old.Applied, old.AppliedAt = &governance.Applied{Version: 2, Hash: "sha256:2"}, w.Now().Add(-time.Second)
		w.must(w.Store.PutInstances(w.Context(), old))
		if got := w.instances(inventory)[0]; got.Applied.Version != 3 {
			w.Fatalf("an older word replaced a newer one: %+v", got.Applied)
		}
	},
	"WhoIsBesideOthersLeavesTheirWord": func(w *world) {
		say := func(sdk string, beside bool, at time.Duration, version int64, lacks ...string) governance.Instance {
			i := w.heard(inventory, "a")
			i.SDK, i.Beside, i.Lacks = sdk, beside, lacks
			i.Applied, i.AppliedAt = &governance.Applied{Version: version}, w.Now().Add(at)
			if beside {
				i.Calls = []governance.App{orders}
			}
			w.must(w.Store.PutInstances(w.Context(), i))
			got := w.instances(inventory)
			if len(got) != 1 || got[0].Beside {
				w.Fatalf("there are %+v", got)
			}
			return got[0]
		}
		check := func(what string, got governance.Instance, sdk string, version int64, lacks ...string) {
			w.Helper()
			if got.SDK != sdk || got.Applied.Version != version || !slices.Equal(got.Lacks, lacks) {
				w.Errorf("%s: %+v, %+v", what, got, got.Applied)
			}
		}
		check("alone", say("b", true, 0, 1), "b", 1)
		check("the same SDK, of an earlier time", say("b", false, -time.Minute, 2, "something"), "b", 1, "something")
		check("beside that", say("b", true, time.Second, 3), "b", 3, "something")
		check("another SDK, of an earlier time", say("c", false, -time.Minute, 4, "other"), "c", 4, "other")
		got := say("b", true, time.Minute, 5)
		check("beside that", got, "c", 4, "other")
		if !slices.Contains(got.Calls, orders) {
			w.Errorf("it calls %v", got.Calls)
		}
	},
	"WhoTellsOfItselfIsNotTalkedOver": func(w *world) {
		i := w.heard(inventory, "a")
		i.Applied, i.AppliedAt = &governance.Applied{Version: 3}, w.Now()
		w.must(w.Store.PutInstances(w.Context(), i))
		o := w.heard(inventory, "a")
		o.SDK, o.Outside, o.Lacks, o.Applied, o.AppliedAt = "dubbo-java", true, []string{"something"}, &governance.Applied{Version: 4}, w.Now().Add(time.Second)
		w.must(w.Store.PutInstances(w.Context(), o))
		if got := w.instances(inventory); len(got) != 1 || got[0].SDK != i.SDK || got[0].Applied.Version != 3 || len(got[0].Lacks) != 0 || got[0].Outside {
			w.Errorf("talked over: %+v", got)
		}
		// Once it is gone, who looks from outside is heard.
		w.Advance(2 * governance.InstanceGone)
		w.must(w.Store.SweepInstances(w.Context()))
		o.Seen = w.Now()
		w.must(w.Store.PutInstances(w.Context(), o))
		if got := w.instances(inventory); len(got) != 1 || got[0].SDK != o.SDK {
			w.Errorf("afterwards: %+v", got)
		}
	},
	"RefusalsAreEventsOnce": func(w *world) {
		i := w.heard(inventory, "a")
		refusal := &governance.Refusal{Version: 4, Hash: "sha256:4", Policy: "shop/x", Reason: "no such mode"}
		i.Applied = &governance.Applied{Version: 3, Hash: "sha256:3", Refused: refusal}
		for range 3 {
			w.Advance(time.Second)
			i.AppliedAt, i.Seen = w.Now(), w.Now()
			w.must(w.Store.PutInstances(w.Context(), i))
		}
		got := w.events(governance.EventRefused)
		if len(got) != 1 || got[0].Version != 4 || got[0].Policy != "shop/x" || got[0].Instance != "a" || got[0].Reason != refusal.Reason || got[0].App != inventory {
			w.Fatalf("events %+v", got)
		}
		if got := w.instances(inventory)[0]; !reflect.DeepEqual(got.Applied.Refused, refusal) {
			w.Fatalf("refused %+v", got.Applied.Refused)
		}
	},
	"ManyAtOnce": func(w *world) {
		const n = 200
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Go(func() {
				for j := range n / 4 {
					// Each is heard of by two control planes at once.
					for _, id := range []int{k, (k + 1) % 4} {
						i := w.heard(inventory, string(rune('a'+id))+"-"+time.Duration(j).String())
						i.Applied, i.AppliedAt = &governance.Applied{Version: int64(j)}, w.Now()
						if err := w.Store.PutInstances(w.Context(), i); err != nil {
							w.Error(err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		if got := w.instances(inventory); len(got) != n {
			w.Fatalf("%d instances, want %d", len(got), n)
		}
		joined, err := w.Store.Events(w.Context(), governance.EventQuery{Kinds: []string{governance.EventJoined}, Limit: 10 * n})
		w.must(err)
		if len(joined) != n {
			w.Fatalf("%d joined, want %d", len(joined), n)
		}
	},
	"ConfirmationsAreToldOnce": func(w *world) {
		v := w.put(switchOf("a"), 0)
		var wg sync.WaitGroup
		first := make(chan bool, 8)
		for range cap(first) {
			wg.Go(func() {
				ok, err := w.Store.Confirm(w.Context(), v, 24)
				if err != nil {
					w.Error(err)
				}
				first <- ok
			})
		}
		wg.Wait()
		close(first)
		n := 0
		for ok := range first {
			if ok {
				n++
			}
		}
		got := w.events(governance.EventConfirmed)
		if n != 1 || len(got) != 1 || got[0].Version != v.Version || got[0].Policy != v.Policy.Key().String() || got[0].Reason != "24 of 24 instances" {
			w.Fatalf("%d were first; events %+v", n, got)
		}
	},
	"FleetWatchersAreTold": func(w *world) {
		moved := w.watch(w.Store.WatchInstances)
		<-moved
		i := w.heard(inventory, "a")
		for n := range 3 {
			i.Applied, i.AppliedAt = &governance.Applied{Version: int64(n + 1)}, w.Now()
			w.must(w.Store.PutInstances(w.Context(), i))
			w.eventually("a watcher sees what is applied", moved, func() bool {
				return slices.ContainsFunc(w.instances(inventory), func(got governance.Instance) bool { return got.Applied != nil && got.Applied.Version == int64(n+1) })
			})
		}
	},
}
