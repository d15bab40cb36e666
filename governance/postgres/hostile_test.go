package postgres_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/governancetest"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/governance/sketch"
)

// folded returns how many calls are read, and how many reports still wait.
func folded(t *testing.T, s *postgres.Store, pool *pgxpool.Pool, at time.Time) (calls int64, staged int) {
	t.Helper()
	got, err := s.Series(t.Context(), governance.SeriesQuery{App: app, Series: reserve, From: at.Add(-time.Hour), To: at.Add(time.Minute), Step: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got.Points {
		calls += p.Counts.Success
	}
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM governance.staging").Scan(&staged); err != nil {
		t.Fatal(err)
	}
	return calls, staged
}

// enormous is a valid sketch of 2^63 calls: two of them have more than a number holds.
func enormous(t *testing.T) []byte {
	t.Helper()
	var s sketch.Sketch
	s.Add(time.Millisecond)
	s.Add(time.Second)
	for range 62 {
		twice := s
		data, err := twice.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.MergeBinary(data); err != nil {
			t.Fatal(err)
		}
	}
	data, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestNothingStopsFolding: whatever one instance sent, or a row became, history
// goes on for all others.
func TestNothingStopsFolding(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, pool := open(t, clock)
	at := clock.Now().Add(-2 * time.Minute).Truncate(time.Minute)
	for seq := range int64(4) {
		r := report("hostile", seq+1, at)
		r.Samples[0].Latency = enormous(t)
		if err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pool.Exec(t.Context(), `INSERT INTO governance.staging (app_namespace, app_name, instance, first, last, samples)
		VALUES ('shop', 'inventory', 'broken', 0, 0, 'no deflate')`); err != nil {
		t.Fatal(err)
	}
	if err := s.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls, staged := folded(t, s, pool, at); calls != 4 || staged != 0 {
		t.Fatalf("%d calls, %d reports left", calls, staged)
	}
	// Nothing but what cannot be read.
	if _, err := pool.Exec(t.Context(), `INSERT INTO governance.staging (app_namespace, app_name, instance, first, last, samples)
		VALUES ('shop', 'inventory', 'broken', 0, 0, 'no deflate')`); err != nil {
		t.Fatal(err)
	}
	if err := s.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A chunk that cannot be read does not keep what is new out.
	if _, err := pool.Exec(t.Context(), "UPDATE governance.chunk SET data = 'broken'"); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), report("hostile", 9, at)); err != nil {
		t.Fatal(err)
	}
	if err := s.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls, staged := folded(t, s, pool, at); calls != 1 || staged != 0 {
		t.Fatalf("%d calls, %d reports left", calls, staged)
	}
}

// TestFoldsAreBoundedBySamples: many small transactions give what a large one does.
func TestFoldsAreBoundedBySamples(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, pool := open(t, clock)
	s.FoldAtMost(3)
	at := clock.Now().Add(-2 * time.Minute).Truncate(time.Minute)
	for seq := range int64(10) {
		if err := s.Append(t.Context(), report("a", seq+1, at.Add(time.Duration(seq)*time.Second))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls, staged := folded(t, s, pool, at); calls != 10 || staged != 0 {
		t.Fatalf("%d calls, %d reports left", calls, staged)
	}
}

// TestPartitionsDoNotWaitForLongReads: while somebody reads an event for long, as a
// dump does, partitions that are missing are not waited for by those who write.
func TestPartitionsDoNotWaitForLongReads(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, pool := open(t, clock)
	if err := postgres.Keep(s, t.Context()); err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), "SELECT count(*) FROM governance.event"); err != nil {
		t.Fatal(err)
	}
	clock.Advance(35 * 24 * time.Hour)
	if err := postgres.Keep(s, t.Context()); err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Fatalf("got %v, want it to give way", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Keep(s, t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAWrongClockDropsNothing(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, pool := open(t, clock)
	if err := postgres.Keep(s, t.Context()); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_inherits").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	s.OnWallClock()
	clock.Advance(10 * 365 * 24 * time.Hour)
	if err := postgres.Keep(s, t.Context()); err == nil || !strings.Contains(err.Error(), "set the clock") {
		t.Fatalf("got %v", err)
	}
	if n := count(); n < before {
		t.Fatalf("%d partitions are left of %d", n, before)
	}
}

// TestAStandbyIsUnavailable: a database that takes no writes is one that is away
// for a while, not a fault.
func TestAStandbyIsUnavailable(t *testing.T) {
	t.Parallel()
	s, pool := open(t, governancetest.NewClock())
	if _, err := pool.Exec(t.Context(), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	pool.Reset()
	_, err := s.Put(t.Context(), governance.Policy{Target: governance.Target{App: app}, Rules: governance.Rules{Timeout: governance.Duration(time.Second)}}, governance.AnyVersion, governance.Change{Actor: "a", Reason: "b"})
	if governance.CodeOf(err) != governance.Unavailable || strings.Contains(err.Error(), "nothing was changed") {
		t.Fatalf("got %v", err)
	}
}

// TestWhatIsCutSaysSo: what is beyond the bounds of one query is not passed over in
// silence.
func TestWhatIsCutSaysSo(t *testing.T) {
	t.Parallel()
	const plenty = 100
	clock := governancetest.NewClock()
	s, _ := open(t, clock)
	at := clock.Now().Add(-2 * time.Minute).Truncate(time.Minute)
	for seq := range int64(3) {
		r := report("a", seq+1, at.Add(time.Duration(seq)*time.Second))
		r.Samples[0].Command = []string{"one", "two", "one"}[seq]
		r.Transitions = []governance.Transition{{Series: r.Samples[0].Series, Time: at, From: governance.StateClosed, To: governance.StateOpen, Cause: "a test"}}
		if err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	q := governance.TotalsQuery{From: at.Add(-time.Minute), To: clock.Now()}
	one := governance.SeriesQuery{App: report("a", 1, at).App, Series: report("a", 1, at).Samples[0].Series, From: q.From, To: q.To}
	one.Series.Command = "one"
	want := func(when string, totals, points, circuits bool) {
		t.Helper()
		all, err := s.Totals(t.Context(), q)
		if err != nil || all.Cut != totals {
			t.Errorf("%s: totals are cut: %v, want %v (%v)", when, all.Cut, totals, err)
		}
		of, err := s.Series(t.Context(), one)
		if err != nil || of.Cut != points {
			t.Errorf("%s: a series is cut: %v, want %v (%v)", when, of.Cut, points, err)
		}
		states, cut, err := s.Circuits(t.Context(), governance.App{})
		if err != nil || cut != circuits || !cut && len(states) != 2 || cut && len(states) != 1 {
			t.Errorf("%s: circuits are cut: %v, want %v: %v (%v)", when, cut, circuits, states, err)
		}
	}
	s.ReadAtMost(plenty, 3, 2)
	want("as many reports and circuits as may be", false, false, false)
	s.ReadAtMost(plenty, 2, 2)
	want("too many reports", true, true, false)
	s.ReadAtMost(plenty, 3, 1)
	want("too many circuits", true, false, true)
	if err := s.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.ReadAtMost(2, 0, 2)
	want("as many series as may be", false, false, false)
	s.ReadAtMost(1, 0, 2)
	want("too many series", true, false, false)
}

// TestOneRowOfAnInstanceStopsNoOther: what cannot be read of one is passed over,
// said once, and all others are listed, written and swept.
func TestOneRowOfAnInstanceStopsNoOther(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	_, pool := open(t, clock)
	var log bytes.Buffer
	s := postgres.New(pool, postgres.Options{Now: clock.Now, Log: slog.New(slog.NewTextHandler(&log, nil))})
	called := governance.App{Namespace: "shop", Name: "prices"}
	broken := governance.Instance{App: app, ID: "broken", Name: "inventory-0", Calls: []governance.App{called}, Seen: clock.Now()}
	whole := governance.Instance{App: app, ID: "whole", Name: "inventory-1", Calls: []governance.App{called}, Seen: clock.Now()}
	if err := s.PutInstances(t.Context(), broken, whole); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE governance.instance SET calls = '{shop/a/b, shop/prices}', applied = '[1]', applied_at = seen WHERE id = 'broken'`); err != nil {
		t.Fatal(err)
	}
	listed := func() {
		t.Helper()
		all, err := s.Instances(t.Context(), governance.App{})
		if err != nil || len(all) != 2 {
			t.Fatalf("%d instances, %v", len(all), err)
		}
		for _, i := range all {
			if len(i.Calls) != 1 || i.Calls[0] != called || i.Applied != nil {
				t.Errorf("%s calls %v, and applies %+v", i.ID, i.Calls, i.Applied)
			}
		}
	}
	listed()
	if err := s.PutInstances(t.Context(), broken, whole); err != nil {
		t.Errorf("both say something: %v", err)
	}
	listed()
	if _, err := pool.Exec(t.Context(), `UPDATE governance.instance SET calls = '{shop/a/b}' WHERE id = 'broken'`); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * governance.InstanceGone)
	if err := s.SweepInstances(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Instances(t.Context(), governance.App{}); err != nil || len(all) != 0 {
		t.Errorf("after the sweep there are %d, %v", len(all), err)
	}
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("it was said %d times: %s", n, log.String())
	}
}
