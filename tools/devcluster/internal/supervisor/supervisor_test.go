package supervisor

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/node"
	"github.com/weirmesh/weir/tools/devcluster/internal/proc"
	"github.com/weirmesh/weir/tools/devcluster/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) cluster.Dir {
	t.Helper()
	d, err := cluster.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestParts(t *testing.T) {
	p := newParts(cluster.WithNode, false)
	told := func(name string, state cluster.State, detail string) []cluster.Event {
		return p.update(process.Status{Name: name, State: state, Detail: detail})
	}
	want := func(got []cluster.Event, part cluster.Part, state cluster.State) {
		t.Helper()
		if len(got) != 1 || got[0].Part != part || got[0].State != state {
			t.Errorf("got %+v, want %s %s", got, part, state)
		}
	}
	quiet := func(got []cluster.Event) {
		t.Helper()
		if len(got) > 0 {
			t.Errorf("got %+v, want nothing", got)
		}
	}
	quiet(told(node.Containerd, cluster.Ready, ""))
	quiet(told(node.Kubelet, cluster.Starting, ""))
	quiet(told(node.Kubelet, cluster.Ready, ""))
	want(told(node.Proxy, cluster.Ready, ""), cluster.PartNode, cluster.Ready)
	want(told(node.ControlPlane, cluster.Ready, ""), cluster.PartControlPlane, cluster.Ready)
	if p.becameReady() {
		t.Error("ready without DNS")
	}
	want(told(node.DNS, cluster.Ready, ""), cluster.PartDNS, cluster.Ready)
	if !p.becameReady() || p.becameReady() {
		t.Error("want ready, told once")
	}

	want(told(node.Kubelet, cluster.Failed, "why"), cluster.PartNode, cluster.Failed)
	// Never silently, though the part failed already.
	want(told(node.Proxy, cluster.Failed, "why"), cluster.PartNode, cluster.Failed)
	if p.becameReady() {
		t.Error("ready with a failed node")
	}
	quiet(told(node.Kubelet, cluster.Ready, ""))
	want(told(node.Proxy, cluster.Starting, ""), cluster.PartNode, cluster.Starting)
	want(told(node.Proxy, cluster.Starting, "slow"), cluster.PartNode, cluster.Starting)
	want(told(node.Proxy, cluster.Ready, ""), cluster.PartNode, cluster.Ready)
	if !p.becameReady() {
		t.Error("not ready again")
	}
	p.restart()
	if p.becameReady() {
		t.Error("ready after a restart")
	}
}

func TestOneSupervisorForOneCluster(t *testing.T) {
	d := open(t)
	l, err := takeLock(d)
	if err != nil {
		t.Fatal(err)
	}
	_, err = takeLock(d)
	var running *RunningError
	if !errors.As(err, &running) || running.PID != os.Getpid() || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v, want the pid that holds it", err)
	}
	l.release()
	again, err := takeLock(d)
	if err != nil {
		t.Fatal(err)
	}
	again.release()
}

// sleeper starts a process that does nothing and is reaped when it ends.
func sleeper(t *testing.T) (cluster.Process, <-chan error) {
	t.Helper()
	c := exec.Command("sleep", "infinity")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := proc.Identify(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { ended <- c.Wait(); close(done) }()
	t.Cleanup(func() { c.Process.Kill(); <-done })
	return p, ended
}

func TestSweepEndsWhatWasRecordedAndNothingElse(t *testing.T) {
	d := open(t)
	own, ended := sleeper(t)
	other, _ := sleeper(t)
	// The number of a process of the last run was given to another since, or
	// the machine was started anew.
	reused, rebooted := other, other
	reused.Start--
	rebooted.Boot = "another"
	gone := cluster.Process{PID: 1 << 30, Start: 1, Boot: own.Boot}
	if err := os.WriteFile(filepath.Join(d.Run(), "control.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sweepAll(d, cluster.Record{Mode: cluster.ControlPlaneOnly, Processes: []cluster.Process{reused, own, rebooted, gone}}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the recorded process ended with %v", err)
	}
	if now, err := proc.Identify(other.PID); err != nil || now != other {
		t.Errorf("another process is gone: %v", err)
	}
	if _, err := os.Stat(d.Run()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run directory: got %v", err)
	}
}

func TestPort(t *testing.T) {
	p, err := takePort(0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.release()
	if p.number == 0 {
		t.Fatal("no number")
	}
	// Neither another cluster nor any other program gets it.
	if _, err := takePort(p.number); err == nil || !strings.Contains(err.Error(), "--port") {
		t.Errorf("a taken port: got %v, want an error that names --port", err)
	}
	if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p.number)); err == nil {
		l.Close()
		t.Error("another program could take the port")
	}
	number := p.number
	p.release()
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(number))
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	defer l.Close()
	if _, err := takePort(number); err == nil {
		t.Error("a port that another program listens on was taken")
	}
}

func TestDownSaysWhatThereIsNot(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none"), ""} {
		if _, err := Down(context.Background(), dir, true); err == nil || !strings.Contains(err.Error(), "--dir") {
			t.Errorf("%q: got %v, want an error that names --dir", dir, err)
		}
	}
}

func TestPurgeLeavesWhatIsNotTheClusters(t *testing.T) {
	d := open(t)
	if err := d.Write(cluster.Record{ID: d.ID(), Mode: cluster.ControlPlaneOnly}); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(string(d), "notes.txt")
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Down(context.Background(), string(d), false); err != nil {
		t.Fatal(err)
	}
	if _, kept, err := d.Record(); !kept || err != nil {
		t.Errorf("without --purge the record is gone: %v", err)
	}
	if _, err := Down(context.Background(), string(d), true); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"notes.txt"}) {
		t.Errorf("left are %v, want notes.txt alone", names)
	}
}

func TestWhatDoesNotFitTheDataIsRefused(t *testing.T) {
	d := open(t)
	if err := d.Write(cluster.Record{ID: d.ID(), Mode: cluster.WithNode, Slot: 7}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		options Options
		want    string
	}{
		{Options{Mode: cluster.ControlPlaneOnly}, "--control-plane-only"},
		{Options{Mode: cluster.WithNode, Slot: 8}, "--slot"},
	} {
		s := &Supervisor{options: tt.options, dir: d}
		if err := s.prepare(); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "--purge") {
			t.Errorf("%+v: got %v, want an error that names %s and --purge", tt.options, err, tt.want)
		}
	}
}
