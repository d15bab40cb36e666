//go:build unix

package pg

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirmesh/weir/internal/pause"
)

// firstPort is where the search for a free port begins: below the range the
// system hands out for outgoing connections, so that it is free again tomorrow.
const (
	firstPort = 5433
	portRange = 200
)

// errRetryPort and errRetryShmem are startup failures that a further try mends.
var (
	errRetryPort  = errors.New("port was taken meanwhile")
	errRetryShmem = errors.New("processes of the last server are still ending")
)

// launch takes over a server left behind or starts one.
func (s *Server) launch(ctx context.Context, previous int) error {
	remembered := s.rememberedPort()
	s.port = s.cfg.Port
	if s.port == 0 {
		s.port = remembered
	}
	if s.port != 0 {
		pm, err := s.settleOrphan(ctx, s.args(), previous)
		if err != nil {
			return err
		}
		if pm != nil {
			s.pm, s.adopted = pm, true
			return s.rememberPort()
		}
	} else if _, err := s.settleOrphan(ctx, nil, previous); err != nil {
		return err
	}
	next := firstPort
	deadline := time.Now().Add(10 * time.Second)
	for {
		if err := s.choosePort(ctx, &next); err != nil {
			return err
		}
		err := s.start(ctx)
		switch {
		case err == nil:
			return s.rememberPort()
		case errors.Is(err, errRetryPort) && s.cfg.Port == 0 && next < firstPort+portRange:
			s.port = 0
		case errors.Is(err, errRetryShmem) && time.Now().Before(deadline):
			// After a kill -9 of the first process its children need a moment.
			if !pause.For(ctx, 100*time.Millisecond) {
				return context.Cause(ctx)
			}
		default:
			return err
		}
	}
}

// choosePort settles s.port. next is where the search among free ports goes on.
func (s *Server) choosePort(ctx context.Context, next *int) error {
	if s.port != 0 {
		err := portFree(s.port)
		if err == nil {
			return nil
		}
		if s.cfg.Port != 0 {
			return s.portTaken(err)
		}
		s.log.WarnContext(ctx, "the port of the last start is taken; looking for another", "port", s.port)
	}
	for ; *next < firstPort+portRange; *next++ {
		if portFree(*next) == nil {
			s.port = *next
			*next++
			return nil
		}
	}
	return say(ErrPortTaken, nil, fmt.Sprintf("postgres: no free port between %d and %d on 127.0.0.1: name one with --postgres-port",
		firstPort, firstPort+portRange-1))
}

func portFree(port int) error {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

func (s *Server) portTaken(cause error) error {
	if errors.Is(cause, syscall.EACCES) {
		return say(ErrPortTaken, cause, fmt.Sprintf("postgres: user %s may not listen on port %d: name one above 1023 with --postgres-port", s.acct.name, s.port))
	}
	return say(ErrPortTaken, cause, fmt.Sprintf("postgres: port %d on 127.0.0.1 is already in use: end what listens there, or name another port with --postgres-port", s.port))
}

func (s *Server) rememberedPort() int {
	raw, err := os.ReadFile(filepath.Join(s.cfg.Dir, "port"))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || n < 1 || n > 65535 {
		return 0
	}
	return n
}

func (s *Server) rememberPort() error {
	if s.rememberedPort() == s.port {
		return nil
	}
	err := writeFile(filepath.Join(s.cfg.Dir, "port"), strconv.Itoa(s.port)+"\n", 0o644)
	if err != nil {
		_, stopErr := s.pm.stop(context.Background(), s.cfg.StopTimeout)
		return errors.Join(dirError(s.cfg.Dir, err), stopErr)
	}
	return nil
}

// args is the server's command line. What it names wins over the files in the
// data directory, which stay free for the user's tuning.
func (s *Server) args() []string {
	set := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": socketDir(s.cfg.Dir),
		"logging_collector":       "off", // this process keeps the log file bounded
		"log_destination":         "stderr",
		"log_line_prefix":         "%m [%p] ",
		"cluster_name":            "weir",
		"max_connections":         "200",
	}
	if s.cfg.NoFsync {
		set["fsync"], set["full_page_writes"] = "off", "off"
	}
	maps.Copy(set, s.cfg.Settings)
	args := []string{"-D", s.dataDir, "-p", strconv.Itoa(s.port)}
	// Sorted: compared with postmaster.opts when a server is adopted.
	for _, k := range slices.Sorted(maps.Keys(set)) {
		args = append(args, "-c", k+"="+set[k])
	}
	return args
}

