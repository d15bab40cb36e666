//go:build unix

package pg

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// makeDir makes a directory and its parents. Those it makes get exactly mode,
// parents 0755, whatever the umask: the server's user has to pass.
func makeDir(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := makeDir(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(path, mode)
}

// writeFile replaces a small file as a whole: written beside it, flushed and renamed.
func writeFile(path, text string, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*") // 0600
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// dirLock keeps other processes from running a server in the same directory.
// The kernel frees it when the holder dies.
type dirLock struct{ f *os.File }

// lockDir takes the lock and returns the pid of the holder before, 0 if none
// is known. It does not wait.
func lockDir(dir string) (*dirLock, int, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, 0, dirError(dir, err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return nil, 0, errors.Join(dirError(dir, err), f.Close())
	}
	holder, _ := strconv.Atoi(strings.TrimSpace(string(raw))) // 0 when empty
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // only read
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, 0, say(ErrDirInUse, err, fmt.Sprintf(
				"postgres: process %d already runs a server in %s: end it, or name another directory with --data-dir", holder, dir))
		}
		return nil, 0, dirError(dir, err)
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%-10d\n", os.Getpid()), 0)
	if err != nil {
		return nil, 0, errors.Join(dirError(dir, err), f.Close())
	}
	if holder == os.Getpid() {
		holder = 0
	}
	return &dirLock{f}, holder, nil
}

// release frees the lock at once. Closing alone would leave it to a child that is
// being started at this moment, until the child has closed its copy.
func (l *dirLock) release() {
	_ = syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN) // closing frees it too, if later
	_ = l.f.Close()                                   // nothing was left to write
}

// The server's log is one file that it appends to, rather than a pipe: a pipe
// would block the server when this process is stopped, and lose its last words
// when this process is killed.
const (
	logMax   = 8 << 20
	logCheck = 5 * time.Second
	tailMax  = 16 << 10
	tailRows = 20
)

type serverLog struct {
	path string
	from int64 // where the log of this start begins
}

// open opens the log for the server to append to.
func (l *serverLog) open() (*os.File, error) {
	if err := l.bound(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.from = info.Size()
	return f, nil
}

// bound moves a log that has grown too large aside and empties it. The server
// holds the file open in append mode, so that it goes on at the new end; lines
// written between copy and cut are lost, which a log can bear.
func (l *serverLog) bound() error {
	info, err := os.Stat(l.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < logMax {
		return nil
	}
	if err != nil {
		return err
	}
	src, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // only read
	dst, err := os.OpenFile(l.path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	if _, err = src.Seek(-logMax, io.SeekEnd); err == nil {
		_, err = io.Copy(dst, io.LimitReader(src, logMax))
	}
	// A full disk may keep the copy from being made; emptying the log is then
	// all the more wanted.
	return errors.Join(err, dst.Close(), os.Truncate(l.path, 0))
}

// tail returns the last lines of this start's log, oldest first.
func (l *serverLog) tail() []string {
	f, err := os.Open(l.path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	from := l.from
	if from > info.Size() {
		from = 0 // was emptied since
	}
	from = max(from, info.Size()-tailMax)
	raw, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return nil
	}
	lines := strings.Split(string(bytes.TrimSpace(raw)), "\n")
	return lines[max(0, len(lines)-tailRows):]
}

// telling picks the line that says what went wrong: the last of the gravest.
func telling(lines []string) string {
	for _, grave := range []string{"PANIC:", "FATAL:", "initdb: error:", "ERROR:"} {
		for _, line := range slices.Backward(lines) {
			if strings.Contains(line, grave) {
				return strings.TrimSpace(line)
			}
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
