package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
)

// version makes a route out of its match.
func version(tb testing.TB, name string, priority int, m gateway.Match) gateway.Version {
	tb.Helper()
	return gateway.Version{Revision: 1, Route: gateway.Route{Namespace: "shop", Name: name, Priority: priority, Match: m, Upstream: gateway.Upstream{URL: "http://127.0.0.1:1"}}}
}

func tableOf(tb testing.TB, versions ...gateway.Version) *table {
	tb.Helper()
	t, e := &table{}, new(edit)
	for _, v := range versions {
		r, err := compileMatch(v)
		if err != nil {
			tb.Fatalf("%s: %v", v.Route.Name, err)
		}
		t = t.with(e, r)
	}
	return t
}

func requestFor(tb testing.TB, method, target string, header ...string) request {
	tb.Helper()
	u, err := url.Parse(target)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := pathOf(u)
	if err != nil {
		tb.Fatalf("%s: %v", target, err)
	}
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return request{method: method, host: hostOf(u.Host), segments: p.split(nil), header: h}
}

func TestWhoWins(t *testing.T) {
	routes := tableOf(t,
		version(t, "any", 0, gateway.Match{}),
		version(t, "all", 0, gateway.Match{Path: "/{all...}"}),
		version(t, "cart", 0, gateway.Match{Path: "/cart/{id}"}),
		version(t, "cart-get", 0, gateway.Match{Path: "/cart/{id}", Method: gateway.Strings{"GET"}}),
		version(t, "cart-get-v2", 0, gateway.Match{Path: "/cart/{id}", Method: gateway.Strings{"GET"}, Header: []gateway.HeaderMatch{{Name: "x-version", Equals: "2"}}}),
		version(t, "cart-mine", 0, gateway.Match{Path: "/cart/mine"}),
		version(t, "cart-tail", 0, gateway.Match{Path: "/cart/{rest...}"}),
		version(t, "b-host", 0, gateway.Match{Host: gateway.Strings{"shop.example.com"}}),
		version(t, "b-wild", 0, gateway.Match{Host: gateway.Strings{"*.example.com"}}),
		version(t, "b-wild-deep", 0, gateway.Match{Host: gateway.Strings{"*.eu.example.com"}}),
		version(t, "sale", 9, gateway.Match{Path: "/{shop}/sale"}),
		version(t, "blocked", 10, gateway.Match{Path: "/{all...}", Header: []gateway.HeaderMatch{{Name: "X-Bad", Regex: "^(yes|1)$"}}}),
	)
	for _, c := range []struct{ method, target, header, want string }{
		{"GET", "/", "", "all"},
		{"GET", "/cart/7", "", "cart-get"},
		{"HEAD", "/cart/7", "", "cart-get"},
		{"POST", "/cart/7", "", "cart"},
		{"GET", "/cart/7", "X-Version:2", "cart-get-v2"},
		{"POST", "/cart/7", "X-Version:2", "cart"},
		{"GET", "/cart/mine", "X-Version:2", "cart-mine"},
		{"GET", "/cart", "", "cart-tail"},
		{"GET", "/cart/", "", "cart-tail"},
		{"GET", "/cart/7/8", "", "cart-tail"},
		{"GET", "http://shop.example.com/cart/7", "", "b-host"},
		{"GET", "http://SHOP.Example.com.:8080/cart/7", "", "b-host"},
		{"GET", "http://other.example.com/cart/7", "", "b-wild"},
		{"GET", "http://a.b.example.com/", "", "b-wild"},
		{"GET", "http://de.eu.example.com/", "", "b-wild-deep"},
		{"GET", "http://example.com/", "", "all"},
		{"GET", "http://badexample.com/", "", "all"},
		{"GET", "http://shop.example.com/x/sale", "", "sale"},
		{"GET", "/cart/sale", "", "sale"},
		{"GET", "/cart/mine", "X-Bad:1", "blocked"},
		{"GET", "/cart/mine", "X-Bad:11", "cart-mine"},
		{"GET", "http://[::1]:8080/cart/7", "", "cart-get"},
	} {
		name, value, _ := strings.Cut(c.header, ":")
		got := routes.find(requestFor(t, c.method, c.target, name, value))
		if got == nil || got.key.Name != c.want {
			t.Errorf("%s %s (%s) went to %v, want %s", c.method, c.target, c.header, got, c.want)
		}
	}
}

