package report

import (
	"math"
	"strings"
	"testing"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit Unit
		want string
	}{
		{0, Number, "0"},
		{75, Number, "75"},
		{1.004, Number, "1.00"},
		{0.05, Number, "0.050"},
		{99.96, Number, "100"},
		{1234567, Number, "1,234,567"},
		{-1234, Number, "-1,234"},
		{850, Time, "850 ns"},
		{999.6, Time, "1.00 µs"},
		{7_912_345, Time, "7.91 ms"},
		{21_400_000, Time, "21.4 ms"},
		{182_000_000, Time, "182 ms"},
		{3_071_000_000, Time, "3.07 s"},
		{5400 * 1e9, Time, "5,400 s"},
		{-250_000, Time, "-250 µs"},
		{300, Size, "300 B"},
		{5488, Size, "5.36 KiB"},
		{209 << 20, Size, "209 MiB"},
		{math.NaN(), Time, "–"},
		{math.Inf(1), Number, "∞"},
	} {
		if got := Format(c.v, c.unit); got != c.want {
			t.Errorf("Format(%g, %d) = %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	table := Table{Columns: []string{"ours", "theirs", "half of ours"}, Compare: "theirs/ours"}
	table.Section("Latency of a change, from far to near")
	table.Row("p50", Time, 2e6, 8e6, 1e6)
	table.Row("p99", Time, 3e6, math.NaN(), 2e6)
	table.Section("Faults")
	table.Row("none on either side", Number, 0, 0, 0)
	table.Row("none on ours", Number, 0, 3, 0)
	table.RowAlone("server", Size, 1<<20, 2<<20, math.NaN())
	var b strings.Builder
	if err := table.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `
                        ours  theirs  half of ours  theirs/ours
Latency of a change, from far to near
  p50                   2 ms    8 ms          1 ms           4×
  p99                   3 ms       –          2 ms
Faults
  none on either side      0       0             0
  none on ours             0       3             0            ∞
  server               1 MiB   2 MiB             –
`
	if got := b.String(); got != want[1:] {
		t.Errorf("got\n%s\nwant\n%s", got, want[1:])
	}
}
