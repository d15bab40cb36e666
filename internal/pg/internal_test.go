//go:build unix

package pg

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestServerLogStaysBounded(t *testing.T) {
	t.Parallel()
	l := &serverLog{path: filepath.Join(t.TempDir(), "server.log")}
	f, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // checked by what is read
	block := strings.Repeat("x", 1<<20-1) + "\n"
	for range 20 {
		if _, err := f.WriteString(block); err != nil {
			t.Fatal(err)
		}
		if err := l.bound(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteString("the last line\n"); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, p := range []string{l.path, l.path + ".1"} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 2*logMax || total < logMax {
		t.Errorf("%d bytes kept", total)
	}
	tail := l.tail()
	if len(tail) == 0 || tail[len(tail)-1] != "the last line" {
		t.Errorf("tail ends with %.40q", tail[max(0, len(tail)-1):])
	}
}

func TestServerLogTailIsOfThisStart(t *testing.T) {
	t.Parallel()
	l := &serverLog{path: filepath.Join(t.TempDir(), "server.log")}
	for _, text := range []string{"FATAL:  old trouble\n", "one\ntwo\n"} {
		f, err := l.open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.tail(); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("%q", got)
	}
}

func TestTellingLine(t *testing.T) {
	t.Parallel()
	for want, lines := range map[string][]string{
		"":                    nil,
		"b":                   {"a", "b"},
		"x FATAL:  could not": {"x FATAL:  could not", "x LOG:  database system is shut down"},
		"PANIC:  torn":        {"FATAL:  a", "PANIC:  torn", "FATAL:  b"},
	} {
		if got := telling(lines); got != want {
			t.Errorf("telling(%q) = %q, want %q", lines, got, want)
		}
	}
}

func TestLastWordsAreExplained(t *testing.T) {
	t.Parallel()
	s := &Server{cfg: ServerConfig{Dir: "/var/lib/weir"}, port: 80, acct: account{name: "postgres"}}
	exit := &ExitError{State: "exit status 1"}
	for name, c := range map[string]struct {
		lines    []string
		starting bool
		kind     error
		word     string
	}{
		"port":      {[]string{`LOG:  could not bind IPv4 address "127.0.0.1": Address already in use`, "FATAL:  could not create any TCP/IP sockets"}, true, errRetryPort, "--postgres-port"},
		"low port":  {[]string{`LOG:  could not bind IPv4 address "127.0.0.1": Permission denied`, "FATAL:  could not create any TCP/IP sockets"}, true, ErrPortTaken, "above 1023"},
		"full":      {[]string{"PANIC:  could not write to file: No space left on device", "LOG:  startup process was terminated"}, false, ErrDiskFull, "--data-dir"},
		"read-only": {[]string{`FATAL:  could not create lock file: Read-only file system`}, true, ErrDataDir, "--data-dir"},
		"shmem":     {[]string{"FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use"}, true, errRetryShmem, "exit status 1"},
	} {
		err := s.explain(c.lines, exit, c.starting)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", name, err)
		}
		var got *ExitError
		if !errors.As(err, &got) {
			t.Errorf("%s: the exit is lost", name)
		}
	}
	// A statement that failed for space an hour ago is not why it died now.
	old := []string{"ERROR:  could not extend file: No space left on device", "FATAL:  terminating connection"}
	if err := s.explain(old, exit, false); errors.Is(err, ErrDiskFull) {
		t.Errorf("%v", err)
	}
}

func TestBackoffGrowsWithinBounds(t *testing.T) {
	t.Parallel()
	low, high := 100*time.Millisecond, 10*time.Second
	for attempt := 1; attempt < 100; attempt++ {
		full := high
		if attempt < 8 {
			full = low << (attempt - 1)
		}
		for range 50 {
			if d := backoff(attempt, low, high); d < full/2 || d > full {
				t.Fatalf("attempt %d: %v, want between %v and %v", attempt, d, full/2, full)
			}
		}
	}
}

func TestBinariesAreChosenByVersion(t *testing.T) {
	t.Parallel()
	v := func(dir string, major, minor int) binaries { return binaries{dir: dir, major: major, minor: minor} }
	for name, c := range map[string]struct {
		found []binaries
		want  int // version of the data
		dir   string
		kind  error
		words []string
	}{
		"newest":            {[]binaries{v("a", 15, 4), v("b", 17, 1), v("c", 16, 9)}, 0, "b", nil, nil},
		"newest minor":      {[]binaries{v("a", 15, 4), v("b", 15, 18)}, 0, "b", nil, nil},
		"that of the data":  {[]binaries{v("a", 15, 4), v("b", 17, 1)}, 15, "a", nil, nil},
		"none for the data": {[]binaries{v("a", 17, 1)}, 15, "", ErrVersionMismatch, []string{"PostgreSQL 15", "postgresql-15", "17 in a", "--data-dir"}},
		"too old":           {[]binaries{v("a", 13, 2)}, 0, "", ErrNoBinaries, []string{"13 in a", "--database-url"}},
		"none":              {nil, 0, "", ErrNoBinaries, []string{"apt-get install postgresql", "--database-url"}},
		"none, with data":   {nil, 15, "", ErrNoBinaries, []string{"apt-get install postgresql", "--database-url"}},
	} {
		b, err := chooseBinaries(c.found, c.want, "/data", "")
		if b.dir != c.dir || !errors.Is(err, c.kind) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
}
