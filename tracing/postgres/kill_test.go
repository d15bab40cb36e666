package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/spool"
	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/collector"
	"github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// childEnv makes the test binary a collector instead of running tests.
const childEnv = "WEIR_TRACING_TEST_COLLECTOR"

type childConfig struct{ URL, Spool string }

// child serves a collector until it is killed, and prints its address.
func child(text string) int {
	if err := serveChild(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveChild(text string) error {
	var cfg childConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	ctx := context.Background()
	pool, err := pg.Open(ctx, cfg.URL, pg.Options{})
	if err != nil {
		return err
	}
	defer pool.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := pg.Migrate(ctx, pool, postgres.Schema, postgres.Migrations(), log); err != nil {
		return err
	}
	s, err := postgres.Open(pool, postgres.Config{Quiet: time.Second, Log: log})
	if err != nil {
		return err
	}
	sp, err := spool.Open(cfg.Spool, 256<<20)
	if err != nil {
		return err
	}
	col, err := collector.New(collector.Config{Store: s, Spool: sp, Log: log})
	if err != nil {
		return err
	}
	go s.Run(ctx)
	go col.Run(ctx)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(collector.Path, col)
	mux.HandleFunc("/waiting", func(w http.ResponseWriter, _ *http.Request) {
		n, _ := col.Waiting()
		fmt.Fprintln(w, n)
	})
	fmt.Println(l.Addr())
	return http.Serve(l, mux)
}

// process is a running child.
type process struct {
	cmd  *exec.Cmd
	base string
}

func startChild(t *testing.T, cfg childConfig) *process {
	t.Helper()
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(raw))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the collector said:\n%s", &stderr)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.kill()
		t.Fatalf("the collector did not start: %v\n%s", err, &stderr)
	}
	p.base = "http://" + strings.TrimSpace(line)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// senders post bodies of spans until they are told to end, and note what was
// acknowledged.
type senders struct {
	mu    sync.Mutex
	acked []tracing.Span
	base  string

	stop chan struct{}
	all  sync.WaitGroup
}

func (s *senders) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked)
}

func (s *senders) aim(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = base
}

func startSenders(base string, n int) *senders {
	s := &senders{base: base, stop: make(chan struct{})}
	for i := range n {
		s.all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			g := tracingtest.NewGenerator(uint64(100+i), time.Now().Add(-time.Minute))
			for {
				for _, body := range g.Bodies(200, 20) {
					select {
					case <-s.stop:
						return
					default:
					}
					s.post(client, body)
				}
			}
		})
	}
	return s
}

func (s *senders) post(client *http.Client, spans []tracing.Span) {
	s.mu.Lock()
	base := s.base
	s.mu.Unlock()
	res, err := client.Post(base+collector.Path, "application/json", bytes.NewReader(tracing.AppendJSONList(nil, spans)))
	if err != nil {
		return // nothing was promised
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusAccepted {
		s.mu.Lock()
		s.acked = append(s.acked, spans...)
		s.mu.Unlock()
	}
}

func (s *senders) end() []tracing.Span {
	close(s.stop)
	s.all.Wait()
	return s.acked
}

// await waits for what other goroutines and processes bring about.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come to be")
		}
	}
}

