package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
)

func TestPaths(t *testing.T) {
	for target, want := range map[string]any{
		"/":                   "/",
		"/a/b/":               "/a/b/",
		"/a//b///c":           "/a/b/c",
		"//":                  "/",
		"//a":                 "/a",
		"/a%2Fb/c":            "/a%2Fb/c",
		"/a%2F/%2Fb":          "/a%2F/%2Fb",
		"/a//b%2F":            "/a/b%2F",
		"/%41":                "/%41",
		"/a%20b":              "/a%20b",
		"/a%2Fb\"é[]|":        "/a%2Fb%22%C3%A9%5B%5D%7C",
		"/é":                  "/%C3%A9",
		"/.well-known/x":      "/.well-known/x",
		"/.../a..b/..c":       "/.../a..b/..c",
		"/a;x=../b":           "/a;x=../b",
		"/%252e%252e/a":       "/%252e%252e/a",
		"/a/../b":             errDots,
		"/a/./b":              errDots,
		"/a/..":               errDots,
		"/a/.":                errDots,
		"/a/%2e%2e/b":         errDots,
		"/a/.%2E/b":           errDots,
		"/a/..;/b":            errDots,
		"/a/..;x=y/b":         errDots,
		"/a/%2e%2e%3bx/b":     errDots,
		"/a/..%2Fb":           errDots,
		"/a/b%2F..%2F..%2Fc":  errDots,
		"/a/..%5Cb":           errDots,
		"/a\\..\\b":           errDots,
		"/a/%00":              errNul,
		"*":                   errNoPath,
		"":                    errNoPath,
		"http://x.example":    errNoPath,
		"http://x.example/a/": "/a/",
	} {
		u, err := url.Parse(target)
		if strings.HasPrefix(target, "/") {
			u, err = url.ParseRequestURI(target) // as net/http does
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := pathOf(u)
		if wrong, bad := want.(error); bad {
			if !errors.Is(err, wrong) {
				t.Errorf("%q: %v, want %v", target, err, wrong)
			}
		} else if err != nil || p.escaped() != want {
			t.Errorf("%q is sent as %q (%v), want %q", target, p.escaped(), err, want)
		}
	}
}

// FuzzPath holds that what is matched is what is sent: an upstream that takes the
// path apart as it arrives sees the segments that routes were held against, and
// none that it would resolve.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/a/b", "/a%2Fb//c", "/%2e%2e/", "/a/..;x/b", "/\\..", "//x//", "/%zz", "/a\x00", "/é%C3%A9/%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		p, err := pathOf(u)
		if err != nil {
			return
		}
		sent := p.escaped()
		arrived, err := url.ParseRequestURI(sent)
		if err != nil {
			t.Fatalf("%q is sent as %q, which is no target: %v", target, sent, err)
		}
		want, ok := gateway.SplitPath(arrived.EscapedPath(), nil)
		if got := p.split(nil); !ok || strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("%q: matched %q, sent %q", target, got, want)
		}
		again, err := pathOf(arrived)
		if err != nil || again.escaped() != sent {
			t.Fatalf("%q is sent as %q, which is refused or changed: %q, %v", target, sent, again.escaped(), err)
		}
		for i, s := range want {
			if s == "" && i < len(want)-1 {
				t.Fatalf("%q is sent with an empty segment: %q", target, sent)
			}
			for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '/' || r == '\\' }) {
				if name, _, _ := strings.Cut(part, ";"); name == ".." || name == "." {
					t.Fatalf("%q is sent with dots: %q", target, sent)
				}
			}
		}
	})
}

