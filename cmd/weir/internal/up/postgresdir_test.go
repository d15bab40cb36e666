package up

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A checkout below /root is where many a root user begins; PostgreSQL's own user
// cannot enter it.
func TestPostgresMovesOutOfAClosedDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs PostgreSQL as somebody else")
	}
	closed, err := os.MkdirTemp("/var/tmp", "weir-closed-") //nolint:usetesting // every user can reach it, none can enter it
	if err != nil {
		t.Fatal(err)
	}
	open, err := os.MkdirTemp("/var/tmp", "weir-open-") //nolint:usetesting // nobody but root can enter what t.TempDir makes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(closed); os.RemoveAll(open) })
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}

	want := filepath.Join(closed, "data", "postgres")
	for range 2 { // the second start finds the link of the first
		got, err := postgresDir(t.Context(), want, open)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(got, open+"/") {
			t.Fatalf("it stays in %s", got)
		}
		if at, err := os.Readlink(want); err != nil || at != got {
			t.Errorf("link at %s to %s, %v; want to %s", want, at, err, got)
		}
	}
	other, err := postgresDir(t.Context(), filepath.Join(closed, "other", "postgres"), open)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := os.Readlink(want); err != nil || at == other {
		t.Errorf("two data directories share %s (%v)", other, err)
	}

	// Where the user can get, nothing moves; nor does what is there already.
	if got, err := postgresDir(t.Context(), filepath.Join(open, "data", "postgres"), open); err != nil || got != filepath.Join(open, "data", "postgres") {
		t.Errorf("it moved to %s, %v", got, err)
	}
	kept := filepath.Join(closed, "kept", "postgres")
	if err := os.MkdirAll(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := postgresDir(t.Context(), kept, open); err != nil || got != kept {
		t.Errorf("data that were there are left behind: %s, %v", got, err)
	}
}
