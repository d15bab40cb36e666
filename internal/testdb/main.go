//go:build unix

package testdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
)

// TestingM is what of *testing.M is needed; goleak.VerifyTestMain takes it too.
type TestingM interface{ Run() int }

// Main wraps m so that the server ends, and its files go, once the tests have
// run and before leaks are looked for. A TestMain without goleak says
// os.Exit(testdb.Main(m).Run()).
func Main(m TestingM) TestingM {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.wrapped = true
	return runner{m}
}

type runner struct{ m TestingM }

func (r runner) Run() int {
	code := r.m.Run()
	if err := process.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testdb: clean up:", err)
		if code == 0 {
			code = 1
		}
	}
	return code
}

// process is what this test process has started.
var process state

type state struct {
	mu      sync.Mutex
	wrapped bool
	home    *home
	cluster *cluster
	failed  error // a server that does not start is not tried again by every test
}

var errNotWrapped = errors.New(`this package needs func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }, or os.Exit(testdb.Main(m).Run()) in it, so that the server is ended`)

// clusterFor returns the process's server, starting it on first use.
func clusterFor(ctx context.Context) (*cluster, error) {
	p := &process
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wrapped {
		return nil, errNotWrapped
	}
	if p.cluster == nil && p.failed == nil {
		if url := os.Getenv(envURL); url != "" {
			p.cluster, p.failed = external(ctx, url)
		} else {
			p.cluster, p.failed = p.private(ctx)
		}
	}
	return p.cluster, p.failed
}

// homeFor returns the process's directory, making it on first use.
func (p *state) homeFor(ctx context.Context) (*home, error) {
	if p.home != nil {
		return p.home, nil
	}
	h, err := newHome(ctx)
	if err == nil {
		p.home = h
	}
	return h, err
}

func (p *state) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	if p.cluster != nil {
		errs = append(errs, p.cluster.end())
	}
	if p.home != nil {
		errs = append(errs, p.home.remove())
	}
	p.cluster, p.home = nil, nil
	return errors.Join(errs...)
}
