package governancetest

import (
	"bytes"
	"fmt"
	"reflect"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

func (w *world) totals(q governance.TotalsQuery) []governance.Total {
	w.Helper()
	out, err := w.Store.Totals(w.Context(), q)
	w.must(err)
	if out.Cut {
		w.Fatal("what is little is cut")
	}
	return out.Items
}

// live lets instances of inventory be known as living.
func (w *world) live(ids ...string) {
	w.Helper()
	for _, id := range ids {
		w.must(w.Store.PutInstances(w.Context(), governance.Instance{App: inventory, ID: id, Seen: w.Now()}))
	}
}

// moved is a report of one transition.
func (w *world) moved(instance string, seq int64, ago time.Duration, from, to governance.State) governance.Report {
	r := w.report(instance, seq)
	r.Transitions = []governance.Transition{{Series: reserve, Time: w.Now().Add(-ago), From: from, To: to, Cause: "a switch"}}
	return r
}

var totalTests = map[string]func(*world){
	"TotalsAreOfTheWholeRange": func(w *world) {
		var all sketch.Sketch
		want := governance.Counts{}
		begin := w.Now().Add(-4 * time.Minute)
		for n := range 3 {
			for s := range 200 {
				d := time.Duration(n+1) * time.Millisecond
				c := governance.Counts{Success: 1, Failure: int64(n)}
				// 7 s to 207 s after begin: over the ends of minutes and of tens.
				ago := 4*time.Minute - time.Duration(s+7)*time.Second
				w.append(w.report(fmt.Sprint("i", n), int64(s+1), w.sample(ago, c, latency(d))))
				if s+7 >= 30 && s+7 < 150 {
					want = want.Add(c)
					all.Add(d)
				}
			}
		}
		enc, err := all.MarshalBinary()
		w.must(err)
		w.both(func(when string) {
			q := governance.TotalsQuery{From: begin.Add(30 * time.Second), To: begin.Add(150 * time.Second)}
			got := w.totals(q)
			if len(got) != 1 {
				w.Fatalf("%s: %+v", when, got)
			}
			g := got[0]
			if g.App != inventory || g.Series != reserve || g.Instance != "" || g.Counts != want || g.InFlight != 9 || g.LastInFlight != 9 || g.Instances != 3 || g.Lossy ||
				!reflect.DeepEqual(g.States, map[governance.State]int{governance.StateClosed: 3}) || !bytes.Equal(g.Latency, enc) {
				w.Fatalf("%s: %+v, want %+v", when, g, want)
			}
			if late := q.To.Sub(g.Last); late <= 0 || late > time.Minute {
				w.Fatalf("%s: the newest sample is of %s", when, g.Last)
			}
			q.ByInstance = true
			got = w.totals(q)
			if len(got) != 3 || got[2].Instance != "i2" || got[2].Counts != (governance.Counts{Success: 120, Failure: 240}) || got[2].Instances != 1 || got[2].InFlight != 3 || got[2].LastInFlight != 3 {
				w.Fatalf("%s, by instance: %+v", when, got)
			}
			if got := w.totals(governance.TotalsQuery{From: begin.Add(-time.Minute), To: begin}); len(got) != 0 {
				w.Fatalf("%s, before: %+v", when, got)
			}
			// The range is rounded outwards to tens.
			got = w.totals(governance.TotalsQuery{From: begin.Add(33 * time.Second), To: begin.Add(141 * time.Second)})
			if len(got) != 1 || got[0].Counts != want {
				w.Fatalf("%s, within: %+v", when, got)
			}
		})
		_, err = w.Store.Totals(w.Context(), governance.TotalsQuery{From: begin, To: begin.Add(-time.Second)})
		w.wantCode("backwards", err, governance.Invalid)
	},
	"TotalsAreNarrowed": func(w *world) {
		s := w.sample(20*time.Second, governance.Counts{Success: 1}, nil)
		s.Series = governance.Series{Command: "ledger.post", At: governance.Caller, Peer: inventory}
		bank := w.report("l", 1, s)
		bank.App = governance.App{Namespace: "bank", Name: "ledger"}
		w.append(bank, w.report("a", 1, w.sample(20*time.Second, governance.Counts{Success: 2}, nil)))
		begin, end := w.Now().Add(-time.Minute), w.Now()
		w.both(func(when string) {
			for what, c := range map[string]struct {
				q    governance.TotalsQuery
				want []governance.App
			}{
				"all":       {governance.TotalsQuery{}, []governance.App{bank.App, inventory}},
				"app":       {governance.TotalsQuery{App: inventory}, []governance.App{inventory}},
				"namespace": {governance.TotalsQuery{Namespaces: []string{"bank"}}, []governance.App{bank.App}},
				"neither":   {governance.TotalsQuery{App: inventory, Namespaces: []string{"bank"}}, nil},
			} {
				for _, each := range []bool{false, true} {
					c.q.From, c.q.To, c.q.ByInstance = begin, end, each
					var got []governance.App
					for _, t := range w.totals(c.q) {
						got = append(got, t.App)
					}
					if !reflect.DeepEqual(got, c.want) {
						w.Fatalf("%s, %s, by instance %v: %v", when, what, each, got)
					}
				}
			}
		})
	},
	"AnIdleCircuitIsInTheStateOfItsLastTransition": func(w *world) {
		w.live("a", "b", "c")
		w.append(
			w.report("a", 1, w.sample(10*time.Minute, governance.Counts{Success: 1}, nil)),
			w.moved("a", 2, 5*time.Minute, governance.StateClosed, governance.StateForcedOpen),
			w.moved("b", 1, 4*time.Minute, governance.StateForcedOpen, governance.StateClosed),
			w.moved("b", 2, 5*time.Minute, governance.StateClosed, governance.StateForcedOpen), // late
			w.moved("c", 1, 5*time.Minute, governance.StateClosed, governance.StateForcedOpen),
			w.moved("gone", 1, 5*time.Minute, governance.StateClosed, governance.StateForcedOpen),
		)
		minute := func() []governance.Total { return w.totals(governance.TotalsQuery{From: w.Now().Add(-time.Minute)}) }
		w.both(func(when string) {
			w.live("a", "b", "c")
			got := minute()
			if len(got) != 1 || got[0].Counts != (governance.Counts{}) || !got[0].Last.IsZero() ||
				!reflect.DeepEqual(got[0].States, map[governance.State]int{governance.StateForcedOpen: 2, governance.StateClosed: 1}) {
				w.Fatalf("%s: %+v", when, got)
			}
			if got := w.totals(governance.TotalsQuery{From: w.Now().Add(-time.Minute), ByInstance: true}); len(got) != 2 || got[0].Instance != "a" || got[1].Instance != "c" {
				w.Fatalf("%s, by instance: %+v", when, got)
			}
			// Of a range that is over, only what was counted is told.
			if got := w.totals(governance.TotalsQuery{From: w.Now().Add(-3 * time.Minute), To: w.Now().Add(-2 * time.Minute)}); len(got) != 0 {
				w.Fatalf("%s, over: %+v", when, got)
			}
		})
		// Calls that it refuses do not hide the state, nor does one that follows it.
		refused := w.sample(5*time.Second, governance.Counts{Switched: 3}, nil)
		refused.State = governance.StateForcedOpen
		w.append(w.report("a", 3, refused))
		w.live("a", "b", "c")
		if got := minute(); len(got) != 1 || got[0].Counts.Switched != 3 || got[0].States[governance.StateForcedOpen] != 2 || got[0].States[governance.StateClosed] != 1 {
			w.Fatalf("%+v", got)
		}
		// The process that begins anew has none; one that leaves takes it along.
		w.append(func() governance.Report { r := w.report("c", 1); r.Boot = "boot-2"; return r }())
		if got := minute(); len(got) != 1 || got[0].States[governance.StateForcedOpen] != 1 {
			w.Fatalf("after a restart: %+v", got)
		}
		w.Advance(time.Minute)
		w.live("b")
		w.must(w.Store.SweepInstances(w.Context()))
		if got := w.totals(governance.TotalsQuery{From: w.Now().Add(-2 * time.Minute)}); len(got) != 1 || got[0].States[governance.StateForcedOpen] != 0 {
			w.Fatalf("after they left: %+v", got)
		}
		if got := minute(); len(got) != 0 {
			w.Fatalf("after they left: %+v", got)
		}
	},
}
