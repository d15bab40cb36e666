// Package spool keeps records in a directory until they can be delivered: bounded,
// each on the disk before Append returns, read back in order. A record that was
// being written when the process or the machine died is dropped; those before it
// are not.
//
// The directory holds segments, files named by the number of their first record.
// A segment is a run of records, each a header of 16 bytes (length and CRC-32C of
// what follows, little endian, and the record's number) and the bytes. Records are
// taken off by Done, and a segment is deleted once all of it is.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	headerBytes = 16
	// MaxRecord is the length of the longest record.
	MaxRecord    = 256 << 20
	segmentBytes = 64 << 20
	suffix       = ".spool"
	asideDir     = "aside"
)

var (
	// ErrFull means that there is no room until something is delivered.
	ErrFull = errors.New("the spool is full")
	// ErrClosed means that the spool was closed.
	ErrClosed = errors.New("the spool is closed")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Spool is a queue of records on disk. It is safe for concurrent use; one process
// at a time may have a directory open.
type Spool struct {
	dir   string
	limit int64
	name  string
	lock  *os.File

	mu       sync.Mutex
	segments []*segment // the oldest first; the last is written to
	file     *file      // of the last segment, nil until something is appended
	next     uint64     // number of the next record
	synced   uint64     // number of the first record that is not known to be on the disk
	done     uint64     // number of the first record that is not delivered
	bytes    int64
	torn     int64 // bytes that were no records when the spool was opened
	closed   bool
	failed   error // the last segment cannot be written to any more

	flush func(*os.File) error // (*os.File).Sync, but for tests
}

// file is a segment that is being written to.
type file struct {
	*os.File
	flush func(*os.File) error

	turn sync.Mutex // held by the one who syncs
	err  error      // of a sync; guarded by turn
}

// sync writes what was appended to the disk. Once it has failed it fails for ever:
// the kernel tells of a page that it could not write once only, and takes it for
// written from then on.
func (f *file) sync() error {
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.err == nil {
		f.err = f.flush(f.File)
	}
	return f.err
}

type segment struct {
	first uint64
	bytes int64
	ends  []int64   // where each record ends
	since time.Time // when its first record came; of a run before, its last at the latest
}

func (s *segment) after() uint64 { return s.first + uint64(len(s.ends)) }

// Open opens or makes the spool in a directory, which may hold limit bytes.
func Open(dir string, limit int64) (_ *Spool, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("the spool %s is in use by another process: give each its own directory", dir)
	}
	if err := syncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	s := &Spool{dir: dir, limit: limit, lock: lock, next: 1, flush: (*os.File).Sync}
	if s.name, err = identity(dir); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// identity is a name that the directory keeps for as long as it lives, and the
// number that records have reached, so that numbers are never used again.
func identity(dir string) (string, error) {
	file := filepath.Join(dir, "id")
	raw, err := os.ReadFile(file)
	if err == nil && len(strings.TrimSpace(string(raw))) > 0 {
		return strings.TrimSpace(string(raw)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	random, err := os.Open("/dev/urandom")
	if err != nil {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	defer random.Close()
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	name := fmt.Sprintf("%x", b)
	if err := writeDurably(dir, "id", []byte(name+"\n")); err != nil {
		return "", err
	}
	return name, nil
}

// writeDurably replaces a small file.
func writeDurably(dir, name string, data []byte) error {
	temporary := filepath.Join(dir, name+".new")
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the spool: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temporary, filepath.Join(dir, name))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write the spool: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Spool) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d%s", first, suffix))
}

// load reads what is there. A tail that is no record is cut off.
func (s *Spool) load() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	var firsts []uint64
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), suffix); ok {
			if first, err := strconv.ParseUint(n, 10, 64); err == nil {
				firsts = append(firsts, first)
			}
		}
	}
	slices.Sort(firsts)
	if raw, err := os.ReadFile(filepath.Join(s.dir, "next")); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64); err == nil {
			s.next = max(s.next, n)
		}
	}
	for _, first := range firsts {
		f, err := os.Open(s.path(first))
		if err != nil {
			return fmt.Errorf("open the spool: %w", err)
		}
		seg := &segment{first: first}
		err = Scan(f, first, func(_ uint64, _ []byte, end int64) error {
			seg.ends = append(seg.ends, end)
			seg.bytes = end
			return nil
		})
		info, stat := f.Stat()
		if err = errors.Join(err, stat, f.Close()); err != nil {
			return fmt.Errorf("read the spool: %w", err)
		}
		seg.since = info.ModTime()
		s.torn += info.Size() - seg.bytes
		s.next = max(s.next, seg.after())
		if len(seg.ends) == 0 {
			if err := os.Remove(s.path(first)); err != nil {
				return fmt.Errorf("open the spool: %w", err)
			}
			continue
		}
		s.segments = append(s.segments, seg)
		s.bytes += seg.bytes
	}
	s.done, s.synced = s.next, s.next
	if len(s.segments) > 0 {
		s.done = s.segments[0].first
	}
	return nil
}

