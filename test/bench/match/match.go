//go:build linux

// Package match prints what it costs the gateway to find a request's route, beside
// a linear scan of the same routes, and to change one route. The table belongs to
// gateway/proxy alone, so the benchmarks are those of that package, which is built
// and run as its tests are.
package match

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weirmesh/weir/test/bench/report"
	"github.com/weirmesh/weir/test/bench/sample"
)

// Options say how to measure.
type Options struct {
	Rounds int
	For    time.Duration
}

// ParseOptions reads flags; help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("match", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.IntVar(&o.Rounds, "rounds", 3, "turns of each")
	fs.DurationVar(&o.For, "for", 300*time.Millisecond, "length of a turn")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.Rounds < 1 || o.For <= 0 {
		return o, errors.New("-rounds is at least 1, -for above 0")
	}
	return o, nil
}

// module is whose root the tests are run in: they may need what this module does
// not.
const module = "github.com/weirmesh/weir"

// Run measures and prints.
func Run(ctx context.Context, o Options, out, progress io.Writer) error {
	root, err := command(ctx, progress, "", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "building and running the benchmarks of gateway/proxy, %d turns\n", o.Rounds)
	text, err := command(ctx, progress, strings.TrimSpace(root), "test", "-run", "^$", "-bench", "^Benchmark(Match|Change)$",
		"-benchmem", "-benchtime", o.For.String(), "-count", strconv.Itoa(o.Rounds), "./gateway/proxy/")
	if err != nil {
		return err
	}
	results, err := parse(strings.NewReader(text))
	if err != nil {
		return err
	}
	return table(o, results, out)
}

// command runs the go command in a directory and returns what it printed. When ctx
// ends, the command and what it started end too.
func command(ctx context.Context, progress io.Writer, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = dir, progress
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, text)
	}
	return string(text), nil
}

// measured is one benchmark of all turns.
type measured struct{ time, bytes, allocs sample.Set }

// parse reads the output of go test -bench -benchmem, by the benchmarks' names
// without the number of processors.
func parse(in io.Reader) (map[string]*measured, error) {
	results := map[string]*measured{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 {
			continue
		}
		name, ok := strings.CutPrefix(fields[0], "Benchmark")
		if !ok {
			continue
		}
		if i := strings.LastIndexByte(name, '-'); i >= 0 {
			name = name[:i]
		}
		m := results[name]
		if m == nil {
			m = &measured{}
			results[name] = m
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", lines.Text(), err)
			}
			switch fields[i+1] {
			case "ns/op":
				m.time.Add(v)
			case "B/op":
				m.bytes.Add(v)
			case "allocs/op":
				m.allocs.Add(v)
			}
		}
	}
	return results, lines.Err()
}

// sizes are those of gateway/proxy's benchmarks.
var sizes = []int{10, 1000, 100_000}

func table(o Options, results map[string]*measured, out io.Writer) error {
	t := &report.Table{}
	for _, n := range sizes {
		t.Columns = append(t.Columns, report.Format(float64(n), report.Number)+" routes")
	}
	var missing error
	row := func(title, name string, unit report.Unit, value func(*measured) *sample.Set) []float64 {
		values := make([]float64, 0, len(sizes))
		for _, n := range sizes {
			m := results[fmt.Sprintf(name, n)]
			if m == nil || value(m).Len() == 0 {
				missing = fmt.Errorf("gateway/proxy told nothing of benchmark "+name+" (%s)", n, title)
				values = append(values, math.NaN())
				continue
			}
			values = append(values, value(m).Median())
		}
		t.RowAlone(title, unit, values...)
		return values
	}
	took := func(m *measured) *sample.Set { return &m.time }
	allocs := func(m *measured) *sample.Set { return &m.allocs }
	t.Section("one request's route found")
	weir := row("Weir's table", "Match/table/%d", report.Time, took)
	row("  allocations", "Match/table/%d", report.Number, allocs)
	linear := row("linear scan", "Match/linear/%d", report.Time, took)
	row("  allocations", "Match/linear/%d", report.Number, allocs)
	ratios := make([]float64, len(sizes))
	for i := range ratios {
		ratios[i] = sample.Ratio(linear[i], weir[i])
	}
	t.RowAlone("  as a multiple of Weir's", report.Number, ratios...)
	t.Section("one route replaced in Weir's table")
	row("time", "Change/%d", report.Time, took)
	row("  allocated", "Change/%d", report.Size, func(m *measured) *sample.Set { return &m.bytes })
	if missing != nil {
		return missing
	}
	fmt.Fprintf(out, "Match: host, path with two variables, method and header; the linear scan stops at the first that matches. Medians of %d turns.\n\n", o.Rounds)
	return t.Write(out)
}
