//go:build linux

// Package proxy compares what a request costs on its way through Weir's gateway
// with what it costs through nginx and Caddy: processor time of the proxy alone,
// read from the kernel, under the same load in the same run.
package proxy

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/report"
	"github.com/weirmesh/weir/test/bench/sample"
)

// Options say how to measure.
type Options struct {
	Rate, Connections, Body, Rounds, Routes int
	For                                     time.Duration
}

// ParseOptions reads flags; help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("proxy", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.IntVar(&o.Rate, "rate", 3000, "requests per second, the same for each")
	fs.IntVar(&o.Connections, "connections", 64, "kept connections to the proxy")
	fs.IntVar(&o.Body, "body", 1024, "bytes of each answer")
	fs.IntVar(&o.Rounds, "rounds", 3, "turns of each, in changing order")
	fs.IntVar(&o.Routes, "routes", 1000, "routes in Weir's table; the peers have the one that is asked for")
	fs.DurationVar(&o.For, "for", 5*time.Second, "length of a turn")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.Rate < 1 || o.Connections < 1 || o.Rounds < 1 || o.Routes < 1 || o.Body < 1 || o.For < time.Second {
		return o, fmt.Errorf("-rate, -connections, -body, -rounds and -routes are at least 1, -for at least 1s")
	}
	return o, nil
}

// RunBackend and RunLoad play those parts until the benchmark ends.
func RunBackend() error {
	return child.Serve(map[string]child.Handler{"serve": child.Handle(serveBackend)})
}

// RunLoad sends requests when told to.
func RunLoad() error {
	return child.Serve(map[string]child.Handler{"drive": child.Handle(drive)})
}

// RunGateway serves Weir's gateway.
func RunGateway() error {
	return child.Serve(map[string]child.Handler{"serve": child.Handle(serveGateway)})
}

// gatewayArgs tell the gateway what to serve.
type gatewayArgs struct {
	Backend string `json:"backend"`
	Routes  int    `json:"routes"`
}

// path is what is asked for, through each.
const path = "/bench/items/42"

type measured struct {
	cpu, p50, p99, rate sample.Set // per request in ns, ns, ns, per second
	failed              int64
	rss                 float64
}

// Run measures and prints.
func Run(ctx context.Context, o Options, out, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "weir-bench-proxy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nginx's worker runs as another user
		return err
	}
	backend, err := child.Start(RoleBackend, dir)
	if err != nil {
		return err
	}
	defer backend.Kill()
	load, err := child.Start(RoleLoad, dir)
	if err != nil {
		return err
	}
	defer load.Kill()
	var address string
	if err := backend.Call(ctx, "serve", o.Body, &address); err != nil {
		return err
	}
	var subjects []*subject
	defer func() {
		for _, s := range subjects {
			s.process.Stop(3 * time.Second)
		}
	}()
	for _, start := range []func() (*subject, error){
		func() (*subject, error) {
			return startGateway(ctx, dir, gatewayArgs{Backend: address, Routes: o.Routes})
		},
		func() (*subject, error) { return startNginx(dir, address) },
		func() (*subject, error) { return startCaddy(dir, address) },
	} {
		s, err := start()
		if err != nil {
			return err
		}
		subjects = append(subjects, s)
		ready, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = s.answers(ready, path)
		cancel()
		if err != nil {
			return err
		}
	}
	results := make([]measured, len(subjects))
	for round := range o.Rounds {
		order := []int{0, 1, 2}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, o.Rounds, subjects[i].name)
			if err := measure(ctx, o, load, subjects[i], &results[i]); err != nil {
				return err
			}
		}
	}
	return print(o, subjects, results, out)
}

// measure is one turn of one subject, after a second to warm up.
func measure(ctx context.Context, o Options, load *child.Process, s *subject, m *measured) error {
	w := work{Address: s.address, Path: path, Connections: o.Connections, Rate: o.Rate, For: time.Second}
	if err := load.Call(ctx, "drive", w, nil); err != nil {
		return err
	}
	before, err := s.process.CPU()
	if err != nil {
		return err
	}
	w.For = o.For
	var got outcome
	if err := load.Call(ctx, "drive", w, &got); err != nil {
		return err
	}
	after, err := s.process.CPU()
	if err != nil {
		return err
	}
	m.cpu.Add(float64(after-before) / float64(got.Requests))
	m.p50.Add(got.P50)
	m.p99.Add(got.P99)
	m.rate.Add(float64(got.Requests) / got.Took.Seconds())
	m.failed += got.Failed
	if rss, err := child.RSS(fmt.Sprint(s.process.Pid())); err == nil {
		m.rss = float64(rss)
	}
	return nil
}

func print(o Options, subjects []*subject, results []measured, out io.Writer) error {
	fmt.Fprintf(out, "Gateway: %d requests/s over %d connections, answers of %d bytes, %d turns of %s each; medians of turns.\n\n",
		o.Rate, o.Connections, o.Body, o.Rounds, o.For)
	t := &report.Table{}
	for _, s := range subjects {
		t.Columns = append(t.Columns, s.name)
	}
	t.Columns[0] = fmt.Sprintf("%s, %d routes", subjects[0].name, o.Routes)
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
