package policy

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/weirmesh/weir/governance"
)

func readAll(r io.Reader, limit int) (out []string, err error) {
	d := newDecoder(r, limit)
	for {
		ev, err := d.next()
		if err != nil {
			return out, err
		}
		out = append(out, ev.name+"|"+ev.id+"|"+string(ev.data)+"|"+ev.wait.String())
	}
}

func TestDecoder(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"one event", "event: policies\nid: 7:x\ndata: {}\n\n", []string{"policies|7:x|{}|0s"}},
		{"no space", "event:policies\ndata:{}\n\n", []string{"policies||{}|0s"}},
		{"only one space is not of the value", "data:  a\n\n", []string{"|| a|0s"}},
		{"carriage returns", "event: a\r\ndata: 1\r\n\r\nevent: b\rdata: 2\r\rdata: 3\n\n", []string{"a||1|0s", "b||2|0s", "||3|0s"}},
		{"several lines of data", "data: a\ndata\ndata: b\n\n", []string{"||a\n\nb|0s"}},
		{"comments and what is unknown", ": hi\n\n:\nfoo: bar\nping: \n\ndata: x\n\n", []string{"||x|0s"}},
		{"an event without data is none", "event: policies\n\ndata: x\n\n", []string{"||x|0s"}},
		{"ids stay, names do not", "id: 1\nevent: a\ndata: x\n\ndata: y\n\n", []string{"a|1|x|0s", "|1|y|0s"}},
		{"an id with a zero is none", "id: 1\nid: a\x00b\ndata: x\n\n", []string{"|1|x|0s"}},
		{"retry", "retry: 1500\ndata: x\n\nretry: soon\ndata: y\n\n", []string{"||x|1.5s", "||y|1.5s"}},
		{"byte order mark", "\ufeffdata: x\n\n", []string{"||x|0s"}},
		{"cut off", "data: x\n\ndata: y\n", []string{"||x|0s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				got, err := readAll(r, 1000)
				if !slices.Equal(got, tt.want) || !errors.Is(err, io.EOF) {
					t.Errorf("got %q, %v, want %q", got, err, tt.want)
				}
			}
		})
	}
}

func TestDecoderIsBounded(t *testing.T) {
	for name, in := range map[string]string{
		"one line":         "data: " + strings.Repeat("x", 200),
		"many lines":       strings.Repeat("data: x\n", 40),
		"of what is none":  strings.Repeat("x", 200),
		"lines of nothing": strings.Repeat("foo\n", 60),
	} {
		if got, err := readAll(strings.NewReader(in), 100); !errors.Is(err, errTooLarge) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	// Comments and events that are over do not add up.
	long := strings.Repeat(": "+strings.Repeat("x", 50)+"\n\ndata: y\n\n", 50)
	if got, err := readAll(strings.NewReader(long), 100); len(got) != 50 || !errors.Is(err, io.EOF) {
		t.Errorf("got %d events, %v", len(got), err)
	}
}

// FuzzDecoder holds that no stream makes the decoder panic, hold more than it may
// or depend on how the bytes arrive.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("event: policies\nid: 7:x\ndata: {}\n\n"))
	f.Add([]byte("data: a\r\rdata: b\r\n\r\n: c\nretry: 5\ndata\n\n"))
	f.Add([]byte("\xef\xbb\xbfid: \x00\ndata:\n\n\n\n:"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err1 := readAll(bytes.NewReader(in), 64)
		bytewise, err2 := readAll(iotest.OneByteReader(bytes.NewReader(in)), 64)
		if !slices.Equal(whole, bytewise) || errors.Is(err1, io.EOF) != errors.Is(err2, io.EOF) {
			t.Fatalf("%q\nwhole    %q %v\nbytewise %q %v", in, whole, err1, bytewise, err2)
		}
	})
}

func someSaved() saved {
	app := governance.App{Namespace: "shop", Name: "orders"}
	p := governance.Policy{Target: governance.Target{App: app}, Rules: governance.Rules{Timeout: governance.Duration(time.Second)}}.WithDefaults()
	policies := []governance.Version{{Policy: p, Version: 7}}
	return saved{
		App: app, Saved: time.Unix(1_800_000_000, 0).UTC(), Offset: governance.Duration(time.Minute),
		Set: governance.PolicySet{Wire: 1, Version: 7, Hash: governance.HashPolicies(policies), Policies: policies},
	}
}

func TestFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when", "needed")
	s := someSaved()
	name := fileName(dir, s.App)
	if _, err := readFile(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no file: %v", err)
	}
	for range 2 { // anew, and over an old one
		if err := writeFile(name, s); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readFile(name)
	if err != nil || got.App != s.App || got.Set.Hash != s.Set.Hash || got.Offset != s.Offset || governance.HashPolicies(got.Set.Policies) != s.Set.Hash {
		t.Errorf("got %+v, %v", got, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("what was written on the way is left: %v, %v", entries, err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data { // every single byte matters
		bad := bytes.Clone(data)
		bad[i] ^= 0x20
		if _, err := decodeFile(bad); err == nil {
			t.Fatalf("byte %d of %d changed, and nobody noticed", i, len(data))
		}
		if _, err := decodeFile(data[:i]); err == nil {
			t.Fatalf("cut off at byte %d of %d, and nobody noticed", i, len(data))
		}
	}
}

func FuzzFile(f *testing.F) {
	data, err := encodeFile(someSaved())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(fileMagic + "\n"))
	f.Add([]byte(fileMagic + "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeFile(data)
		if err != nil {
			return
		}
		again, err := encodeFile(s)
		if err != nil {
			return // a RawMessage that cannot be written again
		}
		if _, err := decodeFile(again); err != nil {
			t.Fatalf("written again it cannot be read: %v", err)
		}
	})
}