func TestOnlyTheMethodIsWrong(t *testing.T) {
	routes := tableOf(t,
		version(t, "get", 0, gateway.Match{Path: "/cart/{id}", Method: gateway.Strings{"GET"}}),
		version(t, "put", 0, gateway.Match{Path: "/cart/{id}", Method: gateway.Strings{"put", "PURGE"}}),
		version(t, "host", 0, gateway.Match{Host: gateway.Strings{"a.example"}, Path: "/cart/{id}", Method: gateway.Strings{"DELETE"}}),
		version(t, "header", 0, gateway.Match{Path: "/cart/{id}", Method: gateway.Strings{"PATCH"}, Header: []gateway.HeaderMatch{{Name: "X", Present: true}}}),
	)
	for target, want := range map[string]string{
		"/cart/1":                 "GET HEAD PURGE PUT",
		"http://a.example/cart/1": "DELETE GET HEAD PURGE PUT",
		"/cart":                   "",
	} {
		req := requestFor(t, "POST", target)
		if r := routes.find(req); r != nil {
			t.Fatalf("%s went to %s", target, r.name)
		}
		if got := strings.Join(routes.allowed(req), " "); got != want {
			t.Errorf("%s allows %q, want %q", target, got, want)
		}
	}
}

func TestRemovalLeavesNothing(t *testing.T) {
	v := version(t, "a", 3, gateway.Match{Host: gateway.Strings{"a.example", "*.b.example"}, Path: "/a/{b}/c/{d...}"})
	w := version(t, "b", 5, gateway.Match{Path: "/a"})
	full := tableOf(t, v, w)
	a, _ := compileMatch(v)
	b, _ := compileMatch(w)
	one := full.without(new(edit), a)
	if one.hosts != nil || one.wildcards != nil || one.every == nil || one.every.max != 5 {
		t.Errorf("without a there is %+v", one)
	}
	if none := one.without(new(edit), b); *none != (table{}) {
		t.Errorf("without both there is %+v", none)
	}
	if got := full.find(requestFor(t, "GET", "http://a.example/a/x/c")); got == nil || got.key.Name != "a" {
		t.Error("the old table changed")
	}
}

// linear is the search that the table has to agree with: it looks at every
// route, by the words' own matcher, and sorts by the rule as it is written.
type linear []*route

func (l linear) find(q request) *route {
	var best *route
	for _, r := range l {
		if !r.takesHost(q.host) || !r.pattern.Match(q.segments) || !r.takes(&q) {
			continue
		}
		if best == nil || precedes(r, best, q.host) {
			best = r
		}
	}
	return best
}

// precedes holds the best of either's hosts against each other in the order that
// the words give.
func precedes(a, b *route, host string) bool { return place(a, host).Compare(place(b, host)) < 0 }

// dice make routes and requests out of few words, so that they meet often.
type dice struct{ *rand.Rand }

func (d dice) pick(s ...string) string { return s[d.IntN(len(s))] }

func (d dice) route(tb testing.TB, name string) gateway.Version {
	tb.Helper()
	m := gateway.Match{}
	for range d.IntN(3) {
		if h := d.pick("a.example", "b.a.example", "*.example", "*.a.example"); !slices.Contains(m.Host, h) {
			m.Host = append(m.Host, h)
		}
	}
	for i := range d.IntN(5) {
		m.Path += "/" + d.pick("a", "b", "a%2Fb", fmt.Sprintf("{v%d}", i), fmt.Sprintf("{v%d}", i))
	}
	m.Path += d.pick("", "", "/", "/{rest...}")
	if d.IntN(3) == 0 {
		m.Method = append(m.Method, d.pick("GET", "POST", "PURGE"))
	}
	for range d.IntN(3) {
		m.Header = append(m.Header, []gateway.HeaderMatch{
			{Name: "X-A", Equals: "1"}, {Name: "x-a", Present: true}, {Name: "X-A", Absent: true}, {Name: "X-B", Regex: "1|2"},
		}[d.IntN(4)])
	}
	return version(tb, name, d.IntN(4), m)
}

func (d dice) request(tb testing.TB) request {
	tb.Helper()
	var segments []string
	for range d.IntN(5) {
		segments = append(segments, d.pick("a", "b", "c", "a%2Fb"))
	}
	target := "http://" + d.pick("a.example", "b.a.example", "c.example", "c.b.a.example", "example", "127.0.0.1:80") +
		"/" + strings.Join(segments, "/") + d.pick("", "", "/")
	var header []string
	for range d.IntN(3) {
		header = append(header, d.pick("X-A", "X-B"), d.pick("1", "2", "3"))
	}
	return requestFor(tb, d.pick("GET", "HEAD", "POST", "PURGE", "PUT"), target, header...)
}

