package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
)

func parse(t *testing.T, name, match string, priority int) gateway.Route {
	t.Helper()
	r := gateway.Route{Namespace: "n", Name: name, Priority: priority, Upstream: gateway.Upstream{App: "n/a"}}
	if err := gateway.Decode([]byte(match), &r.Match); err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name, first, second string
		priority            int // of the first
		want                string
	}{
		{"more specific", `{"path":"/a/{x}"}`, `{"path":"/a/b"}`, 0, ""},
		{"less specific by priority", `{"path":"/a/{x}"}`, `{"path":"/a/b"}`, 1, "shadowed by n/first for /a/b: it will never match"},
		{"same", `{"path":"/a/{x}"}`, `{"path":"/a/{y}"}`, 0, "the same match as n/first for /a/{y}: it will never match"},
		{"same with one of two hosts", `{"host":["b","a"],"path":"/a"}`, `{"host":"a","path":"/a"}`, 0, "shadowed by n/first for a/a: it will never match"},
		{"everything by priority", `{}`, `{"host":"x","path":"/a","method":"GET"}`, 1, "shadowed by n/first for GET x/a: it will never match"},
		{"other method", `{"path":"/a","method":"POST"}`, `{"path":"/a","method":"GET"}`, 1, ""},
		{"fewer methods", `{"path":"/a","method":["POST"]}`, `{"path":"/a","method":["POST","GET"]}`, 1, ""},
		{"more methods", `{"path":"/a","method":["POST","GET"]}`, `{"path":"/a","method":"GET"}`, 1, "shadowed by n/first for GET /a: it will never match"},
		{"GET takes HEAD", `{"path":"/a","method":"GET"}`, `{"path":"/a","method":"HEAD"}`, 1, "shadowed by n/first for HEAD /a: it will never match"},
		{"other host", `{"host":"a.b","path":"/a"}`, `{"host":"b.b","path":"/a"}`, 1, ""},
		{"wildcard host", `{"host":"*.b","path":"/a"}`, `{"host":"a.b","path":"/a"}`, 1, "shadowed by n/first for a.b/a: it will never match"},
		{"wildcard in wildcard", `{"host":"*.b","path":"/a"}`, `{"host":"*.a.b","path":"/a"}`, 1, "shadowed by n/first for *.a.b/a: it will never match"},
		{"wildcard does not take its own name", `{"host":"*.b","path":"/a"}`, `{"host":"b","path":"/a"}`, 1, ""},
		{"wildcard above", `{"host":"*.a.b","path":"/a"}`, `{"host":"*.b","path":"/a"}`, 1, ""},
		{"one of two hosts", `{"host":"a","path":"/a"}`, `{"host":["a","b"],"path":"/a"}`, 1, ""},
		{"header condition of the first", `{"path":"/a","header":[{"name":"x","present":true}]}`, `{"path":"/a"}`, 1, ""},
		{"header condition of the second", `{"path":"/a"}`, `{"path":"/a","header":[{"name":"x","present":true}]}`, 1, "shadowed by n/first for /a: it will never match"},
		{"header that follows", `{"path":"/a","header":[{"name":"x","present":true}]}`, `{"path":"/a","header":[{"name":"X","equals":"1"}]}`, 1, "shadowed by n/first for /a: it will never match"},
		{"header that contradicts", `{"path":"/a","header":[{"name":"x","present":true}]}`, `{"path":"/a","header":[{"name":"x","absent":true}]}`, 1, ""},
		{"tail", `{"path":"/a/{r...}"}`, `{"path":"/a/b/{x}"}`, 1, "shadowed by n/first for /a/b/{x}: it will never match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second := parse(t, "first", c.first, c.priority), parse(t, "second", c.second, 0)
			for _, look := range []string{"first", "second"} {
				got, whole := findings([]gateway.Route{first, second}, map[gateway.Key]bool{{Namespace: "n", Name: look}: true})
				messages := make([]string, len(got))
				for i, f := range got {
					messages[i] = f.Message
				}
				if says := strings.Join(messages, "; "); says != c.want || !whole {
					t.Errorf("looking at the %s: got %q, want %q", look, says, c.want)
				}
			}
			if c.want == "" {
				return
			}
			first.Disabled = true
			if got, _ := findings([]gateway.Route{first, second}, map[gateway.Key]bool{second.Key(): true}); len(got) > 0 {
				t.Errorf("a route that is off takes requests: %+v", got)
			}
		})
	}
}

