package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/node"
	"github.com/weirmesh/weir/tools/devcluster/internal/preflight"
	"github.com/weirmesh/weir/tools/devcluster/internal/proc"
	"github.com/weirmesh/weir/tools/devcluster/internal/process"
)

const controlSocket = "control.sock"

// Status is what `status` tells of a running cluster.
type Status struct {
	cluster.Summary
	// PID is the supervisor's.
	PID   int          `json:"pid"`
	Since time.Time    `json:"since"`
	Ready bool         `json:"ready"`
	Parts []PartStatus `json:"parts"`
	// Processes counts all, pods' included; Memory is what they have together.
	Processes int   `json:"processes"`
	Memory    int64 `json:"memoryBytes"`

	// For load-image.
	Containerd struct {
		Tools       preflight.Tools `json:"tools"`
		NodePID     int             `json:"nodePID"`
		Snapshotter string          `json:"snapshotter"`
	} `json:"containerd,omitzero"`
}

// PartStatus is where a part and its processes stand. The processes' numbers
// are those of the node's own namespace.
type PartStatus struct {
	Part      cluster.Part     `json:"part"`
	State     cluster.State    `json:"state"`
	Processes []process.Status `json:"processes,omitempty"`
}

// FaultRequest asks for an outage.
type FaultRequest struct {
	// Process is one of the cluster's processes.
	Process string  `json:"process"`
	Seconds float64 `json:"seconds"`
}

type control struct {
	server *http.Server
	dir    *os.File
}

// socketPath names the socket through a descriptor of its directory: the path
// of a unix socket may have 107 bytes only.
func socketPath(dir *os.File) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + controlSocket
}

func serveControl(s *Supervisor) (*control, error) {
	dir, err := os.Open(s.dir.Run())
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	listener, err := net.Listen("unix", socketPath(dir))
	if err != nil {
		dir.Close()
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.status())
	})
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		var f FaultRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<10)).Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := s.hold(f.Process, time.Duration(f.Seconds*float64(time.Second))); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	c := &control{server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, dir: dir}
	go func() { _ = c.server.Serve(listener) }()
	return c, nil
}

func (c *control) close() {
	_ = c.server.Close()
	c.dir.Close()
}

func (s *Supervisor) hold(process string, d time.Duration) error {
	s.mu.Lock()
	e := s.engine
	s.mu.Unlock()
	if e == nil {
		return errors.New("the cluster is still starting: try again once it is ready")
	}
	return e.hold(process, d)
}

func (s *Supervisor) status() Status {
	s.mu.Lock()
	e := s.engine
	st := Status{Summary: s.summary(), PID: os.Getpid(), Since: s.began, Ready: s.parts.ready}
	for _, part := range s.parts.order {
		p := PartStatus{Part: part, State: s.parts.states[part]}
		for _, name := range members[part] {
			if member, ok := s.parts.processes[name]; ok {
				p.Processes = append(p.Processes, member)
			}
		}
		st.Parts = append(st.Parts, p)
	}
	s.mu.Unlock()
	if s.options.Mode == cluster.WithNode && e != nil {
		st.Containerd.Tools, st.Containerd.NodePID, st.Containerd.Snapshotter = s.tools, e.pid(), s.snapshotter
	}
	st.Memory, st.Processes = proc.Memory(os.Getpid())
	return st
}

// ErrNotRunning says that nobody supervises the cluster.
var ErrNotRunning = errors.New("the cluster is not running: start it with `devcluster up`")

// Client asks the supervisor of a cluster.
type Client struct{ dir cluster.Dir }

// NewClient returns a client of the cluster in d, running or not.
func NewClient(d cluster.Dir) Client { return Client{d} }

func (c Client) do(ctx context.Context, method, path string, body any, answer any) error {
	another := fmt.Errorf("the cluster in %s is another user's: call as that user, or with sudo", c.dir)
	dir, err := os.Open(c.dir.Run())
	if errors.Is(err, os.ErrPermission) {
		return another
	}
	if err != nil {
		return ErrNotRunning
	}
	defer dir.Close()
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socketPath(dir))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://devcluster"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if errors.Is(err, os.ErrPermission) {
		return another
	}
	if err != nil {
		return ErrNotRunning
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return errors.New(string(bytes.TrimSpace(said)))
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// Status asks where the cluster stands. The error is ErrNotRunning if nobody
// answers.
func (c Client) Status(ctx context.Context) (Status, error) {
	var st Status
	err := c.do(ctx, http.MethodGet, "/status", nil, &st)
	return st, err
}

// Faults names the processes that Fault can take down, as users call them.
var Faults = map[string]string{
	"apiserver":  node.ControlPlane,
	"containerd": node.Containerd,
	"kubelet":    node.Kubelet,
	"kube-proxy": node.Proxy,
	"dns":        node.DNS,
}

// Fault kills a process of the cluster with SIGKILL and keeps it down for d.
func (c Client) Fault(ctx context.Context, process string, d time.Duration) error {
	return c.do(ctx, http.MethodPost, "/fault", FaultRequest{Process: process, Seconds: d.Seconds()}, nil)
}
