package routecheck_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirmesh/weir/cmd/weir/internal/routecheck"
	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

func app(name string) registry.App { return registry.App{Namespace: "shop", Name: name} }

func TestApps(t *testing.T) {
	t.Parallel()
	world := memory.New()
	world.PutService(app("storefront"), registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}, {Name: "admin", Port: 81, Target: 8081}}})
	world.PutService(app("pricing"), registry.Service{Ports: []registry.ServicePort{{Name: "a", Port: 80}, {Port: 81}}})
	world.PutService(app("single"), registry.Service{Ports: []registry.ServicePort{{Name: "web", Port: 80}}})
	world.PutInstance(app("inventory"), registry.Instance{ID: "1", Host: netip.MustParseAddr("10.0.0.1")})
	client := world.Join(memory.Config{})
	defer client.Close()
	for _, c := range []struct {
		upstream    gateway.Upstream
		field, says string
	}{
		{gateway.Upstream{App: "shop/storefront"}, "", ""},
		{gateway.Upstream{App: "shop/storefront", Port: "admin"}, "", ""},
		{gateway.Upstream{App: "shop/storefront", Port: "81"}, "", ""},
		{gateway.Upstream{App: "shop/single"}, "", ""},
		{gateway.Upstream{URL: "http://anywhere"}, "", ""},
		{gateway.Upstream{Dubbo: &gateway.Dubbo{App: "shop/inventory"}}, "", ""},
		{gateway.Upstream{App: "shop/storfront"}, "upstream.app", "no application shop/storfront is known; did you mean shop/storefront?"},
		{gateway.Upstream{App: "bank/ledger-of-accounts"}, "upstream.app", "no application bank/ledger-of-accounts is known: the route is served once there is one"},
		{gateway.Upstream{Dubbo: &gateway.Dubbo{App: "shop/inventry"}}, "upstream.dubbo.app", "no application shop/inventry is known; did you mean shop/inventory?"},
		{gateway.Upstream{App: "shop/storefront", Port: "grpc"}, "upstream.port", "shop/storefront has no port grpc: it has http 80, admin 81"},
		{gateway.Upstream{App: "shop/pricing"}, "upstream.port", "shop/pricing has several ports and none named http: name one of a 80, 81"},
	} {
		got := routecheck.Apps{Registry: client}.Check(t.Context(), []gateway.Route{{Namespace: "shop", Name: "r", Upstream: c.upstream}})
		want := []gateway.Warning{{Key: gateway.Key{Namespace: "shop", Name: "r"}, Field: c.field, Message: c.says, Unknown: strings.HasSuffix(c.field, "app")}}
		if c.says == "" {
			want = nil
		}
		if len(got) != len(want) || len(got) == 1 && got[0] != want[0] {
			t.Errorf("%+v: got %+v, want %+v", c.upstream, got, want)
		}
	}
}

func TestARegistryThatIsAwayWarnsOfNothing(t *testing.T) {
	t.Parallel()
	world := memory.New()
	client := world.Join(memory.Config{})
	defer client.Close()
	client.Cut()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := routecheck.Apps{Registry: client}.Check(ctx, []gateway.Route{{Namespace: "shop", Name: "r", Upstream: gateway.Upstream{App: "shop/x"}}})
	if len(got) != 0 {
		t.Errorf("unknown is not missing: %+v", got)
	}
}

type fixed []gateway.Warning

func (f fixed) Check(context.Context, []gateway.Route) []gateway.Warning { return f }

func TestTheFirstWordAboutAFieldStands(t *testing.T) {
	t.Parallel()
	a := gateway.Key{Namespace: "shop", Name: "a"}
	first := fixed{{Key: a, Field: "x", Message: "1"}, {Key: a, Field: "x", Message: "2"}}
	second := fixed{{Key: a, Field: "x", Message: "3"}, {Key: a, Field: "y", Message: "4"}}
	got := routecheck.All{first, second}.Check(t.Context(), nil)
	if len(got) != 3 || got[2].Message != "4" {
		t.Errorf("got %+v", got)
	}
}
