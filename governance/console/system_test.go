package console_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/gateway"
	gatewaypg "github.com/weirmesh/weir/gateway/postgres"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/console"
	governancepg "github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
	tracingpg "github.com/weirmesh/weir/tracing/postgres"
)

// systemAuth knows a viewer of everything, and one of the namespace shop.
type systemAuth struct{}

func (systemAuth) Authenticate(_ context.Context, c access.Credentials) (access.Principal, error) {
	p := access.Principal{Kind: access.KindToken, Name: c.Bearer, Role: access.Viewer}
	if c.Bearer == "shop" {
		p.Namespaces = []string{"shop"}
	}
	return p, nil
}

// installation is a Weir whose view of itself is looked at.
type installation struct {
	governance *governancepg.Store
	tracing    *tracingpg.Store
	gateways   *gatewaypg.Store
	world      *memory.Registry
	client     *memory.Client
	asked      atomic.Int32 // how often the database was asked how it is
	started    time.Time
	deps       console.SystemDeps
	behind     func([]governance.Instance) ([]governance.Instance, bool) // who is said to be behind; nil for nobody
	handler    http.Handler
}

// gatewayApp is as which gateways report.
var gatewayApp = governance.App{Namespace: "weir-system", Name: "gateway"}

func install(t *testing.T, pool *pgxpool.Pool, change func(*console.SystemDeps)) *installation {
	t.Helper()
	i := &installation{
		governance: governancepg.New(pool, governancepg.Options{}), gateways: gatewaypg.New(pool, gatewaypg.Options{}),
		world: memory.New(), started: time.Now().UTC().Truncate(time.Microsecond),
	}
	var err error
	if i.tracing, err = tracingpg.Open(pool, tracingpg.Config{}); err != nil {
		t.Fatal(err)
	}
	i.client = i.world.Join(memory.Config{})
	t.Cleanup(i.client.Close)
	i.deps = console.SystemDeps{
		Self: func() node.Node {
			return node.Node{Role: "control", Name: "one", Version: "1.2", Started: i.started, Facts: node.Facts{Queues: []node.Queue{{Name: "streams", Depth: 4, Limit: 9, Unit: "instances"}}}}
		},
		Database: func(ctx context.Context) (node.Database, error) {
			i.asked.Add(1)
			return pg.About(ctx, pool)
		},
		Governance: i.governance, Fleet: i.governance, Tracing: i.tracing, Gateways: i.gateways, Registry: i.client, Fresh: time.Nanosecond,
	}
	if change != nil {
		change(&i.deps)
	}
	h := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1", Auth: systemAuth{}})
	console.Register(h, console.Deps{
		System: i.deps, Governance: i.governance, Routes: i.gateways, Gateway: gatewayApp, Fresh: i.deps.Fresh, Patience: i.deps.Patience,
		Behind: func(all []governance.Instance) ([]governance.Instance, bool) {
			if i.behind == nil {
				return nil, true
			}
			return i.behind(all)
		},
	})
	i.handler = h.Handler()
	return i
}

func (i *installation) system(t *testing.T, who string) (s console.System) {
	t.Helper()
	i.get(t, who, "/api/v1/system", &s)
	return s
}

// get reads a view as somebody.
func (i *installation) get(t *testing.T, who, path string, into any) {
	t.Helper()
	w := i.ask(t, who, path)
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %v %s", w.Code, err, w.Body)
	}
	if strings.Contains(w.Body.String(), ":null") {
		t.Errorf("a list is null: %s", w.Body)
	}
}

func (i *installation) ask(t *testing.T, who, path string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.Header.Set("Authorization", "Bearer "+who)
	w := httptest.NewRecorder()
	i.handler.ServeHTTP(w, req)
	return w
}

func schemas() []testdb.Option {
	return []testdb.Option{
		testdb.Migrated(gatewaypg.Schema, gatewaypg.Migrations()), testdb.Migrated(governancepg.Schema, governancepg.Migrations()),
		testdb.Migrated(tracingpg.Schema, tracingpg.Migrations()),
	}
}

