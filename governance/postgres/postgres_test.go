package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/governancetest"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

func open(t *testing.T, clock *governancetest.Clock) (*postgres.Store, *pgxpool.Pool) {
	t.Helper()
	pool := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations())).Pool()
	return postgres.New(pool, postgres.Options{Now: clock.Now, Poll: 50 * time.Millisecond}), pool
}

func TestStore(t *testing.T) {
	t.Parallel()
	governancetest.Run(t, func(t *testing.T, clock *governancetest.Clock) governancetest.Subject {
		t.Helper()
		s, _ := open(t, clock)
		return governancetest.Subject{Store: s, Settle: s.Fold}
	})
}

// TestFoldMayBeCutOffAnywhere ends folds in the middle, as a process that is
// killed does, and runs several at once: what was acknowledged counts once.
func TestFoldMayBeCutOffAnywhere(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, pool := open(t, clock)
	begin := clock.Now().Add(-time.Minute)
	const instances, each = 8, 30
	for n := range instances {
		for k := range each {
			if err := s.Append(t.Context(), report(fmt.Sprint("i", n), int64(k+1), begin.Add(time.Duration(k)*time.Second))); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(when string) {
		t.Helper()
		for _, step := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
			got, err := s.Series(t.Context(), governance.SeriesQuery{App: app, Series: reserve, From: begin, To: begin.Add(time.Minute), Step: step})
			if err != nil {
				t.Fatal(err)
			}
			calls := int64(0)
			for _, p := range got.Points {
				calls += p.Counts.Success
			}
			if calls != instances*each {
				t.Fatalf("%s, by %s: %d calls, want %d", when, step, calls, instances*each)
			}
		}
	}
	check("staged")
	clock.Advance(2 * time.Minute)
	// Each gets a little further before it is cut off.
	for after := time.Duration(0); after < 10*time.Millisecond; after += 500 * time.Microsecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_ = s.Fold(ctx) // most are cut off; what counts is what is left
		cancel()
		check("cut off after " + after.String())
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.Fold(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	check("folded")
	// A store that knows nothing from before goes on where this one was.
	again := postgres.New(pool, postgres.Options{Now: clock.Now})
	if err := again.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("folded again")
	var staged, chunks int
	if err := pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM governance.staging), (SELECT count(*) FROM governance.chunk)").Scan(&staged, &chunks); err != nil {
		t.Fatal(err)
	}
	if staged != 0 || chunks != instances {
		t.Fatalf("%d reports are staged and %d chunks are there, want 0 and %d", staged, chunks, instances)
	}
}

