//go:build unix

package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// account is the user the server runs as. PostgreSQL refuses root, so a root
// process gives its rights away for the server; anyone else runs it as himself.
type account struct {
	name     string
	uid, gid uint32
	drop     bool // this process has to change user to become it
}

// accountFor picks the account for a data directory, which need not exist.
// Existing data decides: postgres opens only what its own user owns.
func accountFor(dataDir string) (account, error) {
	self := uint32(os.Geteuid())
	owner, exists, err := ownerOf(dataDir)
	if err != nil {
		return account{}, dirError(dataDir, err)
	}
	if self != 0 {
		if exists && owner != self {
			return account{}, say(ErrDataDir, nil, fmt.Sprintf(
				"postgres: %s belongs to user %s and this process runs as %s: start it as root or as %[2]s, or name another directory with --data-dir",
				dataDir, userName(owner), userName(self)))
		}
		return account{name: userName(self), uid: self, gid: uint32(os.Getegid())}, nil
	}
	var u *user.User
	if exists && owner != 0 {
		if u, err = user.LookupId(strconv.FormatUint(uint64(owner), 10)); err != nil {
			return account{}, say(ErrDataDir, err, fmt.Sprintf(
				"postgres: %s belongs to user id %d, which this machine does not know: give it to an existing user with chown, or name another directory with --data-dir", dataDir, owner))
		}
	} else if u, err = user.Lookup("postgres"); err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return account{}, say(ErrDataDir, err,
				"postgres: the server must not run as root, and this machine has neither a user postgres nor nobody: start as an ordinary user, or name your own server with --database-url")
		}
	}
	a := account{name: u.Username, drop: true}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return account{}, fmt.Errorf("postgres: ids of user %s: %w", u.Username, err)
	}
	a.uid, a.gid = uint32(uid), uint32(gid)
	if a.uid == 0 {
		return account{}, say(ErrDataDir, nil, fmt.Sprintf(
			"postgres: user %s is root under another name, and the server refuses root: start as an ordinary user, or name your own server with --database-url", a.name))
	}
	return a, nil
}

// attr makes a command run as the account, in a session of its own: a Ctrl-C
// at the terminal must reach the process that stops things in order, not
// PostgreSQL beneath it.
func (a account) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a.drop {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

// own gives a path to the account; a no-op for a process that runs as it.
func (a account) own(path string) error {
	if !a.drop {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// checkReach reports whether the account gets into dir. The kernel is asked,
// by starting a program there as that user, because mode bits alone do not
// tell of ACLs and security modules.
func (a account) checkReach(ctx context.Context, program, dir string) error {
	if !a.drop {
		return nil
	}
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Dir, cmd.SysProcAttr = dir, a.attr()
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrPermission):
		if blocker := a.firstClosed(dir); blocker != "" {
			return say(ErrDataDir, err, fmt.Sprintf(
				"postgres: the server runs as user %s, which may not enter %s on the way to %s: name a directory it can reach with --data-dir (for example /var/lib/weir), or allow it with chmod o+x %[2]s",
				a.name, blocker, dir))
		}
		return say(ErrDataDir, err, fmt.Sprintf(
			"postgres: %s may not run as user %s in %s (%v): name a directory it can reach with --data-dir, or your own server with --database-url",
			program, a.name, dir, err))
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EINVAL):
		return say(ErrDataDir, err, fmt.Sprintf(
			"postgres: this process may not become user %s (%v): start it as an ordinary user, or name your own server with --database-url", a.name, err))
	default:
		return fmt.Errorf("postgres: %s does not run as user %s: %w", program, a.name, err)
	}
}

// firstClosed names the topmost directory on the way to dir whose mode keeps
// the account out, "" if the modes would let it pass.
func (a account) firstClosed(dir string) string {
	var chain []string
	for d := dir; ; d = filepath.Dir(d) {
		chain = append(chain, d)
		if d == filepath.Dir(d) {
			break
		}
	}
	for _, at := range slices.Backward(chain) {
		info, err := os.Stat(at)
		if err != nil {
			return ""
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return ""
		}
		need := fs.FileMode(0o001)
		switch {
		case st.Uid == a.uid:
			need = 0o100
		case st.Gid == a.gid:
			need = 0o010
		}
		if info.Mode().Perm()&need == 0 {
			return at
		}
	}
	return ""
}

func ownerOf(path string) (uid uint32, exists bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false, fmt.Errorf("no owner known for %s", path)
	}
	return st.Uid, true, nil
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// dirError turns a file-system failure into the sentence that names --data-dir.
func dirError(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return diskFull(dir, err)
	case errors.Is(err, syscall.EROFS):
		return say(ErrDataDir, err, fmt.Sprintf("postgres: %s is on a read-only file system: name a writable directory with --data-dir", dir))
	default:
		return say(ErrDataDir, err, fmt.Sprintf("postgres: cannot use %s (%v): correct its owner and mode, or name another directory with --data-dir", dir, err))
	}
}

func diskFull(dir string, cause error) error {
	return say(ErrDiskFull, cause, fmt.Sprintf(
		"postgres: the disk that holds %s is full: free some space, or name a directory on another disk with --data-dir", dir))
}
