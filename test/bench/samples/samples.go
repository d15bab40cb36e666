//go:build linux

// Package samples measures what the history of commands costs: bytes on disk and
// processor time for each sample, which is what one instance counted for one
// command in one second, in governance/postgres beside one row per sample in the
// same PostgreSQL.
package samples

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/report"
)

// Options say how to measure.
type Options struct{ Instances, Commands, Minutes int }

// ParseOptions reads flags; help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("samples", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.IntVar(&o.Instances, "instances", 50, "instances of one application")
	fs.IntVar(&o.Commands, "commands", 20, "commands that each counts, few of them busy")
	fs.IntVar(&o.Minutes, "minutes", 3, "minutes of history")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.Instances < 1 || o.Commands < 1 || o.Minutes < 1 || o.Minutes > 60 {
		return o, errors.New("-instances and -commands are at least 1, -minutes is from 1 to 60")
	}
	return o, nil
}

// history keeps samples, in one way or the other.
type history interface {
	// write stores the reports of a minute, by the second; all of it is durable
	// once it returns.
	write(ctx context.Context, seconds [][]governance.Report) error
	// finish brings what was written into its final form.
	finish(ctx context.Context) error
	// tables are those that keep samples, by what they keep.
	tables() map[string][]string
}

// measured is what one history cost.
type measured struct {
	wrote, finished time.Duration
	own, postgres   time.Duration // processor time
	bytes           map[string]float64
	wal             float64
}

// Run measures and prints.
func Run(ctx context.Context, o Options, out, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "weir-bench-samples-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	server, err := pg.StartServer(ctx, pg.ServerConfig{Dir: dir + "/postgres"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(context.WithoutCancel(ctx))) }()
	pool, err := pg.Open(ctx, server.URL(), pg.Options{})
	if err != nil {
		return err
	}
	defer pool.Close()
	log := slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := pg.Migrate(ctx, pool, postgres.Schema, postgres.Migrations(), log); err != nil {
		return err
	}
	weir := &folded{store: postgres.New(pool, postgres.Options{Log: log})}
	plain := &rows{pool: pool}
	if err := plain.create(ctx); err != nil {
		return err
	}
	b := &bench{Options: o, pool: pool, server: server, progress: progress}
	// The minutes have to be over, or they are not folded.
	b.from = time.Now().Add(-20 * time.Second).Truncate(time.Minute).Add(-time.Duration(o.Minutes) * time.Minute)
	var results [2]measured
	var samples int
	for i, h := range []history{weir, plain} {
		fmt.Fprintf(progress, "%d minutes of %d instances with %d commands: %s\n", o.Minutes, o.Instances, o.Commands, []string{"Weir", "a row each"}[i])
		if samples, err = b.measure(ctx, h, &results[i]); err != nil {
			return err
		}
	}
	return table(o, samples, results, out)
}

type bench struct {
	Options
	pool     *pgxpool.Pool
	server   *pg.Server
	from     time.Time
	progress io.Writer
}

// measure writes the history and returns how many samples it is of. What was there
// before, of one report of the minute before, does not count: nor do the empty
// partitions that it made.
func (b *bench) measure(ctx context.Context, h history, m *measured) (samples int, err error) {
	first, _, err := newGenerator(0, 1, 1).second(b.from.Add(-time.Minute))
	if err != nil {
		return 0, err
	}
	if err := errors.Join(h.write(ctx, [][]governance.Report{first}), h.finish(ctx)); err != nil {
		return 0, err
	}
	before, err := b.sizes(ctx, h)
	if err != nil {
		return 0, err
	}
	g := newGenerator(1, b.Instances, b.Commands)
	for minute := range b.Minutes {
		var seconds [][]governance.Report
		for s := range 60 {
			reports, n, err := g.second(b.from.Add(time.Duration(minute)*time.Minute + time.Duration(s)*time.Second))
			if err != nil {
				return 0, err
			}
			seconds, samples = append(seconds, reports), samples+n
		}
		if err := b.minute(ctx, h, seconds, m); err != nil {
			return 0, err
		}
	}
	m.bytes = map[string]float64{}
	after, err := b.sizes(ctx, h)
	for what, n := range after {
		m.bytes[what] = n - before[what]
	}
	return samples, err
}

