package postgres_test

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// What somebody will mend is no reason to refuse spans, which can wait in a spool;
// what the database will never have is none to try again.
func TestCodesOfTheDatabasesErrors(t *testing.T) {
	s := open(t, database(t), postgres.Config{})
	for code, want := range map[string]tracing.Code{
		"28P01": tracing.Unavailable, "3D000": tracing.Unavailable, "42501": tracing.Unavailable, "42P01": tracing.Unavailable, "53100": tracing.Unavailable,
		"57P01": tracing.Unavailable, "0A000": tracing.Unavailable, "26000": tracing.Unavailable,
		"22021": tracing.Internal, "23505": tracing.Internal, "54000": tracing.Internal, "XX000": tracing.Internal,
	} {
		if got := tracing.CodeOf(postgres.Fail(t.Context(), s, &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}

// One request that the database will not have must not fail those that share its
// transaction.
func TestOneBadRequestDoesNotFailOthers(t *testing.T) {
	pool := database(t)
	s := open(t, pool, postgres.Config{Writers: 1})
	if _, err := pool.Exec(t.Context(), "ALTER TABLE tracing.name ADD CHECK (name <> 'poison')"); err != nil {
		t.Fatal(err)
	}
	spans := tracingtest.NewGenerator(3, time.Now()).Traces(8)
	spans[3][0].Name = "poison"
	release := postgres.Hold(s)
	errs := make([]error, len(spans))
	var all sync.WaitGroup
	total := 0
	for i := range spans {
		total += len(spans[i])
		all.Go(func() { errs[i] = s.Write(t.Context(), spans[i]) })
	}
	for postgres.Waiting(s) < total { // until all wait for one transaction
		runtime.Gosched()
	}
	release()
	all.Wait()
	for i, err := range errs {
		if (err != nil) != (i == 3) {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if tracing.CodeOf(errs[3]) != tracing.Internal {
		t.Errorf("%v", errs[3])
	}
}

// A trace that brings very much at once is not one row that nobody can read.
func TestALargeTraceIsSeveralRows(t *testing.T) {
	pool := database(t)
	s := open(t, pool, postgres.Config{Linger: -1, Quiet: -1})
	now := time.Now().UnixMicro()
	var spans []tracing.Span
	for i := range 12 {
		spans = append(spans, tracing.Span{
			TraceID: tracing.TraceID{Low: 7}, ID: tracing.ID(i + 1), Kind: tracing.Client, Timestamp: now + int64(i),
			Local: tracing.Endpoint{Service: "web"}, Remote: tracing.Endpoint{Service: "db"}, Tags: []tracing.Tag{{Key: "sql", Value: strings.Repeat("x", 1<<20)}},
		})
	}
	write(t, s, spans...)
	stored(t, s, spans)
	if n := number(t, pool, func(ctx context.Context, n *int64) error {
		return pool.QueryRow(ctx, "SELECT count(*) FROM tracing.fragment").Scan(n)
	}); n != 3 {
		t.Errorf("%d rows", n)
	}
	linkAll(t, s)
	links, err := s.Dependencies(t.Context(), time.Now().UnixMilli(), time.Hour.Milliseconds())
	if err != nil || !slices.Equal(links, tracing.Links(spans)) {
		t.Errorf("%v %v", links, err)
	}
}

// A damaged row spoils neither searches nor the links of other traces.
func TestADamagedFragmentIsLeftOut(t *testing.T) {
	pool := database(t)
	s := open(t, pool, postgres.Config{Linger: -1, Quiet: -1})
	traces := tracingtest.NewGenerator(11, time.Now().Add(-time.Minute)).Traces(5)
	for _, spans := range traces {
		write(t, s, spans...)
	}
	if _, err := pool.Exec(t.Context(), "UPDATE tracing.fragment SET payload = '\\x00010203' WHERE trace = $1", int64(traces[2][0].TraceID.Low)); err != nil {
		t.Fatal(err)
	}
	found, err := s.Search(t.Context(), tracing.Query{End: time.Now().UnixMilli(), Lookback: time.Hour.Milliseconds(), Limit: 10})
	if err != nil || len(found.Traces) != 4 || found.Cut == "" {
		t.Errorf("%d traces, cut %q: %v", len(found.Traces), found.Cut, err)
	}
	linkAll(t, s)
	var want [][]tracing.Link
	for i, spans := range traces {
		if i != 2 {
			want = append(want, tracing.Links(spans))
		}
	}
	got, err := s.Dependencies(t.Context(), time.Now().UnixMilli(), time.Hour.Milliseconds())
	if err != nil || !slices.Equal(got, tracing.MergeLinks(want...)) {
		t.Errorf("%v: got %v, want %v", err, got, tracing.MergeLinks(want...))
	}
}

func TestASearchMayEndInTheFarFuture(t *testing.T) {
	s := open(t, database(t), postgres.Config{Linger: -1})
	write(t, s, tracingtest.NewGenerator(12, time.Now()).Trace()...)
	found, err := s.Search(t.Context(), tracing.Query{End: math.MaxInt64, Lookback: math.MaxInt64, Limit: 10})
	if err != nil || len(found.Traces) != 1 {
		t.Errorf("%d traces: %v", len(found.Traces), err)
	}
}

// Spans that come in any order, late, twice, in pieces and over midnight leave the
// links that one look over all spans finds; and once they are dropped by age, the
// same ones sent again change nothing.
func TestLinksEqualABatchJobOverAll(t *testing.T) {
	pool := database(t)
	now := time.Date(2026, 3, 10, 1, 30, 0, 0, time.UTC)
	s := open(t, pool, postgres.Config{Linger: -1, Quiet: -1, Retention: 48 * time.Hour, Now: func() time.Time { return now }})
	began := time.Date(2026, 3, 9, 23, 59, 59, 900_000_000, time.UTC)
	r := rand.New(rand.NewPCG(21, 22))
	var all []tracing.Span
	var want [][]tracing.Link
	for _, spans := range tracingtest.NewGenerator(45, began).Traces(150) {
		for i := range spans { // damage of every kind
			switch r.IntN(14) {
			case 0:
				spans[i].Local = tracing.Endpoint{}
			case 1:
				spans[i].ParentID = tracing.ID(r.Uint64())
			case 2:
				spans[i].ID = spans[r.IntN(len(spans))].ID
			case 3:
				spans[i].TraceID.High = 0
			case 4:
				spans[i].Shared = true
			case 5:
				spans[i].Timestamp = 0
			case 6:
				spans[i].Timestamp += int64(time.Duration(r.IntN(100)-50) * time.Minute / time.Microsecond)
			case 7:
				spans[i].Name, spans[i].Remote.Service = "other", "other"
			}
			if err := spans[i].Normalize(); err != nil {
				t.Fatal(err)
			}
		}
		if tracing.TraceTime(spans) != 0 {
			want = append(want, tracing.Links(spans))
		}
		all = append(append(all, spans...), spans[:r.IntN(len(spans))]...)
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	check := func(what string) {
		t.Helper()
		linkAll(t, s)
		got, err := s.Dependencies(t.Context(), now.UnixMilli(), (30 * 24 * time.Hour).Milliseconds())
		if err != nil || !slices.Equal(got, tracing.MergeLinks(want...)) {
			t.Fatalf("%s: %v:\ngot  %v\nwant %v", what, err, got, tracing.MergeLinks(want...))
		}
	}
	number := uint64(0)
	for left := all; len(left) > 0; {
		n := 1 + r.IntN(min(len(left), 60))
		part := left[:n]
		left = left[n:]
		if r.IntN(3) == 0 {
			number++
			for range 1 + r.IntN(2) { // a replay that died before it was noted comes again
				if err := s.Replay(t.Context(), "spool", number, part); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			write(t, s, part...)
		}
		if r.IntN(3) == 0 {
			linkAll(t, s)
		}
	}
	check("after all came")
	write(t, s, all[:len(all)/2]...)
	check("after half came again")
	now = now.Add(4 * 24 * time.Hour)
	if _, err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, s, all...)
	check("after all were dropped and came again")
}

// A database that is set to answer before it has written is not taken at its word.
func TestSpansAreCommittedSynchronously(t *testing.T) {
	db := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	if _, err := db.Pool().Exec(t.Context(), `CREATE TABLE public.seen (setting text);
		CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END';
		CREATE TRIGGER look AFTER INSERT ON tracing.dirty EXECUTE FUNCTION public.look();
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	db.Pool().Reset() // what is connected keeps its settings
	s := open(t, db.Pool(), postgres.Config{Linger: -1})
	write(t, s, tracingtest.NewGenerator(13, time.Now()).Trace()...)
	var was, now string
	if err := db.Pool().QueryRow(t.Context(), "SELECT setting, current_setting('synchronous_commit') FROM public.seen").Scan(&was, &now); err != nil || was != "on" || now != "off" {
		t.Errorf("committed with %q, outside of it %q: %v", was, now, err)
	}
}

func TestReadingsDoNotTakeAllConnections(t *testing.T) {
	pool := database(t)
	s := open(t, pool, postgres.Config{Linger: -1})
	if n := postgres.Reads(s); n < 1 || n > 1 && n > int(pool.Config().MaxConns)/2 {
		t.Fatalf("%d of %d connections", n, pool.Config().MaxConns)
	}
	for range postgres.Reads(s) {
		release, err := postgres.Reading(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
	spans := tracingtest.NewGenerator(14, time.Now()).Trace()
	write(t, s, spans...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Trace(ctx, spans[0].TraceID); tracing.CodeOf(err) != tracing.Unavailable {
		t.Errorf("%v", err)
	}
}
