package governancetest

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

var reserve = governance.Series{Command: "InventoryService.reserve", At: governance.Provider}

func (w *world) sample(ago time.Duration, c governance.Counts, lat []byte) governance.Sample {
	return governance.Sample{Series: reserve, Second: w.Now().Add(-ago).Unix(), Counts: c, Latency: lat, InFlight: 3, State: governance.StateClosed}
}

func (w *world) report(instance string, seq int64, samples ...governance.Sample) governance.Report {
	return governance.Report{Wire: 1, App: inventory, Instance: instance, Boot: "boot-1", Seq: seq, Sent: w.Now(), Samples: samples}
}

func (w *world) append(reports ...governance.Report) {
	w.Helper()
	for _, r := range reports {
		w.must(w.Store.Append(w.Context(), r))
	}
}

func (w *world) series(q governance.SeriesQuery) governance.SeriesResult {
	w.Helper()
	if q.App == (governance.App{}) {
		q.App, q.Series = inventory, reserve
	}
	out, err := w.Store.Series(w.Context(), q)
	w.must(err)
	return out
}

func total(points []governance.Point) (c governance.Counts) {
	for _, p := range points {
		c = c.Add(p.Counts)
	}
	return c
}

// both runs a check on what was only appended, and again once it is settled.
func (w *world) both(check func(when string)) {
	w.Helper()
	check("fresh")
	w.Advance(3 * time.Minute)
	for range 2 {
		w.settle()
		check("settled")
	}
}

