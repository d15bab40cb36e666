//go:build unix

package pg_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestServerKeepsDataAndPortOverRestart(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	s := start(t, pg.ServerConfig{Dir: dir}) // with fsync, as users run it
	if fsync := query[string](t, s.URL(), "SHOW fsync"); fsync != "on" {
		t.Errorf("fsync is %s by default", fsync)
	}
	execSQL(t, s.URL(), "CREATE TABLE kept AS SELECT 42 AS n")
	stop(t, s)
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Close")
	}
	if err := s.Err(); err != nil {
		t.Errorf("an ordered end is an error: %v", err)
	}
	if !gone(s.PID()) {
		t.Errorf("process %d lives on after Close", s.PID())
	}

	again := start(t, pg.ServerConfig{Dir: dir})
	if again.Adopted() {
		t.Error("adopted a server that was ended")
	}
	if again.URL() != s.URL() {
		t.Errorf("URL changed from %s to %s", pg.MaskURL(s.URL()), pg.MaskURL(again.URL()))
	}
	if n := query[int](t, again.URL(), "SELECT n FROM kept"); n != 42 {
		t.Errorf("read %d", n)
	}
}

func TestServerIsPrivate(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	s := start(t, quick(dir))
	if query[bool](t, s.URL(), "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user") {
		t.Error("Weir's own role is a superuser")
	}
	if query[string](t, s.URL(), "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()") != "weir" {
		t.Error("Weir's role does not own its database")
	}
	for _, url := range []string{s.URL(), s.SuperuserURL()} {
		cfg, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{"", "wrong"} {
			cfg.Password = password
			if conn, err := pgx.ConnectConfig(t.Context(), cfg); err == nil {
				t.Errorf("%s gets in with password %q", cfg.User, password)
				_ = conn.Close(t.Context())
			}
			// The socket must not be a way around it.
			local := cfg.Copy()
			local.Host = s.SocketDir()
			if conn, err := pgx.ConnectConfig(t.Context(), local); err == nil {
				t.Errorf("%s gets in by the socket with password %q", cfg.User, password)
				_ = conn.Close(t.Context())
			}
		}
	}
	cfg, err := pgx.ParseConfig(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Host = s.SocketDir()
	if conn, err := pgx.ConnectConfig(t.Context(), cfg); err != nil {
		t.Errorf("the socket: %v", err)
	} else if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "data")); err != nil || info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("the data belongs to root (%v)", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.password"))
	if err != nil || len(files) != 2 {
		t.Fatalf("password files %v (%v)", files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f, info.Mode())
		}
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(s.LogPath())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(log), strings.TrimSpace(string(raw))) {
			t.Errorf("the log holds the password of %s", f)
		}
	}
	if ip, _, err := net.SplitHostPort(s.Address()); err != nil || ip != "127.0.0.1" {
		t.Errorf("listens at %s (%v)", s.Address(), err)
	}
	if got := query[string](t, s.URL(), "SHOW listen_addresses"); got != "127.0.0.1" {
		t.Errorf("listens on %s", got)
	}
}

func TestServerInALongPathHasNoSocket(t *testing.T) {
	t.Parallel()
	s := start(t, quick(filepath.Join(testdb.Dir(t), strings.Repeat("long", 20))))
	if s.SocketDir() != "" {
		t.Errorf("socket in %s", s.SocketDir())
	}
	query[int](t, s.URL(), "SELECT 1")
}

func TestServerRefusesASecondOneInItsDirectory(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	s := start(t, quick(dir))
	_, err := pg.StartServer(t.Context(), quick(dir))
	wantSentence(t, err, pg.ErrDirInUse, "--data-dir", strconv.Itoa(os.Getpid()))
	err = pg.RemoveServer(t.Context(), dir)
	wantSentence(t, err, pg.ErrDirInUse)
	query[int](t, s.URL(), "SELECT 1")
}

