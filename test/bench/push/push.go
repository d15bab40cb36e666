//go:build linux

package push

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/report"
	"github.com/weirmesh/weir/test/bench/sample"
)

// Options say how to measure.
type Options struct {
	Few, Many, Rounds int
	Profile           string // a file for the control plane's processor profile; empty for none
}

// ParseOptions reads flags; help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("push", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.IntVar(&o.Few, "few", 1000, "streams of the first column")
	fs.IntVar(&o.Many, "many", 10000, "streams of the second; needs as many file descriptors (ulimit -n) and some more")
	fs.IntVar(&o.Rounds, "rounds", 10, "policies pushed to each")
	fs.StringVar(&o.Profile, "profile", "", "`file` for the processor profile of the control plane while it pushes to many")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.Profile != "" {
		var err error
		if o.Profile, err = filepath.Abs(o.Profile); err != nil {
			return o, err
		}
	}
	if o.Few < 1 || o.Many < o.Few || o.Rounds < 1 {
		return o, errors.New("-few and -rounds are at least 1, -many at least -few")
	}
	return o, nil
}

type measured struct {
	wrote, heard50, heard99, heardMax, ack50, ack99, ackMax, cpu, postgres, streams sample.Set
	rss                                                                             float64
}

// Run measures and prints.
func Run(ctx context.Context, o Options, out, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "weir-bench-push-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	database, err := pg.StartServer(ctx, pg.ServerConfig{Dir: dir + "/postgres"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close(context.WithoutCancel(ctx))) }()
	control, err := child.Start(RoleControl, dir)
	if err != nil {
		return err
	}
	defer control.Kill()
	clients, err := child.Start(RoleClients, dir)
	if err != nil {
		return err
	}
	defer clients.Kill()
	var address string
	if err := control.Call(ctx, "serve", database.URL(), &address); err != nil {
		return err
	}
	results := make([]measured, 2)
	turn := 0
	for i, n := range []int{o.Few, o.Many} {
		fmt.Fprintf(progress, "opening %d streams\n", n)
		if err := clients.Call(ctx, "open", openArgs{address, n}, nil); err != nil {
			return err
		}
		if i == 1 && o.Profile != "" {
			if err := control.Call(ctx, "profile", o.Profile, nil); err != nil {
				return err
			}
		}
		for round := range o.Rounds + 1 {
			fmt.Fprintf(progress, "%d streams: policy %d of %d\n", n, round, o.Rounds)
			turn++
			if err := results[i].push(ctx, control, database.PID(), clients, turn, round > 0); err != nil { // the first warms up
				return err
			}
		}
		rss, err := child.RSS(fmt.Sprint(control.Pid()))
		if err != nil {
			return err
		}
		results[i].rss = float64(rss)
	}
	if o.Profile != "" {
		if err := control.Call(ctx, "profiled", nil, nil); err != nil {
			return err
		}
	}
	return table(o, results, out)
}

// push publishes one policy and waits until all streams confirmed it.
func (m *measured) push(ctx context.Context, control *child.Process, database int, clients *child.Process, turn int, count bool) error {
	pushing, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	before, err := spent(control, database, clients)
	if err != nil {
		return err
	}
	var p publication
	if err := control.Call(pushing, "publish", turn, &p); err != nil {
		return err
	}
	var c confirmed
	if err := clients.Call(pushing, "await", p, &c); err != nil {
		return err
	}
	after, err := spent(control, database, clients)
	if err != nil || !count {
		return err
	}
	m.wrote.Add(float64(p.Wrote))
	m.heard50.Add(c.HeardP50)
	m.heard99.Add(c.HeardP99)
	m.heardMax.Add(c.HeardMax)
	m.ack50.Add(c.AckP50)
	m.ack99.Add(c.AckP99)
	m.ackMax.Add(c.AckMax)
	for i, s := range []*sample.Set{&m.cpu, &m.postgres, &m.streams} {
		s.Add(float64(after[i] - before[i]))
	}
	return nil
}

// spent is the processor time of the three until now.
func spent(control *child.Process, database int, clients *child.Process) (out [3]time.Duration, err error) {
	if out[0], err = control.CPU(); err != nil {
		return out, err
	}
	if out[1], err = child.CPUOf(database); err != nil {
		return out, err
	}
	out[2], err = clients.CPU()
	return out, err
}

func table(o Options, results []measured, out io.Writer) error {
	fmt.Fprintf(out, "Push: a policy written to PostgreSQL, told to every stream, confirmed by a report each that is committed before it is answered;\n"+
		"control plane, PostgreSQL and all streams share this machine. Medians of %d policies, from the begin of the write.\n\n", o.Rounds)
	t := &report.Table{Columns: []string{fmt.Sprintf("%d streams", o.Few), fmt.Sprintf("%d streams", o.Many)}}
	row := func(title string, unit report.Unit, value func(*measured) float64) {
		t.RowAlone(title, unit, value(&results[0]), value(&results[1]))
	}
	row("policy committed", report.Time, func(m *measured) float64 { return m.wrote.Median() })
	row("heard by half of the streams", report.Time, func(m *measured) float64 { return m.heard50.Median() })
	row("heard by 99 % of them", report.Time, func(m *measured) float64 { return m.heard99.Median() })
	row("heard by all", report.Time, func(m *measured) float64 { return m.heardMax.Median() })
	row("confirmed by half of them", report.Time, func(m *measured) float64 { return m.ack50.Median() })
	row("confirmed by 99 %", report.Time, func(m *measured) float64 { return m.ack99.Median() })
	row("confirmed by all", report.Time, func(m *measured) float64 { return m.ackMax.Median() })
	row("processor time of the control plane", report.Time, func(m *measured) float64 { return m.cpu.Median() })
	row("  of PostgreSQL", report.Time, func(m *measured) float64 { return m.postgres.Median() })
	row("  of the streams' other ends", report.Time, func(m *measured) float64 { return m.streams.Median() })
	row("resident memory of the control plane", report.Size, func(m *measured) float64 { return m.rss })
	return t.Write(out)
}
