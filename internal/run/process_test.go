package run_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/run"
)

// child is what this binary does as a child of its own tests.
func child(mode string) int {
	switch mode {
	case "talk":
		for i := range 100 {
			fmt.Println("out", i)
		}
		fmt.Fprint(os.Stderr, "fatal: no such table\nwithout newline")
		return 3
	case "obey": // ends at SIGTERM
		got := make(chan os.Signal, 1)
		signal.Notify(got, syscall.SIGTERM)
		fmt.Println("up")
		<-got
		return 0
	case "stubborn": // does not, and nor does its own child
		signal.Ignore(syscall.SIGTERM)
		grandchild := exec.Command("sleep", "3600")
		if err := grandchild.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("up", grandchild.Process.Pid)
		select {}
	case "orphan": // leaves a child of its own behind
		grandchild := exec.Command("sleep", "3600")
		if err := grandchild.Start(); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("up", grandchild.Process.Pid)
		return 0
	case "parent": // supervises an obedient child and waits to be killed
		p := run.NewProcess(run.Command{Path: os.Args[0], Env: []string{"RUN_TEST_CHILD=obey"}})
		if err := p.Start(context.Background()); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("up", p.Pid())
		select {}
	}
	return 99
}

type spawned struct {
	*run.Process
	lines chan string
}

func spawn(t *testing.T, mode string, change func(*run.Command)) *spawned {
	t.Helper()
	s := &spawned{lines: make(chan string, 1000)}
	c := run.Command{
		Name: mode, Path: os.Args[0], Env: []string{"RUN_TEST_CHILD=" + mode},
		OnStdout: func(l string) { s.lines <- l },
	}
	if change != nil {
		change(&c)
	}
	s.Process = run.NewProcess(c)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Stop(ctx)
	})
	return s
}

func (s *spawned) line(t *testing.T) string {
	t.Helper()
	select {
	case l := <-s.lines:
		return l
	case <-time.After(patience):
		t.Fatal("the child said nothing")
		return ""
	}
}

// upPid reads the "up <pid>" line of a child that tells of another process.
func upPid(t *testing.T, line string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimPrefix(line, "up "))
	if err != nil {
		t.Fatalf("the child said %q", line)
	}
	return pid
}

// gone waits until a process that is not our child has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// A zombie has ended; who reaps it is another matter.
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %d lives on: %s", pid, stat)
		}
	}
}

func TestProcessThatDiesIsReportedWithItsLastLines(t *testing.T) {
	log := filepath.Join(t.TempDir(), "talk.log")
	p := spawn(t, "talk", func(c *run.Command) { c.LogFile, c.KeepLines = log, 102 })
	err := p.Watch(t.Context())
	var exit *run.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("got %v", err)
	}
	if exit.State.ExitCode() != 3 {
		t.Errorf("state %v", exit.State)
	}
	for _, want := range []string{"process talk ended by itself: exit status 3; its last lines:", "\n    fatal: no such table", "\n    without newline", log} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%s", want, err)
		}
	}
	written, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(written), "\n"), "\n")
	if len(lines) != 102 || !slices.Contains(lines, "out 99") || !slices.Contains(lines, "without newline") {
		t.Errorf("the log holds %d lines: %q", len(lines), lines)
	}
	for i := range 100 {
		if l := p.line(t); l != fmt.Sprintf("out %d", i) {
			t.Fatalf("line %d is %q", i, l)
		}
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("stop after the end: %v", err)
	}
}

func TestProcessKeepsTheLastLinesOnly(t *testing.T) {
	p := spawn(t, "talk", func(c *run.Command) { c.KeepLines = 4 })
	<-p.Done()
	// Standard error's two lines may come at any place among the hundred others.
	last := p.Lines()
	if len(last) != 4 {
		t.Fatalf("kept %q", last)
	}
	out := slices.DeleteFunc(last, func(l string) bool { return !strings.HasPrefix(l, "out ") })
	for i, l := range out {
		if want := fmt.Sprintf("out %d", 100-len(out)+i); l != want {
			t.Errorf("kept %q, want %q", l, want)
		}
	}
}