func TestServerKilledSaysSoAndLosesNothing(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	s := start(t, pg.ServerConfig{Dir: dir})
	execSQL(t, s.URL(), "CREATE TABLE kept AS SELECT 42 AS n")
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	var exit *pg.ExitError
	if err := s.Wait(t.Context()); !errors.As(err, &exit) || exit.State != "signal: killed" || len(exit.Log) == 0 {
		t.Fatalf("died with %#v", s.Err())
	}
	if !strings.Contains(exit.Error(), s.LogPath()) {
		t.Errorf("%q does not name the log", exit)
	}
	stop(t, s)
	again := start(t, pg.ServerConfig{Dir: dir})
	if n := query[int](t, again.URL(), "SELECT n FROM kept"); n != 42 {
		t.Errorf("read %d", n)
	}
}

func TestServerEndsWithItsParent(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	cfg := quick(dir)
	p := startHelper(t, helper{Serve: &cfg})
	pid, url := p.serving(t)
	execSQL(t, url, "CREATE TABLE kept AS SELECT 42 AS n")
	p.kill()
	// The next start need not wait for the end itself: it settles what it finds.
	s := start(t, cfg)
	if s.Adopted() || s.PID() == pid {
		t.Error("adopted a server that is bound to end")
	}
	if !gone(pid) {
		t.Errorf("process %d outlives its parent", pid)
	}
	if n := query[int](t, s.URL(), "SELECT n FROM kept"); n != 42 {
		t.Errorf("read %d", n)
	}
}

func TestServerEndsWithItsParentUnattended(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	p := startHelper(t, helper{Serve: &cfg})
	pid, _ := p.serving(t)
	p.kill()
	eventually(t, "the end of the orphan", func() bool { return gone(pid) })
}

func TestOrphanIsAdopted(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	p := startHelper(t, helper{Serve: &cfg, Untied: true})
	pid, url := p.serving(t)
	execSQL(t, url, "CREATE TABLE kept AS SELECT 42 AS n")
	p.kill()

	s := start(t, cfg)
	if !s.Adopted() || s.PID() != pid {
		t.Fatalf("adopted %v, process %d, want %d", s.Adopted(), s.PID(), pid)
	}
	if s.URL() != url {
		t.Errorf("URL is %s", pg.MaskURL(s.URL()))
	}
	if n := query[int](t, s.URL(), "SELECT n FROM kept"); n != 42 {
		t.Errorf("read %d", n)
	}
	stop(t, s)
	if !gone(pid) {
		t.Error("Close left the adopted server running")
	}
}

func TestAdoptedServerKilledSaysSo(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	p := startHelper(t, helper{Serve: &cfg, Untied: true})
	p.serving(t)
	p.kill()
	s := start(t, cfg)
	if !s.Adopted() {
		t.Fatal("not adopted")
	}
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	var exit *pg.ExitError
	if !errors.As(s.Err(), &exit) {
		t.Fatalf("died with %v", s.Err())
	}
}

func TestOrphanThatDoesNotFitIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	p := startHelper(t, helper{Serve: &cfg, Untied: true})
	pid, url := p.serving(t)
	execSQL(t, url, "CREATE TABLE kept AS SELECT 42 AS n")
	p.kill()

	cfg.Settings = map[string]string{"work_mem": "5MB"}
	s := start(t, cfg)
	if s.Adopted() || !gone(pid) {
		t.Errorf("adopted %v, old process gone %v", s.Adopted(), gone(pid))
	}
	if got := query[string](t, s.URL(), "SHOW work_mem"); got != "5MB" {
		t.Errorf("work_mem is %s", got)
	}
	if n := query[int](t, s.URL(), "SELECT n FROM kept"); n != 42 {
		t.Errorf("read %d", n)
	}
}

func TestOrphanThatHangsIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	cfg.StopTimeout = time.Second
	p := startHelper(t, helper{Serve: &cfg, Untied: true})
	pid, _ := p.serving(t)
	p.kill()
	// Stopped, it answers nobody, and SIGKILL alone still ends it.
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s := start(t, cfg)
	if s.Adopted() || !gone(pid) {
		t.Errorf("adopted %v, old process gone %v", s.Adopted(), gone(pid))
	}
	query[int](t, s.URL(), "SELECT 1")
}

