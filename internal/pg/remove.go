//go:build unix

package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckDir reports whether a private server could keep its files in dir: for a
// root process, whether the user the server would run as may enter it, or the
// part of its path that exists. It changes nothing. The error matches
// ErrDataDir and is the one StartServer would return.
func CheckDir(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	acct, err := accountFor(filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return dirError(dir, err)
		}
		return acct.checkReach(ctx, "/bin/true", at)
	}
}

// RemoveServer deletes a private server's directory with all data in it, after
// ending a server that an earlier process may have left running there. It
// returns an error matching ErrDirInUse, and deletes nothing, while a live
// process runs a server in it. A missing directory is no error.
func RemoveServer(ctx context.Context, dir string) error {
	cfg, err := ServerConfig{Dir: dir}.withDefaults()
	if err != nil {
		return err
	}
	if _, err := os.Stat(cfg.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, previous, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer lock.release()
	s := &Server{cfg: cfg, log: cfg.Log, dataDir: filepath.Join(cfg.Dir, "data")}
	if s.acct, err = accountFor(s.dataDir); err != nil {
		return err
	}
	if _, err := s.settleOrphan(ctx, nil, previous); err != nil { // without options to match, it adopts none
		return err
	}
	if err := os.RemoveAll(cfg.Dir); err != nil {
		return fmt.Errorf("postgres: remove %s: %w", cfg.Dir, err)
	}
	return nil
}
