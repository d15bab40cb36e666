package tracing_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weirmesh/weir/tracing"
)

// one decodes a list of one span.
func one(t *testing.T, body string) tracing.Span {
	t.Helper()
	spans, err := tracing.DecodeJSON([]byte(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if len(spans) != 1 {
		t.Fatalf("%s: %d spans", body, len(spans))
	}
	return spans[0]
}

func with(members string) string {
	return `[{"traceId":"1","id":"2"` + members + `}]`
}

// The cases of facts that are about what is refused, with Zipkin's words.
func TestDecodeJSONRefuses(t *testing.T) {
	for body, want := range map[string]string{
		`hello`: "Malformed reading List<Span> from json",
		`{}`:    "Malformed reading List<Span> from json",
		`[`:     "End of input",
		`[{"traceId":"48485A3953BB6124","id":"1"}]`:                "48485A3953BB6124 should be lower-hex encoded with no prefix",
		`[{"traceId":null,"id":"1"}]`:                              "Expected a string but was NULL",
		`[{"traceId":"1","id":null}]`:                              "Expected a string but was NULL",
		`[{"id":"1"}]`:                                             "Missing : traceId",
		`[{"traceId":"1"}]`:                                        "Missing : id",
		`[{"traceId":"` + strings.Repeat("1", 33) + `"}]`:          "traceId.length > 32",
		`[{"traceId":"` + strings.Repeat("0", 32) + `"}]`:          "traceId is all zeros",
		`[{"traceId":"550e8400-e29b-41d4-a716-446655440"}]`:        "traceId.length > 32",
		`[{"traceId":"550e8400-e29b-41d4-a716"}]`:                  "should be lower-hex",
		`[{"traceId":""}]`:                                         "traceId is empty",
		`[{"traceId":"1","id":"0000000000000000"}]`:                "id is all zeros",
		`[{"traceId":"1","id":""}]`:                                "id is empty",
		`[{"traceId":"1","id":"` + strings.Repeat("1", 17) + `"}]`: "id.length > 16",
		with(`,"tags":{"foo":true}`):                               "Expected a string but was BOOLEAN",
		with(`,"tags":{"foo":null}`):                               "No value at $[0].tags.foo",
		with(`,"annotations":[{"timestamp":1}]`):                   "Incomplete annotation at $[0].annotations[0].timestamp",
		with(`,"localEndpoint":{"port":65536}`):                    "invalid port 65536",
		with(`,"kind":"FOO"`):                                      "No enum constant zipkin2.Span.Kind.FOO",
		with(`,"timestamp":1.5`):                                   "Expected",
		with(`,"timestamp":true`):                                  "Expected a long but was BOOLEAN",
		with(`,}`):                                                 "Malformed",
		with(`,"x":[1,]`):                                          "Malformed",
		with(`,"x":` + strings.Repeat("[", 5000)):                  "Nesting too deep",
		with(`,"name":"\x"`):                                       "Malformed",
		with(``) + `x`:                                             "Malformed",
	} {
		spans, err := tracing.DecodeJSON([]byte(body))
		if err == nil || spans != nil {
			t.Errorf("%s: decoded to %v", body, spans)
			continue
		}
		if tracing.CodeOf(err) != tracing.Invalid || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), "reading List<Span> from json") {
			t.Errorf("%.100s: %q, want %q", body, err, want)
		}
	}
}

