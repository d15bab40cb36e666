package console_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/console"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

func (i *installation) overview(t *testing.T, who string) (o console.Overview) {
	t.Helper()
	i.get(t, who, "/api/v1/overview", &o)
	return o
}

func (i *installation) routeStatus(t *testing.T, who, query string) (l console.RouteStatusList) {
	t.Helper()
	i.get(t, who, "/api/v1/route-status"+query, &l)
	return l
}

// kinds are what needs attention, each once, sorted.
func kinds(o console.Overview) []string {
	var out []string
	for _, a := range o.Attention {
		out = append(out, a.Kind)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func attention(o console.Overview, kind string) console.Attention {
	at := slices.IndexFunc(o.Attention, func(a console.Attention) bool { return a.Kind == kind })
	if at < 0 {
		return console.Attention{}
	}
	return o.Attention[at]
}

var (
	shopA = governance.App{Namespace: "shop", Name: "a"}
	bankB = governance.App{Namespace: "bank", Name: "b"}
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// govern makes services under governance whose calls fail, and routes to them.
func (i *installation) govern(t *testing.T) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	why := governance.Change{Actor: "user:mei", Reason: "a test"}
	for _, p := range []governance.Policy{
		{Name: "quick", Kind: governance.KindSwitch, Target: governance.Target{App: bankB}, Rules: governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}}, Expires: now.Add(5 * time.Minute)},
		{Name: "slow", Target: governance.Target{App: shopA}, Rules: governance.Rules{Timeout: governance.Duration(time.Second)}},
	} {
		_, err := i.governance.Put(ctx, p, governance.AnyVersion, why)
		must(t, err)
	}
	must(t, i.governance.PutInstances(ctx, governance.Instance{
		App: shopA, ID: "1", SDK: "0.9", Seen: now,
		Applied: &governance.Applied{Version: 1, Hash: "x", Refused: &governance.Refusal{Version: 2, Hash: "y", Policy: "shop/slow", Reason: "it cannot be read"}}, AppliedAt: now,
	}))
	var took sketch.Sketch
	for range 40 {
		took.Add(20 * time.Millisecond)
	}
	latency, err := took.MarshalBinary()
	must(t, err)
	route := governance.Series{Command: "shop/a", At: governance.Caller, Peer: shopA}
	must(t, i.governance.Append(ctx, governance.Report{App: shopA, Instance: "1", Boot: "b", Seq: 2, Samples: []governance.Sample{{
		Series: governance.Series{Command: "GET /a", At: governance.Provider}, Second: now.Unix() - 3, State: governance.StateOpen,
		Counts: governance.Counts{Success: 30, Failure: 10, ShortCircuited: 10}, Latency: latency,
	}}}))
	must(t, i.governance.Append(ctx, governance.Report{App: gatewayApp, Instance: "g", Boot: "b", Seq: 1, Samples: []governance.Sample{
		{Series: route, Second: now.Unix() - 3, State: governance.StateClosed, Counts: governance.Counts{Success: 30, Failure: 10, ShortCircuited: 10}, Latency: latency},
	}, Transitions: []governance.Transition{{Series: route, Time: now.Add(-2 * time.Second), From: governance.StateClosed, To: governance.StateForcedOpen, Cause: "a switch"}}}))
	must(t, i.governance.PutInstances(ctx, governance.Instance{App: gatewayApp, ID: "g", Seen: now}))

	var writes []gateway.Write
	for name, app := range map[string]string{"a": "shop/a", "lost": "shop/nobody"} {
		writes = append(writes, gateway.Write{Route: gateway.Route{
			Namespace: "shop", Name: name, Match: gateway.Match{Path: "/" + name}, Upstream: gateway.Upstream{App: app},
		}, Expect: gateway.AnyRevision})
	}
	rev, err := i.gateways.Apply(ctx, writes, gateway.Change{Actor: "token:ci", Reason: "two at once"})
	must(t, err)
	must(t, i.gateways.SetNode(ctx, gateway.Node{Name: "h", Version: "1.2", Revision: rev}))
	app := registry.App{Namespace: "shop", Name: "a"}
	i.world.PutInstance(app, registry.Instance{ID: "i1", Name: "a-1", Host: memory.Address(1)})
	i.world.PutInstance(app, registry.Instance{ID: "i2", Name: "a-2", Host: memory.Address(2), Health: registry.NotReady})
}

