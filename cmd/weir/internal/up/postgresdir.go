package up

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weirmesh/weir/internal/pg"
)

// elsewhere is where the private PostgreSQL of a root process keeps its files
// when its user may not enter the data directory.
const elsewhere = "/var/lib/weir"

// postgresDir returns the directory for the private PostgreSQL: dir, unless this
// is root and the unprivileged user that the server runs as cannot get there, as
// in a checkout below /root. Then it is one below base that belongs to dir alone,
// and a symbolic link at dir leads to it.
func postgresDir(ctx context.Context, dir, base string) (string, error) {
	unfit := pg.CheckDir(ctx, dir)
	if unfit == nil || os.Geteuid() != 0 || !errors.Is(unfit, pg.ErrDataDir) {
		return dir, nil // a fault that moving cannot mend is StartServer's to tell
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("data directory: %w; name another with --data-dir", err)
	}
	if info, err := os.Lstat(abs); err == nil && info.Mode().Type() != fs.ModeSymlink {
		return dir, nil // there is something: data of an earlier start are not left behind
	}
	moved := filepath.Join(base, fmt.Sprintf("%x", sha256.Sum256([]byte(abs)))[:12], "postgres")
	if pg.CheckDir(ctx, moved) != nil {
		return "", unfit
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		return "", fmt.Errorf("data directory: %w; name another with --data-dir", err)
	}
	if at, err := os.Readlink(abs); err == nil && at != moved {
		return "", fmt.Errorf("%s is a link to %s, and the user that PostgreSQL runs as cannot get there by it: remove the link, or name another directory with --data-dir", dir, at)
	} else if err != nil {
		if err := os.Symlink(moved, abs); err != nil {
			return "", fmt.Errorf("data directory: %w; name another with --data-dir", err)
		}
	}
	return moved, nil
}