// The cases that are about what is stored.
func TestDecodeJSONNormalises(t *testing.T) {
	for in, want := range map[string]string{
		`"traceId":"1","id":"1"`:                                                    `"traceId":"0000000000000001","id":"0000000000000001"`,
		`"traceId":"` + strings.Repeat("1", 17) + `","id":"1"`:                      `"traceId":"` + strings.Repeat("0", 15) + strings.Repeat("1", 17) + `","id":"0000000000000001"`,
		`"traceId":"0000000000000000463ac35c9f6413ad","id":"1"`:                     `"traceId":"463ac35c9f6413ad","id":"0000000000000001"`,
		`"traceId":"1","id":"2","parentId":"2"`:                                     `"traceId":"0000000000000001","id":"0000000000000002"`,
		`"traceId":"1","id":"2","parentId":"0000000000000000"`:                      `"traceId":"0000000000000001","id":"0000000000000002"`,
		`"traceId":"1","id":"2","kind":"CLIENT","shared":true`:                      `"traceId":"0000000000000001","id":"0000000000000002","kind":"CLIENT"`,
		`"traceId":"1","id":"2","name":"GET","localEndpoint":{"serviceName":"Foo"}`: `"traceId":"0000000000000001","id":"0000000000000002","name":"get","localEndpoint":{"serviceName":"foo"}`,
		`"traceId":"1","id":"2","name":"","timestamp":-1,"duration":0`:              `"traceId":"0000000000000001","id":"0000000000000002"`,
		`"traceId":"1","id":"2","parentId":null,"name":null,"kind":null,"timestamp":null,"duration":null,"localEndpoint":{},"remoteEndpoint":null,"annotations":null,"tags":null,"debug":null,"shared":null`: `"traceId":"0000000000000001","id":"0000000000000002"`,
		`"traceId":"1","id":"2","localEndpoint":{"port":-1,"ipv6":"::FFFF:1.2.3.4"}`:                                                 `"traceId":"0000000000000001","id":"0000000000000002","localEndpoint":{"ipv4":"1.2.3.4"}`,
		`"traceId":"1","id":"2","localEndpoint":{"ipv4":"2001:DB8::C001"},"remoteEndpoint":{"ipv4":"localhost"}`:                     `"traceId":"0000000000000001","id":"0000000000000002","localEndpoint":{"ipv6":"2001:db8::c001"}`,
		`"traceId":"1","id":"2","annotations":[{"timestamp":2,"value":"b"},{"timestamp":1,"value":"a"},{"value":"b","timestamp":2}]`: `"traceId":"0000000000000001","id":"0000000000000002","annotations":[{"timestamp":1,"value":"a"},{"timestamp":2,"value":"b"}]`,
		`"traceId":"1","id":"2","tags":{"b":"1","a":5,"b":"2","error":""}`:                                                           `"traceId":"0000000000000001","id":"0000000000000002","tags":{"a":"5","b":"2","error":""}`,
		`"traceId":"1","id":"2","timestamp":"12","duration":1.5e3,"unknown":{"a":[1,{"b":null}],"c":-1.5e-3}`:                        `"traceId":"0000000000000001","id":"0000000000000002","timestamp":12,"duration":1500`,
		`"traceId":"1","id":"2","name":"\u4f60\ud83d\ude00\ud800\/"`:                                                                 `"traceId":"0000000000000001","id":"0000000000000002","name":"你😀` + "\ufffd" + `/"`,
		`"traceId":"1","id":"2","tags":{"a\tb":"x\"\\\u2028` + "\t" + `"}`:                                                           `"traceId":"0000000000000001","id":"0000000000000002","tags":{"a\tb":"x\"\\\u2028\t"}`,
	} {
		s := one(t, " [ { "+in+" } ] ")
		if got := string(tracing.AppendJSON(nil, &s)); got != "{"+want+"}" {
			t.Errorf("%s:\n got %s\nwant {%s}", in, got, want)
		}
	}
}

func TestDecodeJSONTakesTheEmptyList(t *testing.T) {
	spans, err := tracing.DecodeJSON([]byte(" [ ] "))
	if err != nil || len(spans) != 0 {
		t.Fatalf("%v, %v", spans, err)
	}
}

// Blocks are cut into the slices of spans; one span's must not show in another's.
func TestDecodeJSONKeepsSpansApart(t *testing.T) {
	var b strings.Builder
	const n = 500
	for i := range n {
		b.WriteString(separate(i))
		b.WriteString(`{"traceId":"1","id":"` + tracing.ID(i+1).String() + `","tags":{`)
		for j := range i % 40 {
			b.WriteString(separate(j) + `"k` + string(rune('0'+j)) + `":"` + tracing.ID(i+1).String() + `"`)
		}
		b.WriteString(`},"annotations":[`)
		for j := range i % 7 {
			b.WriteString(separate(j) + `{"timestamp":` + string(rune('1'+j)) + `,"value":"` + tracing.ID(i+1).String() + `"}`)
		}
		b.WriteString(`]}`)
	}
	spans, err := tracing.DecodeJSON([]byte("[" + b.String() + "]"))
	if err != nil || len(spans) != n {
		t.Fatalf("%d spans, %v", len(spans), err)
	}
	for i, s := range spans {
		if len(s.Tags) != i%40 || len(s.Annotations) != i%7 {
			t.Fatalf("span %d has %d tags and %d annotations", i, len(s.Tags), len(s.Annotations))
		}
		for _, tag := range s.Tags {
			if tag.Value != s.ID.String() {
				t.Fatalf("span %s has the tag %v", s.ID, tag)
			}
		}
		for _, a := range s.Annotations {
			if a.Value != s.ID.String() {
				t.Fatalf("span %s has the annotation %v", s.ID, a)
			}
		}
	}
}

