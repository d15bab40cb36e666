package java

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/mesh"
)

// plane is a control plane beside that of weir up, on the same database and cluster.
type plane struct {
	mesh.Mesh // its addresses; the rest is that of theMesh
	cmd       *exec.Cmd
}

func startPlane(t *testing.T) *plane {
	t.Helper()
	database, err := theMesh.Database()
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{Mesh: mesh.Mesh{Bin: theMesh.Bin, Dir: theMesh.Dir, Tracing: theMesh.Tracing, Control: freeAddress(t), Admin: freeAddress(t)}}
	log, err := os.Create(filepath.Join(t.TempDir(), "control.log"))
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(filepath.Join(p.Bin, "weir"), "control", "--kubeconfig", theMesh.Kubeconfig(),
		"--control-listen", p.Control, "--admin-listen", p.Admin, "--node-name", "second")
	p.cmd.Env = append(os.Environ(), "WEIR_DATABASE_URL="+database)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		log.Close()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("--- what weir control said\n%s---", said)
		}
	})
	mesh.Eventually(t, "a second control plane is ready", func() error {
		resp, err := storefront(t.Context(), p.Admin, "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	})
	return p
}

// kill ends it as a crash does.
func (p *plane) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill() // it may have ended by itself, which the next wait tells
		_ = p.cmd.Wait()
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// readers fails the test unless each pod comes to have exactly one reader of its
// stream, by the pod's own count: a second one is let in where there may be two,
// and turned away where there may be one.
func readers(t *testing.T, all []pod) {
	t.Helper()
	const most = "hystrix.config.stream.maxConcurrentConnections"
	for _, p := range all {
		for _, c := range []struct {
			most   string
			status int
		}{{"1", http.StatusServiceUnavailable}, {"2", http.StatusOK}} {
			write(t, p, most, c.most)
			mesh.Eventually(t, fmt.Sprintf("with %s at most, a second reader of %s is answered %d", c.most, p.Metadata.Name, c.status), func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				resp, err := p.management(ctx, http.MethodGet, "/hystrix.stream", "")
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if resp.StatusCode != c.status {
					return fmt.Errorf("%s", resp.Status)
				}
				return nil
			})
		}
		write(t, p, most, "5")
	}
}

// Two control planes share pods out: each pod is read by one of them, and by the
// other once that one has died. It runs by itself: pods of Dubbo change hands with the
// others, and what they count between two readers is in no history.
func TestHystrixPodsAreSharedByControlPlanes(t *testing.T) {
	needs(t, hystrix)
	all := pods(t, "delivery")
	carriers(t, all)
	governed(t, "delivery", all)
	readers(t, all)

	// Who has which pod is by chance: until each has one.
	var second *plane
	for range 20 {
		second = startPlane(t)
		var mine, its float64
		mesh.Eventually(t, "both have shared the pods out", func() error {
			mine, its = metric(t, theMesh, "weir_control_agentless_streams"), metric(t, &second.Mesh, "weir_control_agentless_streams")
			members := metric(t, theMesh, "weir_control_agentless_members")
			if members != 2 || mine+its != float64(len(all)) {
				return fmt.Errorf("%g control planes read %g and %g streams", members, mine, its)
			}
			return nil
		})
		if mine > 0 && its > 0 {
			break
		}
		second.kill()
		streams(t, theMesh, float64(len(all)))
	}
	governed(t, "delivery", all)
	readers(t, all)
	// A switch reaches the pods of both, whoever was asked for it.
	pull(t, fmt.Sprintf("confirmed by %d of %d", len(all), len(all)))
	answers(t, all, byPost)

	second.kill()
	streams(t, theMesh, float64(len(all)))
	readers(t, all)
	governed(t, "delivery", all)
}

// While no control plane is left, pods keep their settings; the one that comes
// back goes on with the history, in which the time between is a gap, and marked.
func TestHystrixHistoryGoesOnAfterControlPlaneWasKilled(t *testing.T) {
	needs(t, hystrix)
	all := pods(t, "delivery")
	carriers(t, all)
	ids := governed(t, "delivery", all)
	pull(t, fmt.Sprintf("confirmed by %d of %d", len(all), len(all)))
	first := startPlane(t)

	// Weir up holds the cluster too, so that its process is frozen instead: to the
	// pods and to the other control plane it is as if it were gone.
	freeze := func(sig syscall.Signal) {
		if err := theMesh.Cmd.Process.Signal(sig); err != nil {
			t.Errorf("%s: %v", sig, err)
		}
	}
	freeze(syscall.SIGSTOP)
	thawed := false
	thaw := func() {
		if !thawed {
			thawed = true
			freeze(syscall.SIGCONT)
		}
	}
	t.Cleanup(thaw)
	streams(t, &first.Mesh, float64(len(all)))
	began := time.Now()
	b := startBuyers(t, all[0], 100*time.Millisecond)
	counted := func(p *plane, since time.Time) func() error {
		return func() error {
			got, _ := historyAt(t, &p.Mesh, "delivery", quote, since, "--instance", ids[all[0].Metadata.Name]).calls()
			if got < 100 {
				return fmt.Errorf("%d calls", got)
			}
			return nil
		}
	}
	mesh.Eventually(t, "the second control plane collects", counted(first, began))
	first.kill()
	asked := b.asked.Load()
	mesh.Eventually(t, "a window's worth of calls is made without any control plane", func() error {
		if n := b.asked.Load() - asked; n < 150 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	answers(t, all, byPost)

	back := time.Now()
	again := startPlane(t)
	mesh.Eventually(t, "the history goes on", counted(again, back))
	b.done()
	h := historyAt(t, &again.Mesh, "delivery", quote, began, "--instance", ids[all[0].Metadata.Name], "--step", "1s")
	var gap time.Duration
	var after point
	for n := range h.Points[1:] {
		if d := h.Points[n+1].Time.Sub(h.Points[n].Time); d > gap {
			gap, after = d, h.Points[n+1]
		}
	}
	if gap < 5*time.Second || !after.Lossy {
		t.Errorf("the longest gap is %s, and after it stands %+v", gap, after)
	}
	if got, _ := h.calls(); got > b.asked.Load() {
		t.Errorf("%d calls are counted, and %d were made", got, b.asked.Load())
	}
	thaw()
	streams(t, theMesh, float64(len(all))-metric(t, &again.Mesh, "weir_control_agentless_streams"))
	again.kill()
	streams(t, theMesh, float64(len(all)))
	readers(t, all)
}
