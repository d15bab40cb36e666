//go:build linux

package turns

import (
	"context"
	"flag"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/load"
)

// TestMain makes this test binary the sender and the server that it starts.
func TestMain(m *testing.M) {
	switch child.Role() {
	case load.Role:
		if err := load.Run(); err != nil {
			panic(err)
		}
	case "server":
		if err := child.Serve(map[string]child.Handler{"serve": child.Handle(serve)}); err != nil {
			panic(err)
		}
	default:
		m.Run()
	}
}

func serve(int) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "here")
	})}
	go func() { _ = srv.Serve(l) }()
	return l.Addr().String(), nil
}

func subject(t *testing.T, name string) *Subject {
	t.Helper()
	p, err := child.Start("server", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	s := &Subject{Name: name, Process: p}
	if err := p.Call(t.Context(), "serve", 0, &s.Address); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSubjectsTakeTurns(t *testing.T) {
	one, other := subject(t, "one"), subject(t, "other")
	var out, progress strings.Builder
	o := Options{Rate: 200, Connections: 4, Rounds: 2, For: time.Second}
	if err := Take(t.Context(), o, t.TempDir(), "/", []*Subject{one, other}, &out, &progress); err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(progress.String(), "\n", "; "); got != "round 1 of 2: one; round 1 of 2: other; round 2 of 2: other; round 2 of 2: one; " {
		t.Errorf("turns: %s", got)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		for _, title := range []string{"processor time per request", "requests per second", "failed"} {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), title); ok {
				rows[title] = strings.Fields(rest)
			}
		}
	}
	if failed := rows["failed"]; strings.Join(failed, " ") != "0 0" {
		t.Errorf("failed: %v\n%s", failed, &out)
	}
	if len(rows["processor time per request"]) != 4 || len(rows["requests per second"]) != 2 { // each with a unit
		t.Errorf("rows %v\n%s", rows, &out)
	}
}

func TestSubjectThatDiedIsNotWaitedFor(t *testing.T) {
	s := subject(t, "one")
	s.Process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Ready(ctx, "/"); err == nil || ctx.Err() != nil {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	var o Options
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.Flags(fs, 700)
	if err := fs.Parse([]string{"-rounds", "2"}); err != nil {
		t.Fatal(err)
	}
	if o.Validate() != nil || o.Rate != 700 || o.Rounds != 2 || o.Connections < 1 {
		t.Errorf("got %+v", o)
	}
	for _, bad := range []Options{{Connections: 1, Rounds: 1, For: time.Second}, {Rate: 1, Rounds: 1, For: time.Second}, {Rate: 1, Connections: 1, For: time.Second}, {Rate: 1, Connections: 1, Rounds: 1}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