// Scan reads the records of a segment that begins with number first, up to its end
// or the first that is damaged, and calls f with each, and with where it ends. It
// returns f's error, or that of reading.
func Scan(r io.Reader, first uint64, f func(number uint64, record []byte, end int64) error) error {
	var header [headerBytes]byte
	var at int64
	for number := first; ; number++ {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return torn(err)
		}
		length, sum, own := binary.LittleEndian.Uint32(header[:]), binary.LittleEndian.Uint32(header[4:]), binary.LittleEndian.Uint64(header[8:])
		if length > MaxRecord || own != number {
			return nil
		}
		record, err := readRecord(r, int(length))
		if err != nil {
			return torn(err)
		}
		if checksum(own, record) != sum {
			return nil
		}
		at += headerBytes + int64(length)
		if err := f(number, record, at); err != nil {
			return err
		}
	}
}

// readRecord makes room as bytes come, so that a damaged length costs no memory.
func readRecord(r io.Reader, length int) ([]byte, error) {
	var out []byte
	for len(out) < length {
		n := min(length-len(out), max(64<<10, len(out)))
		from := len(out)
		out = slices.Grow(out, n)[:from+n]
		if _, err := io.ReadFull(r, out[from:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func checksum(number uint64, record []byte) uint32 {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], number)
	return crc32.Update(crc32.Checksum(n[:], castagnoli), castagnoli, record)
}

// Name identifies the spool for as long as its directory lives.
func (s *Spool) Name() string { return s.name }

// Torn returns how many bytes were no records when the spool was opened: of a
// record that was being written when the machine died, or of a disk that is
// damaged.
func (s *Spool) Torn() int64 { return s.torn }

// Size returns how many records wait, and how many bytes the segments hold.
func (s *Spool) Size() (records int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.next - s.done), s.bytes
}

// Limit is how many bytes the segments may hold.
func (s *Spool) Limit() int64 { return s.limit }

// Oldest is about when the record that waits longest came, the zero time when none
// waits. It goes by segments, and so says rather too early than too late; but of
// those of a run before, only the end is known.
func (s *Spool) Oldest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done >= s.next {
		return time.Time{}
	}
	for _, seg := range s.segments {
		if s.done < seg.after() {
			return seg.since
		}
	}
	return time.Time{}
}

// Append adds a record and returns once it is on the disk. Appends that happen at
// once share one sync. Errors: ErrFull, ErrClosed, or the disk's.
func (s *Spool) Append(record []byte) error {
	if len(record) > MaxRecord {
		return fmt.Errorf("a record of %d bytes is longer than a spool takes", len(record))
	}
	s.mu.Lock()
	f, err := s.write(record)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// Whoever comes while another syncs waits, and finds its record synced or syncs
	// for all that came meanwhile.
	err = f.file.sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.file == f.file {
			s.failed = err
		}
		return fmt.Errorf("write the spool: %w", err)
	}
	// Those before it in the file went with it, and a file is synced before the
	// next is begun.
	s.synced = max(s.synced, f.number+1)
	return nil
}

// written is a record that has to be synced.
type written struct {
	file   *file
	number uint64
}

func (s *Spool) write(record []byte) (written, error) {
	size := int64(headerBytes + len(record))
	switch {
	case s.closed:
		return written{}, ErrClosed
	case s.bytes+size > s.limit:
		return written{}, ErrFull
	}
	var last *segment
	if s.file != nil && s.failed == nil {
		last = s.segments[len(s.segments)-1]
	}
	if last == nil || last.bytes >= min(segmentBytes, s.limit/4+1) {
		var err error
		if last, err = s.begin(); err != nil {
			return written{}, err
		}
	}
	b := make([]byte, 0, size)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(record)))
	b = binary.LittleEndian.AppendUint32(b, checksum(s.next, record))
	b = binary.LittleEndian.AppendUint64(b, s.next)
	if _, err := s.file.WriteAt(append(b, record...), last.bytes); err != nil {
		s.failed = err
		return written{}, fmt.Errorf("write the spool: %w", err)
	}
	last.bytes += size
	last.ends = append(last.ends, last.bytes)
	s.bytes += size
	s.next++
	return written{s.file, s.next - 1}, nil
}

