package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, limit int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// drain takes off everything and returns it as "number:record".
func drain(t *testing.T, s *spool.Spool) (out []string) {
	t.Helper()
	for {
		n, record, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, fmt.Sprintf("%d:%s", n, record))
		if err := s.Done(n); err != nil {
			t.Fatal(err)
		}
	}
}

func add(t *testing.T, s *spool.Spool, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := s.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func want(t *testing.T, got []string, want string) {
	t.Helper()
	if strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRecordsComeBackInOrder(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	add(t, s, "a", "", "c")
	want(t, drain(t, s), "1:a 2: 3:c")
	add(t, s, "d")
	want(t, drain(t, s), "4:d")
	if n, size := s.Size(); n != 0 || size != 0 {
		t.Errorf("%d records, %d bytes", n, size)
	}
}

func TestRecordsSurviveAndNumbersGoOn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	name := s.Name()
	add(t, s, "a", "b")
	s.Close()
	s = open(t, dir, 1<<20)
	if s.Name() != name {
		t.Errorf("the name changed from %s to %s", name, s.Name())
	}
	add(t, s, "c")
	want(t, drain(t, s), "1:a 2:b 3:c")
	s.Close()
	// Nothing is left that the numbers could be told from but the note beside.
	s = open(t, dir, 1<<20)
	add(t, s, "d")
	want(t, drain(t, s), "4:d")
}

func TestAnotherProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, 1<<20)
	if s, err := spool.Open(dir, 1<<20); err == nil {
		s.Close()
		t.Fatal("two have it open")
	}
}

func TestAFullSpoolRefusesUntilSomethingIsDelivered(t *testing.T) {
	s := open(t, t.TempDir(), 1000)
	record := bytes.Repeat([]byte("x"), 84) // 100 with its header
	for range 10 {
		if err := s.Append(record); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append(record); !errors.Is(err, spool.ErrFull) {
		t.Fatalf("%v", err)
	}
	for range 5 {
		n, _, ok, err := s.Next()
		if err != nil || !ok {
			t.Fatal(err)
		}
		if err := s.Done(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append(record); err != nil {
		t.Fatalf("with half of it delivered: %v", err)
	}
	if got := drain(t, s); len(got) != 6 || !strings.HasPrefix(got[0], "6:") {
		t.Errorf("%d records, from %.10s", len(got), got[0])
	}
}

func TestATornTailIsDropped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	add(t, s, "first", "second", "third")
	s.Close()
	file := filepath.Join(dir, fmt.Sprintf("%020d.spool", 1))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		if err := os.WriteFile(file, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := spool.Open(dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		records := 0
		for _, end := range []int{21, 43, 64} {
			if cut >= end {
				records++
			}
		}
		if n, _ := s.Size(); n != records {
			t.Fatalf("cut at %d: %d records, want %d", cut, n, records)
		}
		s.Close()
	}
}

func TestAppendsAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if err := s.Append(fmt.Append(nil, i)); err != nil {
				t.Error(err)
			}
		})
	}
	taken := 0
	for range 100 {
		n, _, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			taken++
			if err := s.Done(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	all.Wait()
	if taken += len(drain(t, s)); taken != 50 {
		t.Errorf("%d records", taken)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	s.Close()
	if err := s.Append(nil); !errors.Is(err, spool.ErrClosed) {
		t.Error(err)
	}
	if _, _, _, err := s.Next(); !errors.Is(err, spool.ErrClosed) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzScan holds that no bytes make Scan panic or take more memory than they are
// worth, and that what it yields stands in them.
func FuzzScan(f *testing.F) {
	dir := f.TempDir()
	s, err := spool.Open(dir, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range []string{"one", "", "three"} {
		if err := s.Append([]byte(r)); err != nil {
			f.Fatal(err)
		}
	}
	s.Close()
	raw, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%020d.spool", 1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:30])
	f.Add([]byte{0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := uint64(1)
		err := spool.Scan(bytes.NewReader(data), 1, func(n uint64, record []byte, end int64) error {
			if n != next || end > int64(len(data)) || !bytes.Equal(data[end-int64(len(record)):end], record) {
				t.Fatalf("record %d ends at %d", n, end)
			}
			next++
			return nil
		})
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}

func TestOldest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	if s.Limit() != 1<<20 || !s.Oldest().IsZero() {
		t.Errorf("an empty one: %d, %s", s.Limit(), s.Oldest())
	}
	before := time.Now()
	add(t, s, "a", "b")
	if since := s.Oldest(); since.Before(before) || since.After(time.Now()) {
		t.Errorf("waits since %s", since)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// What waited when a process ended waits since then at least.
	s = open(t, dir, 1<<20)
	if since := s.Oldest(); since.IsZero() || since.After(time.Now()) {
		t.Errorf("waits since %s", since)
	}
	drain(t, s)
	if !s.Oldest().IsZero() {
		t.Errorf("waits since %s with nothing in it", s.Oldest())
	}
}
