package governance_test

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
)

var (
	inventory = governance.App{Namespace: "shop", Name: "inventory"}
	orders    = governance.App{Namespace: "shop", Name: "orders"}
)

func TestSeqWindowTakesEachOnce(t *testing.T) {
	t.Parallel()
	// Numbers that come roughly in order, some of them again.
	r := rand.New(rand.NewPCG(1, 2))
	var w governance.SeqWindow
	taken := map[int64]bool{}
	for n := int64(1); n < 3000; n++ {
		seq := max(1, n-r.Int64N(60))
		if w.Take(seq) == taken[seq] {
			t.Fatalf("%d: taken before: %t, and so it was answered", seq, taken[seq])
		}
		taken[seq] = true
	}
	for _, seq := range []int64{0, -1, w.High - 64, 1} {
		if w.Take(seq) {
			t.Errorf("took %d, with %d the highest", seq, w.High)
		}
	}
	if !w.Take(w.High+1000) || w.Take(w.High) || !w.Take(w.High-63) || w.Take(w.High-63) {
		t.Error("after a gap")
	}
}

func TestStepsAreUsualOnes(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]time.Duration{
		0: time.Second, time.Second: time.Second, 1500 * time.Millisecond: 2 * time.Second, 11 * time.Second: 20 * time.Second,
		time.Minute + 1: 2 * time.Minute, 9 * time.Hour: 12 * time.Hour, 1000 * time.Hour: 24 * time.Hour,
	} {
		if got := governance.Step(in); got != want {
			t.Errorf("Step(%s) = %s, want %s", in, got, want)
		}
	}
	from := time.Date(2026, 11, 20, 15, 0, 7, 5, time.UTC)
	q, err := governance.SeriesQuery{From: from, To: from.Add(time.Minute), Step: 10 * time.Second}.WithDefaults(from)
	if err != nil {
		t.Fatal(err)
	}
	if !q.From.Equal(from.Truncate(10*time.Second)) || !q.To.Equal(from.Truncate(10*time.Second).Add(70*time.Second)) {
		t.Errorf("rounded to %s – %s", q.From, q.To)
	}
}

func TestCanonicalPoliciesAreThoseOfAStore(t *testing.T) {
	t.Parallel()
	p := governance.Policy{
		Target: governance.Target{App: inventory, Command: "org.example.InventoryService.reserve"}, Expires: time.Now(),
		Rules: governance.Rules{Fallback: &governance.Fallback{Value: []byte("{ \"b\" : 1,\n\"a\": \"<\" }")}},
	}
	c, err := p.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Canonical()
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Fatalf("%+v, then %+v, %v", c, again, err)
	}
	if c.Name != "inventory.InventoryService.reserve" || c.Target.At != governance.Provider || c.Kind != governance.KindPolicy || c.Expires.Location() != time.UTC {
		t.Fatalf("%+v", c)
	}
	c.Fallback.Value[0] = 'x'
	if p.Fallback.Value[0] != '{' {
		t.Fatal("it shares memory with what it was made of")
	}
	p.Target.App, p.Target.From = governance.App{Namespace: "a b", Name: "c"}, []governance.App{{Namespace: "x", Name: strings.Repeat("y", 300)}}
	if _, err := p.Canonical(); governance.CodeOf(err) != governance.Invalid || !strings.Contains(err.Error(), "target.from") || !strings.Contains(err.Error(), "target.app") {
		t.Fatalf("not everything that is wrong is named: %v", err)
	}
}

func TestEnforcesIsForInstance(t *testing.T) {
	t.Parallel()
	i := governance.Instance{App: orders, Calls: []governance.App{inventory}}
	for name, c := range map[string]struct {
		target governance.Target
		want   bool
	}{
		"its own":                 {governance.Target{App: orders, At: governance.Provider}, true},
		"its own, side left out":  {governance.Target{App: orders}, true},
		"another's":               {governance.Target{App: inventory, At: governance.Provider}, false},
		"what it calls":           {governance.Target{App: inventory, At: governance.Caller}, true},
		"what it calls, by name":  {governance.Target{App: inventory, At: governance.Caller, From: []governance.App{orders}}, true},
		"what it calls, by other": {governance.Target{App: inventory, At: governance.Caller, From: []governance.App{inventory}}, false},
		"its own, for callers":    {governance.Target{App: orders, At: governance.Caller}, false},
	} {
		if got := i.Enforces(c.target); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
		set := governance.ForInstance([]governance.Version{{Policy: governance.Policy{Target: c.target}}}, i.App, i.Calls)
		if (len(set) == 1) != c.want {
			t.Errorf("%s: its set holds %d", name, len(set))
		}
	}
}

func TestExpectedVersions(t *testing.T) {
	t.Parallel()
	key := governance.Key{Namespace: "shop", Name: "x"}
	live, gone := &governance.Version{Version: 3, Actor: "user:a"}, &governance.Version{Version: 3, Deleted: true}
	for _, c := range []struct {
		head   *governance.Version
		expect int64
		ok     bool
	}{
		{nil, 0, true}, {nil, governance.AnyVersion, true}, {nil, 3, false},
		{live, 0, false}, {live, governance.AnyVersion, true}, {live, 3, true}, {live, 2, false},
		{gone, 0, true}, {gone, governance.AnyVersion, true}, {gone, 3, false},
	} {
		err := governance.CheckExpected(key, c.head, c.expect)
		var ge *governance.Error
		if (err == nil) != c.ok || err != nil && (!errors.As(err, &ge) || ge.Code != governance.Conflict || ge.Fix == "") {
			t.Errorf("%+v, expecting %d: %v", c.head, c.expect, err)
		}
	}
}

func TestWhatCountsComeTo(t *testing.T) {
	t.Parallel()
	c := governance.Counts{Success: 5, Failure: 2, Timeout: 1, Ignored: 1, Canceled: 1, Rejected: 1, ShortCircuited: 1, Switched: 3, Slow: 3}
	got := []float64{float64(c.Calls()), c.Rate(4 * time.Second), c.ErrorPercent(), c.RefusedPercent(), c.SlowPercent()}
	if want := []float64{15, 3.75, 30, 33.333, 30}; !slices.Equal(got, want) {
		t.Errorf("calls, rate, errors, refused, slow: %v, want %v", got, want)
	}
	none := governance.Counts{}
	if none.Rate(time.Second) != 0 || none.ErrorPercent() != 0 || none.RefusedPercent() != 0 || c.Rate(0) != 0 {
		t.Error("nothing comes to something")
	}
}
