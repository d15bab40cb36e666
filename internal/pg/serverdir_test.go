//go:build unix

package pg_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestOrdinaryUserRunsHisOwnServer(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	as := ordinary(t, cfg.Dir)
	for range 2 { // the second start opens the data of the first
		p := startHelper(t, helper{Serve: &cfg}, as)
		_, url := p.serving(t)
		execSQL(t, url, "CREATE TABLE IF NOT EXISTS kept (n int)")
		if err := p.stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if out := p.wait(t); out != "" {
			t.Fatal(out)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	// Root goes on with what the ordinary user began, as that user.
	s := start(t, cfg)
	query[int](t, s.URL(), "SELECT count(*) FROM kept")
}

func TestOrdinaryUserIsToldOfADirectoryThatIsNotHis(t *testing.T) {
	t.Parallel()
	cfg := quick(filepath.Join(testdb.Dir(t), "closed", "postgres"))
	as := ordinary(t, testdb.Dir(t))
	if err := os.Mkdir(filepath.Dir(cfg.Dir), 0o500); err != nil {
		t.Fatal(err)
	}
	out := startHelper(t, helper{Serve: &cfg}, as).wait(t)
	if !strings.Contains(out, "--data-dir") || !strings.Contains(out, "permission denied") {
		t.Errorf("said %q", out)
	}
}

func TestRootIsToldOfADirectoryItsServerCannotReach(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as someone else")
	}
	closed := filepath.Join(testdb.Dir(t), "home")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "weir", "data", "postgres")
	err := pg.CheckDir(t.Context(), dir)
	wantSentence(t, err, pg.ErrDataDir, "--data-dir", closed)
	if _, statErr := os.Stat(filepath.Dir(dir)); !os.IsNotExist(statErr) {
		t.Error("CheckDir left something behind")
	}
	_, err = pg.StartServer(t.Context(), quick(dir))
	wantSentence(t, err, pg.ErrDataDir, "--data-dir", closed+" on the way", "user ")

	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := pg.CheckDir(t.Context(), dir); err != nil {
		t.Error(err)
	}
	start(t, quick(dir))
}

func TestDataOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := pg.StartServer(t.Context(), quick(dir))
	wantSentence(t, err, pg.ErrVersionMismatch, "PostgreSQL 9", "--data-dir", "postgresql-9")
}

func TestNoPrograms(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	cfg.BinDir = t.TempDir()
	_, err := pg.StartServer(t.Context(), cfg)
	wantSentence(t, err, pg.ErrNoBinaries, "--database-url", cfg.BinDir)
}

func TestForeignFilesAreNotOverwritten(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	mine := filepath.Join(dir, "data", "thesis.txt")
	if err := os.MkdirAll(filepath.Dir(mine), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mine, []byte("years of work"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := pg.StartServer(t.Context(), quick(dir))
	wantSentence(t, err, pg.ErrDataDir, "--data-dir")
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestLostPassword(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	s := start(t, cfg)
	execSQL(t, s.URL(), "CREATE TABLE kept AS SELECT 42 AS n")
	stop(t, s)

	// Weir's own is made anew: the superuser's can do that.
	if err := os.Remove(filepath.Join(cfg.Dir, "weir.password")); err != nil {
		t.Fatal(err)
	}
	again := start(t, cfg)
	if again.URL() == s.URL() {
		t.Error("the password did not change")
	}
	if n := query[int](t, again.URL(), "SELECT n FROM kept"); n != 42 {
		t.Errorf("read %d", n)
	}
	stop(t, again)

	super := filepath.Join(cfg.Dir, "postgres.password")
	if err := os.WriteFile(super, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := pg.StartServer(t.Context(), cfg)
	wantSentence(t, err, pg.ErrDataDir, super, "--data-dir")
	if err := os.Remove(super); err != nil {
		t.Fatal(err)
	}
	_, err = pg.StartServer(t.Context(), cfg)
	wantSentence(t, err, pg.ErrDataDir, super, "--data-dir")
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 || ownMounts == nil {
		t.Skip("needs to mount a small file system, as root on Linux")
	}
	cfg := quick(testdb.Dir(t))
	p := startHelper(t, helper{Serve: &cfg, Tmpfs: cfg.Dir}, func(cmd *exec.Cmd) { cmd.SysProcAttr = ownMounts })
	out := p.wait(t)
	if !strings.Contains(out, "the disk that holds "+cfg.Dir+" is full") || !strings.Contains(out, "--data-dir") {
		t.Errorf("said %q", out)
	}
}
