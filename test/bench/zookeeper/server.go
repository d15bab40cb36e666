//go:build linux

// Package zookeeper runs the peer's side of a comparison: a ZooKeeper server from
// the distribution's own package, and providers that register in it through
// dubbo-go's registry.
package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
)

// DefaultJar is where Debian and Ubuntu put ZooKeeper; it names its libraries
// itself.
const DefaultJar = "/usr/share/java/zookeeper.jar"

// Server is a ZooKeeper server of our own on a loopback port.
type Server struct {
	dir, jar string
	port     int
	process  *child.Process
}

// Check reports what is missing to run a server.
func Check(jar string) error {
	if _, err := exec.LookPath("java"); err != nil {
		return errors.New("no java: install a Java runtime, such as openjdk-17-jre-headless")
	}
	if _, err := os.Stat(jar); err != nil {
		return fmt.Errorf("no ZooKeeper at %s: install it (apt-get install --no-install-recommends zookeeper) or name its jar with -zookeeper-jar", jar)
	}
	return nil
}

// Start runs a server with its data in dir and returns once it serves.
func Start(ctx context.Context, dir, jar string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, jar: jar, port: port}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// tickTime allows sessions from 4 s on: dubbo-go asks for 5. Each instance
	// has a session of its own, all from one address.
	config := fmt.Sprintf(`tickTime=2000
dataDir=%s
clientPortAddress=127.0.0.1
clientPort=%d
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=ruok
`, filepath.Join(dir, "data"), port)
	if err := os.WriteFile(s.config(), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := s.Restart(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) config() string { return filepath.Join(s.dir, "zoo.cfg") }

// Address returns the server's host and port.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Pid returns the id of the server's process.
func (s *Server) Pid() int { return s.process.Pid() }

// Restart starts the server on the data it left.
func (s *Server) Restart(ctx context.Context) error {
	p, err := child.Launch("zookeeper", s.dir, "java", "-Xmx1g",
		// The API server's etcd does not wait for the disk either.
		"-Dzookeeper.forceSync=no",
		"-Dzookeeper.admin.enableServer=false",
		"-cp", s.jar, "org.apache.zookeeper.server.quorum.QuorumPeerMain", s.config())
	if err != nil {
		return err
	}
	s.process = p
	for !s.serves(ctx) {
		select {
		case <-p.Done():
			return p.Died()
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("wait for ZooKeeper: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (s *Server) serves(ctx context.Context) bool {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Address())
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("ruok")); err != nil {
		return false
	}
	answer := make([]byte, 4)
	_, err = c.Read(answer)
	return err == nil && string(answer) == "imok"
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill() { s.process.Kill() }

// Stop ends the server.
func (s *Server) Stop() { s.process.Stop(5 * time.Second) }

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	address, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("%s is no address of TCP", l.Addr())
	}
	return address.Port, nil
}
