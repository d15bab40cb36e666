package api_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

// onPostgres starts a control plane on a database that others may use too.
func onPostgres(t testing.TB, url string, c api.Config) *control {
	t.Helper()
	pool, err := pg.Open(context.Background(), url, pg.Options{Name: "weir test control"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c.Store = postgres.New(pool, postgres.Options{})
	return start(t, c)
}

func TestTwoControlPlanesAreOne(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	a, b := onPostgres(t, db.URL, api.Config{}), onPostgres(t, db.URL, api.Config{})
	near, far := a.instance(inventory, "near").open(), b.instance(inventory, "far").open()
	near.next()
	far.next()
	a.until("both are known at both", func() bool {
		for _, k := range []*control{a, b} {
			var app api.AppDetail
			res := k.do(http.MethodGet, "/api/v1/apps/shop/inventory", "viewer", nil)
			if res.status != 200 {
				return false
			}
			if res.into(t, &app); app.Live != 2 {
				return false
			}
		}
		return true
	})
	// Written at one, confirmed at both, while the writer waits.
	var wg sync.WaitGroup
	for _, i := range []*inst{near, far} {
		wg.Go(func() { i.ack(i.next()) })
	}
	var got api.PolicyAnswer
	a.want(200, a.do(http.MethodPost, "/api/v1/switches?wait=25s", "operator", pull(reserve))).into(t, &got)
	wg.Wait()
	if !got.Confirmation.All() || got.Confirmation.Live != 2 {
		t.Fatalf("%+v", got.Confirmation)
	}
	b.until("the confirmation is one event", func() bool {
		var events struct{ Items []governance.Event }
		b.want(200, b.do(http.MethodGet, "/api/v1/events?kind=policy.confirmed", "viewer", nil)).into(t, &events)
		return len(events.Items) == 1
	})
	// An instance moves from one to the other: it has the newest, and says so by
	// its Last-Event-ID alone.
	near.close()
	near.k = b
	near.open()
	b.until("the one that moved counts as confirmed", func() bool {
		var c api.Confirmation
		b.want(200, b.do(http.MethodGet, "/api/v1/policies/"+got.Policy.Key().String()+"/status", "viewer", nil)).into(t, &c)
		return c.All() && c.Live == 2
	})
}

func TestTheDatabaseIsRestartedUnderStreams(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t) + "/server"
	serve := func(port int) *pg.Server {
		t.Helper()
		s, err := pg.StartServer(t.Context(), pg.ServerConfig{Dir: dir, Port: port})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	db := serve(0)
	pool, err := pg.Open(t.Context(), db.URL(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = pg.Migrate(t.Context(), pool, postgres.Schema, postgres.Migrations(), nil)
	pool.Close()
	if err != nil {
		t.Fatal(err)
	}
	k := onPostgres(t, db.URL(), api.Config{})
	i := k.instance(inventory, "a").open()
	i.ack(i.next())
	begin := time.Now()

	stored := 0
	report := func() answer {
		return i.report(func(r *governance.Report) {
			r.Samples = []governance.Sample{sample(time.Duration(r.Seq) * time.Second)}
		})
	}
	for range 5 {
		k.want(202, report())
		stored++
	}
	if err := syscall.Kill(db.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-db.Done()
	_ = db.Close(t.Context()) // lets go of the directory; that it died is known
	k.until("a report is turned away for now", func() bool {
		a := report()
		if a.status == 202 {
			stored++
			return false
		}
		return a.status == 503 && a.header.Get("Retry-After") != ""
	})
	select {
	case err := <-i.closed:
		t.Fatalf("the stream ended with the database: %v", err)
	default:
	}
	k.want(503, k.do(http.MethodPost, "/api/v1/switches", "operator", pull(reserve)))

	db = serve(db.Port())
	t.Cleanup(func() {
		if err := db.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	// The process repeats what was turned away until it is taken.
	k.until("reports are taken again", func() bool {
		if report().status != 202 {
			return false
		}
		stored++
		return true
	})
	k.until("a switch reaches the stream that lived on", func() bool {
		return k.do(http.MethodPost, "/api/v1/switches", "operator", pull(reserve)).status == 200
	})
	if set := i.next(); len(set.Policies) != 1 {
		t.Fatalf("got %+v", set)
	}
	var s governance.SeriesResult
	k.want(200, k.do(http.MethodGet, fmt.Sprintf("/api/v1/apps/shop/inventory/series?command=%s&from=%d&instance=a&step=1s", reserve, begin.Add(-10*time.Minute).Unix()), "viewer", nil)).into(t, &s)
	calls := int64(0)
	for _, p := range s.Points {
		calls += p.Counts.Success
	}
	if calls < int64(4*stored) {
		t.Fatalf("%d reports were taken, and %d calls of theirs are there, want %d", stored, calls, 4*stored)
	}
}
