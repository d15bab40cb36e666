package gateway_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
)

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"", "/", true},
		{"", "/a/b", true},
		{"/", "/", true},
		{"/", "/a", false},
		{"/cart", "/cart", true},
		{"/cart", "/cart/", false},
		{"/cart/", "/cart/", true},
		{"/cart/", "/cart", false},
		{"/cart/{id}", "/cart/42", true},
		{"/cart/{id}", "/cart/", false},
		{"/cart/{id}", "/cart/42/items", false},
		{"/cart/{id}", "/cart/a%2Fb", true},
		{"/cart/{id}/items", "/cart/1/items", true},
		{"/static/{rest...}", "/static", true},
		{"/static/{rest...}", "/static/", true},
		{"/static/{rest...}", "/static/a/b", true},
		{"/static/{rest...}", "/statics", false},
		{"/{all...}", "/", true},
		{"/a%2Fb", "/a%2Fb", true},
		{"/a%2Fb", "/a/b", false},
		{"/caf%C3%A9", "/caf%C3%A9", true},
		{"/café", "/caf%C3%A9", true},
		{"/Cart", "/cart", false},
	} {
		p, err := gateway.ParsePattern(c.pattern)
		if err != nil {
			t.Fatalf("%s: %v", c.pattern, err)
		}
		segments, ok := gateway.SplitPath(c.path, nil)
		if !ok {
			t.Fatalf("%s cannot be split", c.path)
		}
		if got := p.Match(segments); got != c.want {
			t.Errorf("%q takes %q: %t, want %t", c.pattern, c.path, got, c.want)
		}
	}
}

func TestPatternVariables(t *testing.T) {
	p, err := gateway.ParsePattern("/a/{x}/b/{rest...}")
	if err != nil {
		t.Fatal(err)
	}
	segments, _ := gateway.SplitPath("/a/1%2F2/b/c/d", nil)
	if !p.Match(segments) {
		t.Fatal("no match")
	}
	vars := p.Vars(segments)
	if len(vars) != 2 || vars["x"] != "1/2" || vars["rest"] != "c/d" {
		t.Errorf("got %v", vars)
	}
	if got := strings.Join(p.Names(), " "); got != "x rest" {
		t.Errorf("names %q", got)
	}
}

func TestPatternsThatAreRefused(t *testing.T) {
	for pattern, why := range map[string]string{
		"cart":                               "does not begin with a slash",
		"/a//b":                              "empty segment",
		"/a/{x...}/b":                        "before its end",
		"/{x}/{x}":                           "twice",
		"/a{x}":                              "whole segment",
		"/{x}y":                              "whole segment",
		"/{}":                                "no name",
		"/{...}":                             "no name",
		"/{1x}":                              "no name",
		"/{a.b}":                             "no name",
		"/a?b":                               "path alone",
		"/a#b":                               "path alone",
		"/a/../b":                            "cleaned",
		"/a/%2e%2e":                          "cleaned",
		"/a/%zz":                             "percent-encoded",
		"/a\x01":                             "control",
		"/" + strings.Repeat("a/", 64) + "a": "segments",
		"/" + strings.Repeat("a", 3000):      "longer than",
	} {
		_, err := gateway.ParsePattern(pattern)
		var e *gateway.Error
		if !errors.As(err, &e) || e.Code != gateway.Invalid || !strings.Contains(e.Message, why) {
			t.Errorf("%.40q: got %v, want an Invalid about %q", pattern, err, why)
		}
	}
}

func TestPatternPrecedence(t *testing.T) {
	for _, pair := range [][2]string{
		{"/a/b", "/a/{x}"},
		{"/a/{x}", "/a/{rest...}"},
		{"/a", "/a/{rest...}"},
		{"/a/b/{rest...}", "/a/{x}/c"},
		{"/{x}", "/{rest...}"},
		{"/{rest...}", ""},
	} {
		a, errA := gateway.ParsePattern(pair[0])
		b, errB := gateway.ParsePattern(pair[1])
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Compare(b) >= 0 || b.Compare(a) <= 0 {
			t.Errorf("%q does not go before %q", pair[0], pair[1])
		}
		if same, err := gateway.ParsePattern(pair[0]); err != nil || a.Compare(same) != 0 {
			t.Errorf("%q is not equal to itself", pair[0])
		}
	}
}

func TestPatternCovers(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"", "/a", true}, {"", "", true}, {"/{all...}", "", true}, {"/{all...}", "/a/{x}", true},
		{"/a", "/a", true}, {"/a", "/b", false}, {"/{x}", "/a", true}, {"/a", "/{x}", false},
		{"/{x}", "/", false}, {"/a/{r...}", "/a", true}, {"/a/{r...}", "/a/{x}/c", true},
		{"/a/{x}", "/a/{r...}", false}, {"/a/{r...}", "/b", false}, {"/a/{x}", "/a/{y}", true},
		{"/a/b/{r...}", "/a/{r...}", false},
	} {
		p, errP := gateway.ParsePattern(c.p)
		q, errQ := gateway.ParsePattern(c.q)
		if errP != nil || errQ != nil {
			t.Fatal(errP, errQ)
		}
		if got := p.Covers(q); got != c.want {
			t.Errorf("%q covers %q: %t", c.p, c.q, got)
		}
	}
}

func TestSplitPathRefuses(t *testing.T) {
	for _, path := range []string{"", "a", "*", "/%", "/%g0"} {
		if _, ok := gateway.SplitPath(path, nil); ok {
			t.Errorf("%q was split", path)
		}
	}
}

// FuzzPattern holds what must be so of any two patterns and any path: a pattern
// survives being written and read, it takes the paths that it is made of, and
// Covers never promises what Match does not keep.
func FuzzPattern(f *testing.F) {
	f.Add("/cart/{id}", "/{all...}", "/cart/42")
	f.Add("/a%2Fb/{rest...}", "", "/a%2Fb/x/y")
	f.Add("/", "/{x}", "/")
	f.Add("/a/", "/a/{x}", "/a/%00")
	f.Add("/{x}/b", "/a/{r...}", "/a/b")
	f.Fuzz(func(t *testing.T, one, two, path string) {
		p, err := gateway.ParsePattern(one)
		if err != nil {
			if gateway.CodeOf(err) != gateway.Invalid {
				t.Fatalf("%q: code %s", one, gateway.CodeOf(err))
			}
			return
		}
		again, err := gateway.ParsePattern(p.String())
		if err != nil || again.String() != p.String() || again.Compare(p) != 0 || !again.Covers(p) || !p.Covers(again) {
			t.Fatalf("%q is written %q, which reads %+v, %v", one, p.String(), again, err)
		}
		q, err := gateway.ParsePattern(two)
		if err != nil {
			return
		}
		if p.Compare(q) != -q.Compare(p) {
			t.Fatalf("%q and %q have no order", one, two)
		}
		segments, ok := gateway.SplitPath(path, nil)
		if !ok {
			return
		}
		if p.Match(segments) {
			if got, want := len(p.Vars(segments)), len(p.Names()); got != want {
				t.Fatalf("%q has %d variables in %q", one, got, path)
			}
		}
		if p.Covers(q) && q.Match(segments) && !p.Match(segments) {
			t.Fatalf("%q covers %q, but does not take %q", one, two, path)
		}
	})
}
