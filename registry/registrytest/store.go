package registrytest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/registry"
)

var mappingTests = []test{
	{"RoundTrip", func(w *world) {
		c := w.Open(w.T)
		iface := registry.Interface{Name: "org.example.InventoryService"}
		apps, err := c.InterfaceApps(w.ctx(), iface)
		w.must(err)
		if len(apps) != 0 {
			w.Fatalf("nobody provides the interface yet, but: %v", apps)
		}
		w.must(c.MapInterface(w.ctx(), iface, w.app("stock")))
		w.must(c.MapInterface(w.ctx(), iface, w.app("inventory")))
		w.must(c.MapInterface(w.ctx(), iface, w.app("inventory"))) // again is no change
		w.awaitApps(c, iface, w.app("inventory"), w.app("stock"))
		w.must(c.UnmapInterface(w.ctx(), iface, w.app("stock")))
		w.must(c.UnmapInterface(w.ctx(), iface, w.app("stock")))
		w.must(c.UnmapInterface(w.ctx(), registry.Interface{Name: "org.example.Never"}, w.app("stock")))
		w.awaitApps(c, iface, w.app("inventory"))
	}},
	{"GroupAndVersionAreApart", func(w *world) {
		c := w.Open(w.T)
		plain := registry.Interface{Name: "org.example.A"}
		grouped := registry.Interface{Name: "org.example.A", Group: "g"}
		versioned := registry.Interface{Name: "org.example.A", Version: "g"}
		w.must(c.MapInterface(w.ctx(), plain, w.app("plain")))
		w.must(c.MapInterface(w.ctx(), grouped, w.app("grouped")))
		w.must(c.MapInterface(w.ctx(), versioned, w.app("versioned")))
		w.must(c.MapInterface(w.ctx(), registry.Interface{Name: "org.example.a"}, w.app("lower")))
		w.awaitApps(c, plain, w.app("plain"))
		w.awaitApps(c, grouped, w.app("grouped"))
		w.awaitApps(c, versioned, w.app("versioned"))
	}},
	{"ManyAtOnceDoNotUndoOneAnother", func(w *world) {
		clients := []Client{w.Open(w.T), w.Open(w.T)}
		iface := registry.Interface{Name: "org.example.InventoryService"}
		var want []registry.App
		var wg sync.WaitGroup
		for i := range 24 {
			app := w.app(fmt.Sprintf("app-%02d", i))
			want = append(want, app)
			wg.Go(func() {
				if err := clients[i%2].MapInterface(w.ctx(), iface, app); err != nil {
					w.Error(err)
				}
			})
		}
		wg.Wait()
		w.awaitApps(clients[0], iface, want...)
		for i, app := range want {
			if i%2 == 0 {
				wg.Go(func() {
					if err := clients[i%4/2].UnmapInterface(w.ctx(), iface, app); err != nil {
						w.Error(err)
					}
				})
			}
		}
		wg.Wait()
		var left []registry.App
		for i, app := range want {
			if i%2 == 1 {
				left = append(left, app)
			}
		}
		w.awaitApps(clients[1], iface, left...)
	}},
	{"FollowersSeeWholeLists", func(w *world) {
		c := w.Open(w.T)
		iface := registry.Interface{Name: "org.example.InventoryService"}
		lists := make(chan []registry.App, 64)
		stop, err := c.SubscribeInterface(iface, func(apps []registry.App) { lists <- apps })
		w.must(err)
		await := func(want ...registry.App) {
			w.Helper()
			deadline := time.After(Deadline)
			for {
				select {
				case got := <-lists:
					if slices.Equal(got, want) {
						return
					}
				case <-deadline:
					w.Fatalf("never told of %v", want)
				}
			}
		}
		await()
		other := w.Open(w.T)
		w.must(other.MapInterface(w.ctx(), iface, w.app("inventory")))
		await(w.app("inventory"))
		w.must(other.MapInterface(w.ctx(), iface, w.app("stock")))
		await(w.app("inventory"), w.app("stock"))
		stop()
		stop()
		w.must(other.UnmapInterface(w.ctx(), iface, w.app("stock")))
		w.awaitApps(c, iface, w.app("inventory"))
		if len(lists) != 0 {
			w.Fatal("called after stop")
		}
	}},
	{"UnknownIsNotEmpty", func(w *world) {
		c := w.Offline(w.T)
		iface := registry.Interface{Name: "org.example.InventoryService"}
		stop, err := c.SubscribeInterface(iface, func([]registry.App) { w.Error("a subscriber was told of what is not known") })
		w.must(err)
		_, err = c.InterfaceApps(w.briefly(), iface)
		w.wantCode("InterfaceApps without a registry", err, registry.Unavailable)
		w.wantCode("MapInterface without a registry", c.MapInterface(w.briefly(), iface, w.app("a")), registry.Unavailable)
		stop()
	}},
	{"BadNamesAreInvalid", func(w *world) {
		c := w.Open(w.T)
		good := registry.Interface{Name: "org.example.InventoryService"}
		for _, app := range badApps(w) {
			w.wantCode("MapInterface to "+app.String(), c.MapInterface(w.ctx(), good, app), registry.Invalid)
			w.wantCode("UnmapInterface of "+app.String(), c.UnmapInterface(w.ctx(), good, app), registry.Invalid)
		}
		for _, iface := range []registry.Interface{{}, {Group: "g"}, {Name: "a b"}, {Name: "a/b"}, {Name: "a\n"}, {Name: "a", Group: "x:y"}, {Name: strings.Repeat("x", 600)}} {
			w.wantCode("MapInterface of "+iface.String(), c.MapInterface(w.ctx(), iface, w.app("a")), registry.Invalid)
			_, err := c.InterfaceApps(w.ctx(), iface)
			w.wantCode("InterfaceApps of "+iface.String(), err, registry.Invalid)
			_, err = c.SubscribeInterface(iface, func([]registry.App) {})
			w.wantCode("SubscribeInterface to "+iface.String(), err, registry.Invalid)
		}
	}},
}

