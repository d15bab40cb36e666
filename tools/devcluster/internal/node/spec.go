// Package node is the first process of the node's namespaces: it prepares
// mounts and addresses and keeps the node's processes running.
package node

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
	"github.com/weirmesh/weir/tools/devcluster/internal/preflight"
	"github.com/weirmesh/weir/tools/devcluster/internal/process"
)

// Names of the node's processes.
const (
	ControlPlane = "control-plane"
	Containerd   = "containerd"
	Kubelet      = "kubelet"
	Proxy        = "kube-proxy"
	DNS          = "coredns"
)

// Spec is what the first process needs to know.
type Spec struct {
	Dir   cluster.Dir
	Tools preflight.Tools
	Node  config.Node
	// Port is the API server's.
	Port int
}

// Write writes the spec to a file.
func (s Spec) Write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write the node's specification: %w", err)
	}
	return cluster.WriteFile(path, b, 0o600)
}

func loadSpec(path string) (Spec, error) {
	var s Spec
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("read the node's specification: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read the node's specification: %w", err)
	}
	return s, nil
}

// Command is what the node's parent tells it. One field is set.
type Command struct {
	// Connected says that the node's interface is in its namespace.
	Connected bool  `json:"connected,omitempty"`
	Hold      *Hold `json:"hold,omitempty"`
	Stop      bool  `json:"stop,omitempty"`
}

// Hold kills a process and keeps it down.
type Hold struct {
	Process string  `json:"process"`
	Seconds float64 `json:"seconds"`
}

// Report is what the node tells its parent. One field is set.
type Report struct {
	Status *process.Status `json:"status,omitempty"`
	// Failed ends the node.
	Failed string `json:"failed,omitempty"`
	// Held answers a Hold: empty if it was done.
	Held *string `json:"held,omitempty"`
	// Containerd is true once images can be loaded.
	Containerd bool `json:"containerd,omitempty"`
}