func startServer(t *testing.T, dir string) *pg.Server {
	t.Helper()
	s, err := pg.StartServer(t.Context(), pg.ServerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func killServer(t *testing.T, s *pg.Server) {
	t.Helper()
	if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	_ = s.Close(context.Background())
}

// missing returns how many of the spans a store does not have.
func missing(t *testing.T, s *postgres.Store, spans []tracing.Span) (n int) {
	t.Helper()
	by := make(map[tracing.TraceID]map[tracing.ID]bool)
	for _, span := range spans {
		if by[span.TraceID] == nil {
			by[span.TraceID] = make(map[tracing.ID]bool)
		}
		by[span.TraceID][span.ID] = true
	}
	var ids []tracing.TraceID
	for id := range by {
		ids = append(ids, id)
	}
	for len(ids) > 0 {
		part := ids[:min(len(ids), 500)]
		ids = ids[len(part):]
		found, err := s.Traces(t.Context(), part)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range found.Traces {
			for _, span := range trace {
				delete(by[span.TraceID], span.ID)
			}
		}
	}
	for _, left := range by {
		n += len(left)
	}
	return n
}

// The database is killed under load, then the collector while it has spans that
// only its spool holds; once both run again, every span that was acknowledged is
// there.
func TestNoAcknowledgedSpanIsLostByKillingEither(t *testing.T) {
	dir := testdb.Dir(t)
	server := startServer(t, dir)
	cfg := childConfig{URL: server.URL(), Spool: t.TempDir()}
	col := startChild(t, cfg)
	s := startSenders(col.base, 4)
	reach := func(more int) {
		t.Helper()
		from := s.count()
		await(t, func() bool { return s.count() >= from+more })
	}
	reach(3000)
	killServer(t, server)
	reach(1500) // into the spool
	col.kill()
	server = startServer(t, dir)
	if server.URL() != cfg.URL {
		t.Fatalf("the server moved from %s to %s", pg.MaskURL(cfg.URL), pg.MaskURL(server.URL()))
	}
	col = startChild(t, cfg)
	s.aim(col.base)
	reach(1500)
	killServer(t, server)
	reach(500)
	server = startServer(t, dir)
	acked := s.end()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	await(t, func() bool {
		res, err := client.Get(col.base + "/waiting")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		line, err := bufio.NewReader(res.Body).ReadString('\n')
		return err == nil && strings.TrimSpace(line) == "0"
	})
	pool, err := pg.Open(t.Context(), server.URL(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	store, err := postgres.Open(pool, postgres.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if n := missing(t, store, acked); n != 0 {
		t.Errorf("%d of %d acknowledged spans are lost", n, len(acked))
	}
	col.kill()
	t.Logf("%d spans were acknowledged", len(acked))
}

// While the database is away a store says so, and writes again once it is back.
func TestAStoreOutlivesItsDatabase(t *testing.T) {
	dir := testdb.Dir(t)
	server := startServer(t, dir)
	pool, err := pg.Open(t.Context(), server.URL(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pg.Migrate(t.Context(), pool, postgres.Schema, postgres.Migrations(), nil); err != nil {
		t.Fatal(err)
	}
	s := open(t, pool, postgres.Config{Linger: -1})
	g := tracingtest.NewGenerator(51, time.Now())
	write(t, s, g.Trace()...)
	killServer(t, server)
	await(t, func() bool { return s.Check(t.Context()) != nil }) // its sessions end by themselves
	for what, err := range map[string]error{
		"write": s.Write(t.Context(), g.Trace()),
		"check": s.Check(t.Context()),
		"read":  second(s.Trace(t.Context(), tracing.TraceID{Low: 1})),
		"list":  second(s.Services(t.Context())),
		"link":  second(s.LinkDue(t.Context())),
	} {
		if tracing.CodeOf(err) != tracing.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	startServer(t, dir)
	await(t, func() bool { return s.Check(t.Context()) == nil })
	spans := g.Trace()
	write(t, s, spans...)
	stored(t, s, spans)
}

func second[T any](_ T, err error) error { return err }

func TestShutdownWritesWhatWasTaken(t *testing.T) {
	s := open(t, database(t), postgres.Config{Linger: time.Hour}) // which nobody waits for
	g := tracingtest.NewGenerator(52, time.Now())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Write(ctx, g.Trace()); err != nil {
		t.Fatalf("the first batch was held up: %v", err)
	}
	spans := g.Trace()
	done := make(chan error)
	go func() { done <- s.Write(context.Background(), spans) }()
	await(t, func() bool { return postgres.Waiting(s) > 0 })
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	stored(t, s, spans)
	if err := s.Write(ctx, spans); tracing.CodeOf(err) != tracing.Unavailable {
		t.Errorf("after the end: %v", err)
	}
	if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
