package dubbo

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
)

func TestOnceCallsOneInstance(t *testing.T) {
	good := startProvider(t, "good", nil)
	i := &registry.Instance{ID: "i", Host: netip.MustParseAddr("127.0.0.1"), Health: registry.Ready, Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: uint16(good.port())}}}
	call := gateway.Dubbo{App: "shop/inventory", Interface: "org.example.Stock", Method: "get", Args: []gateway.Arg{{Type: "java.lang.String", From: "query.sku"}}}
	got, err := Once(t.Context(), i, call, url.Values{"sku": {"a b"}})
	if err != nil || !strings.Contains(string(got), "good") {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Once(t.Context(), i, call, nil); err == nil || !strings.Contains(err.Error(), "sku") {
		t.Errorf("without its argument: %v", err)
	}
	good.close()
	if _, err := Once(t.Context(), i, call, url.Values{"sku": {"a"}}); err == nil || !strings.Contains(err.Error(), "reached") {
		t.Errorf("of one that is gone: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Once(ended, i, call, url.Values{"sku": {"a"}}); err == nil {
		t.Error("it succeeds though it was ended")
	}
}
