//go:build unix && !linux

package pg

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent has no counterpart here; a server that outlives its parent is
// adopted or ended by the next start.
func dieWithParent(*syscall.SysProcAttr) {}

// inspect describes a process; ok is false if there is none, or only a zombie.
// Arguments with blanks cannot be told apart, which the comparison with the
// data directory allows for.
func inspect(pid int) (p processInfo, ok bool) {
	out, err := exec.Command("ps", "-ww", "-o", "state=,uid=,command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return p, false
	}
	f := strings.Fields(string(out))
	if len(f) < 3 || strings.HasPrefix(f[0], "Z") {
		return p, false
	}
	uid, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return p, false
	}
	p.uid = uint32(uid)
	p.args = f[2:]
	return p, true
}

// processesIn is not known here, nor needed: the first process reaps orphans.
func processesIn(string) int { return 0 }
