package kube

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
)

func sample() *saved {
	started := time.Date(2026, 11, 20, 9, 0, 0, 5, time.UTC)
	return &saved{
		Cluster: "https://10.96.0.1:443",
		Apps: []registry.Snapshot{{
			App: inventory, Mode: registry.ModePod,
			Service: registry.Service{Host: "inventory.shop.svc", Ports: []registry.ServicePort{{Name: "tri", Port: 80, Target: 20000}}},
			Instances: []registry.Instance{
				{
					ID: "u1", Name: "inventory-1", Host: netip.MustParseAddr("10.0.0.1"), Health: registry.Ready, Revision: "5f1c", Node: "n", Zone: "z",
					Endpoints: []registry.Endpoint{{Protocol: "tri", Port: 20000}}, Metadata: map[string]string{registry.KeyRevision: "5f1c"},
					Details: registry.Details{Weight: 50, Tag: "v2", State: registry.Up, Started: started},
				},
				{
					ID: "u2", Name: "inventory-2", Host: netip.MustParseAddr("fd00::2"), Health: registry.NotReady,
					Details: registry.Details{Weight: 100, State: registry.Up},
					Kept:    &registry.Kept{Because: registry.KeptNotReady, Lost: 1, Of: 2, Since: started, Until: started.Add(time.Minute)},
				},
			},
		}},
		Interfaces: []savedInterface{{registry.Interface{Name: "org.example.Stock", Group: "g"}, []registry.App{inventory}}},
		Documents:  []savedDocument{{inventory, "5f1c", []byte(`{"services":{}}`)}},
	}
}

func TestASavedStateIsReadAsItWas(t *testing.T) {
	want := sample()
	file, sum, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, again, err := decodeSaved(file)
	if err != nil || again != sum {
		t.Fatalf("%v; sums %x and %x", err, sum, again)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	if _, other, _ := sample().encode(); other != sum {
		t.Error("the same has two sums")
	}
	want.Apps[0].Instances[0].Details.Weight = 51
	if _, other, _ := want.encode(); other == sum {
		t.Error("a change does not show in the sum")
	}
}

func TestADamagedFileCountsForNothing(t *testing.T) {
	file, _, err := sample().encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range file {
		if _, _, err := decodeSaved(file[:n]); err == nil {
			t.Fatalf("a file cut after %d of %d bytes is read", n, len(file))
		}
		damaged := bytes.Clone(file)
		damaged[n] ^= 0x40
		if _, _, err := decodeSaved(damaged); err == nil {
			t.Fatalf("a file with a wrong byte at %d is read", n)
		}
	}
	line, packed, _ := bytes.Cut(file, []byte{'\n'})
	words := strings.Split(string(line), " ")
	with := func(change func(words []string)) string {
		w := append([]string{}, words...)
		change(w)
		return strings.Join(w, " ") + "\n" + string(packed)
	}
	for text, c := range map[string]struct{ file, want string }{
		"nothing":       {"", "it is no snapshot of a registry"},
		"something":     {"\x7fELF", "it is no snapshot of a registry"},
		"newer":         {with(func(w []string) { w[1] = "2" }), `it has version "2", and this reader knows 1`},
		"half a line":   {"weir-registry 1", "its first line is incomplete"},
		"cut":           {string(file[:len(file)-1]), "bytes where its first line says"},
		"longer":        {string(file) + "x", "bytes where its first line says"},
		"another sum":   {with(func(w []string) { w[2] = strings.Repeat("0", 64) }), "its checksum does not match"},
		"not packed":    {sealed("plain"), "it cannot be unpacked"},
		"far too large": {string(make([]byte, maxSaved+1)), "it has more than"},
	} {
		if _, _, err := decodeSaved([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", text, err, c.want)
		}
	}
	for what, change := range map[string]func(*saved){
		"app":       func(s *saved) { s.Apps[0].App.Name = "../x" },
		"mode":      func(s *saved) { s.Apps[0].Mode = "both" },
		"address":   func(s *saved) { s.Apps[0].Instances[0].Host = netip.Addr{} },
		"id":        func(s *saved) { s.Apps[0].Instances[0].ID = "" },
		"weight":    func(s *saved) { s.Apps[0].Instances[0].Details.Weight = -1 },
		"order":     func(s *saved) { s.Apps[0].Instances[0].ID = "u9" },
		"interface": func(s *saved) { s.Interfaces[0].Interface.Name = "" },
		"provider":  func(s *saved) { s.Interfaces[0].Apps[0].Namespace = "" },
		"revision":  func(s *saved) { s.Documents[0].Revision = "" },
	} {
		s := sample()
		s.Interfaces[0].Apps = []registry.App{inventory}
		change(s)
		file, _, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decodeSaved(file); err == nil {
			t.Errorf("a file with a wrong %s is read", what)
		}
	}
}

// sealed is a file whose sum and size are right, whatever it holds.
func sealed(content string) string {
	return fmt.Sprintf("%s %d %x %d\n%s", savedMagic, savedVersion, sha256.Sum256([]byte(content)), len(content), content)
}

func TestAFileIsBounded(t *testing.T) {
	s := sample()
	noise := make([]byte, maxSaved)
	state := uint32(1)
	for i := range noise { // nothing that packs
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	s.Documents[0].Document = noise
	if _, _, err := s.encode(); !errors.Is(err, errTooMuch) {
		t.Fatalf("%d bytes are written: %v", len(noise), err)
	}
}

func FuzzDecodeSaved(f *testing.F) {
	file, _, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file, false)
	f.Add(file[:len(file)/2], false)
	_, packed, _ := bytes.Cut(file, []byte{'\n'})
	f.Add(packed, true)
	f.Add([]byte("weir-registry 2 x y\n"), false)
	f.Fuzz(func(t *testing.T, content []byte, seal bool) {
		if seal {
			content = []byte(sealed(string(content))) // or the sum hides all that follows it
		}
		s, sum, err := decodeSaved(content)
		if err != nil {
			return
		}
		again, _, err := s.encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, same, err := decodeSaved(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		_ = sum
		if next, _, err := back.encode(); err != nil || !bytes.Equal(next, again) {
			t.Fatalf("what was read is another: %x (%v)", same, err)
		}
	})
}
