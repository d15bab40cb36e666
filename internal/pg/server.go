//go:build unix

package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// Role and database that [Server.URL] names, and the server's superuser.
const (
	appUser   = "weir"
	superuser = "postgres"
)

// ServerConfig describes a private server. Zero values work except for Dir.
type ServerConfig struct {
	// Dir holds everything the server keeps: the data, its password, its log,
	// the port it was given. It is made if missing. Required.
	Dir string
	// Port to listen on at 127.0.0.1. 0 takes the port of the last start or,
	// the first time and whenever that one is taken, a free one from 5433 on.
	Port int
	// BinDir holds initdb and postgres. Empty looks in PATH, asks pg_config
	// and knows where distributions put them; the newest version that can
	// open the data wins.
	BinDir string
	// Settings are further server parameters, as in postgresql.conf.
	Settings map[string]string
	// NoFsync trades durability for speed, for throw-away data of tests only:
	// data outlives a kill -9 of the server, but not a crash of the machine.
	NoFsync bool
	// StartTimeout bounds the time from launch to the first answer, recovery
	// after a crash included. Default 5 minutes.
	StartTimeout time.Duration
	// StopTimeout is how long Close lets the server finish writing before it
	// cuts it off. Default 20 seconds.
	StopTimeout time.Duration
	// Log receives the server's comings and goings. Default: discarded.
	Log *slog.Logger

	// untied lets the server outlive this process, which tests of adoption need.
	untied bool
}

func (c ServerConfig) withDefaults() (ServerConfig, error) {
	if c.Dir == "" {
		return c, errors.New("postgres: a private server needs a directory: name one with --data-dir")
	}
	if c.Port < 0 || c.Port > 65535 {
		return c, say(ErrPortTaken, nil, fmt.Sprintf("postgres: %d is no port: give one from 1 to 65535 with --postgres-port", c.Port))
	}
	abs, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, err
	}
	c.Dir = abs
	if c.StartTimeout <= 0 {
		c.StartTimeout = 5 * time.Minute
	}
	if c.StopTimeout <= 0 {
		c.StopTimeout = 20 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Server is a private PostgreSQL server in a directory of this process. All
// methods may be called at any time and from any goroutine.
type Server struct {
	cfg     ServerConfig
	log     *slog.Logger
	dataDir string
	bin     binaries
	acct    account
	lock    *dirLock
	port    int
	adopted bool
	logs    *serverLog

	appPassword, superPassword string

	pm        *postmaster
	closing   chan struct{} // closed by the first Close
	closeOnce sync.Once
	closeErr  error
	done      chan struct{} // closed when the process is gone
	err       error         // why it is gone; read after done
}

// StartServer starts a private server in cfg.Dir and returns once it answers.
// An empty directory is initialised first; a server that an earlier process
// left behind there is taken over if it answers and fits cfg, else ended. On
// Linux the server ends by itself when this process dies.
//
// Started by root, the server runs as the owner of the data, else as user
// postgres or nobody. Both roles, the one of [Server.URL] and the superuser, have
// generated passwords, kept in cfg.Dir for this user's eyes only.
//
// Errors are sentences for the user and match ErrNoBinaries,
// ErrVersionMismatch, ErrPortTaken, ErrDataDir, ErrDirInUse or ErrDiskFull.
// Nothing is left running when it fails.
func StartServer(ctx context.Context, cfg ServerConfig) (_ *Server, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Log,
		dataDir: filepath.Join(cfg.Dir, "data"),
		logs:    &serverLog{path: filepath.Join(cfg.Dir, "server.log")},
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	if err := makeDir(cfg.Dir, 0o755); err != nil {
		return nil, dirError(cfg.Dir, err)
	}
	var previous int
	if s.lock, previous, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.release()
		}
	}()
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if err := s.launch(ctx, previous); err != nil {
		return nil, err
	}
	go s.watch()
	if err := s.ensureDatabase(ctx); err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	s.log.InfoContext(ctx, "postgres ready", "address", s.Address(), "pid", s.PID(),
		"version", fmt.Sprintf("%d.%d", s.bin.major, s.bin.minor), "user", s.acct.name, "data", s.dataDir)
	return s, nil
}

