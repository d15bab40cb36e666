package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/testdb"
)

// liveTick makes the follower's time short.
const liveTick = 5 * time.Millisecond

// told is one event of a live stream.
type told struct{ name, id, data string }

// viewer is a client of the live stream.
type viewer struct {
	k      *control
	id     string // the last that was read
	events chan told
	closed chan error
	cancel context.CancelFunc
}

func (k *control) watch(query, token, has string) *viewer {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.srv.URL+"/api/v1/live?"+query, http.NoBody)
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if has != "" {
		req.Header.Set("Last-Event-ID", has)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(resp.Body)
		k.t.Fatalf("the stream answers %d: %s", resp.StatusCode, raw)
	}
	v := &viewer{k: k, id: has, events: make(chan told, 10_000), closed: make(chan error, 1), cancel: cancel}
	go func() {
		v.closed <- readLive(resp.Body, v.events)
		resp.Body.Close()
	}()
	k.t.Cleanup(cancel)
	return v
}

func readLive(body io.Reader, to chan<- told) error {
	r := bufio.NewReader(body)
	var e told
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		switch field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); {
		case field == "event":
			e.name = value
		case field == "id":
			e.id = value
		case field == "data":
			e.data = value
		case line == "\n":
			if e != (told{}) {
				to <- e
			}
			e = told{}
		}
	}
}

// next returns the next event of a name, passing others over.
func (v *viewer) next(name string) told {
	v.k.t.Helper()
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	for {
		select {
		case e := <-v.events:
			if e.id != "" {
				v.id = e.id
			}
			if e.name == name {
				return e
			}
		case err := <-v.closed:
			v.k.t.Fatalf("the stream ended before %s: %v", name, err)
		case <-timer.C:
			v.k.t.Fatalf("the stream brings no %s", name)
		}
	}
}

func read[T any](v *viewer, name string) (out T) {
	v.k.t.Helper()
	e := v.next(name)
	if err := json.Unmarshal([]byte(e.data), &out); err != nil {
		v.k.t.Fatalf("%s: %v", e.data, err)
	}
	return out
}

// close ends the stream, and returns what the client had read last.
func (v *viewer) close() string {
	v.cancel()
	<-v.closed
	return v.id
}

