package dubbo

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	hessian "github.com/apache/dubbo-go-hessian2"
)

// read turns a Hessian stream of one value into JSON.
func read(t testing.TB, b []byte) string {
	t.Helper()
	var r reader
	r.reset(b)
	if err := r.value(); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	if r.pos != len(b) {
		t.Errorf("%x: %d bytes left", b, len(b)-r.pos)
	}
	if !json.Valid(r.out) {
		t.Errorf("%x: no JSON: %s", b, r.out)
	}
	return string(r.out)
}

// What is written here is read back, here and by another implementation.
func TestHessianBothWays(t *testing.T) {
	check := func(b []byte, want any) {
		t.Helper()
		got, err := hessian.NewDecoder(b).Decode()
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		switch w := want.(type) {
		case float64:
			if g, ok := got.(float64); !ok || math.Float64bits(g) != math.Float64bits(w) {
				t.Errorf("%x: %v, want %v", b, got, want)
			}
		case []byte:
			if g, ok := got.([]byte); !ok && len(w) > 0 || !bytes.Equal(g, w) {
				t.Errorf("%x: %v, want %v", b, got, want)
			}
		default:
			if got != want {
				t.Errorf("%x: %v, want %v", b, got, want)
			}
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if have := read(t, b); have != string(text) && len(text) < 100 && !bytes.ContainsAny(text, "<>&") {
			t.Errorf("%x: %s, want %s", b, have, text)
		}
	}
	for shift := range 64 {
		for _, d := range []int64{-2, -1, 0, 1, 2} {
			n := int64(1)<<shift + d
			for _, n := range []int64{n, -n} {
				check(appendLong(nil, n), n)
				if n >= math.MinInt32 && n <= math.MaxInt32 {
					check(appendInt(nil, int32(n)), int32(n))
				}
			}
		}
	}
	for _, f := range []float64{0, 1, -1, 2, 127, 128, -128, -129, 32767, 32768, -32768, 0.5, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64} {
		check(appendDouble(nil, f), f)
	}
	if math.Float64bits(readDouble(t, appendDouble(nil, math.Copysign(0, -1)))) != math.Float64bits(math.Copysign(0, -1)) {
		t.Error("-0 is lost")
	}
	for _, n := range []int{0, 1, 15, 16, 31, 32, 1023, 1024, 65535, 65536, 200000} {
		check(appendBinary(nil, bytes.Repeat([]byte{7}, n)), bytes.Repeat([]byte{7}, n))
		for _, s := range []string{"x", "é", "€", "😀"} {
			check(appendString(nil, strings.Repeat(s, n)), strings.Repeat(s, n))
		}
	}
	check(appendString(nil, "a\"b\\c\n\x00\u2028😀"), "a\"b\\c\n\x00\u2028😀")
	check(appendBool(nil, true), true)
	if got, err := hessian.NewDecoder(appendDate(nil, 1700000000123)).Decode(); err != nil || !got.(time.Time).Equal(time.UnixMilli(1700000000123)) {
		t.Errorf("%v, %v", got, err)
	}
	if got := read(t, appendDate(nil, 1700000000123)); got != `"2023-11-14T22:13:20.123Z"` {
		t.Error(got)
	}
}

func readDouble(t *testing.T, b []byte) float64 {
	t.Helper()
	r := reader{in: b}
	tag, err := r.byte()
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := r.doubleTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHessianToJSON(t *testing.T) {
	object := func(class string, values []byte, fields ...string) []byte {
		var e encoder
		e.object(class, fields...)
		return append(e.b, values...)
	}
	text := func(s string) []byte { return appendString(nil, s) }
	ints := func(n ...int32) (b []byte) {
		for _, i := range n {
			b = appendInt(b, i)
		}
		return b
	}
	date := object(java8+"LocalDateHandle", ints(2026, 1, 2), "year", "month", "day")
	for _, c := range []struct {
		name, want string
		in         []byte
	}{
		{"bean of a generic answer", `{"name":"bob","tags":[]}`, []byte("H\x05class\x12org.example.Person\x04name\x03bob\x04tags\x78Z")},
		{"class as the last", `{"name":"bob"}`, []byte("H\x04name\x03bob\x05class\x12org.example.PersonZ")},
		{"business class", `{"class":"economy"}`, []byte("H\x05class\x07economyZ")},
		{"numbers as keys", `{"1":true,"2":"x"}`, []byte("H\x91T\x92\x01xZ")},
		{"object", `{"a":1}`, object("org.example.A", ints(1), "a")},
		{"enum", `"RED"`, object("org.example.Color", text("RED"), "name")},
		{"decimal", `12345678901234567890.5`, object("java.math.BigDecimal", text("12345678901234567890.5"), "value")},
		{"decimal in words", `"NaN"`, object("java.math.BigDecimal", text("NaN"), "value")},
		{"local date", `"2026-01-02"`, date},
		{"untyped list", `[1,[null]]`, []byte("\x57\x91\x79NZ")},
		{"typed lists", `[["a"],["b"]]`, []byte("\x7a\x71\x07[string\x01a\x71\x90\x01b")},
		{"reference", `[{"a":1},{"a":1}]`, []byte("\x7aH\x01a\x91Z\x51\x91")},
		{"reference to what was rewritten", `["2026-01-02","2026-01-02"]`, append(append([]byte{0x7a}, date...), 0x51, 0x91)},
		{"chunks that part a pair", `"😀"`, []byte("R\x00\x01\xed\xa0\xbd\x01\xed\xb8\x80")},
		{"four bytes for two units", `"😀"`, []byte("\x02\xf0\x9f\x98\x80")},
		{"infinity", `"-Infinity"`, appendDouble(nil, math.Inf(-1))},
		{"thousandths", `1.5`, []byte{tagDoubleMill, 0, 0, 5, 0xdc}},
	} {
		if got := read(t, c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for name, in := range map[string]string{
		"cycle":              "H\x04self\x51\x90Z",
		"short list":         "\x7a\x91",
		"length of billions": "\x58I\x7f\xff\xff\xff",
		"unknown class":      "\x60",
		"unknown type":       "\x71\x90\x01a",
		"no UTF-8":           "\x01\xff",
		"no tag":             "\x40",
		"endless map":        "H\x01a",
		"fields of billions": "C\x01aI\x7f\xff\xff\xff",
		"deep":               strings.Repeat("\x79", 300) + "N",
		"keys of objects":    "HHZ\x01aZ",
	} {
		var r reader
		r.reset([]byte(in))
		if err := r.value(); err == nil {
			t.Errorf("%s: %s", name, r.out)
		}
	}
	// Each level refers twice to the one below: some bytes that stand for gigabytes.
	bomb := []byte{0x57}
	for i := range 64 {
		bomb = append(bomb, 0x7a)
		if i == 0 {
			bomb = append(bomb, 'N', 'N')
		} else {
			bomb = append(append(appendInt(append(bomb, tagRef), int32(i)), tagRef), appendInt(nil, int32(i))...)
		}
	}
	var r reader
	r.reset(append(bomb, 'Z'))
	if err := r.value(); err != errUnfolded { //nolint:errorlint // it is returned as it is
		t.Errorf("bomb: %v with %d bytes", err, len(r.out))
	}
}

func FuzzHessianToJSON(f *testing.F) {
	f.Add([]byte("H\x05class\x12org.example.Person\x04name\x03bob\x04tags\x78Z"))
	f.Add([]byte("\x7aH\x01a\x91Z\x51\x91"))
	f.Add([]byte("C\x14java.math.BigDecimal\x91\x05value\x60\x011"))
	f.Add([]byte("\x57R\x00\x01\xed\xa0\xbd\x01\xed\xb8\x80Z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, big := range []bool{false, true} {
			var r reader
			r.reset(b)
			r.bigAsStrings = big
			if err := r.value(); err == nil && !json.Valid(r.out) {
				t.Fatalf("%x gives %s", b, r.out)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(byte(20), []byte("\x94\x03abcH\x07closing\x04trueZ"))
	f.Add(byte(20), []byte("\x93C\x07a.B.Exc\x92\x0ddetailMessage\x05cause\x60\x04oops\x51\x90HZ"))
	f.Add(byte(70), []byte("\x30\x40java.lang.NoSuchMethodException: org.example.Probe.nope(int) at x"))
	f.Fuzz(func(t *testing.T, status byte, body []byte) {
		var r reader
		a, p := readAnswer(&r, header{flags: hessian2, status: status}, body, true)
		if p == nil && !json.Valid(a.json) {
			t.Fatalf("%x gives %s", body, a.json)
		}
		if p != nil && (p.Status < 400 || p.Status > 599 || p.Detail == "") {
			t.Fatalf("%x gives %+v", body, p)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(appendHeader(nil, flagRequest|hessian2, 20, 7, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err == nil && !bytes.Equal(appendHeader(nil, h.flags, h.status, h.id, h.length), b[:headerSize]) {
			t.Fatalf("%x reads as %+v", b, h)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x0d\x0a\x08hessian2\x12\x01N"))
	f.Fuzz(func(t *testing.T, b []byte) {
		data, err := unwrap(b)
		if err == nil && len(data) > len(b) {
			t.Fatal("more than there was")
		}
	})
}

func TestExceptions(t *testing.T) {
	thrown := exceptionProblem
	for _, c := range []struct {
		p      *callError
		status int
		notRun bool
	}{
		{thrown("org.example.StockException", "no article"), 422, false},
		{thrown("java.lang.RuntimeException", "out of stock"), 500, false},
		{thrown("java.lang.Throwable", "no database"), 500, false},
		{thrown("java.lang.Exception", "no database"), 500, false},
		{thrown("", "no database"), 500, false},
		{thrown("org.example.Mine", "thread pool is exhausted"), 422, false}, // the service's own words
		{statusProblem(statusThreadPoolIsEmpty, ""), 503, true},
		{statusProblem(statusServerTimeout, ""), 504, false},
		{statusProblem(statusServiceError, "org.apache.dubbo.rpc.RpcException: org.example.A.b(int)\n\tjava.lang.NoSuchMethodException"), 404, false},
		{statusProblem(statusServiceError, "org.apache.dubbo.remoting.RemotingException: Not found exported service: x in [y]"), 404, true},
		{statusProblem(statusServerError, "Server side(10.0.0.1,20880) thread pool is exhausted, detail msg: Thread pool is EXHAUSTED!"), 503, false},
		{statusProblem(statusBadRequest, "cannot decode"), 400, false},
		{statusProblem(statusServiceError, "boom at 10.0.0.1:20880"), 502, false},
		{thrown("java.lang.Throwable", "weir refused the call (switched): InventoryService.reserve is switched off"), 503, false},
		{grpcProblem(codeResourceExhausted, "weir refused the call (full): all 5"), 503, false},
		{grpcProblem(codeUnimplemented, ""), 404, true},
		{grpcProblem(codeBusiness, "out of stock"), 500, false},
		{grpcProblem(codeUnknown, "out of stock"), 500, false},
		{grpcProblem(codeFailedPrecondition, "out of stock"), 422, false},
		{grpcProblem(codeUnavailable, ""), 503, false},
		{grpcProblem(codeDeadlineExceeded, ""), 504, false},
		{httpProblem(404, []byte("404 page not found")), 404, true},
		{httpProblem(500, []byte(`{"message":"boom","status":"500"}`)), 500, false},
		{httpProblem(400, []byte(`{"code":"invalid_argument","message":"no"}`)), 400, false},
	} {
		if c.p.Status != c.status || c.p.notRun != c.notRun {
			t.Errorf("%+v: want status %d, not run %v", c.p, c.status, c.notRun)
		}
		text, err := json.Marshal(c.p)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(text); strings.Contains(s, "10.0.0.1") || strings.Contains(s, `\n`) {
			t.Errorf("too much is told: %s", s)
		}
	}
	p := thrown("org.example.X", "refused by /10.1.2.3:20880 and [fe80::1]:9\n\tat org.example.Y(Y.java:1)")
	if p.Message != "refused by … and …" {
		t.Errorf("%q", p.Message)
	}
}
