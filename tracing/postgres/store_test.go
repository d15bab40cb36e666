package postgres_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// number reads one number from the database.
func number(t *testing.T, pool interface{ Ping(context.Context) error }, q func(ctx context.Context, into *int64) error) (n int64) {
	t.Helper()
	if err := pool.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func write(t *testing.T, s *postgres.Store, spans ...tracing.Span) {
	t.Helper()
	if err := s.Write(t.Context(), spans); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesAShortRetention(t *testing.T) {
	if _, err := postgres.Open(nil, postgres.Config{Retention: time.Hour}); err == nil {
		t.Fatal("an hour was taken")
	}
}

// Spans that come between the database and its migration must go to the spool,
// which only what is Unavailable makes them do.
func TestADatabaseThatIsNotMigratedYetIsAway(t *testing.T) {
	s, err := postgres.Open(testdb.New(t).Pool(), postgres.Config{Linger: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), tracingtest.NewGenerator(47, time.Now()).Trace()); tracing.CodeOf(err) != tracing.Unavailable {
		t.Errorf("%v", err)
	}
	if err := s.Check(t.Context()); tracing.CodeOf(err) != tracing.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestPartitionsAreMadeAheadAndDroppedByAge(t *testing.T) {
	pool := database(t)
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	s := open(t, pool, postgres.Config{Linger: -1, Retention: 3 * 24 * time.Hour, Now: func() time.Time { return now }})
	partitions := func() string {
		t.Helper()
		var list string
		err := pool.QueryRow(t.Context(), `SELECT string_agg(substr(c.relname, 10), ' ' ORDER BY c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
			WHERE i.inhparent = 'tracing.fragment'::regclass`).Scan(&list)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got, want := partitions(), "20260307 20260308 20260309 20260310 20260311 20260312 default"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	span := func(trace uint64, at time.Time) tracing.Span {
		return tracing.Span{TraceID: tracing.TraceID{Low: trace}, ID: 1, Timestamp: at.UnixMicro(), Local: tracing.Endpoint{Service: "web"}}
	}
	// Far too old, and far ahead: both are kept, with what is kept by day.
	write(t, s, span(1, now.Add(-1000*time.Hour)), span(2, now), span(3, now.Add(100*24*time.Hour)))
	count := func(table string) int64 {
		return number(t, pool, func(ctx context.Context, n *int64) error {
			return pool.QueryRow(ctx, "SELECT count(*) FROM tracing."+table).Scan(n)
		})
	}
	if a, b, c := count("fragment_20260307"), count("fragment_20260310"), count("fragment_default"); a != 1 || b != 2 || c != 0 {
		t.Errorf("%d, %d, %d rows", a, b, c)
	}
	for trace := range uint64(3) {
		if got, err := s.Trace(t.Context(), tracing.TraceID{Low: trace + 1}); err != nil || len(got) != 1 {
			t.Errorf("trace %d: %v, %v", trace+1, got, err)
		}
	}
	// Nobody looked after partitions for four days: spans go to the default one, and
	// from there to their own.
	now = now.Add(4 * 24 * time.Hour)
	write(t, s, span(4, now))
	if n := count("fragment_default"); n != 1 {
		t.Errorf("%d rows in the default partition", n)
	}
	if _, err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := partitions(), "20260311 20260312 20260313 20260314 20260315 20260316 default"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if a, b := count("fragment_20260314"), count("fragment_default"); a != 1 || b != 0 {
		t.Errorf("%d and %d rows", a, b)
	}
	if got, err := s.Trace(t.Context(), tracing.TraceID{Low: 4}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Trace(t.Context(), tracing.TraceID{Low: 2}); err != nil || len(got) != 0 {
		t.Errorf("what was dropped: %v, %v", got, err)
	}
	// The indexes came along.
	if n := number(t, pool, func(ctx context.Context, n *int64) error {
		return pool.QueryRow(ctx, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'tracing' AND tablename = 'fragment_20260314'").Scan(n)
	}); n != 4 {
		t.Errorf("%d indexes", n)
	}
}

// stored is how many bytes the payloads of a trace have.
func stored(t *testing.T, s *postgres.Store, spans []tracing.Span) {
	t.Helper()
	got, err := s.Trace(t.Context(), spans[0].TraceID)
	if err != nil || len(got) != len(spans) {
		t.Fatalf("%d of %d spans: %v", len(got), len(spans), err)
	}
}

func TestDictionariesAreTrainedAndKeptWhileNeeded(t *testing.T) {
	pool := database(t)
	now := time.Now()
	cfg := postgres.Config{Linger: -1, Now: func() time.Time { return now }}
	s, other := open(t, pool, cfg), open(t, pool, cfg)
	postgres.TrainAfter(s, 150)
	g := tracingtest.NewGenerator(41, now.Add(-time.Minute))
	before, after := g.Trace(), g.Trace()
	write(t, s, before...)
	stored(t, other, before) // which has by now loaded what dictionaries there are: none
	fill := func() {
		t.Helper()
		for _, body := range g.Bodies(1500, 100) {
			write(t, s, body...)
		}
		if err := postgres.Train(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	size := func() (bytes int64) {
		return number(t, pool, func(ctx context.Context, n *int64) error {
			return pool.QueryRow(ctx, "SELECT avg(length(payload))::bigint FROM tracing.fragment WHERE batch = (SELECT max(batch) FROM tracing.fragment)").Scan(n)
		})
	}
	fill()
	write(t, s, g.Bodies(300, 100)[0]...)
	with := size()
	without := number(t, pool, func(ctx context.Context, n *int64) error {
		return pool.QueryRow(ctx, "SELECT avg(length(payload))::bigint FROM tracing.fragment WHERE batch = (SELECT min(batch) FROM tracing.fragment)").Scan(n)
	})
	if with >= without {
		t.Errorf("%d bytes with a dictionary, %d without", with, without)
	}
	write(t, s, after...)
	stored(t, s, before)
	stored(t, other, after) // which has to load the dictionary it does not know

	// A second one a week later; the first is needed for what is there.
	if _, err := pool.Exec(t.Context(), "UPDATE tracing.dictionary SET made = made - interval '8 days'"); err != nil {
		t.Fatal(err)
	}
	s = open(t, pool, cfg)
	postgres.TrainAfter(s, 150)
	fill()
	dictionaries := func() int64 {
		return number(t, pool, func(ctx context.Context, n *int64) error {
			return pool.QueryRow(ctx, "SELECT count(*) FROM tracing.dictionary").Scan(n)
		})
	}
	if _, err := s.Maintain(t.Context()); err != nil || dictionaries() != 2 {
		t.Fatalf("%d dictionaries, %v", dictionaries(), err)
	}
	stored(t, s, after)
	now = now.Add(10 * 24 * time.Hour)
	if _, err := s.Maintain(t.Context()); err != nil || dictionaries() != 1 {
		t.Fatalf("%d dictionaries once all they were for is dropped, %v", dictionaries(), err)
	}
}

func TestNamesAreForgottenWithTheirSpans(t *testing.T) {
	pool := database(t)
	now := time.Now()
	s := open(t, pool, postgres.Config{Linger: -1, Now: func() time.Time { return now }})
	g := tracingtest.NewGenerator(42, now)
	write(t, s, g.Trace()...)
	if got, err := s.Services(t.Context()); err != nil || len(got) == 0 {
		t.Fatalf("%v, %v", got, err)
	}
	now = now.Add(9 * 24 * time.Hour)
	if _, err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Services(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// Three processes link by turns, one robbing the other of the token between any
// two steps, while spans come late and twice. The table must come to what a batch
// job over all says.
func TestLinkersThatReplaceEachOtherCountOnce(t *testing.T) {
	pool := database(t)
	cfg := postgres.Config{Linger: -1, Quiet: -1}
	linkers := []*postgres.Store{open(t, pool, cfg), open(t, pool, cfg), open(t, pool, cfg)}
	postgres.KnowAtMost(linkers[1], 2) // as if there were very many
	postgres.KnowAtMost(linkers[2], 5)
	r := rand.New(rand.NewPCG(9, 9))
	var all []tracing.Span
	var want [][]tracing.Link
	began := time.Now().Add(-time.Minute)
	for _, spans := range tracingtest.NewGenerator(43, began).Traces(60) {
		want = append(want, tracing.Links(spans))
		all = append(append(all, spans...), spans[:2]...)
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for len(all) > 0 {
		n := 1 + r.IntN(min(len(all), 40))
		write(t, linkers[r.IntN(3)], all[:n]...)
		all = all[n:]
		for range r.IntN(3) {
			if r.IntN(2) == 0 {
				if _, err := pool.Exec(t.Context(), "UPDATE tracing.linker SET until = 'epoch'"); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := linkers[r.IntN(3)].LinkDue(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := pool.Exec(t.Context(), "UPDATE tracing.linker SET until = 'epoch'"); err != nil {
		t.Fatal(err)
	}
	linkAll(t, linkers[0])
	got, err := linkers[1].Dependencies(t.Context(), time.Now().UnixMilli(), time.Hour.Milliseconds())
	if err != nil || !slices.Equal(got, tracing.MergeLinks(want...)) {
		t.Fatalf("%v:\ngot  %v\nwant %v", err, got, tracing.MergeLinks(want...))
	}
	if n := number(t, pool, func(ctx context.Context, n *int64) error {
		return pool.QueryRow(ctx, "SELECT count(*) FROM tracing.dirty").Scan(n)
	}); n != 0 {
		t.Errorf("%d batches are still said to be new", n)
	}
}

func TestATraceIsLinkedOnceItIsQuiet(t *testing.T) {
	pool := database(t)
	s := open(t, pool, postgres.Config{Linger: -1, Quiet: 30 * time.Second, Cap: 5 * time.Minute})
	write(t, s, tracingtest.NewGenerator(44, time.Now()).Trace()...)
	linked := func() bool {
		t.Helper()
		linkAll(t, s)
		return number(t, pool, func(ctx context.Context, n *int64) error {
			return pool.QueryRow(ctx, "SELECT count(*) FROM tracing.dirty").Scan(n)
		}) == 0
	}
	if linked() {
		t.Fatal("it was linked at once")
	}
	// As a process that takes over sees it half a minute later.
	if _, err := pool.Exec(t.Context(), "UPDATE tracing.dirty SET seen = seen - interval '31 seconds'"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "UPDATE tracing.linker SET until = 'epoch'"); err != nil {
		t.Fatal(err)
	}
	s = open(t, pool, postgres.Config{Linger: -1})
	if !linked() {
		t.Fatal("it was not linked")
	}
}

func TestASearchThatTakesTooLongSaysSo(t *testing.T) {
	pool := database(t)
	s := open(t, pool, postgres.Config{Linger: -1, SearchTimeout: time.Nanosecond})
	write(t, s, tracingtest.NewGenerator(45, time.Now()).Trace()...)
	// Again and again: taking a free turn must not depend on which of two ready
	// channels a select happens to look at.
	for range 64 {
		found, err := s.Search(t.Context(), tracing.Query{End: time.Now().UnixMilli(), Lookback: 3_600_000, Limit: 10})
		if err != nil || !strings.Contains(found.Cut, "longer than") {
			t.Fatalf("%q, %v", found.Cut, err)
		}
	}
}

// A rare term is looked up in its index, and a common one is not, whatever the
// planner would like.
func TestSearchesUseTheIndexTheyAreMeantTo(t *testing.T) {
	pool := database(t)
	now := time.Now()
	s := open(t, pool, postgres.Config{Linger: -1})
	for _, body := range tracingtest.NewGenerator(46, now.Add(-time.Minute)).Bodies(3000, 500) {
		write(t, s, body...)
	}
	if _, err := pool.Exec(t.Context(), "VACUUM (ANALYZE) tracing.fragment"); err != nil {
		t.Fatal(err)
	}
	plan := func(sql string) string {
		t.Helper()
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(t.Context())
		// The tables of a test are too small for any index.
		if _, err := tx.Exec(t.Context(), "SET LOCAL enable_seqscan = off"); err != nil {
			t.Fatal(err)
		}
		rows, err := tx.Query(t.Context(), "EXPLAIN "+sql)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, "\n")
	}
	for _, c := range []tracing.Condition{{Key: "http.method", Value: "GET"}, {Key: "order.id", Value: "7"}} {
		walk, byTerm := postgres.Statements(tracing.Query{Service: "inventory", Annotations: []tracing.Condition{c}, End: now.UnixMilli(), Lookback: 60_000, Limit: 10})
		if p := plan(walk); !strings.Contains(p, "service_at_idx") || strings.Contains(p, "terms_idx") {
			t.Errorf("the walk for %v:\n%s", c, p)
		}
		if p := plan(byTerm); c.Key == "order.id" && !strings.Contains(p, "terms_idx") {
			t.Errorf("the index for %v:\n%s", c, p)
		}
	}
}