func TestSeveralTogetherShadow(t *testing.T) {
	a, b := parse(t, "a", `{"path":"/x","method":"GET"}`, 1), parse(t, "b", `{"path":"/x","method":"POST"}`, 1)
	both := parse(t, "both", `{"path":"/x","method":["GET","POST"]}`, 0)
	got, _ := findings([]gateway.Route{a, b, both}, map[gateway.Key]bool{both.Key(): true})
	if len(got) != 1 || got[0].Message != "shadowed by n/a, n/b for GET,POST /x: it will never match" || len(got[0].By) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestFindingsOfOthersAreLeftOut(t *testing.T) {
	a, b := parse(t, "a", `{"path":"/x"}`, 1), parse(t, "b", `{"path":"/x"}`, 0)
	c := parse(t, "c", `{"path":"/y"}`, 0)
	if got, _ := findings([]gateway.Route{a, b, c}, map[gateway.Key]bool{c.Key(): true}); len(got) != 0 {
		t.Errorf("what was so before and has nothing to do with the change is told: %+v", got)
	}
}

// TestFindingsAgreeWithMatching holds the analysis to what it claims: no request
// of many goes to a route of which it says that it never matches.
func TestFindingsAgreeWithMatching(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
	hosts := []string{"a.b", "c.a.b", "b", "x"}
	paths := []string{"/", "/p", "/p/q", "/p/r", "/p/q/r", "/z", "/p/"}
	methods := []string{"GET", "POST", "HEAD"}
	found := 0
	for round := range 300 {
		var routes []gateway.Route
		look := map[gateway.Key]bool{}
		for i := range 6 {
			match := fmt.Sprintf(`{"path":%q,"host":%s,"method":%s}`,
				pick("", "/p", "/{x}", "/p/{x}", "/p/q", "/{x}/q", "/p/{r...}", "/{r...}"),
				pick("[]", `["a.b"]`, `["*.b"]`, `["*.a.b"]`, `["a.b","x"]`),
				pick("[]", `["GET"]`, `["GET","POST"]`, `["HEAD"]`))
			r := parse(t, fmt.Sprint("r", i), match, rnd.IntN(2))
			routes = append(routes, r)
			look[r.Key()] = true
		}
		got, _ := findings(routes, look)
		never := map[gateway.Key]string{}
		for _, f := range got {
			found++
			never[f.Key] = f.Message
		}
		for _, h := range hosts {
			for _, p := range paths {
				for _, m := range methods {
					if w := winner(t, routes, h, p, m); never[w] != "" {
						t.Fatalf("round %d: %s %s%s goes to %s, which is %s", round, m, h, p, w, never[w])
					}
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d findings: the test tests little", found)
	}
}

// winner is the plainest matcher there can be.
func winner(t *testing.T, routes []gateway.Route, host, path, method string) gateway.Key {
	t.Helper()
	segments, _ := gateway.SplitPath(path, nil)
	var best *gateway.Alternative
	for _, r := range routes {
		alternatives, err := r.Alternatives()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range alternatives {
			m := r.Match.Method
			takes := len(m) == 0
			for _, x := range m {
				takes = takes || x == method || x == "GET" && method == "HEAD"
			}
			if takes && gateway.HostTakes(a.Host, host) && a.Pattern.Match(segments) && (best == nil || a.Compare(*best) < 0) {
				best = &a
			}
		}
	}
	if best == nil {
		return gateway.Key{}
	}
	return best.Route.Key()
}

func TestTooLargeATableIsSaidToBe(t *testing.T) {
	var routes []gateway.Route
	look := map[gateway.Key]bool{}
	for i := range 4000 {
		r := parse(t, fmt.Sprint("r", i), fmt.Sprintf(`{"path":"/same/p%d"}`, i), 0)
		routes = append(routes, r)
		look[r.Key()] = true
	}
	if _, whole := findings(routes, look); whole {
		t.Error("16 million comparisons were made, or the limit is not told")
	}
}

func TestDifferences(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{`{}`, `{}`, ``},
		{`{"priority":1}`, `{"priority":2}`, `priority 1 2`},
		{`{}`, `{"disabled":true}`, `disabled - true`},
		{`{"filters":[{"stripPrefix":1},{"retry":{"attempts":2}}]}`, `{"filters":[{"stripPrefix":1},{"retry":{"attempts":3}}]}`, `filters[1].retry.attempts 2 3`},
		{`{"filters":[{"stripPrefix":1}]}`, `{"filters":[{"stripPrefix":1},{"addPrefix":"/x"}]}`, `filters[1] - {"addPrefix":"/x"}`},
		{`{"upstream":{"app":"a/b"}}`, `{"upstream":{"url":"http://x"}}`, `upstream.app "a/b" -; upstream.url - "http://x"`},
		{`{"filters":[{"fallback":{"status":200,"body":9007199254740993}}]}`, `{"filters":[{"fallback":{"status":200,"body":9007199254740992}}]}`, `filters[0].fallback.body 9007199254740993 9007199254740992`},
		{`{"filters":[{"fallback":{"status":200,"body":{"a":null}}}]}`, `{"filters":[{"fallback":{"status":200,"body":{}}}]}`, `filters[0].fallback.body.a null -`},
	} {
		var a, b gateway.Route
		if err := errors2(gateway.Decode([]byte(c.before), &a), gateway.Decode([]byte(c.after), &b)); err != nil {
			t.Fatal(err)
		}
		show := func(r json.RawMessage) string {
			if r == nil {
				return "-"
			}
			return string(r)
		}
		var got []string
		for _, f := range differences(a, b) {
			got = append(got, f.Field+" "+show(f.Before)+" "+show(f.After))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s to %s: got %s, want %s", c.before, c.after, s, c.want)
		}
	}
}

func errors2(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
