package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

const deadline = 20 * time.Second

type fixture struct {
	*Group
	dir     string
	changes chan Status
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir(), changes: make(chan Status, 1000)}
	f.Group = NewGroup(starter, f.dir, func(s Status) { f.changes <- s })
	f.firstBackoff = time.Millisecond
	t.Cleanup(func() { f.Stop(deadline) })
	return f
}

func child(t *testing.T, name string) Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Name: name, Path: self, Env: append(os.Environ(), role+"="+name)}
}

// until waits for a change that is wanted.
func (f *fixture) until(t *testing.T, what string, wanted func(Status) bool) Status {
	t.Helper()
	timeout := time.After(deadline)
	for {
		select {
		case s := <-f.changes:
			if wanted(s) {
				return s
			}
		case <-timeout:
			t.Fatalf("no %s", what)
		}
	}
}

func in(state cluster.State) func(Status) bool {
	return func(s Status) bool { return s.State == state }
}

// TestAsInit runs the other tests once more, in a process that starts children
// as the first one of a process namespace does.
func TestAsInit(t *testing.T) {
	if os.Getenv(asInit) != "" {
		return
	}
	c := exec.Command("/proc/self/exe", "-test.count=1", "-test.timeout=2m")
	c.Env = append(os.Environ(), asInit+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestAProcessThatEndsIsToldOfAndRestarted(t *testing.T) {
	f := newFixture(t)
	if err := f.Start(child(t, "fail")); err != nil {
		t.Fatal(err)
	}
	for restarts := range 3 {
		s := f.until(t, "failure", in(cluster.Failed))
		if s.Restarts != restarts || s.PID != 0 {
			t.Errorf("got %+v, want restart %d and no pid", s, restarts)
		}
		for _, want := range []string{"fail ended (exit status 3)", "line 9", "line 4", "restarting in"} {
			if !strings.Contains(s.Detail, want) {
				t.Errorf("%q is not told in %q", want, s.Detail)
			}
		}
		if strings.Contains(s.Detail, "line 3\n") {
			t.Errorf("more than the last lines are told: %q", s.Detail)
		}
	}
	f.Stop(deadline)
	b, err := os.ReadFile(filepath.Join(f.dir, "fail.log"))
	if err != nil || !bytes.Contains(b, []byte("line 0\n")) {
		t.Errorf("log %q, %v", b, err)
	}
}

func TestWhatCannotStartIsTold(t *testing.T) {
	f := newFixture(t)
	if err := f.Start(Spec{Name: "none", Path: filepath.Join(f.dir, "none")}); err != nil {
		t.Fatal(err)
	}
	if s := f.until(t, "failure", in(cluster.Failed)); !strings.Contains(s.Detail, "could not start") {
		t.Errorf("got %q", s.Detail)
	}
}

func TestReadyIsToldWhenItIsTrue(t *testing.T) {
	f := newFixture(t)
	open := make(chan struct{})
	spec := child(t, "serve")
	spec.Ready = func(ctx context.Context) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := f.Start(spec); err != nil {
		t.Fatal(err)
	}
	started := f.until(t, "start", func(s Status) bool { return s.PID != 0 })
	if started.State != cluster.Starting {
		t.Fatalf("got %+v before it was ready", started)
	}
	close(open)
	if s := f.until(t, "readiness", in(cluster.Ready)); s.PID != started.PID {
		t.Errorf("got %+v, want pid %d", s, started.PID)
	}
	f.Stop(deadline)
	f.until(t, "stop", in(cluster.Stopped))
}

func TestHoldKillsAndKeepsDown(t *testing.T) {
	f := newFixture(t)
	if err := f.Hold("serve", time.Second); err == nil {
		t.Error("hold of an unknown process: got no error")
	}
	if err := f.Start(child(t, "serve")); err != nil {
		t.Fatal(err)
	}
	first := f.until(t, "readiness", in(cluster.Ready))
	began := time.Now()
	const hold = 300 * time.Millisecond
	if err := f.Hold("serve", hold); err != nil {
		t.Fatal(err)
	}
	failed := f.until(t, "failure", in(cluster.Failed))
	if !strings.Contains(failed.Detail, "SIGKILL") || !strings.Contains(failed.Detail, "held down") {
		t.Errorf("got %q", failed.Detail)
	}
	second := f.until(t, "readiness", in(cluster.Ready))
	// Not earlier: that is the promise. Later is the machine's affair.
	if d := time.Since(began); d < hold {
		t.Errorf("back after %s, want %s at least", d, hold)
	}
	if second.PID == first.PID || second.Restarts != 1 {
		t.Errorf("got %+v after %+v", second, first)
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	f := newFixture(t)
	spec := child(t, "stubborn")
	spec.Ready = func(ctx context.Context) error { return waitLog(ctx, filepath.Join(f.dir, "stubborn.log"), "ignoring") }
	if err := f.Start(spec); err != nil {
		t.Fatal(err)
	}
	s := f.until(t, "readiness", in(cluster.Ready))
	f.Stop(time.Millisecond)
	f.Stop(time.Millisecond)
	if err := syscall.Kill(s.PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("pid %d: got %v, want it gone", s.PID, err)
	}
}

func waitLog(ctx context.Context, path, want string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), want) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func TestOverlongLinesAreCut(t *testing.T) {
	f := newFixture(t)
	if err := f.Start(child(t, "long")); err != nil {
		t.Fatal(err)
	}
	s := f.until(t, "failure", in(cluster.Failed))
	if !strings.Contains(s.Detail, "after") || len(s.Detail) > 2*maxToldLine {
		t.Errorf("%d bytes are told", len(s.Detail))
	}
}

func TestLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.log")
	l, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1<<10)
	for i := range 3 * maxLog >> 10 {
		l.Line(fmt.Sprintf("%d %s", i, line))
	}
	l.Close()
	l.Line("after the end")
	for _, p := range []string{path, path + ".1"} {
		st, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() > maxLog+2*int64(len(line)) {
			t.Errorf("%s has %d bytes, want %d at most", p, st.Size(), maxLog)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("%d files, want 2", len(entries))
	}
	last, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d ", 3*maxLog>>10-1); !strings.Contains(string(last), "\n"+want) {
		t.Error("the last line is not in the log")
	}
	// A start goes on where the last one ended.
	again, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.size != int64(len(last)) {
		t.Errorf("reopened at %d, want %d", again.size, len(last))
	}
}