// socketDir is where the unix socket goes; none if its path would not fit the
// 107 bytes that systems allow.
func socketDir(dir string) string {
	run := filepath.Join(dir, "run")
	if len(filepath.Join(run, ".s.PGSQL.65535")) > 103 || strings.ContainsAny(run, ",\"") {
		return ""
	}
	return run
}

// environment is deliberately small: no PG… variable may steer the server, and
// none of this process's secrets is its business.
func environment() []string {
	env := []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	for _, k := range []string{"TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// start runs the server once and waits until it answers.
func (s *Server) start(ctx context.Context) error {
	out, err := s.logs.open()
	if err != nil {
		return dirError(s.cfg.Dir, err)
	}
	defer func() { _ = out.Close() }() // the child has its own descriptor
	cmd := exec.Command(s.bin.postgres(), s.args()...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.cfg.Dir, environment(), s.acct.attr()
	cmd.Stdout, cmd.Stderr = out, out
	if s.pm, err = spawn(cmd, !s.cfg.untied); err != nil {
		return fmt.Errorf("postgres: start %s: %w", s.bin.postgres(), err)
	}
	err = s.awaitReady(ctx)
	if err == nil {
		return nil
	}
	if _, stopErr := s.pm.stop(ctx, s.cfg.StopTimeout); stopErr != nil {
		return errors.Join(err, stopErr)
	}
	return err
}

// awaitReady waits until the server lets the superuser in.
func (s *Server) awaitReady(ctx context.Context) error {
	bound := time.NewTimer(s.cfg.StartTimeout)
	defer bound.Stop()
	progress := time.NewTicker(10 * time.Second)
	defer progress.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-s.pm.exited:
			return s.died(true)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-bound.C:
			return fmt.Errorf("postgres: the server does not answer after %s: %s; its log is %s",
				s.cfg.StartTimeout, telling(s.logs.tail()), s.logs.path)
		case <-progress.C:
			s.log.InfoContext(ctx, "waiting for postgres to come up", "log", telling(s.logs.tail()))
			continue
		case <-poll.C:
		}
		// The file is asked before the server: early logins only fill its log.
		f, err := readPidFile(s.dataDir)
		if err != nil || f == nil || f.pid != s.pm.pid || f.status != "ready" {
			continue
		}
		conn, err := pgx.Connect(ctx, s.SuperuserURL())
		if err == nil {
			return conn.Close(ctx)
		}
		if refused(err) {
			return say(ErrDataDir, err, fmt.Sprintf(
				"postgres: the server on %s refuses the password in %s: put the right one there, or name another directory with --data-dir",
				s.dataDir, s.passwordPath(superuser)))
		}
	}
}

// explain puts the user's sentence to a server's last words, where they are
// known. starting tells failures to start from deaths later on, when an old
// line about a failed statement says nothing about the cause.
func (s *Server) explain(lines []string, exit *ExitError, starting bool) error {
	text := strings.Join(lines, "\n")
	if !starting {
		text = telling(lines)
	}
	switch {
	case strings.Contains(text, "No space left on device"), strings.Contains(text, "Disk quota exceeded"):
		return diskFull(s.cfg.Dir, exit)
	case strings.Contains(text, "Read-only file system"):
		return dirError(s.cfg.Dir, errors.Join(syscall.EROFS, exit))
	case !starting:
		return exit
	case strings.Contains(text, "could not bind") && strings.Contains(text, "Address already in use"):
		return s.portTaken(errors.Join(errRetryPort, exit))
	case strings.Contains(text, "could not bind") && strings.Contains(text, "Permission denied"):
		return s.portTaken(errors.Join(syscall.EACCES, exit))
	case strings.Contains(text, "pre-existing shared memory block"):
		return say(errRetryShmem, exit, exit.Error())
	default:
		return exit
	}
}

// initialise makes the data directory: beside its place and renamed into it
// when done, so that an interrupted one is never mistaken for data.
func (s *Server) initialise(ctx context.Context) error {
	fresh := s.dataDir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return dirError(s.cfg.Dir, err)
	}
	if entries, err := os.ReadDir(s.dataDir); err == nil && len(entries) > 0 {
		return say(ErrDataDir, nil, fmt.Sprintf(
			"postgres: %s holds files that are no PostgreSQL data: move them away, or name another directory with --data-dir", s.dataDir))
	}
	if err := makeDir(fresh, 0o700); err != nil {
		return dirError(s.cfg.Dir, err)
	}
	pwfile := fresh + ".password"
	defer func() { _ = os.Remove(pwfile) }() // gone already after success; harmless after failure
	if err := writeFile(pwfile, s.superPassword+"\n", 0o600); err != nil {
		return dirError(s.cfg.Dir, err)
	}
	for _, p := range []string{fresh, pwfile} {
		if err := s.acct.own(p); err != nil {
			return dirError(s.cfg.Dir, err)
		}
	}
	args := []string{
		"-D", fresh, "-U", superuser, "--auth=scram-sha-256", "--pwfile=" + pwfile,
		// The C locale sorts by bytes: an upgrade of the system's locales
		// cannot corrupt indexes under us.
		"--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions",
	}
	if s.cfg.NoFsync {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, s.bin.initdb(), args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.cfg.Dir, environment(), s.acct.attr()
	cmd.WaitDelay = 5 * time.Second
	// It must not go on filling the directory when this process is killed and
	// the next one begins afresh; the thread is kept for dieWithParent's sake.
	dieWithParent(cmd.SysProcAttr)
	runtime.LockOSThread()
	out, err := cmd.CombinedOutput()
	runtime.UnlockOSThread()
	if err != nil {
		cleanupErr := os.RemoveAll(fresh)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return errors.Join(s.explain(lines, &ExitError{State: "initdb: " + err.Error(), Log: lines, LogPath: s.logs.path}, true), cleanupErr)
	}
	if err := os.Remove(s.dataDir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty one, as seen above
		return dirError(s.cfg.Dir, err)
	}
	if err := os.Rename(fresh, s.dataDir); err != nil {
		return dirError(s.cfg.Dir, err)
	}
	return nil
}

func (s *Server) passwordPath(role string) string {
	return filepath.Join(s.cfg.Dir, role+".password")
}

// passwords reads the two passwords or, before there is data, makes them.
func (s *Server) passwords(haveData bool) error {
	for role, p := range map[string]*string{appUser: &s.appPassword, superuser: &s.superPassword} {
		path := s.passwordPath(role)
		raw, err := os.ReadFile(path)
		switch {
		case err == nil && len(strings.TrimSpace(string(raw))) > 0:
			*p = strings.TrimSpace(string(raw))
			continue
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return dirError(s.cfg.Dir, err)
		case haveData && role == superuser:
			return say(ErrDataDir, err, fmt.Sprintf(
				"postgres: %s, the password of the server on %s, is missing: restore it, or name another directory with --data-dir", path, s.dataDir))
		}
		var secret [24]byte
		_, _ = rand.Read(secret[:]) // never fails
		*p = hex.EncodeToString(secret[:])
		if err := writeFile(path, *p+"\n", 0o600); err != nil {
			return dirError(s.cfg.Dir, err)
		}
	}
	return nil
}

// ensureDatabase makes Weir's role and database if they are missing, and its
// password what the file says.
func (s *Server) ensureDatabase(ctx context.Context) error {
	admin, err := pgx.Connect(ctx, s.SuperuserURL())
	if err != nil {
		return fmt.Errorf("postgres: log in as superuser: %w", err)
	}
	defer func() { _ = admin.Close(context.WithoutCancel(ctx)) }() // its work is committed
	var role, database bool
	err = admin.QueryRow(ctx, `SELECT
		EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
		EXISTS (SELECT FROM pg_database WHERE datname = $1)`, appUser).Scan(&role, &database)
	if err != nil {
		return fmt.Errorf("postgres: look for role and database %s: %w", appUser, err)
	}
	verb := "CREATE"
	if role {
		verb = "ALTER"
	}
	if role && database {
		conn, err := pgx.Connect(ctx, s.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		if !refused(err) {
			return fmt.Errorf("postgres: log in as %s: %w", appUser, err)
		}
	}
	// Utility statements take no parameters; both values are safe to quote:
	// a constant and hexadecimal digits.
	if _, err := admin.Exec(ctx, verb+" ROLE "+appUser+" LOGIN PASSWORD '"+s.appPassword+"'"); err != nil {
		return fmt.Errorf("postgres: set up role %s: %w", appUser, err)
	}
	if !database {
		if _, err := admin.Exec(ctx, "CREATE DATABASE "+appUser+" OWNER "+appUser); err != nil {
			return fmt.Errorf("postgres: create database %s: %w", appUser, err)
		}
	}
	return nil
}

// refused reports whether the server turned a login away for its password.
func refused(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "28P01" || pe.Code == "28000")
}