// minute writes one minute and counts what that takes.
func (b *bench) minute(ctx context.Context, h history, seconds [][]governance.Report, m *measured) error {
	before, err := b.spent(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := h.write(ctx, seconds); err != nil {
		return err
	}
	wrote := time.Now()
	if err := h.finish(ctx); err != nil {
		return err
	}
	m.finished += time.Since(wrote)
	m.wrote += wrote.Sub(began)
	after, err := b.spent(ctx)
	m.own += after.own - before.own
	m.postgres += after.postgres - before.postgres
	m.wal += after.wal - before.wal
	return err
}

// spent is what was used up until now.
type spent struct {
	own, postgres time.Duration
	wal           float64
}

func (b *bench) spent(ctx context.Context) (s spent, err error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return s, err
	}
	s.own = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if s.postgres, err = child.CPUOf(b.server.PID()); err != nil {
		return s, err
	}
	err = b.pool.QueryRow(ctx, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8").Scan(&s.wal)
	return s, err
}

// sizes returns the bytes of tables with their partitions and indexes.
func (b *bench) sizes(ctx context.Context, h history) (map[string]float64, error) {
	out := map[string]float64{}
	for what, tables := range h.tables() {
		var n float64
		if err := b.pool.QueryRow(ctx, `SELECT sum(pg_total_relation_size(relation))::float8 FROM (
				SELECT name::regclass FROM unnest($1::text[]) AS name
				UNION SELECT t.relid FROM unnest($1::text[]) AS name, pg_partition_tree(name::regclass) AS t
			) AS all_of (relation)`, tables).Scan(&n); err != nil {
			return nil, err
		}
		out[what] = n
	}
	return out, nil
}

// folded is Weir's history.
type folded struct{ store *postgres.Store }

// write hands in what instances report, each of them in its order and by itself.
func (f *folded) write(ctx context.Context, seconds [][]governance.Report) error {
	var wg sync.WaitGroup
	errs := make([]error, len(seconds[0]))
	for i := range seconds[0] {
		wg.Go(func() {
			for _, reports := range seconds {
				if errs[i] = f.store.Append(ctx, reports[i]); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (f *folded) finish(ctx context.Context) error { return f.store.Fold(ctx) }

func (f *folded) tables() map[string][]string {
	return map[string][]string{
		byInstance: {"governance.chunk", "governance.series"},
		byApp:      {"governance.rollup10", "governance.rollup60"},
	}
}

// What tables keep.
const (
	byInstance = "by the second and instance"
	byApp      = "by 10 s and minute, of applications"
)

func table(o Options, samples int, results [2]measured, out io.Writer) error {
	fmt.Fprintf(out, "Samples: %d of %d instances with %d commands in %d minutes, each with its sketch of latencies, reported by the second. One run.\n\n",
		samples, o.Instances, o.Commands, o.Minutes)
	t := &report.Table{Columns: []string{"Weir", "a row each"}, Compare: "a row each/Weir"}
	row := func(title string, unit report.Unit, value func(*measured) float64) {
		t.Row(title, unit, value(&results[0]), value(&results[1]))
	}
	per := func(v float64) float64 { return v / float64(samples) }
	row("bytes per sample, indexes included", report.Size, func(m *measured) float64 { return per(m.bytes[byInstance] + m.bytes[byApp]) })
	row("  "+byInstance, report.Size, func(m *measured) float64 { return per(m.bytes[byInstance]) })
	t.RowAlone("  "+byApp, report.Size, per(results[0].bytes[byApp]), per(results[1].bytes[byApp]))
	row("written ahead per sample", report.Size, func(m *measured) float64 { return per(m.wal) })
	t.RowAlone("durable per second", report.Number, float64(samples)/results[0].wrote.Seconds(), float64(samples)/results[1].wrote.Seconds())
	t.RowAlone("  and in its final form", report.Number,
		float64(samples)/(results[0].wrote+results[0].finished).Seconds(), float64(samples)/(results[1].wrote+results[1].finished).Seconds())
	row("processor time per sample", report.Time, func(m *measured) float64 { return per(float64(m.own + m.postgres)) })
	row("  of who writes", report.Time, func(m *measured) float64 { return per(float64(m.own)) })
	row("  of PostgreSQL", report.Time, func(m *measured) float64 { return per(float64(m.postgres)) })
	return t.Write(out)
}
