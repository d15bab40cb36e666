//go:build linux

package child

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of processor time in /proc, fixed at 100 per second on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// stat is what is read of a process in /proc.
type stat struct {
	pid, parent, group int
	own, reaped        time.Duration // processor time, and that of children that ended
}

func stats() ([]stat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	out := make([]stat, 0, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		id, _, _ := bytes.Cut(data, []byte(" "))
		// The name, in parentheses, may hold anything.
		fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
		if len(fields) < 15 {
			return nil, fmt.Errorf("%s has too few fields", file)
		}
		var n [7]int64
		for i, f := range [][]byte{id, fields[1], fields[2], fields[11], fields[12], fields[13], fields[14]} {
			if n[i], err = strconv.ParseInt(string(f), 10, 64); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		out = append(out, stat{int(n[0]), int(n[1]), int(n[2]), time.Duration(n[3]+n[4]) * tick, time.Duration(n[5]+n[6]) * tick})
	}
	return out, nil
}

// CPU returns the processor time that the child and all processes of its group
// have used: the workers of a server count as it does.
func (p *Process) CPU() (time.Duration, error) {
	return cpu(p.name, func(s stat) (time.Duration, bool) { return s.own, s.group == p.Pid() })
}

// CPUOf returns the processor time of a process and its children, those included
// that have ended.
func CPUOf(pid int) (time.Duration, error) {
	return cpu(strconv.Itoa(pid), func(s stat) (time.Duration, bool) {
		if s.pid == pid {
			return s.own + s.reaped, true
		}
		return s.own, s.parent == pid
	})
}

func cpu(name string, of func(stat) (time.Duration, bool)) (total time.Duration, err error) {
	all, err := stats()
	if err != nil {
		return 0, err
	}
	found := false
	for _, s := range all {
		if t, ok := of(s); ok {
			total, found = total+t, true
		}
	}
	if !found {
		return 0, fmt.Errorf("%s: nothing runs any more", name)
	}
	return total, nil
}
