// Package testzk gives tests a real ZooKeeper server on the loopback interface, from
// the distribution's own package (Debian and Ubuntu: zookeeper), with a data
// directory of its own.
//
// With WEIR_TEST_ZOOKEEPER set to host:port, Start uses that server. Otherwise the
// first test that asks starts one for its whole process; it ends with the process.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testzk.Main(m)) }
package testzk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/run"
)

// Deadline is how long the helpers wait for the server to do its part.
const Deadline = 60 * time.Second

const (
	envServer = "WEIR_TEST_ZOOKEEPER"
	envJar    = "WEIR_ZOOKEEPER_JAR"
	// debianJar is where Debian and Ubuntu put ZooKeeper; it names its libraries
	// itself.
	debianJar = "/usr/share/java/zookeeper.jar"
	dirPrefix = "weir-testzk-"
)

// TestingM is what of *testing.M is needed; goleak.VerifyTestMain takes it too.
type TestingM interface{ Run() int }

// Main wraps m so that the shared server ends once the tests have run.
func Main(m TestingM) TestingM {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.wrapped = true
	return runner{m}
}

type runner struct{ m TestingM }

func (r runner) Run() int {
	code := r.m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		shared.server.end()
	}
	return code
}

var shared struct {
	mu      sync.Mutex
	wrapped bool
	server  *Server
	err     error // a server that does not start is not tried again by every test
}

// Start returns the server that the tests of this process share.
func Start(tb testing.TB) *Server {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.wrapped {
		tb.Fatal("testzk: this package needs func TestMain(m *testing.M) { goleak.VerifyTestMain(testzk.Main(m)) }, so that the server is ended")
	}
	if shared.server == nil && shared.err == nil {
		if address := os.Getenv(envServer); address != "" {
			shared.server = &Server{address: address}
		} else {
			shared.server, shared.err = launch()
		}
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server
}

// StartOwn starts a server for this test alone, which it may Kill and Restart.
func StartOwn(tb testing.TB) *Server {
	tb.Helper()
	s, err := launch()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.end)
	return s
}

// Server is a running ZooKeeper server. Its methods are for one goroutine at a time.
type Server struct {
	address string
	dir     string // empty for a server that somebody else runs
	jar     string
	port    int
	process *run.Process // nil while it is dead
}

// Address returns host:port.
func (s *Server) Address() string { return s.address }

var roots atomic.Int64

// Root returns the path of a node, not there yet, that no other test uses.
func (s *Server) Root(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf("/test-%d-%d", os.Getpid(), roots.Add(1))
}

// Kill ends the server as kill -9 does. Sessions that were open are open still when
// it is restarted before they run out.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if s.dir == "" {
		tb.Fatal("testzk: this server is not ours to kill; use StartOwn")
	}
	s.kill()
}

// Restart starts the server again after Kill, at the same address, with its data.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

// Wipe takes its data away, between Kill and Restart: sessions and nodes are gone.
func (s *Server) Wipe(tb testing.TB) {
	tb.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) kill() {
	if s.process != nil {
		_ = s.process.Stop(context.Background()) // as kill -9 does, which nobody withstands
		s.process = nil
	}
}

func (s *Server) end() {
	if s.dir == "" {
		return
	}
	s.kill()
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(os.Stderr, "testzk: clean up:", err)
	}
}

func launch() (*Server, error) {
	jar := os.Getenv(envJar)
	if jar == "" {
		jar = debianJar
	}
	if _, err := exec.LookPath("java"); err != nil {
		return nil, errors.New("these tests need Java: install a runtime, such as default-jre-headless (make test does)")
	}
	if _, err := os.Stat(jar); err != nil {
		return nil, fmt.Errorf("these tests need ZooKeeper: install the package zookeeper (make test does), name its jar in %s, or a server in %s: %w", envJar, envServer, err)
	}
	sweep()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	// The port is free when it is chosen, and may not be when it is used.
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		s := &Server{dir: dir, jar: jar, port: port, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

// start runs the server and returns once it serves.
func (s *Server) start() error {
	// Sessions may be short, so that tests need not wait long for their ends.
	config := fmt.Sprintf("tickTime=500\nminSessionTimeout=500\nmaxSessionTimeout=60000\ndataDir=%s\nclientPortAddress=127.0.0.1\nclientPort=%d\nmaxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=isro\n",
		filepath.Join(s.dir, "data"), s.port)
	file := filepath.Join(s.dir, "zoo.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	s.process = run.NewProcess(run.Command{
		Name: "ZooKeeper", Path: "java", StopSignal: syscall.SIGKILL, LogFile: filepath.Join(s.dir, "server.log"),
		Args: []string{
			"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no", "-Dzookeeper.admin.enableServer=false",
			"-cp", s.jar, "org.apache.zookeeper.server.ZooKeeperServerMain", file,
		},
	})
	if err := s.process.Start(context.Background()); err != nil {
		return err
	}
	late := time.After(Deadline)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s.serves() {
				return nil
			}
		case <-s.process.Done():
			return fmt.Errorf("ZooKeeper does not serve: %w", s.process.Watch(context.Background()))
		case <-late:
			said := s.process.Lines()
			s.kill()
			return fmt.Errorf("ZooKeeper does not serve after %v:\n%s", Deadline, strings.Join(said, "\n"))
		}
	}
}

// serves reports whether the server gives sessions, which it does a little after it
// takes connections.
func (s *Server) serves() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("isro")); err != nil {
		return false
	}
	answer, err := io.ReadAll(io.LimitReader(c, 8))
	return err == nil && string(answer) == "rw"
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	at, err := netip.ParseAddrPort(l.Addr().String())
	return int(at.Port()), errors.Join(err, l.Close())
}

// sweep removes the directories of processes that were killed: their servers died
// with them, and could not tidy up.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*-*"))
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && n != os.Getpid() && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // another process may be at it as well
		}
	}
}
