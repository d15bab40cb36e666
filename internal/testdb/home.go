//go:build unix

package testdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/pg"
)

// aliveFile is locked for as long as its process lives.
const aliveFile = "alive"

// home is the directory of one test process, below one per user. The lock on
// its aliveFile lets others tell a directory in use from one left behind.
type home struct {
	dir   string
	alive *os.File
}

// newHome sweeps away what dead processes left and makes a directory.
func newHome(ctx context.Context) (*home, error) {
	root := filepath.Join(os.TempDir(), fmt.Sprintf("weir-testdb-%d", os.Getuid()))
	var err error
	for range 10 {
		var h *home
		if h, err = makeHome(ctx, root); !errors.Is(err, fs.ErrNotExist) {
			return h, err
		}
		// Another process removed the root, being the last in it just now.
	}
	return nil, err
}

func makeHome(ctx context.Context, root string) (*home, error) {
	// Others may enter: the server may run as another user than the tests.
	if err := os.Mkdir(root, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	info, err := os.Lstat(root)
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Getuid() {
		return nil, fmt.Errorf("%s is not a directory of this user: remove it, or set TMPDIR", root)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return nil, err
	}
	if err := sweep(ctx, root); err != nil {
		return nil, fmt.Errorf("sweep %s: %w", root, err)
	}
	// Locked under a name that the sweep does not look at, then renamed: no
	// moment at which a live directory looks dead.
	fresh, err := os.MkdirTemp(root, ".new-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(fresh, aliveFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, fmt.Sprintf("%d-%s", os.Getpid(), strings.TrimPrefix(filepath.Base(fresh), ".new-")))
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		err = os.Rename(fresh, dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.RemoveAll(fresh))
	}
	return &home{dir: dir, alive: f}, nil
}

// remove deletes the directory, ending servers that are left in it.
func (h *home) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := errors.Join(removeHome(ctx, h.dir), h.alive.Close())
	_ = os.Remove(filepath.Dir(h.dir)) // succeeds for the last one out
	return err
}

// sweep removes the homes whose processes are gone.
func sweep(ctx context.Context, root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if strings.HasPrefix(e.Name(), ".new-") {
			// Normally gone in a moment; an old one is from a killed process.
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > time.Hour {
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
			}
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			// Its removal is under way elsewhere, or was interrupted at its end.
			_ = os.Remove(dir) // succeeds only if empty
			continue
		}
		if err != nil {
			return err
		}
		var removeErr error
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			removeErr = removeHome(ctx, dir)
		}
		if err := errors.Join(removeErr, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// removeHome empties a home and deletes it; the lock file goes last, so that an
// interrupted removal is taken up again. The caller holds the lock.
func removeHome(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != aliveFile {
			if err := removeTree(ctx, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(dir)
}

// removeTree deletes a directory after ending the servers left in it, at
// whatever depth a test put them.
func removeTree(ctx context.Context, dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if _, err := os.Stat(filepath.Join(path, "data", "PG_VERSION")); err != nil {
			return nil //nolint:nilerr // no server here; further down there may be
		}
		if err := pg.RemoveServer(ctx, path); err != nil {
			return err
		}
		return fs.SkipDir
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}

// Dir returns an empty directory for a private server of a test's own, in it or
// below it, for tests that stop or kill one. Unlike t.TempDir it can be entered by the user a
// root process runs the server as. When the test ends, a server left in it is
// ended and the directory removed. The package's TestMain has to use [Main].
func Dir(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	process.mu.Lock()
	defer process.mu.Unlock()
	if !process.wrapped {
		tb.Fatalf("testdb: %v", errNotWrapped)
	}
	h, err := process.homeFor(ctx)
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	dir, err := os.MkdirTemp(h.dir, "dir-") //nolint:usetesting // TempDir is for this user alone
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := removeTree(ctx, dir); err != nil {
			tb.Errorf("testdb: %v", err)
		}
	})
	return dir
}
