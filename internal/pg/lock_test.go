//go:build unix

package pg

import (
	"syscall"
	"testing"
)

// A child that is being started has a copy of every descriptor until it execs.
func TestReleasedLockIsFreeThoughAChildHasACopyOfIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, _, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(first.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(child) }() // only held
	first.release()
	second, _, err := lockDir(dir)
	if err != nil {
		t.Fatalf("a released directory is still locked: %v", err)
	}
	second.release()
}
