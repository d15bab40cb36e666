package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/governancetest"
	"github.com/weirmesh/weir/governance/memory"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/internal/access"
)

// TestAReportThatWasOvertakenCountsNothing: one that was held up on its way, or is
// replayed, does not take back what its instance said since.
func TestAReportThatWasOvertakenCountsNothing(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	i := k.instance(inventory, "a").open()
	first := i.next()
	i.ack(first)
	v := k.put(timeout(inventory, "", time.Second))
	i.ack(i.until(v.Version))
	for range 2 {
		i.seq = 0 // as the very first
		i.ack(first)
	}
	var c api.Confirmation
	k.want(200, k.do(http.MethodGet, "/api/v1/policies/shop/inventory.all/status", "viewer", nil)).into(t, &c)
	if c.Confirmed != 1 || c.Live != 1 {
		t.Fatalf("%+v", c)
	}
	// A process that was started anew counts from one again.
	k.want(202, i.report(func(r *governance.Report) {
		r.Boot, r.Seq = "again", 1
		r.Applied = &governance.Applied{Version: first.Version, Hash: first.Hash}
	}))
	k.want(200, k.do(http.MethodGet, "/api/v1/policies/shop/inventory.all/status", "viewer", nil)).into(t, &c)
	if c.Pending != 1 {
		t.Fatalf("%+v", c)
	}
}

// TestOnePodTakesNoPlacesOfOthers bounds what one pod holds open.
func TestOnePodTakesNoPlacesOfOthers(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	var first *inst
	for n := range api.MaxOwnStreams {
		i := k.instance(governance.App{Namespace: "shop", Name: fmt.Sprint("app", n)}, "greedy").open()
		if n == 0 {
			first = i
		}
	}
	greedy := k.instance(inventory, "greedy")
	res := k.want(429, k.do(http.MethodGet, greedy.query(), greedy.token, nil), "16 streams")
	if res.header.Get("Retry-After") == "" {
		t.Error("it is not told when to come again")
	}
	k.instance(inventory, "modest").open().next()
	first.close()
	k.until("a place is free again", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.srv.URL+greedy.query(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+greedy.token)
		resp, err := k.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})

	// Reports, too, however slowly they come.
	enter := api.NewPlaces(2 * api.MaxOwnReports)
	pod := func(uid string) context.Context {
		return access.With(t.Context(), access.Principal{Kind: access.KindInstance, Instance: &access.Instance{Namespace: "shop", PodUID: uid}})
	}
	leave := make([]func(), api.MaxOwnReports)
	for n := range leave {
		var err error
		if leave[n], err = enter(pod("greedy")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := enter(pod("greedy")); err == nil || !strings.Contains(err.Error(), "this pod") {
		t.Errorf("one too many: %v", err)
	}
	if _, err := enter(pod("modest")); err != nil {
		t.Errorf("another pod: %v", err)
	}
	leave[0]()
	if _, err := enter(pod("greedy")); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestHostileReportsAreRefused(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	var s sketch.Sketch
	s.Add(time.Second)
	for range 40 {
		data, err := s.MarshalBinary()
		if err == nil {
			err = s.MergeBinary(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	many, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	i := k.instance(inventory, "a")
	calls := func(from int) (out []governance.App) {
		for n := range governance.MaxCalls {
			out = append(out, governance.App{Namespace: "shop", Name: fmt.Sprint("app", from+n)})
		}
		return out
	}
	k.want(202, i.report(func(r *governance.Report) { r.Calls = calls(0) }))
	for says, change := range map[string]func(*governance.Report){
		"calls do not end in one second": func(r *governance.Report) {
			one := sample(time.Second)
			one.Latency = many
			r.Samples = []governance.Sample{one}
		},
		"body.calls":   func(r *governance.Report) { r.Calls = calls(7) },
		"body.dropped": func(r *governance.Report) { r.Dropped = map[string]int64{strings.Repeat("x", 1000): 1} },
	} {
		k.want(400, i.report(change), says)
	}
	// Words of programs are kept as one line, without what moves a terminal.
	k.want(202, i.report(func(r *governance.Report) {
		r.Transitions = []governance.Transition{{
			Series: governance.Series{Command: reserve, At: governance.Provider}, Time: time.Now(), From: governance.StateClosed, To: governance.StateOpen,
			Cause: "62 %\x1b[2J\nfailed\x00",
		}}
	}))
	var events struct{ Items []governance.Event }
	k.want(200, k.do(http.MethodGet, "/api/v1/events?kind=transition", "viewer", nil)).into(t, &events)
	if len(events.Items) != 1 || events.Items[0].Transition.Cause != "62 % [2J failed " {
		t.Fatalf("%+v", events.Items)
	}
}

// TestASwitchReplacesOnlyItself: names are made of targets, and two may be made alike.
func TestASwitchReplacesOnlyItself(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	k.want(200, k.do(http.MethodPost, "/api/v1/switches", "operator", pull("GET /cart/{id}")))
	k.want(200, k.do(http.MethodPost, "/api/v1/switches", "operator", pull("GET /cart/{id}")))
	k.want(409, k.do(http.MethodPost, "/api/v1/switches", "operator", pull("GET /cart/id")), "shop/inventory GET /cart/{id}", "a name of its own")
	other := pull("GET /cart/id")
	other.Name = "cart"
	k.want(200, k.do(http.MethodPost, "/api/v1/switches", "operator", other))
	v := k.put(timeout(inventory, reserve, time.Second))
	other.Name = v.Policy.Name
	k.want(409, k.do(http.MethodPost, "/api/v1/switches", "operator", other), "is a policy")
	k.want(200, k.do(http.MethodGet, "/api/v1/policies/"+v.Policy.Key().String(), "viewer", nil))
}

func TestWhatHasExpiredIsNotRolledBackTo(t *testing.T) {
	t.Parallel()
	p := timeout(inventory, "", time.Second)
	clock := governancetest.NewClock()
	late := start(t, api.Config{Store: memory.New(memory.Options{Now: clock.Now}), Now: clock.Now})
	p.Expires = clock.Now().Add(time.Minute)
	short := late.put(p)
	clock.Advance(2 * time.Minute)
	late.want(422, late.do(http.MethodPost, fmt.Sprintf("/api/v1/policies/%s/rollback?to=%d", short.Policy.Key(), short.Version), "operator", nil),
		"ended at", "another expires")
}

// TestOthersEventsTakeNoRoom: the limit is of those that the reader may see.
func TestOthersEventsTakeNoRoom(t *testing.T) {
	t.Parallel()
	store := memory.New(memory.Options{})
	k := start(t, api.Config{Store: store})
	for n := range 5 {
		app := governance.App{Namespace: "shop", Name: "inventory"}
		if n == 0 {
			app.Namespace = "bank"
		}
		if err := store.Record(t.Context(), governance.Event{Time: time.Now().Add(time.Duration(n-10) * time.Second), Kind: governance.EventJoined, App: app, Instance: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	var events struct{ Items []governance.Event }
	k.want(200, k.do(http.MethodGet, "/api/v1/events?limit=2", "bank", nil)).into(t, &events)
	if len(events.Items) != 1 || events.Items[0].App.Namespace != "bank" {
		t.Fatalf("bank sees %+v", events.Items)
	}
}
