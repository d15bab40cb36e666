package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmesh/weir/cmd/weir/internal/cli"
	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/internal/testkube"
)

func TestMain(m *testing.M) {
	// Some tests need weir as a process: to be another user, or to be killed.
	if os.Getenv("WEIR_CLI_TEST_CHILD") != "" {
		ctx, force, release := run.Signals(context.Background(), os.Interrupt, syscall.SIGTERM)
		w := cli.Main{Version: "test", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv, Force: force, Executable: executable()}
		code := w.Run(ctx, os.Args[1:])
		release()
		os.Exit(code)
	}
	testkube.Main(m)
}

// executable is where make build puts weir: its siblings are found there.
func executable() string {
	if path := os.Getenv("WEIR_CLI_TEST_EXECUTABLE"); path != "" {
		return path
	}
	return filepath.Join(home, "..", "..", "..", "..", "bin", "weir")
}

// home is where the tests start, which is their package's directory.
var home = func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return dir
}()

// weir is one run of the command line.
type weir struct {
	out, errs *output
	force     context.CancelFunc
	cancel    context.CancelFunc
	done      chan struct{}
	code      int // once done
}

// start runs weir with arguments; it is ended with the test.
func start(t *testing.T, env map[string]string, args ...string) *weir {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	force, forceEnd := context.WithCancel(context.Background())
	w := &weir{out: newOutput(), errs: newOutput(), cancel: cancel, force: forceEnd, done: make(chan struct{})}
	m := cli.Main{
		Version: "test", Stdin: strings.NewReader(""), Stdout: w.out, Stderr: w.errs, Force: force, Executable: executable(),
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}
	go func() {
		defer close(w.done)
		w.code = m.Run(ctx, args)
	}()
	t.Cleanup(func() {
		cancel()
		<-w.done
		forceEnd()
		if t.Failed() {
			t.Logf("weir %s wrote\n%s%s", strings.Join(args, " "), w.out, w.errs)
		}
	})
	return w
}

// do runs weir to its end.
func do(t *testing.T, env map[string]string, args ...string) (code int, out, errs string) {
	t.Helper()
	w := start(t, env, args...)
	w.wait(t)
	return w.code, w.out.String(), w.errs.String()
}

func (w *weir) wait(t *testing.T) {
	t.Helper()
	select {
	case <-w.done:
	case <-time.After(testkube.Deadline):
		t.Fatalf("weir did not end; it wrote\n%s%s", w.out, w.errs)
	}
}

// says waits until standard output holds text.
func (w *weir) says(t *testing.T, text string) {
	t.Helper()
	w.waitFor(t, w.out, text)
}

// complains waits until standard error holds text.
func (w *weir) complains(t *testing.T, text string) {
	t.Helper()
	w.waitFor(t, w.errs, text)
}

func (w *weir) waitFor(t *testing.T, on *output, text string) {
	t.Helper()
	deadline := time.After(testkube.Deadline)
	for {
		have, more := on.state()
		if strings.Contains(have, text) {
			return
		}
		select {
		case <-more:
		case <-w.done:
			if !strings.Contains(on.String(), text) {
				t.Fatalf("weir ended without saying %q; it wrote\n%s%s", text, w.out, w.errs)
			}
			return
		case <-deadline:
			t.Fatalf("weir does not say %q; it wrote\n%s%s", text, w.out, w.errs)
		}
	}
}

// output keeps what was written and tells of more.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{}
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.buf.Write(p)
}

func (o *output) state() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String(), o.more
}

func (o *output) String() string {
	s, _ := o.state()
	return s
}
