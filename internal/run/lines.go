package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Bounds of what is kept of a child's output.
const (
	maxLine = 16 << 10 // longer lines are cut into several
	maxLog  = 16 << 20 // a log file that grows past it is moved to <name>.1
)

// ring keeps the last lines written to it. It is safe for concurrent use.
type ring struct {
	mu    sync.Mutex
	lines []string
	next  int // where the next line goes once the ring is full
	limit int
}

func newRing(limit int) *ring { return &ring{limit: limit} }

func (r *ring) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < r.limit {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % r.limit
}

// last returns the kept lines, oldest first.
func (r *ring) last() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, 0, len(r.lines))
	return append(append(out, r.lines[r.next:]...), r.lines[:r.next]...)
}

// lineWriter cuts a stream into lines. It is used by one writer at a time.
type lineWriter struct {
	emit    func(string)
	pending []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take, whole := len(p), false
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			take, whole = i, true
		}
		if room := maxLine - len(w.pending); take > room {
			take, whole = room, false
		}
		w.pending = append(w.pending, p[:take]...)
		p = p[take:]
		if whole {
			p = p[1:]
		}
		if whole || len(w.pending) == maxLine {
			w.flush()
		}
	}
	return n, nil
}

func (w *lineWriter) flush() {
	w.emit(string(bytes.TrimSuffix(w.pending, []byte{'\r'})))
	w.pending = w.pending[:0]
}

// end emits a last line that had no newline.
func (w *lineWriter) end() {
	if len(w.pending) > 0 {
		w.flush()
	}
}

// LogFile is a file that lines are appended to. Past 16 MiB it is moved to
// <name>.1 and begun again, so that what talks for weeks fills no disk. It is
// safe for concurrent use.
type LogFile struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
	err  error
}

// OpenLog opens a log for appending, making it and its directory if need be.
func OpenLog(path string) (*LogFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	return &LogFile{path: path, file: f, size: size}, nil
}

// Write appends p, which should be whole lines. It always reports success: who
// writes a log must not fail for it. Close tells what went wrong. Writes after
// Close are dropped.
func (l *LogFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return len(p), nil
	}
	if l.size > maxLog {
		l.rotate()
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	if err != nil && l.err == nil {
		l.err = err
	}
	return len(p), nil
}

func (l *LogFile) rotate() {
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		l.size = 0 // try again after as much again
		l.err = errors.Join(l.err, err)
		return
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		l.err = errors.Join(l.err, err)
		l.size = 0
		return
	}
	l.err = errors.Join(l.err, l.file.Close())
	l.file, l.size = f, 0
}

// Close closes the file and returns what went wrong with it. It may be called
// more than once.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.err, l.file.Close())
	l.file = nil
	return err
}
