package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/routetable"
	"github.com/weirmesh/weir/registry"
)

var (
	at = time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)
	a  = governance.App{Namespace: "shop", Name: "a"}
	gw = governance.App{Namespace: "weir-system", Name: "gateway"}
)

// says are a rule's words, each with its kind and severity, sorted.
func says(list []Attention) string {
	var out []string
	for _, x := range list {
		if x.Link == "" || x.Params == nil {
			out = append(out, "nothing to follow:")
		}
		out = append(out, x.Severity+" "+x.Kind+" "+x.Text)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// ruleCase is what a rule is held against.
type ruleCase struct {
	facts facts
	rule  func(*facts) []Attention
	want  string
}

func check(t *testing.T, cases map[string]ruleCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.facts.time, c.facts.gateway = at, gw
			if got := says(c.rule(&c.facts)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func counted(totals ...governance.Total) *numbers { return &numbers{over: time.Minute, totals: totals} }

func states(app governance.App, at governance.At, command string, states map[governance.State]int) governance.Total {
	return governance.Total{App: app, Series: governance.Series{Command: command, At: at}, States: states}
}

func TestRulesOfCircuits(t *testing.T) {
	t.Parallel()
	rule := (*facts).circuitsOpen
	check(t, map[string]ruleCase{
		"closed": {facts{numbers: counted(states(a, governance.Provider, "c", map[governance.State]int{governance.StateClosed: 3, governance.StateDisabled: 1}))}, rule, ""},
		"open in one of two": {facts{numbers: counted(states(a, governance.Provider, "c", map[governance.State]int{governance.StateClosed: 1, governance.StateOpen: 1}))}, rule,
			"warning circuit.open The circuit of c of shop/a is open in 1 of 2 instances."},
		"open or half open in all": {facts{numbers: counted(states(a, governance.Provider, "c", map[governance.State]int{governance.StateHalfOpen: 1, governance.StateOpen: 1}))}, rule,
			"critical circuit.open The circuit of c of shop/a is open in 2 of 2 instances."},
		"held open and held closed": {facts{numbers: counted(states(a, governance.Caller, "c", map[governance.State]int{governance.StateForcedOpen: 1, governance.StateForcedClosed: 2}))}, rule,
			"info circuit.forced The circuit of c of shop/a is held closed in 2 of 3 instances.\ninfo circuit.forced The circuit of c of shop/a is held open in 1 of 3 instances."},
		"nothing is known": {facts{}, rule, ""},
	})
	f := facts{
		numbers: counted(states(a, governance.Provider, "c", map[governance.State]int{governance.StateOpen: 2})),
		circuits: []governance.Circuit{
			{App: a, Instance: "1", Series: governance.Series{Command: "c", At: governance.Provider}, State: governance.StateOpen, Time: at.Add(-time.Minute), Live: true},
			{App: a, Instance: "2", Series: governance.Series{Command: "c", At: governance.Provider}, State: governance.StateHalfOpen, Time: at.Add(-time.Hour), Live: true},
			{App: a, Instance: "3", Series: governance.Series{Command: "c", At: governance.Provider}, State: governance.StateOpen, Time: at.Add(-2 * time.Hour)},
			{App: a, Instance: "4", Series: governance.Series{Command: "d", At: governance.Provider}, State: governance.StateOpen, Time: at.Add(-2 * time.Hour), Live: true},
		},
	}
	if got := f.circuitsOpen(); len(got) != 1 || !got[0].Since.Equal(at.Add(-time.Hour)) {
		t.Errorf("%+v", got)
	}
}

func TestRulesOfFailingApplications(t *testing.T) {
	t.Parallel()
	rule := (*facts).appsFailing
	calls := func(at governance.At, c governance.Counts) governance.Total {
		return governance.Total{App: a, Series: governance.Series{Command: "c", At: at}, Counts: c}
	}
	served := func(c governance.Counts) facts { return facts{numbers: counted(calls(governance.Provider, c))} }
	check(t, map[string]ruleCase{
		"too few calls":    {served(governance.Counts{Failure: 19}), rule, ""},
		"enough":           {served(governance.Counts{Timeout: 20}), rule, "critical app.errors Of 20 calls of shop/a in the last minute, 100.0 % failed."},
		"below a warning":  {served(governance.Counts{Success: 951, Failure: 49}), rule, ""},
		"a warning":        {served(governance.Counts{Success: 95, Failure: 5}), rule, "warning app.errors Of 100 calls of shop/a in the last minute, 5.0 % failed."},
		"not critical yet": {served(governance.Counts{Success: 751, Failure: 249}), rule, "warning app.errors Of 1000 calls of shop/a in the last minute, 24.9 % failed."},
		"critical":         {served(governance.Counts{Success: 75, Failure: 25}), rule, "critical app.errors Of 100 calls of shop/a in the last minute, 25.0 % failed."},
		"refused are none": {served(governance.Counts{Success: 100, ShortCircuited: 500, Ignored: 50}), rule, ""},
		"slow":             {served(governance.Counts{Success: 100, Slow: 20}), rule, "warning app.slow Of 100 calls of shop/a in the last minute, 20.0 % were slow."},
		"not slow":         {served(governance.Counts{Success: 1000, Slow: 199}), rule, ""},
		"nothing is known": {facts{}, rule, ""},
		"a caller that serves none": {facts{numbers: counted(calls(governance.Caller, governance.Counts{Failure: 20}))}, rule,
			"critical app.errors Of 20 calls of shop/a in the last minute, 100.0 % failed."},
		"what it calls fails, and it does not": {facts{numbers: counted(calls(governance.Caller, governance.Counts{Failure: 20}), calls(governance.Provider, governance.Counts{Success: 20}))}, rule, ""},
	})
}

func TestRulesOfHeldInstances(t *testing.T) {
	t.Parallel()
	rule := (*facts).instancesHeld
	of := func(s registry.Summary) facts {
		return facts{apps: map[registry.App]registered{{Namespace: "shop", Name: "a"}: {Summary: s}}}
	}
	check(t, map[string]ruleCase{
		"all are called":  {of(registry.Summary{Instances: 2, Callable: 2}), rule, ""},
		"none are there":  {of(registry.Summary{}), rule, ""},
		"some are going":  {of(registry.Summary{Instances: 3, Callable: 1, Held: []registry.Held{{Why: "draining", Instances: 1}, {Why: "terminating", Instances: 1}}}), rule, ""},
		"the last goes":   {of(registry.Summary{Instances: 1, Held: []registry.Held{{Why: "terminating", Instances: 1}}}), rule, "critical instance.held 1 of 1 instance of shop/a gets no calls: terminating."},
		"one starts":      {of(registry.Summary{Instances: 2, Callable: 1, Held: []registry.Held{{Why: "not ready", Instances: 1}}}), rule, "info instance.held 1 of 2 instances of shop/a gets no calls: not ready."},
		"one is unread":   {of(registry.Summary{Instances: 3, Callable: 1, Problems: 1, Held: []registry.Held{{Why: "bad metadata", Instances: 1}, {Why: "not ready", Instances: 1}}}), rule, "warning instance.held 2 of 3 instances of shop/a get no calls: bad metadata, not ready."},
		"nobody is ready": {of(registry.Summary{Instances: 2, Held: []registry.Held{{Why: "not ready", Instances: 2}}}), rule, "critical instance.held 2 of 2 instances of shop/a get no calls: not ready."},
	})
}

func TestRuleOfKeptInstances(t *testing.T) {
	t.Parallel()
	rule := (*facts).instancesKept
	of := func(s registry.Summary) facts {
		return facts{apps: map[registry.App]registered{{Namespace: "shop", Name: "a"}: {Summary: s}}}
	}
	check(t, map[string]ruleCase{
		"none is kept": {of(registry.Summary{Instances: 2, Callable: 2}), rule, ""},
		"one is":       {of(registry.Summary{Instances: 1, Callable: 1, Kept: 1}), rule, "warning instance.kept 1 of 1 instance of shop/a is called though it is not ready: too many were lost at once to believe it without proof."},
		"several are":  {of(registry.Summary{Instances: 3, Callable: 3, Kept: 2}), rule, "warning instance.kept 2 of 3 instances of shop/a are called though they are not ready: too many were lost at once to believe it without proof."},
	})
}

func TestRulesOfInstancesAndPolicies(t *testing.T) {
	t.Parallel()
	versions := []governance.Version{{Version: 9, Created: at.Add(-time.Second)}, {Version: 8, Created: at.Add(-settleFor)}, {Version: 7, Created: at.Add(-time.Hour)}}
	applied := func(v int64) governance.Instance {
		return governance.Instance{App: a, Joined: at.Add(-24 * time.Hour), Applied: &governance.Applied{Version: v}}
	}
	refusing := applied(7)
	refusing.Applied.Refused, refusing.AppliedAt = &governance.Refusal{Policy: "shop/p", Reason: "it is bad."}, at.Add(-time.Minute)
	unnamed := applied(7)
	unnamed.Applied.Refused = &governance.Refusal{Reason: "no room"}
	behind := func(in ...governance.Instance) facts { return facts{versions: versions, behind: in} }
	check(t, map[string]ruleCase{
		"told a moment ago":       {behind(applied(8)), (*facts).instancesBehind, ""},
		"told long enough ago":    {behind(applied(7)), (*facts).instancesBehind, "warning instance.behind 1 instance of shop/a does not enforce the policies it should yet."},
		"told before we remember": {behind(applied(6), applied(2)), (*facts).instancesBehind, "warning instance.behind 2 instances of shop/a do not enforce the policies they should yet."},
		"came a moment ago":       {behind(governance.Instance{App: a, Joined: at.Add(time.Second - settleFor)}), (*facts).instancesBehind, ""},
		"came long enough ago":    {behind(governance.Instance{App: a, Joined: at.Add(-settleFor)}), (*facts).instancesBehind, "warning instance.behind 1 instance of shop/a does not enforce the policies it should yet."},
		"it refuses":              {behind(refusing), (*facts).instancesBehind, ""},
		"refusing": {facts{instances: []governance.Instance{refusing, refusing, unnamed, applied(9), {App: a}}}, (*facts).instancesRefusing,
			"critical instance.refusing 1 instance of shop/a refuses its policies: no room.\ncritical instance.refusing 2 instances of shop/a refuse policy shop/p: it is bad."},
	})
	f := facts{time: at, versions: versions, behind: []governance.Instance{applied(7)}}
	if got := f.instancesBehind(); !got[0].Since.Equal(at.Add(-settleFor)) {
		t.Errorf("%+v", got)
	}
	pulled := func(expires time.Time) facts {
		return facts{switches: []governance.Version{{Policy: governance.Policy{Namespace: "shop", Name: "s", Kind: governance.KindSwitch, Expires: expires}}}}
	}
	check(t, map[string]ruleCase{
		"a switch that stays":   {pulled(time.Time{}), (*facts).switchesExpiring, ""},
		"one that has time":     {pulled(at.Add(expiringWithin + time.Second)), (*facts).switchesExpiring, ""},
		"one that ends soon":    {pulled(at.Add(expiringWithin)), (*facts).switchesExpiring, "info switch.expiring Switch shop/s releases by itself at 15:10:00 UTC."},
		"one that ended by now": {pulled(at), (*facts).switchesExpiring, ""},
	})
}

// table are routes as a store would have them.
type table []gateway.Version

// Since implements routetable.Source.
func (r table) Since(context.Context, gateway.Revision) (gateway.Delta, error) {
	d := gateway.Delta{Full: true, Routes: r}
	var s gateway.State
	for _, v := range r {
		d.Revision = max(d.Revision, v.Revision)
	}
	s.Apply(d)
	d.Checksum = s.Checksum()
	return d, nil
}

func (r table) view(t *testing.T) *routetable.View {
	t.Helper()
	v, err := routetable.New(r).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRulesOfRoutes(t *testing.T) {
	t.Parallel()
	one := func(change func(*gateway.Route)) *routetable.View {
		r := gateway.Route{Namespace: "shop", Name: "r", Upstream: gateway.Upstream{App: "shop/a"}}
		if change != nil {
			change(&r)
		}
		return table{{Route: r, Revision: 9, Created: at.Add(-settleFor)}}.view(t)
	}
	apps := func(callable int) map[registry.App]registered {
		return map[registry.App]registered{{Namespace: "shop", Name: "a"}: {Summary: registry.Summary{Callable: callable}}}
	}
	none := map[registry.App]registered{}
	unknown := "warning route.upstream-unknown Route shop/r leads to application shop/a, which nobody knows."
	check(t, map[string]ruleCase{
		"its application is called":  {facts{routes: one(nil), apps: apps(1)}, (*facts).upstreamsGone, ""},
		"nobody can be called":       {facts{routes: one(nil), apps: apps(0)}, (*facts).upstreamsGone, "critical route.upstream-empty Route shop/r leads to application shop/a, none of whose instances can be called."},
		"nobody knows it":            {facts{routes: one(nil), apps: none}, (*facts).upstreamsGone, unknown},
		"nobody knows it, by Dubbo":  {facts{routes: one(func(r *gateway.Route) { r.Upstream = gateway.Upstream{Dubbo: &gateway.Dubbo{App: "shop/a"}} }), apps: none}, (*facts).upstreamsGone, unknown},
		"nobody can tell":            {facts{routes: one(nil), apps: none, unsure: map[registry.App]bool{{Namespace: "shop", Name: "a"}: true}}, (*facts).upstreamsGone, ""},
		"the registry is not known":  {facts{routes: one(nil)}, (*facts).upstreamsGone, ""},
		"it is not served":           {facts{routes: one(func(r *gateway.Route) { r.Disabled = true }), apps: none}, (*facts).upstreamsGone, ""},
		"it leads to a URL":          {facts{routes: one(func(r *gateway.Route) { r.Upstream = gateway.Upstream{URL: "http://x"} }), apps: none}, (*facts).upstreamsGone, ""},
		"no gateway":                 {facts{routes: one(nil), heard: true}, (*facts).gatewaysBehind, "critical gateway.none No gateway was heard of in the last 30 seconds, so nobody serves the routes."},
		"no gateway, as far as told": {facts{routes: one(nil)}, (*facts).gatewaysBehind, ""},
		"no gateway, and no route":   {facts{routes: table{}.view(t), heard: true}, (*facts).gatewaysBehind, ""},
	})
	serves := func(rev gateway.Revision, written ...gateway.Version) facts {
		return facts{routes: one(nil), written: written, gateways: []gateway.Node{{Name: "g", Revision: rev}}}
	}
	newest, older := gateway.Version{Revision: 9, Created: at.Add(-settleFor)}, gateway.Version{Revision: 8, Created: at.Add(-time.Hour)}
	late := newest
	late.Created = late.Created.Add(time.Second)
	behind := "warning gateway.behind Gateway g serves revision 8 of the routes, and the newest is 9."
	check(t, map[string]ruleCase{
		"a gateway that is current":    {serves(9, newest), (*facts).gatewaysBehind, ""},
		"one that is ahead":            {serves(10, newest), (*facts).gatewaysBehind, ""},
		"one that was told just now":   {serves(8, late, older), (*facts).gatewaysBehind, ""},
		"one that was told before":     {serves(8, newest, older), (*facts).gatewaysBehind, behind},
		"one told before we remember":  {serves(8, slices.Repeat([]gateway.Version{late}, recent)...), (*facts).gatewaysBehind, behind},
		"one that lacks all there are": {serves(0, late), (*facts).gatewaysBehind, ""},
	})
	quarantined := func(serving gateway.Revision) gateway.Node {
		return gateway.Node{Name: fmt.Sprint("g", serving), Quarantined: []gateway.Quarantine{{Key: gateway.Key{Namespace: "shop", Name: "r"}, Serving: serving, Reason: "bad path."}}}
	}
	check(t, map[string]ruleCase{
		"an older version is served": {facts{gateways: []gateway.Node{quarantined(7), {Name: "h"}}}, (*facts).routesQuarantined,
			"warning route.quarantined Route shop/r cannot be served as written by 1 of 2 gateways, they serve the last good version: bad path."},
		"nothing is served by one": {facts{gateways: []gateway.Node{quarantined(7), quarantined(0)}}, (*facts).routesQuarantined,
			"critical route.quarantined Route shop/r cannot be served as written by 2 of 2 gateways, nothing is served in its place: bad path."},
	})
}

func TestRulesOfTheSystem(t *testing.T) {
	t.Parallel()
	rule := (*facts).systemAilments
	well := func(change func(*found)) facts {
		s := &found{self: node.Node{Role: "control", Name: "one", Version: "1.2"}, database: SystemDatabase{OK: true}}
		if change != nil {
			change(s)
		}
		return facts{system: s}
	}
	queue := func(q node.Queue) facts {
		q.Name, q.Unit = "q", "bytes"
		return well(func(s *found) {
			s.collectors = []node.Node{{Role: "tracing", Name: "t", Version: "1.2", Facts: node.Facts{Queues: []node.Queue{q}}}}
		})
	}
	parts := func(to time.Time, rows int64) facts {
		return well(func(s *found) {
			s.tracing = []node.Partition{
				{Schema: "tracing", Table: "f", Name: "f_1", From: to.Add(-time.Hour), To: to, Rows: 9}, {Schema: "tracing", Table: "f", Name: "f_default", Rows: rows},
				{Schema: "tracing", Table: "whole", Name: "whole", Rows: 7},
			}
		})
	}
	away := well(func(s *found) {
		s.database = SystemDatabase{Error: "it is away"}
		s.unknown = []SystemUnknown{{"x", "away"}}
	})
	away.unknown = []SystemUnknown{{"y", "away"}}
	lost := well(func(s *found) { s.unknown = []SystemUnknown{{"x", "why"}} })
	lost.unknown = []SystemUnknown{{"x", "why"}, {"y", "no answer"}}
	late := well(nil)
	late.unlisted = "no answer"
	check(t, map[string]ruleCase{
		"all is well":             {well(nil), rule, ""},
		"the database is away":    {away, rule, "critical system.database The database does not answer, and what is shown of it is as it was last known: it is away"},
		"something is not known":  {lost, rule, "warning system.unknown Not known now: x (why).\nwarning system.unknown Not known now: y (no answer)."},
		"the view is not known":   {facts{unknown: []SystemUnknown{{"y", "no answer"}}}, rule, "warning system.unknown Not known now: y (no answer)."},
		"the registry is away":    {well(func(s *found) { s.registry.unknown = "no link" }), rule, "warning system.registry The applications of the cluster are not known: no link"},
		"so is the view":          {facts{unlisted: "no link"}, rule, "warning system.registry The applications of the cluster are not known: no link"},
		"the view knows better":   {late, rule, ""},
		"there is no cluster":     {well(func(s *found) { s.registry.unknown = noCluster }), rule, ""},
		"the registry is old":     {well(func(s *found) { s.registry.stale = at }), rule, "warning system.registry The registry is out of touch with the cluster, and shows the last state it knew."},
		"a queue has room":        {queue(node.Queue{Depth: 79, Limit: 100}), rule, ""},
		"a queue is nearly full":  {queue(node.Queue{Depth: 80, Limit: 100}), rule, `warning system.queue Queue "q" of tracing t is 80 % full: 80 of 100 bytes.`},
		"a queue is full":         {queue(node.Queue{Depth: 100, Limit: 100}), rule, `critical system.queue Queue "q" of tracing t is 100 % full: 100 of 100 bytes.`},
		"a queue moves":           {queue(node.Queue{Depth: 1, Oldest: at.Add(time.Second - waitsFor)}), rule, ""},
		"a queue stands still":    {queue(node.Queue{Depth: 1, Oldest: at.Add(-waitsFor)}), rule, `warning system.queue In queue "q" of tracing t something has waited since 2026-11-20T14:50:00Z.`},
		"parts are made ahead":    {parts(at.Add(partitionAhead), 0), rule, ""},
		"the last part ends soon": {parts(at.Add(partitionAhead-time.Second), 0), rule, "warning system.partition Table tracing.f has no part for what comes after 2026-11-20T15:59:59Z."},
		"there is no part":        {parts(at, 0), rule, "critical system.partition Table tracing.f has no part for what comes after 2026-11-20T15:00:00Z."},
		"rows of no part":         {parts(at.Add(24*time.Hour), 3), rule, "warning system.partition About 3 rows of table tracing.f belong to no day for which a part was made."},
		"versions differ": {well(func(s *found) {
			s.controls = []node.Node{{Name: "two", Role: "control", Version: "1.1"}, {Name: "one", Role: "control", Version: "1.0"}}
			s.gateways = []gateway.Node{{Name: "g", Version: "1.1"}, {Name: "h", Version: "1.2"}}
		}), rule, "info system.versions Processes of Weir run different versions: 1.2 here, and 1.1 (control two, gateway g)."},
		"a process has a word to say": {well(func(s *found) { s.self.Facts.Notes = []string{"it is cold"} }), rule, "warning system.node control one: it is cold"},
	})
}

func TestTheWorstComesFirst(t *testing.T) {
	t.Parallel()
	f := facts{time: at, system: &found{database: SystemDatabase{Error: "away"}, self: node.Node{Facts: node.Facts{Notes: []string{"n"}}}}, numbers: counted(
		states(a, governance.Provider, "c", map[governance.State]int{governance.StateOpen: 1}),
		states(a, governance.Provider, "d", map[governance.State]int{governance.StateForcedOpen: 1}),
	)}
	var got []string
	for _, x := range f.attention() {
		got = append(got, x.Kind)
	}
	if want := []string{KindDatabase, KindCircuitOpen, KindNode, KindCircuitForced}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
