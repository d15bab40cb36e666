package spool_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirmesh/weir/internal/spool"
)

// The kernel reports a page that it could not write to one sync only. Whoever syncs
// the same file after that must not be told that its record is on the disk.
func TestAFailedSyncFailsAllThatShareIt(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	var syncs atomic.Int32
	entered, fail := make(chan struct{}), make(chan struct{})
	spool.FlushBy(s, func(*os.File) error {
		if syncs.Add(1) == 1 {
			close(entered)
			<-fail
			return errors.New("the disk is broken")
		}
		return nil
	})
	var all sync.WaitGroup
	errs := make([]error, 2)
	all.Go(func() { errs[0] = s.Append([]byte("one")) })
	<-entered
	all.Go(func() { errs[1] = s.Append([]byte("two")) })
	for n := 0; n < 2; n, _ = s.Size() { // until the second is written, too
		runtime.Gosched()
	}
	close(fail)
	all.Wait()
	if errs[0] == nil || errs[1] == nil {
		t.Fatalf("acknowledged though the disk failed: %v", errs)
	}
	if n, _, ok, _ := s.Next(); ok {
		t.Errorf("record %d is given out, which may not be on the disk", n)
	}
	add(t, s, "three") // into a file of its own
	got := drain(t, s)
	if len(got) == 0 || got[len(got)-1] != "3:three" {
		t.Errorf("got %q", got)
	}
}

func TestARecordIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	add(t, s, "one", "two")
	if _, err := s.SetAside(2); err == nil {
		t.Error("the second was set aside before the first")
	}
	path, err := s.SetAside(1)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "one" || filepath.Dir(filepath.Dir(path)) != dir {
		t.Errorf("%s: %q %v", path, raw, err)
	}
	want(t, drain(t, s), "2:two")
	s.Close()
	want(t, drain(t, open(t, dir, 1<<20)), "")
}

func TestWhatIsNoRecordIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	add(t, s, "one", "two")
	if s.Torn() != 0 {
		t.Errorf("%d bytes of a new spool", s.Torn())
	}
	s.Close()
	files, err := filepath.Glob(filepath.Join(dir, "*.spool"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 1<<20)
	if s.Torn() != int64(len(raw)/2) {
		t.Errorf("%d of %d bytes", s.Torn(), len(raw))
	}
	want(t, drain(t, s), "1:one")
}