func (w *world) awaitApps(c Client, iface registry.Interface, want ...registry.App) {
	w.Helper()
	ctx := w.ctx()
	for {
		got, err := c.InterfaceApps(ctx, iface)
		w.must(err)
		if slices.Equal(got, want) {
			return
		}
		if ctx.Err() != nil {
			w.Fatalf("%s is provided by %v, want %v", iface, got, want)
		}
	}
}

var metadataTests = []test{
	{"RoundTrip", func(w *world) {
		c, other := w.Open(w.T), w.Open(w.T)
		app := w.app("inventory")
		noise := make([]byte, 100_000)
		random := rand.NewChaCha8([32]byte{1})
		_, _ = random.Read(noise)
		for what, document := range map[string][]byte{
			"small":      []byte(`{"app":"inventory","services":{}}`),
			"empty":      {},
			"large":      bytes.Repeat([]byte(`{"name":"org.example.InventoryService","params":{}},`), 20_000),
			"noise":      noise,
			"not-utf8":   {0xff, 0x00, 0xfe},
			"unicode":    []byte("\u4e2d\u6587 \u00e9 <&>"),
			"whitespace": []byte(" \n\t{}\n"),
		} {
			w.must(c.PutMetadata(w.ctx(), app, what, document))
			got, err := other.Metadata(w.ctx(), app, what)
			w.must(err)
			if !bytes.Equal(got, document) {
				w.Fatalf("document %s came back with %d bytes, and had %d", what, len(got), len(document))
			}
		}
	}},
	{"RevisionsAreListedAndDeleted", func(w *world) {
		c := w.Open(w.T)
		app := w.app("inventory")
		long := strings.Repeat("0123456789abcdef", 8)
		revisions, err := c.Revisions(w.ctx(), app)
		w.must(err)
		if len(revisions) != 0 {
			w.Fatalf("nothing is stored, but: %v", revisions)
		}
		for _, revision := range []string{long, "5f1c", "A.B_c"} {
			w.must(c.PutMetadata(w.ctx(), app, revision, []byte(revision)))
		}
		w.must(c.PutMetadata(w.ctx(), w.app("other"), "zzz", []byte("{}")))
		revisions, err = c.Revisions(w.ctx(), app)
		w.must(err)
		var names []string
		for _, r := range revisions {
			names = append(names, r.Revision)
			if r.Stored.IsZero() {
				w.Errorf("revision %s does not say when it was stored", r.Revision)
			}
		}
		if want := []string{long, "5f1c", "A.B_c"}; !slices.Equal(names, want) {
			w.Fatalf("Revisions returns %v, want %v", names, want)
		}
		w.must(c.DeleteMetadata(w.ctx(), app, long))
		w.must(c.DeleteMetadata(w.ctx(), app, long))
		_, err = c.Metadata(w.ctx(), app, long)
		w.wantCode("Metadata after its deletion", err, registry.NotFound)
		if _, err = c.Metadata(w.ctx(), app, "5f1c"); err != nil {
			w.Fatalf("another revision went with it: %v", err)
		}
	}},
	{"PuttingAgain", func(w *world) {
		c := w.Open(w.T)
		app := w.app("inventory")
		document := []byte("one")
		w.must(c.PutMetadata(w.ctx(), app, "r", document))
		document[0] = 'X' // the caller's bytes stay the caller's
		got, err := c.Metadata(w.ctx(), app, "r")
		w.must(err)
		if string(got) != "one" {
			w.Fatalf("got %q", got)
		}
		got[0] = 'Y'
		w.must(c.PutMetadata(w.ctx(), app, "r", []byte("one")))
		if got, err = c.Metadata(w.ctx(), app, "r"); err != nil || string(got) != "one" {
			w.Fatalf("got %q, %v", got, err)
		}
		large := bytes.Repeat([]byte("two "), 10_000)
		w.must(c.PutMetadata(w.ctx(), app, "r", large))
		if got, err = c.Metadata(w.ctx(), app, "r"); err != nil || !bytes.Equal(got, large) {
			w.Fatalf("got %d bytes, %v", len(got), err)
		}
	}},
	{"ManyInstancesPutOneRevision", func(w *world) {
		clients := []Client{w.Open(w.T), w.Open(w.T)}
		app := w.app("inventory")
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				if err := clients[i%2].PutMetadata(w.ctx(), app, "r", []byte("same")); err != nil {
					w.Error(err)
				}
			})
		}
		wg.Wait()
		got, err := clients[0].Metadata(w.ctx(), app, "r")
		if err != nil || string(got) != "same" {
			w.Fatalf("got %q, %v", got, err)
		}
	}},
	{"Codes", func(w *world) {
		c := w.Open(w.T)
		_, err := c.Metadata(w.ctx(), w.app("inventory"), "never")
		w.wantCode("Metadata of what was never stored", err, registry.NotFound)
		for _, app := range badApps(w) {
			w.wantCode("PutMetadata of "+app.String(), c.PutMetadata(w.ctx(), app, "r", nil), registry.Invalid)
			_, err := c.Metadata(w.ctx(), app, "r")
			w.wantCode("Metadata of "+app.String(), err, registry.Invalid)
			_, err = c.Revisions(w.ctx(), app)
			w.wantCode("Revisions of "+app.String(), err, registry.Invalid)
			w.wantCode("DeleteMetadata of "+app.String(), c.DeleteMetadata(w.ctx(), app, "r"), registry.Invalid)
		}
		for _, revision := range []string{"", "a b", "a\x00", strings.Repeat("x", 300)} {
			w.wantCode(fmt.Sprintf("PutMetadata of revision %q", revision), c.PutMetadata(w.ctx(), w.app("a"), revision, nil), registry.Invalid)
		}
		offline := w.Offline(w.T)
		_, err = offline.Metadata(w.briefly(), w.app("inventory"), "r")
		w.wantCode("Metadata without a registry", err, registry.Unavailable)
		w.wantCode("PutMetadata without a registry", offline.PutMetadata(w.briefly(), w.app("inventory"), "r", nil), registry.Unavailable)
	}},
}
