package dubbo

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	hessian "github.com/apache/dubbo-go-hessian2"

	"github.com/weirmesh/weir/gateway"
)

// arguments maps a request and reads back what would be sent.
func arguments(t testing.TB, args []gateway.Arg, r *http.Request, vars gateway.Vars) (string, *callError) {
	t.Helper()
	var pattern strings.Builder
	for _, v := range vars {
		pattern.WriteString("/{" + v.Name + "}")
	}
	m, err := newMapping(&gateway.Dubbo{Args: args}, pattern.String(), defaultBodyLimit)
	if err != nil {
		t.Fatal(err)
	}
	body, p := m.readBody(r, nil)
	if p != nil {
		return "", p
	}
	s := scanner{b: body}
	var e transcoder
	if p := m.encode(&e, &request{vars: vars, url: r.URL, header: r.Header, body: s.raw()}); p != nil {
		return "", p
	}
	return read(t, e.b), nil
}

func TestMapping(t *testing.T) {
	const body = ` {"n":1,"big":9223372036854775807,"s":"x\u00e9\ud83d\ude00\n","list":[1,2],"map":{"1":2.5},
		"buyer":{"name":"Ann","home":{"zip":7}},"null":null,"t":true,"d":"2026-01-02T03:04:05Z","dec":0.10000000000000000001,
		"twice":1,"twice":2,"a":{"b":{"c":"deep"}}, "empty":{}, "e":1e2} `
	for _, c := range []struct{ typ, from, want string }{
		{"int", "body.n", "[1]"},
		{"java.lang.Integer", "body.null", "[null]"},
		{"long", "body.big", "[9223372036854775807]"},
		{"int", "body.e", "[100]"},
		{"int", "body.twice", "[2]"},
		{"java.lang.String", "body.s", `["xé😀\n"]`},
		{"java.lang.String", "body.a.b.c", `["deep"]`},
		{"boolean", "body.t", "[true]"},
		{"double", "body.n", "[1]"},
		{"java.math.BigDecimal", "body.dec", "[0.10000000000000000001]"},
		{"java.math.BigInteger", "body.big", `["9223372036854775807"]`},
		{"java.util.Date", "body.d", `["2026-01-02T03:04:05Z"]`},
		{"java.util.Date", "body.n", `["1970-01-01T00:00:00.001Z"]`},
		{"java.sql.Timestamp", "body.d", `["2026-01-02T03:04:05Z"]`},
		{"java.time.Instant", "body.d", `["2026-01-02T03:04:05Z"]`},
		{"java.util.List<java.lang.Long>", "body.list", "[[1,2]]"},
		{"int[]", "body.list", "[[1,2]]"},
		{"java.util.Map<java.lang.Integer, java.lang.Double>", "body.map", `[{"1":2.5}]`},
		{"org.example.Buyer", "body.buyer", `[{"name":"Ann","home":{"zip":7}}]`},
		{"java.lang.Object", "body.buyer.home", `[{"zip":7}]`},
		{"org.example.Buyer", "body.empty", `[{}]`},
		{"java.lang.String", "path.sku", `["a/b"]`},
		{"int", "query.q", "[5]"},
		{"java.util.List<java.lang.Integer>", "query.many", "[[1,2]]"},
		{"java.lang.String", "header.x-user", `["Ann"]`},
		{"enum org.example.Color", "query.color", `["RED"]`},
		{"org.example.Color", "query.color", `["RED"]`},
		{"char", "query.color1", `["R"]`},
	} {
		r := httptest.NewRequest(http.MethodPost, "/?q=5&many=1&many=2&color=RED&color1=R", strings.NewReader(body))
		r.Header.Set("X-User", "Ann")
		got, p := arguments(t, []gateway.Arg{{Type: c.typ, From: c.from}}, r, gateway.Vars{{Name: "sku", Value: "a/b"}})
		if p != nil || got != c.want {
			t.Errorf("%s from %s: %s, %v; want %s", c.typ, c.from, got, p, c.want)
		}
	}
	for _, c := range []struct{ typ, from, location, words string }{
		{"int", "body.big", "body.big", "a whole number of 32 bits, got 9223372036854775807"},
		{"int", "body.dec", "body.dec", "a whole number of 32 bits, got 0.10000000000000000001"},
		{"int", "body.s", "body.s", "a whole number of 32 bits"},
		{"int", "body.null", "body.null", "got null"},
		{"int", "body.missing", "body.missing", "got nothing"},
		{"byte", "query.large", "query.large", "from -128 to 127"},
		{"int", "query.color", "query.color", `got "RED"`},
		{"int", "query.many", "query.many", "one value, got 2"},
		{"java.lang.String", "body.n", "body.n", "a string, got 1"},
		{"boolean", "body.n", "body.n", "true or false"},
		{"java.util.List<java.lang.String>", "body.list", "body.list[0]", "a string, got 1"},
		{"org.example.Buyer", "body.s", "body.s", "a JSON object (org.example.Buyer)"},
		{"org.example.Buyer", "body.list", "body.list", "a JSON object"},
		{"java.util.Date", "body.s", "body.s", "a date"},
		{"byte[]", "body.s", "body.s", "base64"},
		{"char", "body.s", "body.s", "one character"},
		{"java.util.Map<java.lang.String, java.lang.String>", "body.map", "body.map.1", "a string, got 2.5"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/?many=1&many=2&color=RED&large=128", strings.NewReader(body))
		got, p := arguments(t, []gateway.Arg{{Type: c.typ, From: c.from}}, r, nil)
		if p == nil || p.Status != http.StatusBadRequest || len(p.Errors) != 1 || p.Errors[0].Location != c.location || !strings.Contains(p.Detail, c.words) {
			t.Errorf("%s from %s: %s, %+v; want %s: %s", c.typ, c.from, got, p, c.location, c.words)
		}
	}
}

func TestMappingDefaults(t *testing.T) {
	args := []gateway.Arg{
		{Type: "int", From: "body.n", Default: json.RawMessage(" 7 ")},
		{Type: "java.lang.String", From: "query.q", Optional: true},
		{Type: "org.example.Buyer", From: "body.buyer", Default: json.RawMessage(`{"name":"nobody"}`)},
	}
	for body, want := range map[string]string{
		"":                        `[7,null,{"name":"nobody"}]`,
		`{}`:                      `[7,null,{"name":"nobody"}]`,
		`{"n":null}`:              `[7,null,{"name":"nobody"}]`,
		`{"n":1,"buyer":{"a":1}}`: `[1,null,{"a":1}]`,
		`[1]`:                     `[7,null,{"name":"nobody"}]`,
	} {
		got, p := arguments(t, args, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), nil)
		if p != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", body, got, p, want)
		}
	}
}

