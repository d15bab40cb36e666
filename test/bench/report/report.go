// Package report lays measured numbers out for a reader.
package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/weirmesh/weir/test/bench/sample"
)

// Unit is how a number is to be read.
type Unit int

// Units. Times are given in nanoseconds and sizes in bytes.
const (
	Number Unit = iota
	Time
	Size
)

// Format writes a number of a unit with three significant digits; a missing one
// (NaN) as a dash.
func Format(v float64, u Unit) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 0):
		return "∞"
	}
	switch u {
	case Time:
		return scaled(v, 1000, "ns", "µs", "ms", "s")
	case Size:
		return scaled(v, 1024, "B", "KiB", "MiB", "GiB")
	default:
		return digits(v)
	}
}

func scaled(v, step float64, units ...string) string {
	i := 0
	for i < len(units)-1 && math.Abs(v) >= step*0.9995 {
		v /= step
		i++
	}
	return digits(v) + " " + units[i]
}

// digits writes three significant digits, and whole numbers from 100 on with
// their thousands apart.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 99.95:
		return grouped(int64(math.Round(v)))
	case v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.0995:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

func grouped(n int64) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Table is rows of numbers under named columns.
type Table struct {
	// Columns name the values of a row.
	Columns []string
	// Compare, when set, adds a column that says how many times the first
	// column's value the second's is.
	Compare string
	rows    []row
}

type row struct {
	title  string
	unit   Unit
	values []float64
	ratio  bool
}

// Section begins a group of rows.
func (t *Table) Section(title string) { t.rows = append(t.rows, row{title: title}) }

// Row adds values, one for each column; NaN where there is none.
func (t *Table) Row(title string, unit Unit, values ...float64) {
	t.rows = append(t.rows, row{title: title, unit: unit, values: values, ratio: true})
}

// RowAlone adds values that are not to be compared.
func (t *Table) RowAlone(title string, unit Unit, values ...float64) {
	t.rows = append(t.rows, row{title: title, unit: unit, values: values})
}

// Write prints the table.
func (t *Table) Write(w io.Writer) error {
	header := append([]string{""}, t.Columns...)
	if t.Compare != "" {
		header = append(header, t.Compare)
	}
	lines := [][]string{header}
	for _, r := range t.rows {
		if r.values == nil {
			lines = append(lines, []string{r.title})
			continue
		}
		line := []string{"  " + r.title}
		for _, v := range r.values {
			line = append(line, Format(v, r.unit))
		}
		if t.Compare != "" {
			line = append(line, ratio(r))
		}
		lines = append(lines, line)
	}
	widths := make([]int, len(header))
	for _, line := range lines {
		if len(line) == 1 {
			continue // a section may run over its neighbours
		}
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

func ratio(r row) string {
	if !r.ratio || len(r.values) < 2 {
		return ""
	}
	switch v := sample.Ratio(r.values[1], r.values[0]); {
	case math.IsNaN(v):
		return "" // nothing to compare
	case math.IsInf(v, 0):
		return "∞"
	default:
		return digits(v) + "×"
	}
}
