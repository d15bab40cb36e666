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

// CPU returns the processor time that the child and all processes of its group
// have used: the workers of a server count as it does.
func (p *Process) CPU() (time.Duration, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var total time.Duration
	found := false
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything.
		_, rest, ok := bytes.Cut(data[bytes.LastIndexByte(data, ')')+1:], []byte(" "))
		fields := bytes.Fields(rest)
		if !ok || len(fields) < 13 {
			continue
		}
		if group, err := strconv.Atoi(string(fields[2])); err != nil || group != p.Pid() {
			continue
		}
		found = true
		for _, f := range fields[11:13] {
			n, err := strconv.ParseInt(string(f), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			total += time.Duration(n) * tick
		}
	}
	if !found {
		return 0, fmt.Errorf("%s: nothing runs any more", p.name)
	}
	return total, nil
}
