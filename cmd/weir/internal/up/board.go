package up

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// How often a reader who has no terminal is told that something still goes on,
// and how often the status is written there.
const (
	stillEvery  = 30 * time.Second
	statusEvery = 30 * time.Second
)

// board shows one line for each part, and one status line. At a terminal the
// lines are drawn again in place; elsewhere each change of a state is a line of
// its own. Methods are safe for concurrent use.
type board struct {
	out io.Writer
	// width returns the terminal's columns; nil where there is no terminal.
	width func() int
	now   func() time.Time

	mu     sync.Mutex
	parts  []*partLine
	drawn  int // lines on the screen that the next drawing replaces
	status string
	// settled: all parts were ready once; their lines have been left standing,
	// and only the status line is drawn in place.
	settled  bool
	statusAt time.Time // when the status was last written without a terminal
}

type partLine struct {
	name, state, detail string
	since               time.Time // when the state began
	told                time.Time // when a reader without a terminal last heard of it
}

func newBoard(out io.Writer, width func() int, names ...string) *board {
	b := &board{out: out, width: width, now: time.Now}
	for _, name := range names {
		b.parts = append(b.parts, &partLine{name: name, state: "waiting", since: b.now()})
	}
	return b
}

// set shows a part's state; an empty detail keeps none.
func (b *board) set(name, state, detail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.parts, func(p *partLine) bool { return p.name == name })
	if i < 0 {
		return // a part without a line of its own
	}
	p := b.parts[i]
	changed := p.state != state
	if !changed && p.detail == detail {
		return
	}
	if changed {
		p.since = b.now()
	}
	p.state, p.detail = state, detail
	switch {
	case b.settled && changed, b.width == nil && changed:
		p.told = b.now()
		b.line(b.format(p))
	case !b.settled:
		b.draw()
	}
}

// detail changes what is said about a part in the state it is in.
func (b *board) detail(name, detail string) {
	b.mu.Lock()
	i := slices.IndexFunc(b.parts, func(p *partLine) bool { return p.name == name })
	if i < 0 {
		b.mu.Unlock()
		return
	}
	state := b.parts[i].state
	b.mu.Unlock()
	b.set(name, state, detail)
}

// say writes lines that stay.
func (b *board) say(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.line(text)
}

// settle leaves the parts' lines standing and goes over to the status line.
func (b *board) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settled {
		return
	}
	b.draw()
	b.settled, b.drawn = true, 0
}

// show sets the status line.
func (b *board) show(status string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = status
	if b.width != nil {
		b.draw()
		return
	}
	if now := b.now(); b.statusAt.IsZero() || now.Sub(b.statusAt) >= statusEvery {
		b.statusAt = now
		b.line(status)
	}
}

// end takes the status line away, so that what follows starts on a clean line.
func (b *board) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settled {
		b.clear()
	}
	b.settled, b.drawn, b.status = true, 0, ""
}

// run draws again while time passes, until ctx ends.
func (b *board) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b.mu.Lock()
		switch {
		case b.settled:
		case b.width != nil:
			b.draw()
		default:
			for _, p := range b.parts {
				if p.state == "starting" && b.now().Sub(p.since) >= stillEvery && b.now().Sub(p.told) >= stillEvery {
					p.told = b.now()
					b.line(b.format(p))
				}
			}
		}
		b.mu.Unlock()
	}
}

// line writes a line above what is drawn in place.
func (b *board) line(text string) {
	b.clear()
	fmt.Fprintln(b.out, text)
	b.draw()
}

// clear takes away what was drawn in place.
func (b *board) clear() {
	if b.width == nil || b.drawn == 0 {
		return
	}
	fmt.Fprintf(b.out, "\x1b[%dA\r\x1b[J", b.drawn)
	b.drawn = 0
}

// draw draws in place, if there is a place.
func (b *board) draw() {
	if b.width == nil {
		return
	}
	var lines []string
	if !b.settled {
		for _, p := range b.parts {
			lines = append(lines, b.format(p))
		}
	} else if b.status != "" {
		lines = append(lines, b.status)
	}
	b.clear()
	var out strings.Builder
	for _, l := range lines {
		out.WriteString(cut(l, b.width()))
		out.WriteByte('\n')
	}
	io.WriteString(b.out, out.String()) //nolint:errcheck // nobody is left to be told
	b.drawn = len(lines)
}

func (b *board) format(p *partLine) string {
	name := 0
	for _, o := range b.parts {
		name = max(name, len(o.name))
	}
	text := fmt.Sprintf("  %-*s  %-8s", name, p.name, p.state)
	if p.detail != "" {
		text += "  " + p.detail
	}
	if took := b.now().Sub(p.since); p.state == "starting" && took >= time.Second {
		text += fmt.Sprintf("  %ds", int(took.Seconds()))
	}
	return strings.TrimRight(text, " ")
}

// cut shortens a line to the terminal's width, so that it stays one line.
func cut(line string, width int) string {
	if width <= 1 || utf8.RuneCountInString(line) < width {
		return line
	}
	return string([]rune(line)[:width-2]) + "…"
}
