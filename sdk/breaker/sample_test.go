package breaker

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

func TestSecondsAreReturnedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, governance.Rules{})
		c := s.Circuit(reserve)
		other := s.Circuit(governance.Series{Command: "other", At: governance.Caller, Peer: orders})
		first := time.Now().Unix()
		var calls []*Call
		for range 3 {
			call, err := c.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, call)
		}
		pass(100 * time.Millisecond)
		calls[0].End(Success)
		calls[1].End(Failure)
		run(t, other, 1, nil)
		if got := s.Collect(time.Now()); got != nil {
			t.Errorf("%+v before the second is over", got)
		}
		pass(900 * time.Millisecond)
		calls[2].End(Canceled)
		got := s.Collect(time.Now())
		if len(got) != 2 || got[0].Series != reserve || got[1].Series != other.Series() {
			t.Fatalf("%+v", got)
		}
		one := got[0]
		if one.Second != first || one.Counts != (governance.Counts{Success: 1, Failure: 1}) || one.InFlight != 3 || one.State != governance.StateClosed {
			t.Errorf("%+v", one)
		}
		var latency sketch.Sketch
		if err := latency.UnmarshalBinary(one.Latency); err != nil || latency.Count() != 2 || latency.Max() != 100*time.Millisecond {
			t.Errorf("latency: %v, %d values up to %s", err, latency.Count(), latency.Max())
		}
		if got := s.Collect(time.Now()); got != nil {
			t.Errorf("%+v again", got)
		}
		pass(3 * time.Second)
		got = s.Collect(time.Now())
		if len(got) != 1 || got[0].Second != first+1 || got[0].Counts != (governance.Counts{Canceled: 1}) {
			t.Errorf("%+v", got)
		}
	})
}

// Refused calls have no latency.
func TestRefusedCallsHaveNoLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, governance.Rules{})
		apply(t, s, pulled(1, time.Time{}, nil))
		run(t, s.Circuit(reserve), 2, nil)
		pass(time.Second)
		got := s.Collect(time.Now())
		if len(got) != 1 || got[0].Latency != nil || got[0].State != governance.StateForcedOpen || got[0].Counts != (governance.Counts{Switched: 2}) {
			t.Errorf("%+v", got)
		}
	})
}

func TestWhatNobodyCollectsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet(t, governance.Rules{})
		c := s.Circuit(reserve)
		for range 2 * maxSeconds {
			run(t, c, 1, nil)
			pass(time.Second)
		}
		got := s.Collect(time.Now())
		if len(got) != maxSeconds || s.Dropped() != maxSeconds {
			t.Fatalf("%d seconds, %d dropped", len(got), s.Dropped())
		}
		for i, one := range got {
			if one.Second != time.Now().Unix()-int64(maxSeconds-i) || one.Counts.Success != 1 || len(one.Latency) == 0 {
				t.Errorf("%+v", one)
			}
		}
	})
}

// A wall clock that is set back or forth loses nothing, and time goes on from
// where it is.
func TestTheWallClockIsSet(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	s := NewSet(Config{App: inventory, Now: func() time.Time { return at }})
	defer s.Close()
	c := s.Circuit(reserve)
	sum := governance.Counts{}
	for _, step := range []time.Duration{time.Second, time.Hour, -2 * time.Hour, time.Second, time.Second, time.Second} {
		run(t, c, 1, nil)
		at = at.Add(step)
		for _, one := range s.Collect(at) {
			sum = sum.Add(one.Counts)
			if one.Second == at.Unix() {
				t.Errorf("second %d is not over", one.Second)
			}
		}
	}
	if sum.Success < 5 {
		t.Errorf("%d calls were counted", sum.Success)
	}
	at = at.Add(3 * time.Second)
	if sum = sum.Add(total(s, at)); sum.Success != 6 {
		t.Errorf("%d calls were counted at last", sum.Success)
	}
}

// Everything at once, for the race detector and for exact counts.
func TestCountsAreExactUnderLoad(t *testing.T) {
	s, _ := newSet(t, governance.Rules{Bulkhead: &governance.Bulkhead{Concurrent: 3}, Breaker: &governance.Breaker{MinCalls: 5, OpenFor: 1, Probes: 2}})
	c := s.Circuit(reserve)
	var made, refused, most, running atomic.Int64
	var wg, rest sync.WaitGroup
	stop := make(chan struct{})
	var sum governance.Counts
	latencies := sketch.Sketch{}
	collect := func(now time.Time) {
		for _, one := range s.Collect(now) {
			sum = sum.Add(one.Counts)
			if one.Latency != nil {
				if err := latencies.MergeBinary(one.Latency); err != nil {
					t.Error(err)
				}
			}
		}
	}
	rest.Go(func() {
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			apply(t, s, version(n, governance.Policy{Name: "w", Rules: settings(governance.Breaker{
				Window: governance.Duration(time.Duration(1+n%9) * time.Second),
				Mode:   []governance.Mode{governance.ModeAuto, governance.ModeForcedOpen, governance.ModeForcedClosed, governance.ModeDisabled}[n%4],
			}), Expires: time.Now().Add(time.Millisecond)}))
			s.Status()
			collect(time.Now())
		}
	})
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 3000 {
				_, err := Do(t.Context(), c, func(context.Context) (int, error) {
					made.Add(1)
					n := running.Add(1)
					defer running.Add(-1)
					for {
						if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
							break
						}
					}
					if r.IntN(3) == 0 {
						return 0, errBroken
					}
					return 1, nil
				})
				if err != nil && err != errBroken { //nolint:errorlint // the very error
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	rest.Wait()
	collect(time.Now().Add(2 * time.Second))
	if sum.Ran() != made.Load() || sum.Refused() != refused.Load() || sum.Ran()+sum.Refused() != 8*3000 || latencies.Count() != made.Load() {
		t.Errorf("%+v: %d ran and %d refused, %d latencies; made %d, refused %d", sum, sum.Ran(), sum.Refused(), latencies.Count(), made.Load(), refused.Load())
	}
	if most.Load() > 3 {
		t.Errorf("%d calls at once", most.Load())
	}
	if st := c.Status(); st.InFlight != 0 {
		t.Errorf("%d in flight at the end", st.InFlight)
	}
}