// differ builds tables from a seed, changes them, and holds every search against
// the linear one.
func differ(tb testing.TB, seed uint64, size, rounds int) {
	tb.Helper()
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	live := map[string]*route{}
	tab, e := &table{}, new(edit)
	for round := range rounds {
		old, oldLive := tab, linear{}
		for _, r := range live {
			oldLive = append(oldLive, r)
		}
		for range 1 + d.IntN(size) {
			name := fmt.Sprint("r", d.IntN(size))
			if r := live[name]; r != nil {
				tab = tab.without(e, r)
				delete(live, name)
			}
			if d.IntN(3) > 0 {
				r, err := compileMatch(d.route(tb, name))
				if err != nil {
					tb.Fatal(err)
				}
				tab, live[name] = tab.with(e, r), r
			}
		}
		e = new(edit) // what was made is shared from here on
		all := make(linear, 0, len(live))
		for _, r := range live {
			all = append(all, r)
		}
		for range 40 {
			q := d.request(tb)
			agree(tb, tab, all, q)
			if round > 0 {
				agree(tb, old, oldLive, q) // a table never changes under its readers
			}
		}
	}
	for _, r := range live {
		tab = tab.without(e, r)
	}
	if *tab != (table{}) {
		tb.Fatalf("seed %d: the empty table holds %+v", seed, tab)
	}
}

func agree(tb testing.TB, tab *table, all linear, q request) {
	tb.Helper()
	got, want := tab.find(q), all.find(q)
	if got != want {
		tb.Fatalf("%s %s %q %v: the table says %s, the list %s", q.method, q.host, q.segments, q.header, describe(got), describe(want))
	}
	if got != nil {
		return
	}
	var methods []string
	for _, r := range all {
		if r.takesHost(q.host) && r.pattern.Match(q.segments) && r.takesHeaders(&q) {
			methods = append(methods, r.methods.list()...)
		}
	}
	slices.Sort(methods)
	if methods = slices.Compact(methods); !slices.Equal(methods, tab.allowed(q)) {
		tb.Fatalf("%s %s %q %v: the table allows %q, the list %q", q.method, q.host, q.segments, q.header, tab.allowed(q), methods)
	}
}

func describe(r *route) string {
	if r == nil {
		return "nobody"
	}
	return fmt.Sprintf("%s (%d, %+v)", r.name, r.priority, r.spec.Match)
}

func TestTableAgreesWithList(t *testing.T) {
	for seed := range uint64(300) {
		differ(t, seed, 1+int(seed%60), 4)
	}
}

func FuzzTable(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(2))
	f.Add(uint64(2), uint8(80), uint8(5))
	f.Fuzz(func(t *testing.T, seed uint64, size, rounds uint8) {
		differ(t, seed, 1+int(size), 1+int(rounds%8))
	})
}

// TestDictWithEqualHashes takes the trie to its end, where keys stand in a list.
func TestDictWithEqualHashes(t *testing.T) {
	var d *dict
	e := new(edit)
	keys := []string{"a", "b", "c", "d"}
	values := map[string]*node{}
	for i, k := range keys {
		values[k] = &node{max: i}
		d = d.set(e, k, 7, hashBits, values[k])
	}
	for _, k := range keys {
		if d.find(k, 7, hashBits) != values[k] {
			t.Errorf("%s is lost", k)
		}
	}
	if d.find("e", 7, hashBits) != nil || d.top() != 3 {
		t.Error("the list holds what was not put")
	}
	old := d
	for i, k := range slices.Backward(keys) {
		d = d.set(new(edit), k, 7, hashBits, nil)
		if i > 0 && (d.find(k, 7, hashBits) != nil || d.top() != i-1) {
			t.Errorf("%s is still there", k)
		}
	}
	if d != nil || old.find("a", 7, hashBits) != values["a"] {
		t.Error("removal touched the wrong dict")
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	regex := gateway.HeaderMatch{Name: "X-A", Regex: "2"}
	if raceDetector {
		// Regular expressions keep their state in a sync.Pool, which forgets at
		// random under the race detector.
		regex = gateway.HeaderMatch{Name: "X-A", Equals: "2"}
	}
	routes := tableOf(t,
		version(t, "cart", 0, gateway.Match{Host: gateway.Strings{"shop.example.com"}, Path: "/shop/cart/{id}", Method: gateway.Strings{"GET"}, Header: []gateway.HeaderMatch{{Name: "X-A", Equals: "1"}}}),
		version(t, "wild", 1, gateway.Match{Host: gateway.Strings{"*.example.com"}, Path: "/shop/{x}/{y}", Header: []gateway.HeaderMatch{regex}}),
	)
	r := &http.Request{Method: http.MethodGet, Host: "shop.example.com:8080", URL: &url.URL{Path: "/shop/cart/42"}, Header: http.Header{"X-A": {"1"}}}
	if n := testing.AllocsPerRun(100, func() {
		var buf [maxInline]string
		p, err := pathOf(r.URL)
		if err != nil {
			t.Error(err)
		}
		if found := routes.find(request{method: r.Method, host: hostOf(r.Host), segments: p.split(buf[:0]), header: r.Header}); found == nil || found.key.Name != "cart" {
			t.Error("no match")
		}
	}); n != 0 {
		t.Errorf("a match allocates %v times", n)
	}
}
