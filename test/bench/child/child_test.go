//go:build linux

package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// This test binary is also the child that it starts.
func TestMain(m *testing.M) {
	switch Role() {
	case "":
		os.Exit(m.Run())
	case "adder":
		handlers := map[string]Handler{
			"add":  Handle(func(in [2]int) (int, error) { return in[0] + in[1], nil }),
			"fail": Handle(func(struct{}) (int, error) { return 0, errors.New("no luck") }),
			"die":  Handle(func(struct{}) (int, error) { fmt.Fprintln(os.Stderr, "last words"); os.Exit(3); return 0, nil }),
			"hang": Handle(func(struct{}) (int, error) { select {} }),
		}
		if err := Serve(handlers); err != nil {
			os.Exit(4)
		}
		if err := os.WriteFile("left-in-peace", nil, 0o600); err != nil {
			os.Exit(5)
		}
	}
}

func startAdder(t *testing.T) (*Process, string) {
	t.Helper()
	dir := t.TempDir()
	p, err := Start("adder", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, dir
}

func TestCallsAreAnswered(t *testing.T) {
	p, dir := startAdder(t)
	for i := range 3 {
		var sum int
		if err := p.Call(t.Context(), "add", [2]int{i, 40}, &sum); err != nil {
			t.Fatal(err)
		}
		if sum != i+40 {
			t.Errorf("%d + 40 = %d", i, sum)
		}
	}
	if err := p.Call(t.Context(), "fail", struct{}{}, nil); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("a failed call returned %v", err)
	}
	if err := p.Call(t.Context(), "divide", struct{}{}, nil); err == nil || !strings.Contains(err.Error(), "no such call") {
		t.Errorf("an unknown call returned %v", err)
	}
	p.Stop(30 * time.Second)
	if _, err := os.Stat(filepath.Join(dir, "left-in-peace")); err != nil {
		t.Errorf("the child was not left time to end: %v", err)
	}
}

func TestDeathIsReportedWithLastWords(t *testing.T) {
	p, _ := startAdder(t)
	err := p.Call(t.Context(), "die", struct{}{}, nil)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "last words") {
		t.Errorf("got %v", err)
	}
}

func TestAChildThatDoesNotAnswerIsKilled(t *testing.T) {
	p, _ := startAdder(t)
	why := errors.New("too long")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, why)
	defer cancel()
	if err := p.Call(ctx, "hang", struct{}{}, nil); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	<-p.Done()
}

func TestStopEndsAServersWholeGroup(t *testing.T) {
	dir := t.TempDir()
	p, err := Launch("server", dir, "sh", "-c", `trap "" TERM; sleep 1000 & echo $! > pid; wait; wait`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	var grandchild int
	eventually(t, "the server starts", func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "pid"))
		grandchild, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return grandchild != 0
	})
	p.Stop(time.Millisecond)
	eventually(t, "the server's own child ends", func() bool { return !running(grandchild) })
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	look, patience := time.NewTicker(time.Millisecond), time.NewTimer(30*time.Second)
	defer look.Stop()
	defer patience.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-patience.C:
			t.Fatalf("waited for 30 s until %s", what)
		}
	}
}

// running reports whether a process runs; one that waits to be reaped does not.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestRSS(t *testing.T) {
	own, err := RSS("self")
	if err != nil || own < 1<<20 {
		t.Errorf("this process has %d bytes resident, %v", own, err)
	}
	if _, err := RSS("0"); err == nil {
		t.Error("process 0 has memory")
	}
}

// TestProcessorTimeOfTheGroupCounts has the child's own child do the work, as
// servers have workers.
func TestProcessorTimeOfTheGroupCounts(t *testing.T) {
	p, err := Launch("worker", t.TempDir(), "sh", "-c", "sh -c 'while :; do :; done' & wait")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for _, read := range []func() (time.Duration, error){p.CPU, func() (time.Duration, error) { return CPUOf(p.Pid()) }} {
		var last time.Duration
		for last < 5*tick {
			now, err := read()
			if err != nil {
				t.Fatal(err)
			}
			if now < last {
				t.Errorf("%s after %s", now, last)
			}
			last = now
			select {
			case <-ticker.C:
			case <-ctx.Done():
				t.Fatalf("a busy child has used %s", last)
			}
		}
	}
	if n, err := CPUOf(1 << 30); err == nil {
		t.Errorf("%s of a process that there cannot be", n)
	}
}
