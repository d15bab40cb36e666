package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

const (
	// maxLog bounds a log file; one predecessor is kept beside it.
	maxLog = 4 << 20
	// maxLine bounds what one line may hold in memory.
	maxLine = 16 << 10
	// tailLines is how many of the last lines a failure is reported with.
	tailLines = 6
)

// Log writes the lines of a process to a file of bounded size and remembers
// the last of them. It is safe for concurrent use.
type Log struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
	tail []string
}

// OpenLog opens the file at path for appending.
func OpenLog(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return &Log{path: path, file: f, size: st.Size()}, nil
}

// Copy writes the lines of r until it ends. Overlong lines are cut.
func (l *Log) Copy(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		l.Line(string(line))
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
	}
}

// Line writes one line. A full disk loses lines; the process goes on.
func (l *Log) Line(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.TrimSpace(line) != "" {
		l.tail = append(l.tail, line)
		if len(l.tail) > tailLines {
			l.tail = l.tail[1:]
		}
	}
	if l.size > maxLog {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.WriteString(line + "\n")
		l.size += int64(n)
	}
}

func (l *Log) rotate() {
	f, err := os.OpenFile(l.path+".next", os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err == nil {
		err = errors.Join(os.Rename(l.path, l.path+".1"), os.Rename(l.path+".next", l.path))
	}
	l.size = 0
	if err != nil {
		// Keep the size bounded even where nothing new can be made.
		_ = l.file.Truncate(0)
		return
	}
	l.file.Close()
	l.file = f
}

// Tail returns the last lines and forgets them, so that the next failure is
// not reported with this one's.
func (l *Log) Tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tail
	l.tail = nil
	return t
}

// Close closes the file. Later lines are dropped.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
