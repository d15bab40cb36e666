package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

// Down stops the cluster in a directory if it runs, and sweeps what a killed
// one left. With purge its data go too; files that are not the cluster's stay,
// and so does the directory then. It fails if the cluster does not end before
// ctx does.
func Down(ctx context.Context, path string, purge bool) (stopped bool, err error) {
	dir, err := cluster.FindDir(path)
	if err != nil {
		return false, err
	}
	record, kept, err := dir.Record()
	if err != nil && !purge {
		return false, err
	}
	if !kept && err == nil {
		return false, fmt.Errorf("there is no cluster in %s: name its directory with --dir", dir)
	}
	lock, stopped, err := stop(ctx, dir)
	if err != nil {
		return false, err
	}
	defer lock.release()
	// The running cluster may have written since.
	if current, ok, err := dir.Record(); err == nil && ok {
		record = current
	}
	if record.Mode == cluster.WithNode && os.Geteuid() != 0 {
		return stopped, fmt.Errorf("the cluster in %s has a node and was started as root: call with sudo", dir)
	}
	if err := sweepAll(dir, record); err != nil {
		return stopped, err
	}
	if !purge {
		return stopped, nil
	}
	for _, p := range []string{dir.Etcd(), dir.PKI(), dir.Logs(), dir.Run(), dir.Node(), dir.Kubeconfig(), dir.RecordFile(), lock.file.Name()} {
		if err := os.RemoveAll(p); err != nil {
			return stopped, fmt.Errorf("remove the cluster's data: %w", err)
		}
	}
	if err := os.Remove(string(dir)); err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
		return stopped, fmt.Errorf("remove the cluster's directory %s: %w", filepath.Base(string(dir)), err)
	}
	return stopped, nil
}

// stop takes the cluster's lock, asking whoever holds it to end.
func stop(ctx context.Context, d cluster.Dir) (l *lock, stopped bool, err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := takeLock(d)
		var running *RunningError
		if err == nil || !errors.As(err, &running) {
			return l, stopped, err
		}
		if !stopped && running.PID > 0 {
			if err := syscall.Kill(running.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return nil, false, fmt.Errorf("stop the cluster (pid %d): %w; call as its user, or with sudo", running.PID, err)
			}
			stopped = true
		}
		select {
		case <-ctx.Done():
			return nil, stopped, fmt.Errorf("the cluster (pid %d) does not end: kill it with `kill -9 %d` and call again", running.PID, running.PID)
		case <-tick.C:
		}
	}
}
