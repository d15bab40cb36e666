// Package testkube gives tests a real Kubernetes API server, with its
// controllers, RBAC and admission: nothing of it is simulated but the kubelet,
// in whose place the helpers write pod status.
//
// With WEIR_TEST_KUBECONFIG set, the tests use that cluster. Otherwise the first
// test that asks starts one control plane for its whole process, from
// bin/devcluster (or the binary that WEIR_DEVCLUSTER names); it ends with the
// process.
//
//	func TestMain(m *testing.M) { testkube.Main(m) }
package testkube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Deadline is how long the helpers wait for the cluster to do its part.
const Deadline = 90 * time.Second

// Cluster is an API server with Weir's definitions, roles and admission
// policies installed. It is safe for concurrent use.
type Cluster struct {
	// Kubeconfig is the path of an administrator's.
	Kubeconfig string
	// Client is an administrator's, without limits on its rate.
	Client kubernetes.Interface

	rest  *rest.Config
	node  string
	child *child // nil for a cluster that somebody else runs
	end   context.CancelFunc
	wg    sync.WaitGroup
}

var shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
}

// Main runs the tests of a package, ends the shared cluster if one was started,
// and fails the package if goroutines are left.
func Main(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests ends the shared cluster before goroutines are counted.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	if shared.cluster != nil {
		shared.cluster.close()
	}
	return code
}

// Start returns the cluster that the tests of this process share.
func Start(tb testing.TB) *Cluster {
	tb.Helper()
	shared.once.Do(func() {
		if file := os.Getenv("WEIR_TEST_KUBECONFIG"); file != "" {
			shared.cluster, shared.err = open(file, nil)
			return
		}
		shared.cluster, shared.err = startChild()
	})
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.cluster
}

// StartOwn starts a cluster for this test alone, which it may Kill and Restart.
func StartOwn(tb testing.TB) *Cluster {
	tb.Helper()
	c, err := startChild()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.close)
	return c
}

func startChild() (*Cluster, error) {
	binary, err := findBinary()
	if err != nil {
		return nil, err
	}
	sweep()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("make a directory for the cluster: %w", err)
	}
	child := &child{binary: binary, dir: dir}
	if err := child.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c, err := open(filepath.Join(dir, "admin.kubeconfig"), child)
	if err != nil {
		child.stop()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

// findBinary looks for the dev cluster where make puts it.
func findBinary() (string, error) {
	if path := os.Getenv("WEIR_DEVCLUSTER"); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("WEIR_DEVCLUSTER names no dev cluster (%w): correct it, or unset it and run `make build-devcluster`", err)
		}
		return path, nil
	}
	_, file, _, _ := runtime.Caller(0)
	return findAbove(filepath.Dir(file), ".")
}

// findAbove looks into bin of the directories and of all above them. The place
// of this file serves when paths are not trimmed, the working directory of a
// test otherwise.
func findAbove(starts ...string) (string, error) {
	for _, start := range starts {
		dir, err := filepath.Abs(start)
		if err != nil {
			continue
		}
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			path := filepath.Join(dir, "bin", "devcluster")
			if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", errors.New("these tests need the dev cluster: run `make build-devcluster` once (about ten minutes), or name a binary in WEIR_DEVCLUSTER, or a cluster to use in WEIR_TEST_KUBECONFIG")
}

const dirPrefix = "weir-testkube-"

// sweep removes the directories of processes that were killed: their clusters
// died with them, and could not tidy up.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*-*"))
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && n != os.Getpid() && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // another process may be at it as well
		}
	}
}

var clusters atomic.Int64

func open(kubeconfig string, child *child) (*Cluster, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	cfg.QPS, cfg.UserAgent = -1, "testkube"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("use %s: %w", kubeconfig, err)
	}
	c := &Cluster{
		Kubeconfig: kubeconfig, Client: client, rest: cfg, child: child,
		node: fmt.Sprintf("testkube-%d-%d", os.Getpid(), clusters.Add(1)),
	}
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	if err := c.install(ctx); err != nil {
		return nil, err
	}
	if err := c.addNode(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// REST returns an administrator's client configuration; the copy is the caller's.
func (c *Cluster) REST() *rest.Config { return rest.CopyConfig(c.rest) }

// Kill ends the API server and everything beside it as kill -9 does.
func (c *Cluster) Kill(tb testing.TB) {
	tb.Helper()
	if c.child == nil {
		tb.Fatal("testkube: this cluster is not ours to kill; use StartOwn")
	}
	c.child.kill()
}

// Restart starts the cluster again after Kill, at the same address and with its
// data, and returns once it is ready.
func (c *Cluster) Restart(tb testing.TB) {
	tb.Helper()
	if err := c.child.start(); err != nil {
		tb.Fatal(err)
	}
}

func (c *Cluster) close() {
	if c.end != nil {
		c.end()
	}
	c.wg.Wait()
	if c.child != nil {
		c.child.stop()
		if err := os.RemoveAll(c.child.dir); err != nil {
			fmt.Fprintln(os.Stderr, "testkube: clean up:", err)
		}
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c.removeNode(ctx)
	}
	closeIdle(c.rest)
}
