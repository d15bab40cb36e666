package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
	registrymemory "github.com/weirmesh/weir/registry/memory"
)

func TestExplain(t *testing.T) {
	world := registrymemory.New()
	hub := world.Join(registrymemory.Config{})
	t.Cleanup(func() { hub.Close() })
	cart := registry.App{Namespace: "shop", Name: "cart"}
	world.PutService(cart, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}}})
	world.PutInstance(cart, registry.Instance{ID: "a", Host: netip.MustParseAddr("10.0.0.1")})
	world.PutInstance(cart, registry.Instance{ID: "b", Host: netip.MustParseAddr("10.0.0.2"), Health: registry.Terminating})

	winner := version(t, "cart", 5, gateway.Match{Host: gateway.Strings{"shop.example"}, Path: "/cart/{id}", Method: gateway.Strings{"GET"}})
	winner.Route.Upstream = gateway.Upstream{App: "shop/cart"}
	disabled := version(t, "disabled", 9, gateway.Match{Path: "/cart/{id}"})
	disabled.Route.Disabled = true
	broken := version(t, "broken", 9, gateway.Match{Path: "cart"})
	gone := version(t, "gone", 99, gateway.Match{})
	gone.Deleted = true
	routes := []gateway.Version{
		winner, disabled, broken, gone,
		version(t, "low", 1, gateway.Match{Path: "/cart/42"}),
		version(t, "same", 5, gateway.Match{Path: "/cart/42"}),
		version(t, "post", 9, gateway.Match{Path: "/cart/{id}", Method: gateway.Strings{"POST"}}),
		version(t, "host", 9, gateway.Match{Host: gateway.Strings{"other.example"}, Path: "/cart/{id}"}),
		version(t, "header", 9, gateway.Match{Path: "/cart/{id}", Header: []gateway.HeaderMatch{{Name: "X-V", Equals: "2"}}}),
		version(t, "far", 9, gateway.Match{Path: "/far", Method: gateway.Strings{"POST"}}),
	}
	e := NewExplainer(hub)
	got, err := e.Explain(t.Context(), routes, gateway.Sample{Method: "get", URL: "http://Shop.Example:80/cart/42?x=1", Header: map[string][]string{"x-v": {"1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Routes != len(routes) || got.Winner == nil || got.Winner.Key.Name != "cart" || got.Winner.Vars["id"] != "42" || got.Winner.Upstream != "shop/cart" ||
		fmt.Sprint(got.Winner.Endpoints) != "[10.0.0.1:8080]" || !strings.Contains(got.Winner.Why, "shop/same") {
		t.Errorf("winner %+v of %d", got.Winner, got.Routes)
	}
	why := map[string]string{}
	var order []string
	for _, l := range got.Losers {
		why[l.Key.Name] = l.Why
		order = append(order, l.Key.Name)
	}
	for name, want := range map[string]string{
		"low": "its priority is 5, the other's 1", "same": "host shop.example is more specific", "post": "its method is POST, not GET",
		"host": `its host is other.example, not "shop.example"`, "header": `it needs header X-V equal to "2"`, "disabled": "it is disabled", "broken": "cannot be served",
	} {
		if !strings.Contains(why[name], want) {
			t.Errorf("%s lost because %q, want %q", name, why[name], want)
		}
	}
	if len(order) < 2 || order[0] != "same" || order[1] != "low" || why["far"] != "" || why["gone"] != "" {
		t.Errorf("losers %v", order)
	}
	got, err = e.Explain(t.Context(), routes, gateway.Sample{Method: "GET", URL: "/nothing", Host: "x"})
	if err != nil || got.Winner != nil || got.Losers == nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, url := range []string{"", "x", "http://h/%zz", "/a/../b", "mailto:x"} {
		if _, err := e.Explain(t.Context(), routes, gateway.Sample{URL: url}); gateway.CodeOf(err) != gateway.Invalid {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// TestExplanationIsWhatGatewaysDo holds the explained winner, and what is said of
// the losers, against the linear search.
func TestExplanationIsWhatGatewaysDo(t *testing.T) {
	e := NewExplainer(nil)
	for seed := range uint64(60) {
		d := dice{rand.New(rand.NewPCG(seed, 2))}
		var routes []gateway.Version
		var all linear
		for i := range 20 {
			v := d.route(t, fmt.Sprint("r", i))
			v.Revision = gateway.Revision(seed*100 + uint64(i) + 1)
			r, err := compileMatch(v)
			if err != nil {
				t.Fatal(err)
			}
			routes, all = append(routes, v), append(all, r)
		}
		for range 20 {
			q := d.request(t)
			want := all.find(q)
			path := "/" + strings.ReplaceAll(strings.Join(escaped(q.segments), "/"), "//", "/")
			got, err := e.Explain(t.Context(), routes, gateway.Sample{Method: q.method, URL: path, Host: q.host, Header: q.header})
			if err != nil {
				t.Fatal(err)
			}
			if (got.Winner == nil) != (want == nil) || want != nil && got.Winner.Key != want.key {
				t.Fatalf("%s %s%s: %+v, want %s", q.method, q.host, path, got.Winner, describe(want))
			}
		}
	}
}

func escaped(segments []string) []string {
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i] = strings.ReplaceAll(s, "/", "%2F")
	}
	return out
}
