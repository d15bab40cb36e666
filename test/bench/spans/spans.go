//go:build linux

// Package spans measures the collector: spans stored per second, what each costs
// in processor time and on disk, and how many acknowledged ones are lost when the
// collector, and then PostgreSQL, are killed under load. It runs bin/weir as users
// do, on a PostgreSQL of its own that waits for the disk.
package spans

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/report"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// Options say how to measure.
type Options struct {
	Spans, Body, Connections int
	Kill                     time.Duration
	Weir                     string
}

// ParseOptions reads flags; help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("spans", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.IntVar(&o.Spans, "spans", 300_000, "spans to store")
	fs.IntVar(&o.Body, "body", 100, "spans in one request")
	fs.IntVar(&o.Connections, "connections", 8, "senders, each waiting for its answer")
	fs.DurationVar(&o.Kill, "kill-after", time.Second, "load before each kill -9")
	fs.StringVar(&o.Weir, "weir", "../../bin/weir", "the program under test")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.Spans < 1000 || o.Body < 1 || o.Connections < 1 || o.Kill <= 0 {
		return o, errors.New("-spans is at least 1000, -body and -connections at least 1, -kill-after above 0")
	}
	var err error
	o.Weir, err = filepath.Abs(o.Weir)
	return o, err
}

// bench is one run.
type bench struct {
	Options
	dir      string
	database *pg.Server
	weir     *child.Process
	address  string
	http     *http.Client
	progress io.Writer
}

type result struct {
	took                   time.Duration
	spans                  int64
	collector, postgres    time.Duration // processor time
	json, stored, walBytes float64       // bytes per span
	killed                 [2]loss
}

// Run measures and prints.
func Run(ctx context.Context, o Options, out, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "weir-bench-spans-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	b := &bench{Options: o, dir: dir, progress: progress, http: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: o.Connections},
	}}
	if err := b.startDatabase(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.database.Close(context.WithoutCancel(ctx))) }()
	if err := b.startWeir(ctx); err != nil {
		return err
	}
	defer func() { b.weir.Stop(5 * time.Second) }()
	var r result
	if err := b.throughput(ctx, &r); err != nil {
		return err
	}
	for i, kill := range []func(context.Context) error{b.killCollector, b.killDatabase} {
		if r.killed[i], err = b.loss(ctx, uint64(i), kill); err != nil {
			return err
		}
	}
	return r.print(o, out)
}

func (b *bench) startDatabase(ctx context.Context) (err error) {
	b.database, err = pg.StartServer(ctx, pg.ServerConfig{Dir: filepath.Join(b.dir, "postgres")})
	return err
}

