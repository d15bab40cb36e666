package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

// lock is held by the one supervisor of a cluster; the kernel frees it with
// the process.
type lock struct{ file *os.File }

// RunningError says that a cluster has a supervisor already.
type RunningError struct {
	Dir cluster.Dir
	PID int
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("the cluster in %s is running already (pid %d): stop it with `devcluster down --dir %s`, or choose another --dir", e.Dir, e.PID, e.Dir)
}

func takeLock(d cluster.Dir) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(string(d), ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the cluster's directory: %w; choose another with --dir", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the cluster's directory: %w", err)
		}
		b := make([]byte, 20)
		n, _ := f.ReadAt(b, 0)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
		return nil, &RunningError{Dir: d, PID: pid}
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the cluster's directory: %w", err)
	}
	return &lock{file: f}, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

func (l *lock) release() { l.file.Close() }
