package tracing_test

import (
	"encoding/json"
	"testing"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// body is one of 100 spans of one service, as a sender posts it.
func body() []tracing.Span { return tracingtest.NewGenerator(4, start).Bodies(5000, 100)[0] }

func perSpan(b *testing.B, spans int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*spans), "ns/span")
}

func BenchmarkDecode(b *testing.B) {
	spans := body()
	raw := tracing.AppendJSONList(nil, spans)
	proto := tracing.AppendProto(nil, spans...)
	b.Logf("%d bytes of JSON and %d of protobuf to a span", len(raw)/len(spans), len(proto)/len(spans))
	b.Run("json", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tracing.DecodeJSON(raw); err != nil {
				b.Fatal(err)
			}
		}
		perSpan(b, len(spans))
	})
	b.Run("encoding-json", func(b *testing.B) { // the peer: the standard library, into the plainest of types
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			var into []plain
			if err := json.Unmarshal(raw, &into); err != nil {
				b.Fatal(err)
			}
		}
		perSpan(b, len(spans))
	})
	b.Run("proto", func(b *testing.B) {
		b.SetBytes(int64(len(proto)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tracing.DecodeProto(proto); err != nil {
				b.Fatal(err)
			}
		}
		perSpan(b, len(spans))
	})
	b.Run("proto-for-links", func(b *testing.B) {
		b.SetBytes(int64(len(proto)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tracing.DecodeProtoForLinks(proto); err != nil {
				b.Fatal(err)
			}
		}
		perSpan(b, len(spans))
	})
}

func BenchmarkEncode(b *testing.B) {
	spans := body()
	var buf []byte
	for name, encode := range map[string]func(){
		"json":  func() { buf = tracing.AppendJSONList(buf[:0], spans) },
		"proto": func() { buf = tracing.AppendProto(buf[:0], spans...) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				encode()
			}
			perSpan(b, len(spans))
		})
	}
}
