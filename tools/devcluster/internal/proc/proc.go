// Package proc reads what the kernel tells about processes.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

var boot = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
})

// Identify returns the process of that number, if there is one.
func Identify(pid int) (cluster.Process, error) {
	s, err := readStat(pid)
	if err != nil {
		return cluster.Process{}, err
	}
	return cluster.Process{PID: pid, Start: s.start, Boot: boot()}, nil
}

type stat struct {
	ppid     int
	start    uint64
	rssPages int64
}

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, fmt.Errorf("read about process %d: %w", pid, err)
	}
	return parseStat(b)
}

// parseStat reads /proc/PID/stat. The second field is the command in brackets
// and may itself hold spaces and brackets.
func parseStat(b []byte) (stat, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return stat{}, fmt.Errorf("unexpected process status %q", b)
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 22 {
		return stat{}, fmt.Errorf("unexpected process status %q", b)
	}
	ppid, err1 := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[19], 10, 64)
	rss, err3 := strconv.ParseInt(f[21], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return stat{}, fmt.Errorf("unexpected process status %q", b)
	}
	return stat{ppid: ppid, start: start, rssPages: rss}, nil
}

// Memory returns the memory in bytes of a process and of all its descendants,
// and how many they are. Pages they share are divided among their users where
// the kernel tells (PSS), and count for each otherwise.
func Memory(root int) (bytes int64, processes int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, 0
	}
	children := map[int][]int{}
	rss := map[int]int64{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		s, err := readStat(pid)
		if err != nil {
			continue
		}
		children[s.ppid] = append(children[s.ppid], pid)
		rss[pid] = s.rssPages * int64(os.Getpagesize())
	}
	queue := []int{root}
	for len(queue) > 0 {
		pid := queue[0]
		queue = append(queue[1:], children[pid]...)
		if b, ok := rss[pid]; ok {
			if p, ok := pss(pid); ok {
				b = p
			}
			bytes += b
			processes++
		}
	}
	return bytes, processes
}

// pss reads the proportional set size, which needs the right to look into the
// process.
func pss(pid int) (int64, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "Pss:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}
