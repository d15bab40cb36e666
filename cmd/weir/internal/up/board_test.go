package up

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// screen plays a terminal: it knows "up n lines, clear to the end".
func screen(t *testing.T, written string) string {
	t.Helper()
	var lines []string
	for written != "" {
		if rest, ok := strings.CutPrefix(written, "\x1b["); ok {
			n := 0
			for rest[0] != 'A' {
				n = n*10 + int(rest[0]-'0')
				rest = rest[1:]
			}
			if rest, ok = strings.CutPrefix(rest, "A\r\x1b[J"); !ok {
				t.Fatalf("unknown control sequence before %q", rest)
			}
			if n > len(lines) {
				t.Fatalf("moved up %d lines of %d", n, len(lines))
			}
			lines = lines[:len(lines)-n]
			written = rest
			continue
		}
		line, rest, ok := strings.Cut(written, "\n")
		if !ok {
			t.Fatalf("a line without an end: %q", line)
		}
		lines = append(lines, line)
		written = rest
	}
	return strings.Join(lines, "\n")
}

func TestBoardAtATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := newBoard(&out, func() int { return 40 }, "postgres", "kubernetes")
		b.set("postgres", "starting", "")
		b.set("kubernetes", "starting", "node starting")
		time.Sleep(3 * time.Second) //nolint:forbidigo // it is the time of the bubble
		b.set("postgres", "ready", "127.0.0.1:5433")
		b.say("  warn: something")
		want := "  warn: something\n  postgres    ready     127.0.0.1:5433\n  kubernetes  starting  node starting …"
		if got := screen(t, out.String()); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		b.set("kubernetes", "ready", "v1")
		b.settle()
		b.show("20 orders/s")
		b.show("21 orders/s")
		b.set("kubernetes", "mending", "node starting")
		b.show("0 orders/s")
		want = "  warn: something\n  postgres    ready     127.0.0.1:5433\n  kubernetes  ready     v1\n  kubernetes  mending   node starting\n0 orders/s"
		if got := screen(t, out.String()); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		b.end()
		b.say("ending")
		if got := screen(t, out.String()); !strings.HasSuffix(got, "node starting\nending") {
			t.Errorf("the status line was left standing:\n%s", got)
		}
	})
}

func TestBoardWithoutATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := newBoard(&out, nil, "postgres", "kubernetes")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.run(ctx) }()
		b.set("kubernetes", "starting", "")
		b.detail("kubernetes", "node starting") // progress is no line of its own
		b.set("kubernetes", "starting", "node starting")
		time.Sleep(70 * time.Second) //nolint:forbidigo // it is the time of the bubble
		b.set("kubernetes", "ready", "v1")
		b.settle()
		for range 61 { // a status a second is a line each half minute
			b.show("20 orders/s")
			time.Sleep(time.Second) //nolint:forbidigo // it is the time of the bubble
		}
		cancel()
		<-done
		want := "  kubernetes  starting\n" +
			"  kubernetes  starting  node starting  30s\n" +
			"  kubernetes  starting  node starting  60s\n" +
			"  kubernetes  ready     v1\n" +
			strings.Repeat("20 orders/s\n", 3)
		if out.String() != want {
			t.Errorf("got\n%s\nwant\n%s", out.String(), want)
		}
	})
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"short", 80, "short"},
		{"abcdefgh", 6, "abcd…"},
		{"ääääääää", 6, "ääää…"},
		{"abc", 0, "abc"},
	} {
		if got := cut(c.line, c.width); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.line, c.width, got, c.want)
		}
	}
}