func TestTheOverviewTellsWhatNeedsAttention(t *testing.T) {
	t.Parallel()
	i := install(t, testdb.New(t, schemas()...).Pool(), nil)
	i.fill(t)
	i.govern(t)
	o := i.overview(t, "all")
	want := []string{
		console.KindAppErrors, console.KindCircuitForced, console.KindCircuitOpen, console.KindInstanceHeld, console.KindRefusing, console.KindQuarantined,
		console.KindUpstreamUnknown, console.KindSwitchExpiring, console.KindNode, console.KindVersions,
	}
	slices.Sort(want)
	if got := kinds(o); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
		for _, a := range o.Attention {
			t.Log(a.Severity, a.Text, a.Link)
		}
	}
	if a := attention(o, console.KindCircuitForced); a.Link != "/routes/shop/a" || a.Params["route"] != "shop/a" || a.Since.IsZero() || a.Text != "The circuit of route shop/a is held open in 1 of 1 instance." {
		t.Errorf("%+v", a)
	}
	if a := attention(o, console.KindCircuitOpen); a.Severity != console.Critical || a.Link != "/apps/shop/a?at=provider&command=GET+%2Fa&tab=commands" {
		t.Errorf("%+v", a)
	}
	if a := attention(o, console.KindInstanceHeld); a.Severity != console.Info || a.Text != "1 of 2 instances of shop/a gets no calls: not ready." || a.Link != "/registry/shop/a" {
		t.Errorf("%+v", a)
	}
	if a := attention(o, console.KindRefusing); a.Text != "1 instance of shop/a refuses policy shop/slow: it cannot be read." {
		t.Errorf("%+v", a)
	}
	tot := o.Totals
	if tot.Apps != 3 || tot.Registered != 2 || tot.Instances != 4 || tot.Rate == nil || *tot.Rate <= 0.5 || *tot.Rate > 0.9 || *tot.ErrorPercent != 25 || *tot.OpenCircuits != 1 || tot.PulledSwitches != 1 || tot.Routes != 3 || tot.Gateways != 2 {
		t.Errorf("totals %+v", tot)
	}
	var says []string
	for _, c := range o.Changes {
		says = append(says, c.Actor+": "+c.Text+" "+c.Link)
	}
	slices.Sort(says)
	if got := strings.Join(says, "\n"); got != "test: route bank/r written, revision 1 /routes/bank/r\ntoken:ci: 2 routes written, revision 2 /routes\n"+
		"user:mei: policy shop/slow written, version 2 /policies/shop/slow\nuser:mei: switch bank/quick pulled /switches" {
		t.Errorf("changes\n%s", got)
	}

	// One who is bounded to a namespace sees the machinery, and of services theirs.
	o = i.overview(t, "shop")
	if got := kinds(o); slices.Contains(got, console.KindQuarantined) || slices.Contains(got, console.KindSwitchExpiring) || !slices.Contains(got, console.KindCircuitForced) || !slices.Contains(got, console.KindNode) {
		t.Errorf("of shop: %v", got)
	}
	if tot := o.Totals; tot.Apps != 1 || tot.Registered != 1 || tot.Instances != 2 || tot.PulledSwitches != 0 || tot.Routes != 2 || len(o.Changes) != 2 {
		t.Errorf("of shop: %+v, %+v", tot, o.Changes)
	}
}

