package api_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
)

var ledger = governance.App{Namespace: "bank", Name: "ledger"}

// busyMesh lets inventory serve orders, of two instances each, and the ledger of
// another namespace; orders calls pricing too, which tells of nothing.
func busyMesh(k *control) (inv, ord []*inst) {
	k.t.Helper()
	pricing := governance.App{Namespace: "shop", Name: "pricing"}
	tell := func(app governance.App, id string, of ...governance.Series) *inst {
		i := k.instance(app, id)
		k.want(202, i.report(func(r *governance.Report) {
			for ago := 5; ago < 35; ago++ {
				for _, sr := range of {
					s := sample(time.Duration(ago) * time.Second)
					s.Series = sr
					r.Samples = append(r.Samples, s)
				}
			}
		}))
		return i
	}
	for _, id := range []string{"a", "b"} {
		inv = append(inv, tell(inventory, "inv-"+id, governance.Series{Command: reserve, At: governance.Provider}))
		ord = append(ord, tell(orders, "ord-"+id,
			governance.Series{Command: reserve, At: governance.Caller, Peer: inventory},
			governance.Series{Command: "PricingService.quote", At: governance.Caller, Peer: pricing}))
	}
	tell(ledger, "l", governance.Series{Command: "LedgerService.post", At: governance.Provider}, governance.Series{Command: reserve, At: governance.Caller, Peer: inventory})
	return inv, ord
}

func openCircuit(sr governance.Series, to governance.State) func(*governance.Report) {
	return func(r *governance.Report) {
		r.Transitions = []governance.Transition{{Series: sr, Time: time.Now().UTC(), From: governance.StateClosed, To: to, Cause: "INC-1"}}
	}
}

func TestHealthIsOfWhatAnApplicationServes(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	inv, ord := busyMesh(k)
	idle := governance.Series{Command: "InventoryService.count", At: governance.Provider}
	k.want(202, inv[0].report(openCircuit(idle, governance.StateForcedOpen)))
	k.want(202, ord[1].report(openCircuit(governance.Series{Command: reserve, At: governance.Caller, Peer: inventory}, governance.StateOpen)))

	var got api.Health
	k.want(200, k.do(http.MethodGet, "/api/v1/health", "viewer", nil)).into(t, &got)
	if len(got.Items) != 3 || got.Items[0].App != ledger || got.Items[1].App != inventory || got.Items[2].App != orders {
		t.Fatalf("%+v", got.Items)
	}
	// 30 seconds of two instances with 5 calls each, of which one failed.
	h, over := got.Items[1], time.Duration(got.Window).Seconds()
	if calls := h.Rate * over; calls < 299 || calls > 301 {
		t.Fatalf("%v calls a second over %v s", h.Rate, over)
	}
	if h.Side != "provider" || h.ErrorPercent != 20 || h.Live != 2 || h.Behind != 2 || h.Commands != 2 || h.Forced != 1 || h.Open != 0 || h.P50Ms == nil || *h.P50Ms < 2.9 || *h.P50Ms > 3.1 || h.Seen.IsZero() {
		t.Fatalf("%+v", h)
	}
	if h := got.Items[2]; h.Side != "caller" || h.Commands != 2 || h.Open != 1 || h.Forced != 0 || h.ErrorPercent != 20 {
		t.Fatalf("%+v", h)
	}
	if h := got.Items[0]; h.Side != "both" || h.Commands != 1 {
		t.Fatalf("%+v", h)
	}
	k.want(200, k.do(http.MethodGet, "/api/v1/health?window=5m", "bank", nil)).into(t, &got)
	if len(got.Items) != 1 || got.Items[0].App != ledger {
		t.Fatalf("one who is bound to bank sees %+v", got.Items)
	}
	for _, window := range []string{"1s", "2h"} {
		k.want(400, k.do(http.MethodGet, "/api/v1/health?window="+window, "viewer", nil))
	}
}

