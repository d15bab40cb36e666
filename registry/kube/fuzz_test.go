package kube

import (
	"bytes"
	"maps"
	"testing"
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
		values, _ := parseInstance(text)
		if values.weight < 1 || values.weight > registry.MaxWeight {
			t.Fatalf("weight %d", values.weight)
		}
		if values.state != registry.Up && values.state != registry.Draining {
			t.Fatalf("state %q", values.state)
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
