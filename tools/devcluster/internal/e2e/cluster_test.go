package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/supervisor"
)

// patience is how long a test waits for what has to happen. It is long since
// it only passes if something is broken.
const patience = 90 * time.Second

// binary returns the program under test. Building it takes minutes the first
// time, which is for make to do.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("DEVCLUSTER_BIN")
	if path == "" {
		path = "../../../../bin/devcluster"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: build it with `make -C tools/devcluster build`", err)
	}
	return path
}

// devcluster runs a command of the program to its end.
func devcluster(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stderr bytes.Buffer
	c := exec.CommandContext(ctx, binary(t), args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		err = errors.Join(errors.New(strings.TrimSpace(stderr.String())), err)
	}
	return string(out), err
}

// up is a running `devcluster up`.
type up struct {
	dir    string
	cmd    *exec.Cmd
	stderr bytes.Buffer

	mu     sync.Mutex
	events []cluster.Event
	// changed is closed and replaced with each event.
	changed chan struct{}

	done chan struct{}
	err  error
}

// start starts a cluster in dir, as another user if credential is set, and
// ends it with the test.
func start(t *testing.T, credential *syscall.Credential, dir string, args ...string) *up {
	t.Helper()
	u := &up{dir: dir, changed: make(chan struct{}), done: make(chan struct{})}
	u.cmd = exec.Command(binary(t), append([]string{"up", "--dir", dir, "--output", "json", "--with-parent"}, args...)...)
	u.cmd.Stderr = &u.stderr
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true}
	out, err := u.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(u.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e cluster.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				u.err = err
				break
			}
			u.mu.Lock()
			u.events = append(u.events, e)
			close(u.changed)
			u.changed = make(chan struct{})
			u.mu.Unlock()
		}
		u.err = errors.Join(u.err, u.cmd.Wait())
	}()
	t.Cleanup(func() {
		u.signal(syscall.SIGTERM)
		<-u.done
		if t.Failed() {
			u.mu.Lock()
			defer u.mu.Unlock()
			for _, e := range u.events {
				t.Logf("%s: %6.1fs %s %s %s", filepath.Base(dir), e.Seconds, e.Part, e.State, e.Detail)
			}
			t.Logf("%s: %s", filepath.Base(dir), u.stderr.String())
		}
	})
	return u
}

// signal may come too late.
func (u *up) signal(s syscall.Signal) { _ = u.cmd.Process.Signal(s) }

// wait waits for an event from the n-th on and returns it and the number of
// the next.
func (u *up) wait(t *testing.T, n int, part cluster.Part, state cluster.State) (cluster.Event, int) {
	t.Helper()
	timeout := time.After(patience)
	for {
		u.mu.Lock()
		events, changed := u.events, u.changed
		u.mu.Unlock()
		for ; n < len(events); n++ {
			if events[n].Part == part && events[n].State == state {
				return events[n], n + 1
			}
		}
		select {
		case <-changed:
		case <-u.done:
			t.Fatalf("ended before %s was %s: %v: %s", part, state, u.err, u.stderr.String())
		case <-timeout:
			t.Fatalf("%s was not %s after %s", part, state, patience)
		}
	}
}

func (u *up) ready(t *testing.T) (cluster.Event, int) {
	t.Helper()
	return u.wait(t, 0, cluster.PartCluster, cluster.Ready)
}

func (u *up) status(t *testing.T) supervisor.Status {
	t.Helper()
	out, err := devcluster(t, "status", "--dir", u.dir, "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var st supervisor.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func restConfig(t *testing.T, kubeconfig string) *rest.Config {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c.QPS = -1
	return c
}

func client(t *testing.T, c *rest.Config) kubernetes.Interface {
	t.Helper()
	k, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// eventually repeats try until it succeeds.
func eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

var httpClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(string(b))
	}
	return string(b), err
}