func TestBody(t *testing.T) {
	args := []gateway.Arg{{Type: "java.lang.Object", From: "body"}}
	for _, c := range []struct {
		body, contentType string
		status            int
	}{
		{`{"a":1}`, "application/json", 0},
		{`{"a":1}`, "application/json; charset=utf-8", 0},
		{`{"a":1}`, "application/merge-patch+json", 0},
		{`{"a":1}`, "text/plain", http.StatusUnsupportedMediaType},
		{`{"a":1`, "application/json", http.StatusBadRequest},
		{`{"a":1} x`, "application/json", http.StatusBadRequest},
		{"", "application/json", http.StatusBadRequest},
		{`{"class":"java.net.URL"}`, "", http.StatusBadRequest},
		{`{"a":{"cl\u0061ss":"java.net.URL"}}`, "", http.StatusBadRequest},
		{strings.Repeat("[", 100) + strings.Repeat("]", 100), "", http.StatusBadRequest},
		{`"` + strings.Repeat("x", defaultBodyLimit) + `"`, "", http.StatusRequestEntityTooLarge},
		{`1e1000000000`, "", http.StatusBadRequest},
	} {
		for _, length := range []bool{true, false} {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
			if !length {
				r.ContentLength = -1
			}
			if c.contentType != "" {
				r.Header.Set("Content-Type", c.contentType)
			}
			_, p := arguments(t, args, r, nil)
			if c.status == 0 && p != nil || c.status != 0 && (p == nil || p.Status != c.status) {
				t.Errorf("%.40s as %q: %v, want %d", c.body, c.contentType, p, c.status)
			}
		}
	}
}

