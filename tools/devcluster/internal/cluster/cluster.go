// Package cluster holds the words of the dev cluster: where its files lie,
// which addresses it has, what is recorded of it and what it reports.
package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Mode says what a cluster consists of.
type Mode string

const (
	// ControlPlaneOnly is etcd, API server, controllers and scheduler on
	// loopback; it needs no root and runs no pods.
	ControlPlaneOnly Mode = "control-plane-only"
	// WithNode adds containerd, kubelet, kube-proxy and DNS in namespaces of
	// their own.
	WithNode Mode = "node"
)

// Dir is the directory of one cluster, absolute and free of symbolic links.
// Everything a cluster keeps lies in it.
type Dir string

// OpenDir makes the directory if it is missing and returns it resolved, so
// that one directory is always known by one name.
func OpenDir(path string) (Dir, error) {
	if path == "" {
		return "", errors.New("no directory given: name the cluster's directory with --dir")
	}
	// Others may pass through to a kubeconfig handed to them, but list nothing.
	if err := os.MkdirAll(path, 0o711); err != nil {
		return "", fmt.Errorf("make the cluster's directory: %w; choose another with --dir", err)
	}
	return FindDir(path)
}

// FindDir is OpenDir for a directory that has to exist.
func FindDir(path string) (Dir, error) {
	if path == "" {
		return "", errors.New("no directory given: name the cluster's directory with --dir")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the cluster's directory: %w", err)
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no cluster in %s: name its directory with --dir", path)
	}
	if err != nil {
		return "", fmt.Errorf("find the cluster's directory: %w", err)
	}
	return Dir(resolved), nil
}

func (d Dir) path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// ID names the cluster in whatever it leaves outside its directory. It derives
// from the directory's path, so a copy of the directory is another cluster.
func (d Dir) ID() string {
	sum := sha256.Sum256([]byte(d))
	return hex.EncodeToString(sum[:4])
}

// Kubeconfig is the administrator's.
func (d Dir) Kubeconfig() string { return d.path("admin.kubeconfig") }

// PKI holds certificates, keys and the components' kubeconfigs.
func (d Dir) PKI() string { return d.path("pki") }

// Etcd holds the cluster's objects.
func (d Dir) Etcd() string { return d.path("etcd") }

// Logs holds the components' logs and, in pods, the pods'.
func (d Dir) Logs() string { return d.path("log") }

// Run is emptied at each start; the sockets in it are for the directory's
// owner alone.
func (d Dir) Run() string { return d.path("run") }

// Node holds images, volumes and the node's configuration.
func (d Dir) Node() string { return d.path("node") }

// RecordFile is where Write puts the record.
func (d Dir) RecordFile() string { return d.path("cluster.json") }

// Make makes the subdirectories, readable by the owner alone.
func (d Dir) Make() error {
	for _, sub := range []string{d.PKI(), d.Etcd(), d.Logs(), d.Run(), d.Node()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return fmt.Errorf("make %s: %w; choose another directory with --dir", sub, err)
		}
	}
	return nil
}

// Record is what a cluster's directory remembers between starts.
type Record struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Mode Mode   `json:"mode"`
	Slot int    `json:"slot,omitempty"`
	Port int    `json:"port"`
	// Version is the Kubernetes version that last wrote the data.
	Version string `json:"version"`
	// Processes are those of the last start; whichever still live when the
	// next one begins are its litter.
	Processes []Process `json:"processes,omitempty"`
}

// Process identifies a process beyond the reuse of its number.
type Process struct {
	PID int `json:"pid"`
	// Start is the kernel's start time in ticks since boot, Boot the boot's id.
	Start uint64 `json:"start"`
	Boot  string `json:"boot"`
}

// Record reads what was recorded; ok is false if nothing was.
func (d Dir) Record() (r Record, ok bool, err error) {
	b, err := os.ReadFile(d.RecordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, false, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return Record{}, false, fmt.Errorf("the cluster in %s is another user's: call as that user, or with sudo", d)
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("read the cluster's record: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, false, fmt.Errorf("read the cluster's record %s: %w; `devcluster down --dir %s --purge` starts afresh", d.RecordFile(), err, d)
	}
	return r, true, nil
}

// Write replaces the record.
func (d Dir) Write(r Record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the cluster's record: %w", err)
	}
	return WriteFile(d.RecordFile(), append(b, '\n'), 0o600)
}

// WriteFile replaces a file as a whole: a reader, or a start after a crash,
// sees the old contents or the new.
func WriteFile(path string, contents []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(contents)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