func TestProcessEndsWhenAsked(t *testing.T) {
	p := spawn(t, "obey", nil)
	p.line(t)
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Watch(t.Context()); err != nil {
		t.Errorf("an ordered end was reported as %v", err)
	}
	if err := syscall.Kill(p.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child is still there: %v", err)
	}
}

func TestProcessGroupIsKilledAtTheDeadline(t *testing.T) {
	p := spawn(t, "stubborn", nil)
	grandchild := upPid(t, p.line(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); err == nil || !strings.Contains(err.Error(), "process stubborn had to be killed") {
		t.Errorf("got %v", err)
	}
	gone(t, grandchild)
}

func TestProcessLeavesNoGroupBehind(t *testing.T) {
	p := spawn(t, "orphan", nil)
	grandchild := upPid(t, p.line(t))
	if err := p.Watch(t.Context()); err == nil {
		t.Error("an end that nobody asked for was not reported")
	}
	gone(t, grandchild)
}

// A parent that is killed outright takes its children with it.
func TestProcessDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells children of their parent's death")
	}
	p := spawn(t, "parent", nil)
	grandchild := upPid(t, p.line(t))
	// Not by Stop, which would end the group: only the parent itself. The child
	// leads a group of its own, so nothing but its parent's death can end it.
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone(t, grandchild)
}

// The kernel ties a child to the thread that forked it. Threads come and go
// under Go's scheduler; a child must not go with them.
func TestProcessOutlivesThreads(t *testing.T) {
	p := spawn(t, "obey", nil)
	p.line(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		})
	}
	wg.Wait()
	select {
	case <-p.Done():
		t.Fatal("the child ended with a thread of ours")
	default:
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProcessToleratesAnyOrder(t *testing.T) {
	never := run.NewProcess(run.Command{Path: os.Args[0]})
	if err := never.Stop(t.Context()); err != nil {
		t.Errorf("stop of what never started: %v", err)
	}
	if err := never.Start(t.Context()); err == nil {
		t.Error("started after Stop")
	}
	missing := run.NewProcess(run.Command{Name: "tool", Path: "no-such-tool"})
	if err := missing.Start(t.Context()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := missing.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	p := spawn(t, "obey", nil)
	if err := p.Start(t.Context()); err == nil {
		t.Error("started twice")
	}
}

func TestProcessStress(t *testing.T) {
	for range 20 {
		p := spawn(t, "obey", nil)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				// Some before the child listens for signals, some after: it ends either way.
				if err := p.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() { _ = p.Watch(t.Context()); p.Lines(); p.Pid() })
		}
		wg.Wait()
		if err := p.Watch(t.Context()); err != nil {
			t.Errorf("an ordered end was reported as %v", err)
		}
	}
}

func TestProcessLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "talk.log")
	// As if it had run for weeks.
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(log, 17<<20); err != nil {
		t.Fatal(err)
	}
	p := spawn(t, "talk", func(c *run.Command) { c.LogFile = log })
	<-p.Done()
	now, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(log + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if now.Size() > 1<<20 || before.Size() != 17<<20 {
		t.Errorf("sizes %d and %d", now.Size(), before.Size())
	}
}

func TestProcessCutsEndlessLines(t *testing.T) {
	p := run.NewProcess(run.Command{Name: "sh", Path: "sh", Args: []string{"-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end"}})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	lines := p.Lines()
	total := 0
	for _, l := range lines {
		if len(l) > 16<<10 {
			t.Errorf("a line of %d bytes", len(l))
		}
		total += len(l)
	}
	if total != 100000+len("end") || lines[len(lines)-1] != "end" {
		t.Errorf("kept %d bytes in %d lines", total, len(lines))
	}
}
