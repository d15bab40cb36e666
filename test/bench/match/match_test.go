//go:build linux

package match

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

const printed = `goos: linux
pkg: github.com/weirmesh/weir/gateway/proxy
BenchmarkMatch/table/10-2     1000  300 ns/op   0 B/op  0 allocs/op
BenchmarkMatch/table/10-2     1000  100 ns/op   0 B/op  0 allocs/op
BenchmarkMatch/table/10-2     1000  200 ns/op   0 B/op  0 allocs/op
BenchmarkMatch/linear/10      1000  1000 ns/op  0 B/op  0 allocs/op
BenchmarkChange/10-2          1000  1.5 ns/op   64 B/op 2 allocs/op
PASS
`

func TestOutputOfGoTestIsRead(t *testing.T) {
	got, err := parse(strings.NewReader(printed))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("%d benchmarks, want 3", len(got))
	}
	table := got["Match/table/10"]
	if table == nil || table.time.Len() != 3 || table.time.Median() != 200 || table.allocs.Median() != 0 {
		t.Errorf("table: %+v", table)
	}
	if linear := got["Match/linear/10"]; linear == nil || linear.time.Median() != 1000 {
		t.Errorf("a name without processors: %+v", linear)
	}
	if change := got["Change/10"]; change == nil || change.time.Median() != 1.5 || change.bytes.Median() != 64 {
		t.Errorf("change: %+v", change)
	}
	if _, err := parse(strings.NewReader("BenchmarkMatch/table/10-2 1 many ns/op 0 B/op")); err == nil {
		t.Error("a number that is none was read")
	}
}

func TestReportComparesWithTheTable(t *testing.T) {
	var text strings.Builder
	for _, n := range sizes {
		fmt.Fprintf(&text, "BenchmarkMatch/table/%d-2 1 200 ns/op 0 B/op 0 allocs/op\n", n)
		fmt.Fprintf(&text, "BenchmarkMatch/linear/%d-2 1 %d ns/op 0 B/op 0 allocs/op\n", n, n*100)
		fmt.Fprintf(&text, "BenchmarkChange/%d-2 1 500 ns/op 64 B/op 2 allocs/op\n", n)
	}
	results, err := parse(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := table(Options{Rounds: 1}, results, &out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		if strings.Contains(line, "multiple") {
			if got := strings.Fields(line)[5:]; strings.Join(got, " ") != "5 500 50,000" {
				t.Errorf("multiples %q", got)
			}
			return
		}
	}
	t.Errorf("nothing is compared:\n%s", &out)
}

func TestMissingBenchmarkIsNoResult(t *testing.T) {
	results, err := parse(strings.NewReader(printed))
	if err != nil {
		t.Fatal(err)
	}
	if err := table(Options{Rounds: 1}, results, io.Discard); err == nil || !strings.Contains(err.Error(), "1000") {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	if o, err := ParseOptions(nil, io.Discard); err != nil || o.Rounds != 3 {
		t.Errorf("defaults: %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-rounds", "0"}, {"-for", "0s"}, {"-unknown"}} {
		if _, err := ParseOptions(args, io.Discard); err == nil {
			t.Errorf("%q were taken", args)
		}
	}
}