func TestPidFileOfAnotherProcessIsNoOrphan(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	s := start(t, quick(dir))
	stop(t, s)
	// As after a reboot: the number in the file now belongs to a process of
	// the server's user that is something else. PostgreSQL alone would refuse.
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	other := exec.Command("sleep", "600")
	other.Dir = "/"
	if os.Geteuid() == 0 {
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill() // its end was in doubt only if the test failed
		_ = other.Wait()
	})
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(other.Process.Pid)+"\n"+dir+"/data\n1\n5433\n\n127.0.0.1\n0 0\nready\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(pidFile, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	again := start(t, quick(dir))
	query[int](t, again.URL(), "SELECT 1")
	if gone(other.Process.Pid) {
		t.Error("an innocent process was ended")
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing was written
	cfg := quick(testdb.Dir(t))
	cfg.Port = l.Addr().(*net.TCPAddr).Port
	_, err = pg.StartServer(t.Context(), cfg)
	wantSentence(t, err, pg.ErrPortTaken, "--postgres-port", strconv.Itoa(cfg.Port))

	cfg.Port = 70000
	_, err = pg.StartServer(t.Context(), cfg)
	wantSentence(t, err, pg.ErrPortTaken, "--postgres-port")
}

func TestRememberedPortTaken(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	s := start(t, cfg)
	execSQL(t, s.URL(), "CREATE TABLE kept AS SELECT 42 AS n")
	stop(t, s)
	l, err := net.Listen("tcp4", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // nothing was written
	again := start(t, cfg)
	if again.Port() == s.Port() {
		t.Fatal("took a port that is taken")
	}
	if n := query[int](t, again.URL(), "SELECT n FROM kept"); n != 42 {
		t.Errorf("read %d", n)
	}
}

func TestManyServersComeAndGoAtOnce(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 3 {
		dir := testdb.Dir(t)
		wg.Go(func() {
			s, err := pg.StartServer(t.Context(), quick(dir))
			if err != nil {
				t.Error(err)
				return
			}
			for range 5 { // and end, whoever asks and how often
				wg.Go(func() { stop(t, s) })
			}
			if err := s.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	why := errors.New("changed my mind")

	// While initdb runs.
	ctx, cancel := context.WithCancelCause(t.Context())
	var log record
	cfg.Log = log.logger()
	ended := make(chan error, 1)
	go func() {
		_, err := pg.StartServer(ctx, cfg)
		ended <- err
	}()
	eventually(t, "initdb at work", func() bool {
		_, err := os.Stat(filepath.Join(cfg.Dir, "data.new", "base"))
		return err == nil
	})
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Fatalf("error %v, want the context's cause", err)
	}

	// While the server comes up: whoever comes first, nothing may stay.
	ctx, cancel = context.WithCancelCause(t.Context())
	go func() {
		s, err := pg.StartServer(ctx, cfg)
		if err == nil {
			err = s.Close(context.WithoutCancel(ctx))
		}
		ended <- err
	}()
	var pid int
	eventually(t, "the server at work", func() bool {
		raw, err := os.ReadFile(filepath.Join(cfg.Dir, "data", "postmaster.pid"))
		if err != nil {
			return false
		}
		first, _, _ := strings.Cut(string(raw), "\n")
		pid, err = strconv.Atoi(first)
		return err == nil
	})
	cancel(why)
	if err := <-ended; err != nil && !errors.Is(err, why) {
		t.Fatal(err)
	}
	if !gone(pid) {
		t.Errorf("process %d goes on", pid)
	}
	s := start(t, cfg)
	query[int](t, s.URL(), "SELECT 1")
}

func TestInterruptedInitIsRepeated(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	half := filepath.Join(dir, "data.new", "base")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, quick(dir))
	query[int](t, s.URL(), "SELECT 1")
}

func TestRemoveServerEndsAnOrphan(t *testing.T) {
	t.Parallel()
	cfg := quick(testdb.Dir(t))
	p := startHelper(t, helper{Serve: &cfg, Untied: true})
	pid, _ := p.serving(t)
	p.kill()
	if err := pg.RemoveServer(t.Context(), cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cfg.Dir); !os.IsNotExist(err) || !gone(pid) {
		t.Errorf("directory: %v, process gone: %v", err, gone(pid))
	}
	if err := pg.RemoveServer(t.Context(), cfg.Dir); err != nil {
		t.Errorf("a missing directory: %v", err)
	}
}
