//go:build linux

// Package turns puts the same load on several servers in turn and compares what a
// request costs each: processor time of the server alone, read from the kernel.
package turns

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/load"
	"github.com/weirmesh/weir/test/bench/report"
	"github.com/weirmesh/weir/test/bench/sample"
)

// Options say how to measure.
type Options struct {
	Rate, Connections, Rounds int
	For                       time.Duration
}

// Flags binds the options to flags.
func (o *Options) Flags(fs *flag.FlagSet, rate int) {
	fs.IntVar(&o.Rate, "rate", rate, "requests per second, the same for each")
	fs.IntVar(&o.Connections, "connections", 64, "kept connections")
	fs.IntVar(&o.Rounds, "rounds", 3, "turns of each, in changing order")
	fs.DurationVar(&o.For, "for", 5*time.Second, "length of a turn")
}

// Validate reports what is wrong with the options.
func (o *Options) Validate() error {
	if o.Rate < 1 || o.Connections < 1 || o.Rounds < 1 || o.For < time.Second {
		return errors.New("-rate, -connections and -rounds are at least 1, -for at least 1s")
	}
	return nil
}

// Subject is a server under test.
type Subject struct {
	Name    string
	Address string // host:port
	Process *child.Process
}

// Ready waits until the subject answers well.
func (s *Subject) Ready(ctx context.Context, path string) error {
	for {
		o, err := load.Drive(load.Work{Address: s.Address, Path: path, Connections: 1, For: 50 * time.Millisecond})
		if err == nil && o.Failed == 0 {
			return nil
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-s.Process.Done():
			timer.Stop()
			return s.Process.Died()
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s never answered: %s", s.Name, o.Error)
		}
	}
}

type measured struct {
	cpu, p50, p99, rate sample.Set // nanoseconds, and requests per second
	failed              int64
	rss                 float64
}

// Take lets each subject take its turns and prints a table whose first column the
// others are compared with.
func Take(ctx context.Context, o Options, dir, path string, subjects []*Subject, out, progress io.Writer) error {
	sender, err := load.Start(dir)
	if err != nil {
		return err
	}
	defer sender.Kill()
	order := make([]int, len(subjects))
	for i, s := range subjects {
		order[i] = i
		ready, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := s.Ready(ready, path)
		cancel()
		if err != nil {
			return err
		}
	}
	results := make([]measured, len(subjects))
	for round := range o.Rounds {
		for _, i := range order {
			fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, o.Rounds, subjects[i].Name)
			if err := results[i].turn(ctx, o, sender, subjects[i], path); err != nil {
				return err
			}
		}
		slices.Reverse(order)
	}
	fmt.Fprintf(out, "%d requests/s over %d connections, %d turns of %s each; medians of turns.\n\n", o.Rate, o.Connections, o.Rounds, o.For)
	t := &report.Table{}
	for _, s := range subjects {
		t.Columns = append(t.Columns, s.Name)
	}
	row := func(title string, unit report.Unit, value func(*measured) float64) {
		values := make([]float64, len(results))
		for i := range results {
			values[i] = value(&results[i])
		}
		t.RowAlone(title, unit, values...)
	}
	row("processor time per request", report.Time, func(m *measured) float64 { return m.cpu.Median() })
	row("  as a multiple of Weir's", report.Number, func(m *measured) float64 { return m.cpu.Median() / results[0].cpu.Median() })
	row("latency, median", report.Time, func(m *measured) float64 { return m.p50.Median() })
	row("latency, p99", report.Time, func(m *measured) float64 { return m.p99.Median() })
	row("requests per second", report.Number, func(m *measured) float64 { return m.rate.Median() })
	row("resident memory of the first process", report.Size, func(m *measured) float64 { return m.rss })
	row("failed", report.Number, func(m *measured) float64 { return float64(m.failed) })
	return t.Write(out)
}

// turn is one turn of one subject, after a second to warm up.
func (m *measured) turn(ctx context.Context, o Options, sender *child.Process, s *Subject, path string) error {
	w := load.Work{Address: s.Address, Path: path, Connections: o.Connections, Rate: o.Rate, For: time.Second}
	if err := sender.Call(ctx, "drive", w, nil); err != nil {
		return err
	}
	before, err := s.Process.CPU()
	if err != nil {
		return err
	}
	w.For = o.For
	var got load.Outcome
	if err := sender.Call(ctx, "drive", w, &got); err != nil {
		return err
	}
	after, err := s.Process.CPU()
	if err != nil {
		return err
	}
	m.cpu.Add(float64(after-before) / float64(got.Requests))
	m.p50.Add(got.P50)
	m.p99.Add(got.P99)
	m.rate.Add(float64(got.Requests) / got.Took.Seconds())
	m.failed += got.Failed
	rss, err := child.RSS(fmt.Sprint(s.Process.Pid()))
	m.rss = float64(rss)
	return err
}
