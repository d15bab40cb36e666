package reference

import (
	"fmt"
	"strings"
)

// page is a Markdown page as it is written.
type page struct{ b strings.Builder }

// newPage begins a page, which says first where it comes from.
func newPage(title, intro string) *page {
	p := &page{}
	p.linef("# %s", title)
	p.text("<!-- Made from the code by `make generate`. Mend the code, not this page. -->")
	p.text(intro)
	return p
}

func (p *page) String() string { return strings.TrimRight(p.b.String(), "\n") + "\n" }

func (p *page) linef(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// text adds a paragraph, or several.
func (p *page) text(s string) {
	if s = strings.TrimSpace(s); s != "" {
		p.linef("\n%s", s)
	}
}

func (p *page) heading(level int, title string) {
	p.linef("\n%s %s", strings.Repeat("#", level), title)
}

func (p *page) code(language, s string) {
	p.linef("\n```%s\n%s\n```", language, strings.Trim(s, "\n"))
}

// table adds a table; none without rows.
func (p *page) table(header []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.linef("\n| %s |", strings.Join(header, " | "))
	p.linef("|%s", strings.Repeat("---|", len(header)))
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for _, cell := range row {
			cells = append(cells, strings.TrimSpace(cell))
		}
		p.linef("| %s |", strings.Join(cells, " | "))
	}
}

// inCell makes a text fit into one cell of a table.
var inCell = strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "*", `\*`)

func cell(s string) string { return inCell.Replace(strings.TrimSpace(s)) }

// word sets something as code; nothing stays nothing.
func word(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

// anchor is what GitHub makes of a heading, for links within a page.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-', r == '_', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		}
	}
	return b.String()
}