func TestCommandsEdgesAndTopologyOfARange(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{})
	inv, _ := busyMesh(k)
	k.want(202, inv[0].report(openCircuit(governance.Series{Command: "InventoryService.count", At: governance.Provider}, governance.StateForcedOpen)))
	var commands struct{ Items []api.CommandTotal }
	k.want(200, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/commands?from=-5m", "viewer", nil)).into(t, &commands)
	if len(commands.Items) != 2 {
		t.Fatalf("%+v", commands)
	}
	if c := commands.Items[0]; c.Calls != 0 || c.States[governance.StateForcedOpen] != 1 || !c.Last.IsZero() || c.P50Ms != nil {
		t.Fatalf("the idle one: %+v", c)
	}
	if c := commands.Items[1]; c.Calls != 300 || c.Counts.Failure != 60 || c.Instances != 2 || c.InFlight != 4 || c.States[governance.StateClosed] != 2 || c.ErrorPercent != 20 || c.MaxMs == nil || *c.MaxMs != 3 {
		t.Fatalf("%+v", c)
	}
	k.want(200, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/commands?from=-5m&byInstance=true", "viewer", nil)).into(t, &commands)
	if len(commands.Items) != 3 || commands.Items[1].Instance != "inv-a" || commands.Items[1].Calls != 150 {
		t.Fatalf("by instance: %+v", commands.Items)
	}
	k.want(403, k.do(http.MethodGet, "/api/v1/apps/shop/inventory/commands", "bank", nil))

	var top struct {
		Nodes []api.AppHealth
		Edges []api.Edge
	}
	k.want(200, k.do(http.MethodGet, "/api/v1/topology?from=-5m", "viewer", nil)).into(t, &top)
	if len(top.Nodes) != 4 || len(top.Edges) != 3 || top.Nodes[3].Side != "unseen" || top.Nodes[3].App.Name != "pricing" || top.Nodes[1].Live != 2 {
		t.Fatalf("%+v", top)
	}
	if e := top.Edges[1]; e.From != orders || e.To != inventory || e.Calls != 300 || e.Commands != 1 || e.States[governance.StateClosed] != 2 || e.ErrorPercent != 20 {
		t.Fatalf("%+v", e)
	}
	k.want(200, k.do(http.MethodGet, "/api/v1/topology", "bank", nil)).into(t, &top)
	if len(top.Nodes) != 2 || top.Nodes[0].App != ledger || top.Nodes[1].App != inventory || top.Nodes[1].Side != "unseen" || len(top.Edges) != 1 {
		t.Fatalf("one who is bound to bank sees %+v", top)
	}
	k.want(200, k.do(http.MethodGet, "/api/v1/topology?from=-3h&to=-2h", "viewer", nil)).into(t, &top)
	if len(top.Nodes) != 0 || len(top.Edges) != 0 {
		t.Fatalf("before it began: %+v", top)
	}
	var edges struct{ Items []api.Edge }
	k.want(200, k.do(http.MethodGet, "/api/v1/edges?from=-5m", "viewer", nil)).into(t, &edges)
	if len(edges.Items) != 3 || edges.Items[0].From != ledger {
		t.Fatalf("%+v", edges)
	}
}

// What came in of the last seconds is part neither of the counts nor of the time.
func TestRatesAreOfTheTimeThatTheyAreDividedBy(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	clock := func() time.Time { return now }
	store := memory.New(memory.Options{Now: clock})
	k := start(t, api.Config{Store: store, Now: clock})
	report := governance.Report{App: inventory, Instance: "a", Boot: "b", Seq: 1}
	for ago := range 100 {
		s := sample(0)
		s.Second = now.Unix() - int64(ago)
		report.Samples = append(report.Samples, s) // 5 calls in each second
	}
	if err := store.Append(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	var health api.Health
	k.want(200, k.do(http.MethodGet, "/api/v1/health?window=30s", "viewer", nil)).into(t, &health)
	if len(health.Items) != 1 || health.Items[0].Rate != 5 {
		t.Errorf("health: %+v, want 5 calls per second", health.Items)
	}
	var topology struct{ Nodes []api.AppHealth }
	k.want(200, k.do(http.MethodGet, "/api/v1/topology?from="+now.Add(-time.Minute).UTC().Format(time.RFC3339), "viewer", nil)).into(t, &topology)
	if len(topology.Nodes) != 1 || topology.Nodes[0].Rate != 5 {
		t.Errorf("topology: %+v, want 5 calls per second", topology.Nodes)
	}
}

// Two commands that had their most calls under way at different times did not have
// them at once. The list and the live stream tell of the same second.
func TestCallsAreUnderWayInOneSecond(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	clock := func() time.Time { return now }
	store := memory.New(memory.Options{Now: clock})
	k := start(t, api.Config{Store: store, Now: clock, LiveTick: liveTick})
	report := governance.Report{App: inventory, Instance: "a", Boot: "b", Seq: 1}
	in := func(ago int64, command string, calls int) {
		s := sample(0)
		s.Series = governance.Series{Command: command, At: governance.Provider}
		s.Second, s.InFlight = now.Unix()-ago, calls
		report.Samples = append(report.Samples, s)
	}
	in(30, reserve, 50)
	in(3, reserve, 2)
	in(20, "InventoryService.count", 40)
	in(3, "InventoryService.count", 3)
	in(25, "InventoryService.find", 60) // and none since
	in(1, reserve, 90)                  // not whole yet
	if err := store.Append(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	var health api.Health
	k.want(200, k.do(http.MethodGet, "/api/v1/health", "viewer", nil)).into(t, &health)
	if len(health.Items) != 1 || health.Items[0].InFlight != 5 {
		t.Errorf("health: %+v, want 5 calls under way", health.Items)
	}
	var topology struct{ Nodes []api.AppHealth }
	k.want(200, k.do(http.MethodGet, "/api/v1/topology?from=-5m", "viewer", nil)).into(t, &topology)
	if len(topology.Nodes) != 1 || topology.Nodes[0].InFlight != 5 {
		t.Errorf("topology: %+v, want 5 calls under way", topology.Nodes)
	}
	if live := read[api.LiveHealth](k.watch("", "viewer", ""), "health"); len(live.Items) != 1 || live.Items[0].InFlight != 5 {
		t.Errorf("live: %+v, want 5 calls under way", live.Items)
	}
}

// cutShort is a store that holds more than one question reads.
type cutShort struct{ *memory.Store }

func (s cutShort) Totals(ctx context.Context, q governance.TotalsQuery) (governance.Totals, error) {
	all, err := s.Store.Totals(ctx, q)
	all.Cut = true
	return all, err
}

func TestAnswersThatAreCutSaySo(t *testing.T) {
	t.Parallel()
	whole, cut := start(t, api.Config{}), start(t, api.Config{Store: cutShort{memory.New(memory.Options{})}})
	for _, path := range []string{"/api/v1/health", "/api/v1/topology", "/api/v1/edges", "/api/v1/apps/shop/inventory/commands"} {
		for k, want := range map[*control]bool{whole: false, cut: true} {
			var got struct{ Cut bool }
			if k.want(200, k.do(http.MethodGet, path, "viewer", nil)).into(t, &got); got.Cut != want {
				t.Errorf("%s is cut: %v, want %v", path, got.Cut, want)
			}
		}
	}
}
