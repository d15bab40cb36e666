package governancetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
)

var tailTests = map[string]func(*world){
	"ReportsAreFollowedEachOnce": func(w *world) {
		one := w.sample(20*time.Second, governance.Counts{Success: 1}, latency(time.Millisecond))
		w.append(w.report("a", 1, one), w.report("b", 1, one))
		other := w.report("o", 1, w.sample(40*time.Second, governance.Counts{Success: 5}, nil))
		other.App = orders
		w.append(other)
		calls := func(q governance.RecentQuery) (n int64, seen governance.Seen) {
			seen, err := w.Store.RecentSamples(w.Context(), q, func(s governance.Staged) {
				for _, sample := range s.Samples {
					n += sample.Counts.Success
				}
			})
			w.must(err)
			return n, seen
		}
		from := w.Now().Add(-time.Minute)
		var seen governance.Seen
		w.both(func(when string) {
			for what, c := range map[string]struct {
				q    governance.RecentQuery
				want int64
			}{
				"all": {governance.RecentQuery{From: from}, 7}, "app": {governance.RecentQuery{App: inventory, From: from}, 2},
				"instance": {governance.RecentQuery{App: inventory, Instance: "b", From: from}, 1},
				"later":    {governance.RecentQuery{From: from.Add(30 * time.Second)}, 2},
			} {
				n, s := calls(c.q)
				if n != c.want {
					w.Fatalf("%s, %s: %d calls, want %d", when, what, n, c.want)
				}
				seen = s
			}
			if more, err := w.Store.ReportsAfter(w.Context(), seen, 10); err != nil || len(more) != 0 {
				w.Fatalf("%s: %+v, %v", when, more, err)
			}
		})
		w.append(w.report("a", 2, w.sample(time.Second, governance.Counts{Success: 3}, nil)), w.report("a", 3, w.sample(0, governance.Counts{Success: 4}, nil)))
		w.append(w.report("a", 3, w.sample(0, governance.Counts{Success: 4}, nil))) // again
		for _, want := range []int64{3, 4} {
			got, err := w.Store.ReportsAfter(w.Context(), seen, 1)
			w.must(err)
			if len(got) != 1 || got[0].App != inventory || got[0].Instance != "a" || len(got[0].Samples) != 1 || got[0].Samples[0].Counts.Success != want {
				w.Fatalf("%+v", got)
			}
			seen.Add(got[0].ID)
		}
		if got, err := w.Store.ReportsAfter(w.Context(), seen, 10); err != nil || len(got) != 0 {
			w.Fatalf("%+v, %v", got, err)
		}
	},
	"EventsAreFollowedEachOnce": func(w *world) {
		record := func(app governance.App, n int) {
			w.must(w.Store.Record(w.Context(), governance.Event{Time: w.Now().Add(-time.Duration(n) * time.Hour), Kind: governance.EventRefused, App: app, Instance: fmt.Sprint(n)}))
		}
		record(inventory, 0)
		seen, err := w.Store.EventsNow(w.Context())
		w.must(err)
		for n := 1; n <= 6; n++ { // each said to have happened before the last
			record([]governance.App{orders, {Namespace: "bank", Name: "ledger"}}[n%2], n)
		}
		follow := func(seen *governance.Seen, namespaces ...string) (out []string) {
			for {
				got, err := w.Store.EventsAfter(w.Context(), *seen, namespaces, 2)
				w.must(err)
				for _, e := range got {
					out = append(out, e.Instance)
					seen.Add(e.ID)
				}
				if len(got) < 2 {
					return out
				}
			}
		}
		all, bank := seen.Clone(), seen.Clone()
		if got := follow(&all); !slices.Equal(got, []string{"1", "2", "3", "4", "5", "6"}) {
			w.Fatalf("%v", got)
		}
		if got := follow(&all); len(got) != 0 {
			w.Fatalf("told again: %v", got)
		}
		if got := follow(&bank, "bank"); !slices.Equal(got, []string{"1", "3", "5"}) {
			w.Fatalf("of one namespace: %v", got)
		}
		if got := follow(&bank); !slices.Equal(got, []string{"2", "4", "6"}) {
			w.Fatalf("what is missing between: %v", got)
		}
	},
}