// startWeir starts the collector and waits until it is ready.
func (b *bench) startWeir(ctx context.Context) (err error) {
	if b.address == "" {
		if b.address, err = freeAddress(); err != nil {
			return err
		}
	}
	b.weir, err = child.Launch("weir", b.dir, b.Weir, "tracing", "--database-url", b.database.URL(), "--tracing-listen", b.address,
		"--data-dir", filepath.Join(b.dir, "weir"), "--admin-listen", "")
	if err != nil {
		return fmt.Errorf("%w; run make build-weir in the repository's root first", err)
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, _, err := b.get(ready, "/api/v2/services")
		if err == nil {
			return nil
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-b.weir.Done():
			timer.Stop()
			return b.weir.Died()
		case <-ready.Done():
			timer.Stop()
			return fmt.Errorf("the collector never answered: %w", err)
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// warm stores other spans until the collector has trained the dictionary that it
// compresses payloads with, which it does once a week. Partitions, and the lists of
// what is to enter the indexes, are there by then as well: what is measured after
// is what a span takes, not what the first one does.
func (b *bench) warm(ctx context.Context) error {
	fmt.Fprintln(b.progress, "warming up")
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	conn, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for seed := uint64(1000); ; seed++ {
		g := tracingtest.NewGenerator(seed, time.Now().Add(-time.Hour))
		var bodies [][]byte
		for _, spans := range g.Bodies(10_000, b.Body) {
			bodies = append(bodies, tracing.AppendJSONList(nil, spans))
		}
		if err := b.sendAll(ctx, bodies); err != nil {
			return err
		}
		var trained bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM tracing.dictionary)").Scan(&trained); err != nil || trained {
			return err
		}
	}
}

// throughput stores all spans and measures what that took.
func (b *bench) throughput(ctx context.Context, r *result) error {
	fmt.Fprintf(b.progress, "making %d spans\n", b.Spans)
	g := tracingtest.NewGenerator(1, time.Now().Add(-time.Hour))
	var bodies [][]byte
	var bytes int
	for _, spans := range g.Bodies(b.Spans, b.Body) {
		body := tracing.AppendJSONList(nil, spans)
		bodies = append(bodies, body)
		bytes += len(body)
		r.spans += int64(len(spans))
	}
	r.json = float64(bytes) / float64(r.spans)
	if err := b.warm(ctx); err != nil {
		return err
	}
	size, wal, err := b.size(ctx)
	if err != nil {
		return err
	}
	weir, err := b.weir.CPU()
	if err != nil {
		return err
	}
	postgres, err := child.CPUOf(b.database.PID())
	if err != nil {
		return err
	}
	fmt.Fprintf(b.progress, "storing them over %d connections\n", b.Connections)
	began := time.Now()
	if err := b.sendAll(ctx, bodies); err != nil {
		return err
	}
	r.took = time.Since(began)
	weirAfter, err := b.weir.CPU()
	if err != nil {
		return err
	}
	postgresAfter, err := child.CPUOf(b.database.PID())
	if err != nil {
		return err
	}
	r.collector, r.postgres = weirAfter-weir, postgresAfter-postgres
	sizeAfter, walAfter, err := b.size(ctx)
	r.stored, r.walBytes = (sizeAfter-size)/float64(r.spans), (walAfter-wal)/float64(r.spans)
	return err
}

// connect opens the collector's database as who may see all of it.
func (b *bench) connect(ctx context.Context) (*pgx.Conn, error) {
	own, err := pgx.ParseConfig(b.database.URL())
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(b.database.SuperuserURL())
	if err != nil {
		return nil, err
	}
	cfg.Database = own.Database
	return pgx.ConnectConfig(ctx, cfg)
}

// size returns the bytes of all tables and indexes of the collector, and those
// ever written ahead.
func (b *bench) size(ctx context.Context) (tables, wal float64, err error) {
	conn, err := b.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8
		from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'tracing' and c.relkind in ('r', 'm')`).Scan(&tables, &wal)
	return tables, wal, err
}

func (b *bench) killCollector(ctx context.Context) error {
	b.weir.Kill()
	return b.startWeir(ctx)
}

// killDatabase kills the server as a crash of it would; the collector stays.
func (b *bench) killDatabase(ctx context.Context) error {
	if err := syscall.Kill(b.database.PID(), syscall.SIGKILL); err != nil {
		return err
	}
	gone, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := b.database.Wait(gone); err == nil {
		return errors.New("the database was killed and does not say so")
	}
	_ = b.database.Close(ctx) // it died; this frees its directory
	if err := b.startDatabase(ctx); err != nil {
		return err
	}
	_, _, err := b.eventually(gone, "/api/v2/services")
	return err
}

func (r *result) print(o Options, out io.Writer) error {
	fmt.Fprintf(out, "Spans: %d varied ones in bodies of %d over %d connections, JSON; collector, PostgreSQL and senders share this machine. One run.\n\n", r.spans, o.Body, o.Connections)
	t := &report.Table{Columns: []string{"Weir"}}
	per := func(d time.Duration) float64 { return float64(d) / float64(r.spans) }
	t.RowAlone("stored per second", report.Number, float64(r.spans)/r.took.Seconds())
	t.RowAlone("processor time per span", report.Time, per(r.collector+r.postgres))
	t.RowAlone("  of the collector", report.Time, per(r.collector))
	t.RowAlone("  of PostgreSQL", report.Time, per(r.postgres))
	t.RowAlone("sent per span", report.Size, r.json)
	t.RowAlone("stored per span, indexes included", report.Size, r.stored)
	t.RowAlone("written ahead per span", report.Size, r.walBytes)
	for i, who := range []string{"collector", "PostgreSQL"} {
		l := r.killed[i]
		t.RowAlone("acknowledged before and after kill -9 of the "+who, report.Number, float64(l.acknowledged))
		t.RowAlone("  lost of them", report.Number, float64(l.lost))
	}
	return t.Write(out)
}
