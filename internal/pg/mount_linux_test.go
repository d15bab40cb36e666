package pg_test

import "syscall"

// mountSmall mounts 24 MiB of memory, too little for a data directory. It is
// only called in a mount namespace of the helper's own, and goes with it.
func mountSmall(dir string) error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m,mode=0755")
}

var ownMounts = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
