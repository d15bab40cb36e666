//go:build unix

package pg_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) {
	if raw := os.Getenv(helperEnv); raw != "" {
		os.Exit(helperMain(raw))
	}
	goleak.VerifyTestMain(testdb.Main(m))
}

// helperEnv makes this test binary a helper process of a test.
const helperEnv = "WEIR_PG_TEST_HELPER"

// helper is what a helper process is told to do.
type helper struct {
	Serve   *pg.ServerConfig `json:",omitempty"` // start a server, say so, wait to be killed
	Untied  bool
	Migrate string   `json:",omitempty"` // migrate Schemas at this URL
	Schemas []string `json:",omitempty"`
	Tmpfs   string   `json:",omitempty"` // first mount a small one there
}

func helperMain(raw string) int {
	var h helper
	if err := json.Unmarshal([]byte(raw), &h); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	if err := h.run(); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

func (h helper) run() error {
	ctx := context.Background()
	if h.Tmpfs != "" {
		if err := mountSmall(h.Tmpfs); err != nil {
			return err
		}
	}
	if h.Serve != nil {
		cfg := *h.Serve
		if h.Untied {
			cfg = pg.Untied(cfg)
		}
		s, err := pg.StartServer(ctx, cfg)
		if err != nil {
			return err
		}
		fmt.Println("serving", s.PID(), s.URL())
		_, _ = io.Copy(io.Discard, os.Stdin) // until killed, or told to end in order
		return s.Close(ctx)
	}
	pool, err := pg.Open(ctx, h.Migrate, pg.Options{})
	if err != nil {
		return err
	}
	defer pool.Close()
	var errs []error
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, schema := range h.Schemas {
		wg.Go(func() {
			err := pg.Migrate(ctx, pool, schema, ledger(schema), nil)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// process is a running helper.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
	ended bool
}

// startHelper runs this test binary as a helper; it is killed with the test.
func startHelper(t *testing.T, h helper, adjust ...func(*exec.Cmd)) *process {
	t.Helper()
	raw, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(raw))
	cmd.Stderr = os.Stderr
	for _, f := range adjust {
		f(cmd)
	}
	p := &process{cmd: cmd}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// kill ends the helper as kill -9 does.
func (p *process) kill() {
	if !p.ended {
		p.ended = true
		_ = p.cmd.Process.Kill() // it may have ended by itself
		_ = p.cmd.Wait()         // "signal: killed"
	}
}

// wait returns everything the helper printed once it has ended by itself.
func (p *process) wait(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for p.lines.Scan() {
		out.WriteString(p.lines.Text() + "\n")
	}
	p.ended = true
	_ = p.cmd.Wait() // what it printed says more
	return out.String()
}

// serving waits until the helper's server is up and returns its pid and URL.
func (p *process) serving(t *testing.T) (pid int, url string) {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatalf("the helper said nothing: %v", p.lines.Err())
	}
	if _, err := fmt.Sscanf(p.lines.Text(), "serving %d %s", &pid, &url); err != nil {
		t.Fatalf("the helper said %q", p.lines.Text())
	}
	return pid, url
}

// quick is a configuration for throw-away data.
func quick(dir string) pg.ServerConfig { return pg.ServerConfig{Dir: dir, NoFsync: true} }

// lastingPort is a port that a test may listen at again: outside of those that
// servers take by themselves, and the system for outgoing connections.
func lastingPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 15000 + rand.N(16000)
		if l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			_ = l.Close() // it was only tried
			return port
		}
	}
	t.Fatal("no free port on loopback")
	return 0
}

// start starts a server that ends with the test.
func start(t *testing.T, cfg pg.ServerConfig) *pg.Server {
	t.Helper()
	s, err := pg.StartServer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *pg.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// exec runs SQL on a connection of its own.
func execSQL(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// query returns a single value.
func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

// eventually polls until ok, for what the system announces to nobody.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never came: %s", what)
		}
	}
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) }

// zombie covers machines whose first process reaps no orphans.
func zombie(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(raw), ") ")
	return strings.HasPrefix(after, "Z")
}

// wantSentence fails unless err is of the kind and names everything in words.
func wantSentence(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v, want one that is %v", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q is more than a sentence", err)
	}
}

// ledger is a small set of migrations for any schema.
func ledger(schema string) fstest.MapFS {
	return fstest.MapFS{
		"00001_entry.sql":  {Data: []byte("-- +goose Up\nCREATE TABLE " + schema + ".entry (id int PRIMARY KEY);\n")},
		"00002_note.sql":   {Data: []byte("-- +goose Up\nALTER TABLE " + schema + ".entry ADD COLUMN note text;\n")},
		"00003_first.sql":  {Data: []byte("-- +goose Up\nINSERT INTO " + schema + ".entry VALUES (1, 'first');\n")},
		"00004_second.sql": {Data: []byte("-- +goose Up\nINSERT INTO " + schema + ".entry VALUES (2, 'second');\n")},
	}
}

// ordinary returns how to run a helper as someone other than root: as it is,
// or as nobody with a copy of the test binary that nobody can reach.
func ordinary(t *testing.T, dir string) func(*exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 {
		return func(*exec.Cmd) {}
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(testdb.Dir(t), "helper")
	raw, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	return func(cmd *exec.Cmd) {
		cmd.Path, cmd.Dir = program, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
}

// record is a log handler's memory.
type record struct {
	mu  sync.Mutex
	out strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

func (r *record) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
