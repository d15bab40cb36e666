//go:build linux

// Package breaker compares what a guarded call costs with Weir's engine, with
// hystrix-go and with gobreaker, in turns in one process.
package breaker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/afex/hystrix-go/hystrix"
	"github.com/sony/gobreaker/v2"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/test/bench/report"
	"github.com/weirmesh/weir/test/bench/sample"
)

// Options say how to measure.
type Options struct{ Rounds int }

// ParseOptions reads flags; help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("breaker", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.IntVar(&o.Rounds, "rounds", 3, "turns of each")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.Rounds < 1 {
		return o, errors.New("-rounds is at least 1")
	}
	return o, nil
}

// subject makes guarded calls that succeed at once.
type subject struct {
	name string
	make func() func() error
}

const name = "bench"

func subjects() []subject {
	nothing := func(context.Context) (int, error) { return 1, nil }
	weir := func(policies ...governance.Version) func() func() error {
		return func() func() error {
			set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "bench", Name: "caller"}})
			c := set.Circuit(governance.Series{Command: name, At: governance.Caller, Peer: governance.App{Namespace: "bench", Name: "callee"}})
			if err := set.Apply(policies, 0); err != nil {
				return func() error { return err }
			}
			ctx := context.Background()
			return func() error {
				_, err := breaker.Do(ctx, c, nothing)
				return err
			}
		}
	}
	timeout := governance.Version{Version: 1, Policy: governance.Policy{
		Namespace: "bench", Name: "timeout", Kind: governance.KindPolicy,
		Target: governance.Target{App: governance.App{Namespace: "bench", Name: "callee"}, At: governance.Caller},
		Rules:  governance.Rules{Timeout: governance.Duration(1e9), Bulkhead: &governance.Bulkhead{Concurrent: 1000}},
	}}
	return []subject{
		{"Weir", weir()},
		{"Weir, timeout and bulkhead", weir(timeout)},
		{"hystrix-go", func() func() error {
			hystrix.ConfigureCommand(name, hystrix.CommandConfig{Timeout: 1000, MaxConcurrentRequests: 100_000, RequestVolumeThreshold: 20, SleepWindow: 5000, ErrorPercentThreshold: 50})
			ctx := context.Background()
			return func() error {
				return hystrix.DoC(ctx, name, func(context.Context) error { return nil }, nil)
			}
		}},
		{"gobreaker", func() func() error {
			cb := gobreaker.NewCircuitBreaker[int](gobreaker.Settings{Name: name})
			return func() error {
				_, err := cb.Execute(func() (int, error) { return 1, nil })
				return err
			}
		}},
	}
}

type measured struct{ serial, parallel, allocs, bytes sample.Set }

// Run measures and prints.
func Run(ctx context.Context, o Options, out, progress io.Writer) error {
	all := subjects()
	results := make([]measured, len(all))
	for round := range o.Rounds {
		for i, s := range all {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, o.Rounds, s.name)
			if err := results[i].turn(s.make()); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	t := &report.Table{}
	for _, s := range all {
		t.Columns = append(t.Columns, s.name)
	}
	row := func(title string, unit report.Unit, value func(*measured) float64) {
		values := make([]float64, len(results))
		for i := range results {
			values[i] = value(&results[i])
		}
		t.RowAlone(title, unit, values...)
	}
	row("one goroutine", report.Time, func(m *measured) float64 { return m.serial.Median() })
	row("  as a multiple of Weir's", report.Number, func(m *measured) float64 { return m.serial.Median() / results[0].serial.Median() })
	row("all processors at once", report.Time, func(m *measured) float64 { return m.parallel.Median() })
	row("  as a multiple of Weir's", report.Number, func(m *measured) float64 { return m.parallel.Median() / results[0].parallel.Median() })
	row("allocations", report.Number, func(m *measured) float64 { return m.allocs.Median() })
	row("bytes allocated", report.Size, func(m *measured) float64 { return m.bytes.Median() })
	fmt.Fprintf(out, "Breaker: one guarded call that succeeds at once; medians of %d turns.\n\n", o.Rounds)
	return t.Write(out)
}

// turn measures a call in one goroutine and in as many as there are processors.
func (m *measured) turn(call func() error) error {
	var failed error
	serial := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := call(); err != nil {
				failed = err
			}
		}
	})
	parallel := testing.Benchmark(func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(); err != nil && !errors.Is(err, hystrix.ErrMaxConcurrency) {
					b.Error(err)
				}
			}
		})
	})
	if failed != nil {
		return failed
	}
	if serial.N == 0 || parallel.N == 0 {
		return errors.New("nothing was measured")
	}
	m.serial.Add(float64(serial.T.Nanoseconds()) / float64(serial.N))
	m.parallel.Add(float64(parallel.T.Nanoseconds()) / float64(parallel.N))
	m.allocs.Add(math.Round(float64(serial.MemAllocs) / float64(serial.N)))
	m.bytes.Add(float64(serial.MemBytes) / float64(serial.N))
	return nil
}
