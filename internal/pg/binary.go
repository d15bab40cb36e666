//go:build unix

package pg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// binaryGlobs are the places distributions keep server programs outside PATH.
var binaryGlobs = []string{
	"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                   // PGDG on RHEL and kin
	"/usr/libexec/postgresql*",           // Alpine
	"/usr/lib/postgresql*/bin",           // openSUSE
	"/usr/local/pgsql/bin",               // built from source
	"/opt/homebrew/opt/postgresql@*/bin", // Homebrew
	"/usr/local/opt/postgresql@*/bin",
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// binaries is one installation of the server programs.
type binaries struct {
	dir          string
	major, minor int
}

func (b binaries) postgres() string { return filepath.Join(b.dir, "postgres") }
func (b binaries) initdb() string   { return filepath.Join(b.dir, "initdb") }

// findBinaries returns the newest installation whose major version is want
// (any, from minMajor on, if want is 0). With binDir it looks nowhere else.
func findBinaries(ctx context.Context, binDir string, want int, dataDir string) (binaries, error) {
	dirs := []string{binDir}
	if binDir == "" {
		dirs = binaryDirs(ctx)
	}
	var found []binaries
	for _, dir := range dirs {
		b, err := probeBinaries(ctx, dir)
		if ctx.Err() != nil {
			return binaries{}, context.Cause(ctx)
		}
		if err == nil { // else it holds no usable programs, and is no installation
			found = append(found, b)
		}
	}
	return chooseBinaries(found, want, dataDir, binDir)
}

func chooseBinaries(found []binaries, want int, dataDir, binDir string) (binaries, error) {
	var best binaries
	var seen []string
	for _, b := range found {
		seen = append(seen, fmt.Sprintf("%d in %s", b.major, b.dir))
		if want != 0 && b.major != want || b.major < minMajor {
			continue
		}
		if b.major > best.major || b.major == best.major && b.minor > best.minor {
			best = b
		}
	}
	switch {
	case best.dir != "":
		return best, nil
	case want != 0 && len(seen) > 0:
		return binaries{}, say(ErrVersionMismatch, nil, fmt.Sprintf(
			"postgres: the data in %s was written by PostgreSQL %d, and this machine has %s: install PostgreSQL %d (Debian, Ubuntu: apt-get install postgresql-%d), or move the directory away to start empty, or name another with --data-dir",
			dataDir, want, strings.Join(seen, ", "), want, want))
	case len(seen) > 0:
		return binaries{}, say(ErrNoBinaries, nil, fmt.Sprintf(
			"postgres: this machine has PostgreSQL %s, which is older than %d: install a newer one, or name your own server with --database-url",
			strings.Join(seen, ", "), minMajor))
	case binDir != "":
		return binaries{}, say(ErrNoBinaries, nil, fmt.Sprintf(
			"postgres: no usable PostgreSQL server programs (initdb, postgres) in %s: correct the directory, or name your own server with --database-url", binDir))
	default:
		return binaries{}, say(ErrNoBinaries, nil,
			"postgres: this machine has no PostgreSQL server programs (initdb, postgres): install them (Debian, Ubuntu: apt-get install postgresql), or name your own server with --database-url")
	}
}

// binaryDirs lists candidate directories, each once, symbolic links resolved:
// postgres finds its share files relative to its real place.
func binaryDirs(ctx context.Context) []string {
	var found []string
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			found = append(found, filepath.Dir(p))
		}
	}
	if p, err := exec.LookPath("pg_config"); err == nil {
		if out, err := exec.CommandContext(ctx, p, "--bindir").Output(); err == nil {
			found = append(found, strings.TrimSpace(string(out)))
		}
	}
	for _, g := range binaryGlobs {
		m, _ := filepath.Glob(g) // fails only for a malformed pattern
		found = append(found, m...)
	}
	var dirs []string
	seen := map[string]bool{}
	for _, d := range found {
		if r, err := filepath.EvalSymlinks(d); err == nil && !seen[r] {
			seen[r] = true
			dirs = append(dirs, r)
		}
	}
	return dirs
}

func probeBinaries(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir}
	if _, err := exec.LookPath(b.initdb()); err != nil {
		return b, err
	}
	out, err := exec.CommandContext(ctx, b.postgres(), "--version").Output()
	if err != nil {
		return b, err
	}
	m := versionLine.FindStringSubmatch(string(out))
	if m == nil {
		return b, fmt.Errorf("unexpected version text %q", out)
	}
	b.major, _ = strconv.Atoi(m[1]) // digits by the pattern
	b.minor, _ = strconv.Atoi(m[2])
	return b, nil
}

// dataVersion returns the major version that wrote a data directory, 0 if
// there is none yet.
func dataVersion(dataDir string) (int, error) {
	raw, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, fmt.Errorf("%s holds %q, not a PostgreSQL version", filepath.Join(dataDir, "PG_VERSION"), raw)
	}
	return major, nil
}
