package proc

import (
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	// A command may hold what looks like more fields.
	line := "42 (a) R 1 (b) S 7 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 5 0 12345 1000000 256 18446744073709551615 0"
	s, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if s.ppid != 7 || s.start != 12345 || s.rssPages != 256 {
		t.Errorf("got %+v", s)
	}
	for _, broken := range []string{"", "42", "42 (a) R 1", "42 (a) R x 42 42 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 5 0 12345 1000000 256 0"} {
		if _, err := parseStat([]byte(broken)); err == nil {
			t.Errorf("%q: got no error", broken)
		}
	}
}

func TestIdentify(t *testing.T) {
	a, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if a != b || a.Start == 0 || a.Boot == "" {
		t.Errorf("got %+v and %+v", a, b)
	}
	parent, err := Identify(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	if parent == a {
		t.Error("two processes are one")
	}
	if _, err := Identify(1 << 30); err == nil {
		t.Error("no such process: got no error")
	}
}

func TestMemory(t *testing.T) {
	bytes, n := Memory(os.Getpid())
	if bytes < 1<<20 || n < 1 {
		t.Errorf("got %d bytes in %d processes", bytes, n)
	}
	if bytes, n := Memory(1 << 30); bytes != 0 || n != 0 {
		t.Errorf("no such process: got %d bytes in %d processes", bytes, n)
	}
}