// prepare settles user, programs, passwords and data before anything runs.
func (s *Server) prepare(ctx context.Context) (err error) {
	if s.acct, err = accountFor(s.dataDir); err != nil {
		return err
	}
	have, err := dataVersion(s.dataDir)
	if err != nil {
		return dirError(s.cfg.Dir, err)
	}
	if s.bin, err = findBinaries(ctx, s.cfg.BinDir, have, s.dataDir); err != nil {
		return err
	}
	if err := s.acct.checkReach(ctx, s.bin.postgres(), s.cfg.Dir); err != nil {
		return err
	}
	if err := s.passwords(have != 0); err != nil {
		return err
	}
	if have == 0 {
		s.log.InfoContext(ctx, "creating a postgres data directory", "data", s.dataDir, "user", s.acct.name)
		if err := s.initialise(ctx); err != nil {
			return err
		}
	}
	run := filepath.Join(s.cfg.Dir, "run")
	if err := makeDir(run, 0o755); err != nil {
		return dirError(s.cfg.Dir, err)
	}
	if err := s.acct.own(run); err != nil {
		return dirError(s.cfg.Dir, err)
	}
	return nil
}

// URL is the connection string of the role and database for Weir. The role
// owns the database and is no superuser. It holds the password: mask it with
// [MaskURL] before it is shown.
func (s *Server) URL() string { return s.url(appUser, s.appPassword, appUser, s.port) }

// SuperuserURL is the connection string of the server's superuser.
func (s *Server) SuperuserURL() string {
	return s.url(superuser, s.superPassword, "postgres", s.port)
}

func (s *Server) url(user, password, database string, port int) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Address is where the server listens, as host:port.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the TCP port of [Server.Address].
func (s *Server) Port() int { return s.port }

// SocketDir is the directory of the unix socket (psql -h), "" if its path is
// too long for one.
func (s *Server) SocketDir() string { return socketDir(s.cfg.Dir) }

// PID is the process id of the server's first process.
func (s *Server) PID() int { return s.pm.pid }

// Adopted reports whether the server was already running and taken over.
func (s *Server) Adopted() bool { return s.adopted }

// LogPath is the file the server writes its log to. It is kept under
// 16 MiB together with its predecessor (".1").
func (s *Server) LogPath() string { return s.logs.path }

// Done is closed when the server process is gone, by Close or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why the server is gone: nil while it runs and after Close, else an
// error, an [ExitError] below it, with the last line of the log that matters.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Wait blocks until the server is gone, and returns Err, or until ctx ends.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends the server and frees its directory: a fast shutdown, and after
// StopTimeout, or once ctx has ended, an immediate one, from which the next
// start recovers without loss. It returns when the process is gone. Further
// calls wait for the first and return the same; closing a server that died is
// fine.
func (s *Server) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		close(s.closing)
		clean, err := s.pm.stop(ctx, s.cfg.StopTimeout)
		if err != nil {
			close(s.pm.quit)
			s.closeErr = fmt.Errorf("postgres: stop process %d: %w", s.pm.pid, err)
			return // the directory stays locked: the server still has it
		}
		<-s.done
		s.lock.release()
		s.log.InfoContext(ctx, "postgres ended", "pid", s.pm.pid, "clean", clean)
	})
	return s.closeErr
}

// ExitError tells how a server ended that nobody asked to.
type ExitError struct {
	State   string   // as the system puts it: "exit status 1", "signal: killed"
	Log     []string // the last lines of its log, oldest first
	LogPath string
}

func (e *ExitError) Error() string {
	text := "postgres: the server ended unexpectedly (" + e.State + ")"
	if line := telling(e.Log); line != "" {
		text += ": " + line
	}
	return text + "; its log is " + e.LogPath
}

// watch follows the running server until it is gone.
func (s *Server) watch() {
	tick := time.NewTicker(logCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.logs.bound(); err != nil {
				s.log.Warn("cannot bound the postgres log", "path", s.logs.path, "error", err)
			}
		case <-s.pm.exited:
			select {
			case <-s.closing:
			default:
				s.err = s.died(false)
			}
			close(s.done)
			return
		}
	}
}

// died makes the error for a server that is gone.
func (s *Server) died(starting bool) error {
	lines := s.logs.tail()
	exit := &ExitError{State: s.pm.state, Log: lines, LogPath: s.logs.path}
	return s.explain(lines, exit, starting)
}