func TestMessage(t *testing.T) {
	m, err := newMapping(&gateway.Dubbo{Message: &gateway.Message{
		Body: true, Fields: map[string]string{"sku": "path.sku", "tags": "query.tag", "who": "header.X-Who", "zip": "body.home.zip"},
	}}, "/{sku}", defaultBodyLimit)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/?tag=a&tag=b", nil)
	got, p := m.encodeMessage(nil, &request{
		vars: gateway.Vars{{Name: "sku", Value: `bo"ok`}}, url: r.URL, header: r.Header,
		body: []byte(`{"sk\u0075":"other","n":1,"home":{"zip":7}}`),
	})
	if want := `{"n":1,"home":{"zip":7},"sku":"bo\"ok","tags":["a","b"],"zip":7}`; p != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, p, want)
	}
}

func TestMappingRefuses(t *testing.T) {
	for _, c := range []struct {
		d     gateway.Dubbo
		field string
	}{
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "string", From: "body"}}}, "upstream.dubbo.args[0].type"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "String", From: "body"}}}, "upstream.dubbo.args[0].type"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "java.util.List<int>", From: "body"}}}, "upstream.dubbo.args[0].type"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "java.util.Map<java.lang.String>", From: "body"}}}, "upstream.dubbo.args[0].type"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "java.io.File", From: "body"}}}, "upstream.dubbo.args[0].type"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "org.example.A>", From: "body"}}}, "upstream.dubbo.args[0].type"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: strings.Repeat("java.util.List<", 30), From: "body"}}}, "upstream.dubbo.args[0].type"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "path.nope"}}}, "upstream.dubbo.args[0].from"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "path"}}}, "upstream.dubbo.args[0].from"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "cookie.x"}}}, "upstream.dubbo.args[0].from"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "body..x"}}}, "upstream.dubbo.args[0].from"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "header.a b"}}}, "upstream.dubbo.args[0].from"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "java.util.Map", From: "query.m"}}}, "upstream.dubbo.args[0].from"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "body", Default: json.RawMessage(`"x"`)}}}, "upstream.dubbo.args[0].default"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "body", Default: json.RawMessage(`{`)}}}, "upstream.dubbo.args[0].default"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "body", Optional: true}}}, "upstream.dubbo.args[0].optional"},
		{gateway.Dubbo{Args: []gateway.Arg{{Type: "int", From: "body"}}, Message: &gateway.Message{Body: true}}, "upstream.dubbo.message"},
		{gateway.Dubbo{Message: &gateway.Message{Fields: map[string]string{"a": "path.x"}}}, "upstream.dubbo.message.fields.a"},
	} {
		_, err := newMapping(&c.d, "/{id}", 1)
		var e *gateway.Error
		if !errors.As(err, &e) || e.Code != gateway.Invalid || e.Field != c.field {
			t.Errorf("%+v: %v, want one about %s", c.d, err, c.field)
		}
	}
}

// fuzzTypes are types that between them reach every kind.
var fuzzTypes = []string{
	"boolean", "byte", "short", "int", "long", "float", "double", "char", "java.lang.String", "java.lang.Long", "java.lang.Object",
	"java.math.BigDecimal", "java.math.BigInteger", "java.util.Date", "java.sql.Timestamp", "java.time.LocalDate", "java.time.LocalTime",
	"java.time.LocalDateTime", "java.time.Instant", "byte[]", "int[][]", "java.util.Set<java.lang.Integer>", "enum org.example.Color",
	"java.util.Map<java.lang.Long, java.util.List<org.example.Buyer>>", "org.example.Buyer",
}

