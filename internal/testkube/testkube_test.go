package testkube

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// helperVariable makes the test binary start a cluster, name its process, and wait to
// be killed.
const helperVariable = "WEIR_TESTKUBE_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		help()
		return
	}
	Main(m)
}

func help() {
	binary, err := findBinary()
	if err != nil {
		fmt.Println(err)
		return
	}
	c := &child{binary: binary, dir: os.Getenv(helperVariable)}
	if err := c.start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.cmd.Process.Pid)
	select {}
}

func TestTheClusterDiesWithTheTests(t *testing.T) {
	if _, err := findBinary(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	helper := exec.Command(self)
	helper.Env = append(os.Environ(), helperVariable+"="+t.TempDir())
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, bad := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || bad != nil {
		_ = helper.Process.Kill()
		_ = helper.Wait()
		t.Fatalf("the helper says %q (%v)", line, err)
	}
	family := append(descendants(pid), pid)
	if len(family) < 2 {
		t.Errorf("the cluster has no process of its own: %v", family)
	}
	if err := helper.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // it was killed
	for _, pid := range family {
		Eventually(t, fmt.Sprintf("process %d to end", pid), func() error {
			// A zombie has ended; whoever adopted it has yet to notice.
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if errors.Is(err, os.ErrNotExist) || strings.Contains(string(status), ") Z ") {
				return nil
			}
			return errors.New("it lives")
		})
	}
}

func TestAMissingDevClusterSaysWhatToDo(t *testing.T) {
	if _, err := findAbove(t.TempDir()); err == nil || !strings.Contains(err.Error(), "make build-devcluster") {
		t.Fatalf("error %v does not say what to do", err)
	}
	t.Setenv("WEIR_DEVCLUSTER", filepath.Join(t.TempDir(), "none"))
	if _, err := findBinary(); err == nil || !strings.Contains(err.Error(), "make build-devcluster") {
		t.Fatalf("error %v does not say what to do", err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "bin", "devcluster")
	if err := os.WriteFile(binary, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := findAbove(filepath.Join(dir, "registry", "kube")); err != nil || got != binary {
		t.Fatalf("found %q, %v; want %s", got, err, binary)
	}
}

func TestAFailingDevClusterIsQuoted(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "devcluster")
	script := "#!/bin/sh\necho '{\"part\":\"control-plane\",\"state\":\"failed\",\"detail\":\"port 1 is taken\"}'\necho 'no luck' >&2\nexit 3\n"
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := &child{binary: binary, dir: t.TempDir()}
	err := c.start()
	<-c.exited
	for _, words := range []string{"port 1 is taken", "no luck", "exit status 3"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error %v does not say %q", err, words)
		}
	}
}

func TestSweepLeavesTheLivingAlone(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for pid, kept := range map[int]bool{os.Getpid(): true, os.Getppid(): true, ended.Process.Pid: false} {
		dir := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-x", dirPrefix, pid))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		sweep()
		if _, err := os.Stat(dir); (err == nil) != kept {
			t.Errorf("directory of process %d is kept: %v, want %v", pid, err == nil, kept)
		}
	}
}
