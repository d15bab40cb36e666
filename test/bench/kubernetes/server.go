//go:build linux

package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
)

// Server is a dev cluster of our own: a real API server with its controllers,
// without a node.
type Server struct {
	command, dir string
	process      *child.Process
	kubeconfig   string
}

// Check reports what is missing to run a server.
func Check(command string) error {
	if _, err := os.Stat(command); err != nil {
		return fmt.Errorf("no dev cluster at %s: build it with make at the top of the repository, or name it with -devcluster", command)
	}
	return nil
}

const serverName = "devcluster"

// Start runs a server with its data in dir and returns once it serves.
func Start(ctx context.Context, dir, command string) (*Server, error) {
	command, err := filepath.Abs(command)
	if err != nil {
		return nil, err
	}
	p, err := child.Launch(serverName, dir, command, "up", "--dir", filepath.Join(dir, "cluster"), "--control-plane-only", "--output", "json")
	if err != nil {
		return nil, err
	}
	s := &Server{command: command, dir: dir, process: p}
	for {
		if s.kubeconfig = s.ready(); s.kubeconfig != "" {
			return s, nil
		}
		select {
		case <-p.Done():
			return nil, p.Died()
		case <-ctx.Done():
			s.Stop()
			return nil, fmt.Errorf("wait for the API server: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ready returns the kubeconfig once the dev cluster has said that it serves.
func (s *Server) ready() string {
	said, err := os.ReadFile(filepath.Join(s.dir, serverName+".log"))
	if err != nil {
		return ""
	}
	lines := bufio.NewScanner(bytes.NewReader(said))
	for lines.Scan() {
		var event struct{ Part, State, Kubeconfig string }
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.Part == "cluster" && event.State == "ready" {
			return event.Kubeconfig
		}
	}
	return ""
}

// Kubeconfig returns an administrator's kubeconfig.
func (s *Server) Kubeconfig() string { return s.kubeconfig }

// Memory returns the resident memory of the whole control plane, in bytes.
func (s *Server) Memory(ctx context.Context) (uint64, error) {
	out, err := exec.CommandContext(ctx, s.command, "status", "--dir", filepath.Join(s.dir, "cluster"), "--output", "json").Output()
	if err != nil {
		return 0, fmt.Errorf("ask the dev cluster for its status: %w", err)
	}
	var status struct{ MemoryBytes uint64 }
	return status.MemoryBytes, json.Unmarshal(out, &status)
}

// Outage kills the API server as kill -9 does, with its etcd and controllers, and
// starts it again after a while. It returns once it is killed.
func (s *Server) Outage(ctx context.Context, down time.Duration) error {
	out, err := exec.CommandContext(ctx, s.command, "fault", "apiserver", "--dir", filepath.Join(s.dir, "cluster"), "--for", down.String()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("kill the API server: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Stop ends the server.
func (s *Server) Stop() { s.process.Stop(15 * time.Second) }