// Whatever JSON comes in, what is sent can be read by others and says the same,
// or the request is refused.
func FuzzMapping(f *testing.F) {
	for i, s := range []string{
		`true`, `-128`, `3.0`, `2147483648`, `"9007199254740993"`, `1e-5`, `-0.0`, `"x"`, `"\ud83d\ude00"`, `null`, `{"a":[1,{"b":null}]}`,
		`0.1000000000000000055511151231257827`, `"123456789012345678901234567890"`, `1700000000000`, `"2026-01-02T03:04:05.006+07:00"`,
		`"2026-01-02"`, `"03:04:05.5"`, `"2026-01-02 03:04:05"`, `"1970-01-01T00:00:00Z"`, `"aGk="`, `[[1],[]]`, `[1,2]`, `"RED"`,
		`{"1":[{"name":"Ann"}]}`, `{"name":"\u0000","class":"x"}`,
	} {
		f.Add(s, byte(i))
	}
	f.Fuzz(func(t *testing.T, body string, which byte) {
		typ := fuzzTypes[int(which)%len(fuzzTypes)]
		m, err := newMapping(&gateway.Dubbo{Args: []gateway.Arg{{Type: typ, From: "body"}}}, "", defaultBodyLimit)
		if err != nil {
			t.Fatal(err)
		}
		raw, p := m.readBody(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), nil)
		if p != nil {
			return
		}
		s := scanner{b: raw}
		req := request{body: s.raw()}
		if string(req.body) != strings.Trim(body, " \t\r\n") {
			t.Fatalf("of %q is left %q", body, req.body)
		}
		var e transcoder
		if p := m.encode(&e, &req); p != nil {
			if p.Status != http.StatusBadRequest {
				t.Fatalf("%+v", p)
			}
			return
		}
		back := read(t, e.b)
		if typ == "java.lang.Object" && !strings.ContainsAny(body, ".eE\\") {
			var want, got any
			if json.Unmarshal([]byte("["+body+"]"), &want) != nil || json.Unmarshal([]byte(back), &got) != nil {
				t.Fatalf("%s of %s", back, body)
			}
			a, _ := json.Marshal(want) // what was unmarshalled can be marshalled
			b, _ := json.Marshal(got)
			if !bytes.Equal(a, b) {
				t.Fatalf("%s becomes %s", a, b)
			}
		}
		if _, err := hessian.NewDecoder(e.b).Decode(); err != nil {
			t.Fatalf("%s: %x: %v", body, e.b, err)
		}
	})
}

func FuzzType(f *testing.F) {
	for _, s := range fuzzTypes {
		f.Add(s)
	}
	f.Add("java.util.List<? extends java.lang.Long>[]")
	f.Fuzz(func(t *testing.T, text string) {
		typ, err := parseType(text)
		if err == nil && (typ.name == "" || typ.expects() == "") {
			t.Fatalf("%q gives %+v", text, typ)
		}
	})
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte(`{"a":[1,"b\"",{"c":null}],"d":"\ud83d\ude00"}`), "a")
	f.Add([]byte(`{"a":`), "a")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		s := scanner{b: b}
		raw := s.raw()
		if len(raw) > 0 && raw[0] == '"' {
			unquote(nil, raw)
		}
		found := lookup(raw, []string{name})
		var want map[string]json.RawMessage
		if json.Unmarshal(b, &want) == nil && want != nil {
			if v, ok := want[name]; ok != (found != nil) || ok && string(v) != string(found) {
				t.Fatalf("%s: %q is %q, want %q", b, name, found, v)
			}
		}
	})
}
