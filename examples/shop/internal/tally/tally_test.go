package tally

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func TestCallsTellWhichFailedWhenWhyAndWhere(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	var observed []Outcome
	calls := NewCalls(c.now, func(o Outcome) { observed = append(observed, o) })

	done := calls.Begin()
	if n := calls.Stats().InFlight; n != 1 {
		t.Fatalf("%d in flight, want 1", n)
	}
	c.advance(20 * time.Millisecond)
	done(Outcome{Method: "reserve", Address: "10.0.0.1:20000", Instance: "inv-a"})

	done = calls.Begin()
	c.advance(2 * time.Second)
	done(Outcome{Method: "reserve", Address: "10.0.0.1:20000", Class: "timeout", Error: "no answer", Attempts: 2})

	s := calls.Stats()
	if s.OK != 1 || s.Failed != 1 || s.InFlight != 0 || s.Attempts != 3 || s.ByClass["timeout"] != 1 {
		t.Errorf("totals %+v", s)
	}
	if len(s.Failures) != 1 {
		t.Fatalf("failures %+v", s.Failures)
	}
	f := s.Failures[0]
	if f.Class != "timeout" || f.Error != "no answer" || f.Address != "10.0.0.1:20000" || f.Attempts != 2 || f.ElapsedMS != 2000 {
		t.Errorf("failure %+v", f)
	}
	// The failed call got no answer: its instance is known from an earlier one.
	if f.Instance != "inv-a" {
		t.Errorf("failure against instance %q, want inv-a", f.Instance)
	}
	if !f.Started.Equal(time.Unix(1000, 20e6)) || !f.Ended.Equal(time.Unix(1002, 20e6)) {
		t.Errorf("failure from %v to %v", f.Started, f.Ended)
	}
	if len(s.Peers) != 1 || s.Peers[0].OK != 1 || s.Peers[0].Failed != 1 || s.Peers[0].ByClass["timeout"] != 1 {
		t.Errorf("peers %+v", s.Peers)
	}
	if len(observed) != 2 {
		t.Errorf("%d outcomes observed", len(observed))
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
}

func TestCallsAreBounded(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	calls := NewCalls(c.now, nil)
	const n = keptFailures + 100
	for i := range n {
		done := calls.Begin()
		c.advance(time.Second)
		done(Outcome{Method: "m", Class: "other", Error: fmt.Sprint(i)})
	}
	s := calls.Stats()
	if s.Failed != n || s.Dropped != n-keptFailures || len(s.Failures) != keptFailures || len(s.Seconds) != keptSeconds {
		t.Errorf("failed %d, dropped %d, kept %d failures and %d seconds", s.Failed, s.Dropped, len(s.Failures), len(s.Seconds))
	}
	if got := s.Failures[0].Error; got != fmt.Sprint(n-keptFailures) {
		t.Errorf("oldest kept failure is %s", got)
	}
	if !slices.IsSortedFunc(s.Seconds, func(a, b Second) int { return a.Second.Compare(b.Second) }) {
		t.Error("seconds are not in order")
	}
}

func TestRateLeavesTheSecondUnderWayOut(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	calls := NewCalls(c.now, nil)
	for range 3 { // 20 in each of three full seconds, then 5 in the fourth
		for range 20 {
			calls.Begin()(Outcome{Method: "m"})
		}
		c.advance(time.Second)
	}
	for range 5 {
		calls.Begin()(Outcome{Method: "m"})
	}
	if r := calls.Stats().Rate(c.now(), 3); r != 20 {
		t.Errorf("rate %v, want 20", r)
	}
	if r := calls.Stats().Rate(c.now(), 6); r != 10 {
		t.Errorf("rate over six seconds %v, want 10", r)
	}
}

func TestCallsStayConsistentUnderConcurrency(t *testing.T) {
	calls := NewCalls(time.Now, nil)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				done := calls.Begin()
				o := Outcome{Method: "m", Address: fmt.Sprint("a", g%3)}
				if i%5 == 0 {
					o.Class = "other"
				}
				done(o)
				calls.Stats()
			}
		})
	}
	wg.Wait()
	s := calls.Stats()
	var ok, failed int64
	for _, p := range s.Peers {
		ok, failed = ok+p.OK, failed+p.Failed
	}
	if s.OK != 3200 || s.Failed != 800 || ok != s.OK || failed != s.Failed || s.InFlight != 0 {
		t.Errorf("ok %d, failed %d; by peer %d and %d; %d in flight", s.OK, s.Failed, ok, failed, s.InFlight)
	}
}

func TestProvidersKeepHowTheListCameToBe(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	p := NewProviders(c.now)
	p.Set("i", []string{"b", "a", "a"})
	c.advance(time.Second)
	p.Set("i", []string{"a", "b"}) // no change
	c.advance(time.Second)
	p.Set("i", []string{"c", "b"})
	c.advance(time.Second)
	p.Set("i", nil)

	l := p.Lists()["i"]
	if l.Changed != 3 || len(l.Changes) != 3 || l.TimesEmpty != 1 || len(l.Current) != 0 {
		t.Fatalf("list %+v", l)
	}
	if got := strings.Join(l.Changes[0].Providers, " "); got != "a b" {
		t.Errorf("first list %q", got)
	}
	second := l.Changes[1]
	if !slices.Equal(second.Added, []string{"c"}) || !slices.Equal(second.Removed, []string{"a"}) || !second.Time.Equal(time.Unix(1002, 0)) {
		t.Errorf("second change %+v", second)
	}
	if !l.Since.Equal(time.Unix(1003, 0)) {
		t.Errorf("since %v", l.Since)
	}
}

func TestProvidersAreBounded(t *testing.T) {
	p := NewProviders(time.Now)
	for i := range keptChanges + 10 {
		p.Set("i", []string{fmt.Sprint(i)})
	}
	l := p.Lists()["i"]
	if len(l.Changes) != keptChanges || l.Changed != keptChanges+10 {
		t.Errorf("kept %d of %d changes", len(l.Changes), l.Changed)
	}
}