func separate(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// plain is a span as encoding/json sees it.
type plain struct {
	TraceID     *string            `json:"traceId"`
	ID          *string            `json:"id"`
	ParentID    *string            `json:"parentId"`
	Kind        *string            `json:"kind"`
	Name        *string            `json:"name"`
	Timestamp   *int64             `json:"timestamp"`
	Duration    *int64             `json:"duration"`
	Local       *plainEndpoint     `json:"localEndpoint"`
	Remote      *plainEndpoint     `json:"remoteEndpoint"`
	Annotations []plainAnnotation  `json:"annotations"`
	Tags        map[string]*string `json:"tags"`
	Debug       *bool              `json:"debug"`
	Shared      *bool              `json:"shared"`
}

type plainEndpoint struct {
	Service *string `json:"serviceName"`
	IPv4    *string `json:"ipv4"`
	IPv6    *string `json:"ipv6"`
	Port    *int64  `json:"port"`
}

type plainAnnotation struct {
	Timestamp *int64  `json:"timestamp"`
	Value     *string `json:"value"`
}

// FuzzDecodeJSON holds three things: nothing makes the decoder panic; what it
// takes survives JSON and protobuf; and of input that encoding/json takes as
// spans, it takes what has ids, with the same texts and numbers.
func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range []string{
		`[]`, `hello`, `[{"traceId":"1","id":"1","name":"test"}]`,
		with(`,"parentId":"3","kind":"SERVER","name":"get","timestamp":1,"duration":2,"localEndpoint":{"serviceName":"a","ipv4":"1.2.3.4","ipv6":"::1","port":80},"annotations":[{"timestamp":1,"value":"x"}],"tags":{"a":"b","error":""},"debug":true,"shared":true`),
		with(`,"tags":{"a":"\u4f60\ud83d\ude00\ud800"},"x":[{"y":1.5e3},null,true]`),
		with(`,"timestamp":"12","tags":{"n":-0.5}`), "[{\"traceId\":\"1\",\"id\":\"2\",\"name\":\"\xff\xfe\"}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spans, err := tracing.DecodeJSON(data)
		if err != nil {
			if tracing.CodeOf(err) != tracing.Invalid || spans != nil {
				t.Fatalf("%v with %d spans", err, len(spans))
			}
		} else {
			roundTrip(t, spans)
		}
		var want []plain
		if json.Unmarshal(data, &want) != nil || !exactNames(data) {
			return
		}
		for _, p := range want {
			if !valid(p) {
				return
			}
		}
		if err != nil {
			t.Fatalf("encoding/json takes it: %v", err)
		}
		if len(spans) != len(want) {
			t.Fatalf("%d spans, want %d", len(spans), len(want))
		}
		for i, p := range want {
			same(t, &spans[i], p)
		}
	})
}