func TestHistoryIsDroppedByWholePartitions(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, pool := open(t, clock)
	if err := postgres.Keep(s, t.Context()); err != nil {
		t.Fatal(err)
	}
	names := func() map[string]int {
		rows, err := pool.Query(t.Context(), `SELECT p.relname::text, count(*) FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p' GROUP BY 1`)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		var name string
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { out[name] = n; return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := names()
	for _, table := range []string{"chunk", "rollup10", "rollup60", "event"} {
		if first[table] < 3 {
			t.Fatalf("%d partitions of %s are there; some have to be made ahead: %v", first[table], table, first)
		}
	}
	begin := clock.Now()
	if err := s.Append(t.Context(), report("a", 1, begin.Add(-2*time.Minute))); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Minute)
	if err := s.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	has := func(step time.Duration) bool {
		got, err := s.Series(t.Context(), governance.SeriesQuery{App: app, Series: reserve, From: begin.Add(-10 * time.Minute), To: begin, Step: step})
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Points) > 0
	}
	for _, c := range []struct {
		after              time.Duration
		chunk, tens, sixty bool
	}{{0, true, true, true}, {3 * 24 * time.Hour, false, true, true}, {9 * 24 * time.Hour, false, false, true}, {92 * 24 * time.Hour, false, false, false}} {
		clock.Advance(begin.Add(c.after).Sub(clock.Now()))
		if err := postgres.Keep(s, t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := s.Series(t.Context(), governance.SeriesQuery{App: app, Instance: "a", Series: reserve, From: begin.Add(-10 * time.Minute), To: begin, Step: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		var tens int
		if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM governance.rollup10").Scan(&tens); err != nil {
			t.Fatal(err)
		}
		if len(got.Points) > 0 != c.chunk || tens > 0 != c.tens || has(time.Minute) != c.sixty {
			t.Fatalf("after %s: seconds %t, tens %t, minutes %t; want %+v", c.after, len(got.Points) > 0, tens > 0, has(time.Minute), c)
		}
		// What comes in meanwhile has its place.
		if err := s.Append(t.Context(), report("b", int64(c.after/time.Hour)+1, clock.Now())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVersionsAreImmutable(t *testing.T) {
	t.Parallel()
	s, pool := open(t, governancetest.NewClock())
	v, err := s.Put(t.Context(), governance.Policy{Target: governance.Target{App: app}, Rules: governance.Rules{Timeout: 1}}, 0, governance.Change{Actor: "a", Reason: "b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"UPDATE governance.policy_version SET reason = 'other' WHERE version = $1", "DELETE FROM governance.policy_version WHERE version = $1"} {
		if _, err := pool.Exec(t.Context(), sql, v.Version); err == nil || !strings.Contains(err.Error(), "immutable") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	s, pool := open(t, governancetest.NewClock())
	pool.Close()
	_, _, err := s.List(t.Context(), governance.PolicyQuery{})
	for what, err := range map[string]error{
		"List": err, "Append": s.Append(t.Context(), report("a", 1, time.Now())), "PutInstances": s.PutInstances(t.Context(), governance.Instance{App: app, ID: "a"}),
	} {
		if governance.CodeOf(err) != governance.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
}

var (
	app     = governance.App{Namespace: "shop", Name: "inventory"}
	reserve = governance.Series{Command: "InventoryService.reserve", At: governance.Provider}
)

func report(instance string, seq int64, at time.Time) governance.Report {
	return governance.Report{App: app, Instance: instance, Boot: "b", Seq: seq, Samples: []governance.Sample{
		{Series: reserve, Second: at.Unix(), Counts: governance.Counts{Success: 1}, State: governance.StateClosed},
	}}
}

func TestTooManySeriesAreCountedTogether(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, pool := open(t, clock)
	// As many as there may be, but for one.
	if _, err := pool.Exec(t.Context(), `INSERT INTO governance.series (app_namespace, app_name, command, at, peer_namespace, peer_name)
		SELECT $1, $2, 'c' || n, 'provider', '', '' FROM generate_series(2, $3) n`, app.Namespace, app.Name, postgres.MaxSeries); err != nil {
		t.Fatal(err)
	}
	r := report("a", 1, clock.Now())
	for _, command := range []string{"c2", "new 1", "new 2"} {
		sample := r.Samples[0]
		sample.Command = command
		r.Samples = append(r.Samples, sample)
	}
	if err := s.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	begin := clock.Now()
	clock.Advance(5 * time.Minute)
	if err := s.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	for sr, want := range map[governance.Series]int64{reserve: 1, {Command: "c2", At: governance.Provider}: 1, {Command: "new 1", At: governance.Provider}: 0, postgres.Overflow(reserve): 2} {
		got, err := s.Series(t.Context(), governance.SeriesQuery{App: app, Series: sr, From: begin, To: begin.Add(time.Minute), Step: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		calls := int64(0)
		for _, p := range got.Points {
			calls += p.Counts.Success
		}
		if calls != want {
			t.Errorf("%s: %d calls, want %d", sr.Command, calls, want)
		}
	}
}

func TestPoliciesAreReadInParts(t *testing.T) {
	t.Parallel()
	s, pool := open(t, governancetest.NewClock())
	const n = 5_003
	if _, err := pool.Exec(t.Context(), `WITH v AS (
			INSERT INTO governance.policy_version (version, namespace, name, kind, app_namespace, app_name, deleted, created, actor, reason, document)
			SELECT n, 'shop', 'p' || n, 'policy', 'shop', 'inventory', false, now(), 'a', 'b',
				json_build_object('namespace', 'shop', 'name', 'p' || n, 'kind', 'policy', 'target', json_build_object('app', 'shop/inventory', 'at', 'provider'), 'timeout', '1s')
			FROM generate_series(1, $1) n RETURNING namespace, name, version)
		INSERT INTO governance.policy SELECT * FROM v`, n); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "UPDATE governance.counter SET version = $1", n); err != nil {
		t.Fatal(err)
	}
	got, at := 0, int64(0)
	for {
		part, to, err := s.Since(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		if got += len(part); to == at {
			break
		}
		at = to
	}
	if got != n || at != n {
		t.Fatalf("read %d policies up to version %d, want %d", got, at, n)
	}
}

// TestWhoCollects shares a table of who collects between processes: each sees the
// others for as long as they say so, and nobody stays that has ended.
func TestWhoCollects(t *testing.T) {
	t.Parallel()
	s, pool := open(t, governancetest.NewClock())
	collect := func(id string) []string {
		t.Helper()
		ids, err := s.Collect(t.Context(), id, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	collect("a")
	if got := collect("b"); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("b sees %v", got)
	}
	if _, err := pool.Exec(t.Context(), "UPDATE governance.collector SET seen = seen - interval '1 minute' WHERE id = 'a'"); err != nil {
		t.Fatal(err)
	}
	if got := collect("b"); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("with a silent, b sees %v", got)
	}
	if got := collect("a"); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("a is back and sees %v", got)
	}
	if err := s.EndCollect(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if got := collect("a"); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("without b, a sees %v", got)
	}
	// Many say so at once, and take the same ones away, without a deadlock.
	if _, err := pool.Exec(t.Context(), "INSERT INTO governance.collector SELECT 'old' || n, now() - interval '1 hour' FROM generate_series(1, 200) n"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := s.Collect(t.Context(), fmt.Sprint("many", n), time.Minute); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := collect("a"); len(got) != 9 {
		t.Errorf("at the end there are %v", got)
	}
}
