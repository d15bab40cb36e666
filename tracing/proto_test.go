package tracing_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestGeneratedSpansSurviveBothFormats(t *testing.T) {
	for _, spans := range tracingtest.NewGenerator(1, start).Traces(50) {
		roundTrip(t, spans)
	}
}

// A message made by hand from the definition, not by this package's encoder.
func TestDecodeProtoReadsAForeignMessage(t *testing.T) {
	raw, err := hex.DecodeString(strings.Join([]string{
		"0a54",                              // span, 84 bytes
		"0a0800000000000000aa",              // trace_id
		"12080000000000000001",              // parent_id
		"1a080000000000000002",              // id
		"2001",                              // kind CLIENT
		"2a03474554",                        // name GET
		"310100000000000000",                // timestamp 1
		"38ac02",                            // duration 300
		"420b0a01611204010203042050",        // local: a, 1.2.3.4, 80
		"5a060a016b120176",                  // tag k=v
		"520c0901000000000000001201" + "78", // annotation 1 x
		"6001",                              // debug
	}, ""))
	if err != nil {
		t.Fatal(err)
	}
	raw[1] = byte(len(raw) - 2)
	spans, err := tracing.DecodeProto(raw)
	if err != nil || len(spans) != 1 {
		t.Fatalf("%v, %v", spans, err)
	}
	want := `{"traceId":"00000000000000aa","parentId":"0000000000000001","id":"0000000000000002","kind":"CLIENT","name":"get","timestamp":1,"duration":300,"localEndpoint":{"serviceName":"a","ipv4":"1.2.3.4","port":80},"annotations":[{"timestamp":1,"value":"x"}],"tags":{"k":"v"},"debug":true}`
	if got := string(tracing.AppendJSON(nil, &spans[0])); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for cut := 1; cut < len(raw); cut++ {
		if spans, err := tracing.DecodeProto(raw[:cut]); err == nil || spans != nil || !strings.Contains(err.Error(), "Truncated") || !strings.HasSuffix(err.Error(), "reading List<Span> from proto3") {
			t.Fatalf("cut at %d: %v, %v", cut, spans, err)
		}
	}
}

func TestDecodeProtoRefuses(t *testing.T) {
	for raw, want := range map[string]string{
		"0a00":                     "Missing : traceId id",
		"0a0a0a080000000000000001": "Missing : id",
		"0a130a1100000000000000000000000000000000" + "01": "traceId.length > 32",
		"00":                     "fieldNumber was zero",
		"0f":                     "invalid wireType 7",
		"0affffffff0f":           "Truncated",
		"0affffffffffffffffffff": "Greater than 64-bit varint",
	} {
		data, err := hex.DecodeString(raw)
		if err != nil {
			t.Fatal(err)
		}
		if spans, err := tracing.DecodeProto(data); err == nil || spans != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", raw, spans, err, want)
		}
	}
}

func TestDecodeProtoForLinksKeepsWhatLinksNeed(t *testing.T) {
	for _, spans := range tracingtest.NewGenerator(2, start).Traces(50) {
		slim, err := tracing.DecodeProtoForLinks(tracing.AppendProto(nil, spans...))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := tracing.Links(slim), tracing.Links(spans); len(want) == 0 || !equalLinks(got, want) {
			t.Fatalf("links %v, want %v", got, want)
		}
	}
}

func FuzzDecodeProto(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3, 4})
	f.Add([]byte{0x0a, 0x00})
	for _, spans := range tracingtest.NewGenerator(3, start).Traces(3) {
		f.Add(tracing.AppendProto(nil, spans...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spans, err := tracing.DecodeProto(data)
		if err != nil {
			if tracing.CodeOf(err) != tracing.Invalid || spans != nil {
				t.Fatalf("%v with %d spans", err, len(spans))
			}
			return
		}
		roundTrip(t, spans)
		slim, err := tracing.DecodeProtoForLinks(data)
		if err != nil || !equalLinks(tracing.Links(slim), tracing.Links(spans)) {
			t.Fatalf("the slim form differs: %v", err)
		}
	})
}