// exactNames reports whether no member is given twice or in another case, which
// encoding/json merges into one and Zipkin does not.
func exactNames(data []byte) bool {
	type level struct {
		object bool
		key    bool
		seen   map[string]bool
	}
	var stack []*level
	dec := json.NewDecoder(strings.NewReader(string(data)))
	for {
		tok, err := dec.Token()
		if err != nil {
			return true
		}
		var top *level
		if len(stack) > 0 {
			top = stack[len(stack)-1]
		}
		if d, ok := tok.(json.Delim); ok {
			switch d {
			case '{', '[':
				if top != nil {
					top.key = true
				}
				stack = append(stack, &level{object: d == '{', key: true, seen: map[string]bool{}})
			default:
				stack = stack[:len(stack)-1]
			}
			continue
		}
		if top == nil || !top.object {
			continue
		}
		if !top.key {
			top.key = true
			continue
		}
		top.key = false
		name, _ := tok.(string)
		folded := strings.ToLower(strings.ToUpper(name))
		if top.seen[folded] || !ascii(name) {
			return false
		}
		top.seen[folded] = true
		if len(stack) <= 3 && folded != name && isMember(folded) {
			return false
		}
	}
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

func isMember(folded string) bool {
	switch folded {
	case "traceid", "id", "parentid", "kind", "name", "timestamp", "duration", "localendpoint", "remoteendpoint", "annotations", "tags", "debug", "shared", "servicename", "ipv4", "ipv6", "port", "value":
		return true
	}
	return false
}

// valid reports whether Zipkin takes what encoding/json took.
func valid(p plain) bool {
	if p.TraceID == nil || p.ID == nil {
		return false
	}
	if _, err := tracing.ParseTraceID(*p.TraceID); err != nil {
		return false
	}
	if _, err := tracing.ParseID(*p.ID); err != nil {
		return false
	}
	if p.ParentID != nil {
		if _, err := tracing.ParseID(*p.ParentID); err != nil {
			return false
		}
	}
	if p.Kind != nil {
		if _, ok := tracing.ParseKind(*p.Kind); !ok {
			return false
		}
	}
	for _, e := range []*plainEndpoint{p.Local, p.Remote} {
		if e != nil && e.Port != nil && *e.Port > 65535 {
			return false
		}
	}
	for _, a := range p.Annotations {
		if a.Timestamp == nil || a.Value == nil {
			return false
		}
	}
	for _, v := range p.Tags {
		if v == nil {
			return false
		}
	}
	return true
}

func same(t *testing.T, s *tracing.Span, p plain) {
	t.Helper()
	id, _ := tracing.ParseID(*p.ID)
	trace, _ := tracing.ParseTraceID(*p.TraceID)
	if s.ID != id || s.TraceID != trace {
		t.Fatalf("%v of %+v", s, p)
	}
	if p.Name != nil && s.Name != lowered(*p.Name) {
		t.Fatalf("name %q, want %q", s.Name, *p.Name)
	}
	if p.Timestamp != nil && s.Timestamp != max(0, *p.Timestamp) || p.Duration != nil && s.Duration != max(0, *p.Duration) {
		t.Fatalf("times %d %d of %+v", s.Timestamp, s.Duration, p)
	}
	if len(s.Tags) != len(p.Tags) {
		t.Fatalf("tags %v, want %v", s.Tags, p.Tags)
	}
	for _, tag := range s.Tags {
		if v := p.Tags[tag.Key]; v == nil || *v != tag.Value {
			t.Fatalf("tag %v of %+v", tag, p)
		}
	}
	if p.Local != nil && p.Local.Service != nil && s.Local.Service != lowered(*p.Local.Service) {
		t.Fatalf("local %v", s.Local)
	}
}

// lowered is apart from its use, as a comparison that folds is not what is meant.
func lowered(s string) string { return strings.ToLower(s) }

// roundTrip holds that spans survive both formats unchanged.
func roundTrip(t *testing.T, spans []tracing.Span) {
	t.Helper()
	raw := tracing.AppendJSONList(nil, spans)
	if !json.Valid(raw) {
		t.Fatalf("no JSON: %s", raw)
	}
	again, err := tracing.DecodeJSON(raw)
	if err != nil {
		t.Fatalf("own JSON: %v: %s", err, raw)
	}
	proto, err := tracing.DecodeProto(tracing.AppendProto(nil, spans...))
	if err != nil {
		t.Fatalf("own protobuf: %v", err)
	}
	if len(again) != len(spans) || len(proto) != len(spans) {
		t.Fatalf("%d spans became %d and %d", len(spans), len(again), len(proto))
	}
	for i := range spans {
		if !spans[i].Equal(&again[i]) {
			t.Fatalf("JSON: %+v became %+v", spans[i], again[i])
		}
		if !spans[i].Equal(&proto[i]) {
			t.Fatalf("protobuf: %+v became %+v", spans[i], proto[i])
		}
	}
}