// happened lets an event be there.
func happened(t testing.TB, s governance.Store, app governance.App, what string) {
	t.Helper()
	e := governance.Event{Time: time.Now(), Kind: governance.EventRefused, App: app, Instance: what}
	if err := s.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// events reads n events and returns their instances.
func (v *viewer) happenings(n int) (out []string) {
	v.k.t.Helper()
	for range n {
		out = append(out, read[governance.Event](v, "event").Instance)
	}
	return out
}

func livePostgres(t testing.TB) (*control, *postgres.Store, *pgxpool.Pool) {
	t.Helper()
	db := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	k := onPostgres(t, db.URL, api.Config{LiveTick: liveTick, Version: "v1"})
	return k, postgres.New(db.Pool(), postgres.Options{}), db.Pool()
}

func TestTheLiveStreamTellsSamplesAndHealth(t *testing.T) {
	t.Parallel()
	k, _, _ := livePostgres(t)
	a, b := k.instance(inventory, "a"), k.instance(inventory, "b")
	at := func(ago time.Duration) func(*governance.Report) {
		return func(r *governance.Report) { r.Samples = []governance.Sample{sample(ago)} }
	}
	k.want(202, a.report(at(20*time.Second)))
	v := k.watch("app=shop/inventory", "viewer", "")
	only := k.watch("app=shop/inventory&instance=b", "viewer", "")
	if h := read[api.LiveHello](v, "hello"); h.Version != "v1" || h.Now.IsZero() {
		t.Fatalf("%+v", h)
	}
	health := read[api.LiveHealth](v, "health")
	if !health.Full || len(health.Items) != 1 || health.Items[0].App != inventory || health.Items[0].Live != 1 || health.Items[0].ErrorPercent != 20 || health.Items[0].P50Ms == nil {
		t.Fatalf("%+v", health)
	}
	first := read[api.LiveSamples](v, "samples")
	if !first.Backfill || first.App != inventory || len(first.Items) != 1 || first.Items[0].Instances != 1 || first.Items[0].Counts.Success != 4 || first.Items[0].Command != reserve {
		t.Fatalf("%+v", first)
	}
	if s := read[api.LiveSamples](only, "samples"); !s.Backfill || len(s.Items) != 0 {
		t.Fatalf("of the other instance: %+v", s)
	}
	// One that comes late joins the others of its second.
	late := sample(0)
	late.Second = first.Items[0].Second
	k.want(202, b.report(func(r *governance.Report) { r.Samples = []governance.Sample{late} }))
	got := read[api.LiveSamples](v, "samples")
	if got.Backfill || len(got.Items) != 1 || got.Items[0].Second != late.Second || got.Items[0].Instances != 2 || got.Items[0].Counts.Success != 8 ||
		got.Items[0].InFlight != 4 || got.Items[0].States[governance.StateClosed] != 2 || got.Items[0].MaxMs == nil {
		t.Fatalf("%+v", got)
	}
	if s := read[api.LiveSamples](only, "samples"); len(s.Items) != 1 || s.Items[0].Instances != 1 || s.Items[0].Counts.Success != 4 {
		t.Fatalf("of the other instance: %+v", s)
	}
	// Who comes now is told the same at once, and the list of applications says so too.
	if s := read[api.LiveSamples](k.watch("app=shop/inventory", "viewer", ""), "samples"); !s.Backfill || len(s.Items) != 1 || s.Items[0].Counts.Success != 8 {
		t.Fatalf("%+v", s)
	}
	// An idle circuit that is held open.
	k.want(202, a.report(openCircuit(governance.Series{Command: "InventoryService.count", At: governance.Provider}, governance.StateForcedOpen)))
	for {
		h := read[api.LiveHealth](v, "health")
		if len(h.Items) > 0 && h.Items[0].Forced == 1 && h.Items[0].Live == 2 {
			break
		}
	}
	var asked api.Health
	k.want(200, k.do(http.MethodGet, "/api/v1/health", "viewer", nil)).into(t, &asked)
	if len(asked.Items) != 1 || asked.Items[0].Forced != 1 || time.Duration(asked.Window) != time.Minute {
		t.Fatalf("%+v", asked)
	}
	k.put(timeout(inventory, reserve, time.Second))
	for !slices.Contains(read[api.LiveChange](v, "change").Topics, "policies") {
	}
}

func TestEventsAreNeitherLostNorToldTwice(t *testing.T) {
	t.Parallel()
	k, store, pool := livePostgres(t)
	const insert = `INSERT INTO governance.event (time, kind, app_namespace, app_name, instance, command, policy, version, actor, reason)
		VALUES (now(), 'policy.refused', 'shop', 'inventory', $1, '', '', 0, '', '')`
	happened(t, store, inventory, "before")
	v := k.watch("", "viewer", "")
	read[api.LiveHealth](v, "health")
	for v.id == "" {
		v.next("")
	}
	// One that is written first is committed last, while the client is there.
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), insert, "slow-1"); err != nil {
		t.Fatal(err)
	}
	happened(t, store, inventory, "fast-1")
	if got := v.happenings(1); got[0] != "fast-1" {
		t.Fatalf("%v", got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := v.happenings(1); got[0] != "slow-1" {
		t.Fatalf("%v", got)
	}
	// And one that is committed while it is away.
	if tx, err = pool.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), insert, "slow-2"); err != nil {
		t.Fatal(err)
	}
	happened(t, store, inventory, "fast-2")
	v.happenings(1)
	has := v.close()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	happened(t, store, inventory, "away")
	v = k.watch("", "viewer", has)
	if got := fmt.Sprint(v.happenings(2)); got != "[slow-2 away]" {
		t.Fatalf("after its return: %s", got)
	}
	happened(t, store, inventory, "after")
	if got := v.happenings(1); got[0] != "after" {
		t.Fatalf("%v", got)
	}
	// A browser that cannot set headers at first, many times over, while much happens.
	has = v.close()
	const n = 200
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range n {
			happened(t, store, inventory, fmt.Sprint("e", i))
		}
	}()
	seen := map[string]int{}
	for len(seen) < n {
		v = k.watch("after="+has, "viewer", "")
		for range min(7, n-len(seen)) {
			seen[v.happenings(1)[0]]++
		}
		has = v.close()
	}
	<-written
	for what, times := range seen {
		if times != 1 {
			t.Errorf("%s was told %d times", what, times)
		}
	}
	// What cannot be gone on from is said.
	v = k.watch("", "viewer", "900000")
	if c := read[api.LiveChange](v, "change"); !slices.Contains(c.Topics, "events") {
		t.Fatalf("%+v", c)
	}
	happened(t, store, inventory, "new")
	if got := v.happenings(1); got[0] != "new" {
		t.Fatalf("%v", got)
	}
	k.want(400, k.do(http.MethodGet, "/api/v1/live?after=x", "viewer", nil))
	k.want(400, k.do(http.MethodGet, "/api/v1/live?application=shop/x", "viewer", nil))
	k.want(400, k.do(http.MethodGet, "/api/v1/live?app=a/a&app=a/b&app=a/c&app=a/d&app=a/e", "viewer", nil))
}

func TestWhoIsBoundToANamespaceIsToldOfNoOther(t *testing.T) {
	t.Parallel()
	k, store, _ := livePostgres(t)
	for _, app := range []governance.App{inventory, ledger} {
		k.want(202, k.instance(app, "of-"+app.Name).report(func(r *governance.Report) { r.Samples = []governance.Sample{sample(10 * time.Second)} }))
	}
	k.want(403, k.do(http.MethodGet, "/api/v1/live?app=shop/inventory", "bank", nil))
	v := k.watch("app=bank/ledger", "bank", "")
	if h := read[api.LiveHealth](v, "health"); len(h.Items) != 1 || h.Items[0].App != ledger {
		t.Fatalf("%+v", h)
	}
	if s := read[api.LiveSamples](v, "samples"); len(s.Items) != 1 || s.App != ledger {
		t.Fatalf("%+v", s)
	}
	happened(t, store, inventory, "theirs")
	happened(t, store, ledger, "its")
	if got := v.happenings(1); got[0] != "its" {
		t.Fatalf("told of %v", got)
	}
	has := v.close()
	happened(t, store, inventory, "theirs")
	happened(t, store, ledger, "its again")
	if got := k.watch("", "bank", has).happenings(1); got[0] != "its again" {
		t.Fatalf("told of %v", got)
	}
}