func rewriteBy(tb testing.TB, pattern, target string, filters ...gateway.Filter) (string, error) {
	tb.Helper()
	r, err := compileMatch(version(tb, "r", 0, gateway.Match{Path: pattern}))
	if err != nil {
		tb.Fatal(err)
	}
	a := &action{}
	for _, f := range filters {
		if err := a.filter(f); err != nil {
			tb.Fatal(err)
		}
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := pathOf(u)
	if err != nil {
		tb.Fatal(err)
	}
	if !r.pattern.Match(p.split(nil)) {
		tb.Fatalf("%s does not take %s", pattern, target)
	}
	p, err = a.rewritten(p, r)
	return p.escaped(), err
}

func TestRewriting(t *testing.T) {
	strip := func(n int) gateway.Filter { return gateway.Filter{StripPrefix: &n} }
	set := func(s string) gateway.Filter { return gateway.Filter{SetPath: s} }
	add := func(s string) gateway.Filter { return gateway.Filter{AddPrefix: s} }
	with := func(expr, s string) gateway.Filter {
		return gateway.Filter{Rewrite: &gateway.Rewrite{Regex: expr, With: s}}
	}
	for _, c := range []struct {
		pattern, target string
		filters         []gateway.Filter
		want            string
	}{
		{"/shop/{rest...}", "/shop/cart/4%2F2/", []gateway.Filter{strip(1)}, "/cart/4%2F2/"},
		{"/shop/{rest...}", "/shop", []gateway.Filter{strip(1)}, "/"},
		{"/shop/{rest...}", "/shop/", []gateway.Filter{strip(1)}, "/"},
		{"/shop/{rest...}", "/shop/a", []gateway.Filter{strip(5)}, "/"},
		{"/{rest...}", "/a%2Fb/c", []gateway.Filter{strip(1)}, "/c"},
		{"/{rest...}", "/a", []gateway.Filter{add("/v1/")}, "/v1/a"},
		{"/{rest...}", "/a", []gateway.Filter{add("/v 1")}, "/v%201/a"},
		{"/{rest...}", "/a/b", []gateway.Filter{strip(1), add("/x"), strip(1)}, "/b"},
		{"/cart/{id}/{rest...}", "/cart/4%2F2/x/%C3%A9", []gateway.Filter{set("/c/{rest}/of-{id}")}, "/c/x/%C3%A9/of-4%2F2"},
		{"/cart/{id}", "/cart/a b", []gateway.Filter{set("/c/{id}")}, "/c/a%20b"},
		{"/{rest...}", "/old/a%20b", []gateway.Filter{with("^/old/(.*)$", "/new/$1/x")}, "/new/a%20b/x"},
		{"/{rest...}", "/a", []gateway.Filter{with("/a", "")}, "/"},
		{"/{rest...}", "/a", []gateway.Filter{with("/a", "b")}, "/b"},
		{"/{rest...}", "/files-../secret", []gateway.Filter{with("^/files-(.*)$", "/files/$1")}, "dots"},
		{"/{rest...}", "/%2561", []gateway.Filter{with("%25", "%")}, "/a"},
		{"/{rest...}", "/%252e%252e/x", []gateway.Filter{with("%25", "%")}, "dots"},
		{"/{rest...}", "/a%20b", []gateway.Filter{with("20", "")}, "encoded"},
	} {
		got, err := rewriteBy(t, c.pattern, c.target, c.filters...)
		switch c.want {
		case "dots":
			if !errors.Is(err, errDots) {
				t.Errorf("%s: %q, %v, want it refused", c.target, got, err)
			}
		case "encoded":
			if err != nil { // "%b" + nothing is no escape
				break
			}
			t.Errorf("%s: %q, want it refused", c.target, got)
		default:
			u := url.URL{}
			if parsed, perr := url.ParseRequestURI(got); perr == nil {
				u = *parsed
			}
			if err != nil || got != c.want && u.Path != c.want {
				t.Errorf("%s %v: %q, %v, want %q", c.target, c.filters, got, err, c.want)
			}
		}
	}
}

// FuzzRewrite holds that no filter makes a path that would be refused from a
// client, or that an upstream would read in another way.
func FuzzRewrite(f *testing.F) {
	f.Add("/files-../secret", "^/files-(.*)$", "/files/$1", "/x/{all}", uint8(0))
	f.Add("/a%2Fb/c", "b", ".", "/{all}/..", uint8(1))
	f.Add("/%252e", "%25", "%", "/a{all}", uint8(2))
	f.Fuzz(func(t *testing.T, target, expr, with, template string, n uint8) {
		u, err := url.ParseRequestURI(target)
		if err != nil || template == "" {
			return
		}
		re, err := regexp.Compile(expr)
		if err != nil {
			return
		}
		p, err := pathOf(u)
		if err != nil {
			return
		}
		r, err := compileMatch(version(t, "r", 0, gateway.Match{Path: "/{all...}"}))
		if err != nil {
			t.Fatal(err)
		}
		for _, steps := range [][]pathStep{
			{rewrite{re, with}}, {newSetPath(template)}, {stripPrefix(n % 5), addPrefix(strings.TrimSuffix(escapeBare(template), "/"))}, {newSetPath(template), rewrite{re, with}, stripPrefix(n % 3)},
		} {
			a := &action{paths: steps, prefix: "/base"}
			made, err := a.rewritten(p, r)
			if err != nil {
				continue
			}
			arrived, err := url.ParseRequestURI(made.escaped())
			if err != nil {
				t.Fatalf("%q became %q, which is no target: %v", target, made.escaped(), err)
			}
			again, err := pathOf(arrived)
			if err != nil || again.escaped() != made.escaped() {
				t.Fatalf("%q became %q, which would be refused or changed: %v", target, made.escaped(), err)
			}
		}
	})
}

// FuzzHeaders holds that nothing of a client's connection travels on, and nothing
// that an upstream would believe.
func FuzzHeaders(f *testing.F) {
	f.Add("Connection", "X-Forwarded-For, close", "X-Forwarded-For", "1.2.3.4", "10.0.0.1:99")
	f.Add("Te", "trailers, deflate", "Transfer-Encoding", "chunked", "[::1]:1")
	f.Add("Via", "1.1 weir", "Upgrade", "h2c", "@")
	f.Fuzz(func(t *testing.T, a, av, b, bv, peer string) {
		p := &Proxy{config: Config{Via: "weir"}}
		r := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "h.example", RemoteAddr: peer, Header: http.Header{}}
		r.Header.Add(a, av)
		r.Header.Add(b, bv)
		before := r.Header.Clone()
		h := p.outHeader(r, false)
		for _, name := range hopByHop {
			if v := h[name]; len(v) > 0 && (name != "Te" || len(v) != 1 || v[0] != "trailers") {
				t.Fatalf("%s: %q travels on", name, v)
			}
		}
		if v := h["X-Forwarded-For"]; len(v) > 1 || len(v) == 1 && strings.Contains(v[0], ",") && !strings.Contains(peer, ",") {
			t.Fatalf("X-Forwarded-For is %q for %q", v, peer)
		}
		if h.Get("X-Forwarded-Host") != "h.example" || h.Get("X-Forwarded-Proto") != "http" || h["Forwarded"] != nil || h["X-Real-Ip"] != nil {
			t.Fatalf("the client's word is believed: %v", h)
		}
		if via := h["Via"]; len(via) == 0 || via[len(via)-1] != "1.1 weir" {
			t.Fatalf("Via is %q", via)
		}
		for name, values := range before {
			if strings.Join(r.Header[name], "\x00") != strings.Join(values, "\x00") {
				t.Fatal("the client's headers were changed")
			}
		}
	})
}
