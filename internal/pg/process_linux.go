package pg

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent asks the kernel to end the child with a fast shutdown when the
// thread that starts it dies, be it by kill -9. Two traps: a change of user
// after the request would clear it, but the Go runtime sets it last, after
// setuid and just before exec; and "parent" means the thread, so the caller
// keeps its goroutine on one thread for the child's whole life.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// inspect describes a process; ok is false if there is none, or only a zombie
// that nobody has waited for.
func inspect(pid int) (p processInfo, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, false
	}
	// The command name is in brackets and may itself hold brackets and blanks.
	if _, rest, found := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" ")); found && rest[0] == 'Z' {
		// The leader of a group of threads turns zombie before its last
		// thread is gone; the process is dead only when it is alone.
		if tasks, err := os.ReadDir(dir + "/task"); err != nil || len(tasks) <= 1 {
			return p, false
		}
	}
	p.uid, _, err = ownerOf(dir)
	if err != nil {
		return p, false
	}
	if cmdline, err := os.ReadFile(dir + "/cmdline"); err == nil && len(cmdline) > 0 {
		p.args = strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	}
	if _, err := os.Stat(dir + "/cwd"); err == nil { // not ours to read in some containers: then unknown
		p.cwd = dir + "/cwd"
	}
	return p, true
}

// processesIn counts the living processes that work in a directory.
func processesIn(dir string) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil && sameFile("/proc/"+e.Name()+"/cwd", dir) {
			n++ // a zombie has no directory any more
		}
	}
	return n
}
