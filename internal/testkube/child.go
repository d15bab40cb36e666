package testkube

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a control plane that this process runs.
type child struct {
	binary, dir string

	cmd     *exec.Cmd
	started chan struct{} // closed once cmd runs, or has failed to
	exited  chan struct{}
}

// start runs the control plane and returns once it says that it is ready.
func (c *child) start() error {
	ready := make(chan error, 1)
	c.started, c.exited = make(chan struct{}), make(chan struct{})
	go c.run(ready)
	select {
	case err := <-ready:
		return err
	case <-time.After(Deadline):
		c.stop()
		return fmt.Errorf("the dev cluster in %s was not ready after %v", c.dir, Deadline)
	}
}

// run keeps to one thread: the death signal fires when the thread that started
// the child ends, and must mean that this process did.
func (c *child) run(ready chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.exited)
	c.cmd = exec.Command(c.binary, "up", "--control-plane-only", "--dir", c.dir, "--port", "0", "--output", "json")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	var complaints, stderr strings.Builder
	c.cmd.Stderr = &stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	close(c.started)
	if err != nil {
		ready <- fmt.Errorf("start the dev cluster: %w", err)
		return
	}
	told := false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var event struct{ Part, State, Detail string }
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		if event.State == "failed" {
			fmt.Fprintf(&complaints, "%s: %s\n", event.Part, event.Detail)
		}
		if event.Part == "cluster" && event.State == "ready" && !told {
			told = true
			ready <- nil
		}
	}
	err = c.cmd.Wait()
	if !told {
		ready <- fmt.Errorf("the dev cluster ended before it was ready (%w): %s", errors.Join(err, lines.Err()), strings.TrimSpace(complaints.String()+stderr.String()))
	}
}

func (c *child) stop() {
	<-c.started
	if c.cmd.Process == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(20 * time.Second):
		c.kill()
	}
}

// kill leaves nobody time to say goodbye, neither the process nor what it started.
func (c *child) kill() {
	for _, pid := range append(descendants(c.cmd.Process.Pid), c.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-c.exited
}

func descendants(pid int) []int {
	var all []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(append(all, descendants(child)...), child)
			}
		}
	}
	return all
}