var historyTests = map[string]func(*world){
	"SecondsOfOneInstance": func(w *world) {
		begin := w.Now().Add(-30 * time.Second)
		w.append(
			w.report("a", 1, w.sample(30*time.Second, governance.Counts{Success: 5, Slow: 1}, latency(time.Millisecond, 2*time.Millisecond)), w.sample(28*time.Second, governance.Counts{Timeout: 2}, nil)),
			w.report("b", 1, w.sample(30*time.Second, governance.Counts{Failure: 9}, nil)),
		)
		w.both(func(when string) {
			got := w.series(governance.SeriesQuery{App: inventory, Series: reserve, Instance: "a", From: begin, To: begin.Add(time.Minute), Step: time.Second})
			if time.Duration(got.Step) != time.Second || len(got.Points) != 2 {
				w.Fatalf("%s: %+v", when, got)
			}
			p := got.Points[0]
			if !p.Time.Equal(begin) || p.Counts != (governance.Counts{Success: 5, Slow: 1}) || p.InFlight != 3 || p.Instances != 1 || p.States[governance.StateClosed] != 1 || p.Latency == nil || p.Latency.Max != governance.Duration(2*time.Millisecond) {
				w.Fatalf("%s: %+v", when, p)
			}
			if p := got.Points[1]; !p.Time.Equal(begin.Add(2*time.Second)) || p.Counts != (governance.Counts{Timeout: 2}) || p.Latency != nil {
				w.Fatalf("%s: %+v", when, p)
			}
		})
	},
	"InstancesAreMerged": func(w *world) {
		begin := w.Now().Add(-2 * time.Minute)
		var all sketch.Sketch
		want := governance.Counts{}
		for n := range 10 {
			for s := range 60 {
				d := time.Duration(n*n+1) * time.Millisecond
				all.Add(d)
				c := governance.Counts{Success: int64(n), Rejected: 1}
				want = want.Add(c)
				w.append(w.report(fmt.Sprint("i", n), int64(s+1), w.sample(2*time.Minute-time.Duration(s)*time.Second, c, latency(d))))
			}
		}
		w.both(func(when string) {
			for _, step := range []time.Duration{10 * time.Second, time.Minute} {
				got := w.series(governance.SeriesQuery{From: begin, To: begin.Add(time.Minute), Step: step})
				if time.Duration(got.Step) != step || len(got.Points) != int(time.Minute/step) || total(got.Points) != want {
					w.Fatalf("%s, by %s: %d points by %s, %+v; want %+v", when, step, len(got.Points), got.Step, total(got.Points), want)
				}
				for _, p := range got.Points {
					if p.Instances != 10 || p.InFlight != 30 || p.States[governance.StateClosed] != 10 || p.Lossy {
						w.Fatalf("%s, by %s: %+v", when, step, p)
					}
					// Each point has the same spread of latencies as the whole.
					if p.Latency.P99 != governance.Duration(all.Quantile(0.99)) || p.Latency.P50 != governance.Duration(all.Quantile(0.5)) || p.Latency.Max != governance.Duration(all.Max()) {
						w.Fatalf("%s, by %s: latency %+v, want that of all values merged", when, step, p.Latency)
					}
				}
			}
		})
	},
	"ARepeatedReportCountsOnce": func(w *world) {
		one := w.report("a", 7, w.sample(20*time.Second, governance.Counts{Success: 1}, latency(time.Millisecond)))
		one.Transitions = []governance.Transition{{Series: reserve, Time: w.Now(), From: governance.StateClosed, To: governance.StateOpen, Cause: "62 % failed"}}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := w.Store.Append(w.Context(), one); err != nil {
					w.Error(err)
				}
			})
		}
		wg.Wait()
		earlier := w.report("a", 5, w.sample(21*time.Second, governance.Counts{Success: 1}, nil))
		w.append(earlier, one, earlier)
		other := one
		other.Boot = "boot-2"
		w.append(other, other)
		begin := w.Now().Add(-time.Minute)
		w.both(func(when string) {
			w.append(one) // also when it is long stored
			if got := total(w.series(governance.SeriesQuery{From: begin, To: begin.Add(time.Minute), Step: time.Second}).Points); got.Success != 3 {
				w.Fatalf("%s: %d calls counted, want 1 of each of three reports", when, got.Success)
			}
		})
		if got := w.events(governance.EventTransition); len(got) != 2 {
			w.Fatalf("%d transitions, want one of each process", len(got))
		}
	},
	"LateOnesJoin": func(w *world) {
		begin := w.Now().Add(-time.Minute)
		w.append(w.report("a", 1, w.sample(30*time.Second, governance.Counts{Success: 1}, latency(time.Millisecond))))
		w.Advance(3 * time.Minute)
		w.settle()
		late := 3*time.Minute + 30*time.Second
		w.append(
			w.report("a", 2, w.sample(late, governance.Counts{Success: 2}, latency(3*time.Millisecond))),
			w.report("b", 1, w.sample(late, governance.Counts{Success: 4}, latency(2*time.Millisecond))),
		)
		w.both(func(when string) {
			for _, step := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
				got := w.series(governance.SeriesQuery{From: begin, To: begin.Add(time.Minute), Step: step})
				if len(got.Points) != 1 || got.Points[0].Counts.Success != 7 || got.Points[0].Latency.Max != governance.Duration(3*time.Millisecond) {
					w.Fatalf("%s, by %s: %+v", when, step, got.Points)
				}
				// Until it is settled, what was settled before counts its own instances.
				if n := got.Points[0].Instances; n != 2 {
					w.Fatalf("%s, by %s: %d instances", when, step, n)
				}
			}
		})
	},
	"GapsAreGaps": func(w *world) {
		begin := w.Now().Add(-10 * time.Minute)
		w.append(w.report("a", 1, w.sample(10*time.Minute, governance.Counts{Success: 1}, nil), w.sample(time.Minute, governance.Counts{Success: 1}, nil)))
		end := w.Now()
		w.both(func(when string) {
			got := w.series(governance.SeriesQuery{From: begin, To: end, Step: 10 * time.Second})
			if len(got.Points) != 2 || !got.Points[0].Time.Equal(begin) || !got.Points[1].Time.Equal(begin.Add(9*time.Minute)) {
				w.Fatalf("%s: %+v", when, got.Points)
			}
		})
	},
	"TheStepIsChosen": func(w *world) {
		end := w.Now()
		for _, c := range []struct{ over, want time.Duration }{
			{5 * time.Minute, time.Second}, {time.Hour, 10 * time.Second}, {6 * time.Hour, time.Minute}, {24 * time.Hour, 5 * time.Minute},
		} {
			got := w.series(governance.SeriesQuery{App: inventory, Series: reserve, From: end.Add(-c.over), To: end})
			if time.Duration(got.Step) != c.want {
				w.Fatalf("over %s the step is %s, want %s", c.over, got.Step, c.want)
			}
		}
		for what, q := range map[string]governance.SeriesQuery{
			"backwards":       {App: inventory, From: end, To: end.Add(-time.Second)},
			"negative":        {App: inventory, Step: -1},
			"too many points": {App: inventory, Series: reserve, Instance: "a", From: end.Add(-24 * time.Hour), To: end, Step: time.Second},
		} {
			_, err := w.Store.Series(w.Context(), q)
			w.wantCode(what, err, governance.Invalid)
		}
	},
	"AppsAndCommandsAreListed": func(w *world) {
		caller := governance.Series{Command: "InventoryService.reserve", At: governance.Caller, Peer: inventory}
		s := w.sample(20*time.Second, governance.Counts{Success: 1}, nil)
		s.Series = caller
		r := w.report("o", 1, s)
		r.App = orders
		w.append(r, w.report("a", 1, w.sample(20*time.Second, governance.Counts{Success: 1}, nil)))
		begin, end := w.Now().Add(-time.Minute), w.Now()
		w.both(func(when string) {
			apps, err := w.Store.Apps(w.Context(), begin, end)
			w.must(err)
			if !slices.Equal(apps, []governance.App{inventory, orders}) {
				w.Fatalf("%s: %v", when, apps)
			}
			got, err := w.Store.Commands(w.Context(), orders, begin, end)
			w.must(err)
			if !slices.Equal(got, []governance.Series{caller}) {
				w.Fatalf("%s: %v", when, got)
			}
			if apps, err := w.Store.Apps(w.Context(), begin.Add(-time.Hour), begin); err != nil || len(apps) != 0 {
				w.Fatalf("%s, before: %v, %v", when, apps, err)
			}
			if got, err := w.Store.Commands(w.Context(), orders, begin.Add(-time.Hour), begin); err != nil || len(got) != 0 {
				w.Fatalf("%s, before: %v, %v", when, got, err)
			}
		})
	},
	"EventsAreKeptExactly": func(w *world) {
		tr := governance.Transition{
			Series: reserve, Time: w.Now().Add(-time.Second).Add(1234 * time.Microsecond), From: governance.StateClosed, To: governance.StateOpen,
			Cause: "62 % of 34 calls failed in 10 s, 50 % allowed", Window: governance.Counts{Success: 13, Failure: 21}, Policy: "shop/p", Version: 9,
		}
		r := w.report("a", 1)
		r.Transitions = []governance.Transition{tr}
		w.append(r)
		w.must(w.Store.Record(w.Context(), governance.Event{Time: w.Now(), Kind: governance.EventRefused, App: orders, Instance: "o", Version: 3, Reason: "no"}))
		w.must(w.Store.Record(w.Context()))
		got := w.events()
		if len(got) != 2 || got[0].Kind != governance.EventRefused || got[0].App != orders || got[1].ID == got[0].ID {
			w.Fatalf("events %+v", got)
		}
		if e := got[1]; e.Kind != governance.EventTransition || !reflect.DeepEqual(*e.Transition, tr) || !e.Time.Equal(tr.Time) || e.App != inventory || e.Instance != "a" || e.Command != reserve.Command || e.Policy != "shop/p" || e.Version != 9 {
			w.Fatalf("event %+v", e)
		}
		for what, c := range map[string]struct {
			q    governance.EventQuery
			want int
		}{
			"app":       {governance.EventQuery{App: inventory}, 1},
			"namespace": {governance.EventQuery{Namespaces: []string{"bank"}}, 0},
			"instance":  {governance.EventQuery{Instance: "o"}, 1},
			"command":   {governance.EventQuery{Command: reserve.Command}, 1},
			"kind":      {governance.EventQuery{Kinds: []string{governance.EventTransition, governance.EventJoined}}, 1},
			"limit":     {governance.EventQuery{Limit: 1}, 1},
			"before":    {governance.EventQuery{From: w.Now().Add(-time.Hour), To: w.Now().Add(-2 * time.Second)}, 0},
		} {
			out, err := w.Store.Events(w.Context(), c.q)
			w.must(err)
			if len(out) != c.want {
				w.Fatalf("%s: %+v", what, out)
			}
		}
	},
	"ManyAppendAtOnce": func(w *world) {
		const instances, each = 20, 20
		begin := w.Now().Add(-time.Minute)
		var wg sync.WaitGroup
		for n := range instances {
			wg.Go(func() {
				for s := range each {
					r := w.report(fmt.Sprint("i", n), int64(s+1), w.sample(time.Minute-time.Duration(s)*time.Second, governance.Counts{Success: 1}, latency(time.Millisecond)))
					if err := w.Store.Append(w.Context(), r); err != nil {
						w.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		w.both(func(when string) {
			if got := total(w.series(governance.SeriesQuery{From: begin, To: begin.Add(time.Minute), Step: time.Second}).Points); got.Success != instances*each {
				w.Fatalf("%s: %d of %d calls", when, got.Success, instances*each)
			}
		})
	},
}
