package kube

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weirmesh/weir/registry"
)

func FuzzParseMetadata(f *testing.F) {
	f.Add(bigPod(1).Annotations[AnnotationMetadata])
	f.Add(`{"dubbo.endpoints":"[{\"port\":0,\"protocol\":\"\"}]"}`)
	f.Add(`null`)
	f.Add(`[]`)
	f.Add(``)
	f.Fuzz(func(t *testing.T, text string) {
		s := parseMetadata(text)
		w := words{namespace: "shop", app: "inventory", text: text, registered: true}
		kept := newStatement(w, w.sum())
		if kept.revision != s.revision || kept.tag != s.tag || kept.problem != s.problem {
			t.Fatalf("%+v is kept as %+v", s, kept)
		}
		if all := kept.words(); (all == nil) != (s.metadata == nil) || !maps.Equal(all, s.metadata) || kept.revision != s.revision || kept.tag != s.tag {
			t.Fatalf("%+v, once asked for, is %+v", s, kept)
		}
		if s.problem != "" {
			if s.metadata != nil || s.endpoints != nil || s.revision != "" {
				t.Fatalf("something was taken from what cannot be read: %+v", s)
			}
			return
		}
		for _, e := range s.endpoints {
			if e.Port == 0 || e.Protocol == "" {
				t.Fatalf("endpoint %+v", e)
			}
		}
		written, err := encodeMetadata(s.metadata)
		if err != nil {
			t.Fatal(err)
		}
		if again := parseMetadata(written); again.problem != "" || !maps.Equal(again.metadata, s.metadata) {
			t.Fatalf("%q came back as %+v", written, again)
		}
	})
}

func FuzzParseInstance(f *testing.F) {
	f.Add(bigPod(1).Annotations[AnnotationInstance])
	f.Add(`{"v":1,"weight":-1,"state":"x","startTime":"9999-12-31T23:59:59Z"}`)
	f.Add(`{"v":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		values, app, started := parseInstance(text)
		again, appAgain, startedAgain := parseInstance(text)
		if values != again || app != appAgain || started != startedAgain {
			t.Fatal("it is read differently each time")
		}
		if values.weight < 1 || values.weight > registry.MaxWeight {
			t.Fatalf("weight %d", values.weight)
		}
		if values.state != registry.Up && values.state != registry.Draining {
			t.Fatalf("state %q", values.state)
		}
	})
}

func FuzzParseUID(f *testing.F) {
	f.Add(bigPodUID(1), bigPodUID(2))
	f.Add("00000000-0000-0000-0000-000000000000", "0F3C2B1A-7E5D-4C6B-9A8F-000000000001")
	f.Add("", "u1")
	f.Add("0f3c2b1a-7e5d-4c6b-9a8f-00000000000g", "0f3c2b1a+7e5d-4c6b-9a8f-000000000001")
	f.Fuzz(func(t *testing.T, text, other string) {
		u, odd := parseUID(text)
		if text == "" != (u == uid{}) {
			t.Fatalf("the uid of %q is %v", text, u)
		}
		if p := newPod(u, odd, "inventory-0"); text != "" && p.id() != text {
			t.Fatalf("%q is kept as %q", text, p.id())
		}
		if o, _ := parseUID(other); (o == u) != (other == text) {
			t.Fatalf("%q and %q have the uids %v and %v", text, other, u, o)
		}
	})
}

func FuzzUnpackMetadata(f *testing.F) {
	app := registry.App{Namespace: "shop", Name: "inventory"}
	for _, document := range [][]byte{[]byte("{}"), {}, bytes.Repeat([]byte("abc"), 10_000), {0xff}} {
		spec, err := packMetadata(app, "r", document)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(spec.Document, spec.Gzip, spec.SHA256)
	}
	f.Fuzz(func(t *testing.T, text string, packed []byte, sum string) {
		document, err := unpackMetadata(&metadataSpec{Document: text, Gzip: packed, SHA256: sum})
		if err != nil {
			return
		}
		spec, err := packMetadata(app, "r", document)
		if err != nil {
			return // too large to be written, though it could be read
		}
		again, err := unpackMetadata(&spec)
		if err != nil || !bytes.Equal(again, document) {
			t.Fatalf("%d bytes came back as %d: %v", len(document), len(again), err)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("org.example.InventoryService", "g", "1.0.0")
	f.Add("中文", "", "")
	f.Fuzz(func(t *testing.T, name, group, version string) {
		i := registry.Interface{Name: name, Group: group, Version: version}
		if !utf8.ValidString(name+group+version) || i.Validate() != nil {
			return
		}
		object := mappingName(i)
		if (registry.App{Namespace: "x", Name: object}).Validate() != nil {
			t.Fatalf("%q makes object name %q", name, object)
		}
	})
}

// Whoever claims whatever address: an address and port is one instance's, and is
// somebody's whom it was before.
func FuzzSettleClaims(f *testing.F) {
	f.Add([]byte{1, 1, 3, 1, 1, 5, 1, 2, 9, 2, 0, 0})
	f.Fuzz(func(t *testing.T, spec []byte) {
		type claim struct {
			host netip.Addr
			port uint16
		}
		before := map[claim]bool{}
		var all []registry.Instance
		claims := func(i *registry.Instance) []claim {
			if len(i.Endpoints) == 0 {
				return []claim{{i.Host, 0}}
			}
			var out []claim
			for _, e := range i.Endpoints {
				out = append(out, claim{i.Host, e.Port})
			}
			return out
		}
		for n := 0; n+2 < len(spec) && n < 60; n += 3 {
			i := registry.Instance{
				ID: fmt.Sprint(n), Name: fmt.Sprint(n), Host: netip.AddrFrom4([4]byte{10, 0, 0, spec[n] % 3}), Health: registry.Ready,
				Details: registry.Details{Started: time.Unix(int64(spec[n+2]%4), 0)},
			}
			for port := range uint16(4) {
				if spec[n+1]&(1<<port) != 0 {
					i.Endpoints = append(i.Endpoints, registry.Endpoint{Protocol: "tri", Port: port + 1})
				}
			}
			if spec[n+2]&128 != 0 {
				i.Health = registry.NotReady
			}
			all = append(all, i)
			if i.Callable() {
				for _, c := range claims(&i) {
					before[c] = true
				}
			}
		}
		settleClaims(all, func(*registry.Instance) time.Time { return time.Time{} })
		after := map[claim]string{}
		for n := range all {
			if !all[n].Callable() {
				continue
			}
			for _, c := range claims(&all[n]) {
				if other, taken := after[c]; taken {
					t.Fatalf("%v is both %s's and %s's", c, other, all[n].Name)
				}
				after[c] = all[n].Name
			}
		}
		hosts := map[netip.Addr]bool{}
		for c := range after {
			hosts[c.host] = true
		}
		for c := range before {
			if !hosts[c.host] {
				t.Fatalf("nobody is called at %s any more", c.host)
			}
		}
	})
}
