package snapshot

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/gatewaytest"
	"github.com/weirmesh/weir/gateway/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a source that can be away.
type store struct {
	*memory.Store
	mu   sync.Mutex
	away bool
}

var errAway = &gateway.Error{Code: gateway.Unavailable, Message: "away"}

func (s *store) set(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *store) Since(ctx context.Context, rev gateway.Revision) (gateway.Delta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return gateway.Delta{}, errAway
	}
	return s.Store.Since(ctx, rev)
}

func newStore() *store { return &store{Store: memory.New(memory.Options{})} }

func put(t *testing.T, s gateway.Store, writes ...gateway.Write) {
	t.Helper()
	if _, err := s.Apply(t.Context(), writes, gatewaytest.Because("test")); err != nil {
		t.Fatal(err)
	}
}

// gatewayOf is one life of a gateway.
func gatewayOf(t *testing.T, s gateway.Source, path string, log *slog.Logger) *Source {
	t.Helper()
	src := New(s, path, Options{Log: log, Every: time.Millisecond})
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func read1(t *testing.T, s gateway.Source, state *gateway.State) gateway.Delta {
	t.Helper()
	d, err := s.Since(t.Context(), state.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if !state.Apply(d) {
		t.Fatalf("the checksum does not fit at %d", d.Revision)
	}
	return d
}

func TestAGatewayStartsWithoutItsStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "routes.snapshot")
	s := newStore()
	put(t, s, gatewaytest.Put("n", "a", "1"), gatewaytest.Put("n", "b", "1"))

	first := gatewayOf(t, s, path, nil)
	var state gateway.State
	read1(t, first, &state)
	put(t, s, gatewaytest.Put("n", "a", "2"), gatewaytest.Delete("n", "b"), gatewaytest.Put("n", "c", "1"))
	read1(t, first, &state)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	s.set(true)
	var log bytes.Buffer
	second := gatewayOf(t, s, path, slog.New(slog.NewTextHandler(&log, nil)))
	var again gateway.State
	d := read1(t, second, &again)
	if !d.Full || again.Checksum() != state.Checksum() || again.Revision != 2 || len(again.Routes) != 2 {
		t.Errorf("got %+v", d)
	}
	a := again.Routes[gateway.Key{Namespace: "n", Name: "a"}]
	if !gateway.Equal(a.Route, gatewaytest.Route("n", "a", "2")) || a.Actor != "user:kit" || a.Reason != "test" {
		t.Errorf("got %+v", a)
	}
	if !strings.Contains(log.String(), "snapshot") || !strings.Contains(log.String(), "revision=2") {
		t.Errorf("the log says %s", log.String())
	}
	// Once answered, what cannot be read is an error that changes nothing.
	if _, err := second.Since(t.Context(), again.Revision); !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
	if _, err := second.Since(t.Context(), 0); !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
	// The store is back, and the gateway goes on from the file's revision.
	s.set(false)
	put(t, s, gatewaytest.Put("n", "d", "1"))
	if d := read1(t, second, &again); d.Full || len(d.Routes) != 1 {
		t.Errorf("got %+v", d)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := read(path); err != nil || c.Revision != 3 || len(c.Routes) != 3 {
		t.Errorf("on disk: %+v, %v", c, err)
	}
}

func TestTheStoreGoesBeforeTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.snapshot")
	old := newStore()
	put(t, old, gatewaytest.Put("n", "old", "1"))
	var state gateway.State
	first := gatewayOf(t, old, path, nil)
	read1(t, first, &state)
	_ = first.Close()

	other := newStore() // another database
	put(t, other, gatewaytest.Put("n", "new", "1"))
	var now gateway.State
	second := gatewayOf(t, other, path, nil)
	read1(t, second, &now)
	_ = second.Close()
	if c, err := read(path); err != nil || len(c.Routes) != 1 || c.Routes[0].Route.Name != "new" {
		t.Errorf("on disk: %+v, %v", c, err)
	}
}

func TestWithoutFileAndStoreThereIsAnError(t *testing.T) {
	s := newStore()
	s.set(true)
	src := gatewayOf(t, s, filepath.Join(t.TempDir(), "none"), nil)
	if _, err := src.Since(t.Context(), 0); !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
	// It is asked again, and the file stays out of it.
	s.set(false)
	var state gateway.State
	if d := read1(t, src, &state); !d.Full {
		t.Errorf("got %+v", d)
	}
}

func TestAnEmptyTableIsATableToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.snapshot")
	s := newStore()
	put(t, s, gatewaytest.Put("n", "a", "1"))
	put(t, s, gatewaytest.Delete("n", "a"))
	var state gateway.State
	src := gatewayOf(t, s, path, nil)
	read1(t, src, &state)
	_ = src.Close()
	s.set(true)
	var again gateway.State
	if d := read1(t, gatewayOf(t, s, path, nil), &again); d.Revision != 2 || len(d.Routes) != 0 {
		t.Errorf("got %+v", d)
	}
}

func TestASlowStoreDoesNotHoldUpTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.snapshot")
	s := newStore()
	put(t, s, gatewaytest.Put("n", "a", "1"))
	var state gateway.State
	src := gatewayOf(t, s, path, nil)
	read1(t, src, &state)
	_ = src.Close()
	slow := New(hanging{s}, path, Options{Patience: time.Millisecond})
	defer slow.Close()
	var again gateway.State
	if d := read1(t, slow, &again); d.Revision != 1 {
		t.Errorf("got %+v", d)
	}
}

// hanging never answers.
type hanging struct{ gateway.Source }

func (hanging) Since(ctx context.Context, _ gateway.Revision) (gateway.Delta, error) {
	<-ctx.Done()
	return gateway.Delta{}, context.Cause(ctx)
}

func TestABadFileIsSetAside(t *testing.T) {
	s := newStore()
	put(t, s, gatewaytest.Put("n", "a", "1"))
	d, err := s.Since(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	good, err := encode(content{Revision: d.Revision, Checksum: d.Checksum, Routes: d.Routes})
	if err != nil {
		t.Fatal(err)
	}
	other, err := encode(content{Revision: d.Revision, Checksum: d.Checksum})
	if err != nil {
		t.Fatal(err)
	}
	s.set(true)
	for name, c := range map[string]struct {
		data []byte
		says string
	}{
		"foreign":      {[]byte("hello\nworld"), "no snapshot"},
		"empty":        {nil, "no snapshot"},
		"cut short":    {good[:len(good)-5], "cut short"},
		"flipped bit":  {bytes.Replace(good, []byte(`"n"`), []byte(`"m"`), 1), "damaged"},
		"newer format": {bytes.Replace(good, []byte("snapshot/1"), []byte("snapshot/2"), 1), "format"},
		"other routes": {other, "not those"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "routes.snapshot")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			src := gatewayOf(t, s, path, slog.New(slog.NewTextHandler(&log, nil)))
			if _, err := src.Since(t.Context(), 0); !errors.Is(err, errAway) {
				t.Errorf("got %v", err)
			}
			if aside, err := os.ReadFile(path + ".bad"); err != nil || !bytes.Equal(aside, c.data) {
				t.Errorf("it is not kept aside: %v", err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("it is still there")
			}
			if !strings.Contains(log.String(), "set aside") || !strings.Contains(log.String(), c.says) {
				t.Errorf("the log says %s; want %q", log.String(), c.says)
			}
		})
	}
}

func TestARouteOfANewerProgramIsNotServedInPart(t *testing.T) {
	s := newStore()
	put(t, s, gatewaytest.Put("n", "a", "1"), gatewaytest.Put("n", "b", "1"))
	d, err := s.Since(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := encode(content{Revision: d.Revision, Checksum: d.Checksum, Routes: d.Routes})
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(data, []byte("\n"))
	body = bytes.Replace(body, []byte(`"name":"b"`), []byte(`"name":"b","onlyFriends":true`), 1)
	c, err := decode(sealed(body))
	if err != nil || len(c.Routes) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	if b := c.Routes[1]; !strings.Contains(b.Unreadable, "onlyFriends") || b.Route.Name != "b" || b.Route.Validate() == nil {
		t.Errorf("got %+v", b)
	}
}

func TestWhatIsNotWholeIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.snapshot")
	src := New(lying{newStore()}, path, Options{})
	if _, err := src.Since(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a table whose checksum does not fit was written")
	}
}

// lying says another checksum than its routes have.
type lying struct{ gateway.Source }

func (l lying) Since(ctx context.Context, rev gateway.Revision) (gateway.Delta, error) {
	d, err := l.Source.Since(ctx, rev)
	d.Checksum = "other"
	return d, err
}

func TestADirectoryThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStore()
	put(t, s, gatewaytest.Put("n", "a", "1"))
	src := New(s, filepath.Join(file, "below"), Options{Every: time.Millisecond})
	var state gateway.State
	read1(t, src, &state) // serving goes on
	if err := src.Close(); err == nil {
		t.Error("nobody is told that nothing was written")
	}
}

func TestAnUnlikelyStoreDoesNotGoBeforeTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.snapshot")
	s := newStore()
	put(t, s, gatewaytest.Put("n", "a", "1"), gatewaytest.Put("n", "b", "1"))
	var state gateway.State
	first := gatewayOf(t, s, path, nil)
	read1(t, first, &state)
	_ = first.Close()

	half := newStore()
	put(t, half, gatewaytest.Put("n", "a", "1"))
	for name, store := range map[string]gateway.Source{"made anew": newStore(), "half of it is lost": lying{half}} {
		src := gatewayOf(t, store, path, nil)
		var again gateway.State
		if read1(t, src, &again); again.Checksum() != state.Checksum() {
			t.Errorf("%s: %+v is served", name, again.Routes)
		}
		if _, err := src.Since(t.Context(), again.Revision); err != nil {
			t.Fatal(err)
		}
		_ = src.Close()
		if c, err := read(path); err != nil || len(c.Routes) != 2 {
			t.Errorf("%s: on disk: %+v, %v", name, c, err)
		}
	}
}
