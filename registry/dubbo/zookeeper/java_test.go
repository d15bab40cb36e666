package zookeeper

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/weirmesh/weir/internal/testkube"
)

// envDubbo2 names the directory with a consumer of Dubbo 2.7, which make test-java
// builds of test/java/dubbo-2.7.
const envDubbo2 = "WEIR_TEST_DUBBO2"

// legacy is a consumer of Dubbo 2.7, which knows interfaces in ZooKeeper and nothing
// else.
type legacy struct {
	t *testing.T

	mu   sync.Mutex
	last string // what it told last of its calls
	log  strings.Builder
}

func startLegacy(t *testing.T, dir, zookeeper string) *legacy {
	t.Helper()
	cmd := exec.Command("java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		// Dubbo 2.7 was made for older Java.
		"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.math=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Duser.home="+t.TempDir(), // it keeps what it knows of registries there
		"-cp", filepath.Join(dir, "legacy.jar")+":"+filepath.Join(dir, "lib", "*"), "org.example.legacy.Legacy", zookeeper)
	in, err := cmd.StdinPipe() // which ends with this process, and it with it
	if err != nil {
		t.Fatal(err)
	}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &legacy{t: t}
	var read sync.WaitGroup
	read.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			l.mu.Lock()
			if text, ok := strings.CutPrefix(lines.Text(), "tally "); ok {
				l.last = text
			} else {
				fmt.Fprintln(&l.log, lines.Text())
			}
			l.mu.Unlock()
		}
		_, _ = io.Copy(io.Discard, out) // a line too long ends the scan
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
		_ = w.Close()
		read.Wait()
		if t.Failed() {
			t.Logf("the consumer told %q last, and wrote\n%s", l.last, l.log.String())
		}
	})
	return l
}

// tally is how many of its calls were answered and failed, who answered those of the
// last second, and what went wrong first.
func (l *legacy) tally() (ok, failed int, by []string, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	parts := strings.SplitN(l.last, " ", 4)
	if len(parts) < 4 {
		return 0, 0, nil, ""
	}
	_, _ = fmt.Sscan(parts[0]+" "+parts[1], &ok, &failed)
	return ok, failed, strings.Split(parts[2], ","), parts[3]
}

// answered waits until those that answer it are these and no others.
func (l *legacy) answered(want ...string) {
	l.t.Helper()
	testkube.Eventually(l.t, fmt.Sprintf("the consumer of Dubbo 2.7 is answered by %v", want), func() error {
		if _, _, by, why := l.tally(); !slices.Equal(by, want) {
			return fmt.Errorf("it is answered by %v (%s)", by, why)
		}
		return nil
	})
}

// A consumer of Dubbo 2.7 finds providers in Go that register in Kubernetes and nowhere
// else by what a control plane writes into ZooKeeper, and follows them as they come
// and go.
func TestAConsumerOfDubbo2IsBridged(t *testing.T) {
	dir := os.Getenv(envDubbo2)
	if dir == "" {
		t.Skip(envDubbo2 + " names no consumer of Dubbo 2.7; make test-java runs this with one")
	}
	w := newWorld(t, testkube.Start(t))
	w.bridge("first")
	in := processConfig{Kubeconfig: "yes"}
	a := w.provider("a", in)
	l := startLegacy(t, dir, w.zk.Address())
	l.answered("a")
	b := w.provider("b", in)
	c := w.provider("c", in)
	l.answered("a", "b", "c")
	a.stop()
	l.answered("b", "c")
	d := w.provider("d", in)
	b.stop()
	l.answered("c", "d")
	ok, failed, _, why := l.tally()
	t.Logf("%d calls, %d failed: %s", ok, failed, why)
	// Dubbo Java may have chosen, just before, an address that leaves the list, and
	// then refuses the call unsent.
	if failed > 1 || failed == 1 && !strings.Contains(why, "destroyed") {
		t.Errorf("%d of %d calls failed: %s", failed, ok+failed, why)
	}
	c.stop()
	d.stop()
}
