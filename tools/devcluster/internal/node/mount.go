package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
)

// private are directories in which the node's processes keep state under
// fixed names: inside the node they are its own, and the host's stay clean.
var private = []string{"/run", "/var/lib", "/var/log"}

// kernelSettings are machine-wide settings that a kubelet insists on. It gets
// to see, and to write, files of the node's own in their place.
var kernelSettings = map[string]string{
	"vm/overcommit_memory":     "1",
	"vm/panic_on_oom":          "0",
	"kernel/panic":             "10",
	"kernel/panic_on_oops":     "1",
	"kernel/keys/root_maxkeys": "1000000",
	// 25 bytes a key, as the kubelet computes it.
	"kernel/keys/root_maxbytes": "25000000",
}

// namespaceSettings belong to the node's network namespace.
var namespaceSettings = map[string]string{
	"net/ipv4/ip_forward": "1",
}

// mountAll prepares this process's mount namespace. The cluster's directory
// appears at config.Inside.
func mountAll(dir cluster.Dir) error {
	// Nothing mounted from here on may reach the host; but what the kubelet
	// mounts has to reach containerd's view and the pods'.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the node's mounts private: %w", err)
	}
	// The directory may lie below one of those that are about to be covered.
	fd, err := unix.Open(string(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the cluster's directory: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount the node's /proc: %w", err)
	}
	for _, p := range private {
		if err := unix.Mount("tmpfs", p, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("cover %s: %w", p, err)
		}
	}
	inside := string(config.Inside)
	if err := os.Mkdir(inside, 0o700); err != nil {
		return fmt.Errorf("place the cluster's directory: %w", err)
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(fd), inside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("place the cluster's directory: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share the node's mounts among its processes: %w", err)
	}
	if err := os.MkdirAll("/run/containerd", 0o711); err != nil {
		return fmt.Errorf("make containerd's directory: %w", err)
	}
	return nil
}

func setKernel() error {
	covers := "/run/kernel"
	for name, value := range kernelSettings {
		target := "/proc/sys/" + name
		if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		cover := filepath.Join(covers, name)
		if err := os.MkdirAll(filepath.Dir(cover), 0o755); err != nil {
			return fmt.Errorf("cover the setting %s: %w", name, err)
		}
		if err := os.WriteFile(cover, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("cover the setting %s: %w", name, err)
		}
		if err := unix.Mount(cover, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover the setting %s: %w", name, err)
		}
	}
	for name, value := range namespaceSettings {
		err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set %s for the node: %w", name, err)
		}
	}
	return nil
}