// begin starts a segment. The number it begins with is noted beside it, since a
// later start must not use it again even if the segment is gone by then.
func (s *Spool) begin() (*segment, error) {
	if s.file != nil {
		old := s.file
		s.file = nil
		if err := old.sync(); err != nil && s.failed == nil {
			return nil, fmt.Errorf("write the spool: %w", err)
		}
		// Left open for those who sync it still; the runtime closes it.
	}
	if n := len(s.segments); n > 0 && len(s.segments[n-1].ends) == 0 {
		s.segments = s.segments[:n-1] // its first write failed
	}
	seg := &segment{first: s.next, since: time.Now()}
	f, err := os.OpenFile(s.path(seg.first), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err == nil {
		err = syncDir(s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("write the spool: %w", err)
	}
	s.file, s.failed = &file{File: f, flush: s.flush}, nil
	s.segments = append(s.segments, seg)
	return seg, nil
}

// Next returns the oldest record that waits and its number, or false if none does.
// It returns only what is on the disk: the number of a record that was lost with
// the machine is used again, and must not have been seen before.
func (s *Spool) Next() (number uint64, record []byte, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, nil, false, ErrClosed
	}
	for _, seg := range s.segments {
		if s.done >= s.synced {
			break
		}
		if s.done >= seg.after() || s.done < seg.first {
			continue
		}
		record, err := s.read(seg, int(s.done-seg.first))
		return s.done, record, err == nil, err
	}
	return 0, nil, false, nil
}

func (s *Spool) read(seg *segment, i int) ([]byte, error) {
	f, err := os.Open(s.path(seg.first))
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	defer f.Close()
	var from int64
	if i > 0 {
		from = seg.ends[i-1]
	}
	number := seg.first + uint64(i)
	found := false
	var out []byte
	err = Scan(io.NewSectionReader(f, from, seg.ends[i]-from), number, func(_ uint64, record []byte, _ int64) error {
		out, found = record, true
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("record %d is damaged", number)
	}
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	return out, nil
}

// Done takes off the records up to and including a number, which were delivered
// or given up.
func (s *Spool) Done(number uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.done = max(s.done, min(number+1, s.synced))
	for len(s.segments) > 0 && s.segments[0].after() <= s.done {
		seg := s.segments[0]
		if len(s.segments) == 1 {
			// Its numbers must not come again once it is gone.
			if err := writeDurably(s.dir, "next", []byte(strconv.FormatUint(s.next, 10)+"\n")); err != nil {
				return err
			}
			s.file = nil // left open for those who sync it still; the runtime closes it
		}
		if err := os.Remove(s.path(seg.first)); err != nil {
			return fmt.Errorf("write the spool: %w", err)
		}
		s.bytes -= seg.bytes
		s.segments = s.segments[1:]
	}
	if len(s.segments) > 0 && s.done < s.segments[0].first {
		s.done = s.segments[0].first // a damaged stretch was skipped
	}
	return nil
}

// SetAside takes the oldest record off as Done does, and keeps it in a file of its
// own, which it returns the path of and which nothing reads again. It is for a
// record that cannot be delivered and holds up those behind it.
func (s *Spool) SetAside(number uint64) (path string, err error) {
	oldest, record, ok, err := s.Next()
	switch {
	case err != nil:
		return "", err
	case !ok || oldest != number:
		return "", fmt.Errorf("record %d is not the oldest of the spool", number)
	}
	dir := filepath.Join(s.dir, asideDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("set a record aside: %w", err)
	}
	name := strconv.FormatUint(number, 10)
	if err := errors.Join(writeDurably(dir, name, record), syncDir(s.dir)); err != nil {
		return "", err
	}
	return filepath.Join(dir, name), s.Done(number)
}

// Close lets go of the directory. What waits is there for the next Open; of a
// segment partly delivered, all of it is delivered again.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.file != nil {
		err = errors.Join(s.file.sync(), s.file.Close())
	}
	_ = syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN) // at once, though a child that is being started may have a copy
	return errors.Join(err, s.lock.Close())
}
