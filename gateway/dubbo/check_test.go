package dubbo

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

func TestCheck(t *testing.T) {
	ctx := t.Context()
	reg := memory.New()
	c := reg.Join(memory.Config{})
	defer c.Close()
	app := registry.App{Namespace: "shop", Name: "stock"}
	route := (&shop{}).route()
	checker := Checker{c, c}
	check := func(words ...string) {
		t.Helper()
		got := checker.Check(ctx, []gateway.Route{{Namespace: "x", Name: "http"}, route})
		if len(got) != len(words)/2 {
			t.Fatalf("%+v, want %q", got, words)
		}
		for i, w := range got {
			if w.Key != route.Key() || w.Field != words[2*i] || !strings.Contains(w.Message, words[2*i+1]) {
				t.Errorf("%+v, want %q", w, words[2*i:])
			}
		}
	}
	reg.PutService(app, registry.Service{})
	check("upstream.dubbo.app", "has no instances")
	put := func(protocol, revision, document string) {
		reg.PutInstance(app, registry.Instance{
			ID: "a", Name: "a", Host: netip.MustParseAddr("127.0.0.1"), Health: registry.Ready, Revision: revision,
			Endpoints: []registry.Endpoint{{Protocol: protocol, Port: 1}},
			Metadata:  map[string]string{registry.KeyEndpoints: fmt.Sprintf(`[{"port":1,"protocol":%q}]`, protocol), registry.KeyRevision: revision},
		})
		if document != "" {
			if err := c.PutMetadata(ctx, app, revision, []byte(document)); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, func() bool {
			s, err := c.Snapshot(ctx, app)
			return err == nil && len(s.Instances) == 1 && s.Instances[0].Revision == revision
		})
	}
	put("rest", "r0", "")
	check("upstream.dubbo.app", "offers Dubbo or Triple")
	put("dubbo", "r1", `{"services":{"org.example.StockService:dubbo":{"name":"org.example.StockService","params":{"methods":"Count,count"}}}}`)
	check()
	put("dubbo", "r2", `{"services":{"org.example.StockService:dubbo":{"name":"org.example.StockService","params":{"methods":"sum,Sum"}}}}`)
	check("upstream.dubbo.method", "revision r2 of shop/stock (1 instance) has no method count in org.example.StockService; it has Sum, sum")
	put("dubbo", "r3", `{"services":{"blue/org.example.StockService:dubbo":{"name":"org.example.StockService","group":"blue"}}}`)
	check("upstream.dubbo.interface", "does not offer org.example.StockService, but blue/org.example.StockService")
	put("dubbo", "r4", `{"services":{"x":{"name":"org.example.StockService","methods":[{"name":"count","parameterTypes":["java.lang.String"]},{"name":"count","parameterTypes":["int"]}]}}}`)
	check()
	put("dubbo", "r5", `{"services":{"x":{"name":"org.example.StockService","methods":[{"name":"count","parameterTypes":["java.util.List<java.lang.String>"]}]}}}`)
	check("upstream.dubbo.args", "has count(java.util.List<java.lang.String>), and not count(java.lang.String)")
	put("dubbo", "r6", `nonsense`)
	check("upstream.dubbo.app", "cannot be read")
	route.Upstream.Dubbo.Args[0].Type = "nonsense"
	check("upstream.dubbo.args[0].type", "no gateway will serve the route")
}

func FuzzCheckDocument(f *testing.F) {
	f.Add([]byte(`{"services":{"x":{"name":"org.example.StockService","methods":[{"name":"count","parameterTypes":["a<b>"]}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, w := range checkDocument(b, (&shop{}).route().Upstream.Dubbo, []string{"int"}) {
			if w.field == "" || w.says == "" {
				t.Fatal("an empty doubt")
			}
		}
	})
}
