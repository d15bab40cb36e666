//go:build unix

package testdb_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

// envHang makes TestHangWithDatabase, run in a process of its own, hold a
// database until it is killed.
const envHang = "WEIR_TESTDB_HANG"

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

var stock = fstest.MapFS{
	"00001_item.sql": {Data: []byte("-- +goose Up\nCREATE TABLE gateway.item (id int PRIMARY KEY);\nINSERT INTO gateway.item VALUES (1);\n")},
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, testdb.Migrated("gateway", stock))
			for id := 10; id < 15; id++ { // the same rows everywhere: they would collide if shared
				if _, err := db.Pool().Exec(t.Context(), "INSERT INTO gateway.item VALUES ($1)", id); err != nil {
					t.Fatal(err)
				}
			}
			var n int
			if err := db.Pool().QueryRow(t.Context(), "SELECT count(*) FROM gateway.item").Scan(&n); err != nil || n != 6 {
				t.Fatalf("%d items (%v), want the migration's one and this test's five", n, err)
			}
		})
	}
}

func TestDatabaseIsEmptyWithoutMigrations(t *testing.T) {
	t.Parallel()
	var n int
	err := testdb.New(t).Pool().QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')").Scan(&n)
	if err != nil || n != 0 {
		t.Fatalf("%d tables (%v)", n, err)
	}
}

func TestDatabaseIsDroppedAfterItsTest(t *testing.T) { //nolint:tparallel // inner has to be over when this goes on
	t.Parallel()
	var name string
	t.Run("inner", func(t *testing.T) {
		db := testdb.New(t)
		name = db.Name
		db.Pool() // an open pool must not keep it alive
	})
	var exists bool
	err := testdb.New(t).Pool().QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists)
	if err != nil || exists {
		t.Fatalf("database %s exists: %v (%v)", name, exists, err)
	}
}

func TestHangWithDatabase(t *testing.T) {
	if os.Getenv(envHang) == "" {
		t.Skip("runs in a process of its own, started by the tests below")
	}
	db := testdb.New(t, testdb.Migrated("gateway", stock))
	dir := testdb.Dir(t)
	if err := db.Pool().Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nholding %s %s\n", db.Name, filepath.Dir(dir))
	select {} // until killed
}

// hang starts this test binary again, has it hold a database, kills it, and
// returns the database's name and the process's directory.
func hang(t *testing.T, env ...string) (name, home string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHangWithDatabase$", "-test.v")
	cmd.Env = append(append(os.Environ(), envHang+"=1"), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		seen = append(seen, lines.Text())
		if _, err := fmt.Sscanf(lines.Text(), "holding %s %s", &name, &home); err == nil {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	if name == "" {
		t.Fatalf("no database held:\n%s", strings.Join(seen, "\n"))
	}
	return name, home
}

func TestNextRunSweepsAfterKill(t *testing.T) {
	t.Parallel()
	tmp := filepath.Join(testdb.Dir(t), "tmp") // the sweep is per TMPDIR: the two runs share one of their own
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	_, first := hang(t, "TMPDIR="+tmp)
	if _, err := os.Stat(first); err != nil {
		t.Fatalf("a killed run should have left its directory for this test to mean anything: %v", err)
	}
	_, second := hang(t, "TMPDIR="+tmp)
	if first == second {
		t.Fatal("both runs used one directory")
	}
	if _, err := os.Stat(first); !os.IsNotExist(err) {
		t.Fatalf("%s is still there (%v)", first, err)
	}
}

func TestServerOfTheEnvironment(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	server, err := pg.StartServer(t.Context(), pg.ServerConfig{Dir: dir, NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	tmp := filepath.Join(testdb.Dir(t), "tmp") // what the killed processes leave goes with this test
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"WEIR_TEST_DATABASE_URL=" + server.SuperuserURL(), "TMPDIR=" + tmp}
	exists := func(name string) (found bool) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), server.SuperuserURL())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&found); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return found
	}
	first, _ := hang(t, env...)
	if !exists(first) {
		t.Fatalf("%s is not on the server named by the environment", first)
	}
	second, _ := hang(t, env...)
	if exists(first) {
		t.Fatalf("%s of the killed run was not swept", first)
	}
	if !exists(second) {
		t.Fatalf("%s of the last run is gone", second)
	}
}

func TestUnreachableServerFailsWithASentence(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDatabaseIsEmptyWithoutMigrations$", "-test.v")
	cmd.Env = append(os.Environ(), "WEIR_TEST_DATABASE_URL=postgres://nobody:secret@127.0.0.1:1/none?connect_timeout=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nothing listens at 127.0.0.1:1") || strings.Contains(string(out), "secret") {
		t.Fatalf("%v:\n%s", err, out)
	}
}
