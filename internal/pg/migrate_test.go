//go:build unix

package pg_test

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

// notes reads what the migrations of ledger wrote.
func notes(t *testing.T, pool *pgxpool.Pool, schema string) string {
	t.Helper()
	var got string
	err := pool.QueryRow(t.Context(), "SELECT coalesce(string_agg(note, ',' ORDER BY id), '') FROM "+schema+".entry").Scan(&got)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func version(t *testing.T, pool *pgxpool.Pool, schema string) (v int64) {
	t.Helper()
	err := pool.QueryRow(t.Context(), "SELECT max(version_id) FROM "+schema+".goose_db_version").Scan(&v)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// upTo cuts a set of migrations off.
func upTo(all fstest.MapFS, last string) fstest.MapFS {
	some := fstest.MapFS{}
	for name, f := range all {
		if name <= last {
			some[name] = f
		}
	}
	return some
}

func TestMigrateAppliesEachOnceAndReportsIt(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	var log record
	if err := pg.Migrate(t.Context(), pool, "gateway", upTo(ledger("gateway"), "00003_first.sql"), log.logger()); err != nil {
		t.Fatal(err)
	}
	if got := notes(t, pool, "gateway"); got != "first" {
		t.Errorf("notes %q", got)
	}
	for _, file := range []string{"00001_entry.sql", "00002_note.sql", "00003_first.sql"} {
		if n := strings.Count(log.String(), file); n != 1 {
			t.Errorf("%s reported %d times", file, n)
		}
	}
	for range 2 { // what came since, then nothing
		if err := pg.Migrate(t.Context(), pool, "gateway", ledger("gateway"), nil); err != nil {
			t.Fatal(err)
		}
		if got := notes(t, pool, "gateway"); got != "first,second" {
			t.Errorf("notes %q", got)
		}
	}
	if v := version(t, pool, "gateway"); v != 4 {
		t.Errorf("version %d", v)
	}
}

func TestMigrateKeepsSchemasApart(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	if err := pg.Migrate(t.Context(), pool, "gateway", ledger("gateway"), nil); err != nil {
		t.Fatal(err)
	}
	if err := pg.Migrate(t.Context(), pool, "tracing", upTo(ledger("tracing"), "00003_first.sql"), nil); err != nil {
		t.Fatal(err)
	}
	if g, tr := version(t, pool, "gateway"), version(t, pool, "tracing"); g != 4 || tr != 3 {
		t.Errorf("versions %d and %d", g, tr)
	}
}

func TestMigrateByManyAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	schemas := []string{"gateway", "governance", "tracing"}
	var helpers []*process
	for range 3 {
		helpers = append(helpers, startHelper(t, helper{Migrate: db.URL, Schemas: schemas}))
	}
	var wg sync.WaitGroup
	for range 4 {
		for _, s := range schemas {
			wg.Go(func() {
				if err := pg.Migrate(t.Context(), db.Pool(), s, ledger(s), nil); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, h := range helpers {
		if out := h.wait(t); out != "" {
			t.Error(out)
		}
	}
	for _, s := range schemas {
		if got := notes(t, db.Pool(), s); got != "first,second" {
			t.Errorf("%s: notes %q", s, got)
		}
		var rows int
		if err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM "+s+".goose_db_version").Scan(&rows); err != nil || rows != 5 {
			t.Errorf("%s: %d version rows (%v), want one each and zero's", s, rows, err)
		}
	}
}

func TestMigrateRefusesANewerSchema(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	if err := pg.Migrate(t.Context(), pool, "gateway", ledger("gateway"), nil); err != nil {
		t.Fatal(err)
	}
	old := upTo(ledger("gateway"), "00002_note.sql")
	err := pg.Migrate(t.Context(), pool, "gateway", old, nil)
	wantSentence(t, err, pg.ErrNewerSchema, "gateway", "version 4", "up to 2", "--database-url")
	if v := version(t, pool, "gateway"); v != 4 {
		t.Errorf("version %d", v)
	}
}

func TestMigrateFailureKeepsWhatWorkedAndResumes(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	broken := ledger("gateway")
	broken["00004_second.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nINSERT INTO gateway.entry VALUES (2, 'second');\nINSERT INTO gateway.entry VALUES (2, 'again');\n")}
	err := pg.Migrate(t.Context(), pool, "gateway", broken, nil)
	if err == nil || !strings.Contains(err.Error(), "00004_second.sql of schema gateway failed and was rolled back") {
		t.Fatalf("error %v", err)
	}
	if got := notes(t, pool, "gateway"); got != "first" {
		t.Errorf("notes %q", got)
	}
	if err := pg.Migrate(t.Context(), pool, "gateway", ledger("gateway"), nil); err != nil {
		t.Fatal(err)
	}
	if got := notes(t, pool, "gateway"); got != "first,second" {
		t.Errorf("notes %q", got)
	}
}

func TestMigrateIsNotBoundByThePoolsTimeout(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	pool, err := pg.Open(t.Context(), db.URL, pg.Options{StatementTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	slow := fstest.MapFS{"00001_slow.sql": {Data: []byte("-- +goose Up\nSELECT pg_sleep(0.2);\n")}}
	if err := pg.Migrate(t.Context(), pool, "gateway", slow, nil); err != nil {
		t.Fatal(err)
	}
}

func TestMigrateWaitsForTheOtherAndGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	// The other holds the lock inside a migration that waits for us.
	gate, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gate.Exec(t.Context(), "SELECT pg_advisory_xact_lock(1)"); err != nil {
		t.Fatal(err)
	}
	slow := fstest.MapFS{"00001_slow.sql": {Data: []byte("-- +goose Up\nSELECT pg_advisory_xact_lock(1);\n")}}
	first := make(chan error, 1)
	go func() { first <- pg.Migrate(t.Context(), pool, "gateway", slow, nil) }()
	eventually(t, "the first in its migration", func() bool {
		var n int
		err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&n)
		return err == nil && n == 1
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	var log record
	second := make(chan error, 1)
	go func() { second <- pg.Migrate(ctx, pool, "gateway", slow, log.logger()) }()
	eventually(t, "the second waiting", func() bool { return strings.Contains(log.String(), "waiting for another process") })
	why := errors.New("changed my mind")
	cancel(why)
	if err := <-second; !errors.Is(err, why) {
		t.Errorf("second: %v", err)
	}
	if err := gate.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Errorf("first: %v", err)
	}
}

func TestMigrateWithoutTheRight(t *testing.T) {
	t.Parallel()
	// A server of its own: roles are not a database's but a server's.
	s := start(t, quick(testdb.Dir(t)))
	execSQL(t, s.SuperuserURL(), "CREATE ROLE reader LOGIN PASSWORD 'reading'")
	reader := altered(t, s.URL(), func(u *url.URL) { u.User = url.UserPassword("reader", "reading") })
	pool, err := pg.Open(t.Context(), reader, pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	err = pg.Migrate(t.Context(), pool, "gateway", ledger("gateway"), nil)
	wantSentence(t, err, pg.ErrPermission, "gateway", "GRANT CREATE ON DATABASE")
	// With a schema made for it, the same role needs no further right.
	execSQL(t, altered(t, s.SuperuserURL(), func(u *url.URL) { u.Path = "/weir" }), "CREATE SCHEMA gateway AUTHORIZATION reader")
	if err := pg.Migrate(t.Context(), pool, "gateway", ledger("gateway"), nil); err != nil {
		t.Fatal(err)
	}
}

func TestMigrateRejectsMistakesOfItsCaller(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool()
	for name, c := range map[string]struct {
		schema string
		fsys   fs.FS
	}{
		"schema name":   {`gateway"; DROP`, ledger("gateway")},
		"no migrations": {"gateway", fstest.MapFS{}},
		"bad file":      {"gateway", fstest.MapFS{"first.sql": {Data: []byte("SELECT 1;")}}},
	} {
		if err := pg.Migrate(t.Context(), pool, c.schema, c.fsys, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'gateway'").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d schemas made (%v)", n, err)
	}
}