// fill makes an installation of two control planes, a gateway and a collector.
func (i *installation) fill(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Its own row, from a moment ago, is told once and by itself.
	must(i.governance.SetNode(ctx, node.Node{Name: "one", Version: "1.2", Started: i.started}))
	must(i.governance.SetNode(ctx, node.Node{Name: "two", Version: "1.1", Started: i.started, Facts: node.Facts{
		Queues: []node.Queue{{Name: "streams", Depth: 5, Limit: 9, Unit: "instances"}}, Notes: []string{"the policies have not been read yet"},
	}}))
	must(i.tracing.SetNode(ctx, node.Node{Name: "t", Version: "1.2", Started: i.started, Facts: node.Facts{Queues: []node.Queue{{Name: "span spool", Depth: 7, Limit: 9, Unit: "bytes"}}}}))
	_, err := i.gateways.Apply(ctx, []gateway.Write{{Route: gateway.Route{
		Namespace: "bank", Name: "r", Match: gateway.Match{Path: "/r"}, Upstream: gateway.Upstream{URL: "http://127.0.0.1:1"},
	}, Expect: gateway.AnyRevision}}, gateway.Change{Actor: "test", Reason: "test"})
	must(err)
	must(i.gateways.SetNode(ctx, gateway.Node{Name: "g", Version: "1.2", Revision: 0, Quarantined: []gateway.Quarantine{{Key: gateway.Key{Namespace: "bank", Name: "r"}, Reason: "x"}}}))
	must(i.governance.PutInstances(ctx,
		governance.Instance{App: governance.App{Namespace: "shop", Name: "a"}, ID: "1", SDK: "0.9", Seen: time.Now()},
		governance.Instance{App: governance.App{Namespace: "shop", Name: "a"}, ID: "2", SDK: "1.0", Seen: time.Now()},
		governance.Instance{App: governance.App{Namespace: "bank", Name: "b"}, ID: "3", SDK: "1.0", Seen: time.Now()},
	))
	must(i.governance.Append(ctx, governance.Report{App: governance.App{Namespace: "shop", Name: "a"}, Instance: "1", Boot: "b", Seq: 1, Samples: []governance.Sample{
		{Series: governance.Series{Command: "c", At: governance.Provider}, Second: time.Now().Unix(), State: governance.StateClosed},
	}}))
	_, err = i.tracing.Maintain(ctx)
	must(err)
	i.world.PutService(registry.App{Namespace: "shop", Name: "a"}, registry.Service{})
	i.world.PutService(registry.App{Namespace: "bank", Name: "b"}, registry.Service{})
}

func queue(s console.System, name, on string) *console.SystemQueue {
	for n := range s.Queues {
		if s.Queues[n].Name == name && s.Queues[n].Node == on {
			return &s.Queues[n]
		}
	}
	return &console.SystemQueue{Depth: -1}
}

func TestTheSystemIsTold(t *testing.T) {
	t.Parallel()
	i := install(t, testdb.New(t, schemas()...).Pool(), nil)
	i.fill(t)
	s := i.system(t, "all")
	if s.Version != "1.2" || !s.Started.Equal(i.started) || time.Since(s.Time).Abs() > time.Minute || len(s.Unknown) != 0 {
		t.Errorf("got %+v", s)
	}
	if d := s.Database; !d.OK || d.Error != "" || d.Version == "" || d.Bytes == 0 || d.Connections == 0 || d.MaxConnections == 0 {
		t.Errorf("database %+v", d)
	}
	var nodes []string
	for _, n := range s.Nodes {
		nodes = append(nodes, n.Role+" "+n.Name+" "+n.Version)
		if n.Seen.IsZero() || (n.Role == "gateway") != (n.Current != nil) || (n.Role == "gateway") != n.Started.IsZero() {
			t.Errorf("node %+v", n)
		}
	}
	if got := strings.Join(nodes, ", "); got != "control one 1.2, control two 1.1, gateway g 1.2, tracing t 1.2" {
		t.Errorf("nodes %s", got)
	}
	if g := s.Nodes[2]; *g.Current || len(g.Notes) != 2 || g.Notes[0] != "serves revision 0 of the routes, and the newest is 1" || g.Notes[1] != "cannot serve 1 route as written" {
		t.Errorf("gateway %+v", g)
	}
	if n := s.Nodes[1]; len(n.Notes) != 1 {
		t.Errorf("the other control plane %+v", n)
	}
	for _, want := range []console.SystemQueue{
		{Name: "streams", Role: "control", Node: "one", Depth: 4, Limit: 9}, {Name: "streams", Role: "control", Node: "two", Depth: 5, Limit: 9},
		{Name: "span spool", Role: "tracing", Node: "t", Depth: 7, Limit: 9}, {Name: "staged reports", Role: "control", Depth: 1}, {Name: "traces to link", Role: "tracing"},
	} {
		got := *queue(s, want.Name, want.Node)
		if got.Role != want.Role || got.Depth != want.Depth || got.Limit != want.Limit || got.Unit == "" {
			t.Errorf("queue %+v, want %+v", got, want)
		}
	}
	tables := map[string]int{}
	for _, p := range s.Partitions {
		tables[p.Schema+"."+p.Table]++
	}
	if tables["tracing.fragment"] < 8 || tables["governance.staging"] != 1 {
		t.Errorf("tables %v", tables)
	}
	if r := s.Registry; !r.Open || r.Apps != 2 || !r.Stale.IsZero() || r.Unknown != "" {
		t.Errorf("registry %+v", r)
	}
	if len(s.SDK) != 2 || s.SDK[0] != (console.SystemSDK{Version: "1.0", Instances: 2}) || s.SDK[1] != (console.SystemSDK{Version: "0.9", Instances: 1}) {
		t.Errorf("SDKs %+v", s.SDK)
	}

	// One who is bounded to a namespace sees the machinery, and of services theirs.
	s = i.system(t, "shop")
	if len(s.Nodes) != 4 || len(s.Nodes[2].Notes) != 1 || s.Registry.Apps != 1 || len(s.SDK) != 2 || s.SDK[0].Instances != 1 {
		t.Errorf("of shop: %+v", s)
	}

	// A registry that is out of touch, or does not know.
	i.client.Cut()
	if r := i.system(t, "all").Registry; !r.Open || r.Stale.IsZero() || r.Apps != 2 {
		t.Errorf("registry %+v", r)
	}
	offline := i.world.Join(memory.Config{Offline: true})
	t.Cleanup(offline.Close)
	i = install(t, testdb.New(t, schemas()...).Pool(), func(d *console.SystemDeps) { d.Registry = offline })
	if r := i.system(t, "all").Registry; r.Open || !strings.Contains(r.Unknown, "the link is cut") {
		t.Errorf("registry %+v", r)
	}
	i = install(t, testdb.New(t, schemas()...).Pool(), func(d *console.SystemDeps) { d.Registry = nil })
	if r := i.system(t, "all").Registry; r.Open || !strings.Contains(r.Unknown, "no cluster") {
		t.Errorf("registry %+v", r)
	}
}

