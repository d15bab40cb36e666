//go:build unix

package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/internal/pause"
)

// pidFile is what a running server writes into postmaster.pid.
type pidFile struct {
	pid, port int
	status    string // "starting", "ready", "stopping", …
}

// readPidFile returns nil if there is none.
func readPidFile(dataDir string) (*pidFile, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	line := strings.Split(string(raw), "\n")
	at := func(i int) string {
		if i < len(line) {
			return strings.TrimSpace(line[i])
		}
		return ""
	}
	var f pidFile
	// Missing or broken numbers stay zero: the file may just be being written.
	f.pid, _ = strconv.Atoi(at(0))
	f.port, _ = strconv.Atoi(at(3))
	f.status = at(7)
	return &f, nil
}

// ownerGoneWait bounds how long we wait for a dying process to be gone.
const ownerGoneWait = 5 * time.Second

// settleOrphan deals with a server left behind on the data directory: it
// returns one that serves on as ours, or nil once none is left. previous is
// the process that held the directory before us, 0 if unknown.
func (s *Server) settleOrphan(ctx context.Context, args []string, previous int) (*postmaster, error) {
	f, err := readPidFile(s.dataDir)
	if err != nil {
		return nil, dirError(s.cfg.Dir, err)
	}
	if f == nil || f.pid < 1 {
		return nil, nil
	}
	info, alive := inspect(f.pid)
	if !alive {
		return nil, s.clearZombie(ctx, f.pid)
	}
	if !info.isPostgres() || info.cwd != "" && !info.serves(s.dataDir) {
		// The pid was given to another process since. PostgreSQL would take
		// that for its predecessor and refuse to start.
		return nil, s.removePidFile(ctx, f.pid)
	}
	if !info.serves(s.dataDir) || info.uid != s.acct.uid {
		return nil, say(ErrDirInUse, nil, fmt.Sprintf(
			"postgres: process %d may still be a server on %s: end it (kill -INT %[1]d), or name another directory with --data-dir", f.pid, s.dataDir))
	}
	pm := watchForeign(f.pid, func() bool {
		now, alive := inspect(f.pid)
		return alive && now.uid == info.uid && now.serves(s.dataDir)
	})
	// Its parent may be dying at this moment, and the signal that ends the
	// server with it still to come: what the server answers counts only after.
	if previous > 0 {
		waitGone(ctx, previous, ownerGoneWait)
	}
	if s.sameOptions(args) && s.healthy(ctx, f) {
		s.log.InfoContext(ctx, "adopted a running postgres", "pid", f.pid, "port", f.port)
		s.port = f.port
		return pm, nil
	}
	if err := ctx.Err(); err != nil {
		close(pm.quit)
		return nil, context.Cause(ctx)
	}
	s.log.InfoContext(ctx, "ending a postgres left behind", "pid", f.pid, "status", f.status)
	if _, err := pm.stop(ctx, s.cfg.StopTimeout); err != nil {
		close(pm.quit)
		return nil, say(ErrDirInUse, err, fmt.Sprintf(
			"postgres: process %d, a server left on %s, cannot be ended (%v): end it by hand, or name another directory with --data-dir", f.pid, s.dataDir, err))
	}
	return nil, s.clearZombie(ctx, f.pid)
}

// clearZombie removes the pid file of a dead server that nobody has waited
// for, as happens in containers whose first process reaps no orphans: to
// PostgreSQL such a process is alive. Any other stale file it clears itself,
// and better: it also asks whether processes of that server remain, which
// here is found by looking.
func (s *Server) clearZombie(ctx context.Context, pid int) error {
	bound := time.Now().Add(10 * time.Second)
	for {
		if alive := syscall.Kill(pid, 0) == nil; !alive {
			return nil
		}
		left := processesIn(s.dataDir)
		if left == 0 {
			return s.removePidFile(ctx, pid)
		}
		if time.Now().After(bound) {
			return say(ErrDirInUse, nil, fmt.Sprintf(
				"postgres: process %d is dead, and %d of its processes still work on %s: end them, or name another directory with --data-dir", pid, left, s.dataDir))
		}
		if !pause.For(ctx, 20*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// removePidFile removes what a dead server's pid keeps locked: the data
// directory and the socket.
func (s *Server) removePidFile(ctx context.Context, pid int) error {
	s.log.InfoContext(ctx, "removing the lock files of a dead postgres", "pid", pid)
	stale := []string{filepath.Join(s.dataDir, "postmaster.pid")}
	sockets, err := os.ReadDir(filepath.Join(s.cfg.Dir, "run"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return dirError(s.cfg.Dir, err)
	}
	for _, e := range sockets {
		l := filepath.Join(s.cfg.Dir, "run", e.Name())
		if !strings.HasSuffix(l, ".lock") {
			continue
		}
		raw, err := os.ReadFile(l)
		if first, _, _ := strings.Cut(string(raw), "\n"); err == nil && first == strconv.Itoa(pid) {
			stale = append(stale, l, strings.TrimSuffix(l, ".lock"))
		}
	}
	for _, f := range stale {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return dirError(s.cfg.Dir, err)
		}
	}
	return nil
}

// waitGone waits, within bounds, for a process to end.
func waitGone(ctx context.Context, pid int, bound time.Duration) {
	deadline := time.NewTimer(bound)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, alive := inspect(pid); !alive {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// sameOptions reports whether the running server was started with the command
// line we would use, the port aside when any will do.
func (s *Server) sameOptions(args []string) bool {
	raw, err := os.ReadFile(filepath.Join(s.dataDir, "postmaster.opts"))
	if err != nil {
		return false
	}
	return strings.TrimSpace(string(raw)) == optsLine(s.bin.postgres(), args)
}

// optsLine is how the server writes its command line into postmaster.opts.
func optsLine(program string, args []string) string {
	var b strings.Builder
	b.WriteString(program)
	for _, a := range args {
		b.WriteString(` "` + a + `"`)
	}
	return b.String()
}

// healthy reports whether the server that answers at the port is the one of
// the pid file, on our directory, and lets us in.
func (s *Server) healthy(ctx context.Context, f *pidFile) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url(superuser, s.superPassword, "postgres", f.port))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // read only; nothing to lose
	var dir string
	err = conn.QueryRow(ctx, "SELECT current_setting('data_directory')").Scan(&dir)
	return err == nil && sameFile(dir, s.dataDir)
}