func TestRouteStatus(t *testing.T) {
	t.Parallel()
	i := install(t, testdb.New(t, schemas()...).Pool(), nil)
	i.fill(t)
	i.govern(t)
	for _, query := range []string{"", "?window=5m"} {
		l := i.routeStatus(t, "all", query)
		if len(l.Items) != 3 || l.Gateways != 2 || len(l.Unknown) != 0 {
			t.Fatalf("%+v", l)
		}
		a := l.Items[1]
		if a.Route != "shop/a" || *a.Rate <= 0 || *a.ErrorPercent != 25 || *a.RefusedPercent != 20 || a.P50 == nil || *a.P50 < 19 || *a.P50 > 21 || a.States[governance.StateForcedOpen] != 1 || a.Gateways != 2 || a.Serving != 1 {
			t.Errorf("%s: %+v", query, a)
		}
		if u := a.Upstreams; len(u) != 1 || u[0].App != "shop/a" || !*u[0].Known || u[0].Instances != 2 || u[0].Callable != 1 || len(u[0].Held) != 1 || u[0].Held[0] != (registry.Held{Why: "not ready", Instances: 1}) {
			t.Errorf("upstreams %+v", u)
		}
		if bank := l.Items[0]; bank.Route != "bank/r" || len(bank.Upstreams) != 0 || len(bank.Quarantined) != 1 || bank.Quarantined[0].Gateway != "g" || bank.Serving != 1 || *bank.Rate != 0 || bank.P50 != nil {
			t.Errorf("%+v", bank)
		}
		if lost := l.Items[2]; *lost.Upstreams[0].Known || lost.Upstreams[0].Instances != 0 {
			t.Errorf("%+v", lost)
		}
	}
	if l := i.routeStatus(t, "shop", ""); len(l.Items) != 2 || l.Items[0].Route != "shop/a" {
		t.Errorf("of shop: %+v", l)
	}
	// Of an application in a namespace that they do not see they are told that it is there.
	_, err := i.gateways.Apply(t.Context(), []gateway.Write{{Route: gateway.Route{
		Namespace: "shop", Name: "out", Match: gateway.Match{Path: "/out"}, Upstream: gateway.Upstream{App: "bank/b"},
	}, Expect: gateway.AnyRevision}}, gateway.Change{Actor: "test", Reason: "test"})
	must(t, err)
	i.world.PutInstance(registry.App{Namespace: "bank", Name: "b"}, registry.Instance{ID: "i3", Name: "b-1", Host: memory.Address(3), Health: registry.NotReady})
	for who, instances := range map[string]int{"all": 1, "shop": 0} {
		var u console.RouteUpstream
		for u.Known == nil || !*u.Known || who == "all" && u.Instances != instances { // an answer is held for a moment
			must(t, t.Context().Err())
			for _, item := range i.routeStatus(t, who, "").Items {
				if item.Route == "shop/out" {
					u = item.Upstreams[0]
				}
			}
		}
		if u.Instances != instances || len(u.Held) != instances || u.Hidden != (who == "shop") {
			t.Errorf("%s is told %+v", who, u)
		}
	}
	// Nor are they told by what needs attention how it is.
	if a := attention(i.overview(t, "all"), console.KindUpstreamEmpty); a.Params["route"] != "shop/out" {
		t.Errorf("who sees both is told %+v", a)
	}
	if a := attention(i.overview(t, "shop"), console.KindUpstreamEmpty); a.Kind != "" {
		t.Errorf("shop is told %+v", a)
	}
	for _, bad := range []string{"9s", "61m", "x"} {
		if w := i.ask(t, "all", "/api/v1/route-status?window="+bad); w.Code != http.StatusBadRequest && w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
	// Whether there is an application is not known where there is no registry.
	i = install(t, testdb.New(t, schemas()...).Pool(), func(d *console.SystemDeps) { d.Registry = nil })
	i.govern(t)
	if l := i.routeStatus(t, "all", ""); len(l.Items) != 2 || l.Items[0].Upstreams[0].Known != nil {
		t.Errorf("%+v", l)
	}
}

// Who asks while somebody finds out waits for that, and who asks a moment later
// gets it too.
func TestManyPagesCostAsMuchAsOne(t *testing.T) {
	t.Parallel()
	i := install(t, testdb.New(t, schemas()...).Pool(), func(d *console.SystemDeps) { d.Fresh = time.Hour })
	i.fill(t)
	nows := make([]time.Time, 8)
	var all sync.WaitGroup
	for n := range nows {
		all.Go(func() { nows[n] = i.overview(t, []string{"all", "shop"}[n%2]).Now })
	}
	all.Wait()
	for _, now := range nows {
		if !now.Equal(nows[0]) {
			t.Errorf("found out again at %s", now)
		}
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the database was asked %d times", n)
	}
	if l := i.routeStatus(t, "all", ""); !l.Now.Equal(nows[0]) {
		t.Errorf("routes were found out again at %s", l.Now)
	}
}

// wantDatabaseAway reads the views of an installation whose database was there.
func (i *installation) wantDatabaseAway(t *testing.T) {
	t.Helper()
	o := i.overview(t, "all")
	if a := attention(o, console.KindDatabase); a.Severity != console.Critical || a.Since.IsZero() || o.Attention[0].Kind != console.KindDatabase {
		t.Errorf("attention %+v", o.Attention)
	}
	if slices.Contains(kinds(o), console.KindUnknown) || slices.Contains(kinds(o), console.KindGatewayNone) {
		t.Errorf("what is clear is said again: %+v", o.Attention)
	}
	if tot := o.Totals; tot.Instances != 3 || tot.Routes != 1 || tot.Gateways != 1 || tot.Rate != nil || tot.OpenCircuits != nil || len(o.Changes) != 1 {
		t.Errorf("what was known is lost, or numbers are old: %+v", o)
	}
	if l := i.routeStatus(t, "all", ""); len(l.Items) != 1 || l.Items[0].Rate != nil || len(l.Unknown) == 0 {
		t.Errorf("routes %+v", l)
	}
}

// wantNothingKnown reads the views of an installation that never heard its database.
func (i *installation) wantNothingKnown(t *testing.T) {
	t.Helper()
	o := i.overview(t, "all")
	if attention(o, console.KindDatabase).Kind == "" || len(o.Changes) != 0 || o.Totals.Routes != 0 || o.Totals.Rate != nil {
		t.Errorf("%+v", o)
	}
	if w := i.ask(t, "all", "/api/v1/route-status"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "the routes are not known yet") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A part that does not answer is said to be unknown, and the rest is told.
func TestASourceThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	i := install(t, testdb.New(t, schemas()[1:]...).Pool(), nil) // nobody has made the tables of the gateway yet
	i.behind = func([]governance.Instance) ([]governance.Instance, bool) { return nil, false }
	must(t, i.governance.PutInstances(t.Context(), governance.Instance{App: shopA, ID: "1", Seen: time.Now()}))
	must(t, i.governance.SetNode(t.Context(), node.Node{Name: "one", Version: "1.2"}))
	o := i.overview(t, "all")
	var what []string
	for _, a := range o.Attention {
		if a.Kind == console.KindUnknown {
			what = append(what, a.Params["what"])
		}
	}
	slices.Sort(what)
	if got := strings.Join(what, ", "); got != "changes of routes, gateways, routes, the routes' revision, what instances should enforce" {
		t.Errorf("unknown: %s", got)
	}
	if o.Totals.Instances != 1 || o.Totals.Rate == nil {
		t.Errorf("%+v", o.Totals)
	}

	offline := i.world.Join(memory.Config{Offline: true})
	t.Cleanup(offline.Close)
	i = install(t, testdb.New(t, schemas()...).Pool(), func(d *console.SystemDeps) { d.Registry, d.Patience = offline, time.Second })
	if a := attention(i.overview(t, "all"), console.KindRegistry); a.Severity != console.Warning || a.Link != "/registry" {
		t.Errorf("%+v", a)
	}
}