// What one part of the database does not tell is said, and the rest is told.
func TestAPartThatCannotBeRead(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, schemas()[:2]...) // nobody has made the tables of tracing yet
	i := install(t, db.Pool(), nil)
	s := i.system(t, "all")
	if !s.Database.OK || len(s.Nodes) != 1 || len(s.Partitions) == 0 || len(s.Unknown) != 2 {
		t.Fatalf("got %+v", s)
	}
	for n, what := range []string{"collectors", "traces that wait"} {
		if u := s.Unknown[n]; u.What != what || !strings.Contains(u.Why, "before the database is migrated") {
			t.Errorf("unknown %+v, want %s", u, what)
		}
	}
}

func TestManyWhoAskCostAsMuchAsOne(t *testing.T) {
	t.Parallel()
	i := install(t, testdb.New(t, schemas()...).Pool(), func(d *console.SystemDeps) { d.Fresh = time.Hour })
	first := i.system(t, "all")
	for range 5 {
		if s := i.system(t, "shop"); !s.Time.Equal(first.Time) {
			t.Errorf("found out again at %s", s.Time)
		}
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the database was asked %d times", n)
	}
}

func TestTheDatabaseIsGone(t *testing.T) {
	t.Parallel()
	server, err := pg.StartServer(t.Context(), pg.ServerConfig{Dir: testdb.Dir(t) + "/server", NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() { _ = server.Close(context.Background()) }
	t.Cleanup(stop)
	pool, err := pg.Open(t.Context(), server.URL(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := pg.Migrate(t.Context(), pool, gatewaypg.Schema, gatewaypg.Migrations(), nil); err != nil {
		t.Fatal(err)
	}
	if err := pg.Migrate(t.Context(), pool, governancepg.Schema, governancepg.Migrations(), nil); err != nil {
		t.Fatal(err)
	}
	if err := pg.Migrate(t.Context(), pool, tracingpg.Schema, tracingpg.Migrations(), nil); err != nil {
		t.Fatal(err)
	}
	i := install(t, pool, nil)
	i.fill(t)
	late := install(t, pool, nil) // has never heard the database
	whole := i.system(t, "all")
	i.overview(t, "all")
	stop()

	s := i.system(t, "all")
	if d := s.Database; d.OK || d.AsOf.IsZero() || d.AsOf.After(s.Time) || !strings.HasPrefix(d.Error, "postgres: ") {
		t.Errorf("database %+v", d)
	}
	if len(s.Nodes) != 4 || len(s.Partitions) != len(whole.Partitions) || len(s.Queues) != len(whole.Queues) || len(s.SDK) != 2 {
		t.Errorf("what was known is lost: %+v", s)
	}
	if r := s.Registry; !r.Open || r.Apps != 2 {
		t.Errorf("registry %+v", r)
	}
	i.wantDatabaseAway(t)
	// Who is bound to a namespace is not told where the database is, nor is anybody
	// told a driver's words.
	for _, path := range []string{"/api/v1/system", "/api/v1/overview", "/api/v1/route-status"} {
		for who, words := range map[string][]string{"shop": {"127.0.0.1", "postgres:", "dial ", "user="}, "all": {"dial ", "user="}} {
			w := httptest.NewRecorder()
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
			req.Header.Set("Authorization", "Bearer "+who)
			i.handler.ServeHTTP(w, req)
			for _, word := range words {
				if body := w.Body.String(); w.Code != http.StatusOK || strings.Contains(body, word) {
					t.Errorf("%s tells %s of %q: %d %s", path, who, word, w.Code, body)
				}
			}
		}
	}
	if n := s.Nodes[0]; n.Name != "one" || !n.Seen.Equal(s.Time) || !s.Nodes[1].Seen.Before(s.Time) {
		t.Errorf("nodes %+v", s.Nodes)
	}
	late.wantNothingKnown(t)
	s = late.system(t, "all")
	if s.Database.OK || s.Database.Error == "" || !s.Database.AsOf.IsZero() || len(s.Nodes) != 1 || len(s.Partitions) != 0 || queue(s, "streams", "one").Depth != 4 {
		t.Errorf("got %+v", s)
	}
}

// A database that hangs is waited for no longer than the answer is worth.
func TestADatabaseThatHangs(t *testing.T) {
	t.Parallel()
	i := install(t, testdb.New(t, schemas()...).Pool(), func(d *console.SystemDeps) {
		d.Patience = 10 * time.Millisecond
		about := d.Database
		d.Database = func(ctx context.Context) (node.Database, error) {
			<-ctx.Done()
			return about(ctx)
		}
	})
	if d := i.system(t, "all").Database; d.OK || !strings.Contains(d.Error, "does not answer in time") && !strings.Contains(d.Error, "no answer within") {
		t.Errorf("database %+v", d)
	}
}

// stuck is a store of which questions are not answered before it is let go, whatever
// becomes of who asked.
type stuck struct {
	*governancepg.Store
	until chan struct{}
}

func (s stuck) Totals(ctx context.Context, q governance.TotalsQuery) (governance.Totals, error) {
	<-s.until
	return s.Store.Totals(ctx, q)
}

func (s stuck) Circuits(ctx context.Context, app governance.App) ([]governance.Circuit, bool, error) {
	<-s.until
	return s.Store.Circuits(ctx, app)
}

// Who does not let go of a question in time is not waited for: there is an answer of
// what is known.
func TestNobodyIsWaitedForBeyondTheDeadline(t *testing.T) {
	t.Parallel()
	i := install(t, testdb.New(t, schemas()...).Pool(), func(d *console.SystemDeps) { d.Patience = time.Second })
	i.fill(t)
	until := make(chan struct{})
	about := i.deps.Database
	i.deps.Database = func(ctx context.Context) (node.Database, error) {
		<-until
		return about(ctx)
	}
	h := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1", Auth: systemAuth{}})
	console.Register(h, console.Deps{
		System: i.deps, Governance: stuck{i.governance, until}, Routes: i.gateways, Gateway: gatewayApp, Fresh: i.deps.Fresh, Patience: i.deps.Patience,
		Behind: func([]governance.Instance) ([]governance.Instance, bool) { return nil, true },
	})
	i.handler = h.Handler()
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		if s := i.system(t, "all"); s.Database.OK || !strings.Contains(s.Database.Error, "no answer within 1s") || s.Registry.Apps != 2 {
			t.Errorf("%+v", s)
		}
		if o := i.overview(t, "all"); attention(o, console.KindDatabase).Kind == "" || o.Totals.Instances != 3 || o.Totals.Rate != nil {
			t.Errorf("%+v", o)
		}
		for _, query := range []string{"", "?window=30s"} {
			if l := i.routeStatus(t, "all", query); len(l.Items) != 1 || l.Items[0].Rate != nil || len(l.Unknown) == 0 {
				t.Errorf("%q: %+v", query, l)
			}
		}
	}()
	select {
	case <-answers:
		close(until)
	case <-time.After(time.Minute):
		close(until)
		<-answers
		t.Fatal("it waits for who does not answer")
	}
}
